//! Registration of the resource provider.

use std::sync::Arc;

use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    env::Environment,
    harness::Case,
    team::{Team, condition},
};

use super::{TIMEOUT, condition_values, of, p2, ready, stalled, writes};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        an_unregistered_provider_is_registered,
        report_stalls_and_writes_nothing,
        a_registration_that_never_ends_stalls,
        security_admin_registers_without_reading_the_registration,
        a_registration_that_has_not_reached_defender_is_awaited,
    ]
}

async fn an_unregistered_provider_is_registered(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment
        .team_with(
            "register",
            json!({"providers": {"Microsoft.Security": "NotRegistered"}}),
        )
        .await?;
    register_slowly(&team, p2()).await?;
    let object = ready(&team, "prod").await?;
    assert_eq!(condition_values(&object, "ProviderRegistered").0, "True");
    assert_eq!(of(writes(&team).await?, "/register").len(), 1);
    never_stalled(&team);
    let events = environment
        .plane
        .kubectl(&[
            "get",
            "events",
            "-n",
            &team.namespace,
            "--field-selector",
            "type=Warning",
        ])
        .await?;
    assert!(!events.contains("ServerProtection"), "{events}");
    Ok(())
}

/// Applies the object. The registration takes longer than the first reconcile that reads back.
async fn register_slowly(team: &Team<'_>, spec: Value) -> Result<(), Error> {
    let emulator = &team.environment.emulator;
    let stuck = json!({"registrationStuck": true});
    emulator.set(&team.subscription, stuck).await?;
    team.protect("prod", spec).await?;
    registering(team).await?;
    let end = json!({"registrationStuck": false, "providers.Microsoft.Security": "Registered"});
    emulator.set(&team.subscription, end).await?;
    Ok(())
}

/// Waits until the object waits for the registration and reports it in both conditions.
async fn registering(team: &Team<'_>) -> Result<(), Error> {
    let object = team
        .until_holds("prod", "Reconciling/Registering", TIMEOUT, |object| {
            condition(object, "Reconciling").is_some_and(|it| it["reason"] == "Registering")
        })
        .await?;
    assert_eq!(condition_values(&object, "ProviderRegistered").1, "Registering");
    Ok(())
}

fn never_stalled(team: &Team<'_>) {
    let history = team.history();
    assert!(!history.is_empty());
    for version in history {
        assert!(version.condition("Stalled").is_none(), "{:#}", version.status);
    }
}

/// Security Admin may register Microsoft.Security, but not read the registration: Defender's own responses show it.
async fn security_admin_registers_without_reading_the_registration(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment
        .team_with(
            "narrow",
            json!({"providers": {"Microsoft.Security": "NotRegistered"}}),
        )
        .await?;
    let change = json!({"roleAssignments": {team.subscription.clone(): ["Security Admin"]}});
    environment.emulator.principal(&team.client_id, change).await?;
    register_slowly(&team, json!({"plan": {"tier": "P1"}})).await?;
    ready(&team, "prod").await?;
    never_stalled(&team);
    Ok(())
}

/// Azure Resource Manager reports the registration as complete before Defender for Cloud knows it.
async fn a_registration_that_has_not_reached_defender_is_awaited(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("late").await?;
    let body = json!({"error": {"code": "Subscription Not Registered", "message": "Please register to Microsoft.Security in order to view your security status"}});
    let fault = json!({"match": {"subscription": team.subscription, "path": "/providers/Microsoft.Security/", "times": 6},
        "action": {"respond": {"status": 404, "body": body}}});
    environment.emulator.add_fault(fault).await?;
    team.protect("prod", p2()).await?;
    registering(&team).await?;
    ready(&team, "prod").await?;
    never_stalled(&team);
    assert_eq!(
        of(writes(&team).await?, "/register").len(),
        0,
        "it is registered already"
    );
    Ok(())
}

async fn report_stalls_and_writes_nothing(environment: Arc<Environment>) -> Result<(), Error> {
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
    assert_eq!(condition_values(&object, "ProviderRegistered").0, "False");
    assert!(writes(&team).await?.is_empty());
    // A user registers it.
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

async fn a_registration_that_never_ends_stalls(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment
        .team_with(
            "stuck",
            json!({"providers": {"Microsoft.Security": "NotRegistered"}}),
        )
        .await?;
    environment
        .emulator
        .set(&team.subscription, json!({"registrationStuck": true}))
        .await?;
    team.protect("prod", p2()).await?;
    stalled(&team, "prod", "RegistrationStuck", "support case").await?;
    assert_eq!(of(writes(&team).await?, "/register").len(), 1, "registered once");
    environment
        .emulator
        .set(
            &team.subscription,
            json!({"registrationStuck": false, "providers.Microsoft.Security": "Registered"}),
        )
        .await?;
    ready(&team, "prod").await?;
    Ok(())
}
