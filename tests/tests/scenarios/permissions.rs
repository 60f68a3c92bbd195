//! Missing permissions are reported with the name of the action.

use std::sync::Arc;

use serde_json::json;
use serverprotection_tests::{
    Error, cases,
    env::Environment,
    harness::Case,
    team::{Team, condition},
};

use super::{TIMEOUT, condition_values, p2, plan_writes, ready, reconcile, stalled};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        a_reader_may_not_write,
        an_identity_without_any_role_stalls,
        security_admin_alone_cannot_switch_agentless_scanning_on,
        file_integrity_monitoring_needs_its_workspace_and_not_the_subscription,
    ]
}

async fn roles(team: &Team<'_>, roles: &[&str]) -> Result<(), Error> {
    let change = json!({"roleAssignments": {team.subscription.clone(): roles}});
    team.environment
        .emulator
        .principal(&team.client_id, change)
        .await?;
    Ok(())
}

async fn a_reader_may_not_write(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("reader").await?;
    roles(&team, &["Reader"]).await?;
    team.protect("prod", p2()).await?;
    let object = stalled(
        &team,
        "prod",
        "MissingPermission",
        "Microsoft.Security/pricings/write",
    )
    .await?;
    assert!(
        object["status"]["claim"].is_null(),
        "it claims nothing: {object:#}"
    );
    assert!(plan_writes(&team).await?.is_empty());
    let (status, _, message) = condition_values(&object, "PermissionsSufficient");
    assert_eq!(status, "False");
    assert!(message.contains("Microsoft.Security/pricings/write"), "{message}");
    roles(&team, &["Owner"]).await?;
    let object = ready(&team, "prod").await?;
    assert_eq!(
        condition_values(&object, "PermissionsSufficient").0,
        "True",
        "{object:#}"
    );
    Ok(())
}

async fn an_identity_without_any_role_stalls(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("nobody").await?;
    roles(&team, &[]).await?;
    team.protect("prod", p2()).await?;
    stalled(&team, "prod", "AuthorizationFailed", "role with this action").await?;
    Ok(())
}

async fn security_admin_alone_cannot_switch_agentless_scanning_on(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("secadmin").await?;
    roles(&team, &["Security Admin"]).await?;
    team.protect("prod", p2()).await?;
    let object = stalled(
        &team,
        "prod",
        "ExtensionFailed",
        "Microsoft.Authorization/roleAssignments/write",
    )
    .await?;
    let (status, reason, message) = condition_values(&object, "ExtensionsProvisioned");
    assert_eq!((status, reason), ("False", "ExtensionFailed"));
    assert!(message.contains("plan.agentlessScanning"), "{message}");
    let (status, _, message) = condition_values(&object, "PermissionsSufficient");
    assert_eq!(status, "False");
    assert!(
        message.contains("Microsoft.Authorization/roleAssignments/write"),
        "{message}"
    );
    // What is possible is done: the plan is enabled, and nothing is written again and again.
    assert_eq!(object["status"]["plan"]["tier"], "P2");
    let puts = plan_writes(&team).await?.len();
    for _ in 0..3 {
        reconcile(&team, "prod").await?;
    }
    assert_eq!(
        plan_writes(&team).await?.len(),
        puts,
        "no write can help before the role is granted"
    );

    roles(&team, &["Owner"]).await?;
    let what = "recovery after the grant";
    let object = team
        .until_holds("prod", what, TIMEOUT, |object| {
            condition(object, "Ready").is_some_and(|ready| ready["status"] == "True")
        })
        .await?;
    assert_eq!(condition_values(&object, "PermissionsSufficient").0, "True");
    Ok(())
}

async fn file_integrity_monitoring_needs_its_workspace_and_not_the_subscription(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("fim-rights").await?;
    let workspace = format!(
        "/subscriptions/{}/resourceGroups/r/providers/Microsoft.OperationalInsights/workspaces/w",
        team.subscription
    );
    roles(&team, &["Security Admin"]).await?;
    let monitoring = json!({"state": "Enabled", "workspaceId": workspace});
    let spec = json!({"plan": {"tier": "P2", "fileIntegrityMonitoring": monitoring}});
    team.protect("prod", spec).await?;
    let failed = |object: &serde_json::Value| {
        condition(object, "Ready").is_some_and(|ready| ready["reason"] == "ExtensionFailed")
    };
    let object = team
        .until_holds("prod", "the failed extension", TIMEOUT, failed)
        .await?;
    // Owner of the subscription is not what is missing.
    let (status, _, message) = condition_values(&object, "PermissionsSufficient");
    assert_eq!(status, "True", "{message}");
    assert!(message.contains("Workspace Owner"), "{message}");

    let granted =
        json!({"roleAssignments": {team.subscription.clone(): ["Security Admin"], workspace: ["Owner"]}});
    team.environment
        .emulator
        .principal(&team.client_id, granted)
        .await?;
    team.request("prod").await?;
    let object = ready(&team, "prod").await?;
    let extensions = object["status"]["plan"]["extensions"].as_array().unwrap();
    let monitoring = extensions
        .iter()
        .find(|extension| extension["name"] == "FileIntegrityMonitoring")
        .unwrap();
    assert_eq!(monitoring["provisioning"], "Succeeded", "{object:#}");
    Ok(())
}
