//! The published actions, run by Argo CD's own program. Without its API server, kubectl applies their results.

use super::{
    ArgoCd,
    application::{Application, object_health},
    protected::{NAME, Protected, p2, protection},
    published, text,
};
use crate::{
    azure::has_plan,
    setting::Gitops,
    steps::{Steps, ensure},
};
use serde_json::json;
use serverprotection_tests::{Error, cases, command::run, error::io, harness::Case, team::Team};
use std::sync::Arc;
use tokio::process::Command;

pub(crate) fn cases() -> Vec<Case<Gitops>> {
    cases![
        argo_cd_suspends_resumes_and_reconciles_with_actions,
        argo_cd_approves_a_reduction_with_an_action,
    ]
}

/// The object of a case, on which actions run.
struct Target<'a> {
    argo: &'a ArgoCd,
    team: &'a Team<'a>,
}

impl Target<'_> {
    /// Runs an action, and applies the object that it returns.
    async fn run(&self, action: &str) -> Result<(), Error> {
        let out = self.argocd("run-action", &[action]).await?;
        // The program prints a difference; with our "difference program", it is the changed object.
        let changed = out.split_once("have been changed:").map(|(_, object)| object);
        let changed = changed.ok_or_else(|| Error::Other(format!("{action} changed nothing: {out}")))?;
        let file = self
            .argo
            .folder
            .join(format!("{}-{action}.yaml", self.team.namespace));
        std::fs::write(&file, changed).map_err(io("write the changed object"))?;
        let file = file.display().to_string();
        self.argo.kubectl.run(&["replace", "-f", &file]).await?;
        Ok(())
    }

    /// The actions that are enabled now, in the order of their names.
    async fn enabled(&self) -> Result<Vec<String>, Error> {
        let table = self.argocd("list-actions", &[]).await?;
        // Each row has the name, and whether the action is disabled.
        let rows = table.lines().filter_map(|line| line.split_once(' '));
        let enabled = rows.filter(|(_, disabled)| disabled.trim() == "false");
        Ok(enabled.map(|(name, _)| name.to_owned()).collect())
    }

    /// `argocd admin settings resource-overrides COMMAND OBJECT ARGUMENTS` with the published settings.
    async fn argocd(&self, command: &str, arguments: &[&str]) -> Result<String, Error> {
        let get = [
            "get",
            "serverprotection",
            NAME,
            "-n",
            &self.team.namespace,
            "-o",
            "yaml",
        ];
        let object = self.argo.kubectl.run(&get).await?;
        let file = self.argo.folder.join(format!("{}.yaml", self.team.namespace));
        std::fs::write(&file, object).map_err(io("write the object"))?;
        let mut argocd = Command::new(&self.argo.programs.argocd);
        argocd
            .args(["admin", "settings", "resource-overrides", command])
            .arg(&file)
            .args(arguments)
            .args(["--argocd-cm-path", &published("argocd-cm.yaml")])
            .current_dir(&self.argo.folder);
        let folder = self.argo.folder.join("tmp").display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        let environment = [
            ("PATH", path.as_str()),
            ("HOME", &folder),
            ("TMPDIR", &folder),
            ("KUBECTL_EXTERNAL_DIFF", r#"sh -c 'cat "$2"' changed"#),
        ];
        let ran = run(argocd, &environment, None).await?;
        ensure(ran.code == Some(0), || {
            format!("{command}: {}{}", ran.out, ran.err)
        })?;
        Ok(ran.out)
    }
}

async fn argo_cd_suspends_resumes_and_reconciles_with_actions(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("argo: actions");
    let fleet = Protected::start(&gitops, "argo-actions", p2()).await?;
    let Protected {
        argo,
        team,
        application,
        revision,
        ..
    } = &fleet;
    let target = Target { argo, team };
    ensure(target.enabled().await? == ["reconcile", "suspend"], || {
        "other actions are enabled".into()
    })?;

    steps.begin("the action suspend");
    target.run("suspend").await?;
    let object = application.until_health("Suspended").await?;
    steps.seen(&format!(
        "Suspended: {}",
        object_health(&object, "ServerProtection", NAME).1
    ));
    team.until(NAME, "Suspended", "True", crate::TIMEOUT).await?;
    ensure(target.enabled().await? == ["resume"], || {
        "other actions are enabled".into()
    })?;
    application.refreshed().await?;
    application.is_synced().await?;
    let lower = json!({"pricings.VirtualMachines.subPlan": "P1"});
    team.environment.emulator.set(&team.subscription, lower).await?;

    steps.begin("the action resume");
    target.run("resume").await?;
    steps
        .until("the controller has reverted a change in Azure", || {
            has_plan(team, "P2")
        })
        .await?;
    application.until_healthy(revision).await?;
    steps.seen("Healthy");

    steps.begin("the action reconcile");
    target.run("reconcile").await?;
    let requested = "/metadata/annotations/serverprotection.dev~1reconcile-requested-at";
    team.until_holds(NAME, "the reconcile", crate::TIMEOUT, |object| {
        let handled = text(object, "/status/lastHandledRequest");
        !handled.is_empty() && handled == text(object, requested)
    })
    .await?;
    steps.seen("done");
    application.until_healthy(revision).await?;
    application.forget().await
}

async fn argo_cd_approves_a_reduction_with_an_action(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("argo: approval of a reduction");
    let argo = gitops.argo().await?;
    let p2 = json!({"pricings": {"VirtualMachines": {"pricingTier": "Standard", "subPlan": "P2"}}});
    let (team, repository) = gitops.team_with("argo-approve", p2).await?;
    repository.write(NAME, &protection(&team, NAME, json!({"plan": {"tier": "P1"}})))?;
    let revision = repository.commit("a lower plan").await?;
    steps.begin("an Application is created");
    let application = Application::create(argo, &repository, &team.namespace, json!({})).await?;
    let object = application.until_health("Degraded").await?;
    let (_, message) = object_health(&object, "ServerProtection", NAME);
    steps.seen(&format!("Degraded: {message}"));
    ensure(message.contains("plan.tier=P1"), || {
        format!("the message lacks the value to approve: {message}")
    })?;
    has_plan(&team, "P2").await?;
    let target = Target { argo, team: &team };
    let enabled = target.enabled().await?;
    ensure(enabled.contains(&"approve-reduction".to_owned()), || {
        format!("enabled: {enabled:?}")
    })?;

    steps.begin("the action approve-reduction");
    target.run("approve-reduction").await?;
    steps.until("Azure has P1", || has_plan(&team, "P1")).await?;
    application.until_healthy(&revision).await?;
    steps.seen("Synced and Healthy");
    let enabled = target.enabled().await?;
    ensure(!enabled.contains(&"approve-reduction".to_owned()), || {
        format!("enabled: {enabled:?}")
    })?;
    application.forget().await
}
