//! Which credential an object uses, and for what.

use std::fmt;

use kube::api::ObjectMeta;
use serverprotection_api::{CredentialKind, SecurityConnectorSpec, ServerProtectionSpec, TargetCredential};
use serverprotection_core::{
    grants::references::{self, Reference, subscription_of},
    security_connector::desired::Protection,
};

use crate::parsed::InvalidObject;

/// A credential object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CredentialKey {
    pub(crate) kind: CredentialKind,
    /// Empty for an object of the cluster.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl CredentialKey {
    /// The credential that an object of this namespace refers to.
    pub(crate) fn new(kind: CredentialKind, namespace: &str, name: &str) -> Self {
        let namespace = match kind {
            CredentialKind::AzureCredential => namespace,
            CredentialKind::ClusterAzureCredential => "",
        };
        Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The same for a reference in a status; `None` for a kind that this build does not know.
    pub(crate) fn of(reference: &TargetCredential, namespace: &str) -> Option<Self> {
        let kind = CredentialKind::of(&reference.kind)?;
        Some(Self::new(kind, namespace, &reference.name))
    }

    /// The credential of this name.
    pub(crate) fn of_object(kind: CredentialKind, meta: &ObjectMeta) -> Self {
        Self {
            kind,
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for CredentialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            namespace,
            name,
        } = self;
        match kind {
            CredentialKind::AzureCredential => write!(f, "AzureCredential {namespace}/{name}"),
            CredentialKind::ClusterAzureCredential => write!(f, "ClusterAzureCredential {name}"),
        }
    }
}

/// What an object wants to do with a credential.
#[derive(Clone, Debug)]
pub(crate) struct CredentialUse {
    pub(crate) namespace: String,
    /// `None`: it refers to none.
    pub(crate) credential: Option<TargetCredential>,
    /// The subscription that it protects, or in which its connector is.
    pub(crate) subscription: String,
    /// What its spec names beside it.
    pub(crate) references: Vec<Reference>,
}

impl CredentialUse {
    pub(crate) fn of_protection(namespace: &str, spec: &ServerProtectionSpec) -> Self {
        Self::new(
            namespace,
            Protection::of(spec).credential,
            &spec.subscription_id,
            || references::of_protection(spec),
        )
    }

    /// A connector in this subscription.
    pub(crate) fn of_connector(
        namespace: &str,
        credential: Option<&TargetCredential>,
        subscription: &str,
        spec: &SecurityConnectorSpec,
    ) -> Self {
        Self::new(namespace, credential.cloned(), subscription, || {
            references::of_connector(spec)
        })
    }

    /// The connector with this id, of which nothing but the connector itself is read or deleted.
    pub(crate) fn of_target(namespace: &str, credential: Option<&TargetCredential>, id: &str) -> Self {
        Self::new(namespace, credential.cloned(), &subscription_of(id), Vec::new)
    }

    /// A `ServerProtection` that this build cannot parse.
    pub(crate) fn of_unreadable(object: &InvalidObject) -> Self {
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let subscription = object.text("/spec/subscriptionId").unwrap_or_default();
        Self::new(namespace, credential_ref(object), subscription, || {
            let spec = object.raw.pointer("/spec");
            spec.map(references::of_any).unwrap_or_default()
        })
    }

    /// Only grants need the references.
    fn new(
        namespace: &str,
        credential: Option<TargetCredential>,
        subscription: &str,
        references: impl FnOnce() -> Vec<Reference>,
    ) -> Self {
        let cluster = CredentialKind::ClusterAzureCredential.as_str();
        let granted = credential.as_ref().is_some_and(|to| to.kind == cluster);
        Self {
            namespace: namespace.to_owned(),
            credential,
            subscription: subscription.to_lowercase(),
            references: if granted { references() } else { Vec::new() },
        }
    }

    /// The credential; `None` for a kind that this build does not know, or without a reference.
    pub(crate) fn key(&self) -> Option<CredentialKey> {
        CredentialKey::of(self.credential.as_ref()?, &self.namespace)
    }
}

/// `spec.credentialRef` of an object that this build cannot parse.
pub(crate) fn credential_ref(object: &InvalidObject) -> Option<TargetCredential> {
    let kind = object.text("/spec/credentialRef/kind");
    Some(TargetCredential {
        kind: kind.unwrap_or(CredentialKind::default().as_str()).to_owned(),
        name: object.text("/spec/credentialRef/name")?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use serverprotection_api::ServerProtection;

    use super::*;
    use crate::parsed::Parsed;

    fn object(tier: &str, credential: &Value) -> Parsed<ServerProtection> {
        serde_json::from_value(json!({
            "apiVersion": "serverprotection.dev/v1alpha1", "kind": "ServerProtection",
            "metadata": {"name": "a", "namespace": "n", "uid": "u"},
            "spec": {"subscriptionId": "ABC", "plan": {"tier": tier}, "credentialRef": credential,
                "workspaces": [{"resourceId": "/subscriptions/DEF/resourceGroups/rg"}]},
        }))
        .unwrap()
    }

    fn used(tier: &str, credential: &Value) -> CredentialUse {
        match object(tier, credential) {
            Parsed::Valid(object) => CredentialUse::of_protection("n", &object.spec),
            Parsed::Invalid(object) => CredentialUse::of_unreadable(&object),
        }
    }

    #[test]
    fn an_object_that_cannot_be_parsed_asks_for_the_same() {
        for kind in ["AzureCredential", "ClusterAzureCredential"] {
            let (readable, unreadable) = (
                used("P2", &json!({"kind": kind, "name": "c"})),
                used("P9", &json!({"kind": kind, "name": "c"})),
            );
            assert_eq!(readable.key(), unreadable.key());
            assert_eq!(readable.subscription, "abc");
            assert_eq!(readable.subscription, unreadable.subscription);
            let named = |all: &CredentialUse| {
                let all = all.references.iter();
                all.map(|one| one.subscription.clone()).collect::<Vec<_>>()
            };
            assert_eq!(named(&readable), named(&unreadable));
            assert_eq!(readable.references.is_empty(), kind == "AzureCredential");
        }
        let default = used("P9", &json!({"name": "c"})).key().unwrap();
        assert_eq!(default.to_string(), "AzureCredential n/c");
        assert_eq!(used("P9", &json!({"kind": "Newer", "name": "c"})).key(), None);
    }

    #[test]
    fn a_connector_is_in_the_subscription_of_its_id() {
        let of = |id| CredentialUse::of_target("n", None, id).subscription;
        assert_eq!(of("/Subscriptions/ABC/resourceGroups/rg/providers/x"), "abc");
        assert_eq!(of("odd"), "odd");
    }
}
