//! The rules of plans: tiers, sub-plans, extensions, machines, and the switches on them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends there"
)]

mod bench;

use bench::{Bench, PLAN, setting};
use serde_json::{Value, json};

const VM: &str = "resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/vm1";

#[tokio::test]
async fn a_plan_goes_from_free_to_standard_and_back() {
    let bench = Bench::new().await;
    let free = bench.ask("GET", PLAN, None).await;
    assert_eq!(
        *free.properties(),
        json!({"pricingTier": "Free", "freeTrialRemainingTime": "P30D", "resourcesCoverageStatus": "NotCovered"})
    );
    let put = bench
        .put_plan(json!({"pricingTier": "standard", "subPlan": "P2", "unknown": 1}))
        .await;
    assert_eq!(put.status, 200);
    assert_eq!(put.properties()["pricingTier"], "Standard");
    assert_eq!(
        put.extension("AgentlessVmScanning")["operationStatus"]["code"],
        "Succeeded"
    );
    assert_eq!(
        put.extension("MdeDesignatedSubscription").get("operationStatus"),
        None
    );
    let time = put.properties()["enablementTime"].as_str().unwrap();
    assert_eq!(time.split('.').nth(1).unwrap().len(), 8, "{time}");
    let get = bench.ask("GET", PLAN, None).await;
    assert_eq!(get.extension("AgentlessVmScanning").get("operationStatus"), None);
    assert_eq!(get.properties()["enforce"], "False");
    assert_eq!(
        bench.ask("GET", &setting("WDATP"), None).await.properties()["enabled"],
        true
    );
    let old = bench.ask(
        "GET",
        "providers/microsoft.security/PRICINGS/virtualmachines?Api-Version=2018-06-01",
        None,
    );
    assert_eq!(old.await.properties().as_object().unwrap().len(), 2);
    let back = bench.put_plan(json!({"pricingTier": "FREE"})).await;
    assert_eq!(
        *back.properties(),
        json!({"pricingTier": "Free", "freeTrialRemainingTime": "PT0S", "resourcesCoverageStatus": "NotCovered"})
    );
}

#[tokio::test]
async fn refusals_have_the_exact_texts() {
    let bench = Bench::new().await;
    let p1 = json!({"pricingTier": "Standard", "subPlan": "P1",
                    "extensions": [{"name": "AgentlessVmScanning", "isEnabled": "False"}]});
    let refused = bench.put_plan(p1).await;
    assert_eq!((refused.status, refused.code()), (400, "InvalidInputJson"));
    assert_eq!(
        refused.message(),
        "Extension with name 'AgentlessVmScanning' is not supported for 'VirtualMachines' plan and 'P1' SubPlan"
    );
    let delete = bench.ask("DELETE", PLAN, None).await;
    assert_eq!((delete.status, delete.code()), (400, "InvalidUrlConfiguration"));
    assert!(
        delete
            .message()
            .starts_with("Delete operation is supported only for single resources scope")
    );
    let unknown = bench
        .ask("GET", &PLAN.replace("VirtualMachines", "default"), None)
        .await;
    assert_eq!((unknown.status, unknown.code()), (400, "InvalidResourceName"));
    assert!(unknown.message().ends_with("Discovery, FoundationalCspm"));
    assert!(unknown.message().starts_with(
        "The name 'default' is not a valid name. Possible pricing bundle names: VirtualMachines, SqlServers"
    ));
    let truth = bench.put_plan(json!({"pricingTier": "Standard", "subPlan": "P2",
                                      "extensions": [{"name": "AgentlessVmScanning", "isEnabled": true}]}));
    assert_eq!(truth.await.code(), "InvalidInputJson");
    let disabled = bench
        .put_plan(json!({"pricingTier": "Standard", "subPlan": "P2", "extensions": [
            {"name": "AgentlessVmScanning", "isEnabled": "False", "additionalExtensionProperties": {"ExclusionTags": "[]"}}]}))
        .await;
    assert_eq!(disabled.status, 500);
    assert!(
        disabled
            .message()
            .contains("can't be updated while the extension is disabled (IsEnabled = False)")
    );
    let not_json = bench.ask("PUT", PLAN, Some(json!("text"))).await;
    assert_eq!(not_json.code(), "InvalidRequestContent");
    assert!(not_json.message().contains('"') && not_json.message().contains("\r\n"));
}

