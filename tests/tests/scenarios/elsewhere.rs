//! What others manage or know: plans of the Defender portal, other plans of the subscription, parts that Azure refuses.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    env::Environment,
    harness::Case,
    team::{Team, condition},
};

use super::{TIMEOUT, condition_values, in_azure, plan_writes, ready, reconcile, stalled};

const RULE: &str = "M365 security rule: /management/rules/1";

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        a_plan_of_the_defender_portal_is_never_written,
        a_plan_that_moves_to_the_defender_portal_is_left_alone,
        foundational_cspm_that_is_off_is_reported,
        an_unknown_extension_does_not_keep_the_rest_from_being_applied,
        a_workspace_that_does_not_exist_does_not_keep_the_rest_from_being_applied,
    ]
}

async fn a_plan_of_the_defender_portal_is_never_written(environment: Arc<Environment>) -> Result<(), Error> {
    let managed = json!({"pricings": {"VirtualMachines": {"pricingTier": "Standard", "subPlan": "P1", "managedBy": RULE}}});
    let team = environment.team_with("portal", managed).await?;
    team.protect("prod", json!({"plan": {"tier": "P2"}})).await?;
    let object = stalled(&team, "prod", "ManagedElsewhere", RULE).await?;
    let (_, _, message) = condition_values(&object, "Ready");
    assert!(message.contains("plan.tier: P1 -> P2"), "{message}");
    assert_eq!(object["status"]["plan"]["managedBy"], RULE, "{object:#}");
    assert!(plan_writes(&team).await?.is_empty());
    // The rest of the spec is enforced.
    let azure = in_azure(&team).await?;
    assert_eq!(azure["settings"]["WDATP"], true, "{azure:#}");
    reconcile(&team, "prod").await?;
    assert!(plan_writes(&team).await?.is_empty());

    // Mode Observe is what the message proposes.
    team.patch("prod", json!({"spec": {"mode": "Observe"}})).await?;
    let object = ready(&team, "prod").await?;
    assert_eq!(condition_values(&object, "Ready").1, "Observed");
    team.patch("prod", json!({"spec": {"mode": "Enforce"}})).await?;
    stalled(&team, "prod", "ManagedElsewhere", "Set mode to Observe").await?;
    // The portal ends its management.
    let ours = json!({"pricings.VirtualMachines.managedBy": null});
    environment.emulator.set(&team.subscription, ours).await?;
    team.request("prod").await?;
    let object = ready(&team, "prod").await?;
    assert_eq!(object["status"]["plan"]["tier"], "P2");
    assert!(object["status"]["plan"]["managedBy"].is_null(), "{object:#}");
    Ok(())
}

async fn a_plan_that_moves_to_the_defender_portal_is_left_alone(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("moved").await?;
    team.protect("prod", json!({"plan": {"tier": "P2"}})).await?;
    ready(&team, "prod").await?;
    let written = plan_writes(&team).await?.len();
    let moved = json!({"pricings.VirtualMachines.subPlan": "P1", "pricings.VirtualMachines.managedBy": RULE});
    environment.emulator.set(&team.subscription, moved).await?;
    reconcile(&team, "prod").await?;
    let object = stalled(&team, "prod", "ManagedElsewhere", RULE).await?;
    assert_eq!(object["status"]["driftCount"], 1, "{object:#}");
    assert_eq!(plan_writes(&team).await?.len(), written);
    assert_eq!(
        in_azure(&team).await?["pricings"]["VirtualMachines"]["subPlan"],
        "P1"
    );
    Ok(())
}

