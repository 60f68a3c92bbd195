//! Create and edit: in place, and with exactly the necessary writes.

use std::sync::Arc;

use serde_json::json;
use serverprotection_tests::{Error, cases, env::Environment, harness::Case};

use super::{TIMEOUT, condition_values, in_azure, of, p2, plan_writes, ready, reconcile, writes};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        a_free_subscription_becomes_p2_and_ready,
        a_legacy_subscription_gets_linux_and_the_unified_solution,
        p1_and_p2_become_each_other_by_one_write_each,
        exclusion_tags_are_set_kept_and_cleared,
        other_keys_of_an_extension_survive,
        integration_and_assessment_are_switched_off_when_the_spec_says_so,
        a_spec_that_demands_free_gets_free,
        workspaces_are_reported,
    ]
}

async fn a_free_subscription_becomes_p2_and_ready(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("create").await?;
    team.protect("prod", p2()).await?;
    let object = ready(&team, "prod").await?;
    assert_eq!(condition_values(&object, "Ready").1, "InSync");
    for (kind, status) in [
        ("CredentialReady", "True"),
        ("ProviderRegistered", "True"),
        ("PlanEnabled", "True"),
        ("ExtensionsProvisioned", "True"),
        ("EndpointIntegrationEnabled", "True"),
        ("VulnerabilityAssessmentEnabled", "True"),
        ("PermissionsSufficient", "True"),
        ("Drifted", "False"),
    ] {
        assert_eq!(condition_values(&object, kind).0, status, "{kind}: {object:#}");
    }
    assert_eq!(object["status"]["plan"]["tier"], "P2");
    assert_eq!(object["status"]["claim"]["state"], "Held");
    assert_eq!(object["status"]["driftCount"], 0);
    assert!(object["metadata"]["finalizers"].is_null());

    let written = writes(&team).await?;
    assert_eq!(plan_writes(&team).await?.len(), 1, "{written:#?}");
    // Enabling the plan also enables WDATP, or it does not: neither causes a useless write.
    let azure = in_azure(&team).await?;
    assert_eq!(azure["settings"]["WDATP"], true, "{azure:#}");
    assert!(of(written.clone(), "/settings/WDATP?").is_empty());
    assert!(written.len() <= 5, "{written:#?}");

    let table = environment
        .plane
        .kubectl(&["get", "serverprotection", "-n", &team.namespace, "--no-headers"])
        .await?;
    let columns: Vec<_> = table.split_whitespace().collect();
    assert!(
        columns.contains(&"P2") && columns.contains(&"Enforce") && columns.contains(&"True"),
        "{table}"
    );
    Ok(())
}

async fn a_legacy_subscription_gets_linux_and_the_unified_solution(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment
        .team_with("legacy", json!({"integrationProfile": "legacy"}))
        .await?;
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    let settings = in_azure(&team).await?["settings"].clone();
    assert_eq!(settings["WDATP"], true);
    assert_eq!(settings["WDATP_UNIFIED_SOLUTION"], true);
    assert_eq!(settings["WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW"], false);
    Ok(())
}

async fn p1_and_p2_become_each_other_by_one_write_each(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("tiers").await?;
    team.protect("prod", json!({"plan": {"tier": "P1"}})).await?;
    ready(&team, "prod").await?;
    for (edit, (tier, count)) in [("P2", 2), ("P1", 3), ("P2", 4)].into_iter().enumerate() {
        team.patch("prod", json!({"spec": {"plan": {"tier": tier}}}))
            .await?;
        let object = ready(&team, "prod").await?;
        assert_eq!(object["status"]["plan"]["tier"], tier);
        let puts = plan_writes(&team).await?;
        assert_eq!(puts.len(), count, "after edit {edit}: {puts:#?}");
    }
    for put in plan_writes(&team).await? {
        assert_eq!(
            put["body"]["properties"]["pricingTier"], "Standard",
            "never through Free"
        );
        assert!(put["body"]["properties"]["subPlan"].is_string());
    }
    // Two events with one reason that say different things are two events.
    let notes = ["Free -> P1", "P1 -> P2", "P2 -> P1"].map(|moved| format!("plan.tier: {moved}"));
    let notes = notes.each_ref().map(String::as_str);
    team.until_events(&notes, TIMEOUT).await
}

