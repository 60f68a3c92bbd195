//! What must stand in a place of the connector, and what counts as the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use serverprotection_api::Tier;

use crate::server_protection::{azure_rules::tier_name, desired::same_id};

/// What must stand in a place.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// The sub-plan; Free: the offering is left out.
    Tier(Tier),
    /// A real boolean; absent counts as false.
    Flag(bool),
    /// The membership `Organization`, or none.
    Organization(bool),
    /// One of Azure's words: compares without case.
    Word(String),
    /// A text that compares with case.
    Text(String),
    /// A resource id: compares without case.
    ResourceId(String),
    /// Whole hours.
    Hours(i64),
    /// A list without order; empty: the member is left out.
    Set(BTreeSet<String>, Empty),
    /// A map of tags; empty: the member is left out.
    Tags(BTreeMap<String, String>),
    /// Nothing: the member is left out.
    Cleared,
    /// Written where nothing stands; whatever stands is right.
    Default(Value),
}

/// What an empty list says to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Empty {
    All,
    None,
}

impl Empty {
    const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::None => "none",
        }
    }
}

const fn on_off(on: bool) -> &'static str {
    if on { "Enabled" } else { "Disabled" }
}

impl Expected {
    /// Whether Azure's value means the same.
    pub fn matches(&self, observed: Option<&Value>) -> bool {
        let text = observed.and_then(Value::as_str);
        let word = |expected: &str| text.is_some_and(|found| found.eq_ignore_ascii_case(expected));
        match self {
            Self::Tier(tier) => word(tier_name(*tier)),
            Self::Flag(on) => flag(observed) == *on,
            Self::Organization(on) => word("Organization") == *on,
            Self::Word(expected) => word(expected),
            Self::Text(expected) => text == Some(expected),
            Self::ResourceId(id) => text.is_some_and(|found| same_id(found, id)),
            // An answer may leave it out although it was sent (the official example of a PUT does).
            Self::Hours(hours) => observed.is_none() || integer(observed) == Some(*hours),
            Self::Set(expected, _) => set(observed).is_some_and(|found| {
                let folded: BTreeSet<_> = expected.iter().map(|entry| entry.to_lowercase()).collect();
                found.iter().map(|entry| entry.to_lowercase()).eq(folded)
            }),
            Self::Tags(expected) => tags(observed).is_some_and(|found| folded(&found) == folded(expected)),
            Self::Cleared => observed.is_none_or(Value::is_null) || text == Some(""),
            Self::Default(_) => true,
        }
    }

    /// The value as it is sent; `None`: the member is left out.
    pub fn wire(&self) -> Option<Value> {
        match self {
            Self::Tier(Tier::Free) | Self::Cleared | Self::Organization(false) => None,
            Self::Tier(tier) => Some(tier_name(*tier).into()),
            Self::Flag(on) => Some((*on).into()),
            Self::Organization(true) => Some("Organization".into()),
            Self::Word(text) | Self::Text(text) | Self::ResourceId(text) => Some(text.clone().into()),
            Self::Hours(hours) => Some((*hours).into()),
            Self::Set(entries, _) => (!entries.is_empty()).then(|| json!(entries)),
            Self::Tags(tags) => (!tags.is_empty()).then(|| json!(tags)),
            Self::Default(value) => Some(value.clone()),
        }
    }

    /// For people: status, events, approvals. No commas: approvals are separated by them.
    pub fn describe(&self) -> String {
        match self {
            Self::Tier(tier) => tier_name(*tier).into(),
            Self::Flag(on) | Self::Organization(on) => on_off(*on).into(),
            Self::Word(text) | Self::Text(text) | Self::ResourceId(text) => text.clone(),
            Self::Hours(hours) => format!("{hours}h"),
            Self::Set(entries, empty) => listed(entries.iter().cloned(), *empty),
            Self::Tags(tags) => listed(
                tags.iter().map(|(key, value)| format!("{key}={value}")),
                Empty::None,
            ),
            Self::Cleared => "none".into(),
            Self::Default(value) => value.to_string(),
        }
    }

    /// Azure's value for people.
    pub fn describe_observed(&self, observed: Option<&Value>) -> String {
        let plain = || match observed {
            None | Some(Value::Null) => "none".to_owned(),
            Some(Value::String(text)) if text.is_empty() => "none".to_owned(),
            Some(Value::String(text)) => without_password(text),
            Some(other) => other.to_string(),
        };
        match self {
            Self::Flag(_) => on_off(flag(observed)).into(),
            Self::Organization(_) => on_off(Self::Organization(true).matches(observed)).into(),
            Self::Hours(_) => integer(observed).map_or_else(plain, |hours| format!("{hours}h")),
            Self::Set(_, empty) => {
                set(observed).map_or_else(plain, |found| listed(found.into_iter(), *empty))
            }
            Self::Tags(_) => tags(observed).map_or_else(plain, |found| Self::Tags(found).describe()),
            _ => plain(),
        }
    }
}

fn listed(entries: impl Iterator<Item = String>, empty: Empty) -> String {
    let all: Vec<_> = entries.collect();
    if all.is_empty() {
        empty.as_str().into()
    } else {
        all.join(" ")
    }
}

/// A proxy that somebody else set may carry a password; status is no place for it.
fn without_password(text: &str) -> String {
    match text.split_once("://").zip(text.rsplit_once('@')) {
        Some(((scheme, _), (_, host))) => format!("{scheme}://***@{host}"),
        None => text.to_owned(),
    }
}

fn flag(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(on)) => *on,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

fn integer(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Absent and null mean none; something that is no list of texts means `None`.
fn set(value: Option<&Value>) -> Option<BTreeSet<String>> {
    match value {
        None | Some(Value::Null) => Some(BTreeSet::new()),
        Some(Value::Array(entries)) => {
            let text = |entry: &Value| entry.as_str().map(str::to_lowercase);
            entries.iter().map(text).collect()
        }
        Some(_) => None,
    }
}

fn tags(value: Option<&Value>) -> Option<BTreeMap<String, String>> {
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    match value {
        None | Some(Value::Null) => Some(BTreeMap::new()),
        Some(Value::Object(members)) => Map::iter(members).map(text).collect(),
        Some(_) => None,
    }
}

/// Tag names compare without case, their values with it.
fn folded(tags: &BTreeMap<String, String>) -> BTreeMap<String, &String> {
    tags.iter()
        .map(|(key, value)| (key.to_lowercase(), value))
        .collect()
}
