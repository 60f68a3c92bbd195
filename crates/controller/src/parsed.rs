//! An object as the watch delivers it. An object that this build cannot parse must not stop the others, and keeps its
//! claim.

use std::borrow::Cow;

use kube::{Resource, api::ObjectMeta};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;
use serverprotection_api::{FINALIZER, MOST_SPEC_BYTES, annotations};

use crate::kind::Kind;

/// The annotations that the controller uses, and the most bytes of their values. All others, and all labels, are dropped
/// before they are stored: they can be as long as a spec.
pub(crate) const KEPT_ANNOTATIONS: [(&str, usize); 4] = [
    (annotations::RECONCILE_REQUESTED_AT, annotations::MOST_BYTES),
    (annotations::FLUX_REQUESTED_AT, annotations::MOST_BYTES),
    (annotations::APPROVE_REDUCTION, annotations::MOST_APPROVAL_BYTES),
    (annotations::FORCE_REMOVE, annotations::MOST_BYTES),
];
/// Longest error of an object that cannot be parsed.
const LONGEST_ERROR: usize = 512;

/// An object, parsed or not. kube's `DeserializeGuard` keeps only the metadata, but the claim of an object that cannot
/// be parsed needs its spec, and its status must not be lost.
#[derive(Clone, Debug)]
pub(crate) enum Parsed<K> {
    /// Parsed.
    Valid(Box<K>),
    /// Cannot be parsed, for example because a newer version wrote it.
    Invalid(Box<InvalidObject>),
}

impl<K: Kind> Parsed<K> {
    /// The status, if the object is parsed and has one.
    pub(crate) fn status(&self) -> Option<&K::Status> {
        match self {
            Self::Valid(object) => object.status(),
            Self::Invalid(_) => None,
        }
    }

    /// Whether this build can parse the object.
    pub(crate) const fn is_valid(&self) -> bool {
        matches!(self, Self::Valid(_))
    }

    /// Drops what the cache does not need, because the process keeps it elsewhere or reads it again.
    pub(crate) fn forget_the_rest(&mut self) {
        match self {
            Self::Valid(object) => object.forget_status(),
            Self::Invalid(object) => object.raw = Value::Null,
        }
    }
}

/// An object that this build cannot parse.
#[derive(Clone, Debug)]
pub(crate) struct InvalidObject {
    pub(crate) metadata: ObjectMeta,
    /// The whole object; `null` in the cache.
    pub(crate) raw: Value,
    pub(crate) error: String,
}

impl InvalidObject {
    /// Returns a string in the object by JSON pointer.
    pub(crate) fn text(&self, pointer: &str) -> Option<&str> {
        self.raw.pointer(pointer).and_then(Value::as_str)
    }
}

impl<'de, K: Kind> Deserialize<'de> for Parsed<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut raw = Value::deserialize(deserializer)?;
        trim(&mut raw);
        match parse::<K>(&raw) {
            Ok(object) => Ok(Self::Valid(Box::new(object))),
            Err(error) => {
                let metadata = raw.get("metadata").cloned().unwrap_or_default();
                let metadata = ObjectMeta::deserialize(metadata).map_err(D::Error::custom)?;
                Ok(Self::Invalid(Box::new(InvalidObject {
                    metadata,
                    raw,
                    error: error.chars().take(LONGEST_ERROR).collect(),
                })))
            }
        }
    }
}

fn parse<K: Kind>(object: &Value) -> Result<K, String> {
    let size = object.get("spec").map(text_bytes).unwrap_or_default();
    if size > MOST_SPEC_BYTES {
        return Err(format!(
            "its spec has {size} bytes of text, more than {MOST_SPEC_BYTES}"
        ));
    }
    K::deserialize(object).map_err(|error| error.to_string())
}

/// The bytes of all texts in a value.
fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| name.len().saturating_add(text_bytes(value)))
            .sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// Drops metadata that nobody uses before the object is parsed, so that a page of a list contains it only once.
fn trim(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    for unused in ["managedFields", "labels", "ownerReferences"] {
        metadata.remove(unused);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|name, value| is_kept(name, value));
    }
    // The patch that adds or removes ours reads the others again.
    if let Some(finalizers) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
        finalizers.retain(|finalizer| finalizer == FINALIZER);
    }
}

