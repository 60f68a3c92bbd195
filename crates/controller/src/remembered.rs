//! What the process remembers of each object: its newest status, and what paces its visits. After a restart all of it
//! comes from the object itself.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use serverprotection_api::ServerProtectionStatus;
use serverprotection_core::{conditions, server_protection::pace::Memory};

/// One object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remembered {
    /// The status that should stand. The cache may still show an older one.
    pub(crate) status: Arc<ServerProtectionStatus>,
    /// The status that the API server is known to have had last.
    pub(crate) saved: Option<Arc<ServerProtectionStatus>>,
    /// Another one was sent since, and nobody knows whether it arrived.
    pub(crate) doubtful: bool,
    pub(crate) memory: Memory,
    /// The annotation that approves reductions, as the last visit saw it.
    pub(crate) approval: Option<String>,
    /// When the next visit is due, unless something happens before.
    pub(crate) next_visit: Option<Instant>,
    /// Failures of the API server in a row.
    pub(crate) kube_failures: u32,
    /// This build could not read the object: `status` holds its conditions only, and what stands is read again.
    pub(crate) unreadable: bool,
}

/// All objects, by uid.
#[derive(Debug, Default)]
pub(crate) struct Memories {
    /// Objects, as `namespace/name`, that were woken because of a credential or a claim: they need a visit.
    called: Mutex<HashSet<String>>,
    by_uid: Mutex<HashMap<String, Remembered>>,
}

impl Memories {
    pub(crate) fn call(&self, namespace: &str, name: &str) {
        self.called().insert(format!("{namespace}/{name}"));
    }

    /// Whether it was called; asked once for each visit.
    pub(crate) fn take_call(&self, namespace: &str, name: &str) -> bool {
        self.called().remove(&format!("{namespace}/{name}"))
    }

    fn called(&self) -> MutexGuard<'_, HashSet<String>> {
        self.called
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn get(&self, uid: &str) -> Option<Remembered> {
        self.lock().get(uid).cloned()
    }

    pub(crate) fn put(&self, uid: &str, remembered: Remembered) {
        self.lock().insert(uid.to_owned(), remembered);
    }

    pub(crate) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// Objects by the status of their condition Ready.
    pub(crate) fn by_ready(&self) -> HashMap<String, i64> {
        let mut counts = HashMap::new();
        for remembered in self.lock().values() {
            let ready = conditions::get(&remembered.status.conditions, "Ready");
            let ready = ready.map_or("Unknown", |condition| condition.status.as_str());
            *counts.entry(ready.to_owned()).or_default() += 1;
        }
        counts
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Remembered>> {
        self.by_uid
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
