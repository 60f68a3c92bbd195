//! The alert rules and their promtool tests.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;

use crate::{files, query};

const SEVERITIES: [&str; 3] = ["critical", "warning", "info"];

#[test]
fn every_rule_uses_metrics_and_labels_that_exist() {
    let rules = files::rules();
    assert!(rules.len() > 20);
    let duration = Regex::new(r"^[1-9]\d*[mh]$").unwrap();
    let label = Regex::new(r"\$labels\.(\w+)").unwrap();
    for rule in rules {
        let findings = query::check(&rule.expr);
        assert!(
            findings.problems.is_empty(),
            "{}: {:?}",
            rule.alert,
            findings.problems
        );
        assert!(!findings.metrics.is_empty(), "{}", rule.alert);
        assert!(
            SEVERITIES.contains(&rule.labels.severity.as_str()),
            "{}",
            rule.alert
        );
        assert!(
            rule.r#for.is_none_or(|time| duration.is_match(&time)),
            "{}",
            rule.alert
        );
        for text in [&rule.annotations.summary, &rule.annotations.description] {
            assert!(text.ends_with(['.', '}']), "{}: {text}", rule.alert);
            for used in label.captures_iter(text) {
                assert!(
                    findings.grouping.contains(&used[1]),
                    "{}: {}",
                    rule.alert,
                    &used[1]
                );
            }
        }
    }
}

/// A standby has old figures of objects, machines and scans.
#[test]
fn gauges_of_objects_and_scans_count_only_on_the_leader() {
    let of_leader = Regex::new("_objects|_fields|_ratio|_age_|_remaining|deletions_waiting").unwrap();
    for rule in files::rules() {
        let metrics = query::check(&rule.expr).metrics;
        if metrics.iter().any(|name| of_leader.is_match(name)) {
            assert!(metrics.contains("serverprotection_leader"), "{}", rule.alert);
        }
    }
}

#[test]
fn every_alert_fires_in_a_test_and_stays_silent_in_another() {
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for name in files::names(files::RULE_TESTS) {
        let tests = files::yaml(&format!("{}/{name}", files::RULE_TESTS));
        for case in tests["tests"].as_array().unwrap() {
            for check in case["alert_rule_test"].as_array().into_iter().flatten() {
                let alert = check["alertname"].as_str().unwrap().to_owned();
                let expected = check["exp_alerts"].as_array().unwrap();
                let one_of = if expected.is_empty() {
                    &mut silent
                } else {
                    &mut fires
                };
                one_of.insert(alert);
            }
        }
    }
    let alerts: BTreeSet<_> = files::rules().into_iter().map(|rule| rule.alert).collect();
    assert_eq!(fires, alerts);
    assert_eq!(silent, alerts);
}

/// No alert fires in a healthy installation, whose series have every metric of the rules.
#[test]
fn the_healthy_installation_has_every_metric_and_no_alert() {
    let tests = files::yaml(&format!("{}/healthy_test.yaml", files::RULE_TESTS));
    let case = &tests["tests"][0];
    let series: BTreeSet<_> = case["input_series"]
        .as_array()
        .unwrap()
        .iter()
        .map(|series| {
            let name = series["series"].as_str().unwrap();
            name.split('{').next().unwrap().to_owned()
        })
        .collect();
    let used: BTreeSet<_> = files::rules()
        .iter()
        .flat_map(|rule| query::check(&rule.expr).metrics)
        .collect();
    assert_eq!(series, used);
    let all_time = case["promql_expr_test"].as_array().unwrap().iter().any(|check| {
        check["expr"] == r#"count_over_time(ALERTS{alertstate="firing"}[8h])"#
            && check["eval_time"] == "8h"
            && check["exp_samples"] == Value::Null
    });
    assert!(all_time);
}
