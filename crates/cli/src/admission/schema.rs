//! Structural schemas, as the API server applies them: nulls, defaults, types, bounds, lists, unknown fields.

use regex::Regex;
use serde_json::{Map, Value};

use super::{Misread, Problem};

/// Longest value that a message quotes, in characters.
const QUOTED: usize = 80;

/// The problems of an object, and whether they make its rules meaningless.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) problems: Vec<Problem>,
    /// The API server checks no rule of an object with wrong types, missing fields, or values that are too long.
    pub(super) blocks_rules: bool,
}

/// The schema of a declared property.
pub(super) fn property<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema.get("properties")?.get(name)
}

/// The schema of any member: a declared property, or a value of a map.
fn member<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let additional = schema
        .get("additionalProperties")
        .filter(|schema| schema.is_object());
    property(schema, name).or(additional)
}

fn is_nullable(schema: &Value) -> bool {
    schema.get("nullable").and_then(Value::as_bool) == Some(true)
}

/// Removes members that are null and may not be, as the API server does.
pub(super) fn prune_nulls(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, value| !value.is_null() || member(schema, name).is_none_or(is_nullable));
            for (name, value) in members {
                if let Some(schema) = member(schema, name) {
                    prune_nulls(value, schema);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    prune_nulls(item, schema);
                }
            }
        }
        _ => {}
    }
}

/// Sets the defaults of missing members, also inside of defaults.
pub(super) fn set_defaults(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(members) => {
            let declared = schema.get("properties").and_then(Value::as_object);
            for (name, schema) in declared.into_iter().flatten() {
                if let Some(default) = schema.get("default")
                    && !members.contains_key(name)
                {
                    members.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in members {
                if let Some(schema) = member(schema, name) {
                    set_defaults(value, schema);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    set_defaults(item, schema);
                }
            }
        }
        _ => {}
    }
}

/// Checks an object. `apiVersion`, `kind` and `metadata` are those of every object and not of the schema.
pub(super) fn check_root(object: &Value, schema: &Value) -> Found {
    let mut found = Found::default();
    let mut object = object.clone();
    if let Some(members) = object.as_object_mut() {
        members.retain(|name, _| !["apiVersion", "kind", "metadata"].contains(&name.as_str()));
    }
    let mut schema = schema.clone();
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name != "metadata");
    }
    found.check(&object, &schema, "");
    found
}

/// Calls `each` with the field and the message of every rule that compares with the stored object.
pub(super) fn transition_rules(schema: &Value, field: &str, each: &mut dyn FnMut(&str, &str)) {
    let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
    let text = |rule: &Value, name: &str| {
        rule.get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    for rule in rules.into_iter().flatten() {
        if text(rule, "rule").contains("oldSelf") {
            let path = text(rule, "fieldPath");
            each(
                format!("{field}{path}").trim_start_matches('.'),
                &text(rule, "message"),
            );
        }
    }
    for (name, part) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        transition_rules(part, &joined(field, name), each);
    }
    for (name, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(part) = schema.get(name).filter(|part| part.is_object()) {
            transition_rules(part, &format!("{field}{suffix}"), each);
        }
    }
}

