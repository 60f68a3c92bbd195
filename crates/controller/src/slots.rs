//! The slots of reconciles. kube's `Controller` would run objects in the order in which they are queued, so one tenant
//! with many slow objects would delay all others.
//!
//! An object without a slot is put back. It is queued again when it has one, so that it is then taken from the cache.

use std::sync::{Mutex, PoisonError};

use kube::api::ObjectMeta;
use serverprotection_core::fair_queue::{FairQueue, Tenant};

use crate::{kind::Kind, trigger::Trigger};

/// Namespace and name of an object.
type Name = (String, String);

/// The slots of a kind.
pub(crate) struct Slots<K: Kind> {
    queue: Mutex<FairQueue<Name>>,
    trigger: Trigger<K>,
}

/// A slot in use, which is given back when it is dropped, also by a panic.
pub(crate) struct Slot<'a, K: Kind> {
    slots: &'a Slots<K>,
    name: Name,
}

impl<K: Kind> Slots<K> {
    pub(crate) fn new(concurrency: u16, trigger: Trigger<K>) -> Self {
        Self {
            queue: Mutex::new(FairQueue::new(concurrency.into())),
            trigger,
        }
    }

    /// Returns a slot for an object. Without one, the object waits, and is queued again when it has one.
    pub(crate) fn enter(&self, object: &ObjectMeta, credential: Option<String>) -> Option<Slot<'_, K>> {
        let name = (
            object.namespace.clone().unwrap_or_default(),
            object.name.clone().unwrap_or_default(),
        );
        let tenant = Tenant {
            namespace: name.0.clone(),
            credential,
        };
        let entered = self.lock().enter(&name, &tenant);
        entered.then(|| Slot { slots: self, name })
    }

    /// An object does not exist any more. It may have had a slot that it never used.
    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        self.leave(&(namespace.to_owned(), name.to_owned()));
    }

    fn leave(&self, name: &Name) {
        let granted = self.lock().leave(name);
        for (namespace, name) in granted {
            self.trigger.refresh(&namespace, &name);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, FairQueue<Name>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Kind> Drop for Slot<'_, K> {
    fn drop(&mut self) {
        self.slots.leave(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::{StreamExt as _, channel::mpsc::UnboundedReceiver};
    use kube::runtime::reflector::ObjectRef;
    use serverprotection_api::ServerProtection;

    use super::*;
    use crate::{parsed::Parsed, state::StateStore};

    fn object(namespace: &str, name: &str) -> ObjectMeta {
        ObjectMeta {
            namespace: Some(namespace.into()),
            name: Some(name.into()),
            ..ObjectMeta::default()
        }
    }

    async fn next(triggered: &mut UnboundedReceiver<ObjectRef<Parsed<ServerProtection>>>) -> ObjectMeta {
        let next = triggered.next().await.unwrap();
        object(&next.namespace.unwrap(), &next.name)
    }

    #[tokio::test]
    async fn an_object_without_a_slot_is_queued_again_when_one_is_free() {
        let (trigger, mut triggered) =
            Trigger::of_leader(Arc::new(StateStore::<ServerProtection>::default()));
        let slots = Slots::new(1, trigger);
        let first = slots.enter(&object("a", "1"), None).unwrap();
        assert!(slots.enter(&object("b", "1"), None).is_none());
        drop(first);
        assert_eq!(next(&mut triggered).await, object("b", "1"));
        let granted = slots.enter(&object("b", "1"), None);
        assert!(granted.is_some());
        drop(granted);
        // Deleted between the grant and its reconcile.
        let other = slots.enter(&object("a", "2"), None).unwrap();
        assert!(slots.enter(&object("b", "2"), None).is_none());
        assert!(slots.enter(&object("c", "3"), None).is_none());
        drop(other);
        assert_eq!(next(&mut triggered).await, object("b", "2"));
        slots.forget("b", "2");
        assert_eq!(next(&mut triggered).await, object("c", "3"));
    }

    #[test]
    fn a_panic_gives_the_slot_back() {
        let (trigger, _triggered) = Trigger::of_leader(Arc::new(StateStore::<ServerProtection>::default()));
        let slots = Slots::new(1, trigger);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _slot = slots.enter(&object("a", "1"), None).unwrap();
            panic!("with the slot held");
        }));
        assert!(panicked.is_err());
        assert!(slots.enter(&object("b", "1"), None).is_some());
    }
}
