//! Machines of a subscription whose plan is Free.

use serverprotection_core::machines::Verdict;

use super::*;

fn stub(tier: &str) -> Stub {
    let mut stub = Stub::new(&["a"]).vm("a", "bare", "").vm("a", "well", "Succeeded");
    stub.plans.push(json!({
        "id": "/subscriptions/a/providers/Microsoft.Security/pricings/VirtualMachines",
        "name": "VirtualMachines", "subscriptionId": "a", "tier": tier, "subPlan": "P2"
    }));
    stub.resource(&id("a", "bare"), 200, json!({ "properties": {} }))
}

fn hours_ago(hours: i64) -> Timestamp {
    Timestamp::now()
        .checked_sub(SignedDuration::from_hours(hours))
        .unwrap()
}

#[tokio::test]
async fn the_plan_is_the_cause_and_no_machine_is_confirmed() {
    let azure = Azure::of(stub("Free")).await;
    let (recording, report) = azure.scan(&["a"]).await;
    assert_eq!(
        recording.reasons(),
        ["bare", "well"].map(|name| found(name, Verdict::PlanOff, "SubscriptionPlanFree"))
    );
    assert_eq!(report.confirmations, 0);
    assert_eq!(recording.reading("a").tier.as_deref(), Some("Free"));
}

#[tokio::test]
async fn the_enablement_that_resource_graph_does_not_show_yet_counts() {
    for (tier, enabled, bare, well) in [
        // Just enabled: the grace period of both machines begins now, however old they are.
        ("Free", 0, Verdict::Provisioning, Verdict::Protected),
        ("Standard", 0, Verdict::Provisioning, Verdict::Protected),
        // Long ago: Resource Graph has caught up, and somebody turned the plan off.
        ("Free", 5, Verdict::PlanOff, Verdict::PlanOff),
        ("Standard", 5, Verdict::Missing, Verdict::Protected),
    ] {
        let azure = Azure::of(stub(tier)).await;
        let mut targets = targets(&["a"]);
        targets[0].plan_enabled = Some(hours_ago(enabled));
        let recording = Recording::default();
        azure.scanner.scan(&azure.arm, &targets, &recording).await;
        assert_eq!(
            recording.machines(),
            [("bare".to_owned(), bare), ("well".to_owned(), well)],
            "{tier}, enabled {enabled} h ago"
        );
    }
}
