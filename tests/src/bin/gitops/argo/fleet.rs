//! Many objects in one commit.

use super::{application::Application, protected::protection};
use crate::{
    azure,
    objects::{self, status_writes},
    setting::Gitops,
    steps::Steps,
};
use serde_json::json;
use serverprotection_tests::{Error, cases, harness::Case};
use std::{sync::Arc, time::Duration};

/// Objects of the commit.
const OBJECTS: usize = 200;
/// Time limit of a commit that concerns all of them.
const ALL: Duration = Duration::from_secs(240);

pub(crate) fn cases() -> Vec<Case<Gitops>> {
    let cases = cases![argo_cd_applies_200_objects_of_one_commit];
    cases.into_iter().map(|case| case.limit(ALL * 3)).collect()
}

async fn argo_cd_applies_200_objects_of_one_commit(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("argo: 200 objects in one commit");
    let argo = gitops.argo().await?;
    let (team, repository) = gitops.team("argo-fleet").await?;
    let ids = azure::subscriptions(&team, OBJECTS).await?;
    repository.write_text("README.md", "The fleet.\n")?;
    let empty = repository.commit("begin").await?;
    let application = Application::create(argo, &repository, &team.namespace, json!({})).await?;
    application.until_healthy(&empty).await?;

    for plan in ["P1", "P2"] {
        for (number, id) in ids.iter().enumerate() {
            let name = format!("landing-zone-{number:03}");
            let spec = json!({"subscriptionId": id, "plan": {"tier": plan}});
            repository.write(&name, &protection(&team, &name, spec))?;
        }
        let before = (status_writes(&team), argo.refreshes(&application.name)?);
        steps.begin(&format!("a commit with {plan} for 200 objects"));
        let revision = application
            .commit(&repository, &format!("{plan} for all landing zones"))
            .await?;
        let applied = || objects::have(&team, OBJECTS, plan, false);
        steps.until_within(ALL, "all are applied", applied).await?;
        let ready = || objects::have(&team, OBJECTS, plan, true);
        steps.until_within(ALL, "all are Ready", ready).await?;
        application.until_healthy(&revision).await?;
        steps.seen("Synced and Healthy");
        steps.note(&format!(
            "{} status writes, {} refreshes of the Application",
            status_writes(&team) - before.0,
            argo.refreshes(&application.name)? - before.1
        ));
        azure::all_have_plan(&team, &ids, plan).await?;
    }
    application.delete().await
}
