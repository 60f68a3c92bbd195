//! Rights, legacy plans, other plans of a subscription, and what the service does not know.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends there"
)]

mod bench;

use bench::{Bench, PLAN};
use serde_json::{Value, json};

const VM: &str = "resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/vm1";

fn fim(properties: &Value) -> Value {
    json!({"pricingTier": "Standard", "subPlan": "P2", "extensions": [
        {"name": "FileIntegrityMonitoring", "isEnabled": "True", "additionalExtensionProperties": properties}]})
}

fn bare(extension: &str, enabled: &str) -> Value {
    json!({"pricingTier": "Standard", "subPlan": "P2", "extensions": [{"name": extension, "isEnabled": enabled}]})
}

#[tokio::test]
async fn each_feature_needs_its_own_right() {
    let client = "33333333-3333-3333-3333-333333333333";
    let other = "00000000-0000-0000-0000-000000000002";
    let bench = Bench::seeded(&format!(
        "principals: [{{clientId: {client}, roleAssignments: {{00000000-0000-0000-0000-000000000001: [Security Admin]}}}}]\n\
         subscriptions: [{{subscriptionId: {other}}}]"
    ))
    .await;
    let workspace = format!(
        "/subscriptions/{other}/resourceGroups/r/providers/Microsoft.OperationalInsights/workspaces/w"
    );
    let rules = r#"[{"RuleId":"1","MonitoredEntities":{}}]"#;
    let off = json!({"pricingTier": "Standard", "subPlan": "P2", "extensions": [
        {"name": "AgentlessVmScanning", "isEnabled": "False"}, {"name": "FileIntegrityMonitoring", "isEnabled": "False"},
        {"name": "MdeDesignatedSubscription", "isEnabled": "False"}]});
    let on = json!({"pricingTier": "Standard", "subPlan": "P2", "extensions": [
        {"name": "AgentlessVmScanning", "isEnabled": "True"}, {"name": "MdeDesignatedSubscription", "isEnabled": "True"},
        {"name": "FileIntegrityMonitoring", "isEnabled": "True",
         "additionalExtensionProperties": {"DefinedWorkspaceId": workspace, "Rules": rules}}]});
    let names = [
        "AgentlessVmScanning",
        "FileIntegrityMonitoring",
        "MdeDesignatedSubscription",
    ];
    let results = async |assignments: Value| {
        let assignments = json!({ "roleAssignments": assignments });
        bench
            .control("PATCH", &format!("principals/{client}"), assignments)
            .await;
        bench.put_plan(off.clone()).await;
        let put = bench.put_plan(on.clone()).await;
        names.map(|name| put.extension(name)["operationStatus"]["code"] == "Succeeded")
    };
    let own = "00000000-0000-0000-0000-000000000001";
    assert_eq!(
        results(json!({own: ["Security Admin"]})).await,
        [false, false, false]
    );
    // Owner of the subscription of the workspace, or of the workspace itself.
    for scope in [other, &workspace] {
        let both = json!({own: ["Security Admin"], scope: ["Owner"]});
        assert_eq!(results(both).await, [false, true, false], "{scope}");
    }
    assert_eq!(results(json!({own: ["Owner"]})).await, [true, false, true]);
    bench.switch("directOnboardingWithoutOwner", "succeeded").await;
    assert_eq!(
        results(json!({own: ["Security Admin"]})).await,
        [false, false, true]
    );
}

#[tokio::test]
async fn a_partial_success_of_another_plan_fails_every_extension_that_assigns_roles() {
    let bench = Bench::seeded(
        "principals: [{clientId: 33333333-3333-3333-3333-333333333333, \
         roleAssignments: {00000000-0000-0000-0000-000000000001: [Security Admin]}}]",
    )
    .await;
    let posture = PLAN.replace("VirtualMachines", "CloudPosture");
    let put = bench
        .ask(
            "PUT",
            &posture,
            Some(json!({"properties": {"pricingTier": "Standard"}})),
        )
        .await;
    let failed = |name: &str| put.extension(name)["operationStatus"]["code"] == "Failed";
    for name in [
        "AgentlessVmScanning",
        "AgentlessDiscoveryForKubernetes",
        "ContainerRegistriesVulnerabilityAssessments",
    ] {
        assert!(failed(name), "{name}: {put:?}");
    }
    assert!(!failed("SensitiveDataDiscovery"));
}

