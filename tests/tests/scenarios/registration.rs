//! The resource provider.

use std::sync::Arc;

use serde_json::json;
use serverprotection_tests::{
    Error,
    env::Environment,
    harness::{Case, case},
};

use super::{of, p2, ready, stalled, told, writes};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    vec![
        case("an_unregistered_provider_is_registered", register),
        case("report_stalls_and_writes_nothing", report),
        case("a_registration_that_never_ends_stalls", stuck),
    ]
}

async fn register(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment
        .team_with(
            "register",
            json!({"providers": {"Microsoft.Security": "NotRegistered"}}),
        )
        .await?;
    team.protect("prod", p2()).await?;
    let object = ready(&team, "prod").await?;
    assert_eq!(told(&object, "ProviderRegistered").0, "True");
    assert_eq!(of(writes(&team).await?, "/register").len(), 1);
    Ok(())
}

async fn report(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment
        .team_with(
            "report",
            json!({"providers": {"Microsoft.Security": "NotRegistered"}}),
        )
        .await?;
    let mut spec = p2();
    spec["resourceProviders"] = json!({"registration": "Report"});
    team.protect("prod", spec).await?;
    let object = stalled(&team, "prod", "ProviderNotRegistered", "az provider register").await?;
    assert_eq!(told(&object, "ProviderRegistered").0, "False");
    assert!(writes(&team).await?.is_empty());
    // Somebody registers it.
    environment
        .emulator
        .set(
            &team.subscription,
            json!({"providers.Microsoft.Security": "Registered"}),
        )
        .await?;
    ready(&team, "prod").await?;
    Ok(())
}

async fn stuck(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment
        .team_with(
            "stuck",
            json!({"providers": {"Microsoft.Security": "NotRegistered"}}),
        )
        .await?;
    environment
        .emulator
        .set(&team.subscription, json!({"providers.stuck": true}))
        .await?;
    team.protect("prod", p2()).await?;
    stalled(&team, "prod", "RegistrationStuck", "support case").await?;
    assert_eq!(of(writes(&team).await?, "/register").len(), 1, "asked once");
    environment
        .emulator
        .set(
            &team.subscription,
            json!({"providers.stuck": false, "providers.Microsoft.Security": "Registered"}),
        )
        .await?;
    ready(&team, "prod").await?;
    Ok(())
}
