//! A cache of responses that concurrent callers share: one caller sends the request, the others wait for its response
//! or use a recent one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serverprotection_core::{azure_error::ErrorClass, reading::ReadResult};
use tokio::{sync::Mutex as AsyncMutex, time::Instant};

/// Cached results by key.
#[derive(Debug)]
pub(crate) struct SingleFlight<T> {
    by_key: Mutex<HashMap<String, Arc<Slot<T>>>>,
}

/// The caller that sends the request holds the lock until the response arrives.
type Slot<T> = AsyncMutex<Option<Cached<T>>>;

#[derive(Debug)]
struct Cached<T> {
    arrived: Instant,
    /// Never before `arrived`, so that callers that waited for the response use it.
    until: Instant,
    result: ReadResult<Arc<T>>,
}

impl<T> Default for SingleFlight<T> {
    fn default() -> Self {
        Self {
            by_key: Mutex::default(),
        }
    }
}

/// How old a cached result may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MaxAge {
    /// As old as its TTL allows.
    Any,
    /// At most [`Ttl::fresh_for`]: a user requested a reconcile.
    Fresh,
}

/// How long results are cached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ttl {
    pub(crate) success: Duration,
    pub(crate) failure: Duration,
    /// The age up to which a result counts as fresh, so that many requested reconciles share one response.
    pub(crate) fresh_for: Duration,
}

impl<T> SingleFlight<T> {
    /// The cached result, or that of `request`. Callers that waited for another caller's request use its result, even
    /// an error: otherwise each of them would repeat the failed request.
    pub(crate) async fn get(
        &self,
        key: &str,
        ttl: Ttl,
        age: MaxAge,
        request: impl Future<Output = ReadResult<T>>,
    ) -> ReadResult<Arc<T>> {
        let called = Instant::now();
        let slot = self.slot(key);
        let mut cached = slot.lock().await;
        let new_enough = |cached: &&Cached<T>| match age {
            MaxAge::Any => cached.until >= called,
            MaxAge::Fresh => cached.arrived + ttl.fresh_for >= called,
        };
        if let Some(cached) = cached.as_ref().filter(new_enough) {
            return cached.result.clone();
        }
        let result = request.await.map(Arc::new);
        if let Err(failure) = &result
            && failure.class == ErrorClass::Credential
        {
            // The credential of this caller does not work. That of the next one may.
            *cached = None;
            return result;
        }
        let ttl = match result {
            Ok(_) => ttl.success,
            Err(_) => ttl.failure,
        };
        let arrived = Instant::now();
        *cached = Some(Cached {
            arrived,
            until: arrived + ttl,
            result: result.clone(),
        });
        result
    }

    /// Updates the cached result after a write. Waits for a request that is in progress, whose response may be older
    /// than the write.
    pub(crate) async fn amend(&self, key: &str, amend: impl FnOnce(&mut T))
    where
        T: Clone,
    {
        let slot = self.lock().get(key).map(Arc::clone);
        if let Some(slot) = slot
            && let Some(cached) = slot.lock().await.as_mut()
            && let Ok(value) = &mut cached.result
        {
            amend(Arc::make_mut(value));
        }
    }

    fn slot(&self, key: &str) -> Arc<Slot<T>> {
        let mut by_key = self.lock();
        let now = Instant::now();
        let is_valid = |cached: &Option<Cached<T>>| cached.as_ref().is_some_and(|cached| cached.until > now);
        by_key.retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|cached| is_valid(&cached))
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

    /// The number of requests before the one whose result this is.
    async fn asked(kept: &SingleFlight<u32>, key: &str, asks: &AtomicU32) -> u32 {
        let ask = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok(asks.fetch_add(1, Ordering::SeqCst))
        };
        *kept.get(key, KEEP, MaxAge::Any, ask).await.unwrap()
    }

    #[tokio::test]
    async fn a_result_is_cached_by_key_until_it_expires() {
        let (kept, asks) = (SingleFlight::default(), AtomicU32::new(0));
        let first = tokio::join!(asked(&kept, "a", &asks), asked(&kept, "a", &asks));
        assert_eq!(first, (0, 0));
        assert_eq!(asked(&kept, "a", &asks).await, 0);
        assert_eq!(asked(&kept, "b", &asks).await, 1);
        tokio::time::sleep(KEEP.success).await;
        assert_eq!(asked(&kept, "a", &asks).await, 2);
        assert_eq!(kept.lock().len(), 1, "expired results are removed");
    }

    #[tokio::test]
    async fn callers_that_need_a_fresh_result_share_one_request() {
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
        assert_eq!(asked(&kept, "a", &asks).await, 1, "the fresh result is cached");
    }

    #[tokio::test]
    async fn after_a_caller_was_cancelled_the_next_one_sends_the_request() {
        let (kept, asks) = (SingleFlight::default(), AtomicU32::new(0));
        let cancelled = tokio::time::timeout(Duration::from_millis(2), asked(&kept, "a", &asks)).await;
        assert!(cancelled.is_err());
        assert_eq!(asked(&kept, "a", &asks).await, 0);
    }

    #[tokio::test]
    async fn an_error_of_one_credential_is_not_that_of_the_callers_that_waited() {
        let kept = SingleFlight::default();
        let refused = async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            Err(failure(ErrorClass::Credential))
        };
        let (first, second) = tokio::join!(
            kept.get("a", KEEP, MaxAge::Any, refused),
            kept.get("a", KEEP, MaxAge::Any, async { Ok(1) }),
        );
        assert_eq!(first.unwrap_err().class, ErrorClass::Credential);
        assert_eq!(*second.unwrap(), 1);
    }

    fn failure(class: ErrorClass) -> AzureError {
        AzureError {
            class,
            code: "X".into(),
            message: String::new(),
            operation: String::new(),
            request_id: None,
            effect_unknown: false,
        }
    }

    #[tokio::test]
    async fn a_failure_is_cached_for_its_ttl() {
        let kept = SingleFlight::<u32>::default();
        let fails = || async { Err(failure(ErrorClass::Transient)) };
        for (failure, second) in [(Duration::ZERO, Some(1)), (Duration::from_secs(9), None)] {
            let keep = Ttl { failure, ..KEEP };
            assert!(kept.get("a", keep, MaxAge::Any, fails()).await.is_err());
            let found = kept.get("a", keep, MaxAge::Any, async { Ok(1) }).await.ok();
            assert_eq!(found.as_deref(), second.as_ref());
            tokio::time::sleep(KEEP.success).await;
        }
    }

    #[tokio::test]
    async fn a_write_amends_the_result_of_a_request_in_progress() {
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