#[tokio::test]
async fn what_the_service_does_not_know_is_refused_with_the_whole_plan() {
    let bench = Bench::new().await;
    let rules = r#"[{"RuleId":"1","MonitoredEntities":{}}]"#;
    let nowhere = "/subscriptions/99999999-0000-0000-0000-000000000000/resourceGroups/r/providers/\
                   Microsoft.OperationalInsights/workspaces/w";
    let refused = bench
        .put_plan(fim(&json!({"DefinedWorkspaceId": nowhere, "Rules": rules})))
        .await;
    assert_eq!((refused.status, refused.code()), (400, "InvalidInputError"));
    let unknown = bench.put_plan(bare("NoSuchExtension", "True")).await;
    assert_eq!((unknown.status, unknown.code()), (400, "InvalidInputJson"));
    let get = bench.ask("GET", PLAN, None).await;
    assert_eq!(get.properties()["pricingTier"], "Free", "nothing of it happened");
}

#[tokio::test]
async fn legacy_plans_cannot_be_enabled() {
    let bench = Bench::new().await;
    for (plan, sub_plan) in [
        ("Dns", None),
        ("KubernetesService", None),
        ("ContainerRegistry", None),
        ("KeyVaults", Some("PerTransaction")),
        ("Arm", Some("PerApiCall")),
    ] {
        let path = PLAN.replace("VirtualMachines", plan);
        let body = json!({"properties": {"pricingTier": "Standard", "subPlan": sub_plan}});
        let refused = bench.ask("PUT", &path, Some(body)).await;
        assert_eq!(
            (refused.status, refused.code()),
            (400, "InvalidInputError"),
            "{plan}"
        );
        let free = json!({"properties": {"pricingTier": "Free"}});
        assert_eq!(bench.ask("PUT", &path, Some(free)).await.status, 200, "{plan}");
    }
    let vaults = PLAN.replace("VirtualMachines", "KeyVaults");
    let body = json!({"properties": {"pricingTier": "Standard", "subPlan": "PerKeyVault"}});
    assert_eq!(bench.ask("PUT", &vaults, Some(body)).await.status, 200);
}

#[tokio::test]
async fn foundational_cspm_and_who_manages_a_plan_follow_switch_and_version() {
    let bench = Bench::new().await;
    let list = "providers/Microsoft.Security/pricings?api-version=2026-07-01";
    let posture = PLAN.replace("VirtualMachines", "foundationalcspm");
    assert_eq!(
        bench.ask("GET", &posture, None).await.properties()["pricingTier"],
        "Standard"
    );
    bench
        .set(json!({"pricings.FoundationalCspm.pricingTier": "Free", "pricings.VirtualMachines.pricingTier": "Standard",
            "pricings.VirtualMachines.managedBy": "M365 security rule: r"}))
        .await;
    let all = bench.ask("GET", list, None).await;
    let named = |name: &str| {
        let mut plans = all.body["value"].as_array().unwrap().iter();
        plans.find(|plan| plan["name"] == name).cloned()
    };
    assert_eq!(
        named("FoundationalCspm").unwrap()["properties"]["pricingTier"],
        "Free"
    );
    assert_eq!(
        named("VirtualMachines").unwrap()["properties"]["managedBy"],
        "M365 security rule: r"
    );
    assert_eq!(
        bench.ask("GET", PLAN, None).await.properties().get("managedBy"),
        None
    );
    bench.switch("foundationalCspm", "unlisted").await;
    let all = bench.ask("GET", list, None).await;
    assert_eq!(all.body["value"].as_array().unwrap().len(), 16);
    assert_eq!(
        bench.ask("GET", &posture, None).await.code(),
        "InvalidResourceName"
    );
}

#[tokio::test]
async fn a_machine_lists_the_plans_that_concern_it() {
    let bench = Bench::new().await;
    let list = format!("{VM}/providers/Microsoft.Security/pricings?api-version=2024-01-01");
    let all = bench.ask("GET", &list, None).await;
    let names: Vec<_> = all.body["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|plan| &plan["name"])
        .collect();
    assert_eq!(names, ["VirtualMachines", "CloudPosture"]);
    let posture = format!("{VM}/{}", PLAN.replace("VirtualMachines", "CloudPosture"));
    assert_eq!(
        bench.ask("GET", &posture, None).await.properties()["inherited"],
        "True"
    );
    let free = json!({"properties": {"pricingTier": "Free"}});
    assert_eq!(bench.ask("PUT", &posture, Some(free)).await.status, 400);
}
