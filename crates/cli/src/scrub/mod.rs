//! Removes what identifies a customer from reports that leave the house. The same value always gets the same alias, so
//! that a reader can still compare: `<guid-1>`, `<text-2>`.
//!
//! Names of Kubernetes namespaces and objects stay; the reports say so. So do the words of the API, such as condition
//! types and reasons, even if a subscription or a tag has such a name: a report without them is useless.

mod patterns;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::LazyLock,
};

use patterns::{Found, PATTERNS, Pattern};
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};
use serverprotection_core::{
    machines::Verdict,
    reason::{ConditionType, EventReason, Reason},
};

use crate::error::CliError;

/// Fields whose texts are private wherever they occur, because no pattern recognizes them.
const PRIVATE: [&str; 19] = [
    "accountName",
    "computerName",
    "connectorName",
    "displayName",
    "domainName",
    "excludedAccountIds",
    "excludedProjectNumbers",
    "fqdn",
    "linuxFiles",
    "machineFqdn",
    "privateLinkScope",
    "projectId",
    "proxy",
    "registryKeys",
    "resourceGroup",
    "resourceGroups",
    "stackSetName",
    "subscriptionName",
    "windowsFiles",
];
/// Fields that are private inside of a certain parent only.
const PRIVATE_INSIDE: [(&str, &str); 5] = [
    ("display", "subscription"),
    ("worst", "id"),
    ("worst", "name"),
    ("tags", "key"),
    ("exclusionTags", "key"),
];
/// Fields with tags: all their texts are private, and the keys of a map, too.
const TAGS: [&str; 2] = ["tags", "exclusionTags"];
/// A private text that is at least so long is replaced in all other texts, too. Shorter ones are often words.
const SHORTEST_NAME: usize = 4;

static COMPILED: LazyLock<Result<Vec<(Pattern, Regex)>, regex::Error>> = LazyLock::new(|| {
    let compiled = |pattern: Pattern| Ok((pattern, Regex::new(pattern.expression)?));
    PATTERNS.into_iter().map(compiled).collect()
});

/// Words of the API in lower case: condition types, reasons, verdicts, names of fields and their values of closed sets.
static WORDS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let mut words: BTreeSet<String> = ConditionType::ALL.iter().map(|one| one.as_str().into()).collect();
    words.extend(Reason::ALL.iter().map(|one| one.as_str().into()));
    words.extend(EventReason::ALL.iter().map(|one| one.as_str().into()));
    words.extend(Verdict::ALL.iter().map(|one| one.as_str().into()));
    for definition in serverprotection_api::crds() {
        let names = definition.spec.names;
        words.extend([names.kind, names.plural]);
        for version in definition.spec.versions {
            let schema = version.schema.and_then(|schema| schema.open_api_v3_schema);
            add_words(&serde_json::json!(schema), &mut words);
        }
    }
    words.into_iter().map(|word| word.to_lowercase()).collect()
});

/// Adds the names of the fields in a schema, and the values of its enumerations.
fn add_words(schema: &Value, words: &mut BTreeSet<String>) {
    let allowed = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    words.extend(allowed.filter_map(Value::as_str).map(str::to_owned));
    let fields = schema.get("properties").and_then(Value::as_object);
    for (name, field) in fields.into_iter().flatten() {
        words.insert(name.clone());
        add_words(field, words);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(inner) {
            add_words(inner, words);
        }
    }
}

/// Replaces identifying values by aliases.
#[derive(Debug)]
pub(crate) struct Scrubber {
    patterns: Vec<(Pattern, Regex)>,
    aliases: HashMap<(&'static str, String), String>,
    counts: BTreeMap<&'static str, usize>,
    names: BTreeSet<String>,
    /// Names of objects and namespaces, in lower case.
    kept: BTreeSet<String>,
    /// Matches the names; `None` while it must be built again.
    all_names: Option<Regex>,
}

impl Scrubber {
    /// A scrubber that knows no names yet.
    ///
    /// # Errors
    ///
    /// Fails if a pattern cannot be compiled, which would be a bug.
    pub(crate) fn new() -> Result<Self, CliError> {
        let patterns = COMPILED.clone();
        let patterns =
            patterns.map_err(|error| CliError::new("bug: a pattern cannot be used").because(error))?;
        Ok(Self {
            patterns,
            aliases: HashMap::new(),
            counts: BTreeMap::new(),
            names: BTreeSet::new(),
            kept: BTreeSet::new(),
            all_names: None,
        })
    }

    /// Finds the private texts of a document. Call this with every document before the first one is scrubbed, because
    /// the texts may also occur in messages of others.
    pub(crate) fn learn(&mut self, document: &Value) {
        for field in ["/metadata/name", "/metadata/namespace"] {
            if let Some(name) = document.pointer(field).and_then(Value::as_str) {
                self.keep(name);
            }
        }
        self.learn_inside(document, "", false);
    }

