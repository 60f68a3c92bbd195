//! The rules of the API server for `metadata`, which no definition contains.

use serde_json::{Map, Value};

use super::{Problem, schema};

/// Limit of the API server for all annotations of an object together.
const ANNOTATIONS_SIZE: usize = 256 * 1024;

const MEMBERS: [&str; 15] = [
    "name",
    "generateName",
    "namespace",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

/// Checks names, labels, annotations and finalizers.
pub(super) fn check(metadata: Option<&Value>) -> Vec<Problem> {
    let empty = Map::new();
    let metadata = match metadata {
        None | Some(Value::Null) => &empty,
        Some(Value::Object(members)) => members,
        Some(other) => return vec![Problem::new("metadata", schema::wrong_type("an object", other))],
    };
    let mut problems = Vec::new();
    for name in metadata.keys().filter(|name| !MEMBERS.contains(&name.as_str())) {
        problems.push(schema::unknown_field(format!("metadata.{name}"), name, MEMBERS));
    }
    let name = text(metadata, "name", &mut problems);
    let prefix = text(metadata, "generateName", &mut problems);
    match (name.filter(|name| !name.is_empty()), prefix) {
        (Some(name), _) if !is_subdomain(name) => problems.push(Problem::new("metadata.name", SUBDOMAIN)),
        // The API server adds letters and digits to the prefix.
        (None, Some(prefix)) if !is_subdomain(&format!("{prefix}0")) => {
            problems.push(Problem::new("metadata.generateName", SUBDOMAIN));
        }
        (None, None) if problems.is_empty() => problems.push(Problem::new("metadata.name", "is missing")),
        _ => {}
    }
    let namespace = text(metadata, "namespace", &mut problems);
    // As for kubectl, an empty namespace is none.
    if namespace.is_some_and(|namespace| !namespace.is_empty() && !is_label(namespace)) {
        problems.push(Problem::new("metadata.namespace", LABEL));
    }
    labels(metadata.get("labels"), &mut problems);
    annotations(metadata.get("annotations"), &mut problems);
    finalizers(metadata.get("finalizers"), &mut problems);
    problems
}

const SUBDOMAIN: &str = "is not a valid object name: use at most 253 lower-case letters, digits, - and .; each part between dots must begin and end with a letter or digit";
const LABEL: &str = "is not a valid namespace: use at most 63 lower-case letters, digits and -; it must begin and end with a letter or digit";
const QUALIFIED: &str = "is not a valid key: use at most 63 letters, digits, -, _ and ., beginning and ending with a letter or digit, optionally after a domain and /, for example example.com/team";

fn text<'a>(metadata: &'a Map<String, Value>, name: &str, problems: &mut Vec<Problem>) -> Option<&'a str> {
    match metadata.get(name)? {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => {
            problems.push(schema::not_a_string(&format!("metadata.{name}"), other, None));
            None
        }
    }
}

/// Calls `each` for the members of a map of texts, and reports what is not a text.
fn texts<'a>(
    field: &str,
    map: Option<&'a Value>,
    problems: &mut Vec<Problem>,
    mut each: impl FnMut(&'a str, &'a str, &mut Vec<Problem>),
) {
    match map {
        None | Some(Value::Null) => {}
        Some(Value::Object(members)) => {
            for (key, value) in members {
                match value {
                    // The API server reads null as an empty text.
                    Value::Null => each(key, "", problems),
                    Value::String(value) => each(key, value, problems),
                    other => problems.push(schema::not_a_string(&format!("{field}.{key}"), other, None)),
                }
            }
        }
        Some(other) => problems.push(Problem::new(field, schema::wrong_type("an object", other))),
    }
}

fn labels(map: Option<&Value>, problems: &mut Vec<Problem>) {
    texts("metadata.labels", map, problems, |key, value, problems| {
        let field = format!("metadata.labels.{key}");
        if !is_qualified(key) {
            problems.push(Problem::new(&field, QUALIFIED));
        }
        if !value.is_empty() && !is_name_part(value) {
            problems.push(Problem::new(
                field,
                "is not a valid label value: use at most 63 letters, digits, -, _ and ., beginning and ending with a letter or digit",
            ));
        }
    });
}

fn annotations(map: Option<&Value>, problems: &mut Vec<Problem>) {
    let mut size = 0;
    texts("metadata.annotations", map, problems, |key, value, problems| {
        size += key.len() + value.len();
        if !is_qualified(&key.to_lowercase()) {
            problems.push(Problem::new(format!("metadata.annotations.{key}"), QUALIFIED));
        }
    });
    if size > ANNOTATIONS_SIZE {
        problems.push(Problem::new(
            "metadata.annotations",
            format!("all annotations together have {size} bytes, and the limit is {ANNOTATIONS_SIZE}"),
        ));
    }
}

fn finalizers(list: Option<&Value>, problems: &mut Vec<Problem>) {
    match list {
        None | Some(Value::Null) => {}
        Some(Value::Array(items)) => {
            for (number, item) in items.iter().enumerate() {
                let field = format!("metadata.finalizers[{number}]");
                match item {
                    Value::String(name) if is_qualified(name) => {}
                    Value::String(_) => problems.push(Problem::new(field, QUALIFIED)),
                    other => problems.push(schema::not_a_string(&field, other, None)),
                }
            }
        }
        Some(other) => problems.push(Problem::new(
            "metadata.finalizers",
            schema::wrong_type("an array", other),
        )),
    }
}

/// An optional domain and `/`, then a name.
fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        Some((domain, name)) => is_subdomain(domain) && is_name_part(name),
        None => is_name_part(key),
    }
}

fn is_name_part(name: &str) -> bool {
    let is_inside = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    let is_edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= 63
        && is_edge(name.bytes().next())
        && is_edge(name.bytes().last())
        && name.bytes().all(is_inside)
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_part)
}

fn is_label(name: &str) -> bool {
    name.len() <= 63 && is_part(name)
}

fn is_part(name: &str) -> bool {
    let is_edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    is_edge(name.bytes().next())
        && is_edge(name.bytes().last())
        && name
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
}
