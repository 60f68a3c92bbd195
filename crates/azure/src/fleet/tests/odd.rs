//! Rows in undocumented forms: each affects its machine only.

use super::*;

#[tokio::test]
async fn empty_maps_and_lists_are_read_in_every_form() {
    for nothing in [
        json!(""),
        json!(null),
        json!([]),
        json!({}),
        json!("{}"),
        json!("[]"),
    ] {
        let mut stub = Stub::new(&["a"]).vm("a", "vm", "Succeeded");
        for member in ["tags", "allowList", "blockList"] {
            stub.rows[0][member] = nothing.clone();
        }
        let azure = Azure::of(stub).await;
        let (recording, report) = azure.scan(&["a"]).await;
        assert_eq!(
            recording.reasons(),
            [found("vm", Verdict::Protected, "Succeeded")],
            "{nothing}"
        );
        assert_eq!((report.unreadable, report.confirmations), (0, 0), "{nothing}");
    }
}

#[tokio::test]
async fn one_unreadable_row_affects_one_machine() {
    // Pages have two rows: the unreadable ones are alone, between good ones, or twice in one page.
    for odd in [
        json!("garbage"),
        json!(null),
        json!([]),
        json!(17),
        json!({}),
        json!({ "id": [], "subscriptionId": "a" }),
        json!({ "id": id("a", "a2"), "subscriptionId": "a", "tags": "owner" }),
        json!({ "id": id("a", "a2"), "subscriptionId": null, "name": "a2", "allowList": 5 }),
    ] {
        for places in [vec![0], vec![1], vec![2], vec![3], vec![5], vec![1, 1]] {
            let mut stub = three().resource(&id("a", "a2"), 200, json!({ "properties": {} }));
            let of_a2 = odd["id"].is_string();
            if of_a2 && places.len() > 1 {
                continue;
            }
            if of_a2 {
                stub.rows.remove(1);
            }
            let expected = stub.rows.len() + if of_a2 { 1 } else { places.len() };
            for at in &places {
                stub.rows.insert((*at).min(stub.rows.len()), odd.clone());
            }
            let azure = Azure::of(stub).await;
            let (recording, report) = azure.scan(&["a", "b", "c"]).await;
            let all = recording.total("a") + recording.total("b") + recording.total("c");
            assert_eq!(usize::try_from(all).unwrap(), expected, "{odd} at {places:?}");
            let unknown: Vec<_> = recording
                .reasons()
                .into_iter()
                .filter(|(_, verdict, _)| *verdict == Verdict::Unknown)
                .collect();
            assert_eq!(
                unknown.len(),
                if of_a2 { 1 } else { places.len() },
                "{odd} at {places:?}"
            );
            assert!(
                unknown
                    .iter()
                    .all(|(name, _, reason)| !name.is_empty() && reason == "RowUnreadable")
            );
            let readings = ["a", "b", "c"].map(|id| recording.reading(id).summary);
            let counted: u64 = readings.iter().map(|summary| summary.unreadable).sum();
            assert_eq!(
                usize::try_from(counted).unwrap(),
                unknown.len(),
                "{odd} at {places:?}"
            );
            assert_eq!(
                report.confirmations,
                u64::from(of_a2),
                "only a machine with an id can be confirmed"
            );
        }
    }
}

#[tokio::test]
async fn half_a_character_affects_one_machine() {
    let mut stub = Stub::new(&["a"])
        .vm("a", "good", "Succeeded")
        .vm("a", "odd", "Succeeded")
        .resource(&id("a", "odd"), 200, well());
    stub.rows[0]["tags"] = json!({ "owner": "\u{1f600}" });
    stub.rows[1]["tags"] = json!({ "owner": "HALF" });
    stub.text = Some(("HALF", r"\ud83d"));
    let azure = Azure::of(stub).await;
    let (recording, _) = azure.scan(&["a"]).await;
    assert_eq!(
        recording.reasons(),
        [
            found("good", Verdict::Protected, "Succeeded"),
            found("odd", Verdict::Unknown, "RowUnreadable")
        ]
    );
}

#[tokio::test]
async fn a_deleted_machine_with_an_unreadable_row_does_not_count() {
    let mut stub = Stub::new(&["a"])
        .vm("a", "gone", "Succeeded")
        .vm("a", "vm", "Succeeded");
    stub.rows[0]["tags"] = json!(5);
    let azure = Azure::of(stub).await;
    let (recording, _) = azure.scan(&["a"]).await;
    assert_eq!(
        recording.reasons(),
        [found("vm", Verdict::Protected, "Succeeded")]
    );
}

