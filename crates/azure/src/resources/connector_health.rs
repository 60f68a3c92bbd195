//! Health reports of connectors (docs/azure-api.md 4.8, 5.2).

use reqwest::Method;
use serde_json::Value;
use serverprotection_api::ConnectorIssue;
use serverprotection_core::{reading::ReadResult, security_connector::observed::HealthReport};

use crate::{
    arm::{Arm, Call},
    connectors::id::ConnectorId,
    error_response::{self, one_line, one_line_of},
    throttled::Budget,
};

/// Characters of a remedy. Eight issues with such remedies are the most that a status holds.
const LONGEST_REMEDY: usize = 4096;

impl Arm {
    /// The health reports of a connector. Empty if there is no connector, or Defender for Cloud has not scanned it yet.
    pub(crate) async fn connector_health(&self, id: &ConnectorId) -> ReadResult<Vec<HealthReport>> {
        let mut path = id.path().to_vec();
        path.extend(["providers", "Microsoft.Security", "healthReports"]);
        let list = self
            .list(&Call {
                method: Method::GET,
                operation: "GET healthReports",
                budget: Budget::Subscription(&id.subscription),
                path: &path,
                api_version: "2023-05-01-preview",
                body: None,
                timeout: None,
                permit: None,
            })
            .await;
        match list {
            Ok(list) => Ok(list.iter().map(read).collect()),
            Err(failure) if error_response::is_absent(&failure) => Ok(Vec::new()),
            Err(failure) => Err(failure),
        }
    }
}

fn read(item: &Value) -> HealthReport {
    let text = |place: &str| text(item, place).unwrap_or_default();
    let mut report = HealthReport {
        component: text("/properties/healthDataClassification/component"),
        scope: text("/properties/healthDataClassification/scope"),
        code: text("/properties/status/code"),
        issues: Vec::new(),
    };
    let issues = item.pointer("/properties/issues").and_then(Value::as_array);
    report.issues = issues.into_iter().flatten().map(issue).collect();
    let reason = text("/properties/status/reason");
    if report.issues.is_empty() && report.code.eq_ignore_ascii_case("NotHealthy") && !reason.is_empty() {
        report.issues.push(ConnectorIssue {
            name: report.component.clone(),
            message: reason,
            remedy: None,
        });
    }
    report
}

fn issue(item: &Value) -> ConnectorIssue {
    let name = text(item, "/issueName").or_else(|| text(item, "/issueKey"));
    ConnectorIssue {
        name: name.unwrap_or_else(|| "unnamed".into()),
        message: text(item, "/issueDescription").unwrap_or_else(|| "no description".into()),
        remedy: remedy(item),
    }
}

/// Azure's steps to the end, which is what a user needs: some are longer than other texts may be.
fn remedy(item: &Value) -> Option<String> {
    let steps = item.pointer("/remediationSteps")?.as_str()?;
    let line = one_line_of(steps, LONGEST_REMEDY);
    (!line.is_empty()).then_some(line)
}

/// The text at a JSON pointer, in one line; `None` if it is absent or empty.
fn text(item: &Value, place: &str) -> Option<String> {
    let text = one_line(item.pointer(place)?.as_str()?);
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_is_read_with_its_issues() {
        let report = read(&json!({"name": "g", "properties": {
            "resourceDetails": {"source": "Aws", "id": "x", "connectorId": "g"},
            "healthDataClassification": {"component": "Connectivity", "scenario": "Access", "scope": "Connectors"},
            "status": {"code": "NotHealthy", "lastTimeScannedDate": "2024-01-01T00:00:00Z", "reason": "r"},
            "issues": [{"issueKey": "k", "issueName": "StackSet name invalid", "issueDescription": "It does\r\nnot exist",
                        "remediationSteps": "Create it", "securityValues": null},
                       {"issueKey": "k2", "issueName": null}]}}));
        let issue = |name: &str, message: &str, remedy: Option<&str>| ConnectorIssue {
            name: name.into(),
            message: message.into(),
            remedy: remedy.map(str::to_owned),
        };
        assert_eq!(
            report,
            HealthReport {
                component: "Connectivity".into(),
                scope: "Connectors".into(),
                code: "NotHealthy".into(),
                issues: vec![
                    issue("StackSet name invalid", "It does not exist", Some("Create it")),
                    issue("k2", "no description", None),
                ],
            }
        );
    }

    #[test]
    fn a_long_remedy_keeps_its_end() {
        let issue = |steps: &str| issue(&json!({"issueName": "n", "remediationSteps": steps})).remedy;
        let long = format!("{} the last step", "step ".repeat(300).trim_end());
        assert_eq!(issue(&long), Some(long));
        let bounded = issue(&"x".repeat(100_000)).unwrap();
        assert_eq!(bounded.chars().count(), LONGEST_REMEDY + 1);
        assert_eq!(issue(" \n "), None);
    }

    #[test]
    fn a_bad_report_without_issues_has_its_reason() {
        let report = |code: &str| {
            read(
                &json!({"properties": {"healthDataClassification": {"component": "Connectivity"},
                "status": {"code": code, "reason": "no access"}, "issues": null}}),
            )
        };
        assert_eq!(report("NotHealthy").issues[0].message, "no access");
        assert_eq!(report("Healthy").issues, []);
        assert_eq!(read(&json!({"properties": null})), HealthReport::default());
    }
}
