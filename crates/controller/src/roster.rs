//! Which `SecurityConnector`s belong to which `ServerProtection`, and what each of them must hear of the other.
//!
//! ```text
//! ServerProtection ── subscription, identity, mode, interval, plan; machines ─▶ its SecurityConnectors
//! SecurityConnector ── Ready or why not ─────────────────────────────────────▶ its ServerProtection
//! ```

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serverprotection_core::{
    security_connector::desired::Protection,
    server_protection::connectors::{Connectors, NotReady},
};

/// Hundreds of connectors turn one by one, and each turn would be a patch of their `ServerProtection` that every client
/// hears of: what comes within this time after one is told together.
const BETWEEN_NEWS: Duration = Duration::from_secs(5);

/// Namespace and name of a `ServerProtection`.
type Key = (String, String);

/// What connectors need to know of their `ServerProtection`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) uid: String,
    pub(crate) protection: Protection,
    pub(crate) interval: Duration,
}

/// A connector as the cluster shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Why it is not Ready; `None`: it is.
    pub(crate) not_ready: Option<String>,
}

/// What a `ServerProtection` is to be told of its connectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NewsOfConnectors {
    /// Nothing.
    None,
    /// That they have changed.
    Now,
    /// The same, but not before this time is over.
    After(Duration),
}

/// Both kinds as their watches deliver them. A watch feeds it before its own cache, so that whoever is woken finds here
/// what it was woken for.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    protections: HashMap<Key, Known>,
    connectors: HashMap<Key, BTreeMap<String, Row>>,
    /// All connectors are listed: counts say something.
    listed: bool,
    /// Objects with something to tell that needs no visit.
    told_connectors: HashSet<Key>,
    /// When a `ServerProtection` was last told of its connectors.
    last_told: HashMap<Key, Instant>,
    told_machines: HashSet<String>,
}

impl Roster {
    /// The `ServerProtection` of this name.
    pub(crate) fn protection(&self, namespace: &str, name: &str) -> Option<Known> {
        self.lock().protections.get(&key(namespace, name)).cloned()
    }

    /// A `ServerProtection` was seen, or is gone; names the connectors for which that changes something.
    pub(crate) fn set_protection(&self, namespace: &str, name: &str, known: Option<&Known>) -> Vec<String> {
        let mut inner = self.lock();
        let key = key(namespace, name);
        let before = if let Some(known) = known {
            inner.protections.insert(key.clone(), known.clone())
        } else {
            inner.last_told.remove(&key);
            inner.protections.remove(&key)
        };
        if before.as_ref() == known {
            return Vec::new();
        }
        inner.names(&key)
    }

    /// After a complete list: forgets each `ServerProtection` that the list did not hold, and names its connectors.
    pub(crate) fn retain_protections(&self, seen: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let mut inner = self.lock();
        let gone: Vec<Key> = inner
            .protections
            .iter()
            .filter(|(_, known)| !seen(&known.uid))
            .map(|(key, _)| key.clone())
            .collect();
        let mut orphans = Vec::new();
        for key in gone {
            inner.protections.remove(&key);
            inner.last_told.remove(&key);
            let names = inner.names(&key).into_iter();
            orphans.extend(names.map(|name| (key.0.clone(), name)));
        }
        orphans
    }

    /// A connector was seen. Whether that is news for its `ServerProtection`.
    pub(crate) fn set_connector(
        &self,
        namespace: &str,
        protection: &str,
        uid: &str,
        connector: &Row,
    ) -> bool {
        let mut inner = self.lock();
        let key = key(namespace, protection);
        let all = inner.connectors.entry(key.clone()).or_default();
        let before = all.insert(uid.to_owned(), connector.clone());
        let news = before.as_ref() != Some(connector);
        if news {
            inner.told_connectors.insert(key);
        }
        news
    }

    /// A connector is gone: the `ServerProtection` for which that is news.
    pub(crate) fn remove_connector(&self, uid: &str) -> Option<(String, String)> {
        let mut inner = self.lock();
        inner.told_machines.remove(uid);
        let all = &mut inner.connectors;
        let key = all
            .iter_mut()
            .find_map(|(key, connectors)| connectors.remove(uid).map(|_| key.clone()))?;
        all.retain(|_, connectors| !connectors.is_empty());
        inner.told_connectors.insert(key.clone());
        Some(key)
    }

    /// After a complete list of connectors: counts say something from now on. Every `ServerProtection` may have news.
    pub(crate) fn connectors_are_listed(&self, seen: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let mut inner = self.lock();
        for connectors in inner.connectors.values_mut() {
            connectors.retain(|uid, _| seen(uid));
        }
        inner.connectors.retain(|_, connectors| !connectors.is_empty());
        inner.listed = true;
        let all: Vec<Key> = inner.protections.keys().cloned().collect();
        inner.told_connectors.extend(all.iter().cloned());
        all
    }

    /// The connectors of a `ServerProtection`; `None` while they are not listed.
    pub(crate) fn connectors(&self, namespace: &str, name: &str) -> Option<Connectors> {
        let inner = self.lock();
        if !inner.listed {
            return None;
        }
        let Some(all) = inner.connectors.get(&key(namespace, name)) else {
            return Some(Connectors::default());
        };
        let not_ready = all.values().filter_map(|connector| {
            let reason = connector.not_ready.clone()?;
            Some(NotReady {
                name: connector.name.clone(),
                reason,
            })
        });
        let mut not_ready: Vec<_> = not_ready.collect();
        not_ready.sort();
        Some(Connectors {
            total: all.len(),
            not_ready,
        })
    }

    /// Names of the connectors of a `ServerProtection`.
    pub(crate) fn names(&self, namespace: &str, name: &str) -> Vec<String> {
        self.lock().names(&key(namespace, name))
    }

