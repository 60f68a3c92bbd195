//! Locks that serialize writes (I-3): Azure refuses a concurrent write of a subscription's plans with 409.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Locks by key, shared by all identities of the process. Unused locks are removed.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    by_key: Mutex<HashMap<String, Weak<AsyncMutex<()>>>>,
}

impl Locks {
    /// Waits for the lock of all plans of a subscription.
    pub(crate) async fn plans(&self, subscription: &str) -> OwnedMutexGuard<()> {
        self.lock(format!("{subscription}/pricings")).await
    }

    /// Waits for the lock of a connector, by its resource id.
    pub(crate) async fn connector(&self, id: &str) -> OwnedMutexGuard<()> {
        self.lock(id.to_lowercase()).await
    }

    /// Waits for the lock of a resource group, which several connectors may need to create.
    pub(crate) async fn resource_group(&self, subscription: &str, name: &str) -> OwnedMutexGuard<()> {
        self.lock(format!("{subscription}/resourcegroups/{name}").to_lowercase())
            .await
    }

    /// Waits for the lock of the registration of a resource provider, which several connectors may need.
    pub(crate) async fn registration(&self, subscription: &str, namespace: &str) -> OwnedMutexGuard<()> {
        self.lock(format!("{subscription}/providers/{namespace}").to_lowercase())
            .await
    }

    async fn lock(&self, key: String) -> OwnedMutexGuard<()> {
        let lock = {
            let mut all = self
                .by_key
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            all.retain(|_, lock| lock.strong_count() > 0);
            let known = all.get(&key).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let lock = Arc::new(AsyncMutex::new(()));
                all.insert(key, Arc::downgrade(&lock));
                lock
            })
        };
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_writer_waits_for_the_first() {
        let locks = Locks::default();
        let first = locks.plans("s").await;
        let other = locks.plans("other").await;
        let second = tokio::time::timeout(std::time::Duration::from_millis(20), locks.plans("s")).await;
        assert!(second.is_err(), "the lock was acquired twice");
        drop((first, other));
        locks.plans("s").await;
    }

    #[tokio::test]
    async fn each_connector_has_one_lock_in_any_case_of_its_id() {
        let locks = Locks::default();
        let _first = locks.connector("/subscriptions/S/x/One").await;
        let _other = locks.connector("/subscriptions/s/x/two").await;
        let same = locks.connector("/SUBSCRIPTIONS/s/x/one");
        let second = tokio::time::timeout(std::time::Duration::from_millis(20), same).await;
        assert!(second.is_err(), "the lock was acquired twice");
    }
}
