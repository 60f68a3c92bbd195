//! Machines that are no longer listed: a verdict must not improve because Resource Graph lost their rows.

use serverprotection_core::machines::{Environment, Listing};

use super::*;

/// One protected machine, and some that are not.
fn stub(unprotected: &[&str]) -> Stub {
    let stub = Stub::new(&["a", "b"]).vm("a", "good", "Succeeded");
    unprotected.iter().fold(stub, |stub, name| {
        stub.vm("a", name, "Failed")
            .resource(&id("a", name), 200, failed())
    })
}

/// The GET of a virtual machine whose extension failed.
fn failed() -> serde_json::Value {
    let mut body = well();
    body["resources"][0]["properties"]["provisioningState"] = "Failed".into();
    body
}

impl Azure {
    /// Removes the rows of these machines.
    fn lose(&self, names: &[&str]) {
        let mut stub = self.stub.lock().unwrap();
        stub.rows
            .retain(|row| !names.iter().any(|name| row["name"] == *name));
    }

    /// Deletes these machines.
    fn delete(&self, names: &[&str]) {
        self.lose(names);
        let mut stub = self.stub.lock().unwrap();
        for name in names {
            stub.resources.remove(&id("a", name).to_lowercase());
        }
    }

    fn answer(&self, name: &str, status: u16, body: serde_json::Value) {
        let mut stub = self.stub.lock().unwrap();
        let path = id("a", name).to_lowercase();
        stub.resources.insert(path, (status, vec![], body));
    }
}

fn not_listed(recording: &Recording) -> Vec<String> {
    let all = recording.reasons().into_iter();
    all.filter(|(_, verdict, reason)| *verdict == Verdict::Unknown && reason == "NotListed")
        .map(|(name, ..)| name)
        .collect()
}

#[tokio::test]
async fn a_lost_row_does_not_improve_the_verdict_and_a_deleted_machine_does() {
    let azure = Azure::of(stub(&["v1", "v2", "v3"])).await;
    let (recording, report) = azure.scan(&["a"]).await;
    assert_eq!((recording.total("a"), report.confirmations), (4, 3));
    let (_, report) = azure.scan(&["a"]).await;
    assert_eq!(report.confirmations, 0, "no machine is missing");

    azure.lose(&["v1", "v2"]);
    let (recording, report) = azure.scan(&["a"]).await;
    assert_eq!(not_listed(&recording), ["v1", "v2"]);
    let summary = recording.reading("a").summary;
    assert_eq!(
        (recording.total("a"), summary.not_listed, report.confirmations),
        (4, 2, 2)
    );
    assert_eq!(summary.tally.verdict(Verdict::Failed), 1);
    assert!(
        summary
            .worst
            .iter()
            .any(|worst| worst.name == "v1" && worst.id == id("a", "v1"))
    );

    azure.delete(&["v1"]);
    let (recording, report) = azure.scan(&["a"]).await;
    assert_eq!(
        (not_listed(&recording), report.confirmations),
        (vec!["v2".into()], 2)
    );
    let (_, report) = azure.scan(&["a"]).await;
    assert_eq!(report.confirmations, 1, "a deleted machine is not checked again");

    // It is listed again.
    let stub = std::mem::replace(&mut *azure.stub.lock().unwrap(), Stub::new(&[]));
    let again = stub.vm("a", "v2", "Succeeded");
    *azure.stub.lock().unwrap() = again;
    let (recording, report) = azure.scan(&["a"]).await;
    assert_eq!(
        (not_listed(&recording), recording.total("a"), report.confirmations),
        (vec![], 3, 0)
    );
    azure.lose(&["v2"]);
    let (recording, report) = azure.scan(&["a"]).await;
    assert_eq!(
        (recording.total("a"), report.confirmations),
        (2, 0),
        "it was protected"
    );
}

#[tokio::test]
async fn all_rows_lost_is_not_an_empty_subscription() {
    let azure = Azure::of(stub(&["v1"])).await;
    azure.scan(&["a", "b"]).await;
    azure.lose(&["good", "v1"]);
    let (recording, _) = azure.scan(&["a", "b"]).await;
    assert_eq!(
        (not_listed(&recording), recording.total("b")),
        (vec!["v1".into()], 0)
    );
}

#[tokio::test]
async fn machines_that_cannot_be_checked_still_count() {
    for (status, body) in [
        (500, error("InternalServerError")),
        (403, error("AuthorizationFailed")),
        // 404s that are not about the machine.
        (404, json!("<html>not found</html>")),
        (404, error("SubscriptionNotFound")),
        (404, error("InvalidResourceType")),
    ] {
        let azure = Azure::of(stub(&["v1"])).await;
        azure.scan(&["a"]).await;
        azure.lose(&["v1"]);
        azure.answer("v1", status, body);
        for _ in 0..2 {
            let (recording, report) = azure.scan(&["a"]).await;
            assert_eq!(
                (not_listed(&recording), report.confirmations),
                (vec!["v1".into()], 1),
                "{status}"
            );
        }
        let asked_again = if status == 403 { 2 } else { 1 };
        assert_eq!(
            azure.asked("/permissions"),
            asked_again,
            "after a refusal the permissions are read again"
        );
        azure.answer("v1", 404, error("ResourceNotFound"));
        let (recording, _) = azure.scan(&["a"]).await;
        assert_eq!(recording.total("a"), 1, "{status}");
    }
}

