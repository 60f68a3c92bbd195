//! Health reports of Defender for Cloud, the best evidence about a sensor (docs/azure-api.md 5.2). Only those of
//! sensors that do not work are kept.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use reqwest::Method;
use serde::Deserialize;
use serverprotection_core::{
    azure_error::{AzureError, ErrorClass},
    machines::HealthIssue,
};

use super::{
    Scanner,
    forms::{list, object},
    parsed::Parsed,
    rows::{Text, hash},
    subject::Subject,
};
use crate::{
    arm::{Arm, Call, Limits},
    error_response::one_line,
    throttled::Budget,
};

/// Problems of sensors, by [`hash`] of the machine's id.
#[derive(Debug, Default)]
pub(super) struct Issues {
    pub(super) known: HashMap<u64, HealthIssue>,
    /// Machines with a report that cannot be read and may be about the sensor.
    pub(super) unreadable: HashSet<u64>,
}

/// The last reports of each subscription.
#[derive(Debug, Default)]
pub(super) struct HealthCache {
    readings: Mutex<HashMap<String, Reading>>,
}

#[derive(Clone, Debug)]
struct Reading {
    at: Instant,
    good_for: Duration,
    issues: Arc<Issues>,
}

/// How long reports that cannot be used are not read again: a list may take many requests before it turns out to be
/// unusable.
const FAILED_FOR: Duration = Duration::from_secs(5 * 60);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Item {
    id: Text,
    #[serde(deserialize_with = "object")]
    properties: Report,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Report {
    #[serde(deserialize_with = "object")]
    resource_details: Details,
    #[serde(deserialize_with = "object")]
    health_data_classification: Classification,
    #[serde(deserialize_with = "object")]
    status: Status,
    #[serde(deserialize_with = "list")]
    issues: Vec<Issue>,
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
    /// The reports of a subscription, cached or read. Empty if the identity may not read them: they only refine
    /// verdicts.
    pub(super) async fn health(&self, arm: &Arm, subject: &Subject<'_>) -> Arc<Issues> {
        let subscription = subject.id;
        let known = {
            let readings = self.health.readings.lock();
            let readings = readings.unwrap_or_else(PoisonError::into_inner);
            readings.get(subscription).cloned()
        };
        match &known {
            Some(known) if known.at.elapsed() < known.good_for && !subject.is_fresh() => {
                return Arc::clone(&known.issues);
            }
            _ => {}
        }
        let (good_for, issues) = match self.read_health(arm, subscription).await {
            Ok(issues) => (self.settings.record, Arc::new(issues)),
            Err(failure) => {
                tracing::debug!(subscription_id = subscription, error = %failure, "health reports could not be read");
                // Old reports are better than verdicts that change because a request failed.
                let known = known.map(|known| known.issues).unwrap_or_default();
                match failure.class {
                    // An error of one credential says nothing about the reports, which all credentials share.
                    ErrorClass::Credential => return known,
                    ErrorClass::Transient => (self.settings.record.min(FAILED_FOR), known),
                    // Azure says when to read them again.
                    class if class.is_transient() => return known,
                    _ => (self.settings.record, Arc::default()),
                }
            }
        };
        let readings = self.health.readings.lock();
        let mut readings = readings.unwrap_or_else(PoisonError::into_inner);
        // Subscriptions that are no longer scanned.
        readings.retain(|_, known| known.at.elapsed() < self.settings.record * 4);
        let reading = Reading {
            at: Instant::now(),
            good_for,
            issues: Arc::clone(&issues),
        };
        readings.insert(subscription.to_owned(), reading);
        issues
    }

    async fn read_health(&self, arm: &Arm, subscription: &str) -> Result<Issues, AzureError> {
        let call = Call {
            method: Method::GET,
            operation: "GET healthReports",
            budget: Budget::Subscription(subscription),
            path: &[
                "subscriptions",
                subscription,
                "providers",
                "Microsoft.Security",
                "healthReports",
            ],
            api_version: "2023-05-01-preview",
            body: None,
            timeout: None,
            permit: None,
        };
        let _permit = self.gets.acquire().await;
        let mut issues = Issues::default();
        arm.pages(&call, Limits::LONG, |page: Vec<Parsed<Item>>| {
            for report in page {
                issues.take(report);
            }
            Ok(())
        })
        .await?;
        Ok(issues)
    }
}

impl Issues {
    fn take(&mut self, parsed: Parsed<Item>) {
        let id = parsed.row.id;
        let report = parsed.odd.as_ref().map(|odd| odd.part("properties"));
        let readable = report.is_none();
        let report: Report = report.unwrap_or(parsed.row.properties);
        if !report.may_be_of_a_failed_sensor(readable) {
            return;
        }
        let Some(machine) = report.machine(&id) else {
            return;
        };
        let machine = hash(machine, "");
        if readable {
            self.known.entry(machine).or_insert_with(|| report.issue());
        } else {
            self.unreadable.insert(machine);
        }
    }
}

impl Report {
    /// Whether the report is about the sensor and not good. A report that cannot be read may be.
    fn may_be_of_a_failed_sensor(&self, readable: bool) -> bool {
        let (component, code) = (&self.health_data_classification.component.0, &self.status.code.0);
        let is = |text: &str, word: &str| text.eq_ignore_ascii_case(word);
        let unknown = |text: &str| !readable && text.is_empty();
        let of_the_sensor = is(component, "MDE") || unknown(component);
        let good = is(code, "Healthy") || is(code, "NotApplicable") || (readable && code.is_empty());
        of_the_sensor && !good
    }

    fn machine<'a>(&'a self, report: &'a Text) -> Option<&'a str> {
        match self.resource_details.id.0.as_str() {
            "" => split_off_report(&report.0),
            id => Some(id),
        }
    }

    fn issue(&self) -> HealthIssue {
        let first = self.issues.first();
        let name = first.map_or("", |issue| issue.issue_name.0.as_str());
        HealthIssue {
            status: self.status.code.0.clone(),
            issue: one_line(if name.is_empty() {
                &self.status.reason.0
            } else {
                name
            }),
            remedy: first.map_or_else(String::new, |issue| one_line(&issue.remediation_steps.0)),
        }
    }
}

/// `{machine}/providers/Microsoft.Security/healthReports/{guid}` to the machine.
fn split_off_report(id: &str) -> Option<&str> {
    let at = id.to_ascii_lowercase().rfind("/providers/microsoft.security/")?;
    id.get(..at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issues(text: &str) -> Issues {
        let reports: Vec<Parsed<Item>> = serde_json::from_str(text).unwrap();
        let mut issues = Issues::default();
        for report in reports {
            issues.take(report);
        }
        issues
    }

    #[test]
    fn only_bad_reports_of_the_sensor_are_kept() {
        let text = r#"[
            {"id": "x", "properties": {"resourceDetails": {"source": "Azure", "id": "/VM/1"}, "healthDataClassification": {"component": "MDE", "scenario": "Reporting"},
              "status": {"code": "Unhealthy", "reason": "r"}, "issues": [{"issueName": "No  heartbeat", "remediationSteps": "Look"}, {}]}},
            {"id": "/vm/2/providers/Microsoft.Security/healthReports/g", "properties": {"healthDataClassification": {"component": "mde"}, "status": {"code": "Unhealthy", "reason": "why"}, "issues": null}},
            {"id": "x", "properties": {"resourceDetails": {"id": "/vm/3"}, "healthDataClassification": {"component": "MDE"}, "status": {"code": "Healthy"}}},
            {"id": "x", "properties": {"resourceDetails": {"id": "/vm/4"}, "healthDataClassification": {"component": "MDE"}, "status": {"code": "NotApplicable"}}},
            {"id": "x", "properties": {"resourceDetails": {"id": "/vm/5"}, "healthDataClassification": {"component": "Arc"}, "status": {"code": "Unhealthy"}}}]"#;
        let found = issues(text);
        assert!(found.unreadable.is_empty());
        let found = found.known;
        assert_eq!(found.len(), 2);
        let first = &found[&hash("/vm/1", "")];
        assert_eq!(
            (first.issue.as_str(), first.remedy.as_str()),
            ("No heartbeat", "Look")
        );
        assert_eq!(found[&hash("/vm/2", "")].issue, "why");
    }

    #[test]
    fn a_report_that_cannot_be_read_affects_its_machine_only() {
        let id = |vm: u8| format!("/vm/{vm}/providers/Microsoft.Security/healthReports/g");
        let report =
            |vm: u8, properties: &str| format!(r#"{{"id": "{}", "properties": {properties}}}"#, id(vm));
        let text = [
            r#""garbage""#.to_owned(),
            "null".to_owned(),
            report(
                1,
                r#"{"healthDataClassification": {"component": "MDE"}, "status": {"code": "Unhealthy"}}"#,
            ),
            // May be anything.
            report(2, r#""garbage""#),
            report(
                3,
                r#"{"healthDataClassification": 5, "status": {"code": "Unhealthy"}}"#,
            ),
            report(
                4,
                r#"{"healthDataClassification": {"component": "MDE"}, "status": "\ud800"}"#,
            ),
            // Another component, and a good report.
            report(
                5,
                r#"{"healthDataClassification": {"component": "Arc"}, "status": 5}"#,
            ),
            report(
                6,
                r#"{"healthDataClassification": {"component": "MDE"}, "status": {"code": "Healthy"}, "issues": 5}"#,
            ),
            // Other forms of absent members.
            report(
                7,
                r#"{"healthDataClassification": {"component": "MDE"}, "status": {"code": "Healthy"}, "issues": ""}"#,
            ),
            report(8, r#""""#),
        ];
        let found = issues(&format!("[{}]", text.join(",")));
        let vm = |vm: u8| hash(&format!("/vm/{vm}"), "");
        assert_eq!(found.known.keys().copied().collect::<Vec<_>>(), [vm(1)]);
        assert_eq!(found.unreadable, [2, 3, 4].map(vm).into());
    }
}
