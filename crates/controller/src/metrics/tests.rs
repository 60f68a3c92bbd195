//! The metrics page and the table in `core` contain the same metrics.

use std::collections::{BTreeMap, BTreeSet};

use serverprotection_api::ServerProtectionStatus;
use serverprotection_azure::fleet::Report;
use serverprotection_core::{
    Timestamp,
    machines::{Environment, Summary, Verdict},
};

use super::*;
use crate::restrictions::Path;

/// A page with a sample of every metric.
fn page(format: Format) -> String {
    let metrics = Metrics::new(true);
    let condition = |type_, reason| {
        serde_json::json!({"type": type_, "status": "True", "reason": reason, "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let drifted = serde_json::json!({"driftCount": 2, "conditions": [condition("Stalled", "ScopeLocked"),
        condition("Reconciling", "Throttled"), condition("MachinesProtected", "BelowMinimum")]});
    let drifted: ServerProtectionStatus = serde_json::from_value(drifted).unwrap();
    let mut counts = ObjectCounts::default();
    counts.add(&drifted, false, Timestamp::UNIX_EPOCH);
    metrics.request("GET subscription", 200, Duration::from_millis(30));
    metrics.request("GET subscription", 0, Duration::from_secs(90));
    metrics.reconciled("SecurityConnector", Outcome::Timeout, Duration::from_secs(300));
    metrics.status_writes.inc();
    metrics.changed("plan");
    metrics.claim_changed("ServerProtection");
    metrics.watch_failed("AzureCredential");
    metrics.panics.count_reconcile("ServerProtection");
    metrics.policies.set(Path::Tokens, true);
    metrics
        .fleet
        .count_scan("tenant/client", true, true, &Report::default());
    let mut summary = Summary::default();
    for (verdict, reason, machines) in [
        (Verdict::Protected, "Succeeded", 3),
        (Verdict::Failed, "ERR_INTERNAL", 1),
        (Verdict::Excluded, "Excluded", 9),
    ] {
        summary.tally.add(Environment::Azure, verdict, machines);
        summary.reasons.insert((verdict, reason), machines);
    }
    let mut gauges = FleetGauges::default();
    gauges.machines.add(&summary);
    gauges.objects.push(("team-a".into(), "prod".into(), summary));
    let objects = [
        ("ServerProtection", counts),
        ("SecurityConnector", ObjectCounts::default()),
    ];
    metrics.page(format, true, &objects, &gauges)
}

/// The labels of a series, without its values.
fn labels(series: &str) -> BTreeSet<&str> {
    let labels = series.split_once('{').map_or("", |(_, labels)| labels);
    let names = labels
        .split('"')
        .step_by(2)
        .map(|name| name.trim_matches([',', '=', '}']));
    names.filter(|name| !name.is_empty() && *name != "le").collect()
}

#[test]
fn the_page_and_the_table_have_the_same_metrics() {
    let page = page(Format::Text);
    let mut found = BTreeMap::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, type_) = rest.split_once(' ').unwrap();
            assert!(found.insert(name, type_).is_none(), "{name} is there twice");
        }
    }
    let table: BTreeMap<_, _> = metrics::all()
        .map(|metric| (metric.name, metric.type_.as_str()))
        .collect();
    assert_eq!(found, table);
    for metric in metrics::all() {
        let help = format!("# HELP {} {}.\n", metric.name, metric.help);
        assert!(page.contains(&help), "{help} is not in\n{page}");
        let expected: BTreeSet<_> = metric.labels.iter().map(|label| label.name).collect();
        let mut samples = 0;
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let series = line.rsplit_once(' ').map_or(line, |(series, _)| series);
            let name = series.split('{').next().unwrap();
            let parts = ["_bucket", "_sum", "_count"];
            let own = name == metric.name
                || metric.type_ == metrics::Type::Histogram
                    && parts
                        .iter()
                        .any(|part| name.strip_suffix(part) == Some(metric.name));
            if own {
                assert_eq!(labels(series), expected, "{line}");
                samples += 1;
            }
        }
        assert!(samples > 0, "{} has no sample in this test", metric.name);
    }
}

#[test]
fn values_are_in_both_formats() {
    let (text, open_metrics) = (page(Format::Text), page(Format::OpenMetrics));
    assert!(open_metrics.ends_with("# EOF\n") && !text.contains("# EOF"));
    assert!(open_metrics.contains("# UNIT serverprotection_reconcile_duration_seconds seconds\n"));
    assert!(open_metrics.contains("# TYPE serverprotection_reconciles counter\n"));
    assert!(open_metrics.contains("# TYPE serverprotection_build info\n"));
    let version = env!("CARGO_PKG_VERSION");
    for series in [
        &format!("serverprotection_build_info{{version=\"{version}\","),
        r#"serverprotection_objects{kind="ServerProtection",ready="Unknown"} 1"#,
        r#"serverprotection_stalled_objects{kind="ServerProtection",reason="ScopeLocked"} 1"#,
        r#"serverprotection_drifted_fields{kind="ServerProtection"} 2"#,
        r#"serverprotection_drifted_fields{kind="SecurityConnector"} 0"#,
        r#"serverprotection_reconciles_total{kind="SecurityConnector",outcome="timeout"} 1"#,
        r#"serverprotection_reconciles_total{kind="ServerProtection",outcome="success"} 0"#,
        r#"serverprotection_azure_requests_total{operation="GET subscription",code="0"} 1"#,
        r#"serverprotection_machines_by_reason{verdict="Failed",reason="ERR_INTERNAL"} 1"#,
        r#"serverprotection_machines_eligible{environment="Azure"} 4"#,
        "serverprotection_machines_protected_ratio 0.75\n",
        "serverprotection_admission_policy_enforced{policy=\"token\"} 1\n",
        "serverprotection_fleet_scan_wait_seconds_total 0.0\n",
    ] {
        assert!(text.contains(series), "{series} is not in\n{text}");
        assert!(
            open_metrics.contains(series),
            "{series} is not in\n{open_metrics}"
        );
    }
}

/// `make test-metrics` checks the page with promtool.
#[test]
fn the_text_page_is_written_for_promtool() {
    let page = page(Format::Text);
    assert!(page.ends_with('\n'));
    if let Some(path) = std::env::var_os("SERVERPROTECTION_METRICS_PAGE") {
        std::fs::write(path, page).unwrap();
    }
}