#[tokio::test]
async fn machines_beyond_the_limit_count_until_later_scans_check_them() {
    let names = ["v1", "v2", "v3", "v4", "v5", "v6", "v7"];
    let mut azure = Azure::of(stub(&names)).await;
    azure.scan(&["a"]).await;
    azure.scanner.settings.confirmations_per_subscription = 2;
    azure.delete(&names);
    for left in [5, 3, 1, 0] {
        let (recording, report) = azure.scan(&["a"]).await;
        assert_eq!(
            (not_listed(&recording).len(), recording.total("a")),
            (left, u64::try_from(left).unwrap() + 1)
        );
        assert!(report.confirmations <= 2);
    }
}

#[tokio::test]
async fn machines_that_exist_do_not_prevent_checks_of_others() {
    let names = ["v1", "v2", "v3", "v4", "v5"];
    let mut azure = Azure::of(stub(&names)).await;
    azure.scan(&["a"]).await;
    azure.scanner.settings.confirmations_per_subscription = 2;
    // Only the last one is deleted.
    azure.lose(&names);
    azure.delete(&["v5"]);
    let mut left = 5;
    for _ in 0..3 {
        let (recording, report) = azure.scan(&["a"]).await;
        left = not_listed(&recording).len();
        assert_eq!(report.confirmations, 2);
    }
    assert_eq!(left, 4, "three scans check five machines");
}

#[tokio::test]
async fn suspects_leave_half_of_the_confirmations_to_missing_machines() {
    let mut azure = Azure::of(stub(&["v1", "v2", "v3", "v4"])).await;
    azure.scan(&["a"]).await;
    azure.scanner.settings.confirmations_per_subscription = 4;
    azure.delete(&["v1", "v2", "v3", "v4"]);
    {
        // The same number of new suspects, which cannot be confirmed.
        let mut stub = azure.stub.lock().unwrap();
        let before = std::mem::replace(&mut *stub, Stub::new(&[]));
        *stub = ["w1", "w2", "w3", "w4"].iter().fold(before, |stub, name| {
            stub.vm("a", name, "Failed")
                .resource(&id("a", name), 500, error("InternalServerError"))
        });
    }
    for left in [2, 0] {
        let (recording, report) = azure.scan(&["a"]).await;
        assert_eq!((not_listed(&recording).len(), report.confirmations), (left, 4));
        assert_eq!(recording.reading("a").summary.tally.verdict(Verdict::Failed), 4);
    }
}

#[tokio::test]
async fn without_permissions_missing_machines_are_kept_and_not_checked() {
    let permissions = "/subscriptions/a/providers/Microsoft.Authorization/permissions";
    let azure = Azure::of(stub(&["v1", "v2"])).await;
    azure.scan(&["a"]).await;
    azure.lose(&["good", "v1", "v2"]);
    azure.stub.lock().unwrap().resources.insert(
        permissions.to_lowercase(),
        (
            200,
            vec![],
            json!({ "value": [{ "actions": [], "notActions": [] }] }),
        ),
    );
    let mut targets = targets(&["a"]);
    targets[0].fresh = true;
    for _ in 0..2 {
        let recording = Recording::default();
        let report = azure.scanner.scan(&azure.arm, &targets, &recording).await;
        assert!(matches!(recording.reading("a").access, Access::Missing(_)));
        assert_eq!((not_listed(&recording).len(), report.confirmations), (2, 0));
    }
    azure
        .stub
        .lock()
        .unwrap()
        .resources
        .remove(&permissions.to_lowercase());
    let (recording, report) = azure.scan(&["a"]).await;
    assert_eq!((not_listed(&recording).len(), report.confirmations), (2, 2));
}

#[tokio::test]
async fn a_failed_scan_keeps_the_unprotected_machines() {
    let azure = Azure::of(stub(&["v1"])).await;
    azure.scan(&["a"]).await;
    azure.lose(&["v1"]);
    let short = json!({ "totalRecords": 5, "data": [], "resultTruncated": "false" });
    azure.stub.lock().unwrap().fault =
        Box::new(move |request| request.is("machines").then(|| (200, vec![], short.clone())));
    let (recording, _) = azure.scan(&["a"]).await;
    assert_eq!(recording.failure("a"), "IncompleteResult");
    azure.stub.lock().unwrap().fault = Box::new(|_| None);
    assert_eq!(not_listed(&azure.scan(&["a"]).await.0), ["v1"]);
}

