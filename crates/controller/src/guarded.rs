//! An object as the watch delivers it: one that this build cannot read must not stop the others, and keeps its claim.

use std::borrow::Cow;

use kube::{Resource, api::ObjectMeta, core::NamespaceResourceScope};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;
use serverprotection_api::{ServerProtection, ServerProtectionStatus};
use serverprotection_core::claims::Claimant;

/// A `ServerProtection`, or what could be made of one. kube's `DeserializeGuard` keeps the metadata only; the claim of
/// an unreadable object needs its subscription, and its status must not be lost.
#[derive(Clone, Debug)]
pub(crate) enum Guarded {
    /// As this build knows it.
    Readable(Box<ServerProtection>),
    /// Written by a newer version.
    Unreadable(Box<Unreadable>),
}

/// An object that this build cannot read.
#[derive(Clone, Debug)]
pub(crate) struct Unreadable {
    pub(crate) metadata: ObjectMeta,
    pub(crate) raw: Value,
    pub(crate) error: String,
}

impl<'de> Deserialize<'de> for Guarded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Value::deserialize(deserializer)?;
        match ServerProtection::deserialize(&raw) {
            Ok(object) => Ok(Self::Readable(Box::new(object))),
            Err(error) => {
                let metadata = raw.get("metadata").cloned().unwrap_or_default();
                let metadata = ObjectMeta::deserialize(metadata).map_err(D::Error::custom)?;
                Ok(Self::Unreadable(Box::new(Unreadable {
                    metadata,
                    raw,
                    error: error.to_string(),
                })))
            }
        }
    }
}

impl Resource for Guarded {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        ServerProtection::kind(&())
    }
    fn group((): &()) -> Cow<'_, str> {
        ServerProtection::group(&())
    }
    fn version((): &()) -> Cow<'_, str> {
        ServerProtection::version(&())
    }
    fn plural((): &()) -> Cow<'_, str> {
        ServerProtection::plural(&())
    }
    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Readable(object) => &object.metadata,
            Self::Unreadable(object) => &object.metadata,
        }
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Readable(object) => &mut object.metadata,
            Self::Unreadable(object) => &mut object.metadata,
        }
    }
}

impl Guarded {
    /// The cache keeps the claim of a status and nothing else: the first visit reads the object itself, and from then on
    /// the process remembers what it wrote.
    pub(crate) fn forget_status(&mut self) {
        if let Self::Readable(object) = self
            && let Some(status) = &mut object.status
        {
            *status = ServerProtectionStatus {
                claim: status.claim.take(),
                ..ServerProtectionStatus::default()
            };
        }
    }

    /// Its claim on a subscription.
    pub(crate) fn claimant(&self) -> Option<Claimant> {
        let (subscription, held) = match self {
            Self::Readable(object) => {
                let claim = object.status.as_ref().and_then(|status| status.claim.as_ref());
                (
                    object.spec.subscription_id.clone(),
                    claim.is_some_and(|claim| claim.state == "Held"),
                )
            }
            Self::Unreadable(object) => {
                let subscription = object.raw.pointer("/spec/subscriptionId")?.as_str()?.to_owned();
                let state = object.raw.pointer("/status/claim/state").and_then(Value::as_str);
                (subscription, state == Some("Held"))
            }
        };
        claimant_of(self.meta(), subscription, held)
    }
}

/// The claim of an object with this metadata on a subscription.
pub(crate) fn claimant_of(meta: &ObjectMeta, subscription: String, held: bool) -> Option<Claimant> {
    Some(Claimant {
        namespace: meta.namespace.clone()?,
        name: meta.name.clone()?,
        uid: meta.uid.clone()?,
        subscription,
        created: meta.creation_timestamp.as_ref().map(|time| time.0),
        held,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(tier: &str) -> Value {
        json!({
            "apiVersion": "serverprotection.dev/v1alpha1", "kind": "ServerProtection",
            "metadata": {"name": "a", "namespace": "n", "uid": "u"},
            "spec": {"subscriptionId": "s", "plan": {"tier": tier}},
            "status": {"claim": {"state": "Held"}},
        })
    }

    #[test]
    fn an_object_of_a_newer_version_keeps_its_claim() {
        let readable: Guarded = serde_json::from_value(object("P2")).unwrap();
        let unreadable: Guarded = serde_json::from_value(object("P3")).unwrap();
        assert!(matches!(readable, Guarded::Readable(_)));
        assert!(matches!(unreadable, Guarded::Unreadable(_)));
        assert_eq!(readable.claimant(), unreadable.claimant());
        assert!(unreadable.claimant().unwrap().held);
    }
}
