//! Answers that many ask for at once: one asks Azure, the others wait for its answer or take the one of a moment ago.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serverprotection_core::server_protection::observed::ReadResult;
use tokio::{sync::Mutex as AsyncMutex, time::Instant};

/// Answers by key, each kept for a while.
#[derive(Debug)]
pub(crate) struct SingleFlight<T> {
    by_key: Mutex<HashMap<String, Arc<Slot<T>>>>,
}

/// The one who asks holds the lock meanwhile.
type Slot<T> = AsyncMutex<Option<Answer<T>>>;

#[derive(Debug)]
struct Answer<T> {
    came: Instant,
    /// Not before it came: who arrived while somebody asked, takes it.
    until: Instant,
    reading: ReadResult<Arc<T>>,
}

impl<T> Default for SingleFlight<T> {
    fn default() -> Self {
        Self {
            by_key: Mutex::default(),
        }
    }
}

/// How old an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MaxAge {
    /// As old as answers are kept.
    Any,
    /// Of a moment ago at most: somebody has mended something and asks for a look.
    Fresh,
}

/// How long answers are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ttl {
    pub(crate) success: Duration,
    pub(crate) failure: Duration,
    /// How old an answer may be for those who want a new one. Hundreds may be asked to look at once.
    pub(crate) fresh_for: Duration,
}

impl<T> SingleFlight<T> {
    /// The kept answer, or that of `ask`. Who waited while somebody asked takes what came, whatever it is: a failure
    /// must not be asked for again by each of those who waited.
    pub(crate) async fn get(
        &self,
        key: &str,
        keep: Ttl,
        age: MaxAge,
        ask: impl Future<Output = ReadResult<T>>,
    ) -> ReadResult<Arc<T>> {
        let arrived = Instant::now();
        let slot = self.slot(key);
        let mut kept = slot.lock().await;
        let new_enough = |answer: &&Answer<T>| match age {
            MaxAge::Any => answer.until >= arrived,
            MaxAge::Fresh => answer.came + keep.fresh_for >= arrived,
        };
        if let Some(answer) = kept.as_ref().filter(new_enough) {
            return answer.reading.clone();
        }
        let reading = ask.await.map(Arc::new);
        let keep = match reading {
            Ok(_) => keep.success,
            Err(_) => keep.failure,
        };
        let came = Instant::now();
        *kept = Some(Answer {
            came,
            until: came + keep,
            reading: reading.clone(),
        });
        reading
    }

    /// Brings the kept answer up to date with what was just done. Waits while somebody asks: that answer may be older.
    pub(crate) async fn amend(&self, key: &str, amend: impl FnOnce(&mut T))
    where
        T: Clone,
    {
        let slot = self.lock().get(key).map(Arc::clone);
        if let Some(slot) = slot
            && let Some(answer) = slot.lock().await.as_mut()
            && let Ok(value) = &mut answer.reading
        {
            amend(Arc::make_mut(value));
        }
    }

    fn slot(&self, key: &str) -> Arc<Slot<T>> {
        let mut by_key = self.lock();
        let now = Instant::now();
        let is_fresh = |kept: &Option<Answer<T>>| kept.as_ref().is_some_and(|answer| answer.until > now);
        by_key.retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|kept| is_fresh(&kept))
        });
        Arc::clone(by_key.entry(key.to_owned()).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Slot<T>>>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use serverprotection_core::azure_error::{AzureError, ErrorClass};

    use super::*;

    const KEEP: Ttl = Ttl {
        success: Duration::from_millis(100),
        failure: Duration::ZERO,
        fresh_for: Duration::ZERO,
    };

    async fn asked(kept: &SingleFlight<u32>, key: &str, asks: &AtomicU32) -> u32 {
        let ask = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok(asks.fetch_add(1, Ordering::SeqCst))
        };
        *kept.get(key, KEEP, MaxAge::Any, ask).await.unwrap()
    }

    #[tokio::test]
    async fn an_answer_is_kept_for_a_while_by_key() {
        let (kept, asks) = (SingleFlight::default(), AtomicU32::new(0));
        let first = tokio::join!(asked(&kept, "a", &asks), asked(&kept, "a", &asks));
        assert_eq!(first, (0, 0));
        assert_eq!(asked(&kept, "a", &asks).await, 0);
        assert_eq!(asked(&kept, "b", &asks).await, 1);
        tokio::time::sleep(KEEP.success).await;
        assert_eq!(asked(&kept, "a", &asks).await, 2);
        assert_eq!(kept.lock().len(), 1, "what is old is not held");
    }

    #[tokio::test]
    async fn who_wants_a_new_answer_gets_one_and_those_who_want_it_at_once_share_it() {
        let (kept, asks) = (SingleFlight::default(), AtomicU32::new(0));
        assert_eq!(asked(&kept, "a", &asks).await, 0);
        let new = || async {
            let ask = async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Ok(asks.fetch_add(1, Ordering::SeqCst))
            };
            *kept.get("a", KEEP, MaxAge::Fresh, ask).await.unwrap()
        };
        assert_eq!(tokio::join!(new(), new()), (1, 1));
        assert_eq!(asked(&kept, "a", &asks).await, 1, "and it is kept");
    }

    #[tokio::test]
    async fn who_gives_up_leaves_the_question_to_the_next() {
        let (kept, asks) = (SingleFlight::default(), AtomicU32::new(0));
        let impatient = tokio::time::timeout(Duration::from_millis(2), asked(&kept, "a", &asks)).await;
        assert!(impatient.is_err());
        assert_eq!(asked(&kept, "a", &asks).await, 0);
    }

    #[tokio::test]
    async fn a_failure_is_cached_for_its_ttl() {
        let kept = SingleFlight::<u32>::default();
        let fails = || async {
            Err(AzureError {
                class: ErrorClass::Transient,
                code: "X".into(),
                message: String::new(),
                operation: String::new(),
                request_id: None,
                effect_unknown: false,
            })
        };
        for (failure, second) in [(Duration::ZERO, Some(1)), (Duration::from_secs(9), None)] {
            let keep = Ttl { failure, ..KEEP };
            assert!(kept.get("a", keep, MaxAge::Any, fails()).await.is_err());
            let found = kept.get("a", keep, MaxAge::Any, async { Ok(1) }).await.ok();
            assert_eq!(found.as_deref(), second.as_ref());
            tokio::time::sleep(KEEP.success).await;
        }
    }

    #[tokio::test]
    async fn what_was_just_done_is_amended_also_while_somebody_asks() {
        let (kept, asks) = (SingleFlight::default(), AtomicU32::new(0));
        kept.amend("a", |value| *value = 7).await;
        let amend = async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            kept.amend("a", |value| *value += 8).await;
        };
        tokio::join!(asked(&kept, "a", &asks), amend);
        assert_eq!(asked(&kept, "a", &asks).await, 8);
    }
}
