//! Who reverts what, and that the status of our objects is no drift.

use super::{
    application::same_sync,
    protected::{NAME, Protected, p2},
    text,
};
use crate::{
    azure::{has_plan, writes},
    objects::status_writes,
    setting::Gitops,
    steps::{Steps, ensure},
};
use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, harness::Case, wait::eventually};
use std::{sync::Arc, time::Duration};

/// The field manager of Argo CD.
const MANAGER: &str = "argocd-controller";
/// Changes of the status of one object.
const CHANGES: usize = 20;

pub(crate) fn cases() -> Vec<Case<Gitops>> {
    let slow = cases![argo_cd_neither_reports_nor_writes_anything_after_20_status_changes];
    let mut cases: Vec<_> = slow
        .into_iter()
        .map(|case| case.limit(Duration::from_secs(300)))
        .collect();
    cases.extend(cases![
        argo_cd_reverts_an_edit_and_the_controller_a_change_in_azure
    ]);
    cases
}

/// What Argo CD last wrote into an object, with the time.
fn written(object: &Value) -> Vec<&Value> {
    let managers = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    managers
        .into_iter()
        .flatten()
        .filter(|entry| text(entry, "/manager") == MANAGER)
        .collect()
}

async fn argo_cd_neither_reports_nor_writes_anything_after_20_status_changes(
    gitops: Arc<Gitops>,
) -> Result<(), Error> {
    let mut steps = Steps::of("argo: 20 status changes");
    let fleet = Protected::start(&gitops, "argo-status", p2()).await?;
    let Protected {
        argo,
        team,
        application,
        ..
    } = &fleet;
    team.scanned(NAME, crate::TIMEOUT).await?;
    let before = application.refreshed().await?;
    let object = team.get(NAME).await?;
    let (refreshes, versions) = (argo.refreshes(&application.name)?, status_writes(team));

    steps.begin("machines are added one by one");
    for number in 0..CHANGES {
        let machine = json!({"name": format!("vm-{number}")});
        team.environment
            .emulator
            .add_machine(&team.subscription, machine)
            .await?;
        let count = json!(number + 1);
        team.until_holds(NAME, "the machine in the status", crate::TIMEOUT, |object| {
            object.pointer("/status/machines/total") == Some(&count)
        })
        .await?;
        application.is_synced().await?;
    }
    // The recorder has a watch of its own, which may be behind.
    let recorded = eventually("the changes in the recorder", crate::TIMEOUT, || async {
        let recorded = status_writes(team) - versions;
        ensure(recorded >= CHANGES, || format!("{recorded} status writes"))?;
        Ok::<_, Error>(recorded)
    })
    .await?;
    steps.seen(&format!("{recorded} writes of the status"));
    let during = argo.refreshes(&application.name)? - refreshes;
    steps.note(&format!("refreshes of the Application by them: {during}"));

    let after = application.refreshed().await?;
    application.is_synced().await?;
    same_sync(&before, &after)?;
    let now = team.get(NAME).await?;
    ensure(
        !written(&object).is_empty() && written(&object) == written(&now),
        || format!("Argo CD wrote: {:?}\n{:?}", written(&object), written(&now)),
    )?;
    application.forget().await
}

async fn argo_cd_reverts_an_edit_and_the_controller_a_change_in_azure(
    gitops: Arc<Gitops>,
) -> Result<(), Error> {
    let mut steps = Steps::of("argo: edits by hand");
    let fleet = Protected::start(&gitops, "argo-edits", p2()).await?;
    let Protected {
        team,
        application,
        revision,
        ..
    } = &fleet;

    steps.begin("the plan is edited in the object: P1");
    team.patch(NAME, json!({"spec": {"plan": {"tier": "P1"}}}))
        .await?;
    steps
        .until("Argo CD has put P2 back", || async {
            let object = team.get(NAME).await.map_err(|error| error.to_string())?;
            match text(&object, "/spec/plan/tier") {
                "P2" => Ok(()),
                other => Err(other.to_owned()),
            }
        })
        .await?;
    team.until(NAME, "Ready", "True", crate::TIMEOUT).await?;
    application.until_healthy(revision).await?;
    steps.seen("Ready, Synced and Healthy");
    has_plan(team, "P2").await?;
    let plans = writes(team).await?;
    let plans = plans
        .iter()
        .filter(|write| text(write, "/path").contains("/pricings/"));
    steps.note(&format!(
        "writes of the plan since the first commit: {}",
        plans.count()
    ));

    steps.begin("a field that git does not have is edited");
    team.patch(NAME, json!({"spec": {"interval": "17m"}})).await?;
    application.refreshed().await?;
    application.is_synced().await?;
    let object = team.get(NAME).await?;
    ensure(text(&object, "/spec/interval") == "17m", || {
        "Argo CD changed it".into()
    })?;
    steps.seen("it stays, and the Application is Synced");

    let before = application.get().await?;
    steps.begin("the plan is changed in Azure: P1");
    let change = json!({"pricings.VirtualMachines.subPlan": "P1"});
    team.environment.emulator.set(&team.subscription, change).await?;
    has_plan(team, "P1").await?;
    team.protections().reconcile(NAME, crate::TIMEOUT).await?;
    eventually("P2", crate::TIMEOUT, || has_plan(team, "P2")).await?;
    steps.seen("the controller has put P2 back, after a request to reconcile");
    application.until_healthy(revision).await?;
    same_sync(&before, &application.get().await?)?;
    application.forget().await
}
