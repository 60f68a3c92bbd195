//! A ServerProtection that is created again for another subscription gives its connectors no claim on what they named
//! before, and takes none of their claims elsewhere (docs/claims.md).

use std::sync::Arc;

use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, env::Environment, harness::Case, team::Team};

use super::{
    PROTECTION, TIMEOUT, condition_values, event, in_azure, pause, protected, ready, requests, stalled,
};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        a_connector_that_was_never_read_is_not_held_with_another_subscription,
        a_connector_that_was_never_read_is_not_waited_for_with_another_subscription,
        a_claim_does_not_move_to_another_subscription,
        a_held_connector_is_deleted_after_the_reference_led_elsewhere,
    ]
}

/// Creates the ServerProtection again, for this subscription.
async fn protect_again(team: &Team<'_>, subscription: &str) -> Result<(), Error> {
    team.delete(PROTECTION, TIMEOUT).await?;
    let spec = json!({"subscriptionId": subscription, "plan": {"tier": "P2"}});
    team.protect(PROTECTION, spec).await?;
    Ok(())
}

/// The attacker's object names the owner's connector, first with a ServerProtection for the owner's subscription, and
/// then with one for its own.
async fn aim(attacker: &Team<'_>, owner: &Team<'_>, name: &str) -> Result<(), Error> {
    let spec = json!({"subscriptionId": owner.subscription, "plan": {"tier": "P2"}, "mode": "Observe"});
    attacker.protect(PROTECTION, spec).await?;
    attacker.connect("aimed", json!({"connectorName": name})).await?;
    let seen = |object: &Value| object["status"]["observedGeneration"] == object["metadata"]["generation"];
    let object = attacker
        .connectors()
        .until_holds("aimed", "its first status", TIMEOUT, seen)
        .await?;
    assert!(
        object["status"]["target"].is_null(),
        "it was never read: {object:#}"
    );
    protect_again(attacker, &attacker.subscription).await?;
    attacker.until(PROTECTION, "Ready", "True", TIMEOUT).await?;
    attacker.connectors().reconcile("aimed", TIMEOUT).await?;
    Ok(())
}

async fn a_connector_that_was_never_read_is_not_held_with_another_subscription(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let (owner, attacker) = tokio::try_join!(protected(&environment, "late"), environment.team("trick"))?;
    aim(&attacker, &owner, "account").await?;
    pause().await;
    // The owner's object comes later and is not blocked.
    owner.connect("account", json!({})).await?;
    let object = ready(&owner, "account").await?;
    assert_eq!(object["status"]["claim"]["state"], "Held", "{object:#}");
    let aimed = attacker.connectors().get("aimed").await?;
    let target = aimed["status"]["target"]["id"].as_str().unwrap_or_default();
    assert!(!target.contains(&owner.subscription), "{aimed:#}");
    Ok(())
}

async fn a_connector_that_was_never_read_is_not_waited_for_with_another_subscription(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let (owner, attacker) = tokio::try_join!(protected(&environment, "early"), environment.team("shadow"))?;
    owner
        .connect("account", json!({"deletionPolicy": "Delete"}))
        .await?;
    ready(&owner, "account").await?;
    // The same connector in another spelling.
    aim(&attacker, &owner, "ACCOUNT").await?;
    owner.connectors().delete("account", TIMEOUT).await?;
    event(&owner, "account", "ConnectorDeleted").await?;
    assert!(in_azure(&owner, "account").await?.is_null());
    Ok(())
}

/// The other direction: an object with a claim of its own names the subscription of another team.
async fn a_claim_does_not_move_to_another_subscription(environment: Arc<Environment>) -> Result<(), Error> {
    let (owner, attacker) = tokio::try_join!(
        protected(&environment, "moveto"),
        protected(&environment, "mover")
    )?;
    let spec = json!({"connectorName": "account"});
    attacker.connect("aimed", spec).await?;
    ready(&attacker, "aimed").await?;
    protect_again(&attacker, &owner.subscription).await?;
    for suspend in [false, true, false] {
        let spec = json!({"spec": {"suspend": suspend}});
        attacker.connectors().patch("aimed", spec).await?;
        let object = attacker.connectors().reconcile("aimed", TIMEOUT).await?;
        let target = object["status"]["target"]["id"].as_str().unwrap_or_default();
        assert!(target.contains(&attacker.subscription), "{object:#}");
    }
    owner.connect("account", json!({})).await?;
    let object = ready(&owner, "account").await?;
    assert_eq!(object["status"]["claim"]["state"], "Held", "{object:#}");
    Ok(())
}

/// What an object really held is still deleted, with the credential that is recorded.
async fn a_held_connector_is_deleted_after_the_reference_led_elsewhere(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = protected(&environment, "moveddel").await?;
    team.connect("account", json!({"deletionPolicy": "Delete"}))
        .await?;
    ready(&team, "account").await?;
    let other = team.another_subscription(json!({})).await?;
    protect_again(&team, &other).await?;
    let object = stalled(&team, "account", "TargetChanged", &team.subscription).await?;
    assert_eq!(object["status"]["claim"]["state"], "Held", "{object:#}");
    assert_eq!(condition_values(&object, "Claimed").0, "Unknown", "{object:#}");
    team.connectors().delete("account", TIMEOUT).await?;
    assert!(in_azure(&team, "account").await?.is_null());
    assert_eq!(requests(&team, "DELETE").await?.len(), 1);
    Ok(())
}
