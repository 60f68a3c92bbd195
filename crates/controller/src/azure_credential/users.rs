//! Which `ServerProtection`s use which `AzureCredential` of their namespace.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::Resource;
use serverprotection_api::{AzureCredential, ServerProtection};

use crate::{parsed::Parsed, trigger::Trigger};

/// Namespace and name of an `AzureCredential`.
type Key = (String, String);

/// The users of each credential, as the watch of `ServerProtection`s delivers them. A credential whose number of users
/// changes is queued.
#[derive(Debug)]
pub(crate) struct CredentialUsers {
    trigger: Trigger<AzureCredential>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The uids of the users, with their names.
    users: HashMap<Key, BTreeMap<String, String>>,
    /// The credential of each user, by its uid.
    credential: HashMap<String, Key>,
}

impl CredentialUsers {
    pub(crate) fn new(trigger: Trigger<AzureCredential>) -> Self {
        Self {
            trigger,
            inner: Mutex::default(),
        }
    }

    /// Takes in an object that was created or changed, also one that this build cannot parse.
    pub(crate) fn apply(&self, object: &Parsed<ServerProtection>) {
        let meta = object.meta();
        let (Some(namespace), Some(name), Some(uid)) = (&meta.namespace, &meta.name, &meta.uid) else {
            return;
        };
        let credential = match object {
            Parsed::Valid(object) => object.spec.credential_ref.as_ref().map(|to| to.name.as_str()),
            Parsed::Invalid(object) => object.text("/spec/credentialRef/name"),
        };
        let key = credential.map(|credential| (namespace.clone(), credential.to_owned()));
        let changed = self.lock().set(uid, name, key);
        self.refresh(changed);
    }

    /// Takes in a deletion.
    pub(crate) fn delete(&self, uid: &str) {
        let changed = self.lock().remove(uid);
        self.refresh(changed);
    }

    /// After a complete list: removes the objects that are not in it.
    pub(crate) fn retain(&self, seen: impl Fn(&str) -> bool) {
        let changed = self.lock().retain(seen);
        self.refresh(changed);
    }

    /// The number of users.
    pub(crate) fn count(&self, namespace: &str, credential: &str) -> usize {
        self.lock()
            .users
            .get(&key(namespace, credential))
            .map_or(0, BTreeMap::len)
    }

    /// The names of the users.
    pub(crate) fn names(&self, namespace: &str, credential: &str) -> Vec<String> {
        let inner = self.lock();
        let users = inner.users.get(&key(namespace, credential)).into_iter();
        users.flat_map(|users| users.values().cloned()).collect()
    }

    fn refresh(&self, credentials: impl IntoIterator<Item = Key>) {
        for (namespace, name) in credentials {
            self.trigger.refresh(&namespace, &name);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Returns the credentials whose users changed.
    fn set(&mut self, uid: &str, name: &str, credential: Option<Key>) -> Vec<Key> {
        if self.credential.get(uid) == credential.as_ref() {
            return Vec::new();
        }
        let mut changed: Vec<_> = self.remove(uid).into_iter().collect();
        if let Some(key) = credential {
            self.credential.insert(uid.to_owned(), key.clone());
            let users = self.users.entry(key.clone()).or_default();
            users.insert(uid.to_owned(), name.to_owned());
            changed.push(key);
        }
        changed
    }

    fn remove(&mut self, uid: &str) -> Option<Key> {
        let key = self.credential.remove(uid)?;
        if let Some(users) = self.users.get_mut(&key) {
            users.remove(uid);
            if users.is_empty() {
                self.users.remove(&key);
            }
        }
        Some(key)
    }

    fn retain(&mut self, seen: impl Fn(&str) -> bool) -> Vec<Key> {
        let gone: Vec<_> = self.credential.keys().filter(|uid| !seen(uid)).cloned().collect();
        gone.iter().filter_map(|uid| self.remove(uid)).collect()
    }
}

fn key(namespace: &str, name: &str) -> Key {
    (namespace.to_owned(), name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::channel::mpsc::UnboundedReceiver;
    use kube::runtime::reflector::ObjectRef;
    use serde_json::json;

    use super::*;
    use crate::state::StateStore;

    type Queue = UnboundedReceiver<ObjectRef<Parsed<AzureCredential>>>;

    fn users() -> (CredentialUsers, Queue) {
        let (trigger, queue) = Trigger::of_leader(Arc::new(StateStore::default()));
        (CredentialUsers::new(trigger), queue)
    }

    fn object(name: &str, credential: &str, tier: &str) -> Parsed<ServerProtection> {
        serde_json::from_value(json!({
            "apiVersion": "serverprotection.dev/v1alpha1", "kind": "ServerProtection",
            "metadata": {"name": name, "namespace": "n", "uid": name},
            "spec": {"subscriptionId": "s", "plan": {"tier": tier}, "credentialRef": {"name": credential}},
        }))
        .unwrap()
    }

    fn queued(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.try_recv().ok().map(|object| object.name)).collect()
    }

    #[test]
    fn a_credential_is_queued_when_its_users_change_and_only_then() {
        let (users, mut queue) = users();
        users.apply(&object("one", "a", "P2"));
        users.apply(&object("two", "a", "P2"));
        assert_eq!(queued(&mut queue), ["a", "a"]);
        users.apply(&object("two", "a", "P1"));
        assert!(queued(&mut queue).is_empty(), "the same users");
        assert_eq!((users.count("n", "a"), users.count("m", "a")), (2, 0));
        users.apply(&object("two", "b", "P1"));
        assert_eq!(queued(&mut queue), ["a", "b"]);
        assert_eq!(users.names("n", "b"), ["two"]);
        users.delete("two");
        users.delete("two");
        assert_eq!(queued(&mut queue), ["b"]);
        users.retain(|uid| uid != "one");
        assert_eq!(queued(&mut queue), ["a"]);
        let inner = users.lock();
        assert!(inner.users.is_empty() && inner.credential.is_empty(), "{inner:?}");
    }

    #[test]
    fn an_object_of_a_newer_version_uses_its_credential_too() {
        let (users, _queue) = users();
        let unreadable = object("one", "a", "P3");
        assert!(!unreadable.is_valid());
        users.apply(&unreadable);
        assert_eq!(users.count("n", "a"), 1);
    }
}