    /// Keeps a name of an object or a namespace, even if something private has the same name.
    pub(crate) fn keep(&mut self, name: &str) {
        self.kept.insert(name.to_lowercase());
        self.all_names = None;
    }

    fn learn_inside(&mut self, value: &Value, parent: &str, private: bool) {
        match value {
            Value::String(text) if private && text.chars().count() >= SHORTEST_NAME => {
                self.names.insert(text.clone());
                self.all_names = None;
            }
            Value::Array(items) => items
                .iter()
                .for_each(|item| self.learn_inside(item, parent, private)),
            Value::Object(members) => {
                for (name, value) in members {
                    self.learn_inside(value, name, is_private(private, parent, name));
                }
            }
            _ => {}
        }
    }

    /// The document without identifying values.
    pub(crate) fn document(&mut self, document: &Value) -> Value {
        self.inside(document, "", false)
    }

    fn inside(&mut self, value: &Value, parent: &str, private: bool) -> Value {
        match value {
            Value::String(text) if private => Value::from(self.alias("text", text)),
            Value::String(text) => Value::from(self.text(text)),
            Value::Array(items) => Value::Array(
                items
                    .iter()
                    .map(|item| self.inside(item, parent, private))
                    .collect(),
            ),
            Value::Object(members) => {
                let hides_keys = TAGS.contains(&parent);
                let mut scrubbed = Map::new();
                for (name, value) in members {
                    let value = self.inside(value, name, is_private(private, parent, name));
                    let is_field = !hides_keys || name == "key" || name == "value";
                    let name = if is_field {
                        self.text(name)
                    } else {
                        self.alias("text", name)
                    };
                    scrubbed.insert(name, value);
                }
                Value::Object(scrubbed)
            }
            other => other.clone(),
        }
    }

    /// The text without identifying values.
    pub(crate) fn text(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for at in 0..self.patterns.len() {
            text = self.without_pattern(at, &text);
        }
        self.without_names(&text)
    }

    fn without_pattern(&mut self, at: usize, text: &str) -> String {
        let Some((pattern, regex)) = self.patterns.get(at) else {
            return text.to_owned();
        };
        let (pattern, regex) = (*pattern, regex.clone());
        let mut scrubbed = String::new();
        let mut rest = 0;
        for captures in regex.captures_iter(text) {
            let Some(whole) = captures.get(0) else { continue };
            scrubbed.push_str(text.get(rest..whole.start()).unwrap_or_default());
            rest = whole.end();
            match (pattern.found)(&captures) {
                Found::Keep => scrubbed.push_str(whole.as_str()),
                Found::Secret(around) => scrubbed.push_str(&around),
                Found::Alias { before, value } => {
                    scrubbed.push_str(&before);
                    scrubbed.push_str(&self.alias(pattern.kind, &value));
                }
            }
        }
        scrubbed.push_str(text.get(rest..).unwrap_or_default());
        scrubbed
    }

    fn without_names(&mut self, text: &str) -> String {
        if self.names.is_empty() {
            return text.to_owned();
        }
        if self.all_names.is_none() {
            let is_kept = |name: &str| self.kept.contains(name) || WORDS.contains(name);
            let names = self.names.iter().filter(|name| !is_kept(&name.to_lowercase()));
            self.all_names = matcher(names.collect());
        }
        let Some(names) = self.all_names.clone() else {
            return text.to_owned();
        };
        let replaced = names.replace_all(text, |captures: &regex::Captures<'_>| {
            self.alias("text", captures.get(0).map_or("", |name| name.as_str()))
        });
        replaced.into_owned()
    }

    fn alias(&mut self, kind: &'static str, value: &str) -> String {
        let key = (kind, value.to_lowercase());
        if let Some(alias) = self.aliases.get(&key) {
            return alias.clone();
        }
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let alias = format!("<{kind}-{count}>");
        self.aliases.insert(key, alias.clone());
        alias
    }
}

/// Whether the texts of a member are private.
fn is_private(inherited: bool, parent: &str, name: &str) -> bool {
    inherited || PRIVATE.contains(&name) || TAGS.contains(&name) || PRIVATE_INSIDE.contains(&(parent, name))
}

/// Matches each name as a whole word, longer ones first; `None` without names.
fn matcher(mut names: Vec<&String>) -> Option<Regex> {
    if names.is_empty() {
        return None;
    }
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let names = names.iter().map(|name| {
        let start = if is_word(name.chars().next()) { r"\b" } else { "" };
        let end = if is_word(name.chars().last()) { r"\b" } else { "" };
        format!("{start}{}{end}", regex::escape(name))
    });
    let expression = names.collect::<Vec<_>>().join("|");
    let regex = RegexBuilder::new(&expression)
        .case_insensitive(true)
        .size_limit(100 << 20)
        .build();
    regex.ok()
}
