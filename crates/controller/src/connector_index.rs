//! Which `SecurityConnector`s belong to which `ServerProtection`, and what each of them needs from the other.
//!
//! ```text
//! ServerProtection ── subscription, identity, mode, interval, plan; machines ─▶ its SecurityConnectors
//! SecurityConnector ── Ready, or the reason why not ──────────────────────────▶ its ServerProtection
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serverprotection_core::{
    security_connector::{decide::WithoutSubscription, desired::Protection},
    server_protection::connectors::{Connectors, NotReady},
};

/// Namespace and name of a `ServerProtection`.
type Key = (String, String);

/// Whether a `ServerProtection` holds its subscription, as its status says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holding {
    /// It was not reconciled yet.
    Undecided,
    Holds,
    HoldsNothing(WithoutSubscription),
}

impl Holding {
    /// Why it does not hold the subscription; `None` if it does.
    pub(crate) fn missing(&self) -> Option<WithoutSubscription> {
        match self {
            Self::Undecided => Some(WithoutSubscription::Undecided),
            Self::Holds => None,
            Self::HoldsNothing(why) => Some(why.clone()),
        }
    }
}

/// What connectors need from their `ServerProtection`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProtectionEntry {
    pub(crate) uid: String,
    pub(crate) holding: Holding,
    pub(crate) protection: Protection,
    pub(crate) interval: Duration,
}

/// A connector as stored in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectorEntry {
    pub(crate) name: String,
    /// Why the connector is not Ready; `None` if it is Ready.
    pub(crate) not_ready: Option<String>,
    /// Whether another object holds the connector, so that this one does not count.
    pub(crate) waits: bool,
}

/// The objects of both kinds as their watches deliver them. A watch updates it before its own cache, so that a
/// triggered reconcile finds the change that triggered it.
#[derive(Debug, Default)]
pub(crate) struct ConnectorIndex {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    protections: HashMap<Key, ProtectionEntry>,
    connectors: HashMap<Key, BTreeMap<String, ConnectorEntry>>,
    /// Whether all connectors are listed. Until then, counts are incomplete.
    listed: bool,
}

impl ConnectorIndex {
    /// The `ServerProtection` of this name.
    pub(crate) fn protection(&self, namespace: &str, name: &str) -> Option<ProtectionEntry> {
        self.lock().protections.get(&key(namespace, name)).cloned()
    }

    /// Stores a `ServerProtection`, or removes it (`None`). Returns the names of its connectors if it changed.
    pub(crate) fn set_protection(
        &self,
        namespace: &str,
        name: &str,
        known: Option<&ProtectionEntry>,
    ) -> Vec<String> {
        let mut inner = self.lock();
        let key = key(namespace, name);
        let before = if let Some(known) = known {
            inner.protections.insert(key.clone(), known.clone())
        } else {
            inner.protections.remove(&key)
        };
        if before.as_ref() == known {
            return Vec::new();
        }
        inner.names(&key)
    }

    /// After a complete list: removes each `ServerProtection` that is not in the list, and returns its connectors.
    pub(crate) fn retain_protections(&self, seen: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let mut inner = self.lock();
        let gone: Vec<Key> = inner
            .protections
            .iter()
            .filter(|(_, known)| !seen(&known.uid))
            .map(|(key, _)| key.clone())
            .collect();
        let mut orphans = Vec::new();
        for key in gone {
            inner.protections.remove(&key);
            let names = inner.names(&key).into_iter();
            orphans.extend(names.map(|name| (key.0.clone(), name)));
        }
        orphans
    }

    /// Stores a connector. Returns whether it changed, and with it the status of its `ServerProtection`.
    pub(crate) fn set_connector(
        &self,
        namespace: &str,
        protection: &str,
        uid: &str,
        connector: &ConnectorEntry,
    ) -> bool {
        let mut inner = self.lock();
        let all = inner.connectors.entry(key(namespace, protection)).or_default();
        let before = all.insert(uid.to_owned(), connector.clone());
        before.as_ref() != Some(connector)
    }

    /// Removes a connector. Returns its `ServerProtection`, whose status changes.
    pub(crate) fn remove_connector(&self, uid: &str) -> Option<(String, String)> {
        let mut inner = self.lock();
        let all = &mut inner.connectors;
        let key = all
            .iter_mut()
            .find_map(|(key, connectors)| connectors.remove(uid).map(|_| key.clone()))?;
        all.retain(|_, connectors| !connectors.is_empty());
        Some(key)
    }

    /// After a complete list of connectors: counts are complete from now on. Returns every `ServerProtection`, because
    /// the status of each may change.
    pub(crate) fn connectors_are_listed(&self, seen: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let mut inner = self.lock();
        for connectors in inner.connectors.values_mut() {
            connectors.retain(|uid, _| seen(uid));
        }
        inner.connectors.retain(|_, connectors| !connectors.is_empty());
        inner.listed = true;
        inner.protections.keys().cloned().collect()
    }