#[tokio::test]
async fn an_unreadable_plan_affects_its_machine_or_its_subscription() {
    let pricing = "/providers/Microsoft.Security/pricings/VirtualMachines";
    let mut stub = three().resource(&id("a", "a2"), 200, well());
    let of_machine = format!("{}{pricing}", id("a", "a2"));
    stub.plans.extend([
        json!({ "id": of_machine, "name": "VirtualMachines", "subscriptionId": "a", "tier": "Free", "inherited": "HALF" }),
        json!("garbage"),
        json!(null),
    ]);
    stub.text = Some(("HALF", r"\ud83d"));
    let azure = Azure::of(stub).await;
    let (recording, _) = azure.scan(&["a", "b", "c"]).await;
    assert_eq!(recording.reading("a").tier.as_deref(), Some("P1"));
    let unknown: Vec<_> = recording
        .reasons()
        .into_iter()
        .filter(|(_, verdict, _)| *verdict != Verdict::Protected)
        .collect();
    assert_eq!(unknown, [found("a2", Verdict::Unknown, "PlanUnreadable")]);
    assert_eq!(recording.machines().len(), 5);
}

#[tokio::test]
async fn an_unreadable_health_report_affects_its_machine() {
    let reports = "/subscriptions/a/providers/Microsoft.Security/healthReports";
    let report = |name: &str, properties: serde_json::Value| json!({ "id": format!("{}/providers/Microsoft.Security/healthReports/g", id("a", name)), "properties": properties });
    let list = json!({ "value": [report("a1", json!("garbage")), "garbage", report("a2", json!({ "resourceDetails": "",
        "healthDataClassification": { "component": "MDE" }, "status": { "code": "Unhealthy" }, "issues": "" }))] });
    let mut stub = three().resource(reports, 200, list);
    stub.plans.clear();
    let mut stub = stub.plan("a", "P2");
    for name in ["a1", "a2"] {
        stub = stub.resource(&id("a", name), 200, well());
    }
    let azure = Azure::of(stub).await;
    let (recording, _) = azure.scan(&["a"]).await;
    assert_eq!(
        recording.reasons(),
        [
            found("a1", Verdict::Unknown, "HealthReportUnreadable"),
            found("a2", Verdict::Failed, "SensorUnhealthy"),
            found("a3", Verdict::Protected, "Succeeded")
        ]
    );
}

#[tokio::test]
async fn an_unreadable_connector_does_not_hide_the_others() {
    let mut stub = Stub::new(&["a"])
        .connector("a", "one", "1")
        .connector("a", "two", "2");
    stub.connectors.insert(0, json!("garbage"));
    stub.connectors.push(json!(null));
    let azure = Azure::of(stub).await;
    let found = azure.scanner.known_connectors(&azure.arm, None).await.unwrap();
    let accounts: Vec<_> = found.into_iter().map(|known| known.account).collect();
    assert_eq!(accounts, ["1", "2"]);
}

#[tokio::test]
async fn a_direct_get_may_have_empty_members_in_every_form() {
    for nothing in [json!(""), json!(null), json!([])] {
        let body = json!({ "tags": nothing, "zones": nothing, "identity": nothing, "resources": [{ "name": "MDE.Linux", "tags": nothing, "properties": {
            "publisher": "Microsoft.Azure.AzureDefenderForServers", "type": "MDE.Linux", "provisioningState": "Succeeded",
            "settings": nothing, "instanceView": nothing } }],
            "properties": { "instanceView": { "statuses": nothing, "extensions": nothing }, "extended": nothing } });
        let bare = json!({ "tags": nothing, "resources": nothing, "properties": { "extended": nothing,
            "instanceView": { "statuses": [{ "code": "PowerState/running" }], "extensions": nothing } } });
        let stub = Stub::new(&["a"])
            .vm("a", "bare", "Failed")
            .vm("a", "late", "Failed")
            .resource(&id("a", "late"), 200, body)
            .resource(&id("a", "bare"), 200, bare);
        let azure = Azure::of(stub).await;
        let (recording, report) = azure.scan(&["a"]).await;
        assert_eq!(report.confirmations, 2);
        assert_eq!(
            recording.reasons(),
            [
                found("bare", Verdict::Missing, "NotDeployed"),
                found("late", Verdict::Protected, "Succeeded")
            ],
            "{nothing}"
        );
    }
}

#[tokio::test]
async fn an_unusable_list_of_health_reports_is_not_read_by_every_scan() {
    let reports = "/subscriptions/a/providers/Microsoft.Security/healthReports";
    let mut stub = three();
    stub.plans.clear();
    let azure = Azure::of(stub.plan("a", "P2").resource(reports, 200, json!({ "value": 5 }))).await;
    for _ in 0..3 {
        let (recording, _) = azure.scan(&["a"]).await;
        assert_eq!(recording.total("a"), 3);
    }
    assert_eq!(azure.asked("healthReports"), 1);
}
