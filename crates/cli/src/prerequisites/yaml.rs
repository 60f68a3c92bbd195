//! A YAML tree that keeps the order of its members, because people read the template.

use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_saphyr::LitStr;

use crate::error::CliError;

/// A part of a document.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    /// A text of several lines, written as a block.
    Lines(String),
    Flag(bool),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The document as YAML.
    ///
    /// # Errors
    ///
    /// Fails if the text cannot be represented, which would be a bug.
    pub(super) fn to_text(&self) -> Result<String, CliError> {
        serde_saphyr::to_string(self)
            .map_err(|error| CliError::new("bug: cannot write the template").because(error))
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

/// A map that keeps this order.
pub(super) fn map<const N: usize>(members: [(&str, Node); N]) -> Node {
    Node::Map(members.map(|(name, member)| (name.to_owned(), member)).into())
}

/// A list.
pub(super) fn list<T: Into<Node>>(items: impl IntoIterator<Item = T>) -> Node {
    Node::List(items.into_iter().map(Into::into).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::printable::tests::hostile;

    proptest! {
        #[test]
        fn a_text_stays_a_value_whatever_it_contains(text in hostile(), key in "[A-Za-z:]{1,12}", form in "(: |- |# |! |& |\\* |%|\\? |\\{|\\[|yes|null|1e3|0x1f|~)?") {
            let text = form + &text;
            let node = Node::Map(vec![
                (key.clone(), Node::from(text.as_str())),
                ("List".into(), list([text.as_str(), "Transform: x"])),
            ]);
            prop_assume!(key != "List");
            let written = node.to_text().map_err(|error| TestCaseError::fail(error.to_string()))?;
            let read: Value = serde_saphyr::from_str(&written).map_err(|error| TestCaseError::fail(format!("{error}: {written}")))?;
            prop_assert_eq!(read, json!({key: text, "List": [text, "Transform: x"]}));
        }
    }
}
