//! The life of a release: from the previous version to this one under load, back, and its end.

use crate::{TIMEOUT, load::Load, node::Node, setting::Cluster, tenant::Tenant};
use kube::{Api, ResourceExt, api::ListParams, core::DynamicObject};
use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    emulator::SUBSCRIPTION,
    harness::Case,
    objects::condition,
    recorder::{connector_resource, credential_resource, resource},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Time limit of a case.
const LIMIT: Duration = Duration::from_secs(400);

pub(crate) fn cases() -> Vec<Case<Cluster>> {
    let cases = cases![
        an_upgrade_from_the_previous_version_misses_no_repair,
        the_previous_version_reports_what_it_cannot_read_and_changes_nothing,
        an_uninstallation_leaves_objects_and_azure_as_they_are,
    ];
    cases.into_iter().map(|case| case.limit(LIMIT)).collect()
}

async fn an_upgrade_from_the_previous_version_misses_no_repair(cluster: Arc<Cluster>) -> Result<(), Error> {
    cluster.release.uninstall().await?;
    cluster.release.install_previous().await?;
    let load = Load::start(&cluster).await?;
    // Some changes are repaired by the previous version.
    tokio::time::sleep(Duration::from_secs(10)).await;
    // The previous version knows no Lease: for some seconds it writes beside the new leader (docs/upgrade.md).
    cluster.accept_overlaps_of(&load.principals);
    cluster.release.install(2, json!({})).await?;
    cluster.leader_other_than("").await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let memory = memory()?;
    let repairs = load.finish().await?;
    crate::report(&format!(
        "upgrade under load: {repairs}; memory of the pods: {memory}"
    ));
    Ok(())
}

async fn the_previous_version_reports_what_it_cannot_read_and_changes_nothing(
    cluster: Arc<Cluster>,
) -> Result<(), Error> {
    cluster.release.uninstall().await?;
    cluster.release.install_previous().await?;
    cluster.release.install(2, json!({})).await?;
    // The previous version knows no ClusterAzureCredential.
    let tenant = Tenant::create(&cluster, "newer").await?;
    tenant.assign_to_machine().await?;
    tenant.cluster_credential().await?;
    tenant.protect("prod", tenant.cluster_reference()).await?;
    let protections = tenant.protections();
    let before = protections.until("prod", "Ready", "True", TIMEOUT).await?;
    let azure = cluster.emulator.get(&tenant.subscription).await?;
    let writes = tenant.writes().await?;

    cluster.release.rollback().await?;
    let after = protections.until("prod", "Stalled", "True", TIMEOUT).await?;
    let stalled = condition(&after, "Stalled")
        .map(Value::to_string)
        .unwrap_or_default();
    let same = |path: &str| before.pointer(path) == after.pointer(path);
    if !stalled.contains("Unreadable") || !same("/spec") || !same("/status/claim") || !same("/metadata/uid") {
        return Err(Error::Other(format!(
            "before {before:#}, after the rollback {after:#}"
        )));
    }
    // Something that it would repair if it could read the object.
    let change = json!({"settings.WDATP": false});
    cluster.emulator.set(&tenant.subscription, change).await?;
    protections.request("prod").await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    if tenant.writes().await? != writes {
        return Err(Error::Other("the previous version wrote to Azure".into()));
    }
    cluster.release.install(2, json!({})).await?;
    protections.until("prod", "Ready", "True", TIMEOUT).await?;
    let azure_now = cluster.emulator.get(&tenant.subscription).await?;
    if azure_now.get("settings") != azure.get("settings") {
        return Err(Error::Other(format!("Azure before {azure:#}, now {azure_now:#}")));
    }
    Ok(())
}

async fn an_uninstallation_leaves_objects_and_azure_as_they_are(cluster: Arc<Cluster>) -> Result<(), Error> {
    cluster.release.install(2, json!({})).await?;
    let azure = cluster.emulator.get(SUBSCRIPTION).await?;
    let objects = specs(&cluster).await?;
    if objects.is_empty() {
        return Err(Error::Other("no object exists".into()));
    }
    cluster.release.uninstall().await?;
    cluster.gone().await?;
    let (azure_now, objects_now) = (cluster.emulator.get(SUBSCRIPTION).await?, specs(&cluster).await?);
    if objects != objects_now {
        return Err(Error::Other(format!(
            "objects before {objects:#?}, after {objects_now:#?}"
        )));
    }
    if azure != azure_now {
        return Err(Error::Other(format!(
            "Azure before {azure:#}, after {azure_now:#}"
        )));
    }
    Ok(())
}

/// The memory of each controller, as text.
fn memory() -> Result<String, Error> {
    let controllers = Node::controllers()?;
    let memory = controllers
        .iter()
        .map(|process| process.memory().unwrap_or_default());
    let texts: Vec<_> = memory.map(|kb| format!("{} MB", kb.div_ceil(1024))).collect();
    Ok(texts.join(" and "))
}

/// Uid and spec of each object of our kinds; fails if a CRD is gone.
async fn specs(cluster: &Cluster) -> Result<BTreeMap<String, Value>, Error> {
    let mut all = BTreeMap::new();
    for kind in [resource(), connector_resource(), credential_resource()] {
        let api: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &kind);
        for object in api.list(&ListParams::default()).await? {
            let spec = object.data.get("spec").cloned().unwrap_or_default();
            let deleting = object.metadata.deletion_timestamp.is_some();
            all.insert(object.uid().unwrap_or_default(), json!([spec, deleting]));
        }
    }
    Ok(all)
}
