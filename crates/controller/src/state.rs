//! What the process stores about each object: its newest status, what decides about the next reconcile, and when that
//! is due. After a restart, it starts again from the status of the object.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use kube::api::ObjectMeta;
use serverprotection_core::{Timestamp, events::Write};

use crate::{kind::Kind, metrics::ObjectCounts};

/// How late a reconcile begins before its object counts as overdue. Objects wait for slots while many are due.
const OVERDUE_AFTER: Duration = Duration::from_secs(300);

/// One object.
#[derive(Clone, Debug)]
pub(crate) struct ObjectState<K: Kind> {
    /// The newest status. The API server may still have an older one.
    pub(crate) status: Arc<K::Status>,
    /// The last status that the API server acknowledged.
    pub(crate) acknowledged: Arc<K::Status>,
    /// Another status was computed since.
    pub(crate) unacknowledged: bool,
    /// A status was sent since, and its arrival is uncertain.
    pub(crate) uncertain: bool,
    /// The newest known version of the object, which a write must name.
    pub(crate) resource_version: String,
    /// The last write of the status by this process.
    pub(crate) last_write: Option<Instant>,
    pub(crate) history: K::History,
    /// The writes to Azure that no event has reported yet. They outlive a reconcile that cannot write its status.
    pub(crate) written: Vec<Write>,
    /// The annotation that approves reductions, as the last reconcile saw it.
    pub(crate) approval: Option<String>,
    /// Consecutive API server errors.
    pub(crate) kube_failures: u32,
    /// This build could not parse the object: `status` contains only its conditions and must be read again.
    pub(crate) unreadable: bool,
    /// Consecutive failures of the deletion, while the object is being deleted.
    pub(crate) deleting: Option<u32>,
}

impl<K: Kind> ObjectState<K> {
    /// The state of an object of which the process knows only the status.
    pub(crate) fn new(status: K::Status, resource_version: String) -> Self {
        let status = Arc::new(status);
        Self {
            acknowledged: Arc::clone(&status),
            status,
            unacknowledged: false,
            uncertain: false,
            resource_version,
            last_write: None,
            history: K::History::default(),
            written: Vec::new(),
            approval: None,
            kube_failures: 0,
            unreadable: false,
            deleting: None,
        }
    }
}

/// An object in the store.
#[derive(Debug)]
struct Entry<K: Kind> {
    uid: String,
    /// The newest generation that the watch delivered.
    generation: Option<i64>,
    state: ObjectState<K>,
    /// When the next reconcile reads and writes Azure; `None` means now.
    due: Option<Instant>,
    /// Whether a reconcile was completed since the object appeared.
    reconciled: bool,
    /// Consecutive panics.
    panics: u32,
    /// The object is being deleted; the controller of its kind decides when it is reconciled.
    deleted: bool,
}

impl<K: Kind> Entry<K> {
    /// Whether a reconcile should have begun some time ago. An object for which none is planned waits for a change.
    fn is_overdue(&self, now: Instant) -> bool {
        let late = self.due.map_or(!self.reconciled, |due| {
            now.saturating_duration_since(due) > OVERDUE_AFTER
        });
        late && !self.deleted && !self.state.unreadable
    }
}

/// The state of all objects of a kind. A watch event creates an entry before the object can be reconciled.
#[derive(Debug)]
pub(crate) struct StateStore<K: Kind> {
    /// By namespace and name.
    entries: Mutex<HashMap<String, Entry<K>>>,
    /// The number of entries whose first reconcile is not complete.
    new: AtomicUsize,
}

impl<K: Kind> Default for StateStore<K> {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
            new: AtomicUsize::new(0),
        }
    }
}

impl<K: Kind> StateStore<K> {
    /// Takes in an object as its watch delivers it. The status counts only if the process knows none, because its own
    /// is newer. `readable`: this build can parse the object.
    pub(crate) fn observe(&self, meta: &ObjectMeta, status: Option<&K::Status>, readable: bool) {
        let version = meta.resource_version.clone().unwrap_or_default();
        let uid = meta.uid.clone().unwrap_or_default();
        let mut entries = self.lock();
        match entries.get_mut(&key(meta)) {
            Some(entry) if entry.uid == uid && !(entry.state.unreadable && readable) => {
                entry.generation = meta.generation;
                entry.deleted = meta.deletion_timestamp.is_some();
                // A status that this process did not write is not taken over: the next write must conflict with it.
                let own =
                    entry.state.uncertain || status.is_none_or(|status| *status == *entry.state.acknowledged);
                if own && is_newer(&version, &entry.state.resource_version) {
                    entry.state.resource_version = version;
                }
            }
            _ => {
                let mut state = ObjectState::new(status.cloned().unwrap_or_default(), version);
                state.unreadable = !readable;
                let entry = Entry {
                    uid,
                    generation: meta.generation,
                    state,
                    due: None,
                    reconciled: false,
                    panics: 0,
                    deleted: meta.deletion_timestamp.is_some(),
                };
                let before = entries.insert(key(meta), entry);
                self.count(before.as_ref(), true);
            }
        }
    }

