//! Drift is found and repaired.

use std::sync::Arc;

use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, env::Environment, harness::Case};

use super::{TIMEOUT, condition_values, in_azure, p2, plan_writes, ready, reconcile, writes};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        a_changed_setting_is_repaired,
        a_plan_that_was_lowered_is_repaired_by_one_write,
        an_assessment_that_was_removed_is_selected_again,
        deletion_with_retain_makes_no_call,
        the_annotation_of_flux_starts_a_reconcile_too,
    ]
}

/// Drift is repaired when Azure matches the spec and the object is Ready again.
async fn repaired(
    team: &serverprotection_tests::team::Team<'_>,
    holds: impl Fn(&Value) -> bool,
) -> Result<Value, Error> {
    reconcile(team, "prod").await?;
    serverprotection_tests::wait::eventually("the repair in Azure", TIMEOUT, || async {
        let azure = in_azure(team).await.map_err(|error| error.to_string())?;
        if holds(&azure) {
            Ok(())
        } else {
            Err(azure.to_string())
        }
    })
    .await?;
    ready(team, "prod").await
}

async fn a_changed_setting_is_repaired(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("setting").await?;
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    let before = writes(&team).await?.len();
    environment
        .emulator
        .set(&team.subscription, json!({"settings.WDATP": false}))
        .await?;
    let object = repaired(&team, |azure| azure["settings"]["WDATP"] == true).await?;
    assert_eq!(writes(&team).await?.len(), before + 1);
    assert_eq!(object["status"]["contested"][0]["repairs"], 1, "{object:#}");
    team.until_events(&["EndpointIntegrationRepaired"], TIMEOUT).await
}

async fn a_plan_that_was_lowered_is_repaired_by_one_write(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("plan").await?;
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    environment
        .emulator
        .set(
            &team.subscription,
            json!({"pricings.VirtualMachines.pricingTier": "Standard", "pricings.VirtualMachines.subPlan": "P1"}),
        )
        .await?;
    repaired(&team, |azure| {
        azure["pricings"]["VirtualMachines"]["subPlan"] == "P2"
    })
    .await?;
    assert_eq!(plan_writes(&team).await?.len(), 2);
    Ok(())
}

async fn an_assessment_that_was_removed_is_selected_again(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("assessment").await?;
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    environment
        .emulator
        .set(
            &team.subscription,
            json!({"serverVulnerabilityAssessmentsSettings.azureServersSetting": null}),
        )
        .await?;
    repaired(&team, |azure| {
        !azure["serverVulnerabilityAssessmentsSettings"]["azureServersSetting"].is_null()
    })
    .await?;
    Ok(())
}

async fn deletion_with_retain_makes_no_call(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("deletion").await?;
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    // The first scan starts a moment after Ready, and a running scan is not cancelled.
    team.scanned("prod", TIMEOUT).await?;
    let before = super::requests(&team).await?.len();
    team.delete("prod", std::time::Duration::from_secs(2)).await?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(
        super::requests(&team).await?.len(),
        before,
        "no call after the deletion"
    );
    assert_eq!(
        in_azure(&team).await?["pricings"]["VirtualMachines"]["subPlan"],
        "P2",
        "Azure stays protected"
    );
    Ok(())
}

async fn the_annotation_of_flux_starts_a_reconcile_too(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("flux").await?;
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    team.annotate("prod", "reconcile.fluxcd.io/requestedAt", "2026-11-23T10:00:00Z")
        .await?;
    let object = team
        .until_holds("prod", "the answer to Flux", TIMEOUT, |object| {
            object["status"]["lastHandledReconcileAt"] == "2026-11-23T10:00:00Z"
        })
        .await?;
    assert_eq!(condition_values(&object, "Ready").0, "True");
    let object = reconcile(&team, "prod").await?;
    assert_eq!(
        object["status"]["lastHandledReconcileAt"], "2026-11-23T10:00:00Z",
        "Flux waits for its own value, whoever else requests a reconcile"
    );
    Ok(())
}
