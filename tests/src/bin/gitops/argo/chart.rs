//! The operator itself: Argo CD renders the chart and applies it.

use super::{
    application::{Application, object_health, same_sync, sync},
    copy, text,
};
use crate::{
    setting::Gitops,
    steps::{Steps, ensure},
};
use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, harness::Case};
use std::{path::Path, sync::Arc};

/// The folder of the chart.
const CHART: &str = "charts/serverprotection-operator";

/// Kinds whose controllers do not run here, so that they never get a status.
const WITHOUT_CONTROLLER: [&str; 2] = ["Deployment", "PodDisruptionBudget"];

pub(crate) fn cases() -> Vec<Case<Gitops>> {
    cases![argo_cd_installs_the_chart_and_finds_no_drift]
}

async fn argo_cd_installs_the_chart_and_finds_no_drift(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("argo: the chart");
    let argo = gitops.argo().await?;
    let repository = gitops.repository("argo-chart").await?;
    copy(&repository, Path::new(CHART))?;
    let revision = repository.commit("the operator").await?;
    steps.begin("an Application of the chart is created");
    let more = json!({"spec": {
        "source": {"path": CHART, "helm": {"releaseName": "argo"}},
        "syncPolicy": {"syncOptions": ["ServerSideApply=true", "CreateNamespace=true"]},
    }});
    let application = Application::create(argo, &repository, "argo-operator", more).await?;
    application
        .until("Synced", |object| {
            super::application::is_synced(object, &revision)
        })
        .await?;
    steps.seen("Synced");
    let object = application.until_health("Progressing").await?;
    let all = object.pointer("/status/resources").and_then(Value::as_array);
    let all = all.map(Vec::as_slice).unwrap_or_default();
    steps.note(&format!("{} objects", all.len()));
    ensure(all.len() > 10, || format!("only {} objects: {all:?}", all.len()))?;
    for one in all {
        let (kind, name) = (text(one, "/kind"), text(one, "/name"));
        let (health, message) = object_health(&object, kind, name);
        let expected = if WITHOUT_CONTROLLER.contains(&kind) {
            "Progressing"
        } else {
            "Healthy"
        };
        ensure(text(one, "/status") == "Synced", || {
            format!("{kind} {name} is {}", text(one, "/status"))
        })?;
        ensure(health.is_empty() || health == expected, || {
            format!("{kind} {name} is {health}: {message}")
        })?;
    }
    let refreshed = application.refreshed().await?;
    ensure(sync(&refreshed) == "Synced", || format!("drift: {refreshed:#}"))?;
    same_sync(&object, &refreshed)?;
    steps.seen("a refresh finds no drift");
    application.forget().await
}
