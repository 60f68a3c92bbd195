//! The election of the replica that may write, by a Lease. `core::lease` decides; this module talks to the API server.
//!
//! Why not a crate: kube-leader-election and kube-lease-manager compare the clocks of different nodes or write without
//! a precondition, and kubert is built for an old kube.

use std::time::{Duration, Instant};

use futures::{Stream, StreamExt, future::ready};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serverprotection_core::{
    gate::Gate,
    lease::{Seen, Step, Times, decide},
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::kube_error;

/// Time for the request that releases the lease.
const RELEASE_WITHIN: Duration = Duration::from_secs(3);

/// How a leadership ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Another replica has the lease, or it could not be renewed in time.
    Lost,
    /// This process gave it back.
    Released,
}

/// A candidate, and then the leader.
pub(crate) struct Election {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Differs between replicas.
    pub(crate) identity: String,
    pub(crate) times: Times,
    /// Open while this process is the leader.
    pub(crate) gate: Gate,
}

/// The signals between an election and the rest of the process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    /// Set when this process is the leader.
    pub(crate) elected: CancellationToken,
    /// Set when the leader does not write any more: the lease is given back.
    pub(crate) release: CancellationToken,
}

impl Election {
    /// Waits until this process is the leader, and returns when it is not the leader any more.
    pub(crate) async fn run(self, signals: Signals) -> Ended {
        let api = Api::namespaced(self.client.clone(), &self.namespace);
        let mut candidate = Candidate {
            election: self,
            api,
            seen: None,
        };
        let began = candidate.acquire().await;
        signals.elected.cancel();
        tokio::select! {
            () = candidate.hold(began) => {
                candidate.election.gate.close();
                tracing::error!(
                    lease = candidate.election.name,
                    "the lease is lost; this process ends and starts again as a standby"
                );
                Ended::Lost
            }
            () = signals.release.cancelled() => {
                candidate.release().await;
                Ended::Released
            }
        }
    }
}

struct Candidate {
    election: Election,
    api: Api<Lease>,
    seen: Option<Seen>,
}

/// What a try to get or renew the lease led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    /// This process has it.
    Held,
    /// Another process has it for this long, unless it renews it.
    HeldByAnother(Duration),
    /// It changed meanwhile.
    Changed,
}

/// A try that did not succeed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{}", kube_error::described(.0))]
    Kube(#[from] kube::Error),
    #[error("no answer in time")]
    TimedOut,
}

impl Candidate {
    /// Returns when this process is the leader, with the time since when. A standby watches the lease and asks for it
    /// when it ends or is released.
    async fn acquire(&mut self) -> Instant {
        let events = watch(&self.api, &self.election.name);
        tokio::pin!(events);
        let mut holder = None;
        loop {
            let began = Instant::now();
            let wait = match self.within(self.election.times.renew_deadline).await {
                Ok(Tried::Held) => {
                    self.renewed(began);
                    tracing::info!(
                        lease = self.election.name,
                        identity = self.election.identity,
                        "this process is the leader"
                    );
                    return began;
                }
                Ok(Tried::HeldByAnother(wait)) => wait,
                Ok(Tried::Changed) => self.election.times.retry_period,
                Err(error) => {
                    tracing::warn!(%error, lease = self.election.name, "cannot get the lease; retrying");
                    self.election.times.retry_period
                }
            };
            self.log_holder(&mut holder);
            self.sleep(wait, &mut events).await;
        }
    }

