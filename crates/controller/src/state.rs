//! What the process stores about each object: its newest status, and what decides about the next reconcile. After a
//! restart, it starts again from the status of the object.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use serverprotection_core::Timestamp;

use crate::{kind::Kind, metrics::ObjectCounts};

/// One object.
#[derive(Clone, Debug)]
pub(crate) struct ObjectState<K: Kind> {
    /// The newest status. The cache may still contain an older one.
    pub(crate) status: Arc<K::Status>,
    /// The last status that the API server acknowledged.
    pub(crate) acknowledged: Option<Arc<K::Status>>,
    /// Another status was sent since, and its arrival is uncertain.
    pub(crate) unacknowledged: bool,
    pub(crate) history: K::History,
    /// The annotation that approves reductions, as the last reconcile saw it.
    pub(crate) approval: Option<String>,
    /// When the next reconcile is due if nothing triggers it earlier.
    pub(crate) next_reconcile: Option<Instant>,
    /// Consecutive API server errors.
    pub(crate) kube_failures: u32,
    /// This build could not parse the object: `status` contains only its conditions and must be read again.
    pub(crate) unreadable: bool,
    /// Consecutive failures of the deletion, while the object is being deleted.
    pub(crate) deleting: Option<u32>,
}

impl<K: Kind> Default for ObjectState<K> {
    fn default() -> Self {
        Self {
            status: Arc::default(),
            acknowledged: None,
            unacknowledged: false,
            history: K::History::default(),
            approval: None,
            next_reconcile: None,
            kube_failures: 0,
            unreadable: false,
            deleting: None,
        }
    }
}

/// The state of all objects of a kind, by uid.
#[derive(Debug)]
pub(crate) struct StateStore<K: Kind> {
    /// Objects, as `namespace/name`, that need a reconcile because something else changed.
    due: Mutex<HashSet<String>>,
    by_uid: Mutex<HashMap<String, ObjectState<K>>>,
    /// Consecutive panics of objects whose last reconcile panicked.
    panics: Mutex<HashMap<String, u32>>,
}

impl<K: Kind> Default for StateStore<K> {
    fn default() -> Self {
        Self {
            due: Mutex::default(),
            by_uid: Mutex::default(),
            panics: Mutex::default(),
        }
    }
}

impl<K: Kind> StateStore<K> {
    pub(crate) fn mark_due(&self, namespace: &str, name: &str) {
        self.due().insert(format!("{namespace}/{name}"));
    }

    /// Returns whether the object was marked as due, and clears the mark.
    pub(crate) fn take_due(&self, namespace: &str, name: &str) -> bool {
        self.due().remove(&format!("{namespace}/{name}"))
    }

    fn due(&self) -> MutexGuard<'_, HashSet<String>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, uid: &str) -> Option<ObjectState<K>> {
        self.lock().get(uid).cloned()
    }

    pub(crate) fn put(&self, uid: &str, state: ObjectState<K>) {
        self.lock().insert(uid.to_owned(), state);
    }

    pub(crate) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
        self.did_not_panic(uid);
    }

    /// Records a panic, and returns the number of consecutive ones. The object is due at once, whatever was planned
    /// before.
    pub(crate) fn panicked(&self, uid: &str) -> u32 {
        if let Some(state) = self.lock().get_mut(uid) {
            state.next_reconcile = None;
        }
        let mut panics = self.panics();
        let in_a_row = panics.entry(uid.to_owned()).or_default();
        *in_a_row = in_a_row.saturating_add(1);
        *in_a_row
    }

    /// Records a reconcile that did not panic.
    pub(crate) fn did_not_panic(&self, uid: &str) {
        self.panics().remove(uid);
    }

    fn panics(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.panics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the state of objects that no longer exist.
    pub(crate) fn retain(&self, still_there: impl Fn(&str) -> bool) {
        self.lock().retain(|uid, _| still_there(uid));
        self.panics().retain(|uid, _| still_there(uid));
    }

    /// Counts the objects for the gauges.
    pub(crate) fn counts(&self, now: Timestamp) -> ObjectCounts {
        let mut counts = ObjectCounts::default();
        for state in self.lock().values() {
            counts.add(&*state.status, state.deleting.is_some(), now);
        }
        counts
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, ObjectState<K>>> {
        self.by_uid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
