//! Objects that a commit removes, or gives another name.

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
        flux_prunes_with_retain_and_azure_stays,
        flux_prunes_a_connector_that_waits_for_azure,
        flux_makes_an_object_anew_that_comes_back_while_it_terminates,
        a_newer_commit_ends_the_wait_of_flux_for_an_object_that_terminates,
        a_rename_under_flux_keeps_the_protection,
    ]
}

/// An object that stays: Flux refuses a folder without any.
fn write_something_else(fleet: &Followed<'_>) -> Result<(), Error> {
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "contacts"},
        "data": {"team": "payments"}});
    fleet.repository.write("contacts", &other)
}

async fn flux_prunes_with_retain_and_azure_stays(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("flux: prune with Retain");
    let fleet = Followed::team(&gitops, "retain").await?;
    write_something_else(&fleet)?;
    fleet.write_protection("prod", json!({"plan": {"tier": "P2"}}))?;
    fleet.write_connector("account", json!({}))?;
    let commit = fleet.push(&mut steps, "a protection and a connector").await?;
    fleet.follow().await?;
    fleet.ready(&mut steps, &commit).await?;
    let writes = azure::writes(&fleet.team).await?.len();
    for name in ["prod", "account"] {
        fleet.repository.remove(name)?;
    }
    let commit = fleet.push(&mut steps, "remove both").await?;
    fleet
        .team
        .protections()
        .until_gone("prod", crate::TIMEOUT)
        .await?;
    fleet
        .team
        .connectors()
        .until_gone("account", crate::TIMEOUT)
        .await?;
    steps.seen("both objects are gone");
    fleet.ready(&mut steps, &commit).await?;
    azure::has_plan(&fleet.team, "P2").await?;
    azure::is_connected(&fleet.team, "account", true).await?;
    let after = azure::writes(&fleet.team).await?.len();
    ensure(after == writes, || format!("{} writes", after - writes))
}

/// A team whose connector was removed from git, and waits for Azure because of a lock. Returns the commit.
async fn waiting<'g>(
    gitops: &'g Gitops,
    steps: &mut Steps,
    name: &str,
) -> Result<(Followed<'g>, String), Error> {
    let fleet = Followed::team(gitops, name).await?;
    fleet.write_protection("prod", json!({"plan": {"tier": "P2"}}))?;
    fleet.write_connector("account", json!({"deletionPolicy": "Delete"}))?;
    let commit = fleet.push(steps, "a connector with the policy Delete").await?;
    fleet.follow().await?;
    fleet.ready(steps, &commit).await?;
    azure::lock(&fleet.team, json!("ReadOnly")).await?;
    fleet.repository.remove("account")?;
    let commit = fleet.push(steps, "remove it, while Azure has a lock").await?;
    let waits = |object: &Value| message(object).contains("not deleted yet");
    let connectors = fleet.team.connectors();
    connectors
        .until_holds("account", "a deletion that waits", crate::TIMEOUT, waits)
        .await?;
    steps.seen("the object says that its deletion waits");
    Ok((fleet, commit))
}

/// Removes the lock, and waits until the object of the connector is gone.
async fn unlock(fleet: &Followed<'_>, steps: &mut Steps) -> Result<(), Error> {
    azure::lock(&fleet.team, Value::Null).await?;
    steps.begin("the lock is removed");
    fleet
        .team
        .connectors()
        .until_gone("account", crate::TIMEOUT)
        .await?;
    steps.seen("the object is gone");
    Ok(())
}

async fn flux_prunes_a_connector_that_waits_for_azure(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("flux: prune with Delete");
    let (fleet, commit) = waiting(&gitops, &mut steps, "delete").await?;
    // Flux forgets an object as soon as its deletion was requested.
    fleet.ready(&mut steps, &commit).await?;
    fleet
        .team
        .until_events(&["DeletionWaits"], crate::TIMEOUT)
        .await?;
    azure::is_connected(&fleet.team, "account", true).await?;
    unlock(&fleet, &mut steps).await?;
    azure::is_connected(&fleet.team, "account", false).await?;
    azure::has_plan(&fleet.team, "P2").await
}

async fn flux_makes_an_object_anew_that_comes_back_while_it_terminates(
    gitops: Arc<Gitops>,
) -> Result<(), Error> {
    let mut steps = Steps::of("flux: removed and added again");
    let (fleet, commit) = coming_back(&gitops, &mut steps, "back").await?;
    is_made_anew(&fleet, &mut steps, &commit).await
}

async fn a_newer_commit_ends_the_wait_of_flux_for_an_object_that_terminates(
    gitops: Arc<Gitops>,
) -> Result<(), Error> {
    let mut steps = Steps::of("flux: removed and added again, and one more commit");
    let (fleet, _) = coming_back(&gitops, &mut steps, "newer").await?;
    write_something_else(&fleet)?;
    let commit = fleet.push(&mut steps, "something else").await?;
    is_made_anew(&fleet, &mut steps, &commit).await
}

/// A team whose connector was removed and added again while its deletion waited. Now it is gone, and Flux waits for it.
async fn coming_back<'g>(
    gitops: &'g Gitops,
    steps: &mut Steps,
    name: &str,
) -> Result<(Followed<'g>, String), Error> {
    let (fleet, _) = waiting(gitops, steps, name).await?;
    fleet.write_connector("account", json!({"deletionPolicy": "Delete"}))?;
    let commit = fleet.push(steps, "add it again").await?;
    let progresses = || fleet.says(&commit, "Unknown", "Progressing");
    steps.until("the Kustomization waits", progresses).await?;
    unlock(&fleet, steps).await?;
    Ok((fleet, commit))
}

async fn is_made_anew(fleet: &Followed<'_>, steps: &mut Steps, commit: &str) -> Result<(), Error> {
    let connectors = fleet.team.connectors();
    steps
        .until("the object is made anew", || connectors.get("account"))
        .await?;
    connectors
        .until("account", "Ready", "True", crate::TIMEOUT)
        .await?;
    steps.seen("the object is Ready");
    fleet.ready(steps, commit).await?;
    azure::is_connected(&fleet.team, "account", true).await
}

async fn a_rename_under_flux_keeps_the_protection(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("flux: a rename");
    let fleet = Followed::team(&gitops, "rename").await?;
    let spec = json!({"plan": {"tier": "P2"}});
    fleet.write_protection("prod", spec.clone())?;
    let commit = fleet.push(&mut steps, "protect a subscription").await?;
    fleet.follow().await?;
    fleet.ready(&mut steps, &commit).await?;
    let writes = azure::writes(&fleet.team).await?.len();
    fleet.repository.remove("prod")?;
    fleet.write_protection("production", spec)?;
    let commit = fleet.push(&mut steps, "rename it").await?;
    fleet
        .team
        .protections()
        .until_gone("prod", crate::TIMEOUT)
        .await?;
    steps.seen("the object of the earlier name is gone");
    let object = fleet
        .team
        .until("production", "Ready", "True", crate::TIMEOUT)
        .await?;
    steps.seen("the object of the new name is Ready");
    let claim = object.pointer("/status/claim/state");
    ensure(claim == Some(&json!("Held")), || {
        format!("its claim is {claim:?}")
    })?;
    fleet.ready(&mut steps, &commit).await?;
    azure::has_plan(&fleet.team, "P2").await?;
    let after = azure::writes(&fleet.team).await?.len();
    ensure(after == writes, || format!("{} writes to Azure", after - writes))
}
