//! From a commit to Azure and back to the tool.

use super::{
    application::{Application, conditions, health, is_synced, object_health, operation, sync},
    protected::{NAME, Protected, p2, protection},
    text,
};
use crate::{
    azure::has_plan,
    setting::Gitops,
    steps::{Steps, ensure},
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, harness::Case, team::condition};
use std::sync::Arc;

/// What the API server says about P1 with agentless scanning.
const REFUSAL: &str = "plan.agentlessScanning needs plan.tier P2";

pub(crate) fn cases() -> Vec<Case<Gitops>> {
    cases![
        argo_cd_brings_a_commit_to_azure_and_shows_healthy,
        argo_cd_shows_why_a_new_object_is_refused,
        argo_cd_shows_why_a_change_is_refused,
        argo_cd_shows_a_stalled_object_as_degraded,
    ]
}

async fn argo_cd_brings_a_commit_to_azure_and_shows_healthy(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("argo: a commit");
    let argo = gitops.argo().await?;
    let (team, repository) = gitops.team("argo-commit").await?;
    repository.write(
        "prod",
        &protection(&team, "prod", json!({"plan": {"tier": "P1"}})),
    )?;
    let first = repository.commit("protect the subscription").await?;
    steps.begin("an Application is created");
    let application = Application::create(argo, &repository, &team.namespace, json!({})).await?;
    steps
        .until("the object is in the cluster", || team.get("prod"))
        .await?;
    steps.until("Azure has P1", || has_plan(&team, "P1")).await?;
    application.until_healthy(&first).await?;
    steps.seen("Synced and Healthy");

    let spec = json!({"plan": {"tier": "P2", "agentlessScanning": {"state": "Enabled"}}});
    repository.write("prod", &protection(&team, "prod", spec))?;
    steps.begin("a commit sets P2");
    let second = application.commit(&repository, "raise the plan").await?;
    team.until_holds("prod", "P2", crate::TIMEOUT, |object| {
        text(object, "/spec/plan/tier") == "P2"
    })
    .await?;
    steps.seen("applied");
    steps.until("Azure has P2", || has_plan(&team, "P2")).await?;
    team.until("prod", "Ready", "True", crate::TIMEOUT).await?;
    steps.seen("Ready");
    application.until_healthy(&second).await?;
    steps.seen("Synced and Healthy");
    application.forget().await
}

async fn argo_cd_shows_why_a_new_object_is_refused(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("argo: a new object that is refused");
    let argo = gitops.argo().await?;
    let (team, repository) = gitops.team("argo-refused").await?;
    let spec = json!({"plan": {"tier": "P1", "agentlessScanning": {"state": "Enabled"}}});
    repository.write("prod", &protection(&team, "prod", spec))?;
    repository.commit("a plan that is too low").await?;
    steps.begin("an Application is created");
    let application = Application::create(argo, &repository, &team.namespace, json!({})).await?;
    let object = application
        .until("our message", |object| operation(object).1.contains(REFUSAL))
        .await?;
    steps.seen(&format!(
        "the message at the sync operation; {}, {}",
        sync(&object),
        health(&object)
    ));
    let (health, _) = object_health(&object, "ServerProtection", "prod");
    ensure(health == "Missing" && sync(&object) == "OutOfSync", || {
        format!("{health}, {}", sync(&object))
    })?;
    ensure(team.protections().api.get_opt("prod").await?.is_none(), || {
        "the object exists".into()
    })?;

    let good = json!({"plan": {"tier": "P2", "agentlessScanning": {"state": "Enabled"}}});
    repository.write("prod", &protection(&team, "prod", good))?;
    steps.begin("the next commit is right");
    let fixed = application.commit(&repository, "the plan that it needs").await?;
    application.until_healthy(&fixed).await?;
    steps.seen("Synced and Healthy");
    application.forget().await
}

async fn argo_cd_shows_why_a_change_is_refused(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("argo: a change that is refused");
    let plan = |tier, scanning| json!({"plan": {"tier": tier, "agentlessScanning": {"state": scanning}}});
    let fleet = Protected::start(&gitops, "argo-change", plan("P2", "Enabled")).await?;
    let Protected {
        team, application, ..
    } = &fleet;
    let before = team.get(NAME).await?;

    fleet.write(plan("P1", "Enabled"))?;
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}});
    fleet.repository.write("other", &other)?;
    steps.begin("a commit lowers the plan, and keeps agentless scanning");
    fleet.commit("lower the plan").await?;
    let object = application
        .until("our message", |object| conditions(object).contains(REFUSAL))
        .await?;
    steps.seen(&format!("the message: {}, {}", sync(&object), health(&object)));
    steps.note(&conditions(&object));
    // The API server already refuses to compare, so nothing of the commit is applied.
    ensure(sync(&object) == "Unknown", || format!("it is {}", sync(&object)))?;
    application.refreshed().await?;
    let maps: Api<ConfigMap> = Api::namespaced(gitops.environment.client.clone(), &team.namespace);
    ensure(maps.get_opt("other").await?.is_none(), || {
        "the other object was applied".into()
    })?;
    let after = team.get(NAME).await?;
    ensure(before.get("spec") == after.get("spec"), || {
        format!("the spec changed: {after:#}")
    })?;
    has_plan(team, "P2").await?;

    fleet.write(plan("P2", "Disabled"))?;
    steps.begin("the next commit is right");
    fleet.applied("switch the scanning off").await?;
    steps.seen("Synced and Healthy");
    application.forget().await
}

async fn argo_cd_shows_a_stalled_object_as_degraded(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("argo: a stalled object");
    let argo = gitops.argo().await?;
    let (team, repository) = gitops.team("argo-stalled").await?;
    let missing = json!({"plan": {"tier": "P2"}, "credentialRef": {"name": "does-not-exist"}});
    repository.write("prod", &protection(&team, "prod", missing))?;
    let first = repository.commit("a credential that does not exist").await?;
    steps.begin("an Application is created");
    let application = Application::create(argo, &repository, &team.namespace, json!({})).await?;
    let object = application.until_health("Degraded").await?;
    let (_, message) = object_health(&object, "ServerProtection", "prod");
    steps.seen(&format!("Degraded: {message}"));
    let ready = team.until("prod", "Stalled", "True", crate::TIMEOUT).await?;
    let own = condition(&ready, "Ready").unwrap_or(&Value::Null);
    ensure(message.contains(text(own, "/message")), || {
        format!("not our message: {own}")
    })?;
    // A stalled object is no failure of the sync: nothing is tried again.
    ensure(
        is_synced(&object, &first) && operation(&object).0 == "Succeeded",
        || format!("{}, {:?}", sync(&object), operation(&object)),
    )?;

    repository.write("prod", &protection(&team, "prod", p2()))?;
    steps.begin("a commit with the right credential");
    let second = application.commit(&repository, "name our credential").await?;
    application.until_healthy(&second).await?;
    steps.seen("Synced and Healthy");
    steps.until("Azure has P2", || has_plan(&team, "P2")).await?;
    application.forget().await
}
