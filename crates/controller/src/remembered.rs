//! What the process remembers of each object: its newest status, and what paces its visits. After a restart all of it
//! comes from the object itself.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use serverprotection_core::conditions;

use crate::kind::{Kind, Standing};

/// One object.
#[derive(Clone, Debug)]
pub(crate) struct Remembered<K: Kind> {
    /// The status that should stand. The cache may still show an older one.
    pub(crate) status: Arc<K::Status>,
    /// The status that the API server is known to have had last.
    pub(crate) saved: Option<Arc<K::Status>>,
    /// Another one was sent since, and nobody knows whether it arrived.
    pub(crate) doubtful: bool,
    pub(crate) memory: K::Memory,
    /// The annotation that approves reductions, as the last visit saw it.
    pub(crate) approval: Option<String>,
    /// When the next visit is due, unless something happens before.
    pub(crate) next_visit: Option<Instant>,
    /// Failures of the API server in a row.
    pub(crate) kube_failures: u32,
    /// This build could not read the object: `status` holds its conditions only, and what stands is read again.
    pub(crate) unreadable: bool,
    /// Failures of its deletion in a row, while it is being deleted.
    pub(crate) deleting: Option<u32>,
}

impl<K: Kind> Default for Remembered<K> {
    fn default() -> Self {
        Self {
            status: Arc::default(),
            saved: None,
            doubtful: false,
            memory: K::Memory::default(),
            approval: None,
            next_visit: None,
            kube_failures: 0,
            unreadable: false,
            deleting: None,
        }
    }
}

/// All objects of a kind, by uid.
#[derive(Debug)]
pub(crate) struct Memories<K: Kind> {
    /// Objects, as `namespace/name`, that were woken because of something outside them: they need a visit.
    called: Mutex<HashSet<String>>,
    by_uid: Mutex<HashMap<String, Remembered<K>>>,
    /// Panics in a row, of the objects whose last visit ended in one.
    panics: Mutex<HashMap<String, u32>>,
}

impl<K: Kind> Default for Memories<K> {
    fn default() -> Self {
        Self {
            called: Mutex::default(),
            by_uid: Mutex::default(),
            panics: Mutex::default(),
        }
    }
}

impl<K: Kind> Memories<K> {
    pub(crate) fn call(&self, namespace: &str, name: &str) {
        self.called().insert(format!("{namespace}/{name}"));
    }

    /// Whether it was called; asked once for each visit.
    pub(crate) fn take_call(&self, namespace: &str, name: &str) -> bool {
        self.called().remove(&format!("{namespace}/{name}"))
    }

    fn called(&self) -> MutexGuard<'_, HashSet<String>> {
        self.called.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, uid: &str) -> Option<Remembered<K>> {
        self.lock().get(uid).cloned()
    }

    pub(crate) fn put(&self, uid: &str, remembered: Remembered<K>) {
        self.lock().insert(uid.to_owned(), remembered);
    }

    pub(crate) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
        self.did_not_panic(uid);
    }

    /// A visit of it panicked; how many in a row did. The next one is due again: not what was planned before it.
    pub(crate) fn panicked(&self, uid: &str) -> u32 {
        if let Some(remembered) = self.lock().get_mut(uid) {
            remembered.next_visit = None;
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
        for remembered in self.lock().values() {
            let ready = conditions::get(remembered.status.conditions(), "Ready");
            let ready = ready.map_or("Unknown", |condition| condition.status.as_str());
            *counts.entry(ready.to_owned()).or_default() += 1;
        }
        counts
    }

    /// Objects that are being deleted and wait for Azure.
    pub(crate) fn deletions(&self) -> usize {
        let waits = |remembered: &&Remembered<K>| remembered.deleting.is_some();
        self.lock().values().filter(waits).count()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Remembered<K>>> {
        self.by_uid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
