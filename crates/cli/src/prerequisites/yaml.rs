//! A YAML tree that keeps the order in which it is built: a template is read by people.

use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_saphyr::LitStr;

/// A part of a document.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    /// A text of several lines, which keeps them.
    Lines(String),
    Flag(bool),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The document's text.
    pub(super) fn to_text(&self) -> Result<String, String> {
        serde_saphyr::to_string(self)
            .map_err(|error| format!("a bug: the template cannot be written: {error}"))
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Lines(text) => LitStr(text).serialize(serializer),
            Self::Flag(on) => serializer.serialize_bool(*on),
            Self::List(items) => items.serialize(serializer),
            Self::Map(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, member) in members {
                    map.serialize_entry(name, member)?;
                }
                map.end()
            }
        }
    }
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Node {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Node {
    fn from(on: bool) -> Self {
        Self::Flag(on)
    }
}

/// A map in this order.
pub(super) fn map<const N: usize>(members: [(&str, Node); N]) -> Node {
    Node::Map(members.map(|(name, member)| (name.to_owned(), member)).into())
}

/// A list in this order.
pub(super) fn list<T: Into<Node>>(items: impl IntoIterator<Item = T>) -> Node {
    Node::List(items.into_iter().map(Into::into).collect())
}