/// A part of a value could approve or request something else, so a long one is dropped as a whole.
fn is_kept(annotation: &str, value: &Value) -> bool {
    let bytes = value.as_str().map_or(0, str::len);
    KEPT_ANNOTATIONS
        .iter()
        .any(|(name, most)| *name == annotation && bytes <= *most)
}

impl<K: Kind> Resource for Parsed<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }
    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }
    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }
    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }
    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Valid(object) => object.meta(),
            Self::Invalid(object) => &object.metadata,
        }
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Valid(object) => object.meta_mut(),
            Self::Invalid(object) => &mut object.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serverprotection_api::ServerProtection;

    use super::*;

    fn object(tier: &str) -> Parsed<ServerProtection> {
        let long = "x".repeat(100_000);
        serde_json::from_value(json!({
            "apiVersion": "serverprotection.dev/v1alpha1", "kind": "ServerProtection",
            "metadata": {"name": "a", "namespace": "n", "labels": {"l": "x"}, "managedFields": [{"manager": "m"}],
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": long,
                    annotations::FORCE_REMOVE: "true", annotations::FLUX_REQUESTED_AT: "now"}},
            "spec": {"subscriptionId": "s", "plan": {"tier": tier}},
            "status": {"claim": {"state": "Held"}},
        }))
        .unwrap()
    }

    #[test]
    fn only_the_annotations_in_use_are_kept() {
        for tier in ["P2", "P9"] {
            let mut object = object(tier);
            assert_eq!(object.is_valid(), tier == "P2");
            if let Parsed::Invalid(object) = &object {
                assert_eq!(object.text("/status/claim/state"), Some("Held"));
                assert!(!object.raw.to_string().contains("xxx"));
            }
            object.forget_the_rest();
            let meta = object.meta();
            let kept: Vec<_> = meta
                .annotations
                .iter()
                .flatten()
                .map(|(name, _)| name.as_str())
                .collect();
            assert_eq!(kept, [annotations::FLUX_REQUESTED_AT, annotations::FORCE_REMOVE]);
            assert!(meta.labels.is_none() && meta.managed_fields.is_none());
            assert_eq!(meta.name.as_deref(), Some("a"));
            if let Parsed::Invalid(object) = &object {
                assert!(object.raw.is_null());
            }
        }
    }

    #[test]
    fn annotations_have_a_longest_value_and_finalizers_of_others_are_dropped() {
        let kept = |name: &str, bytes: usize| {
            let object: Parsed<ServerProtection> = serde_json::from_value(json!({
                "apiVersion": "serverprotection.dev/v1alpha1", "kind": "ServerProtection",
                "metadata": {"name": "a", "namespace": "n", "annotations": {name: "x".repeat(bytes)},
                    "finalizers": ["example.com/theirs", FINALIZER]},
                "spec": {"subscriptionId": "s", "plan": {"tier": "P2"}},
            }))
            .unwrap();
            let meta = object.meta();
            assert_eq!(meta.finalizers.as_deref(), Some(&[FINALIZER.to_owned()][..]));
            let annotations = meta.annotations.as_ref();
            annotations.and_then(|all| all.get(name)).map(String::len)
        };
        for (name, most) in KEPT_ANNOTATIONS {
            assert_eq!(kept(name, most), Some(most), "{name}");
            assert_eq!(kept(name, most + 1), None, "{name}");
        }
    }

    #[test]
    fn a_spec_that_is_too_long_is_not_kept() {
        let with = |bytes: usize| -> Parsed<ServerProtection> {
            let mut whole = json!({
                "apiVersion": "serverprotection.dev/v1alpha1", "kind": "ServerProtection",
                "metadata": {"name": "a", "namespace": "n"},
                "spec": {"subscriptionId": "s", "plan": {"tier": "P2"}, "interval": ""},
            });
            let rest = text_bytes(&whole["spec"]);
            whole["spec"]["interval"] = "é".repeat((bytes - rest) / 2).into();
            serde_json::from_value(whole).unwrap()
        };
        assert!(with(MOST_SPEC_BYTES).is_valid());
        let mut long = with(MOST_SPEC_BYTES + 2);
        let Parsed::Invalid(object) = &long else {
            panic!("it was kept")
        };
        assert_eq!(
            object.text("/spec/subscriptionId"),
            Some("s"),
            "it keeps its claim"
        );
        assert!(object.error.contains("bytes of text"), "{}", object.error);
        long.forget_the_rest();
        assert!(matches!(long, Parsed::Invalid(object) if object.raw.is_null()));
    }
}
