//! Sync waves: each begins when the objects of the one before are Healthy.

use super::{
    PUBLISHED,
    application::{Application, object_health, operation},
    copy,
    protected::{NAME, p2, protection},
};
use crate::{
    repository::Repository,
    setting::Gitops,
    steps::{Steps, ensure},
};
use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    harness::Case,
    recorder::Version,
    team::{Team, merge},
    wait::throughout,
};
use std::{path::Path, sync::Arc, time::Duration};

/// The namespace of the samples.
const SAMPLES: &str = "defender";
/// Name of the connector of the other cases.
const CONNECTOR: &str = "account";

pub(crate) fn cases() -> Vec<Case<Gitops>> {
    cases![
        argo_cd_applies_the_published_example_in_waves,
        argo_cd_stops_before_the_next_wave_when_an_object_is_stalled,
        argo_cd_waits_for_a_suspended_object_before_the_next_wave,
    ]
}

async fn argo_cd_applies_the_published_example_in_waves(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("argo: the published example with its waves");
    let argo = gitops.argo().await?;
    let repository = gitops.repository("argo-example").await?;
    let example = format!("{PUBLISHED}/example");
    copy(&repository, Path::new(&example))?;
    copy(&repository, Path::new("deploy/samples"))?;
    let revision = repository.commit("the samples").await?;
    steps.begin("the Application is created");
    let source = json!({"spec": {"source": {"path": example}}});
    let application = Application::create(argo, &repository, SAMPLES, source).await?;
    application.until_healthy(&revision).await?;
    steps.seen("Synced and Healthy");

    let recorder = &gitops.environment.recorder;
    let ready = |version: &&Version| version.condition_status("Ready") == Some("True");
    let mut before: Option<(&str, Version)> = None;
    for (kind, name) in [
        ("AzureCredential", "platform"),
        ("ServerProtection", "contoso-prod"),
        ("SecurityConnector", "aws-prod"),
    ] {
        let versions = recorder.of(kind, SAMPLES, name);
        let missing = || Error::Other(format!("{kind} {name} was never Ready"));
        let created = versions.first().ok_or_else(missing)?.clone();
        if let Some((earlier, healthy)) = before {
            ensure(healthy.at <= created.at, || {
                format!("{kind} was created before {earlier} was Ready")
            })?;
        }
        before = Some((kind, versions.iter().find(ready).ok_or_else(missing)?.clone()));
    }
    application.refreshed().await?;
    application.is_synced().await?;
    application.delete().await?;
    steps.seen("deleted again, with all objects");
    Ok(())
}

/// An object in a wave.
fn in_wave(mut object: Value, wave: &str) -> Value {
    let annotations = json!({"argocd.argoproj.io/sync-wave": wave});
    merge(&mut object, json!({"metadata": {"annotations": annotations}}));
    object
}

/// Writes `prod` in wave 2 and a connector in wave 3.
fn write(repository: &Repository, team: &Team<'_>, spec: Value) -> Result<(), Error> {
    repository.write(NAME, &in_wave(protection(team, NAME, spec), "2"))?;
    let connector = team
        .connectors()
        .object(CONNECTOR, &team.connector_spec(json!({})));
    repository.write(CONNECTOR, &in_wave(connector, "3"))
}

/// Fails if the connector of wave 3 exists.
async fn not_connected(team: &Team<'_>) -> Result<(), Error> {
    let connector = team.connectors().api.get_opt(CONNECTOR).await?;
    ensure(connector.is_none(), || "the connector was created".into())
}

async fn argo_cd_stops_before_the_next_wave_when_an_object_is_stalled(
    gitops: Arc<Gitops>,
) -> Result<(), Error> {
    let mut steps = Steps::of("argo: a stalled object in a wave");
    let argo = gitops.argo().await?;
    let has_p2 = json!({"pricings": {"VirtualMachines": {"pricingTier": "Standard", "subPlan": "P2"}}});
    let (team, repository) = gitops.team_with("argo-waves", has_p2).await?;
    write(&repository, &team, json!({"plan": {"tier": "P1"}}))?;
    repository
        .commit("a lower plan, and a connector behind it")
        .await?;
    steps.begin("an Application is created");
    let application = Application::create(argo, &repository, &team.namespace, json!({})).await?;
    let object = application.until_health("Degraded").await?;
    let (_, message) = object_health(&object, "ServerProtection", NAME);
    steps.seen(&format!("Degraded: {message}"));
    let retries = |object: &Value| object.pointer("/status/operationState/retryCount").is_some();
    let object = application.until("a failed sync", retries).await?;
    steps.seen(&format!("the sync failed: {}", operation(&object).1));
    not_connected(&team).await?;

    write(&repository, &team, p2())?;
    steps.begin("a commit keeps the plan");
    let fixed = application.commit(&repository, "keep P2").await?;
    application.until_healthy(&fixed).await?;
    steps.seen("Synced and Healthy");
    team.connectors().get(CONNECTOR).await?;
    application.forget().await
}

async fn argo_cd_waits_for_a_suspended_object_before_the_next_wave(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("argo: a suspended object in a wave");
    let argo = gitops.argo().await?;
    let (team, repository) = gitops.team("argo-paused").await?;
    write(
        &repository,
        &team,
        json!({"plan": {"tier": "P2"}, "suspend": true}),
    )?;
    repository.commit("a suspended object").await?;
    steps.begin("an Application is created");
    let application = Application::create(argo, &repository, &team.namespace, json!({})).await?;
    let object = application.until_health("Suspended").await?;
    steps.seen(&format!("{}: {}", operation(&object).0, operation(&object).1));

    write(&repository, &team, p2())?;
    steps.begin("a commit resumes it");
    let resumed = application.commit(&repository, "resume it").await?;
    throughout("the first sync goes on", Duration::from_secs(5), || async {
        not_connected(&team).await?;
        let object = application.get().await?;
        ensure(operation(&object).0 == "Running", || {
            format!("{:?}", operation(&object))
        })
    })
    .await?;
    steps.seen("it is not applied, because the first sync goes on");
    team.patch(NAME, json!({"spec": {"suspend": false}})).await?;
    steps.begin("the object is resumed by hand");
    application.until_healthy(&resumed).await?;
    steps.seen("Synced and Healthy");
    team.connectors().get(CONNECTOR).await?;
    application.forget().await
}
