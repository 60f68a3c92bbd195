//! The leader among the replicas, as its Lease names it.

use crate::setting::Cluster;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    jiff::Timestamp,
};
use kube::{Api, ResourceExt};
use serverprotection_tests::{Error, users::CONTROLLER_NAMESPACE, wait::eventually};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::oneshot, task::JoinHandle};

/// The Lease of the replicas.
const LEASE: &str = "serverprotection-controller";
/// Time limit of a takeover: the lease lapses after 15 s.
const TAKEOVER: Duration = Duration::from_secs(40);
/// Pause between two looks at the Lease.
const PAUSE: Duration = Duration::from_millis(200);

impl Cluster {
    /// The name of the pod that leads, if the Lease has not lapsed.
    pub(crate) async fn leader(&self) -> Result<Option<String>, Error> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), CONTROLLER_NAMESPACE);
        let spec = leases.get_opt(LEASE).await?.and_then(|lease| lease.spec);
        Ok(spec.as_ref().and_then(current_holder))
    }

    /// Waits for a leader other than a pod. After an upgrade, a pod that is ending may lead for another moment; it does
    /// not count.
    pub(crate) async fn leader_other_than(&self, pod: &str) -> Result<String, Error> {
        let what = format!("a leader other than {pod:?} whose pod stays");
        eventually(&what, TAKEOVER, || async {
            let pods = self.pods().await.map_err(|error| error.to_string())?;
            let stays = |name: &str| pods.iter().any(|pod| pod.name_any() == name);
            match self.leader().await {
                Ok(Some(leader)) if leader != pod && stays(&leader) => Ok(leader),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }
}

/// The pod in a Lease that has not lapsed. The holder is `POD_UID`.
fn current_holder(lease: &LeaseSpec) -> Option<String> {
    let age = Timestamp::now().duration_since(lease.renew_time.as_ref()?.0);
    let (pod, _) = lease.holder_identity.as_ref()?.split_once('_')?;
    (age.as_secs() < i64::from(lease.lease_duration_seconds?)).then(|| pod.to_owned())
}

/// Measures the longest time without a leader.
pub(crate) struct Watch {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Duration>,
}

impl Watch {
    pub(crate) fn start(cluster: Arc<Cluster>) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let (mut longest, mut led) = (Duration::ZERO, Instant::now());
            loop {
                if matches!(cluster.leader().await, Ok(Some(_))) {
                    led = Instant::now();
                }
                longest = longest.max(led.elapsed());
                tokio::select! {
                    _ = &mut stopped => return longest,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        });
        Self { stop, task }
    }

    /// The longest time without a leader since the start.
    pub(crate) async fn longest_gap(self) -> Duration {
        let _ = self.stop.send(());
        self.task.await.unwrap_or(Duration::MAX)
    }
}