#[tokio::test]
async fn excluded_machines_and_released_subscriptions_are_dropped() {
    let azure = Azure::of(stub(&["v1"])).await;
    azure.scan(&["a"]).await;
    azure.lose(&["v1"]);
    let mut excluding = targets(&["a"]);
    let mut exclusions = Exclusions::default();
    exclusions.rule("lab", [], &[], &[id("a", "v1")]);
    excluding[0].exclusions = Arc::new(exclusions);
    let recording = Recording::default();
    let report = azure.scanner.scan(&azure.arm, &excluding, &recording).await;
    assert_eq!((recording.total("a"), report.confirmations), (1, 0));
    assert_eq!(azure.scan(&["a"]).await.1.confirmations, 0);

    let azure = Azure::of(stub(&["v1"])).await;
    azure.scan(&["a"]).await;
    azure.lose(&["v1"]);
    azure.scanner.retain(|subscription| subscription != "a");
    let (recording, report) = azure.scan(&["a"]).await;
    assert_eq!((recording.total("a"), report.confirmations), (1, 0));
}

#[tokio::test]
async fn a_machine_that_leaves_the_count_by_its_state_is_confirmed() {
    let azure = Azure::of(stub(&["v1", "v2"])).await;
    azure.scan(&["a"]).await;
    for row in &mut azure.stub.lock().unwrap().rows {
        if row["name"] != "good" {
            row["power"] = "PowerState/deallocated".into();
        }
    }
    // The row of v1 lags behind: the machine runs.
    for (name, power) in [("v1", "running"), ("v2", "deallocated")] {
        let mut body = failed();
        body["properties"]["instanceView"]["statuses"] = json!([{ "code": format!("PowerState/{power}") }]);
        azure.answer(name, 200, body);
    }
    for confirmations in [2, 0] {
        let (recording, report) = azure.scan(&["a"]).await;
        assert_eq!(
            recording.machines(),
            [
                ("good".into(), Verdict::Protected),
                ("v1".into(), Verdict::Failed),
                ("v2".into(), Verdict::PoweredOff)
            ]
        );
        assert_eq!(report.confirmations, confirmations);
    }
}

#[tokio::test]
async fn after_a_restart_the_machines_of_the_status_are_known() {
    let named = |names: &[&str]| -> Arc<[KnownMachine]> {
        let known = names.iter().map(|name| KnownMachine {
            id: id("a", name),
            environment: Environment::Azure,
        });
        known.collect()
    };
    let azure = Azure::of(stub(&["v1", "v2"])).await;
    azure.lose(&["v1"]);
    let mut targets = targets(&["a"]);
    targets[0].unprotected = named(&["v1", "v2", "gone"]);
    for _ in 0..2 {
        let recording = Recording::default();
        azure.scanner.scan(&azure.arm, &targets, &recording).await;
        assert_eq!(not_listed(&recording), ["v1"]);
        let findings = recording.findings.lock().unwrap();
        let missing = findings.iter().find(|(machine, _)| machine.name == "v1").unwrap();
        assert_eq!((missing.0.listing, missing.0.instances), (Listing::NotListed, 1));
        // Later scans ignore the machines of the status.
        targets[0].unprotected = named(&["v1", "v2", "other"]);
    }
    assert_eq!((azure.asked("/gone"), azure.asked("/other")), (1, 0));
}

#[tokio::test]
async fn a_single_scan_keeps_nothing() {
    let mut azure = Azure::of(stub(&["v1"])).await;
    azure.scanner.settings.keep_unprotected = false;
    azure.scan(&["a"]).await;
    azure.lose(&["v1"]);
    let (recording, report) = azure.scan(&["a"]).await;
    assert_eq!((recording.total("a"), report.confirmations), (1, 0));
}

#[tokio::test]
async fn machines_of_an_account_stay_in_its_counts() {
    let arc = |name: &str, state: &str| {
        json!({
            "id": format!("/subscriptions/a/resourceGroups/rg/providers/Microsoft.HybridCompute/machines/{name}"),
            "name": name, "type": "microsoft.hybridcompute/machines", "subscriptionId": "a", "resourceGroup": "rg",
            "tags": { "MDFCSecurityConnector": "true", "AccountId": "1" }, "osType": "linux", "osSku": "Ubuntu 22.04", "status": "Connected",
            "agentVersion": "1.64", "provider": "AWS", "extName": "MDE.Linux", "extType": "MDE.Linux", "extState": state
        })
    };
    let mut stub = Stub::new(&["a"]);
    stub.rows = vec![arc("bad", "Creating"), arc("good", "Succeeded")];
    let bad = stub.rows[0]["id"].as_str().unwrap().to_owned();
    let azure = Azure::of(stub.resource(&bad, 200, json!({ "properties": { "status": "Connected" } }))).await;
    let (recording, _) = azure.scan(&["a"]).await;
    let before = recording
        .reading("a")
        .summary
        .of_accounts(Environment::Aws, ["1"]);
    assert_eq!((before.total, before.eligible, before.protected), (2, 2, 1));
    azure.lose(&["bad"]);
    let (recording, _) = azure.scan(&["a"]).await;
    let after = recording
        .reading("a")
        .summary
        .of_accounts(Environment::Aws, ["1"]);
    assert_eq!((not_listed(&recording), after), (vec!["bad".into()], before));
}
