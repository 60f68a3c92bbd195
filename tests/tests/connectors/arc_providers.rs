//! The resource providers that the Azure Arc agent needs.

use std::sync::Arc;

use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, env::Environment, harness::Case, team::Team, wait::eventually};

use super::{PROTECTION, TIMEOUT, condition_values, ready, writes};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        missing_providers_of_arc_are_registered,
        a_missing_right_to_register_stalls_nothing,
        providers_of_arc_are_only_reported_if_the_protection_says_so,
    ]
}

const MISSING: [&str; 2] = ["Microsoft.GuestConfiguration", "Microsoft.HybridConnectivity"];

async fn unregistered<'a>(environment: &'a Environment, name: &str, spec: Value) -> Result<Team<'a>, Error> {
    let providers = json!({"providers": {MISSING[0]: "NotRegistered", MISSING[1]: "NotRegistered"}});
    let team = environment.team_with(name, providers).await?;
    team.protect(PROTECTION, spec).await?;
    team.until(PROTECTION, "Ready", "True", TIMEOUT).await?;
    Ok(team)
}

async fn registrations(team: &Team<'_>) -> Result<Vec<String>, Error> {
    let all = writes(team).await?.into_iter();
    let paths = all.filter_map(|request| request["path"].as_str().map(str::to_owned));
    Ok(paths.filter(|path| path.ends_with("/register")).collect())
}

async fn missing_providers_of_arc_are_registered(environment: Arc<Environment>) -> Result<(), Error> {
    let team = unregistered(&environment, "arc", json!({"plan": {"tier": "P2"}})).await?;
    team.connect("account", json!({})).await?;
    ready(&team, "account").await?;
    eventually("both registrations", TIMEOUT, || async {
        let made = registrations(&team).await.map_err(|error| error.to_string())?;
        let all = MISSING
            .iter()
            .all(|namespace| made.iter().any(|path| path.contains(namespace)));
        if all && made.len() == 2 {
            Ok(())
        } else {
            Err(format!("{made:?}"))
        }
    })
    .await?;
    eventually("ProviderRegistered", TIMEOUT, || async {
        let reconcile = team.connectors().reconcile("account", TIMEOUT).await;
        let object = reconcile.map_err(|error| error.to_string())?;
        let found = condition_values(&object, "ProviderRegistered");
        if (found.0, found.1) == ("True", "Registered") {
            return Ok(());
        }
        super::pause().await;
        Err(format!("{found:?}"))
    })
    .await?;
    assert_eq!(registrations(&team).await?.len(), 2, "each one once");
    Ok(())
}

async fn a_missing_right_to_register_stalls_nothing(environment: Arc<Environment>) -> Result<(), Error> {
    const ACTION: &str = "Microsoft.GuestConfiguration/register/action";
    let team = unregistered(&environment, "noregister", json!({"plan": {"tier": "P2"}})).await?;
    let role = json!([{"actions": ["*"], "notActions": [ACTION]}]);
    let roles = json!({"roleAssignments": {team.subscription.clone(): role}});
    environment.emulator.principal(&team.client_id, roles).await?;
    team.connect("account", json!({})).await?;
    ready(&team, "account").await?;
    let object = team
        .connectors()
        .until_holds("account", "the missing right", TIMEOUT, |object| {
            condition_values(object, "ProviderRegistered").1 == "MissingPermission"
        })
        .await?;
    assert_eq!(condition_values(&object, "Ready").0, "True", "{object:#}");
    let (_, _, message) = condition_values(&object, "ProviderRegistered");
    assert!(message.contains(ACTION), "{message}");
    assert!(message.contains("az provider register"), "{message}");
    Ok(())
}

async fn providers_of_arc_are_only_reported_if_the_protection_says_so(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let spec = json!({"plan": {"tier": "P2"}, "resourceProviders": {"registration": "Report"}});
    let team = unregistered(&environment, "reportarc", spec).await?;
    team.connect("account", json!({})).await?;
    let object = ready(&team, "account").await?;
    let (status, reason, message) = condition_values(&object, "ProviderRegistered");
    assert_eq!((status, reason), ("False", "NotRegistered"), "{message}");
    assert!(
        MISSING.iter().all(|namespace| message.contains(namespace)),
        "{message}"
    );
    assert!(registrations(&team).await?.is_empty());
    Ok(())
}