async fn exclusion_tags_are_set_kept_and_cleared(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("tags").await?;
    let with = |tags: serde_json::Value| json!({"spec": {"plan": {"agentlessScanning": {"state": "Enabled", "exclusionTags": tags}}}});
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    team.patch(
        "prod",
        with(json!([{"key": "env", "value": "lab"}, {"key": "a", "value": "b"}])),
    )
    .await?;
    ready(&team, "prod").await?;
    assert_eq!(plan_writes(&team).await?.len(), 2);

    // Another order and spelling is the same set.
    let spelled = r#"[ {"Value":"b","Key":"A"}, {"Key":"env","Value":"lab"} ]"#;
    let path =
        "pricings.VirtualMachines.extensions.AgentlessVmScanning.additionalExtensionProperties.ExclusionTags";
    environment
        .emulator
        .set(&team.subscription, json!({path: spelled}))
        .await?;
    let object = reconcile(&team, "prod").await?;
    assert_eq!(condition_values(&object, "Drifted").0, "False", "{object:#}");
    assert_eq!(plan_writes(&team).await?.len(), 2, "nothing to write");

    // A field that is removed from the spec keeps its value in Azure; an empty list clears it.
    team.patch("prod", with(serde_json::Value::Null)).await?;
    ready(&team, "prod").await?;
    assert_eq!(plan_writes(&team).await?.len(), 2, "kept");
    team.patch("prod", with(json!([]))).await?;
    ready(&team, "prod").await?;
    let puts = plan_writes(&team).await?;
    assert_eq!(puts.len(), 3);
    let text = puts[2]["body"].to_string();
    assert!(text.contains(r#""ExclusionTags":"[]""#), "{text}");
    Ok(())
}

async fn other_keys_of_an_extension_survive(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("keys").await?;
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    let path =
        "pricings.VirtualMachines.extensions.AgentlessVmScanning.additionalExtensionProperties.SomebodyElses";
    environment
        .emulator
        .set(&team.subscription, json!({path: "kept"}))
        .await?;
    team.patch(
        "prod",
        json!({"spec": {"plan": {"agentlessScanning": {"exclusionTags": [{"key": "k", "value": "v"}]}}}}),
    )
    .await?;
    ready(&team, "prod").await?;
    let azure = in_azure(&team).await?.to_string();
    assert!(
        azure.contains("SomebodyElses") && azure.contains("kept"),
        "{azure}"
    );
    Ok(())
}

async fn integration_and_assessment_are_switched_off_when_the_spec_says_so(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("off").await?;
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    let edit = json!({"spec": {"endpointIntegration": {"state": "Disabled"}, "vulnerabilityAssessment": {"state": "Disabled"}}});
    team.patch("prod", edit).await?;
    let object = ready(&team, "prod").await?;
    assert_eq!(condition_values(&object, "EndpointIntegrationEnabled").0, "False");
    let azure = in_azure(&team).await?;
    assert_eq!(azure["settings"]["WDATP"], false);
    assert!(
        azure["serverVulnerabilityAssessmentsSettings"]["azureServersSetting"].is_null(),
        "{azure:#}"
    );
    Ok(())
}

async fn a_spec_that_demands_free_gets_free(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("free").await?;
    let allow = json!({"allowFree": [team.subscription]});
    environment
        .emulator
        .call(reqwest::Method::PUT, "monitor", Some(allow))
        .await?;
    team.protect("prod", json!({"plan": {"tier": "P1"}})).await?;
    ready(&team, "prod").await?;
    team.patch("prod", json!({"spec": {"plan": {"tier": "Free"}}}))
        .await?;
    let object = ready(&team, "prod").await?;
    assert_eq!(condition_values(&object, "PlanEnabled").1, "Free");
    assert_eq!(object["status"]["plan"]["tier"], "Free");
    Ok(())
}

async fn workspaces_are_reported(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("workspaces").await?;
    let id = |name: &str| {
        format!(
            "/subscriptions/{}/resourceGroups/logs/providers/Microsoft.OperationalInsights/workspaces/{name}",
            team.subscription
        )
    };
    let solution = format!(
        "/subscriptions/{}/resourceGroups/logs/providers/Microsoft.OperationsManagement/solutions/Security(on)",
        team.subscription
    );
    environment
        .emulator
        .seed(
            json!({"subscriptions": [{"subscriptionId": team.subscription, "resourceGroups": ["logs"],
            "workspaces": [id("on"), id("off")], "solutions": [solution]}]}),
        )
        .await?;
    let mut spec = p2();
    spec["workspaces"] = json!([{"resourceId": id("on")}, {"resourceId": id("off")}]);
    team.protect("prod", spec).await?;
    let object = ready(&team, "prod").await?;
    let condition_values = &object["status"]["workspaces"];
    assert_eq!(
        (
            condition_values[0]["solution"].as_str(),
            condition_values[1]["solution"].as_str()
        ),
        (Some("Enabled"), Some("Disabled")),
        "{condition_values:#}"
    );
    Ok(())
}
