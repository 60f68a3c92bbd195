//! Whole repositories under Flux: the reference repository, 200 subscriptions, and the rendered chart.

use crate::{
    azure,
    kustomization::{Followed, flux_objects, says},
    objects,
    repository::BRANCH,
    setting::Gitops,
    steps::{Steps, ensure},
};
use serde_json::{Value, json};
use serverprotection_tests::{
    Error, binaries, cases,
    emulator::{CLIENT, TENANT},
    error::io,
    harness::Case,
    helm::Release,
    team::merge,
    users::ADMIN,
};
use std::{sync::Arc, time::Duration};
use tokio::process::Command;

/// Subscriptions of the large commit.
const SUBSCRIPTIONS: usize = 200;
/// Time limit of a commit that concerns all of them.
const ALL: Duration = Duration::from_secs(240);
/// Namespace of the Flux objects in `deploy/gitops/flux`.
const FLUX_SYSTEM: &str = "flux-system";
/// The ids of its subscriptions in `deploy/gitops/fleet` begin with this; their number follows.
const PAYMENTS: &str = "6f1c0d7e-0000-4000-8000-00000000000";

pub(crate) fn cases() -> Vec<Case<Gitops>> {
    let mut cases = cases![
        the_reference_repository_becomes_ready_under_flux,
        flux_applies_the_rendered_chart_once,
    ];
    let large = cases![flux_applies_200_subscriptions_in_one_commit];
    cases.extend(large.into_iter().map(|case| case.limit(ALL * 3)));
    cases
}

/// `deploy/gitops`, as published: only the address of the repository differs, and the operator runs already.
async fn the_reference_repository_becomes_ready_under_flux(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("flux: deploy/gitops with the team payments");
    let environment = &gitops.environment;
    let subscriptions = [1, 2, 3].map(|number| {
        json!({"subscriptionId": format!("{PAYMENTS}{number}"), "tenantId": TENANT,
            "displayName": format!("Payments {number}"), "roleAssignments": {CLIENT: ["Owner"]}})
    });
    environment
        .emulator
        .seed(json!({"subscriptions": subscriptions}))
        .await?;
    let plane = &environment.plane;
    let trust = json!({"federatedIdentityCredentials": [{
        "issuer": plane.service_account_issuer(),
        "subject": "system:serviceaccount:payments:serverprotection-azure",
        "publicKeyPem": plane.service_account_public_key()}]});
    environment.emulator.principal(CLIENT, trust).await?;

    let fleet = Followed::team(&gitops, "reference").await?;
    let [kustomizations, sources] = flux_objects(&gitops, FLUX_SYSTEM);
    let copied = Command::new("cp")
        .arg("-R")
        .arg(binaries::root().join("deploy/gitops/fleet/."))
        .arg(fleet.repository.folder())
        .status()
        .await
        .map_err(io("copy the repository"))?;
    ensure(copied.success(), || format!("cp ended with {copied}"))?;
    let commit = fleet.repository.commit("the reference repository").await?;
    steps.begin("the Kustomizations of payments are created");
    let source = json!({"url": fleet.repository.url, "ref": {"branch": BRANCH}, "interval": "1h"});
    sources.apply("fleet", source).await?;
    for published in &fleet.flux.published {
        let mut spec = published.get("spec").cloned().unwrap_or_default();
        let dependencies = spec.get_mut("dependsOn").and_then(Value::as_array_mut);
        if let Some(dependencies) = dependencies {
            dependencies.retain(|dependency| dependency.get("name") != Some(&json!("operator")));
        }
        kustomizations.apply(name(published), spec).await?;
    }
    for published in &fleet.flux.published {
        let name = name(published);
        let ready = || async {
            let object = kustomizations.get(name).await;
            let object = object.map_err(|error| error.to_string())?;
            says(&object, &commit, "True", "ReconciliationSucceeded")
        };
        steps.until(&format!("{name} is Ready"), ready).await?;
    }
    let azure = environment.emulator.get(&format!("{PAYMENTS}1")).await?;
    let plan = azure.pointer("/pricings/VirtualMachines/subPlan");
    ensure(plan == Some(&json!("P2")), || format!("the plan is {plan:?}"))
}

