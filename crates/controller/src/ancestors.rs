//! The management groups above subscriptions, which grants may name. Resource Graph is asked at most every ten minutes
//! for all subscriptions of a credential at once, and an answer counts for 15 minutes: after that, nothing is granted.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serverprotection_core::azure_error::{AzureError, ErrorClass};

use crate::credential_use::CredentialKey;

/// How long an answer counts.
const VALID: Duration = Duration::from_secs(15 * 60);
/// When it is read again.
const REFRESH: Duration = Duration::from_secs(10 * 60);
/// The same for an object that was denied: its subscription may have been moved for it.
const REFRESH_SOON: Duration = Duration::from_secs(60);
/// A subscription that was not asked for so long is not read any more.
const FORGET: Duration = Duration::from_secs(3600);
/// The most subscriptions of a query.
const MOST: usize = 1000;

/// The ids of management groups.
type Groups = Arc<[String]>;

/// What Resource Graph answers: the management groups above each subscription that the identity can see; `None` if they
/// are not in the answer.
pub(crate) type Answer = HashMap<String, Option<Vec<String>>>;

/// The answers, by credential: each sees what its identity may read.
#[derive(Debug, Default)]
pub(crate) struct AncestorCache {
    by_credential: Mutex<HashMap<CredentialKey, Known>>,
}

#[derive(Debug, Default)]
struct Known {
    subscriptions: HashMap<String, Entry>,
    /// Start and error of the last query, if it failed.
    failed: Option<(Instant, AzureError)>,
    /// Held by the reconcile that asks, while others wait for its answer.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct Entry {
    asked: Instant,
    read: Option<(Instant, Result<Groups, AzureError>)>,
}

impl AncestorCache {
    /// The management groups above a subscription. One query asks for all subscriptions that were asked for lately.
    ///
    /// # Errors
    ///
    /// Fails if they are not known and cannot be read.
    pub(crate) async fn of(
        &self,
        credential: &CredentialKey,
        subscription: &str,
        soon: bool,
        read: impl AsyncFnOnce(Vec<String>) -> Result<Answer, AzureError>,
    ) -> Result<Groups, AzureError> {
        let asked = Instant::now();
        let turn = self.ask_for(credential, subscription, asked);
        let young = if soon { REFRESH_SOON } else { REFRESH };
        if let Some(known) = self.read_within(credential, subscription, young) {
            return known;
        }
        let _turn = turn.lock().await;
        // Another reconcile may have asked for this one, too.
        if let Some(known) = self.read_since(credential, subscription, asked) {
            return known;
        }
        let began = Instant::now();
        let queried = self.queried(credential, subscription, began);
        let answer = read(queried.clone()).await;
        self.take_in(credential, &queried, began, answer);
        let known = self.read_since(credential, subscription, began);
        known.unwrap_or_else(|| Err(not_answered()))
    }

    /// The same without a request; `None` if they are not known.
    pub(crate) fn known(&self, credential: &CredentialKey, subscription: &str) -> Option<Groups> {
        self.read_within(credential, subscription, VALID)?.ok()
    }

    /// Drops what is known for a credential.
    pub(crate) fn forget(&self, credential: &CredentialKey) {
        self.lock().remove(credential);
    }

