//! What others write is no drift for Flux, unless git says otherwise; and the controller repairs Azure.

use crate::{
    azure,
    kustomization::Followed,
    setting::Gitops,
    steps::{Steps, ensure},
};
use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, harness::Case, team::merge};
use std::{sync::Arc, time::Duration};

/// Number of changes of the status.
const CHANGES: usize = 20;
/// Time limit of the case with these changes: each waits for a scan.
const SLOW: Duration = Duration::from_secs(300);

pub(crate) fn cases() -> Vec<Case<Gitops>> {
    let slow = cases![twenty_status_changes_are_no_drift_for_flux];
    let mut cases: Vec<_> = slow.into_iter().map(|case| case.limit(SLOW)).collect();
    cases.extend(cases![
        flux_reverts_an_edit_and_the_controller_repairs_azure,
        flux_counts_a_suspended_object_as_ready,
    ]);
    cases
}

/// A team whose `ServerProtection` `prod` is Ready.
async fn protected<'g>(
    gitops: &'g Gitops,
    steps: &mut Steps,
    name: &str,
    spec: Value,
) -> Result<Followed<'g>, Error> {
    let fleet = Followed::team(gitops, name).await?;
    fleet.write_protection("prod", spec)?;
    let commit = fleet.push(steps, "protect a subscription").await?;
    fleet.follow().await?;
    fleet.ready(steps, &commit).await?;
    Ok(fleet)
}

async fn twenty_status_changes_are_no_drift_for_flux(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("flux: 20 changes of the status");
    let fleet = protected(&gitops, &mut steps, "status", json!({"plan": {"tier": "P2"}})).await?;
    let team = &fleet.team;
    let before = team.scanned("prod", crate::TIMEOUT).await?;
    let reconciles = fleet.flux.reconciles(&team.namespace).await?;
    steps.begin("20 machines are added, one after the other");
    for count in 1..=CHANGES {
        let machine = json!({"name": format!("vm-{count}")});
        gitops
            .environment
            .emulator
            .add_machine(&team.subscription, machine)
            .await?;
        let seen = |object: &Value| {
            let shown = object.pointer("/status/display/machines").and_then(Value::as_str);
            shown.is_some_and(|shown| shown.ends_with(&format!("/{count}")))
        };
        team.until_holds("prod", "the machine in the status", crate::TIMEOUT, seen)
            .await?;
        if count % 5 == 0 {
            fleet.reconcile().await?;
        }
    }
    steps.seen("the status shows all of them");
    let after = team.get("prod").await?;
    let reconciles = fleet.flux.reconciles(&team.namespace).await? - reconciles;
    let others = writes_without_a_change_of_status(&fleet);
    steps.note(&format!("{reconciles} reconciles of the Kustomization"));
    ensure(reconciles >= 4, || format!("{reconciles} reconciles"))?;
    ensure(others == 0, || format!("{others} writes that changed no status"))?;
    ensure(applied_by_flux(&before).is_some(), || {
        format!("not applied by Flux: {before}")
    })?;
    ensure(applied_by_flux(&before) == applied_by_flux(&after), || {
        format!("Flux wrote: {before} {after}")
    })
}

/// What the API server notes about the fields that Flux applied, with the time of its last write.
fn applied_by_flux(object: &Value) -> Option<&Value> {
    let managers = object.pointer("/metadata/managedFields")?.as_array()?;
    managers
        .iter()
        .find(|manager| manager.get("manager") == Some(&json!("kustomize-controller")))
}

/// Versions of `prod` after its first status in which only something else changed.
fn writes_without_a_change_of_status(fleet: &Followed<'_>) -> usize {
    let versions = fleet.team.history();
    let with_status = versions
        .iter()
        .filter(|version| version.status.get("conditions").is_some());
    let statuses: Vec<&Value> = with_status.map(|version| &version.status).collect();
    let same = |pair: &&[&Value]| matches!(pair, [first, second] if first == second);
    statuses.windows(2).filter(same).count()
}

async fn flux_reverts_an_edit_and_the_controller_repairs_azure(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("flux: edits by hand");
    let p1 = json!({"plan": {"tier": "P1"}});
    let fleet = protected(&gitops, &mut steps, "edited", p1).await?;
    let team = &fleet.team;
    team.patch("prod", json!({"spec": {"plan": {"tier": "P2"}}}))
        .await?;
    steps.begin("the plan of the object is edited by hand");
    steps
        .until("Azure has the plan", || azure::has_plan(team, "P2"))
        .await?;
    fleet.reconcile().await?;
    let tier = team.get("prod").await?.pointer("/spec/plan/tier").cloned();
    ensure(tier == Some(json!("P1")), || format!("the plan is {tier:?}"))?;
    steps.seen("the next reconcile of Flux put it back");
    steps
        .until("Azure has the earlier plan", || azure::has_plan(team, "P1"))
        .await?;

    let patch = r#"{"spec":{"suspend":true}}"#;
    let kubectl = [
        "patch",
        "serverprotection",
        "prod",
        "--type=merge",
        "-n",
        &team.namespace,
        "-p",
        patch,
    ];
    gitops.environment.plane.kubectl(&kubectl).await?;
    fleet.reconcile().await?;
    let suspend = team.get("prod").await?.pointer("/spec/suspend").cloned();
    ensure(suspend != Some(json!(true)), || {
        "Flux kept what kubectl wrote".into()
    })?;

    team.until("prod", "Ready", "True", crate::TIMEOUT).await?;
    let before = team.get("prod").await?;
    let change = json!({"settings.WDATP": false});
    gitops
        .environment
        .emulator
        .set(&team.subscription, change)
        .await?;
    steps.begin("a setting in Azure is changed by hand");
    fleet.request("prod").await?;
    steps
        .until("the controller put it back", || {
            azure::has_setting(team, "WDATP", true)
        })
        .await?;
    team.until("prod", "Ready", "True", crate::TIMEOUT).await?;
    let after = team.get("prod").await?;
    ensure(after.get("spec") == before.get("spec"), || {
        format!("another spec: {after}")
    })
}

async fn flux_counts_a_suspended_object_as_ready(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("flux: suspend and resume in git");
    let mut spec = json!({"plan": {"tier": "P1"}});
    let fleet = protected(&gitops, &mut steps, "paused", spec.clone()).await?;
    merge(&mut spec, json!({"suspend": true, "plan": {"tier": "P2"}}));
    fleet.write_protection("prod", spec.clone())?;
    let commit = fleet.push(&mut steps, "suspend it, and another plan").await?;
    fleet.ready(&mut steps, &commit).await?;
    azure::has_plan(&fleet.team, "P1").await?;
    merge(&mut spec, json!({"suspend": false}));
    fleet.write_protection("prod", spec)?;
    let commit = fleet.push(&mut steps, "resume it").await?;
    steps
        .until("Azure has the plan", || azure::has_plan(&fleet.team, "P2"))
        .await?;
    fleet.ready(&mut steps, &commit).await?;
    Ok(())
}
