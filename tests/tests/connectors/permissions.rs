//! Missing permissions are reported with the name of the action.

use std::sync::Arc;

use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, env::Environment, harness::Case, team::Team, wait::eventually};

use super::{TIMEOUT, condition_values, in_azure, protected, ready, requests, stalled};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        missing_permission_to_write_connectors_is_reported,
        missing_permission_to_delete_connectors_is_reported_early,
        missing_permission_to_assign_roles_is_reported,
        missing_permission_to_create_the_resource_group_is_reported,
        missing_permission_to_read_health_reports_is_reported,
    ]
}

/// Gives the identity all actions except these.
async fn without(team: &Team<'_>, actions: &[&str]) -> Result<(), Error> {
    let role = json!([{"actions": ["*"], "notActions": actions}]);
    let roles = json!({"roleAssignments": {team.subscription.clone(): role}});
    team.environment
        .emulator
        .principal(&team.client_id, roles)
        .await?;
    Ok(())
}

fn missing(object: &Value, action: &str) {
    let (status, reason, message) = condition_values(object, "PermissionsSufficient");
    assert_eq!((status, reason), ("False", "MissingPermission"), "{object:#}");
    assert!(message.contains(action), "{message}");
}

/// Waits until the missing action is reported, grants it, and waits for Ready.
async fn named_then_granted(team: &Team<'_>, action: &str) -> Result<(), Error> {
    let object = team
        .connectors()
        .until("account", "PermissionsSufficient", "False", TIMEOUT)
        .await?;
    missing(&object, action);
    without(team, &[]).await?;
    // Without a change, after the retry interval. The missing permission is reported until the cached one expires.
    ready(team, "account").await?;
    eventually("sufficient permissions", TIMEOUT, || async {
        let reconcile = team.connectors().reconcile("account", TIMEOUT).await;
        let object = reconcile.map_err(|error| error.to_string())?;
        let (status, reason, message) = condition_values(&object, "PermissionsSufficient");
        if (status, reason) == ("True", "Sufficient") {
            return Ok(());
        }
        super::pause().await;
        Err(message.to_owned())
    })
    .await
}

async fn missing_permission_to_write_connectors_is_reported(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    const ACTION: &str = "Microsoft.Security/securityConnectors/write";
    let team = protected(&environment, "nowrite").await?;
    without(&team, &[ACTION]).await?;
    team.connect("account", json!({})).await?;
    let object = stalled(&team, "account", "MissingPermission", ACTION).await?;
    missing(&object, ACTION);
    super::pause().await;
    assert!(
        requests(&team, "PUT").await?.is_empty(),
        "nothing is tried without the right"
    );
    named_then_granted(&team, ACTION).await
}

async fn missing_permission_to_delete_connectors_is_reported_early(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    const ACTION: &str = "Microsoft.Security/securityConnectors/delete";
    let team = protected(&environment, "nodelete").await?;
    without(&team, &[ACTION]).await?;
    team.connect("account", json!({"deletionPolicy": "Delete"}))
        .await?;
    // The connector is in sync. That it cannot be deleted is reported now, and not only when it is deleted.
    missing(&ready(&team, "account").await?, ACTION);
    team.connectors().start_deletion("account").await?;
    let object = team
        .connectors()
        .until_holds("account", "a deletion that waits", TIMEOUT, |object| {
            condition_values(object, "Ready").2.contains("not deleted yet")
        })
        .await?;
    assert!(
        condition_values(&object, "Ready").2.contains(ACTION),
        "{object:#}"
    );
    without(&team, &[]).await?;
    // The deletion is given up after 12 s here, and a busy machine needs some of them.
    team.connectors().request("account").await?;
    team.connectors().until_gone("account", TIMEOUT).await?;
    assert!(in_azure(&team, "account").await?.is_null());
    Ok(())
}

/// Azure rejects the write, or accepts it and no machine appears: the two answers of a switch.
async fn missing_permission_to_assign_roles_is_reported(environment: Arc<Environment>) -> Result<(), Error> {
    const ACTION: &str = "Microsoft.Authorization/roleAssignments/write";
    let team = protected(&environment, "noassign").await?;
    without(&team, &[ACTION]).await?;
    team.connect("account", json!({})).await?;
    named_then_granted(&team, ACTION).await
}

async fn missing_permission_to_create_the_resource_group_is_reported(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    const ACTION: &str = "Microsoft.Resources/subscriptions/resourceGroups/write";
    let team = protected(&environment, "nogroup").await?;
    without(&team, &[ACTION]).await?;
    team.connect("account", json!({})).await?;
    stalled(&team, "account", "AuthorizationFailed", ACTION).await?;
    assert!(requests(&team, "PUT").await?.is_empty());
    named_then_granted(&team, ACTION).await
}

async fn missing_permission_to_read_health_reports_is_reported(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    const ACTION: &str = "Microsoft.Security/healthReports/read";
    let team = protected(&environment, "nohealth").await?;
    without(&team, &[ACTION]).await?;
    team.connect("account", json!({})).await?;
    let object = ready(&team, "account").await?;
    let object = if condition_values(&object, "Healthy").1 == "NotObserved" {
        team.connectors().reconcile("account", TIMEOUT).await?
    } else {
        object
    };
    assert_eq!(condition_values(&object, "Healthy").0, "Unknown");
    missing(&object, ACTION);
    without(&team, &[]).await?;
    team.connectors().reconcile("account", TIMEOUT).await?;
    team.connectors()
        .until("account", "Healthy", "True", TIMEOUT)
        .await?;
    Ok(())
}
