//! No form of identifying value survives, and equal values stay comparable.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn scrubbed(text: &str) -> String {
    Scrubber::new().unwrap().text(text)
}

#[test]
fn every_form_is_replaced() {
    let guid = "6F1c0d7e-0000-4000-8000-000000000001";
    for (text, expected) in [
        (
            format!("a {guid} b {}", guid.to_lowercase()),
            "a <guid-1> b <guid-1>",
        ),
        (
            format!(
                "/subscriptions/{guid}/resourceGroups/rg-Prod/providers/Microsoft.Compute/virtualMachines/web-1/extensions/MDE.Linux"
            ),
            "/subscriptions/<guid-1>/resourceGroups/<group-1>/providers/Microsoft.Compute/virtualMachines/<resource-1>/extensions/MDE.Linux",
        ),
        (
            "/providers/Microsoft.HybridCompute/machines/web-1/extensions/Agent".into(),
            "/providers/Microsoft.HybridCompute/machines/<resource-1>/extensions/<resource-2>",
        ),
        (
            "PUT /providers/Microsoft.Security/pricings/VirtualMachines".into(),
            "PUT /providers/Microsoft.Security/pricings/VirtualMachines",
        ),
        ("arn:aws:iam::123456789012:role/Cspm, x".into(), "<arn-1>, x"),
        (
            "account 123456789012 of 843025268399".into(),
            "account <number-1> of <number-2>",
        ),
        ("sa@my-project.iam.gserviceaccount.com.".into(), "<address-1>."),
        (
            "http://user:pa%20ss@proxy:3128".into(),
            "http://<secret>@proxy:3128",
        ),
        (
            "Authorization: Bearer abc.def-ghi".into(),
            "Authorization: Bearer <secret>",
        ),
        (
            "token eyJhbGciOiJSUzI1NiJ9.eyJhIjoxfQ.c2ln end".into(),
            "token <secret> end",
        ),
        ("client_secret=abc~def&x=1".into(), "client_secret=<secret>&x=1"),
        ("10.1.2.3 and 127.0.0.1".into(), "<ip-1> and 127.0.0.1"),
        ("42 of 2026-11-30T00:00:00Z".into(), "42 of 2026-11-30T00:00:00Z"),
    ] {
        assert_eq!(scrubbed(&text), expected);
    }
}

#[test]
fn private_fields_are_replaced_there_and_in_other_texts() {
    let object = json!({
        "metadata": {"name": "prod", "namespace": "team"},
        "spec": {
            "resourceGroup": "rg", "tags": {"owner": "jane"}, "subscription": "x",
            "machines": {"exclude": [{"name": "lab", "tags": [{"key": "env", "value": "lab"}]}]}
        },
        "status": {
            "subscriptionName": "Contoso Production",
            "display": {"subscription": "Contoso Production"},
            "machines": {"worst": [{"name": "web-1", "verdict": "Missing", "message": "web-1 has no extension"}]},
            "conditions": [{"message": "Contoso production waits for jane"}]
        }
    });
    let mut scrubber = Scrubber::new().unwrap();
    scrubber.learn(&object);
    let found = scrubber.document(&object);
    let text = found.to_string();
    for private in ["Contoso", "jane", "web-1", "owner", "\"rg\"", "\"env\""] {
        assert!(!text.contains(private), "{private}: {found:#}");
    }
    assert_eq!(found["metadata"], object["metadata"]);
    assert_eq!(found["status"]["machines"]["worst"][0]["verdict"], "Missing");
    let name = found["status"]["subscriptionName"].as_str().unwrap();
    assert_eq!(found["status"]["display"]["subscription"], name);
    assert!(
        found["status"]["conditions"][0]["message"]
            .as_str()
            .unwrap()
            .starts_with(name)
    );
    assert_eq!(
        found["spec"]["machines"]["exclude"][0]["tags"][0]
            .as_object()
            .unwrap()
            .len(),
        2
    );
}

/// Condition types, reasons, values, fields and names of objects.
#[test]
fn words_of_the_api_and_names_of_objects_stay() {
    for name in [
        "Healthy",
        "Disabled",
        "Contested",
        "prod",
        "team",
        "conditions",
        "SecurityConnector",
    ] {
        let object = json!({
            "kind": "SecurityConnector",
            "metadata": {"name": "prod", "namespace": "team"},
            "spec": {"tags": {"env": name}},
            "status": {"subscriptionName": name, "conditions": [
                {"type": "Healthy", "reason": "Contested", "message": "the state is Disabled"}
            ]}
        });
        let mut scrubber = Scrubber::new().unwrap();
        scrubber.learn(&object);
        let found = scrubber.document(&object);
        assert_eq!(found["metadata"], object["metadata"], "{name}");
        assert_eq!(found["kind"], object["kind"], "{name}");
        assert_eq!(
            found["status"]["conditions"], object["status"]["conditions"],
            "{name}"
        );
        // In their own fields, they are private all the same.
        assert_eq!(found["status"]["subscriptionName"], "<text-1>", "{name}");
        assert_eq!(
            scrubber.text("Stalled=True prod in team"),
            "Stalled=True prod in team"
        );
    }
}

proptest! {
    #[test]
    fn no_guid_and_no_account_survives(before in "[ -~]{0,20}", after in "[ -~]{0,20}", digits in 100_000_000_000_u64..999_999_999_999) {
        let guid = "6f1c0d7e-1234-4abc-8000-00000000000a";
        let text = scrubbed(&format!("{before} {guid} {digits} {after}"));
        prop_assert!(!text.contains(guid), "{text}");
        prop_assert!(!text.contains(&digits.to_string()), "{text}");
    }

    #[test]
    fn a_learned_name_does_not_survive(name in "[A-Za-z][A-Za-z0-9 ._-]{4,20}[A-Za-z0-9]", before in "[ -~]{0,10}") {
        let mut scrubber = Scrubber::new().unwrap();
        scrubber.learn(&json!({"subscriptionName": name}));
        let text = scrubber.text(&format!("{before} {name} failed"));
        prop_assert!(!text.contains(&format!(" {name} ")), "{text}");
    }
}
