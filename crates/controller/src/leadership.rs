//! The part of this process in the election: settings, identity, and the end of its leadership.

use std::{env, time::Instant};

use kube::Client;
use serverprotection_core::{gate::Gate, lease::Times};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    args::Args,
    context::Controlled,
    kind::Kind,
    lease::{Election, Ended, Signals},
    watch::Succession,
};

/// The times of an election.
///
/// # Errors
///
/// Says which flags do not fit together.
pub(crate) fn times(args: &Args) -> Result<Times, &'static str> {
    let times = Times {
        duration: args.lease_duration,
        renew_deadline: args.lease_renew_deadline,
        retry_period: args.lease_retry_period,
    };
    times.problem().map_or(Ok(times), Err)
}

/// The gate of this process: open from the start if there is no election.
pub(crate) fn gate(args: &Args) -> Gate {
    if args.no_leader_election {
        Gate::open()
    } else {
        Gate::leased(Instant::now)
    }
}

/// The election of this process. It has a connection of its own, so that requests for objects do not delay renewals.
///
/// # Errors
///
/// Fails if the connection cannot be set up.
pub(crate) fn election(
    args: &Args,
    config: kube::Config,
    times: Times,
    gate: Gate,
) -> Result<Election, kube::Error> {
    let pod_namespace = variable("POD_NAMESPACE");
    let namespace = args.lease_namespace.clone().or(pod_namespace);
    Ok(Election {
        namespace: namespace.unwrap_or_else(|| config.default_namespace.clone()),
        client: Client::try_from(config)?,
        name: args.lease_name.clone(),
        identity: identity(variable("POD_NAME"), variable("POD_UID"), variable("HOSTNAME")),
        times,
        gate,
    })
}

/// The leadership of this process, or its wait for it.
pub(crate) struct Leader {
    /// `None` without an election.
    task: Option<JoinHandle<Ended>>,
    signals: Signals,
}

impl Leader {
    /// Takes part in the election. Without one, this process is the leader at once.
    pub(crate) fn start(args: &Args, election: Election, signals: Signals) -> Self {
        let task = if args.no_leader_election {
            signals.elected.cancel();
            None
        } else {
            Some(tokio::spawn(election.run(signals.clone())))
        };
        Self { task, signals }
    }

    /// Waits until the lease is lost.
    pub(crate) async fn lost(&mut self) {
        if let Some(task) = &mut self.task {
            let ended = task.await;
            self.task = None;
            if !matches!(ended, Ok(Ended::Released)) {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// Gives the lease back, or the candidacy up.
    pub(crate) async fn resign(&mut self) {
        let Some(task) = self.task.take() else { return };
        self.signals.release.cancel();
        if !self.signals.elected.is_cancelled() {
            task.abort();
        }
        // It ends after the request that releases the lease, which has a time-out.
        let _ = task.await;
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Names this replica. A container that starts again in its pod keeps the name, and with it the lease: its predecessor
/// has ended. Two pods never have the same uid.
fn identity(pod: Option<String>, uid: Option<String>, host: Option<String>) -> String {
    match (pod, uid) {
        (Some(pod), Some(uid)) => format!("{pod}_{uid}"),
        (pod, _) => {
            let name = pod.or(host).unwrap_or_else(|| "serverprotection".into());
            format!("{name}_{}", uuid::Uuid::new_v4())
        }
    }
}

/// How the watch of a kind goes on when this process becomes the leader.
pub(crate) fn succession<K: Kind>(own: &Controlled<K>, elected: &CancellationToken) -> Succession {
    let own = own.clone();
    Succession {
        elected: elected.clone(),
        begin: Box::new(move || own.begin_to_lead()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pod_that_starts_again_keeps_its_name() {
        let some = |text: &str| Some(text.to_owned());
        let pod = || identity(some("pod-1"), some("uid"), some("pod-1"));
        assert_eq!(pod(), "pod-1_uid");
        assert_eq!(pod(), pod());
        let outside = || identity(None, None, some("laptop"));
        assert!(outside().starts_with("laptop_"));
        assert_ne!(outside(), outside());
        let without_uid = || identity(some("pod-1"), None, some("pod-1"));
        assert_ne!(without_uid(), without_uid());
    }
}
