//! The largest objects that admission allows. The memory of the controller follows from them (docs/benchmarks.md).

use serde_json::{Value, json};

use super::{SUBSCRIPTION, WORKSPACE, admission::messages, protection};
use crate::MOST_SPEC_BYTES;

const EXCLUDE: &str = "machines.exclude must not contain more than 512 ids, 128 resourceGroups and 64 tags, counted over all rules: exclude many machines by a tag or a resource group instead of their ids";
const FILES: &str = "plan.fileIntegrityMonitoring.rules.custom must not contain more than 200 entries in windowsFiles, linuxFiles and registryKeys together: monitor folders instead of single files";
const PROPERTY: &str = "plan.otherExtensions.properties must not contain a name with more than 64 characters";

/// A text of this length that begins so, and differs by its number.
fn text(begin: &str, number: usize, length: usize) -> String {
    let number = number.to_string();
    format!(
        "{begin}{}{number}",
        "x".repeat(length - begin.len() - number.len())
    )
}

fn texts(begin: &str, count: usize, length: usize) -> Vec<String> {
    (0..count).map(|number| text(begin, number, length)).collect()
}

/// Rules with so many selectors altogether.
fn exclusions(ids: usize, groups: usize, tags: usize) -> Vec<Value> {
    let id = format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/"
    );
    let share = |all: &[Value], rule: usize, most: usize| -> Vec<Value> {
        all.chunks(most)
            .nth(rule)
            .map(<[Value]>::to_vec)
            .unwrap_or_default()
    };
    let ids: Vec<Value> = texts(&id, ids, 320).into_iter().map(Value::from).collect();
    let groups: Vec<Value> = texts("g", groups, 90).into_iter().map(Value::from).collect();
    let tags: Vec<Value> = texts("k", tags, 512)
        .into_iter()
        .map(|key| json!({"key": key, "value": "v".repeat(256)}))
        .collect();
    (0..8)
        .map(|rule| {
            json!({"name": format!("rule-{rule}"), "ids": share(&ids, rule, 256),
            "resourceGroups": share(&groups, rule, 64), "tags": share(&tags, rule, 15)})
        })
        .filter(|rule| {
            ["ids", "resourceGroups", "tags"]
                .iter()
                .any(|name| rule[name] != json!([]))
        })
        .collect()
}

fn bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(bytes).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| name.len() + bytes(value))
            .sum(),
        _ => 0,
    }
}

fn largest() -> Value {
    let properties: serde_json::Map<_, _> = texts("p", 8, 64)
        .into_iter()
        .map(|name| (name, json!("v".repeat(256))))
        .collect();
    let extensions: Vec<_> = texts("E", 8, 64)
        .into_iter()
        .map(|name| json!({"name": name, "state": "Enabled", "properties": properties}))
        .collect();
    let tags: Vec<_> = texts("k", 50, 512)
        .into_iter()
        .map(|key| json!({"key": key, "value": "v".repeat(256)}))
        .collect();
    let workspaces: Vec<_> = texts(WORKSPACE, 16, 512)
        .into_iter()
        .map(|id| json!({"resourceId": id}))
        .collect();
    json!({
        "plan": {
            "tier": "P2",
            "agentlessScanning": {"state": "Enabled", "exclusionTags": tags},
            "fileIntegrityMonitoring": {"state": "Enabled", "workspaceId": text(WORKSPACE, 0, 512),
                "rules": {"custom": {"linuxFiles": texts("/", 200, 512)}}},
            "otherExtensions": extensions,
        },
        "workspaces": workspaces,
        "machines": {"exclude": exclusions(512, 128, 64)},
    })
}

#[test]
fn the_largest_spec_is_admitted_and_the_controller_keeps_it() {
    let object = protection(largest());
    assert_eq!(messages(object.validate_cel()), [""; 0]);
    let size = bytes(&serde_json::to_value(&object.spec).unwrap());
    assert!(
        (MOST_SPEC_BYTES * 9 / 10..=MOST_SPEC_BYTES).contains(&size),
        "{size}"
    );
}

#[test]
fn sums_are_limited_over_all_rules_of_a_list() {
    let refused = |over: Value, message: &str| {
        let found = messages(protection(over).validate_cel());
        assert!(
            found.len() == 1 && found[0].ends_with(&format!(": {message}")),
            "{found:#?}"
        );
    };
    let exclude = |ids, groups, tags| json!({"machines": {"exclude": exclusions(ids, groups, tags)}});
    for (ids, groups, tags) in [(513, 0, 0), (0, 129, 0), (0, 0, 65)] {
        refused(exclude(ids, groups, tags), EXCLUDE);
    }
    let files = |linux, windows| {
        json!({"plan": {"fileIntegrityMonitoring": {"rules": {"custom": {
        "linuxFiles": texts("/", linux, 9), "windowsFiles": texts("c", windows, 9)}}}}})
    };
    assert_eq!(messages(protection(files(100, 100)).validate_cel()), [""; 0]);
    refused(files(100, 101), FILES);
    let property = |length| {
        json!({"plan": {"otherExtensions": [
        {"name": "New", "state": "Enabled", "properties": {text("p", 0, length): "v"}}]}})
    };
    assert_eq!(messages(protection(property(64)).validate_cel()), [""; 0]);
    refused(property(65), PROPERTY);
}
