//! Answers that many ask for at once: one asks Azure, the others wait for its answer or take the one of a moment ago.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serverprotection_core::server_protection::observed::Reading;
use tokio::{sync::Mutex as AsyncMutex, time::Instant};

/// Answers by key, each kept for a while.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    by_key: Mutex<HashMap<String, Arc<Slot<T>>>>,
}

/// The one who asks holds the lock meanwhile.
type Slot<T> = AsyncMutex<Option<Answer<T>>>;

#[derive(Debug)]
struct Answer<T> {
    came: Instant,
    until: Instant,
    reading: Reading<Arc<T>>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            by_key: Mutex::default(),
        }
    }
}

/// How long answers are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeepFor {
    pub(crate) success: Duration,
    pub(crate) failure: Duration,
}

impl<T> Kept<T> {
    /// The kept answer, or that of `ask`. Who waited while somebody asked takes what came, whatever it is: a failure
    /// must not be asked for again by each of those who waited.
    pub(crate) async fn get(
        &self,
        key: &str,
        keep: KeepFor,
        ask: impl Future<Output = Reading<T>>,
    ) -> Reading<Arc<T>> {
        let arrived = Instant::now();
        let slot = self.slot(key);
        let mut kept = slot.lock().await;
        if let Some(answer) = kept.as_ref()
            && (answer.came >= arrived || answer.until > arrived)
        {
            return answer.reading.clone();
        }
        let reading = ask.await.map(Arc::new);
        let came = Instant::now();
        *kept = Some(Answer {
            came,
            until: came
                + if reading.is_ok() {
                    keep.success
                } else {
                    keep.failure
                },
            reading: reading.clone(),
        });
        reading
    }

    /// The next one asks again.
    pub(crate) fn forget(&self, key: &str) {
        self.lock().remove(key);
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