    /// Waits until the lease ends by what the watch delivers. Without a watch, it is read when it would end.
    async fn sleep(&mut self, mut wait: Duration, events: &mut (impl Stream<Item = Lease> + Unpin)) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => return,
                Some(lease) = events.next() => {
                    self.observe(Some(lease));
                    match decide(self.seen.as_ref(), &self.election.identity, Instant::now()) {
                        Step::Wait(left) => wait = left,
                        Step::Create | Step::Take | Step::Renew => return,
                    }
                }
            }
        }
    }

    /// Renews the lease until that fails.
    async fn hold(&mut self, mut renewed: Instant) {
        let times = self.election.times;
        loop {
            tokio::time::sleep(times.retry_period).await;
            let left = times.renew_deadline.saturating_sub(renewed.elapsed());
            if left.is_zero() {
                return;
            }
            let began = Instant::now();
            match self.within(left).await {
                Ok(Tried::Held) => {
                    renewed = began;
                    self.renewed(began);
                }
                Ok(Tried::Changed) => {}
                Ok(Tried::HeldByAnother(_)) => {
                    tracing::error!(lease = self.election.name, "another process has the lease");
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, lease = self.election.name, "cannot renew the lease; retrying");
                }
            }
        }
    }

    /// The lease counts from when the request was sent: the others cannot have seen it earlier.
    fn renewed(&self, began: Instant) {
        if let Some(until) = began.checked_add(self.election.times.renew_deadline) {
            self.election.gate.renewed(until);
        }
    }

    /// Gives the lease back, so that another replica need not wait until it ends.
    async fn release(&mut self) {
        self.election.gate.close();
        let released = timeout(RELEASE_WITHIN, async {
            self.observe(self.api.get_opt(&self.election.name).await?);
            if self
                .seen
                .as_ref()
                .is_none_or(|seen| seen.holder != self.election.identity)
            {
                return Ok(());
            }
            let spec = LeaseSpec {
                holder_identity: Some(String::new()),
                lease_duration_seconds: Some(1),
                renew_time: Some(MicroTime(Timestamp::now())),
                ..LeaseSpec::default()
            };
            self.write(spec).await
        });
        match released.await {
            Ok(Ok(())) => tracing::info!(lease = self.election.name, "the lease is released"),
            // An uninstallation removes the permissions before the process ends.
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                tracing::info!(
                    lease = self.election.name,
                    "the lease may not be released; it ends by itself"
                );
            }
            Ok(Err(error)) => {
                let error = kube_error::described(&error);
                tracing::warn!(error, "cannot release the lease; it ends by itself");
            }
            Err(_) => tracing::warn!("cannot release the lease in time; it ends by itself"),
        }
    }

    async fn within(&mut self, limit: Duration) -> Result<Tried, Failure> {
        match timeout(limit, self.step()).await {
            Ok(tried) => Ok(tried?),
            Err(_) => Err(Failure::TimedOut),
        }
    }

    /// Reads the lease, and writes it if this process may have it.
    async fn step(&mut self) -> kube::Result<Tried> {
        let lease = self.api.get_opt(&self.election.name).await?;
        let known = lease.as_ref().and_then(|lease| lease.spec.clone());
        self.observe(lease);
        let step = decide(self.seen.as_ref(), &self.election.identity, Instant::now());
        if let Step::Wait(left) = step {
            return Ok(Tried::HeldByAnother(left));
        }
        let spec = self.claim(step, known.unwrap_or_default());
        match self.write(spec).await {
            Ok(()) => Ok(Tried::Held),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Tried::Changed),
            Err(error) => Err(error),
        }
    }

    /// The lease as this process writes it.
    fn claim(&self, step: Step, known: LeaseSpec) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let renews = step == Step::Renew;
        let transitions = known.lease_transitions.unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.election.identity.clone()),
            lease_duration_seconds: i32::try_from(self.election.times.duration.as_secs()).ok(),
            acquire_time: known
                .acquire_time
                .filter(|_| renews)
                .or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions.saturating_add(i32::from(step == Step::Take))),
            ..LeaseSpec::default()
        }
    }

    /// Writes the lease only if it is still as it was read.
    async fn write(&mut self, spec: LeaseSpec) -> kube::Result<()> {
        let name = self.election.name.clone();
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                resource_version: self.seen.as_ref().map(|seen| seen.version.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(spec),
        };
        let parameters = PostParams::default();
        let written = match self.seen {
            None => self.api.create(&parameters, &lease).await?,
            Some(_) => self.api.replace(&name, &parameters, &lease).await?,
        };
        self.observe(Some(written));
        Ok(())
    }

    fn observe(&mut self, lease: Option<Lease>) {
        self.seen = lease.map(|lease| {
            let version = lease.metadata.resource_version.unwrap_or_default();
            let spec = lease.spec.unwrap_or_default();
            let before = self.seen.as_ref().filter(|seen| seen.version == version);
            let seconds = u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
            Seen {
                changed_at: before.map_or_else(Instant::now, |seen| seen.changed_at),
                version,
                holder: spec.holder_identity.unwrap_or_default(),
                duration: Duration::from_secs(seconds),
            }
        });
    }

    fn log_holder(&self, logged: &mut Option<String>) {
        let holder = self.seen.as_ref().map(|seen| seen.holder.clone());
        if holder.is_some() && holder != *logged {
            tracing::info!(
                lease = self.election.name,
                leader = holder,
                "this process is a standby; another one is the leader"
            );
            *logged = holder;
        }
    }
}

/// The versions of the lease. A watch that does not work is retried and costs only time.
fn watch(api: &Api<Lease>, name: &str) -> impl Stream<Item = Lease> + use<> {
    let one = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let events = watcher(api.clone(), one).default_backoff();
    events.filter_map(|event| {
        ready(match event {
            Ok(Event::Apply(lease) | Event::InitApply(lease)) => Some(lease),
            Ok(Event::Init | Event::InitDone | Event::Delete(_)) => None,
            Err(error) => {
                tracing::debug!(error = kube_error::described(&error), "watch of the lease failed");
                None
            }
        })
    })
}
