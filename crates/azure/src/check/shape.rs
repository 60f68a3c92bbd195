//! The form of an answer: members and types. Values stay only where they come from a closed set of Azure, so that
//! nothing in a shape identifies anything.

use serde_json::{Map, Value, json};

/// Members whose values are from a closed set, or are names that Azure gives.
const CLOSED: [&str; 36] = [
    "apiVersion",
    "code",
    "component",
    "configMode",
    "deprecated",
    "enabled",
    "enforce",
    "environmentName",
    "environmentType",
    "extensionsEnabled",
    "inherited",
    "isEnabled",
    "kind",
    "level",
    "managedBy",
    "mde",
    "offeringType",
    "organizationMembershipType",
    "originatedFrom",
    "osType",
    "powerState",
    "pricingTier",
    "provisioningState",
    "quotaId",
    "registrationState",
    "resourcesCoverageStatus",
    "scanInterval",
    "scanningMode",
    "scenario",
    "scope",
    "selectedProvider",
    "source",
    "startupType",
    "state",
    "subPlan",
    "unified",
];
/// Longest value of a closed set.
const LONGEST: usize = 64;
/// Items of a list that are shown; the rest is counted.
const ITEMS: usize = 25;

/// The form of a value.
pub(super) fn of(value: &Value) -> Value {
    inside(value, "")
}

fn inside(value: &Value, name: &str) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => shown(value, name, "boolean"),
        Value::Number(_) => shown(value, name, "number"),
        Value::String(text) if text.is_empty() => json!(""),
        Value::String(_) => shown(value, name, "string"),
        Value::Array(items) => {
            let mut shapes: Vec<_> = items.iter().take(ITEMS).map(|item| inside(item, name)).collect();
            if let Some(more) = items.len().checked_sub(ITEMS).filter(|more| *more > 0) {
                shapes.push(json!(format!("and {more} more")));
            }
            Value::Array(shapes)
        }
        Value::Object(members) => {
            let mut shape = Map::new();
            for (member, value) in members {
                // Keys of tags and ids as keys are data of the customer.
                if name.to_lowercase().contains("tags") || !is_member(member) {
                    let count = shape.get("(keys)").and_then(Value::as_u64).unwrap_or_default();
                    shape.insert("(keys)".into(), json!(count + 1));
                } else {
                    shape.insert(member.clone(), inside(value, member));
                }
            }
            Value::Object(shape)
        }
    }
}

fn shown(value: &Value, name: &str, type_: &str) -> Value {
    let is_short = value
        .as_str()
        .is_none_or(|text| text.len() <= LONGEST && text.bytes().all(is_plain));
    if CLOSED.contains(&name) && is_short {
        value.clone()
    } else {
        json!(type_)
    }
}

/// Letters and the characters in names of Azure's sets; an id of a customer has digits and more than that.
fn is_plain(character: u8) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, b' ' | b'.' | b'_' | b'/' | b'-')
}

/// Names of members are words; names in a map of a customer may be anything.
fn is_member(name: &str) -> bool {
    let is_word = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$' | b'@' | b'.');
    name.len() <= LONGEST && !name.is_empty() && name.bytes().all(is_word)
}