    /// A scan found something new in the subscription of a `ServerProtection`: names its connectors, which may have news.
    pub(crate) fn machines_changed(&self, namespace: &str, name: &str) -> Vec<String> {
        let mut inner = self.lock();
        let key = key(namespace, name);
        let uids: Vec<String> = inner
            .connectors
            .get(&key)
            .into_iter()
            .flat_map(|all| all.keys().cloned())
            .collect();
        inner.told_machines.extend(uids);
        inner.names(&key)
    }

    /// News of the connectors of a `ServerProtection`. Taken by the one who tells it.
    pub(crate) fn take_news_of_connectors(
        &self,
        namespace: &str,
        name: &str,
        now: Instant,
    ) -> NewsOfConnectors {
        let mut inner = self.lock();
        let key = key(namespace, name);
        if !inner.told_connectors.contains(&key) {
            return NewsOfConnectors::None;
        }
        let told = inner.last_told.get(&key).copied();
        let left = told.and_then(|told| BETWEEN_NEWS.checked_sub(now.duration_since(told)));
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            return NewsOfConnectors::After(left);
        }
        inner.told_connectors.remove(&key);
        inner.last_told.insert(key, now);
        NewsOfConnectors::Now
    }

    /// Whether the machines of a connector may have changed since this was asked last.
    pub(crate) fn take_news_of_machines(&self, uid: &str) -> bool {
        self.lock().told_machines.remove(uid)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn names(&self, key: &Key) -> Vec<String> {
        let all = self.connectors.get(key).into_iter();
        all.flat_map(|all| all.values().map(|connector| connector.name.clone()))
            .collect()
    }
}

fn key(namespace: &str, name: &str) -> Key {
    (namespace.to_owned(), name.to_owned())
}

#[cfg(test)]
mod tests {
    use serverprotection_api::{Mode, Tier};

    use super::*;

    fn known(tier: Tier) -> Known {
        Known {
            uid: "p".into(),
            protection: Protection {
                subscription: "s".into(),
                mode: Mode::Enforce,
                tier,
                registers: false,
                credential: None,
            },
            interval: Duration::from_secs(600),
        }
    }

    fn listed(name: &str, not_ready: Option<&str>) -> Row {
        Row {
            name: name.into(),
            not_ready: not_ready.map(str::to_owned),
        }
    }

    #[test]
    fn counts_say_nothing_before_the_connectors_are_listed() {
        let roster = Roster::default();
        assert_eq!(roster.connectors("n", "prod"), None);
        roster.set_protection("n", "prod", Some(&known(Tier::P2)));
        roster.set_connector("n", "prod", "1", &listed("aws", Some("Progressing")));
        assert_eq!(roster.connectors_are_listed(|_| true), [key("n", "prod")]);
        let counts = roster.connectors("n", "prod").unwrap();
        assert_eq!((counts.total, counts.not_ready.len()), (1, 1));
        assert_eq!(roster.connectors("n", "other").unwrap().total, 0);
        let now = Instant::now();
        let news = || roster.take_news_of_connectors("n", "prod", now);
        assert_eq!([news(), news()], [NewsOfConnectors::Now, NewsOfConnectors::None]);
        assert!(!roster.set_connector("n", "prod", "1", &listed("aws", Some("Progressing"))));
        assert!(roster.set_connector("n", "prod", "1", &listed("aws", None)));
        assert_eq!(roster.remove_connector("1"), Some(key("n", "prod")));
        assert_eq!(roster.remove_connector("1"), None);
    }

    #[test]
    fn news_of_many_connectors_is_told_together() {
        let roster = Roster::default();
        let began = Instant::now();
        let turns = |name: &str| assert!(roster.set_connector("n", "prod", name, &listed(name, None)));
        let news = |second| roster.take_news_of_connectors("n", "prod", began + Duration::from_secs(second));
        turns("1");
        assert_eq!(news(0), NewsOfConnectors::Now, "the first at once");
        turns("2");
        turns("3");
        assert_eq!(news(1), NewsOfConnectors::After(Duration::from_secs(4)));
        assert_eq!(
            news(2),
            NewsOfConnectors::After(Duration::from_secs(3)),
            "it waits"
        );
        assert_eq!(
            [news(5), news(5)],
            [NewsOfConnectors::Now, NewsOfConnectors::None]
        );
        turns("4");
        assert_eq!(news(60), NewsOfConnectors::Now);
        assert_eq!(
            roster.take_news_of_connectors("n", "other", began),
            NewsOfConnectors::None
        );
    }

    #[test]
    fn connectors_hear_of_what_they_take_from_their_protection() {
        let roster = Roster::default();
        roster.set_connector("n", "prod", "1", &listed("aws", None));
        assert_eq!(
            roster.set_protection("n", "prod", Some(&known(Tier::P2))),
            ["aws"]
        );
        assert!(
            roster
                .set_protection("n", "prod", Some(&known(Tier::P2)))
                .is_empty()
        );
        assert_eq!(
            roster.set_protection("n", "prod", Some(&known(Tier::P1))),
            ["aws"]
        );
        assert!(
            roster
                .set_protection("other", "prod", Some(&known(Tier::P1)))
                .is_empty()
        );
        assert_eq!(roster.machines_changed("n", "prod"), ["aws"]);
        assert!(roster.take_news_of_machines("1") && !roster.take_news_of_machines("1"));
        // Gone while nobody watched.
        let orphans = roster.retain_protections(|_| false);
        assert_eq!(orphans, [("n".to_owned(), "aws".to_owned())]);
        assert_eq!(roster.protection("n", "prod"), None);
    }
}