fn name(object: &Value) -> &str {
    let name = object.pointer("/metadata/name").and_then(Value::as_str);
    name.unwrap_or_default()
}

/// No kubelet runs here, so the Deployment never becomes ready, and the Kustomization does not wait for it.
async fn flux_applies_the_rendered_chart_once(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("flux: the rendered chart");
    let plane = &gitops.environment.plane;
    let fleet = Followed::team(&gitops, "chart").await?;
    let release = Release::new("by-flux", &fleet.team.namespace);
    let helm = plane.helm(ADMIN)?;
    let manifests = helm.with_chart("template", &release, &[]).await?;
    fleet.repository.write_text("operator.yaml", &manifests)?;
    let commit = fleet.push(&mut steps, "the rendered chart").await?;
    let mut spec = fleet.spec()?;
    // The definitions must outlive this case, and the manifests name their namespaces.
    merge(&mut spec, json!({"wait": false, "prune": false}));
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("targetNamespace");
        fields.remove("healthCheckExprs");
    }
    fleet.follow_with(spec).await?;
    let object = fleet.ready(&mut steps, &commit).await?;
    let inventory = object
        .pointer("/status/inventory/entries")
        .and_then(Value::as_array);
    let count = inventory.map_or(0, Vec::len);
    steps.note(&format!("{count} objects"));
    let file = fleet
        .repository
        .folder()
        .join("operator.yaml")
        .display()
        .to_string();
    let columns = "custom-columns=:.kind,:.metadata.name,:.metadata.uid,:.metadata.resourceVersion";
    let get = [
        "get",
        "--filename",
        &file,
        "--output",
        columns,
        "--namespace",
        &release.namespace,
    ];
    let before = plane.kubectl(&get).await?;
    let lines = before.lines().filter(|line| !line.trim().is_empty()).count();
    ensure(lines == count, || {
        format!("{lines} objects, {count} in the inventory:\n{before}")
    })?;
    fleet.reconcile().await?;
    let after = plane.kubectl(&get).await?;
    ensure(before == after, || {
        format!("the second reconcile wrote:\n{before}\n{after}")
    })
}

async fn flux_applies_200_subscriptions_in_one_commit(gitops: Arc<Gitops>) -> Result<(), Error> {
    let mut steps = Steps::of("flux: 200 subscriptions in one commit");
    let fleet = Followed::team(&gitops, "many").await?;
    let team = &fleet.team;
    let ids = azure::subscriptions(team, SUBSCRIPTIONS).await?;
    for (round, plan) in ["P1", "P2"].into_iter().enumerate() {
        for (number, id) in ids.iter().enumerate() {
            let spec = json!({"subscriptionId": id, "plan": {"tier": plan}});
            fleet.write_protection(&format!("subscription-{number}"), spec)?;
        }
        let (writes, reconciles) = (
            objects::status_writes(team),
            fleet.flux.reconciles(&team.namespace).await?,
        );
        let commit = fleet
            .push(&mut steps, &format!("{plan} for 200 subscriptions"))
            .await?;
        if round == 0 {
            let mut spec = fleet.spec()?;
            merge(&mut spec, json!({"timeout": "5m"}));
            fleet.follow_with(spec).await?;
        }
        let applied = || objects::have(team, SUBSCRIPTIONS, plan, false);
        steps
            .until_within(ALL, "all objects are applied", applied)
            .await?;
        steps
            .until_within(ALL, "all objects are Ready", || {
                objects::have(team, SUBSCRIPTIONS, plan, true)
            })
            .await?;
        let ready = || fleet.says(&commit, "True", "ReconciliationSucceeded");
        steps
            .until_within(ALL, "the Kustomization is Ready", ready)
            .await?;
        steps.note(&format!(
            "{} status writes, {} reconciles of the Kustomization",
            objects::status_writes(team) - writes,
            fleet.flux.reconciles(&team.namespace).await? - reconciles,
        ));
        azure::all_have_plan(team, &ids, plan).await?;
    }
    Ok(())
}
