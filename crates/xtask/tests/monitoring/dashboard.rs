//! The Grafana dashboard.

use std::collections::BTreeSet;

use serde_json::Value;
use serverprotection_core::metrics;

use crate::{files, query};

fn dashboard() -> Value {
    serde_json::from_str(&files::read(files::DASHBOARD)).unwrap()
}

/// All panels, also those of collapsed rows.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let all = dashboard["panels"].as_array().unwrap().iter();
    all.flat_map(|panel| std::iter::once(panel).chain(panel["panels"].as_array().into_iter().flatten()))
        .collect()
}

/// A query as Prometheus gets it.
fn filled(query: &str) -> String {
    query
        .replace("$__rate_interval", "5m")
        .replace("$namespace", ".*")
        .replace("$instance", ".*")
}

#[test]
fn every_query_uses_metrics_and_labels_that_exist() {
    let dashboard = dashboard();
    let mut used = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array();
        assert_eq!(targets.is_none(), panel["type"] == "row", "{title}");
        for target in targets.into_iter().flatten() {
            let findings = query::check(&filled(target["expr"].as_str().unwrap()));
            assert!(findings.problems.is_empty(), "{title}: {:?}", findings.problems);
            used.extend(findings.metrics);
            let legend = target["legendFormat"].as_str().unwrap();
            for label in legend.split("{{").skip(1) {
                let label = label.split("}}").next().unwrap();
                assert!(findings.grouping.contains(label), "{title}: {legend}");
            }
        }
    }
    let missing: Vec<_> = metrics::all()
        .map(|metric| metric.name)
        .filter(|name| !used.contains(*name))
        .collect();
    // The panel computes it, so that it holds for several installations too.
    assert_eq!(missing, ["serverprotection_machines_protected_ratio"]);
}

#[test]
fn panels_have_ids_of_their_own_a_description_and_the_chosen_data_source() {
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        if panel["type"] == "row" {
            continue;
        }
        assert!(
            panel["description"]
                .as_str()
                .is_some_and(|text| text.ends_with('.')),
            "{title}"
        );
        let targets = panel["targets"].as_array().unwrap().iter();
        for place in std::iter::once(panel).chain(targets) {
            assert_eq!(place["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
}

#[test]
fn variables_choose_data_source_namespace_and_instance() {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["datasource", "namespace", "instance"]);
    for variable in variables.iter().skip(1) {
        let values = variable["definition"].as_str().unwrap();
        let (selector, label) = values
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')')?.rsplit_once(", "))
            .unwrap();
        assert_eq!(label, variable["name"].as_str().unwrap());
        let problems = query::check(&filled(selector)).problems;
        assert!(problems.is_empty(), "{problems:?}");
    }
}
