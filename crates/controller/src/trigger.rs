//! Queues objects for reasons other than their own watch events.

use std::sync::Arc;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use kube::runtime::reflector::ObjectRef;
use tokio_util::sync::CancellationToken;

use crate::{kind::Kind, parsed::Parsed, state::StateStore};

/// The queue of a kind's controller.
#[derive(Debug)]
pub(crate) struct Trigger<K: Kind> {
    queue: UnboundedSender<ObjectRef<Parsed<K>>>,
    states: Arc<StateStore<K>>,
    elected: CancellationToken,
}

impl<K: Kind> Clone for Trigger<K> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            states: Arc::clone(&self.states),
            elected: self.elected.clone(),
        }
    }
}

impl<K: Kind> Trigger<K> {
    pub(crate) fn new(
        states: Arc<StateStore<K>>,
        elected: CancellationToken,
    ) -> (Self, UnboundedReceiver<ObjectRef<Parsed<K>>>) {
        let (queue, triggered) = unbounded();
        let trigger = Self {
            queue,
            states,
            elected,
        };
        (trigger, triggered)
    }

    /// A trigger of a process that is the leader.
    #[cfg(test)]
    pub(crate) fn of_leader(states: Arc<StateStore<K>>) -> (Self, UnboundedReceiver<ObjectRef<Parsed<K>>>) {
        let elected = CancellationToken::new();
        elected.cancel();
        Self::new(states, elected)
    }

    /// Makes the object due, because its credential changed or a claim was released.
    pub(crate) fn reconcile(&self, namespace: &str, name: &str) {
        self.states.trigger(namespace, name);
        self.refresh(namespace, name);
    }

    /// Queues the object because cached data changed. If it is not due, only its status is computed again. The namespace
    /// of an object of the cluster is empty.
    pub(crate) fn refresh(&self, namespace: &str, name: &str) {
        // A standby reconciles nothing. When it becomes the leader, it reconciles every object.
        if !self.elected.is_cancelled() {
            return;
        }
        let object = ObjectRef::new(name);
        let object = if namespace.is_empty() {
            object
        } else {
            object.within(namespace)
        };
        // The queue is closed only when the process ends.
        drop(self.queue.unbounded_send(object));
    }
}
