//! An object as the watch delivers it. An object that this build cannot parse must not stop the others, and keeps its
//! claim.

use std::borrow::Cow;

use kube::{Resource, api::ObjectMeta, core::NamespaceResourceScope};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use crate::kind::Kind;

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
}

/// An object that this build cannot parse.
#[derive(Clone, Debug)]
pub(crate) struct InvalidObject {
    pub(crate) metadata: ObjectMeta,
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
        let raw = Value::deserialize(deserializer)?;
        match K::deserialize(&raw) {
            Ok(object) => Ok(Self::Valid(Box::new(object))),
            Err(error) => {
                let metadata = raw.get("metadata").cloned().unwrap_or_default();
                let metadata = ObjectMeta::deserialize(metadata).map_err(D::Error::custom)?;
                Ok(Self::Invalid(Box::new(InvalidObject {
                    metadata,
                    raw,
                    error: error.to_string(),
                })))
            }
        }
    }
}

impl<K: Kind> Resource for Parsed<K> {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

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
