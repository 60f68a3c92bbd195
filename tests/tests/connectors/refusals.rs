//! Errors that need user action are reported with the next step.

use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases, env::Environment, harness::Case, objects::condition, wait::eventually,
};

use super::{
    GROUP, PROTECTION, TIMEOUT, another_account, in_azure, pause, protected, ready, requests, stalled, writes,
};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        a_connector_without_its_server_protection_waits_for_it,
        a_connector_that_is_applied_before_its_server_protection_is_no_reason_for_a_warning,
        a_server_protection_for_another_subscription_moves_nothing,
        a_missing_resource_group_is_reported_unless_it_may_be_created,
        agentless_scanning_needs_p2_also_with_the_default_plan,
        an_object_of_a_newer_version_keeps_its_account,
    ]
}

async fn a_connector_without_its_server_protection_waits_for_it(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("orphan").await?;
    team.connect("account", json!({})).await?;
    stalled(&team, "account", "ProtectionNotFound", "ServerProtection prod").await?;
    let all = environment.emulator.requests(&team.subscription).await?;
    assert!(all.is_empty(), "nothing is read or written until then: {all:#?}");
    team.protect(PROTECTION, json!({"plan": {"tier": "P2"}})).await?;
    ready(&team, "account").await?;
    Ok(())
}

/// `kubectl apply -k` and tools for `GitOps` apply kinds in alphabetical order.
async fn a_connector_that_is_applied_before_its_server_protection_is_no_reason_for_a_warning(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("first").await?;
    team.connect("account", json!({})).await?;
    pause().await;
    team.protect(PROTECTION, json!({"plan": {"tier": "P2"}})).await?;
    ready(&team, "account").await?;
    let events = team.events().await?;
    assert!(!events.contains("ProtectionNotFound"), "{events}");
    let versions = environment
        .recorder
        .of("SecurityConnector", &team.namespace, "account");
    let stalled = versions
        .iter()
        .find(|version| version.condition("Stalled").is_some());
    assert!(stalled.is_none(), "{stalled:#?}");
    Ok(())
}

/// The ServerProtection is deleted and created again for another subscription.
async fn a_server_protection_for_another_subscription_moves_nothing(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = protected(&environment, "moved").await?;
    team.connect("account", json!({})).await?;
    ready(&team, "account").await?;
    team.delete(PROTECTION, TIMEOUT).await?;
    stalled(&team, "account", "ProtectionNotFound", PROTECTION).await?;
    let other = team.another_subscription(json!({})).await?;
    let elsewhere = json!({"subscriptionId": other, "plan": {"tier": "P2"}});
    team.protect(PROTECTION, elsewhere).await?;
    let object = stalled(&team, "account", "TargetChanged", &team.subscription).await?;
    let id = object["status"]["target"]["id"].as_str().unwrap();
    assert!(
        id.contains(&team.subscription),
        "the id of the connector is kept: {id}"
    );
    let state = environment.emulator.get(&other).await?;
    assert!(
        state["securityConnectors"]
            .as_object()
            .is_none_or(serde_json::Map::is_empty)
    );

    team.delete(PROTECTION, TIMEOUT).await?;
    team.protect(PROTECTION, json!({"plan": {"tier": "P2"}})).await?;
    ready(&team, "account").await?;
    assert_eq!(requests(&team, "PUT").await?.len(), 1);
    Ok(())
}

async fn a_missing_resource_group_is_reported_unless_it_may_be_created(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = protected(&environment, "nogroup").await?;
    team.connect("account", json!({"createResourceGroup": false}))
        .await?;
    stalled(&team, "account", "ResourceGroupMissing", GROUP).await?;
    pause().await;
    let about = |request: &Value| {
        let path = request["path"].as_str().unwrap_or_default().to_lowercase();
        path.contains(&format!("/resourcegroups/{GROUP}"))
    };
    assert!(!writes(&team).await?.iter().any(about));
    let group = json!({format!("resourceGroups.{GROUP}"): "westeurope"});
    environment.emulator.set(&team.subscription, group).await?;
    ready(&team, "account").await?;
    assert!(
        writes(&team).await?.iter().filter(|it| about(it)).count() == 1,
        "the connector only"
    );

    // An edit allows the operator to create the group.
    let elsewhere = json!({"aws": {"accountId": another_account()}, "resourceGroup": "rg-new", "createResourceGroup": false});
    team.connect("two", elsewhere).await?;
    stalled(&team, "two", "ResourceGroupMissing", "rg-new").await?;
    team.connectors()
        .patch("two", json!({"spec": {"createResourceGroup": true}}))
        .await?;
    ready(&team, "two").await?;
    Ok(())
}