async fn foundational_cspm_that_is_off_is_reported(environment: Arc<Environment>) -> Result<(), Error> {
    let switches = environment.emulator.switches(json!({})).await?;
    let listed = switches["foundationalCspm"] == "listed";
    let team = environment.team("foundational").await?;
    let off = json!({"pricings.FoundationalCspm.pricingTier": "Free"});
    environment.emulator.set(&team.subscription, off).await?;
    team.protect("prod", json!({"plan": {"tier": "P2"}})).await?;
    ready(&team, "prod").await?;
    let object = reconcile(&team, "prod").await?;
    let (status, reason, message) = condition_values(&object, "PlanEnabled");
    if !listed {
        // Azure does not say so, and nothing is claimed.
        assert_eq!((status, reason), ("True", "PlanEnabled"), "{object:#}");
        assert!(object["status"]["otherPlans"]["foundationalCspm"].is_null());
        return Ok(());
    }
    assert_eq!((status, reason), ("True", "FoundationalCspmOff"), "{object:#}");
    assert!(message.contains("no recommendations"), "{message}");
    assert_eq!(object["status"]["otherPlans"]["foundationalCspm"], "Disabled");
    assert_eq!(condition_values(&object, "Ready").0, "True");
    // Defender CSPM contains it.
    let on = json!({"pricings.CloudPosture.pricingTier": "Standard"});
    environment.emulator.set(&team.subscription, on).await?;
    let object = reconcile(&team, "prod").await?;
    assert_eq!(condition_values(&object, "PlanEnabled").1, "PlanEnabled");
    Ok(())
}

/// Waits until everything but one part is in Azure, and checks that this part is retried slowly.
async fn all_but_one(team: &Team<'_>, reason: &str, says: &str) -> Result<Value, Error> {
    let object = stalled(team, "prod", reason, says).await?;
    let azure = in_azure(team).await?;
    assert_eq!(azure["pricings"]["VirtualMachines"]["subPlan"], "P2", "{azure:#}");
    assert_eq!(azure["settings"]["WDATP"], true, "{azure:#}");
    assert_eq!(
        azure["serverVulnerabilityAssessmentsSettings"]["azureServersSetting"],
        "MdeTvm"
    );
    let made = plan_writes(team).await?.len();
    tokio::time::sleep(Duration::from_secs(7)).await;
    let later = plan_writes(team).await?.len();
    assert!(later <= made + 3, "{made} plan writes, then {later}");
    Ok(object)
}

async fn an_unknown_extension_does_not_keep_the_rest_from_being_applied(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("unknown-extension").await?;
    let tags = json!([{"key": "env", "value": "lab"}]);
    let spec = json!({"plan": {"tier": "P2", "agentlessScanning": {"state": "Enabled", "exclusionTags": tags},
        "otherExtensions": [{"name": "NoSuchExtension", "state": "Enabled"}]}});
    team.protect("prod", spec).await?;
    let scans = |object: &Value| {
        let drift = object["status"]["drift"].as_array().map_or(0, Vec::len);
        drift == 1 && condition(object, "Stalled").is_some()
    };
    team.until_holds("prod", "only the unknown extension differs", TIMEOUT, scans)
        .await?;
    let object = all_but_one(&team, "InvalidInputJson", "NoSuchExtension").await?;
    assert_eq!(
        object["status"]["drift"][0]["field"],
        "plan.otherExtensions[NoSuchExtension].state"
    );
    team.patch("prod", json!({"spec": {"plan": {"otherExtensions": null}}}))
        .await?;
    ready(&team, "prod").await?;
    Ok(())
}

async fn a_workspace_that_does_not_exist_does_not_keep_the_rest_from_being_applied(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("no-workspace").await?;
    let workspace = "/subscriptions/99999999-9999-4999-8999-999999999999/resourceGroups/r/providers/\
                     Microsoft.OperationalInsights/workspaces/w";
    let monitoring = json!({"state": "Enabled", "workspaceId": workspace});
    let spec = json!({"plan": {"tier": "P2", "fileIntegrityMonitoring": monitoring}});
    team.protect("prod", spec).await?;
    let written =
        |object: &Value| object["status"]["plan"]["tier"] == "P2" && condition(object, "Stalled").is_some();
    team.until_holds("prod", "plan P2 without monitoring", TIMEOUT, written)
        .await?;
    all_but_one(&team, "InvalidInputError", "workspace").await?;
    Ok(())
}