#[tokio::test]
async fn properties_are_stored_and_shared_with_posture() {
    let bench = Bench::new().await;
    let tags = r#"[{"key":"A","value":"B"}]"#;
    bench
        .set(json!({"pricings.CloudPosture.pricingTier": "Standard",
        "pricings.CloudPosture.extensions.AgentlessVmScanning.additionalExtensionProperties.ExclusionTags": tags}))
        .await;
    let put = bench
        .put_plan(json!({"pricingTier": "Standard", "subPlan": "P2",
                         "extensions": [{"name": "AgentlessVmScanning", "isEnabled": "True"}]}))
        .await;
    assert_eq!(
        put.extension("AgentlessVmScanning")["additionalExtensionProperties"]["ExclusionTags"],
        tags
    );
    let off = bench
        .put_plan(json!({"pricingTier": "Standard", "subPlan": "P2",
                         "extensions": [{"name": "AgentlessVmScanning", "isEnabled": "False"}]}))
        .await;
    assert_eq!(off.extension("AgentlessVmScanning")["isEnabled"], "True");
    bench
        .set(json!({"pricings.CloudPosture.pricingTier": "Free"}))
        .await;
    let get = bench.ask("GET", PLAN, None).await;
    assert_eq!(get.extension("AgentlessVmScanning")["isEnabled"], "False");
}

#[tokio::test]
async fn omitted_members_follow_the_switches() {
    let bench = Bench::new().await;
    let p2 = json!({"pricingTier": "Standard", "subPlan": "P2"});
    let off = json!({"pricingTier": "Standard", "subPlan": "P2",
                     "extensions": [{"name": "AgentlessVmScanning", "isEnabled": "False"}]});
    bench.put_plan(off.clone()).await;
    assert_eq!(
        bench.put_plan(p2.clone()).await.extension("AgentlessVmScanning")["isEnabled"],
        "False"
    );
    bench.switch("omittedExtensions", "defaults").await;
    assert_eq!(
        bench.put_plan(p2.clone()).await.extension("AgentlessVmScanning")["isEnabled"],
        "True"
    );
    bench
        .put_plan(json!({"pricingTier": "Standard", "subPlan": "P1"}))
        .await;
    bench.switch("standardWithoutSubPlan", "staysP1").await;
    let stays = bench.put_plan(json!({"pricingTier": "Standard"})).await;
    assert_eq!(stays.properties()["subPlan"], "P1");
    bench.switch("all", "default").await;
    let moves = bench.put_plan(json!({"pricingTier": "Standard"})).await;
    assert_eq!(moves.properties()["subPlan"], "P2");
    let first = r#"[{"RuleId":"1","MonitoredEntities":{}}]"#;
    let second = r#"[{"RuleId":"2","MonitoredEntities":{}}]"#;
    bench
        .put_plan(fim(&json!({"DefinedWorkspaceId": "/w", "Rules": first})))
        .await;
    let replaced = bench.put_plan(fim(&json!({"DefinedWorkspaceId": "/v"}))).await;
    let properties = &replaced.extension("FileIntegrityMonitoring")["additionalExtensionProperties"];
    assert_eq!(*properties, json!({"DefinedWorkspaceId": "/v"}));
    bench.switch("extensionProperties", "perKeyMerge").await;
    let both = fim(&json!({"DefinedWorkspaceId": "/v", "Rules": first}));
    bench.put_plan(both).await;
    let merged = bench.put_plan(fim(&json!({"Rules": second}))).await;
    let properties = &merged.extension("FileIntegrityMonitoring")["additionalExtensionProperties"];
    assert_eq!(*properties, json!({"DefinedWorkspaceId": "/v", "Rules": second}));
}