    /// The connectors of a `ServerProtection`; `None` until all connectors are listed.
    pub(crate) fn connectors(&self, namespace: &str, name: &str) -> Option<Connectors> {
        let inner = self.lock();
        if !inner.listed {
            return None;
        }
        let Some(all) = inner.connectors.get(&key(namespace, name)) else {
            return Some(Connectors::default());
        };
        let counted = || all.values().filter(|connector| !connector.waits);
        let not_ready = counted().filter_map(|connector| {
            let reason = connector.not_ready.clone()?;
            Some(NotReady {
                name: connector.name.clone(),
                reason,
            })
        });
        let mut not_ready: Vec<_> = not_ready.collect();
        not_ready.sort();
        Some(Connectors {
            total: counted().count(),
            not_ready,
        })
    }

    /// Names of the connectors of a `ServerProtection`.
    pub(crate) fn names(&self, namespace: &str, name: &str) -> Vec<String> {
        self.lock().names(&key(namespace, name))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn names(&self, key: &Key) -> Vec<String> {
        let all = self.connectors.get(key).into_iter();
        all.flat_map(|all| all.values().map(|connector| connector.name.clone()))
            .collect()
    }
}

fn key(namespace: &str, name: &str) -> Key {
    (namespace.to_owned(), name.to_owned())
}

#[cfg(test)]
mod tests {
    use serverprotection_api::{Mode, Tier};

    use super::*;

    fn known(tier: Tier) -> ProtectionEntry {
        ProtectionEntry {
            uid: "p".into(),
            holding: Holding::Holds,
            protection: Protection {
                subscription: "s".into(),
                mode: Mode::Enforce,
                tier,
                registers: false,
                credential: None,
            },
            interval: Duration::from_secs(600),
        }
    }

    fn listed(name: &str, not_ready: Option<&str>) -> ConnectorEntry {
        ConnectorEntry {
            name: name.into(),
            not_ready: not_ready.map(str::to_owned),
            waits: false,
        }
    }

    #[test]
    fn there_are_no_counts_before_the_connectors_are_listed() {
        let connector_index = ConnectorIndex::default();
        assert_eq!(connector_index.connectors("n", "prod"), None);
        connector_index.set_protection("n", "prod", Some(&known(Tier::P2)));
        connector_index.set_connector("n", "prod", "1", &listed("aws", Some("Progressing")));
        assert_eq!(
            connector_index.connectors_are_listed(|_| true),
            [key("n", "prod")]
        );
        let counts = connector_index.connectors("n", "prod").unwrap();
        assert_eq!((counts.total, counts.not_ready.len()), (1, 1));
        assert_eq!(connector_index.connectors("n", "other").unwrap().total, 0);
        assert!(!connector_index.set_connector("n", "prod", "1", &listed("aws", Some("Progressing"))));
        assert!(connector_index.set_connector("n", "prod", "1", &listed("aws", None)));
        assert_eq!(connector_index.remove_connector("1"), Some(key("n", "prod")));
        assert_eq!(connector_index.remove_connector("1"), None);
    }

    #[test]
    fn a_connector_that_another_object_holds_does_not_count() {
        let connector_index = ConnectorIndex::default();
        connector_index.connectors_are_listed(|_| true);
        connector_index.set_connector("n", "prod", "1", &listed("aws", None));
        let waits = ConnectorEntry {
            waits: true,
            ..listed("twin", Some("ClaimConflicted"))
        };
        assert!(connector_index.set_connector("n", "prod", "2", &waits));
        let counts = connector_index.connectors("n", "prod").unwrap();
        assert_eq!((counts.total, counts.not_ready.len()), (1, 0));
        assert_eq!(connector_index.names("n", "prod").len(), 2, "both are triggered");
    }

    #[test]
    fn connectors_are_triggered_by_changes_of_their_protection() {
        let connector_index = ConnectorIndex::default();
        connector_index.set_connector("n", "prod", "1", &listed("aws", None));
        assert_eq!(
            connector_index.set_protection("n", "prod", Some(&known(Tier::P2))),
            ["aws"]
        );
        assert!(
            connector_index
                .set_protection("n", "prod", Some(&known(Tier::P2)))
                .is_empty()
        );
        assert_eq!(
            connector_index.set_protection("n", "prod", Some(&known(Tier::P1))),
            ["aws"]
        );
        assert!(
            connector_index
                .set_protection("other", "prod", Some(&known(Tier::P1)))
                .is_empty()
        );
        assert_eq!(connector_index.names("n", "prod"), ["aws"]);
        // Deleted while the watch was down.
        let orphans = connector_index.retain_protections(|_| false);
        assert_eq!(orphans, [("n".to_owned(), "aws".to_owned())]);
        assert_eq!(connector_index.protection("n", "prod"), None);
    }
}
