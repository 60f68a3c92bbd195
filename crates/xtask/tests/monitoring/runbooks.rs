//! A runbook page for each alert, and the queries in the documentation.

use std::collections::BTreeSet;

use crate::{files, query};

/// Where a reader of an alert finds the page.
const URL: &str = "https://github.com/serverprotection/serverprotection/blob/main/";
const HEADINGS: [&str; 5] = ["Meaning", "Impact", "Diagnosis", "Fix", "Escalation"];
/// Other pages with queries.
const WITH_QUERIES: [&str; 2] = ["docs/metrics.md", "docs/monitoring.md"];

#[test]
fn every_alert_has_a_page_and_every_page_an_alert() {
    let rules = files::rules();
    let mut expected: BTreeSet<_> = rules.iter().map(|rule| format!("{}.md", rule.alert)).collect();
    expected.insert("index.md".into());
    assert_eq!(BTreeSet::from_iter(files::names(files::RUNBOOKS)), expected);
    let index = files::read(&format!("{}/index.md", files::RUNBOOKS));
    for rule in rules {
        let (alert, severity) = (&rule.alert, &rule.labels.severity);
        let path = format!("{}/{alert}.md", files::RUNBOOKS);
        assert_eq!(rule.annotations.runbook_url, format!("{URL}{path}"));
        let page = files::read(&path);
        let begins = format!("# {alert}\n\nSeverity: {severity}. [All alerts](index.md)\n");
        assert!(page.starts_with(&begins), "{path}");
        let headings: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(headings, HEADINGS, "{path}");
        let row = format!("]({alert}.md) | {severity} |");
        assert!(index.contains(&row), "the index lacks {row}");
    }
}

#[test]
fn the_queries_of_the_documentation_use_metrics_that_exist() {
    let runbooks = files::names(files::RUNBOOKS);
    let pages = runbooks.iter().map(|name| format!("{}/{name}", files::RUNBOOKS));
    let mut checked = 0;
    for page in pages.chain(WITH_QUERIES.map(str::to_owned)) {
        let text = files::read(&page);
        for block in text.split("\n```promql\n").skip(1) {
            for query in queries(block.split("\n```").next().unwrap()) {
                let problems = query::check(&query).problems;
                assert!(problems.is_empty(), "{page}: {query}: {problems:?}");
                checked += 1;
            }
        }
    }
    assert!(checked > 20, "{checked}");
}

/// Each line begins a query, unless it is indented; empty lines and comments do not count.
fn queries(block: &str) -> Vec<String> {
    let mut queries: Vec<String> = Vec::new();
    for line in block.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match queries.last_mut() {
            Some(query) if line.starts_with(' ') => {
                query.push('\n');
                query.push_str(line);
            }
            _ => queries.push(line.to_owned()),
        }
    }
    queries
}

#[test]
fn queries_are_separated() {
    let block = "# a comment\nsum(a)\n  / sum(b)\n\nc";
    assert_eq!(queries(block), ["sum(a)\n  / sum(b)", "c"]);
}
