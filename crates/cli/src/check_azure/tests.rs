//! What the report contains, and what it must not.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use serverprotection_azure::check::{Answer, Check, Finding, Point};
use serverprotection_core::{
    azure_error::{AzureError, ErrorClass},
    reading::Permissions,
};

use super::report::Report;
use crate::scrub::Scrubber;

const SUBSCRIPTION: &str = "6f1c0d7e-0000-4000-8000-000000000001";

fn failure() -> AzureError {
    AzureError {
        class: ErrorClass::Permission(None),
        code: "AuthorizationFailed".into(),
        message: format!("The client has no authorization over /subscriptions/{SUBSCRIPTION}"),
        operation: "settings".into(),
        request_id: None,
        effect_unknown: false,
    }
}

fn answer(name: &'static str, needed: bool, shape: Result<Value, AzureError>) -> Answer {
    Answer {
        name,
        api_version: "2024-01-01",
        needed,
        shape,
    }
}

fn report(needed: bool) -> Report {
    Report::new(
        &check(needed),
        Ok(machines()),
        Some(Scrubber::new().unwrap()),
        remedy,
    )
}

fn machines() -> BTreeMap<String, u64> {
    BTreeMap::from([("Missing NoExtension".to_owned(), 2)])
}

fn remedy(_: &AzureError) -> String {
    "assign the role Reader".into()
}

fn grant(action: &str) -> Permissions {
    Permissions {
        grants: vec![(vec![action.to_owned()], Vec::new())],
    }
}

fn check(needed: bool) -> Check {
    Check {
        permissions: Ok(grant("Microsoft.Security/*")),
        reads: vec![
            answer(
                "plan",
                true,
                Ok(json!({"properties": {"pricingTier": "Standard"}})),
            ),
            answer("settings", needed, Err(failure())),
        ],
        points: vec![
            Point {
                section: "1.4",
                name: "extensions with tier Free",
                finding: Finding::NotSeen("a subscription with tier Free"),
            },
            Point {
                section: "7.2",
                name: "subscriptions that the caller cannot see",
                finding: Finding::Seen("ignored".into()),
            },
            Point {
                section: "8.7",
                name: "action name of health reports",
                finding: Finding::Failed("NotFound".into()),
            },
        ],
    }
}

#[test]
fn a_failed_read_counts_only_if_the_operator_needs_it() {
    assert!(!report(true).is_complete());
    assert!(report(false).is_complete());
}

#[test]
fn both_forms_have_everything_and_no_id() {
    let report = report(true);
    let text = report.text();
    for expected in [
        "plan (2024-01-01): ok",
        "settings: failed: AuthorizationFailed: ",
        "machines: ok, 2 x Missing NoExtension",
        "1.4 extensions with tier Free: not seen; needs a subscription with tier Free",
        "7.2 subscriptions that the caller cannot see: ignored",
        "8.7 action name of health reports: cannot be read: NotFound",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let document = report.document();
    assert_eq!(document["complete"], false);
    assert_eq!(
        document["reads"][0]["shape"]["properties"]["pricingTier"],
        "Standard"
    );
    assert_eq!(document["reads"][1]["error"]["code"], "AuthorizationFailed");
    assert_eq!(document["points"][1]["result"], "Seen");
    assert_eq!(document["machines"]["findings"]["Missing NoExtension"], 2);
    for whole in [text, document.to_string()] {
        assert!(!whole.contains(SUBSCRIPTION), "{whole}");
        assert!(whole.contains("guid-1"), "{whole}");
    }
}

#[test]
fn a_reader_lacks_the_actions_that_write() {
    let mut check = check(false);
    check.permissions = Ok(grant("*/read"));
    let report = Report::new(&check, Ok(machines()), None, remedy);
    assert!(!report.is_complete());
    let text = report.text();
    assert!(text.contains("  Microsoft.Security/pricings/write\n"), "{text}");
    assert!(!text.contains("pricings/read"), "{text}");
    assert!(text.contains("Security Admin"), "{text}");
    assert_eq!(
        report.document()["missingActions"][0],
        "Microsoft.Security/pricings/write"
    );
    // Not known is not sufficient.
    check.permissions = Err(failure());
    let report = Report::new(&check, Ok(machines()), None, remedy);
    assert!(!report.is_complete());
    assert!(report.document()["missingActions"].is_null());
}

#[test]
fn equal_failures_are_one_line_with_the_remedy_and_without_points() {
    let mut check = check(true);
    check.reads.remove(0);
    check.reads.push(answer("connectors", true, Err(failure())));
    let report = Report::new(&check, Err(failure()), None, remedy);
    let text = report.text();
    let line = "  settings, connectors, machines: failed: AuthorizationFailed: ";
    assert!(text.contains(line), "{text}");
    assert_eq!(text.matches("assign the role Reader").count(), 1, "{text}");
    assert!(!text.contains("Unconfirmed"), "{text}");
    // The terminal is the user's own.
    assert!(text.contains(SUBSCRIPTION), "{text}");
}
