//! Two replicas while pods, the kubelet and the node fail.

use crate::{
    leader::Watch,
    load::Load,
    node::{Node, Running},
    setting::Cluster,
};
use kube::{
    ResourceExt,
    api::{DeleteParams, EvictParams},
};
use serde_json::json;
use serverprotection_tests::{Error, cases, harness::Case, wait::eventually};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

/// Time limit of a case with a load.
const LIMIT: Duration = Duration::from_secs(300);
/// The longest time without a leader while pods end in an orderly way: the lease is released, and taken at the next look.
const HANDOVER: Duration = Duration::from_secs(6);

pub(crate) fn cases() -> Vec<Case<Cluster>> {
    let cases = cases![
        another_replica_leads_after_the_pod_of_the_leader_was_killed,
        a_restart_of_the_kubelet_changes_nothing,
        a_drain_evicts_one_replica_and_the_budget_keeps_the_other,
    ];
    cases.into_iter().map(|case| case.limit(LIMIT)).collect()
}

async fn another_replica_leads_after_the_pod_of_the_leader_was_killed(
    cluster: Arc<Cluster>,
) -> Result<(), Error> {
    cluster.release.install(2, json!({})).await?;
    let leader = cluster.leader_other_than("").await?;
    let load = Load::start(&cluster).await?;
    let pod = cluster.pods_api().get(&leader).await?;
    let uid = pod.uid().unwrap_or_default();
    let controllers = Node::controllers()?;
    let process = controllers.iter().find(|process| process.is_in(&uid));
    let process = process.ok_or_else(|| Error::Other(format!("{leader} has no process")))?;
    let killed = Instant::now();
    // The kubelet alone would send SIGTERM first, and the leader would release the Lease.
    process.kill()?;
    let at_once = DeleteParams::default().grace_period(0);
    cluster.pods_api().delete(&leader, &at_once).await?;
    let next = cluster.leader_other_than(&leader).await?;
    let takeover = killed.elapsed();
    cluster.release.rolled_out().await?;
    let repairs = load.finish().await?;
    crate::report(&format!(
        "{leader} was killed; {next} led after {:.1} s; {repairs}",
        takeover.as_secs_f64()
    ));
    Ok(())
}

async fn a_restart_of_the_kubelet_changes_nothing(cluster: Arc<Cluster>) -> Result<(), Error> {
    cluster.release.install(2, json!({})).await?;
    let leader = cluster.leader_other_than("").await?;
    let before = lives(&cluster).await?;
    let load = Load::start(&cluster).await?;
    let old = kubelet()?;
    old.kill()?;
    eventually("another kubelet", Duration::from_secs(20), || async {
        match kubelet() {
            Ok(fresh) if fresh.id != old.id => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    // It looks at every container again before it reports anything.
    tokio::time::sleep(Duration::from_secs(20)).await;
    cluster
        .kubectl
        .run(&["wait", "node/node1", "--for=condition=Ready", "--timeout=60s"])
        .await?;
    let repairs = load.finish().await?;
    let after = lives(&cluster).await?;
    let leads = cluster.leader().await?;
    if before != after || leads.as_ref() != Some(&leader) {
        return Err(Error::Other(format!(
            "pods before {before:?}, after {after:?}; {leader} led before, {leads:?} leads now"
        )));
    }
    crate::report(&format!("the kubelet was killed and restarted; {repairs}"));
    Ok(())
}

async fn a_drain_evicts_one_replica_and_the_budget_keeps_the_other(
    cluster: Arc<Cluster>,
) -> Result<(), Error> {
    cluster.release.install(2, json!({})).await?;
    let evicted = cluster.leader_other_than("").await?;
    let before = lives(&cluster).await?;
    let load = Load::start(&cluster).await?;
    let watch = Watch::start(cluster.clone());
    let selector = format!("--pod-selector={}", crate::pods::SELECTOR);
    let drain = [
        "drain",
        "node1",
        "--ignore-daemonsets",
        &selector,
        "--timeout=20s",
    ];
    // `kubectl drain` evicts in any order. The leader is the one that matters.
    cluster.kubectl.run(&["cordon", "node1"]).await?;
    let now = EvictParams::default();
    cluster.pods_api().evict(&evicted, &now).await?;
    let drained = cluster.kubectl.run(&drain).await;
    // The only node takes no pod now, so the evicted one is not replaced.
    let left = lives(&cluster).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let leader = cluster.leader().await?;
    cluster.kubectl.run(&["uncordon", "node1"]).await?;
    let gap = watch.longest_gap().await;
    cluster.release.rolled_out().await?;
    let repairs = load.finish().await?;
    let refused = match &drained {
        Err(Error::Command { output, .. }) => output.contains("disruption budget"),
        _ => false,
    };
    if !refused {
        return Err(Error::Other(format!("the drain was not refused: {drained:?}")));
    }
    if left.intersection(&before).count() != 1 {
        return Err(Error::Other(format!(
            "pods before {before:?}, after the drain {left:?}"
        )));
    }
    if leader.as_ref().is_none_or(|leader| *leader == evicted) || gap > HANDOVER {
        return Err(Error::Other(format!("no leader for {gap:?}; then {leader:?}")));
    }
    crate::report(&format!(
        "longest time without a leader: {:.1} s; {repairs}",
        gap.as_secs_f64()
    ));
    Ok(())
}

/// Uid and number of restarts of each running pod.
async fn lives(cluster: &Cluster) -> Result<BTreeSet<(String, i32)>, Error> {
    let running = |pod: &k8s_openapi::api::core::v1::Pod| {
        pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
    };
    let pods = cluster.pods().await?.into_iter().filter(running);
    let life = |pod: k8s_openapi::api::core::v1::Pod| {
        let statuses = pod
            .status
            .as_ref()
            .and_then(|status| status.container_statuses.as_ref());
        let restarts = statuses
            .into_iter()
            .flatten()
            .map(|status| status.restart_count)
            .sum();
        (pod.uid().unwrap_or_default(), restarts)
    };
    Ok(pods.map(life).collect())
}

fn kubelet() -> Result<Running, Error> {
    let first = Node::processes("kubelet")?.into_iter().next();
    first.ok_or_else(|| Error::Other("no kubelet runs".into()))
}
