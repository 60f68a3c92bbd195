//! Commits under Flux: applied, refused, stalled and approved.

use crate::{
    azure,
    kustomization::{Followed, message},
    setting::Gitops,
    steps::{Steps, ensure},
};
use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, harness::Case};
use std::sync::Arc;

pub(crate) fn cases() -> Vec<Case<Gitops>> {
    cases![
        flux_applies_a_commit_and_azure_follows,
        flux_shows_why_a_bad_commit_was_refused,
        flux_fails_fast_when_an_object_is_stalled,
    ]
}

async fn flux_applies_a_commit_and_azure_follows(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("flux: a commit and a change");
    let fleet = Followed::team(&gitops, "commit").await?;
    fleet.write_protection("prod", json!({"plan": {"tier": "P1"}}))?;
    let commit = fleet.push(&mut steps, "protect a subscription with P1").await?;
    fleet.follow().await?;
    reached(&fleet, &mut steps, "P1").await?;
    fleet.ready(&mut steps, &commit).await?;
    let p2 = json!({"plan": {"tier": "P2", "agentlessScanning": {"state": "Enabled"}}});
    fleet.write_protection("prod", p2)?;
    let commit = fleet.push(&mut steps, "P2 with agentless scanning").await?;
    reached(&fleet, &mut steps, "P2").await?;
    fleet.ready(&mut steps, &commit).await?;
    Ok(())
}

/// Notes when the object was applied, when Azure had the plan, and when the object was Ready.
async fn reached(fleet: &Followed<'_>, steps: &mut Steps, plan: &str) -> Result<(), Error> {
    let team = &fleet.team;
    let applied = || async {
        let object = team.get("prod").await?;
        let tier = object.pointer("/spec/plan/tier").cloned();
        ensure(tier == Some(json!(plan)), || format!("the plan is {tier:?}"))
    };
    steps.until("applied", applied).await?;
    steps
        .until("Azure has the plan", || azure::has_plan(team, plan))
        .await?;
    team.until("prod", "Ready", "True", crate::TIMEOUT).await?;
    steps.seen("the object is Ready");
    Ok(())
}

async fn flux_shows_why_a_bad_commit_was_refused(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("flux: a commit that is refused");
    let fleet = Followed::team(&gitops, "refused").await?;
    fleet.write_protection("prod", json!({"plan": {"tier": "P1"}}))?;
    let commit = fleet.push(&mut steps, "P1").await?;
    fleet.follow().await?;
    fleet.ready(&mut steps, &commit).await?;
    let before = azure::writes(&fleet.team).await?.len();
    let bad = json!({"plan": {"tier": "P1", "agentlessScanning": {"state": "Enabled"}}});
    fleet.write_protection("prod", bad)?;
    let commit = fleet.push(&mut steps, "P1 with agentless scanning").await?;
    let refused = || fleet.says(&commit, "False", "ReconciliationFailed");
    let object = steps.until("the Kustomization fails", refused).await?;
    let shown = message(&object);
    steps.note(shown);
    ensure(shown.contains("P2") && shown.contains("ServerProtection"), || {
        format!("it does not say why: {shown}")
    })?;
    azure::has_plan(&fleet.team, "P1").await?;
    let after = azure::writes(&fleet.team).await?.len();
    ensure(after == before, || format!("{} writes", after - before))?;
    fleet.write_protection("prod", json!({"plan": {"tier": "P1"}}))?;
    let commit = fleet.push(&mut steps, "revert").await?;
    fleet.ready(&mut steps, &commit).await?;
    Ok(())
}

async fn flux_fails_fast_when_an_object_is_stalled(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("flux: a reduction that needs approval");
    let fleet = Followed::team(&gitops, "stalled").await?;
    let p2 =
        json!({"pricings.VirtualMachines.pricingTier": "Standard", "pricings.VirtualMachines.subPlan": "P2"});
    gitops
        .environment
        .emulator
        .set(&fleet.team.subscription, p2)
        .await?;
    fleet.write_protection("prod", json!({"plan": {"tier": "P1"}}))?;
    let commit = fleet.push(&mut steps, "P1 for a subscription with P2").await?;
    fleet.follow().await?;
    let failed = || fleet.says(&commit, "False", "HealthCheckFailed");
    let object = steps.until("the Kustomization fails", failed).await?;
    let shown = message(&object);
    steps.note(shown);
    // At the time-out it would fail, too, with another message.
    let early = shown.contains("failed early") && shown.contains("prod");
    ensure(early, || format!("it did not fail early: {shown}"))?;
    azure::has_plan(&fleet.team, "P2").await?;
    let mut approved = fleet.team.protection_spec(json!({"plan": {"tier": "P1"}}));
    approved = fleet.team.protections().object("prod", &approved);
    let annotation = json!({"serverprotection.dev/approve-reduction": "plan.tier=P1"});
    if let Some(metadata) = approved.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.insert("annotations".into(), annotation);
    }
    fleet.repository.write("prod", &approved)?;
    let commit = fleet.push(&mut steps, "approve the reduction").await?;
    steps
        .until("Azure has the plan", || azure::has_plan(&fleet.team, "P1"))
        .await?;
    fleet.ready(&mut steps, &commit).await?;
    Ok(())
}
