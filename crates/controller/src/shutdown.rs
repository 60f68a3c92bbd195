//! How the process ends: by a signal, by a lost lease, or because a control loop ended.

use std::time::Duration;

use serverprotection_core::gate::Gate;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{leadership::Leader, run::Error};

/// Time that running reconciles get to finish after a signal. Shorter than the pod's grace period of 30 s.
const DRAIN: Duration = Duration::from_secs(20);

/// Waits until one control loop ends unexpectedly or, after the signal, until all have finished their reconciles.
pub(crate) async fn finished(mut controls: JoinSet<()>, stop: CancellationToken) {
    while let Some(ended) = controls.join_next().await {
        if let Err(error) = &ended {
            tracing::error!(%error, "control loop ended with an error");
        }
        if ended.is_err() || !stop.is_cancelled() {
            return;
        }
    }
}

/// Waits for a signal, then lets running reconciles finish and gives the lease back; a second signal skips the wait. If
/// the lease is lost, nothing is waited for. If a control loop ends unexpectedly, the process ends, so that Kubernetes
/// restarts it. A panic of one reconcile does not end the loop.
pub(crate) async fn until_stopped(
    mut control: tokio::task::JoinHandle<()>,
    leader: &mut Leader,
    stop: &CancellationToken,
    gate: &Gate,
) -> Result<(), Error> {
    let mut drained = false;
    let ended = tokio::select! {
        () = signal() => {
            tracing::info!("shutting down; waiting for running reconciles");
            stop.cancel();
            tokio::select! {
                _ = &mut control => drained = true,
                () = leader.lost() => {}
                () = tokio::time::sleep(DRAIN) => {
                    tracing::warn!(
                        timeout_seconds = DRAIN.as_secs(),
                        "reconciles still running; unfinished writes are completed after the next start"
                    );
                }
                () = signal() => tracing::warn!("second signal; not waiting for running reconciles"),
            }
            Ok(())
        }
        () = leader.lost() => Err(Error::LeaseLost),
        ended = &mut control => {
            let error = ended.err().map(|error| error.to_string());
            tracing::error!(error, "control loop ended unexpectedly");
            Err(Error::Ended)
        }
    };
    // Reconciles that are still running may not write any more.
    gate.close();
    stop.cancel();
    // A request that is still on its way must not meet those of the next leader: then the lease ends by itself.
    if drained {
        leader.resign().await;
    }
    ended
}

/// SIGTERM or SIGINT.
pub(crate) async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signal handlers cannot be installed; stop the process with SIGKILL");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