fn fim(properties: &Value) -> Value {
    json!({"pricingTier": "Standard", "subPlan": "P2", "extensions": [
        {"name": "FileIntegrityMonitoring", "isEnabled": "True", "additionalExtensionProperties": properties}]})
}

fn bare(extension: &str, enabled: &str) -> Value {
    json!({"pricingTier": "Standard", "subPlan": "P2", "extensions": [{"name": extension, "isEnabled": enabled}]})
}

#[tokio::test]
async fn file_integrity_monitoring_needs_a_workspace_and_rules() {
    let bench = Bench::new().await;
    let rules = r#"[{"RuleId":"1","MonitoredEntities":{"LinuxFiles":[{"Path":"/etc/"}]}}]"#;
    for (properties, missing) in [
        (json!({}), "DefinedWorkspaceId"),
        (json!({"WorkspaceId": "/w", "Rules": rules}), "DefinedWorkspaceId"),
        (json!({"DefinedWorkspaceId": "/w"}), "Rules"),
        (json!({"DefinedWorkspaceId": "/w", "Rules": "[]"}), "Rules"),
    ] {
        let refused = bench.put_plan(fim(&properties)).await;
        assert_eq!((refused.status, refused.code()), (400, "InvalidInputError"));
        assert!(refused.message().contains(missing), "{}", refused.message());
        let get = bench.ask("GET", PLAN, None).await;
        assert_eq!(get.properties()["pricingTier"], "Free", "nothing of it happened");
    }
    let both = json!({"DefinedWorkspaceId": "/w", "Rules": rules});
    let put = bench.put_plan(fim(&both)).await;
    assert_eq!(put.status, 200);
    assert_eq!(
        put.extension("FileIntegrityMonitoring")["additionalExtensionProperties"],
        both
    );
}

#[tokio::test]
async fn unsent_properties_follow_the_switches() {
    let bench = Bench::new().await;
    let rules = r#"[{"RuleId":"1","MonitoredEntities":{}}]"#;
    let both = json!({"DefinedWorkspaceId": "/w", "Rules": rules});
    bench.put_plan(fim(&both)).await;
    let again = bench.put_plan(bare("FileIntegrityMonitoring", "True")).await;
    assert_eq!(
        again.extension("FileIntegrityMonitoring")["additionalExtensionProperties"],
        both
    );
    bench.switch("monitoringWithoutProperties", "refused").await;
    let refused = bench.put_plan(bare("FileIntegrityMonitoring", "True")).await;
    assert_eq!((refused.status, refused.code()), (400, "InvalidInputError"));
    bench.switch("monitoringWithoutProperties", "accepted").await;
    bench.switch("unsentExtensionProperties", "cleared").await;
    let cleared = bench.put_plan(bare("FileIntegrityMonitoring", "True")).await;
    let shown = cleared.extension("FileIntegrityMonitoring");
    assert_eq!(shown["isEnabled"], "True");
    assert_eq!(shown.get("additionalExtensionProperties"), None);

    // Agentless scanning keeps its tags with both answers.
    let tags = json!({"pricingTier": "Standard", "subPlan": "P2", "extensions": [
        {"name": "AgentlessVmScanning", "isEnabled": "True", "additionalExtensionProperties": {"ExclusionTags": "[1]"}}]});
    bench.put_plan(tags).await;
    let again = bench.put_plan(bare("AgentlessVmScanning", "True")).await;
    assert_eq!(
        again.extension("AgentlessVmScanning")["additionalExtensionProperties"]["ExclusionTags"],
        "[1]"
    );
}

