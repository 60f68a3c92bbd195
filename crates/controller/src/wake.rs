//! Waking objects for something that happened outside them.

use std::sync::Arc;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use kube::runtime::reflector::ObjectRef;

use crate::{guarded::Guarded, kind::Kind, remembered::Memories};

/// The queue of a kind's controller.
#[derive(Debug)]
pub(crate) struct Wake<K: Kind> {
    queue: UnboundedSender<ObjectRef<Guarded<K>>>,
    memories: Arc<Memories<K>>,
}

impl<K: Kind> Clone for Wake<K> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            memories: Arc::clone(&self.memories),
        }
    }
}

impl<K: Kind> Wake<K> {
    pub(crate) fn new(memories: Arc<Memories<K>>) -> (Self, UnboundedReceiver<ObjectRef<Guarded<K>>>) {
        let (queue, woken) = unbounded();
        (Self { queue, memories }, woken)
    }

    /// The object needs a visit: its credential changed, a claim became free.
    pub(crate) fn for_visit(&self, namespace: &str, name: &str) {
        self.memories.call(namespace, name);
        self.for_news(namespace, name);
    }

    /// There is news for the object, which needs no request to Azure.
    pub(crate) fn for_news(&self, namespace: &str, name: &str) {
        // The queue is gone only when the process ends.
        drop(self.queue.unbounded_send(ObjectRef::new(name).within(namespace)));
    }
}
