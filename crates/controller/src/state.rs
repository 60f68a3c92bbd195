//! What the process remembers of each object: its newest status, and what paces its visits. After a restart all of it
//! comes from the object itself.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use serverprotection_core::conditions::{self, ConditionType};

use crate::kind::{Kind, StatusExt};

/// One object.
#[derive(Clone, Debug)]
pub(crate) struct ObjectState<K: Kind> {
    /// The status that should stand. The cache may still show an older one.
    pub(crate) status: Arc<K::Status>,
    /// The status that the API server is known to have had last.
    pub(crate) acknowledged: Option<Arc<K::Status>>,
    /// Another one was sent since, and nobody knows whether it arrived.
    pub(crate) unacknowledged: bool,
    pub(crate) history: K::History,
    /// The annotation that approves reductions, as the last visit saw it.
    pub(crate) approval: Option<String>,
    /// When the next visit is due, unless something happens before.
    pub(crate) next_reconcile: Option<Instant>,
    /// Failures of the API server in a row.
    pub(crate) kube_failures: u32,
    /// This build could not read the object: `status` holds its conditions only, and what stands is read again.
    pub(crate) unreadable: bool,
    /// Failures of its deletion in a row, while it is being deleted.
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

/// All objects of a kind, by uid.
#[derive(Debug)]
pub(crate) struct StateStore<K: Kind> {
    /// Objects, as `namespace/name`, that were woken because of something outside them: they need a visit.
    due: Mutex<HashSet<String>>,
    by_uid: Mutex<HashMap<String, ObjectState<K>>>,
    /// Panics in a row, of the objects whose last visit ended in one.
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

    /// Whether it was called; asked once for each visit.
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

    /// A visit of it panicked; how many in a row did. The next one is due again: not what was planned before it.
    pub(crate) fn panicked(&self, uid: &str) -> u32 {
        if let Some(state) = self.lock().get_mut(uid) {
            state.next_reconcile = None;
        }
        let mut panics = self.panics();
        let in_a_row = panics.entry(uid.to_owned()).or_default();
        *in_a_row = in_a_row.saturating_add(1);
        *in_a_row
    }

    /// A visit of it ended otherwise.
    pub(crate) fn did_not_panic(&self, uid: &str) {
        self.panics().remove(uid);
    }

    fn panics(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.panics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets objects that are gone.
    pub(crate) fn retain(&self, still_there: impl Fn(&str) -> bool) {
        self.lock().retain(|uid, _| still_there(uid));
        self.panics().retain(|uid, _| still_there(uid));
    }

    /// Objects by the status of their condition Ready.
    pub(crate) fn by_ready(&self) -> HashMap<String, i64> {
        let mut counts = HashMap::new();
        for state in self.lock().values() {
            let ready = conditions::get(state.status.conditions(), ConditionType::Ready);
            let ready = ready.map_or("Unknown", |condition| condition.status.as_str());
            *counts.entry(ready.to_owned()).or_default() += 1;
        }
        counts
    }

    /// Objects that are being deleted and wait for Azure.
    pub(crate) fn deletions(&self) -> usize {
        let waits = |state: &&ObjectState<K>| state.deleting.is_some();
        self.lock().values().filter(waits).count()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, ObjectState<K>>> {
        self.by_uid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