#[tokio::test]
async fn disabled_monitoring_follows_its_switch() {
    let bench = Bench::new().await;
    let off = bare("FileIntegrityMonitoring", "False");
    assert_eq!(bench.put_plan(off.clone()).await.status, 200);
    bench.switch("disabledMonitoring", "validated").await;
    let refused = bench.put_plan(off.clone()).await;
    assert_eq!((refused.status, refused.code()), (400, "InvalidInputError"));
    let left_out = json!({"pricingTier": "Standard", "subPlan": "P2", "extensions": []});
    assert_eq!(bench.put_plan(left_out).await.status, 200);
    // An enabled extension has both, so it can be disabled.
    let rules = r#"[{"RuleId":"1","MonitoredEntities":{}}]"#;
    let on = fim(&json!({"DefinedWorkspaceId": "/w", "Rules": rules}));
    assert_eq!(bench.put_plan(on).await.status, 200);
    let put = bench.put_plan(off).await;
    assert_eq!(put.extension("FileIntegrityMonitoring")["isEnabled"], "False");
}

#[tokio::test]
async fn machines_inherit_override_and_obey_enforce() {
    let bench = Bench::new().await;
    let machine = format!("{VM}/{PLAN}");
    bench
        .put_plan(json!({"pricingTier": "Standard", "subPlan": "P2"}))
        .await;
    let inherited = bench.ask("GET", &machine, None).await;
    assert_eq!(inherited.properties()["inherited"], "True");
    assert_eq!(inherited.properties()["subPlan"], "P2");
    let p2 = json!({"properties": {"pricingTier": "Standard", "subPlan": "P2"}});
    assert_eq!(bench.ask("PUT", &machine, Some(p2)).await.status, 400);
    let free = json!({"properties": {"pricingTier": "Free"}});
    let put = bench.ask("PUT", &machine, Some(free.clone())).await;
    assert_eq!(put.properties()["inherited"], "False");
    let parent = bench.ask("GET", PLAN, None).await;
    assert_eq!(parent.properties()["resourcesCoverageStatus"], "PartiallyCovered");
    bench
        .put_plan(json!({"pricingTier": "Standard", "subPlan": "P2", "enforce": "True"}))
        .await;
    assert_eq!(
        bench.ask("GET", &machine, None).await.properties()["inherited"],
        "True"
    );
    assert_eq!(bench.ask("PUT", &machine, Some(free.clone())).await.status, 403);
    bench.switch("resourcePutUnderEnforce", "Conflict").await;
    assert_eq!(bench.ask("PUT", &machine, Some(free)).await.code(), "Conflict");
    assert_eq!(bench.ask("DELETE", &machine, None).await.status, 204);
    let arc = "resourceGroups/rg/providers/Microsoft.HybridCompute/machines/m1";
    assert_eq!(bench.ask("GET", &format!("{arc}/{PLAN}"), None).await.status, 200);
    let storage = "resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/s1";
    assert_eq!(
        bench.ask("GET", &format!("{storage}/{PLAN}"), None).await.status,
        400
    );
}

#[tokio::test]
async fn extensions_that_assign_roles_need_more_than_security_admin() {
    let bench = Bench::seeded(
        "principals: [{clientId: 33333333-3333-3333-3333-333333333333, \
         roleAssignments: {00000000-0000-0000-0000-000000000001: [Security Admin]}}]",
    )
    .await;
    let p2 = json!({"pricingTier": "Standard", "subPlan": "P2"});
    let put = bench.put_plan(p2.clone()).await;
    assert_eq!(put.status, 200);
    let status = &put.extension("AgentlessVmScanning")["operationStatus"];
    assert_eq!(status["code"], "Failed");
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .starts_with("Failed assigning roles")
    );
    let get = bench.ask("GET", PLAN, None).await;
    assert_eq!(get.extension("AgentlessVmScanning")["isEnabled"], "True");
    bench.switch("failedExtensionIsEnabled", "False").await;
    let get = bench.ask("GET", PLAN, None).await;
    assert_eq!(get.extension("AgentlessVmScanning")["isEnabled"], "False");
    let client = "principals/33333333-3333-3333-3333-333333333333";
    let both = json!({"roleAssignments": {"*": ["Security Admin", "User Access Administrator"]}});
    bench.control("PATCH", client, both).await;
    bench.switch("accessAdministratorAssignsRoles", "no").await;
    let again = bench.put_plan(p2.clone()).await;
    assert_eq!(
        again.extension("AgentlessVmScanning")["operationStatus"]["code"],
        "Failed"
    );
    bench.switch("all", "default").await;
    let again = bench.put_plan(p2).await;
    assert_eq!(
        again.extension("AgentlessVmScanning")["operationStatus"]["code"],
        "Succeeded"
    );
    assert_eq!(bench.breaches().await, Vec::<String>::new());
}