async fn agentless_scanning_needs_p2_also_with_the_default_plan(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("agentless").await?;
    team.protect(PROTECTION, json!({"plan": {"tier": "P1"}})).await?;
    team.connect("account", json!({"agentlessScanning": {"state": "Enabled"}}))
        .await?;
    stalled(&team, "account", "AgentlessScanningNeedsP2", "plan.tier to P2").await?;
    pause().await;
    assert!(requests(&team, "PUT").await?.is_empty());
    team.patch(PROTECTION, json!({"spec": {"plan": {"tier": "P2"}}}))
        .await?;
    assert_eq!(ready(&team, "account").await?["status"]["tier"], "P2");
    Ok(())
}

async fn an_object_of_a_newer_version_keeps_its_account(environment: Arc<Environment>) -> Result<(), Error> {
    // A newer definition has a tier that this build does not know.
    let crds: Api<CustomResourceDefinition> = Api::all(environment.client.clone());
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/plan/properties/tier/enum";
    let newer: json_patch::Patch = serde_json::from_value(
        json!([{"op": "replace", "path": path, "value": ["P1", "P2", "P4", "Free"]}]),
    )?;
    let name = "securityconnectors.serverprotection.dev";
    crds.patch(name, &PatchParams::default(), &Patch::Json::<()>(newer))
        .await?;

    let team = protected(&environment, "newer").await?;
    team.connect(
        "account",
        json!({"plan": {"tier": "P2"}, "deletionPolicy": "Delete"}),
    )
    .await?;
    let before = ready(&team, "account").await?;
    // Times have whole seconds: each transition needs a second of its own, or a wrong time would not be noticed.
    next_second().await;
    eventually("a P4 that is admitted", TIMEOUT, || async {
        team.connectors()
            .patch("account", json!({"spec": {"plan": {"tier": "P4"}}}))
            .await
    })
    .await?;
    let object = stalled(&team, "account", "Unreadable", "Upgrade the controller").await?;
    for part in ["claim", "target", "tier", "account"] {
        assert_eq!(
            object["status"][part], before["status"][part],
            "nothing of its status is lost"
        );
    }
    team.until_holds(PROTECTION, "the unreadable one, counted", TIMEOUT, |object| {
        let condition_values = condition(object, "ConnectorsReady")
            .and_then(|condition_values| condition_values["message"].as_str());
        object["status"]["display"]["connectors"] == "0/1"
            && condition_values
                .is_some_and(|condition_values| condition_values.contains("account (Unreadable)"))
    })
    .await?;

    // The object keeps its account, and other objects are reconciled.
    let other = protected(&environment, "beside").await?;
    other.connect("account", json!({})).await?;
    ready(&other, "account").await?;
    team.connect("rival", json!({"connectorName": "account"})).await?;
    stalled(&team, "rival", "ClaimConflicted", "account of this namespace").await?;
    team.connectors().delete("rival", TIMEOUT).await?;
    assert_eq!(requests(&team, "PUT").await?.len(), 1);

    next_second().await;
    team.connectors()
        .patch("account", json!({"spec": {"plan": {"tier": "P2"}}}))
        .await?;
    ready(&team, "account").await?;
    assert_eq!(requests(&team, "PUT").await?.len(), 1);

    // Deleted while the controller cannot parse it: the deletion policy is unknown, so nothing happens until the
    // deadline.
    next_second().await;
    team.connectors()
        .patch("account", json!({"spec": {"plan": {"tier": "P4"}}}))
        .await?;
    stalled(&team, "account", "Unreadable", "Upgrade the controller").await?;
    team.connectors().delete("account", TIMEOUT).await?;
    assert!(!in_azure(&team, "account").await?.is_null());
    assert!(requests(&team, "DELETE").await?.is_empty());
    super::event(&team, "account", "ConnectorLeftBehind").await?;
    Ok(())
}

async fn next_second() {
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
}
