//! The rules of file integrity monitoring in Azure: a JSON text with a list of objects with a `RuleId` and
//! `MonitoredEntities`, whose three lists contain objects with a `Path` (docs/azure-api.md 1.10).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use serverprotection_core::server_protection::{
    file_integrity::{Monitored, PathList},
    property::StoredValue,
};

use crate::body::{self, member};

/// The rule id of the recommended set. Written only if Azure stores no rule id.
const RULE_ID: &str = "1c18eca2-7d3b-4367-3397-097a1ef2edb1";
const MONITORED: &str = "MonitoredEntities";

/// Azure's name of a list.
const fn azure_name(list: PathList) -> &'static str {
    match list {
        PathList::WindowsFiles => "WindowsFiles",
        PathList::LinuxFiles => "LinuxFiles",
        PathList::RegistryKeys => "Registries",
    }
}

/// Reads rules; `None` if a part has an unexpected shape.
pub(super) fn read(found: &Value) -> Option<StoredValue> {
    match body::inner_json(found)? {
        Value::Null => Some(StoredValue::Nothing),
        Value::Array(rules) if rules.is_empty() => Some(StoredValue::Nothing),
        Value::Array(rules) => monitored(&rules).map(StoredValue::Rules),
        _ => None,
    }
}

/// The paths of all rules together.
fn monitored(rules: &[Value]) -> Option<Monitored> {
    let mut all = Monitored::default();
    for rule in rules {
        let entities = match member(rule.as_object()?, MONITORED) {
            None | Some(Value::Null) => continue,
            Some(entities) => entities.as_object()?,
        };
        all.windows_files.extend(paths(entities, PathList::WindowsFiles)?);
        all.linux_files.extend(paths(entities, PathList::LinuxFiles)?);
        all.registry_keys.extend(paths(entities, PathList::RegistryKeys)?);
    }
    Some(all)
}

fn paths(entities: &Map<String, Value>, list: PathList) -> Option<Vec<String>> {
    match member(entities, azure_name(list)) {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(entries) => {
            let entries = entries.as_array()?.iter();
            entries.map(|entry| path(entry).map(str::to_owned)).collect()
        }
    }
}

fn path(entry: &Value) -> Option<&str> {
    member(entry.as_object()?, "Path")?.as_str()
}

fn set(object: &mut Map<String, Value>, name: &str, value: Value) {
    let known = object.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
    object.insert(known.unwrap_or_else(|| name.to_owned()), value);
}

/// One rule with these paths, merged into the first stored rule, which keeps its id and its unknown members.
pub(super) fn written(current: Option<&Value>, expected: &Monitored) -> Value {
    let mut rule = match current.and_then(body::inner_json) {
        Some(Value::Array(rules)) => rules.first().and_then(Value::as_object).cloned(),
        _ => None,
    }
    .unwrap_or_default();
    let has_id = member(&rule, "RuleId")
        .and_then(Value::as_str)
        .is_some_and(|id| !id.is_empty());
    if !has_id {
        set(&mut rule, "RuleId", RULE_ID.into());
    }
    let mut entities = member(&rule, MONITORED)
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    for list in PathList::ALL {
        let name = azure_name(list);
        let entries = entries(member(&entities, name), list, expected.paths(list));
        set(&mut entities, name, entries);
    }
    set(&mut rule, MONITORED, Value::Object(entities));
    Value::String(Value::Array(vec![Value::Object(rule)]).to_string())
}

/// An entry for each path; existing entries are kept unchanged.
fn entries(found: Option<&Value>, list: PathList, expected: &BTreeSet<String>) -> Value {
    let found = found.and_then(Value::as_array);
    let known = |expected: &str| {
        let mut entries = found.into_iter().flatten();
        entries.find(|entry| path(entry).is_some_and(|path| list.folded(path) == list.folded(expected)))
    };
    expected
        .iter()
        .map(|path| known(path).cloned().unwrap_or_else(|| json!({ "Path": path })))
        .collect()
}

#[cfg(test)]
mod tests;
