//! Defender's health reports: the best proof that a sensor works (contract.md 5.2). Kept are those that speak against it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use reqwest::Method;
use serde::Deserialize;
use serverprotection_core::{failure::Failure, machines::HealthIssue};

use super::{
    Scanner, Target,
    rows::{Text, hash, or_default},
};
use crate::{Arm, arm::Call, refusal::one_line};

/// Reports against a sensor, by [`hash`] of the machine's id.
pub(super) type Issues = HashMap<u64, HealthIssue>;

/// The last reading of each subscription.
#[derive(Debug, Default)]
pub(super) struct Memory {
    readings: Mutex<HashMap<String, (Instant, Arc<Issues>)>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Item {
    id: Text,
    #[serde(deserialize_with = "or_default")]
    properties: Report,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Report {
    #[serde(deserialize_with = "or_default")]
    resource_details: Details,
    #[serde(deserialize_with = "or_default")]
    health_data_classification: Classification,
    #[serde(deserialize_with = "or_default")]
    status: Status,
    issues: Option<Vec<Issue>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    id: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Classification {
    component: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    code: Text,
    reason: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Issue {
    issue_name: Text,
    remediation_steps: Text,
}

impl Scanner {
    /// The reports of a subscription: a list over its pages, or what is remembered. Who may not read them gets none:
    /// they refine verdicts, and nothing depends on them.
    pub(super) async fn health(&self, arm: &Arm, target: &Target) -> Arc<Issues> {
        let subscription = &target.subscription;
        let known = {
            let readings = self.health.readings.lock();
            let readings = readings.unwrap_or_else(PoisonError::into_inner);
            readings.get(subscription).cloned()
        };
        match &known {
            Some((at, issues)) if at.elapsed() < self.settings.remember && !target.fresh => {
                return Arc::clone(issues);
            }
            _ => {}
        }
        let issues = match self.read_health(arm, subscription).await {
            Ok(issues) => Arc::new(issues),
            Err(failure) => {
                tracing::debug!(subscription, %failure, "health reports could not be read");
                if failure.class.is_transient() {
                    // An older report is better than a verdict that changes because a request failed.
                    return known.map(|(_, issues)| issues).unwrap_or_default();
                }
                Arc::default()
            }
        };
        let readings = self.health.readings.lock();
        let mut readings = readings.unwrap_or_else(PoisonError::into_inner);
        // Subscriptions that nobody scans any more.
        readings.retain(|_, (at, _)| at.elapsed() < self.settings.remember * 4);
        readings.insert(subscription.clone(), (Instant::now(), Arc::clone(&issues)));
        issues
    }

    async fn read_health(&self, arm: &Arm, subscription: &str) -> Result<Issues, Failure> {
        let call = Call {
            method: Method::GET,
            operation: "GET healthReports",
            subscription,
            path: &[
                "subscriptions",
                subscription,
                "providers",
                "Microsoft.Security",
                "healthReports",
            ],
            api_version: "2023-05-01-preview",
            body: None,
        };
        let _permit = self.gets.acquire().await;
        let mut issues = Issues::new();
        arm.pages(&call, |page: Vec<Item>| {
            for (machine, issue) in page.into_iter().filter_map(against_the_sensor) {
                issues.entry(machine).or_insert(issue);
            }
        })
        .await?;
        Ok(issues)
    }
}

/// The report, when it is one of the sensor and not a good one.
fn against_the_sensor(item: Item) -> Option<(u64, HealthIssue)> {
    let report = item.properties;
    let is = |text: &Text, word: &str| text.0.eq_ignore_ascii_case(word);
    let code = &report.status.code;
    if !is(&report.health_data_classification.component, "MDE")
        || code.0.is_empty()
        || is(code, "Healthy")
        || is(code, "NotApplicable")
    {
        return None;
    }
    let machine = match report.resource_details.id.0 {
        id if id.is_empty() => split_off_report(&item.id.0)?.to_owned(),
        id => id,
    };
    let first = report.issues.into_iter().flatten().next().unwrap_or_default();
    let issue = match first.issue_name.0 {
        name if name.is_empty() => report.status.reason.0,
        name => name,
    };
    let issue = HealthIssue {
        status: report.status.code.0,
        issue: one_line(&issue),
        remedy: one_line(&first.remediation_steps.0),
    };
    Some((hash(&machine, ""), issue))
}

/// `{machine}/providers/Microsoft.Security/healthReports/{guid}` to the machine.
fn split_off_report(id: &str) -> Option<&str> {
    let at = id.to_ascii_lowercase().rfind("/providers/microsoft.security/")?;
    id.get(..at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bad_reports_of_the_sensor_are_kept() {
        let text = r#"[
            {"id": "x", "properties": {"resourceDetails": {"source": "Azure", "id": "/VM/1"}, "healthDataClassification": {"component": "MDE", "scenario": "Reporting"},
              "status": {"code": "Unhealthy", "reason": "r"}, "issues": [{"issueName": "No  heartbeat", "remediationSteps": "Look"}, {}]}},
            {"id": "/vm/2/providers/Microsoft.Security/healthReports/g", "properties": {"healthDataClassification": {"component": "mde"}, "status": {"code": "Unhealthy", "reason": "why"}, "issues": null}},
            {"id": "x", "properties": {"resourceDetails": {"id": "/vm/3"}, "healthDataClassification": {"component": "MDE"}, "status": {"code": "Healthy"}}},
            {"id": "x", "properties": {"resourceDetails": {"id": "/vm/4"}, "healthDataClassification": {"component": "MDE"}, "status": {"code": "NotApplicable"}}},
            {"id": "x", "properties": {"resourceDetails": {"id": "/vm/5"}, "healthDataClassification": {"component": "Arc"}, "status": {"code": "Unhealthy"}}}]"#;
        let items: Vec<Item> = serde_json::from_str(text).unwrap();
        let found: Issues = items.into_iter().filter_map(against_the_sensor).collect();
        assert_eq!(found.len(), 2);
        let first = &found[&hash("/vm/1", "")];
        assert_eq!(
            (first.issue.as_str(), first.remedy.as_str()),
            ("No heartbeat", "Look")
        );
        assert_eq!(found[&hash("/vm/2", "")].issue, "why");
    }
}