impl Found {
    fn add(&mut self, field: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(field, message));
    }

    /// Adds a problem after which the API server checks no rule.
    fn block(&mut self, field: &str, message: impl Into<String>) {
        self.blocks_rules = true;
        self.add(field, message);
    }

    fn check(&mut self, value: &Value, schema: &Value, field: &str) {
        if value.is_null() && is_nullable(schema) {
            return;
        }
        let expected = schema.get("type").and_then(Value::as_str).unwrap_or_default();
        let fits = match expected {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "number" => value.is_number(),
            "integer" => is_integer(value),
            _ => true,
        };
        if !fits {
            self.blocks_rules = true;
            self.problems.push(match expected {
                "string" => not_a_string(field, value, Some(schema)),
                "object" | "array" | "integer" => {
                    Problem::new(field, wrong_type(&format!("an {expected}"), value))
                }
                _ => Problem::new(field, wrong_type(&format!("a {expected}"), value)),
            });
            return;
        }
        if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
            && !allowed.contains(value)
        {
            let allowed: Vec<_> = allowed
                .iter()
                .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
                .collect();
            self.add(
                field,
                format!(
                    "{} is not allowed; use one of {}",
                    quoted(value),
                    allowed.join(", ")
                ),
            );
        }
        match value {
            Value::String(text) => self.text(text, schema, field),
            Value::Number(number) => self.number(number, schema, field),
            Value::Array(items) => self.list(items, schema, field),
            Value::Object(members) => self.members(members, schema, field),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn text(&mut self, text: &str, schema: &Value, field: &str) {
        let length = text.chars().count();
        if let Some(limit) = limit(schema, "maxLength").filter(|limit| length > *limit) {
            self.block(
                field,
                format!("has {length} characters, and the limit is {limit}"),
            );
        }
        if let Some(limit) = limit(schema, "minLength").filter(|limit| length < *limit) {
            self.add(
                field,
                format!("has {length} characters, and needs at least {limit}"),
            );
        }
        let Some(pattern) = schema.get("pattern").and_then(Value::as_str) else {
            return;
        };
        match Regex::new(pattern) {
            Ok(regex) if regex.is_match(text) => {}
            Ok(_) => {
                let text = quoted(&Value::from(text));
                let problem = Problem::new(field, format!("{text} does not match the pattern {pattern}"));
                self.problems.push(match first_sentence(schema) {
                    Some(sentence) => problem.action(format!("the field is: {sentence}")),
                    None => problem,
                });
            }
            Err(error) => self.add(
                field,
                format!("bug: the pattern {pattern} cannot be used: {error}"),
            ),
        }
    }

    fn number(&mut self, number: &serde_json::Number, schema: &Value, field: &str) {
        let number = number.as_f64().unwrap_or_default();
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
        if let Some(least) = bound("minimum").filter(|least| number < *least) {
            self.add(
                field,
                format!("{number} is too small: the least value is {least}"),
            );
        }
        if let Some(most) = bound("maximum").filter(|most| number > *most) {
            self.add(
                field,
                format!("{number} is too large: the greatest value is {most}"),
            );
        }
    }

    fn list(&mut self, items: &[Value], schema: &Value, field: &str) {
        let length = items.len();
        if let Some(limit) = limit(schema, "maxItems").filter(|limit| length > *limit) {
            self.block(field, format!("has {length} items, and the limit is {limit}"));
        }
        if let Some(limit) = limit(schema, "minItems").filter(|limit| length < *limit) {
            self.add(field, format!("has {length} items, and needs at least {limit}"));
        }
        self.duplicates(items, schema, field);
        if let Some(schema) = schema.get("items") {
            for (number, item) in items.iter().enumerate() {
                self.check(item, schema, &format!("{field}[{number}]"));
            }
        }
    }

    /// Lists of the type `set` have each item once, lists of the type `map` each key.
    fn duplicates(&mut self, items: &[Value], schema: &Value, field: &str) {
        let names = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
        let key = |item: &Value| match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("set") => Some(vec![item.clone()]),
            Some("map") => {
                let of = |name: &Value| item.get(name.as_str()?).cloned();
                Some(names?.iter().map(|name| of(name).unwrap_or_default()).collect())
            }
            _ => None,
        };
        let keys: Vec<Option<Vec<Value>>> = items.iter().map(key).collect();
        for (number, key) in keys.iter().enumerate() {
            if key.is_some() && keys.iter().take(number).any(|earlier| earlier == key) {
                let shown: Vec<_> = key.iter().flatten().map(quoted).collect();
                self.add(
                    &format!("{field}[{number}]"),
                    format!("duplicate: {} must be there only once", shown.join(", ")),
                );
            }
        }
    }

    fn members(&mut self, members: &Map<String, Value>, schema: &Value, field: &str) {
        let length = members.len();
        if let Some(limit) = limit(schema, "maxProperties").filter(|limit| length > *limit) {
            self.block(field, format!("has {length} members, and the limit is {limit}"));
        }
        if let Some(limit) = limit(schema, "minProperties").filter(|limit| length < *limit) {
            self.add(field, format!("has {length} members, and needs at least {limit}"));
        }
        let required = schema.get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            if !members.contains_key(name) {
                self.block(&joined(field, name), "is required");
            }
        }
        let keeps_unknown = schema
            .get("x-kubernetes-preserve-unknown-fields")
            .and_then(Value::as_bool)
            == Some(true);
        for (name, value) in members {
            let field = joined(field, name);
            match member(schema, name) {
                Some(schema) => self.check(value, schema, &field),
                None if keeps_unknown => {}
                None => {
                    let known = schema.get("properties").and_then(Value::as_object);
                    let known = known
                        .into_iter()
                        .flat_map(|known| known.keys().map(String::as_str));
                    self.problems.push(unknown_field(field, name, known));
                }
            }
        }
    }
}

