//! The files under test.

use std::{fs, path::PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// The alert rules.
pub(crate) const RULES: &str = "deploy/monitoring/prometheus-rules.yaml";
/// The dashboard.
pub(crate) const DASHBOARD: &str = "deploy/monitoring/dashboard.json";
/// The tests of the rules.
pub(crate) const RULE_TESTS: &str = "tests/monitoring";
/// The pages about the alerts.
pub(crate) const RUNBOOKS: &str = "docs/runbooks";

/// An alert rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) alert: String,
    pub(crate) expr: String,
    pub(crate) r#for: Option<String>,
    pub(crate) labels: Labels,
    pub(crate) annotations: Annotations,
}

/// The labels that a rule adds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Labels {
    pub(crate) severity: String,
}

/// The annotations of a rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Annotations {
    pub(crate) summary: String,
    pub(crate) description: String,
    pub(crate) runbook_url: String,
}

/// The text of a file of the repository.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of the files in a folder of the repository, sorted.
pub(crate) fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A YAML file of the repository.
pub(crate) fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every alert rule.
pub(crate) fn rules() -> Vec<Rule> {
    let groups = yaml(RULES)["groups"].as_array().unwrap().clone();
    groups
        .into_iter()
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
        .map(|rule| serde_json::from_value(rule).unwrap())
        .collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}
