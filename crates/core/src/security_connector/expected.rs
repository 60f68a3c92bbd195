//! The expected value of a field, the value that Azure has, and which values count as equal.

use std::collections::{BTreeMap, BTreeSet};

use serverprotection_api::Tier;

use super::value::{ConnectorValue, Empty};
use crate::{arm_id::same_id, tier::tier_name};

/// The expected value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// The subplan; for Free, the plan of the servers is absent.
    Tier(Tier),
    /// A switch; absent counts as off.
    Flag(bool),
    /// One of Azure's enumeration values: compares without case.
    Word(String),
    /// A text that compares with case.
    Text(String),
    /// A resource id: compares without case.
    ResourceId(String),
    /// Whole hours.
    Hours(i64),
    /// A list without order; if empty, Azure has no value.
    Set(BTreeSet<String>, Empty),
    /// A map of tags; if empty, Azure has no value.
    Tags(BTreeMap<String, String>),
    /// Azure has no value.
    Cleared,
}

/// A value that Azure has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservedValue {
    /// A switch.
    Flag(bool),
    /// A text, a word or a resource id, as Azure spells it.
    Text(String),
    /// Whole hours.
    Hours(i64),
    /// A list without order, in lower case.
    Set(BTreeSet<String>),
    /// A map of tags.
    Tags(BTreeMap<String, String>),
    /// A value of a form that the field should not have, as text for users.
    Other(String),
}

impl Expected {
    /// Whether Azure's value means the same as this one.
    pub fn matches(&self, observed: Option<&ObservedValue>) -> bool {
        let text = match observed {
            Some(ObservedValue::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        let word = |expected: &str| text.is_some_and(|found| found.eq_ignore_ascii_case(expected));
        match self {
            Self::Tier(tier) => word(tier_name(*tier)),
            Self::Flag(on) => is_on(observed) == *on,
            Self::Word(expected) => word(expected),
            Self::Text(expected) => text == Some(expected),
            Self::ResourceId(id) => text.is_some_and(|found| same_id(found, id)),
            // A response may omit it although it was sent, as in the official example of a PUT.
            Self::Hours(hours) => observed.is_none_or(|found| *found == ObservedValue::Hours(*hours)),
            Self::Set(expected, _) => match observed {
                None => expected.is_empty(),
                Some(ObservedValue::Set(found)) => in_lower_case(found) == in_lower_case(expected),
                Some(_) => false,
            },
            Self::Tags(expected) => match observed {
                None => expected.is_empty(),
                Some(ObservedValue::Tags(found)) => folded(found) == folded(expected),
                Some(_) => false,
            },
            Self::Cleared => observed.is_none() || text == Some(""),
        }
    }

    /// The value as users see it.
    pub fn value(&self) -> ConnectorValue {
        match self {
            Self::Tier(tier) => ConnectorValue::Tier(*tier),
            Self::Flag(on) => ConnectorValue::Switch(*on),
            Self::Word(text) | Self::Text(text) | Self::ResourceId(text) => {
                ConnectorValue::Text(text.clone())
            }
            Self::Hours(hours) => ConnectorValue::Hours(*hours),
            Self::Set(entries, empty) => ConnectorValue::List(entries.iter().cloned().collect(), *empty),
            Self::Tags(tags) => tags_value(tags),
            Self::Cleared => ConnectorValue::Absent,
        }
    }

    /// Azure's value as users see it.
    pub fn observed_value(&self, observed: Option<&ObservedValue>) -> ConnectorValue {
        match (self, observed) {
            (Self::Flag(_), observed) => ConnectorValue::Switch(is_on(observed)),
            (Self::Set(_, empty), None) => ConnectorValue::List(Vec::new(), *empty),
            (Self::Set(_, empty), Some(ObservedValue::Set(found))) => {
                ConnectorValue::List(found.iter().cloned().collect(), *empty)
            }
            (_, None) => ConnectorValue::Absent,
            (_, Some(observed)) => observed.value(),
        }
    }
}

impl ObservedValue {
    fn value(&self) -> ConnectorValue {
        match self {
            Self::Flag(on) => ConnectorValue::Switch(*on),
            Self::Text(text) if text.is_empty() => ConnectorValue::Absent,
            Self::Text(text) | Self::Other(text) => ConnectorValue::Text(text.clone()),
            Self::Hours(hours) => ConnectorValue::Hours(*hours),
            Self::Set(entries) => ConnectorValue::List(entries.iter().cloned().collect(), Empty::None),
            Self::Tags(tags) => tags_value(tags),
        }
    }
}

fn is_on(observed: Option<&ObservedValue>) -> bool {
    observed == Some(&ObservedValue::Flag(true))
}

fn tags_value(tags: &BTreeMap<String, String>) -> ConnectorValue {
    let pairs = tags.iter().map(|(key, value)| format!("{key}={value}"));
    ConnectorValue::Tags(pairs.collect())
}

fn in_lower_case(entries: &BTreeSet<String>) -> BTreeSet<String> {
    entries.iter().map(|entry| entry.to_lowercase()).collect()
}

/// Names of tags compare without case, values with case.
fn folded(tags: &BTreeMap<String, String>) -> BTreeMap<String, &String> {
    tags.iter()
        .map(|(key, value)| (key.to_lowercase(), value))
        .collect()
}
