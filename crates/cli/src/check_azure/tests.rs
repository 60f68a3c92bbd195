//! What the report contains, and what it must not.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use serverprotection_azure::check::{Answer, Check, Finding, Point};
use serverprotection_core::azure_error::{AzureError, ErrorClass};

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
    let check = Check {
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
    };
    let machines = BTreeMap::from([("Missing NoExtension".to_owned(), 2)]);
    Report::new(&check, Ok(machines), &mut Scrubber::new().unwrap())
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
        "settings (2024-01-01): failed: AuthorizationFailed: ",
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