    /// The state of an object that was observed and is not deleted.
    pub(crate) fn get(&self, meta: &ObjectMeta) -> Option<ObjectState<K>> {
        self.with(meta, |entry| entry.state.clone())
    }

    /// The newest status of the object of this name.
    pub(crate) fn status(&self, namespace: &str, name: &str) -> Option<Arc<K::Status>> {
        let entries = self.lock();
        let entry = entries.get(&format!("{namespace}/{name}"))?;
        Some(Arc::clone(&entry.state.status))
    }

    /// Whether the object still exists with the spec of this generation, as far as the watch knows.
    pub(crate) fn is_newest(&self, meta: &ObjectMeta) -> bool {
        self.with(meta, |entry| entry.generation <= meta.generation)
            .unwrap_or(false)
    }

    /// Stores the state, unless the object was deleted meanwhile.
    pub(crate) fn put(&self, meta: &ObjectMeta, state: ObjectState<K>) {
        self.with(meta, |entry| entry.state = state);
    }

    /// The time until the next reconcile that reads and writes Azure; `None` if it is due.
    pub(crate) fn due_in(&self, meta: &ObjectMeta) -> Option<Duration> {
        let due = self.with(meta, |entry| entry.due)??;
        due.checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
    }

    /// A reconcile that reads and writes Azure begins. It stays due until [`Self::schedule`], so that a reconcile which
    /// is interrupted is repeated.
    pub(crate) fn begin(&self, meta: &ObjectMeta) {
        self.with(meta, |entry| entry.due = None);
    }

    /// Plans the next reconcile, unless it was triggered since [`Self::begin`].
    pub(crate) fn schedule(&self, meta: &ObjectMeta, next: Option<Instant>) {
        self.with(meta, |entry| {
            if entry.due.is_none() {
                entry.due = next;
            }
        });
    }

    /// Records that a reconcile of the object ended.
    pub(crate) fn reconciled(&self, meta: &ObjectMeta) {
        self.with(meta, |entry| {
            if !std::mem::replace(&mut entry.reconciled, true) {
                self.new.fetch_sub(1, Ordering::Relaxed);
            }
        });
    }

    /// Stores the state of an object that this build cannot parse, unless the watch delivered a newer version since it was
    /// read.
    pub(crate) fn put_unreadable(&self, meta: &ObjectMeta, state: ObjectState<K>) {
        self.with(meta, |entry| {
            if !is_newer(&entry.state.resource_version, &state.resource_version) {
                entry.state = state;
            }
        });
    }

    /// Makes the next reconcile due now.
    pub(crate) fn trigger(&self, namespace: &str, name: &str) {
        if let Some(entry) = self.lock().get_mut(&format!("{namespace}/{name}")) {
            entry.due = Some(Instant::now());
        }
    }

    /// The number of objects whose first reconcile is not complete.
    pub(crate) fn new_objects(&self) -> usize {
        self.new.load(Ordering::Relaxed)
    }

    /// Removes all objects: a new leader lists them itself.
    pub(crate) fn clear(&self) {
        self.lock().clear();
        self.new.store(0, Ordering::Relaxed);
    }

    /// Removes a deleted object.
    pub(crate) fn forget(&self, meta: &ObjectMeta) {
        let mut entries = self.lock();
        let same = |entry: &Entry<K>| Some(&entry.uid) == meta.uid.as_ref();
        if entries.get(&key(meta)).is_some_and(same) {
            let removed = entries.remove(&key(meta));
            self.count(removed.as_ref(), false);
        }
    }

    /// Removes the state of objects that no longer exist, by their uids.
    pub(crate) fn retain(&self, still_there: impl Fn(&str) -> bool) {
        self.lock().retain(|_, entry| {
            let stays = still_there(&entry.uid);
            if !stays {
                self.count(Some(entry), false);
            }
            stays
        });
    }

    /// Records a panic, and returns the number of consecutive ones. The object is due at once, whatever was planned
    /// before.
    pub(crate) fn panicked(&self, meta: &ObjectMeta) -> u32 {
        let panics = self.with(meta, |entry| {
            entry.due = None;
            entry.panics = entry.panics.saturating_add(1);
            entry.panics
        });
        panics.unwrap_or(1)
    }

    /// Records a reconcile that did not panic.
    pub(crate) fn did_not_panic(&self, meta: &ObjectMeta) {
        self.with(meta, |entry| entry.panics = 0);
    }

    /// Counts the objects for the gauges.
    pub(crate) fn counts(&self, now: Timestamp) -> ObjectCounts {
        let mut counts = ObjectCounts::default();
        let instant = Instant::now();
        for entry in self.lock().values() {
            counts.add(&*entry.state.status, entry.state.deleting.is_some(), now);
            if entry.is_overdue(instant) {
                counts.add_overdue();
            }
        }
        counts
    }

