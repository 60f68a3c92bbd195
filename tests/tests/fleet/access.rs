//! Access to machines: no machines, hidden machines, a change of the owner, identities of another namespace.

use std::sync::Arc;

use serde_json::json;
use serverprotection_tests::{Error, cases, emulator::TENANT, env::Environment, harness::Case};

use super::{NAME, TIMEOUT, machines, p2, protected, shows};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        no_machine_is_unknown,
        machines_that_may_not_be_seen_are_unknown,
        one_subscription_without_access_does_not_affect_the_others,
        machines_follow_the_owner_of_the_subscription,
        another_namespaces_identity_shows_nothing,
    ]
}

async fn no_machine_is_unknown(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("empty").await?;
    team.protect(NAME, p2()).await?;
    let object = machines(&team, NAME, "Unknown", "NoMachines").await?;
    assert_eq!(object["status"]["display"]["machines"], "0/0");
    Ok(())
}

async fn machines_that_may_not_be_seen_are_unknown(environment: Arc<Environment>) -> Result<(), Error> {
    let seed = protected(&json!([{"name": "web-1"}]));
    let team = environment.team_with("unseen", seed).await?;
    let roles = json!({"roleAssignments": {team.subscription.clone(): ["Security Admin"]}});
    environment.emulator.principal(&team.client_id, roles).await?;
    team.protect(NAME, p2()).await?;
    let object = machines(&team, NAME, "Unknown", "NoReadAccess").await?;
    let message = serverprotection_tests::team::condition(&object, "MachinesProtected").unwrap()["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.contains("Microsoft.Compute/virtualMachines/read") && message.contains("Reader"),
        "{message}"
    );
    let roles = json!({"roleAssignments": {team.subscription.clone(): ["Owner"]}});
    environment.emulator.principal(&team.client_id, roles).await?;
    shows(&team, NAME, "1/1").await?;
    Ok(())
}

async fn one_subscription_without_access_does_not_affect_the_others(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let seed = protected(&json!([{"name": "web-1"}]));
    let team = environment.team_with("bad", seed.clone()).await?;
    team.protect(NAME, p2()).await?;
    let gone = team.another_subscription(seed).await?;
    team.protect("gone", json!({"subscriptionId": gone, "plan": {"tier": "P2"}}))
        .await?;
    shows(&team, "gone", "1/1").await?;
    let roles = json!({"roleAssignments": {team.subscription.clone(): ["Owner"], gone: []}});
    environment.emulator.principal(&team.client_id, roles).await?;
    environment
        .emulator
        .add_machine(
            &team.subscription,
            json!({"name": "web-2", "mde": {"provisioningState": "Succeeded"}}),
        )
        .await?;
    let object = machines(&team, "gone", "Unknown", "ScanStale").await?;
    // The last numbers stay and show their age.
    assert_eq!(object["status"]["display"]["machines"], "1/1");
    assert!(
        object["status"]["machines"]["scanFailure"]["message"]
            .as_str()
            .unwrap()
            .contains("SubscriptionNotFound"),
        "{object:#}"
    );
    shows(&team, NAME, "2/2").await?;
    Ok(())
}

async fn machines_follow_the_owner_of_the_subscription(environment: Arc<Environment>) -> Result<(), Error> {
    let seed = protected(&json!([{"name": "web-1"}, {"name": "web-2"}]));
    let team = environment.team_with("owner", seed).await?;
    team.protect(NAME, p2()).await?;
    shows(&team, NAME, "2/2").await?;
    team.protect("heir", p2()).await?;
    let waiting = team.until("heir", "Stalled", "True", TIMEOUT).await?;
    assert!(
        waiting["status"]["machines"].is_null(),
        "who does not own it does not report it: {waiting:#}"
    );
    team.delete(NAME, TIMEOUT).await?;
    shows(&team, "heir", "2/2").await?;
    Ok(())
}

async fn another_namespaces_identity_shows_nothing(environment: Arc<Environment>) -> Result<(), Error> {
    let seed = protected(&json!([{"name": "web-1"}]));
    let team = environment.team_with("victim", seed.clone()).await?;
    let theirs = team.another_subscription(seed).await?;
    team.protect(NAME, p2()).await?;
    shows(&team, NAME, "1/1").await?;
    // Another namespace names the tenant and application, but does not have the secret.
    let thief = environment.team("thief").await?;
    thief
        .apply_credential(
            json!({"type": "ClientSecret", "tenantId": TENANT, "clientId": team.client_id,
            "clientSecret": {"secretRef": {"name": "platform-azure", "key": "client-secret"}}}),
        )
        .await?;
    thief
        .protect("loot", json!({"subscriptionId": theirs, "plan": {"tier": "P2"}}))
        .await?;
    thief.until("loot", "Stalled", "True", TIMEOUT).await?;
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    let object = thief.get("loot").await?;
    assert!(object["status"]["machines"].is_null(), "{object:#}");
    Ok(())
}