    /// Remembers that the subscription is asked for.
    fn ask_for(
        &self,
        credential: &CredentialKey,
        subscription: &str,
        now: Instant,
    ) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self.lock();
        let known = all.entry(credential.clone()).or_default();
        let entry = known.subscriptions.entry(subscription.to_owned());
        let entry = entry.or_insert(Entry {
            asked: now,
            read: None,
        });
        entry.asked = now;
        Arc::clone(&known.turn)
    }

    /// What was read at most so long ago.
    fn read_within(
        &self,
        credential: &CredentialKey,
        subscription: &str,
        age: Duration,
    ) -> Option<Result<Groups, AzureError>> {
        let all = self.lock();
        let entry = all.get(credential)?.subscriptions.get(subscription)?;
        let (at, known) = entry.read.as_ref().filter(|(at, _)| at.elapsed() < age)?;
        // An answer that could not be read is asked for again.
        (known.is_ok() || at.elapsed() < Duration::from_secs(5)).then(|| known.clone())
    }

    /// What was read since this time. After a query that failed, what was read before counts as long as it is valid.
    fn read_since(
        &self,
        credential: &CredentialKey,
        subscription: &str,
        since: Instant,
    ) -> Option<Result<Groups, AzureError>> {
        let all = self.lock();
        let known = all.get(credential)?;
        let read = known.subscriptions.get(subscription)?.read.as_ref();
        if let Some((_, answer)) = read.filter(|(at, _)| *at >= since) {
            return Some(answer.clone());
        }
        let (_, failure) = known.failed.as_ref().filter(|(began, _)| *began >= since)?;
        let valid = read.filter(|(at, answer)| answer.is_ok() && at.elapsed() < VALID);
        Some(valid.map_or_else(|| Err(failure.clone()), |(_, answer)| answer.clone()))
    }

    /// The subscriptions of a query: this one, and others that were asked for lately.
    fn queried(&self, credential: &CredentialKey, subscription: &str, now: Instant) -> Vec<String> {
        let mut all = self.lock();
        let Some(known) = all.get_mut(credential) else {
            return vec![subscription.to_owned()];
        };
        let lately = |entry: &Entry| now.saturating_duration_since(entry.asked) < FORGET;
        known.subscriptions.retain(|_, entry| lately(entry));
        let others = known.subscriptions.keys().filter(|other| *other != subscription);
        let others = others.take(MOST - 1).cloned();
        std::iter::once(subscription.to_owned()).chain(others).collect()
    }

    /// Takes in an answer. A subscription that is not in it is below no management group that this identity can see.
    fn take_in(
        &self,
        credential: &CredentialKey,
        queried: &[String],
        began: Instant,
        answer: Result<Answer, AzureError>,
    ) {
        let mut all = self.lock();
        let Some(known) = all.get_mut(credential) else {
            return;
        };
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(failure) => {
                known.failed = Some((began, failure));
                return;
            }
        };
        known.failed = None;
        for subscription in queried {
            let groups = match answer.remove(subscription) {
                Some(Some(groups)) => Ok(groups.into()),
                Some(None) => Err(not_answered()),
                None => Ok(Groups::default()),
            };
            if let Some(entry) = known.subscriptions.get_mut(subscription) {
                entry.read = Some((began, groups));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CredentialKey, Known>> {
        self.by_credential.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resource Graph has the subscription, but not what is above it.
fn not_answered() -> AzureError {
    AzureError {
        class: ErrorClass::Transient,
        code: "UnreadableAnswer".into(),
        message: "Resource Graph did not return the management groups of the subscription".into(),
        operation: String::new(),
        request_id: None,
        effect_unknown: false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serverprotection_api::CredentialKind;

    use super::*;

    fn key() -> CredentialKey {
        CredentialKey::new(CredentialKind::ClusterAzureCredential, "n", "platform")
    }

    fn groups(all: &[&str]) -> Vec<String> {
        all.iter().map(|&group| group.to_owned()).collect()
    }

    /// Makes all answers this much older.
    fn age(cache: &AncestorCache, by: Duration) {
        for known in cache.lock().values_mut() {
            for entry in known.subscriptions.values_mut() {
                if let Some((at, _)) = &mut entry.read {
                    *at = at.checked_sub(by).unwrap();
                }
            }
        }
    }

    async fn ask(
        cache: &AncestorCache,
        subscription: &str,
        soon: bool,
        answer: Result<Answer, AzureError>,
    ) -> (Result<Groups, AzureError>, Vec<String>) {
        let mut asked = Vec::new();
        let read = async |all: Vec<String>| {
            asked = all;
            answer
        };
        let found = cache.of(&key(), subscription, soon, read).await;
        asked.sort();
        (found, asked)
    }

    #[tokio::test]
    async fn one_query_asks_for_all_and_its_answer_is_kept() {
        let cache = AncestorCache::default();
        let answer = |group: &str| {
            Ok(Answer::from([
                ("s".into(), Some(groups(&[group]))),
                ("t".into(), Some(groups(&[]))),
            ]))
        };
        let (found, asked) = ask(&cache, "s", false, answer("g")).await;
        assert_eq!(
            (found.unwrap().to_vec(), asked),
            (vec!["g".to_owned()], vec!["s".to_owned()])
        );
        let (found, asked) = ask(&cache, "t", false, answer("h")).await;
        assert_eq!((found.unwrap().len(), asked.len()), (0, 2), "both are asked for");
        let (found, asked) = ask(&cache, "s", false, answer("x")).await;
        assert_eq!((found.unwrap().to_vec(), asked.len()), (vec!["h".to_owned()], 0));
        age(&cache, REFRESH_SOON);
        let (_, asked) = ask(&cache, "s", false, answer("x")).await;
        assert!(asked.is_empty());
        let (found, asked) = ask(&cache, "s", true, answer("x")).await;
        assert_eq!((found.unwrap().to_vec(), asked.len()), (vec!["x".to_owned()], 2));
        // What the identity cannot see is below nothing.
        let (found, _) = ask(&cache, "u", false, Ok(Answer::new())).await;
        assert_eq!(found.unwrap().len(), 0);
    }

    #[tokio::test]
    async fn an_answer_counts_for_15_minutes_while_there_is_no_newer_one() {
        let cache = AncestorCache::default();
        let answer = Ok(Answer::from([("s".into(), Some(groups(&["g"])))]));
        assert!(ask(&cache, "s", false, answer).await.0.is_ok());
        age(&cache, REFRESH);
        let (found, asked) = ask(&cache, "s", false, Err(not_answered())).await;
        assert_eq!((found.is_ok(), asked.len()), (true, 1));
        assert!(cache.known(&key(), "s").is_some());
        age(&cache, VALID.saturating_sub(REFRESH));
        assert!(cache.known(&key(), "s").is_none());
        assert!(ask(&cache, "s", false, Err(not_answered())).await.0.is_err());
        // A row without its management groups is no row about none.
        let unreadable = Ok(Answer::from([("s".into(), None)]));
        assert!(ask(&cache, "s", false, unreadable).await.0.is_err());
        cache.forget(&key());
        assert!(cache.lock().is_empty());
    }

    #[tokio::test]
    async fn those_who_wait_share_the_next_query() {
        let (cache, queries) = (AncestorCache::default(), AtomicUsize::new(0));
        let one = |subscription: String| {
            let (cache, queries) = (&cache, &queries);
            async move {
                let read = async |all: Vec<String>| {
                    queries.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Ok(all.into_iter().map(|one| (one, Some(groups(&["g"])))).collect())
                };
                cache.of(&key(), &subscription, false, read).await.unwrap()
            }
        };
        let all = (0..50).map(|number| one(format!("s{number}")));
        let found = futures::future::join_all(all).await;
        assert!(found.iter().all(|groups| groups.len() == 1));
        assert_eq!(
            queries.load(Ordering::Relaxed),
            2,
            "the first, and one for all others"
        );
    }
}