    fn with<R>(&self, meta: &ObjectMeta, read: impl FnOnce(&mut Entry<K>) -> R) -> Option<R> {
        let mut entries = self.lock();
        let entry = entries.get_mut(&key(meta))?;
        (Some(&entry.uid) == meta.uid.as_ref()).then(|| read(entry))
    }

    /// Updates the number of new entries when this entry is removed, and whether a new one was added.
    fn count(&self, removed: Option<&Entry<K>>, added: bool) {
        if removed.is_some_and(|entry| !entry.reconciled) {
            self.new.fetch_sub(1, Ordering::Relaxed);
        }
        if added {
            self.new.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry<K>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(meta: &ObjectMeta) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}/{}", part(&meta.namespace), part(&meta.name))
}

/// Resource versions of one resource are decimal numbers that grow. Of others, the last one counts.
fn is_newer(version: &str, than: &str) -> bool {
    match (version.parse::<u64>(), than.parse::<u64>()) {
        (Ok(version), Ok(than)) => version > than,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serverprotection_api::{ServerProtection, ServerProtectionStatus};

    use super::*;

    fn meta(uid: &str, version: &str) -> ObjectMeta {
        ObjectMeta {
            namespace: Some("n".into()),
            name: Some("a".into()),
            uid: Some(uid.into()),
            resource_version: Some(version.into()),
            ..ObjectMeta::default()
        }
    }

    fn status(generation: i64) -> ServerProtectionStatus {
        ServerProtectionStatus {
            observed_generation: Some(generation),
            ..ServerProtectionStatus::default()
        }
    }

    #[test]
    fn the_watch_delivers_the_first_status_and_newer_versions() {
        let store = StateStore::<ServerProtection>::default();
        store.observe(&meta("1", "9"), Some(&status(1)), true);
        store.observe(&meta("1", "10"), Some(&status(1)), true);
        store.observe(&meta("1", "8"), Some(&status(1)), true);
        // Another process wrote: a write of this one must conflict.
        store.observe(&meta("1", "11"), Some(&status(3)), true);
        let state = store.get(&meta("1", "")).unwrap();
        assert_eq!(
            (state.resource_version.as_str(), &*state.status),
            ("10", &status(1))
        );
        assert!(store.get(&meta("2", "")).is_none(), "another object of the name");
        store.observe(&meta("2", "11"), Some(&status(4)), true);
        assert_eq!(*store.get(&meta("2", "")).unwrap().status, status(4));
        store.put(&meta("1", ""), ObjectState::new(status(5), String::new()));
        assert_eq!(*store.get(&meta("2", "")).unwrap().status, status(4));
    }

    #[test]
    fn a_trigger_during_a_reconcile_is_not_lost() {
        let store = StateStore::<ServerProtection>::default();
        let meta = meta("1", "1");
        store.observe(&meta, Some(&status(1)), true);
        let later = Instant::now().checked_add(Duration::from_secs(600));
        assert_eq!(store.due_in(&meta), None, "a new object is due");
        store.begin(&meta);
        store.schedule(&meta, later);
        assert!(store.due_in(&meta).is_some());
        store.trigger("n", "a");
        assert_eq!(store.due_in(&meta), None);
        store.begin(&meta);
        assert_eq!(store.due_in(&meta), None, "until it is complete");
        store.trigger("n", "a");
        store.schedule(&meta, later);
        assert_eq!(store.due_in(&meta), None);
    }

    #[test]
    fn an_object_is_overdue_until_its_first_reconcile_and_when_the_next_one_is_late() {
        let store = StateStore::<ServerProtection>::default();
        let mut meta = meta("1", "1");
        store.observe(&meta, Some(&status(1)), true);
        let overdue = || {
            let entries = store.lock();
            entries.values().any(|entry| entry.is_overdue(Instant::now()))
        };
        assert!(overdue(), "not reconciled yet");
        store.reconciled(&meta);
        assert!(!overdue(), "waits for a change");
        store.schedule(&meta, Instant::now().checked_add(Duration::from_secs(600)));
        assert!(!overdue(), "planned");
        let late = Instant::now().checked_sub(OVERDUE_AFTER + Duration::from_secs(1));
        store.begin(&meta);
        store.schedule(&meta, late);
        assert!(overdue(), "late");
        meta.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        store.observe(&meta, Some(&status(1)), true);
        assert!(!overdue(), "being deleted");
    }

    #[test]
    fn new_objects_are_counted_until_their_first_reconcile() {
        let store = StateStore::<ServerProtection>::default();
        assert_eq!(store.new_objects(), 0);
        for name in ["a", "b", "c"] {
            let meta = ObjectMeta {
                name: Some(name.into()),
                ..meta(name, "1")
            };
            store.observe(&meta, Some(&status(1)), true);
        }
        store.reconciled(&meta("a", "1"));
        store.reconciled(&meta("a", "1"));
        assert_eq!(store.new_objects(), 2);
        store.forget(&ObjectMeta {
            name: Some("b".into()),
            ..meta("b", "1")
        });
        assert_eq!(store.new_objects(), 1);
        store.retain(|uid| uid == "a");
        assert_eq!(store.new_objects(), 0);
    }
}
