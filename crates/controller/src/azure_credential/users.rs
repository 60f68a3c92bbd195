//! Which `ServerProtection`s use which credential.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::Resource;
use serverprotection_api::{AzureCredential, ClusterAzureCredential, CredentialKind, ServerProtection};

use crate::{
    credential_use::{CredentialKey as Key, credential_ref},
    parsed::Parsed,
    trigger::Trigger,
};

/// Namespace and name of a `ServerProtection`.
type Names = (String, String);

/// The users of each credential, as the watch of `ServerProtection`s delivers them. A credential whose number of users
/// changes is queued.
#[derive(Debug)]
pub(crate) struct CredentialUsers {
    trigger: Trigger<AzureCredential>,
    trigger_cluster: Trigger<ClusterAzureCredential>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The uids of the users, with their names.
    users: HashMap<Key, BTreeMap<String, Names>>,
    /// The credential of each user, by its uid.
    credential: HashMap<String, Key>,
}

impl CredentialUsers {
    pub(crate) fn new(
        trigger: Trigger<AzureCredential>,
        trigger_cluster: Trigger<ClusterAzureCredential>,
    ) -> Self {
        Self {
            trigger,
            trigger_cluster,
            inner: Mutex::default(),
        }
    }

    /// Takes in an object that was created or changed, also one that this build cannot parse.
    pub(crate) fn apply(&self, object: &Parsed<ServerProtection>) {
        let meta = object.meta();
        let (Some(namespace), Some(name), Some(uid)) = (&meta.namespace, &meta.name, &meta.uid) else {
            return;
        };
        let key = match object {
            Parsed::Valid(object) => {
                let reference = object.spec.credential_ref.as_ref();
                reference.map(|to| Key::new(to.kind, namespace, &to.name))
            }
            Parsed::Invalid(object) => credential_ref(object).and_then(|to| Key::of(&to, namespace)),
        };
        let names = (namespace.clone(), name.clone());
        let changed = self.lock().set(uid, &names, key);
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
    pub(crate) fn count(&self, credential: &Key) -> usize {
        self.lock().users.get(credential).map_or(0, BTreeMap::len)
    }

    /// The users.
    pub(crate) fn of(&self, credential: &Key) -> Vec<Names> {
        let inner = self.lock();
        let users = inner.users.get(credential).into_iter();
        users.flat_map(|users| users.values().cloned()).collect()
    }

    /// The users in a namespace of any `ClusterAzureCredential`.
    pub(crate) fn of_cluster_in(&self, namespace: &str) -> Vec<Names> {
        let inner = self.lock();
        let cluster = inner.users.iter();
        let cluster = cluster.filter(|(key, _)| key.kind == CredentialKind::ClusterAzureCredential);
        let users = cluster.flat_map(|(_, users)| users.values());
        users.filter(|(of, _)| of == namespace).cloned().collect()
    }

    fn refresh(&self, credentials: impl IntoIterator<Item = Key>) {
        for Key {
            kind,
            namespace,
            name,
        } in credentials
        {
            match kind {
                CredentialKind::AzureCredential => self.trigger.refresh(&namespace, &name),
                CredentialKind::ClusterAzureCredential => self.trigger_cluster.refresh(&namespace, &name),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Returns the credentials whose users changed.
    fn set(&mut self, uid: &str, names: &Names, credential: Option<Key>) -> Vec<Key> {
        if self.credential.get(uid) == credential.as_ref() {
            return Vec::new();
        }
        let mut changed: Vec<_> = self.remove(uid).into_iter().collect();
        if let Some(key) = credential {
            self.credential.insert(uid.to_owned(), key.clone());
            let users = self.users.entry(key.clone()).or_default();
            users.insert(uid.to_owned(), names.clone());
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::channel::mpsc::UnboundedReceiver;
    use kube::runtime::reflector::ObjectRef;
    use serde_json::json;

    use super::*;
    use crate::{kind::Kind, state::StateStore};

    type Queue<K> = UnboundedReceiver<ObjectRef<Parsed<K>>>;

    fn users() -> (
        CredentialUsers,
        Queue<AzureCredential>,
        Queue<ClusterAzureCredential>,
    ) {
        let (trigger, queue) = Trigger::of_leader(Arc::new(StateStore::default()));
        let (trigger_cluster, cluster_queue) = Trigger::of_leader(Arc::new(StateStore::default()));
        (
            CredentialUsers::new(trigger, trigger_cluster),
            queue,
            cluster_queue,
        )
    }

    fn in_namespace(
        namespace: &str,
        name: &str,
        kind: &str,
        credential: &str,
        tier: &str,
    ) -> Parsed<ServerProtection> {
        serde_json::from_value(json!({
            "apiVersion": "serverprotection.dev/v1alpha1", "kind": "ServerProtection",
            "metadata": {"name": name, "namespace": namespace, "uid": name},
            "spec": {"subscriptionId": "s", "plan": {"tier": tier},
                "credentialRef": {"kind": kind, "name": credential}},
        }))
        .unwrap()
    }

    fn object(name: &str, credential: &str, tier: &str) -> Parsed<ServerProtection> {
        in_namespace("n", name, "AzureCredential", credential, tier)
    }

    fn key(namespace: &str, name: &str) -> Key {
        Key::new(CredentialKind::AzureCredential, namespace, name)
    }

    fn queued<K: Kind>(queue: &mut Queue<K>) -> Vec<String> {
        std::iter::from_fn(|| queue.try_recv().ok().map(|object| object.name)).collect()
    }

    #[test]
    fn a_credential_is_queued_when_its_users_change_and_only_then() {
        let (users, mut queue, _) = users();
        users.apply(&object("one", "a", "P2"));
        users.apply(&object("two", "a", "P2"));
        assert_eq!(queued(&mut queue), ["a", "a"]);
        users.apply(&object("two", "a", "P1"));
        assert!(queued(&mut queue).is_empty(), "the same users");
        assert_eq!((users.count(&key("n", "a")), users.count(&key("m", "a"))), (2, 0));
        users.apply(&object("two", "b", "P1"));
        assert_eq!(queued(&mut queue), ["a", "b"]);
        assert_eq!(users.of(&key("n", "b")), [("n".to_owned(), "two".to_owned())]);
        users.delete("two");
        users.delete("two");
        assert_eq!(queued(&mut queue), ["b"]);
        users.retain(|uid| uid != "one");
        assert_eq!(queued(&mut queue), ["a"]);
        let inner = users.lock();
        assert!(inner.users.is_empty() && inner.credential.is_empty(), "{inner:?}");
    }

    #[test]
    fn a_credential_of_the_cluster_has_users_in_many_namespaces() {
        let (users, mut queue, mut cluster_queue) = users();
        let cluster = "ClusterAzureCredential";
        users.apply(&in_namespace("n", "one", cluster, "a", "P2"));
        users.apply(&in_namespace("m", "two", cluster, "a", "P9"));
        users.apply(&in_namespace("m", "three", cluster, "b", "P2"));
        users.apply(&object("four", "a", "P2"));
        assert_eq!(queued(&mut cluster_queue), ["a", "a", "b"]);
        assert_eq!(queued(&mut queue), ["a"], "another object of this name");
        let a = Key::new(CredentialKind::ClusterAzureCredential, "n", "a");
        assert_eq!((users.count(&a), users.count(&key("n", "a"))), (2, 1));
        let mut found = users.of_cluster_in("m");
        found.sort();
        let names = |name: &str| ("m".to_owned(), name.to_owned());
        assert_eq!(found, [names("three"), names("two")]);
    }

    #[test]
    fn an_object_of_a_newer_version_uses_its_credential_too() {
        let (users, ..) = users();
        let unreadable = object("one", "a", "P3");
        assert!(!unreadable.is_valid());
        users.apply(&unreadable);
        assert_eq!(users.count(&key("n", "a")), 1);
    }
}