#[tokio::test]
async fn direct_onboarding_is_one_per_tenant() {
    let bench = Bench::seeded(
        "subscriptions: [{subscriptionId: 00000000-0000-0000-0000-000000000002, \
         roleAssignments: {33333333-3333-3333-3333-333333333333: [Owner]}}]",
    )
    .await;
    let on = json!({"properties": {"pricingTier": "Standard", "subPlan": "P1",
                                   "extensions": [{"name": "MdeDesignatedSubscription", "isEnabled": "True"}]}});
    bench.ask("PUT", PLAN, Some(on.clone())).await;
    let second = "00000000-0000-0000-0000-000000000002";
    bench.switch("secondDirectOnboarding", "Conflict").await;
    assert_eq!(bench.at(second, "PUT", PLAN, Some(on.clone())).await.status, 409);
    bench.switch("secondDirectOnboarding", "lastWriterWins").await;
    assert_eq!(bench.at(second, "PUT", PLAN, Some(on)).await.status, 200);
    let first = bench.ask("GET", PLAN, None).await;
    assert_eq!(first.extension("MdeDesignatedSubscription")["isEnabled"], "False");
}

#[tokio::test]
async fn a_second_write_at_the_same_time_is_refused() {
    let bench = Bench::new().await;
    bench
        .control("PUT", "options", json!({"pricingLockTime": "1s"}))
        .await;
    let p2 = json!({"pricingTier": "Standard", "subPlan": "P2"});
    let (first, second) = tokio::join!(bench.put_plan(p2.clone()), async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        bench.put_plan(p2.clone()).await
    });
    assert_eq!((first.status, second.status), (200, 409));
    assert_eq!(
        second.message(),
        "Another update operation is in progress. Please retry in a few minutes"
    );
    assert_eq!(
        bench
            .put_plan(json!({"pricingTier": "Standard", "subPlan": "P1"}))
            .await
            .status,
        200
    );
    assert_eq!(bench.breaches().await, ["OneWriter"]);
}

#[tokio::test]
async fn plans_are_filtered_and_settings_have_rules() {
    let bench = Bench::new().await;
    let list = "providers/Microsoft.Security/pricings?api-version=2024-01-01";
    let all = bench.ask("GET", list, None).await;
    assert_eq!(all.body["value"].as_array().unwrap().len(), 17);
    let two = bench
        .ask(
            "GET",
            &format!("{list}&$filter=name%20in%20(VirtualMachines,CloudPosture)"),
            None,
        )
        .await;
    assert_eq!(two.body["value"].as_array().unwrap().len(), 2);
    let wrong = json!({"kind": "AlertSyncSettings", "properties": {"enabled": true}});
    let got = bench.ask("PUT", &setting("WDATP"), Some(wrong.clone())).await;
    assert_eq!((got.status, got.code()), (400, "InvalidRequestContent"));
    bench.switch("settingsKindMismatch", "BadRequest").await;
    assert_eq!(
        bench.ask("PUT", &setting("WDATP"), Some(wrong)).await.code(),
        "BadRequest"
    );
    let off = json!({"kind": "DataExportSettings", "properties": {"enabled": false}, "name": "WDATP"});
    assert_eq!(
        bench.ask("PUT", &setting("wdatp"), Some(off)).await.body["name"],
        "WDATP"
    );
    bench
        .put_plan(json!({"pricingTier": "Standard", "subPlan": "P1"}))
        .await;
    let still = bench.ask("GET", &setting("WDATP"), None).await;
    assert_eq!(still.properties()["enabled"], false, "a user turned it off");
}