/// The problem of a field that does not exist, with the known one that was meant.
pub(super) fn unknown_field<'a>(
    field: String,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Problem {
    let problem = Problem::new(field, "unknown field");
    let plain = |name: &str| name.to_lowercase().replace(['-', '_'], "");
    let given = plain(name);
    let nearest = known
        .into_iter()
        .map(|known| (distance(&plain(known), &given), known))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((0, known)) => problem.action(format!("use {known}")),
        // In a short name, every other letter makes another word.
        Some((distance, known)) if distance <= 2 && distance * 4 <= given.chars().count() => {
            problem.action(format!("did you mean {known}?"))
        }
        _ => problem,
    }
}

/// How many letters differ between two words; two neighbors in the wrong order count once.
pub(super) fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    let mut previous = None;
    for (line, letter) in one.chars().enumerate() {
        let mut next = vec![line + 1];
        for (column, against) in other.iter().enumerate() {
            let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX - 1);
            let mut least = at(&row, column) + usize::from(letter != *against);
            least = least.min(at(&row, column + 1) + 1).min(at(&next, column) + 1);
            let left = column.checked_sub(1);
            if previous == Some(*against)
                && left.and_then(|left| other.get(left)) == Some(&letter)
                && let Some(left) = left
            {
                least = least.min(at(&before, left) + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
        previous = Some(letter);
    }
    row.last().copied().unwrap_or_default()
}

/// A problem with a text that YAML did not read as one.
pub(super) fn not_a_string(field: &str, value: &Value, schema: Option<&Value>) -> Problem {
    let mut problem = Problem::new(field, wrong_type("a string", value));
    if value.is_number() || value.is_boolean() {
        problem.misread = Some(Misread {
            value: value.clone(),
            schema: schema.cloned(),
        });
    }
    problem
}

/// Whether a value has the type, the bounds and the pattern of a schema.
pub(crate) fn fits(value: &Value, schema: &Value) -> bool {
    let mut found = Found::default();
    found.check(value, schema, "");
    found.problems.is_empty()
}

/// `must be a string, but it is the number 5`.
pub(super) fn wrong_type(expected: &str, value: &Value) -> String {
    let actual = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => format!("the boolean {value}"),
        Value::Number(_) => format!("the number {value}"),
        Value::String(_) => format!("the string {}", quoted(value)),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    format!("must be {expected}, but it is {actual}")
}

fn is_integer(value: &Value) -> bool {
    let is_whole = |number: f64| number.fract() == 0.0;
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(is_whole)
}

fn limit(schema: &Value, name: &str) -> Option<usize> {
    usize::try_from(schema.get(name)?.as_u64()?).ok()
}

fn joined(field: &str, name: &str) -> String {
    if field.is_empty() {
        name.to_owned()
    } else {
        format!("{field}.{name}")
    }
}

/// The value as JSON, shortened.
fn quoted(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= QUOTED {
        return text;
    }
    let start: String = text.chars().take(QUOTED).collect();
    format!("{start}...")
}

/// The first sentence of the description.
pub(crate) fn first_sentence(schema: &Value) -> Option<&str> {
    let text = schema.get("description")?.as_str()?;
    Some(text.split_inclusive(". ").next().unwrap_or(text).trim_end())
}
