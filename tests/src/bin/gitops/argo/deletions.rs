//! What a removal in git does: prune, return, rename.

use super::{
    application::{health, object_health, sync},
    protected::{NAME, Protected, p2, protection},
    text,
};
use crate::{
    azure::{has_plan, is_connected, lock, writes},
    setting::Gitops,
    steps::{Steps, ensure},
};
use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, harness::Case, team::Team};
use std::sync::Arc;

/// Name of the connector of a case.
const CONNECTOR: &str = "account";

pub(crate) fn cases() -> Vec<Case<Gitops>> {
    cases![
        argo_cd_prunes_and_azure_stays,
        argo_cd_shows_what_a_deletion_waits_for,
        argo_cd_creates_an_object_again_that_returns_while_it_is_deleted,
        argo_cd_renames_an_object_and_the_protection_stays,
    ]
}

async fn argo_cd_prunes_and_azure_stays(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("argo: prune with Retain");
    let fleet = Protected::start(&gitops, "argo-prune", p2()).await?;
    // Argo CD does not prune everything that an Application has.
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}});
    fleet.repository.write("other", &other)?;
    fleet.applied("another object").await?;
    let before = in_azure(&fleet.team).await?;

    fleet.repository.remove(NAME)?;
    steps.begin("a commit removes the object");
    let removed = fleet.commit("remove it").await?;
    fleet.team.protections().until_gone(NAME, crate::TIMEOUT).await?;
    steps.seen("gone");
    fleet.application.until_healthy(&removed).await?;
    steps.seen("Synced and Healthy");
    let after = in_azure(&fleet.team).await?;
    ensure(before == after, || {
        format!("Azure changed: {before:?}, {after:?}")
    })?;
    fleet.application.forget().await
}

/// The state of the subscription, and the number of writes.
async fn in_azure(team: &Team<'_>) -> Result<(Value, usize), Error> {
    let state = team.environment.emulator.get(&team.subscription).await?;
    Ok((state, writes(team).await?.len()))
}

/// A protected subscription, and a connector with the policy Delete.
async fn with_connector<'g>(gitops: &'g Gitops, name: &str) -> Result<Protected<'g>, Error> {
    let fleet = Protected::start(gitops, name, p2()).await?;
    write_connector(&fleet)?;
    fleet.applied("connect an account").await?;
    is_connected(&fleet.team, CONNECTOR, true).await?;
    Ok(fleet)
}

fn write_connector(fleet: &Protected<'_>) -> Result<(), Error> {
    let spec = fleet.team.connector_spec(json!({"deletionPolicy": "Delete"}));
    let object = fleet.team.connectors().object(CONNECTOR, &spec);
    fleet.repository.write(CONNECTOR, &object)
}

/// Removes the connector from git while a lock keeps it in Azure. Returns when Argo CD shows why it stays.
async fn waiting(fleet: &Protected<'_>, steps: &mut Steps) -> Result<(), Error> {
    lock(&fleet.team, json!("ReadOnly")).await?;
    fleet.repository.remove(CONNECTOR)?;
    steps.begin("a commit removes a connector that a lock keeps in Azure");
    fleet.commit("disconnect the account").await?;
    let requested = |object: &Value| object.pointer("/metadata/deletionTimestamp").is_some();
    fleet
        .team
        .connectors()
        .until_holds(CONNECTOR, "a deletion", crate::TIMEOUT, requested)
        .await?;
    steps.seen("its deletion is requested");
    let message = |object: &Value| object_health(object, "SecurityConnector", CONNECTOR).1.to_owned();
    let object = fleet
        .application
        .until("what the deletion waits for", |object| {
            message(object).contains("ScopeLocked")
        })
        .await?;
    steps.seen(&format!(
        "{}, {}: {}",
        sync(&object),
        health(&object),
        message(&object)
    ));
    let (health, _) = object_health(&object, "SecurityConnector", CONNECTOR);
    ensure(health == "Progressing", || format!("the health is {health}"))
}

async fn argo_cd_shows_what_a_deletion_waits_for(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("argo: prune with Delete");
    let fleet = with_connector(&gitops, "argo-delete").await?;
    let team = &fleet.team;
    waiting(&fleet, &mut steps).await?;
    is_connected(team, CONNECTOR, true).await?;

    fleet.write(json!({"plan": {"tier": "P2"}, "interval": "23m"}))?;
    steps.begin("another commit while it waits");
    let last = fleet.commit("compare less often").await?;
    team.until_holds(NAME, "the interval", crate::TIMEOUT, |object| {
        text(object, "/spec/interval") == "23m"
    })
    .await?;
    steps.seen("applied");

    steps.begin("the lock is removed");
    lock(team, Value::Null).await?;
    steps
        .until("the connector is deleted in Azure", || {
            is_connected(team, CONNECTOR, false)
        })
        .await?;
    team.connectors().until_gone(CONNECTOR, crate::TIMEOUT).await?;
    steps.seen("the object is gone");
    fleet.application.until_healthy(&last).await?;
    steps.seen("Synced and Healthy");
    has_plan(team, "P2").await?;
    fleet.application.forget().await
}

async fn argo_cd_creates_an_object_again_that_returns_while_it_is_deleted(
    gitops: Arc<Gitops>,
) -> Result<(), Error> {
    let mut steps = Steps::of("argo: removed and added again");
    let fleet = with_connector(&gitops, "argo-again").await?;
    let team = &fleet.team;
    let old = team.connectors().get(CONNECTOR).await?;
    waiting(&fleet, &mut steps).await?;

    write_connector(&fleet)?;
    steps.begin("a commit adds it again, and the lock is removed");
    let back = fleet.commit("connect the account again").await?;
    lock(team, Value::Null).await?;
    steps
        .until("a new object", || async {
            let object = team.connectors().get(CONNECTOR).await?;
            let same = text(&object, "/metadata/uid") == text(&old, "/metadata/uid");
            ensure(!same, || "still the old one".into())
        })
        .await?;
    team.connectors()
        .until(CONNECTOR, "Ready", "True", crate::TIMEOUT)
        .await?;
    is_connected(team, CONNECTOR, true).await?;
    steps.seen("Ready, and the connector is in Azure");
    fleet.application.until_healthy(&back).await?;
    steps.seen("Synced and Healthy");
    fleet.application.forget().await
}

async fn argo_cd_renames_an_object_and_the_protection_stays(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("argo: a rename");
    let fleet = Protected::start(&gitops, "argo-rename", p2()).await?;
    let team = &fleet.team;
    let before = in_azure(team).await?;

    fleet.repository.remove(NAME)?;
    fleet
        .repository
        .write("renamed", &protection(team, "renamed", p2()))?;
    steps.begin("a commit renames the object");
    let renamed = fleet.commit("rename it").await?;
    team.protections().until_gone(NAME, crate::TIMEOUT).await?;
    steps.seen("the old object is gone");
    let object = team.until("renamed", "Ready", "True", crate::TIMEOUT).await?;
    steps.seen("the new object is Ready");
    fleet.application.until_healthy(&renamed).await?;
    steps.seen("Synced and Healthy");
    let claim = object.pointer("/status/claim").unwrap_or(&Value::Null);
    ensure(!claim.is_null(), || {
        format!("it does not own the subscription: {object:#}")
    })?;
    let after = in_azure(team).await?;
    ensure(before == after, || {
        format!("Azure changed: {before:?}, {after:?}")
    })?;
    fleet.application.forget().await
}
