//! The expected value at a place of the connector, and which values count as equal.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use serverprotection_api::Tier;

use crate::{arm_id::same_id, switch::switch_name, tier::tier_name};

/// The expected value at a place.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// The subplan; for Free, the offering is absent.
    Tier(Tier),
    /// A real boolean; absent counts as false.
    Flag(bool),
    /// The membership `Organization`, or none.
    Organization(bool),
    /// One of Azure's enumeration values: compares without case.
    Word(String),
    /// A text that compares with case.
    Text(String),
    /// A resource id: compares without case.
    ResourceId(String),
    /// Whole hours.
    Hours(i64),
    /// A list without order; if empty, the member is absent.
    Set(BTreeSet<String>, Empty),
    /// A map of tags; if empty, the member is absent.
    Tags(BTreeMap<String, String>),
    /// No value: the member is absent.
    Cleared,
    /// A default: written only if there is no value; every existing value matches.
    Default(Value),
}

/// How an empty list is shown to users.
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

impl Expected {
    /// Whether Azure's value means the same as this one.
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
            // A response may omit it although it was sent, as in the official example of a PUT.
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

    /// The value as it is sent; `None` if the member is absent.
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

    /// The text for users in status, events and approvals. It contains no commas, because commas separate approvals.
    pub fn describe(&self) -> String {
        match self {
            Self::Tier(tier) => tier_name(*tier).into(),
            Self::Flag(on) | Self::Organization(on) => switch_name(*on).into(),
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

    /// Azure's value as text for users.
    pub fn describe_observed(&self, observed: Option<&Value>) -> String {
        let plain = || match observed {
            None | Some(Value::Null) => "none".to_owned(),
            Some(Value::String(text)) if text.is_empty() => "none".to_owned(),
            Some(Value::String(text)) => without_password(text),
            Some(other) => other.to_string(),
        };
        match self {
            Self::Flag(_) => switch_name(flag(observed)).into(),
            Self::Organization(_) => switch_name(Self::Organization(true).matches(observed)).into(),
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

/// A proxy that another client set may contain a password, which must not appear in status.
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

/// Absent and null mean an empty list; `None` if the value is not a list of strings.
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

/// Names of tags compare without case, values with case.
fn folded(tags: &BTreeMap<String, String>) -> BTreeMap<String, &String> {
    tags.iter()
        .map(|(key, value)| (key.to_lowercase(), value))
        .collect()
}
