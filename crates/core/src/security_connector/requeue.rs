//! When an object is reconciled again. Losing the memory costs a few reads and at most one write, never correctness
//! (I-6).

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::jiff::SignedDuration;

use super::{
    account,
    changes::Change,
    cloud,
    decide::{Decision, Input, Observation, Outcome, Situation, is_put, target},
};
use crate::{Timestamp, azure_error::ErrorClass, retry, server_protection::contested::later};

/// What a process keeps in memory about an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReconcileHistory {
    /// The number of reconciles so far.
    pub reconciles: u64,
    /// Whether the last reconcile wrote the connector, so that this one reads it back.
    pub verifying: bool,
    /// Whether the last reconcile found no connector and did not create one.
    pub absent: bool,
    /// Consecutive transient failures.
    pub failures: u32,
    /// Fields written since Azure was last in sync, with the demanded values.
    pub written: BTreeMap<String, String>,
    /// Rounds of writes since Azure was last in sync.
    pub rounds: u32,
    /// The last write.
    pub last_write: Option<Timestamp>,
    /// Consecutive writes that failed because Azure cannot sign in to the account.
    pub cloud_failures: u32,
    /// Such a write is not attempted again before this time.
    pub cloud_retry_at: Option<Timestamp>,
    /// Accounts of the organization's members, as the connectors were last listed.
    pub members: Vec<String>,
}

/// The pause after the n-th failure to sign in to the account: 5, 10, then 15 minutes. The account's owner must fix
/// the cause, and each attempt costs a write and a minute of the service's time.
pub fn cloud_pause(failures: u32) -> Duration {
    Duration::from_secs(300).saturating_mul(failures.clamp(1, 3))
}

/// Whether that pause is not over yet.
pub(super) fn waits_for_cloud(input: &Input<'_>) -> bool {
    let edited = input.previous.observed_generation != Some(input.generation);
    let waits = input.history.cloud_retry_at.is_some_and(|at| at > input.now);
    waits && !edited && input.requested.is_none()
}

/// Whether every value that a change would write was just written without a visible effect.
pub(super) fn is_settling(input: &Input<'_>, change: &Change) -> bool {
    let written = &input.history.written;
    let again = change
        .fields
        .iter()
        .all(|difference| written.get(&difference.field) == Some(&difference.desired));
    let waited = input
        .history
        .last_write
        .map_or(SignedDuration::MAX, |at| input.now.duration_since(at));
    let pause = SignedDuration::try_from(settling_pause(input.history)).unwrap_or(SignedDuration::MAX);
    again && input.requested.is_none() && waited < pause
}

fn settling_pause(history: &ReconcileHistory) -> Duration {
    retry::after(&ErrorClass::Conflict, history.rounds, Duration::ZERO, 0.5)
}

/// Updates what the process keeps in memory after a reconcile.
pub fn update_history(input: &Input<'_>, decision: &Decision, outcome: &Outcome) -> ReconcileHistory {
    let mut history = input.history.clone();
    history.reconciles += 1;
    history.verifying = outcome.failed.is_none() && outcome.done.iter().any(is_put);
    history.absent = match input.observation {
        Observation::Azure(observed) => matches!(observed.connector, Some(Ok(None))) && !history.verifying,
        _ => history.absent,
    };
    if let (Observation::Azure(observed), Some(target)) = (input.observation, target(input))
        && let Some(Ok(others)) = &observed.others
    {
        history.members = account::member_accounts(&target, others);
    }
    let failed = outcome.failed.as_ref().map(|(_, failure)| failure);
    let failure = match &decision.situation {
        Situation::Failing(failure) => Some(failure),
        _ => failed,
    };
    history.failures = match failure {
        Some(failure) if failure.class.is_transient() => history.failures.saturating_add(1),
        _ => 0,
    };
    if matches!(
        decision.situation,
        Situation::InSync | Situation::Observing | Situation::Contested
    ) {
        history = ReconcileHistory {
            reconciles: history.reconciles,
            absent: history.absent,
            members: history.members,
            ..ReconcileHistory::default()
        };
    }
    if !outcome.done.is_empty() {
        history.rounds = history.rounds.saturating_add(1);
        history.last_write = Some(input.now);
        let fields = outcome.done.iter().flat_map(|change| &change.fields);
        history
            .written
            .extend(fields.map(|field| (field.field.clone(), field.desired.clone())));
    }
    if failed.is_some_and(cloud::is_authentication) {
        history.cloud_failures = history.cloud_failures.saturating_add(1);
        let pause = cloud_pause(history.cloud_failures);
        let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
        history.cloud_retry_at = Some(later(input.now, pause));
    } else if !outcome.done.is_empty() {
        (history.cloud_failures, history.cloud_retry_at) = (0, None);
    }
    history
}

/// The delay until the next reconcile. `history` is the result of `update_history`; `jitter` is between 0 and 1.
pub fn requeue_after(
    input: &Input<'_>,
    decision: &Decision,
    outcome: &Outcome,
    history: &ReconcileHistory,
    interval: Duration,
    jitter: f64,
) -> Duration {
    let slow = input.timeouts.blocked_retry_interval;
    let waiting = || {
        let left = history.cloud_retry_at.map_or(slow, |at| {
            Duration::try_from(at.duration_since(input.now)).unwrap_or_default()
        });
        // The jitter only adds, so that no attempt is early and many objects do not retry at once.
        retry::scaled(left, 0.1f64.mul_add(jitter.clamp(0.0, 1.0), 1.0))
    };
    if let Some((_, failure)) = &outcome.failed {
        return if cloud::is_authentication(failure) {
            waiting()
        } else {
            retry::after_write(&failure.class, history.failures.max(1), slow, jitter)
        };
    }
    if !outcome.done.is_empty() {
        return Duration::ZERO;
    }
    match &decision.situation {
        Situation::Failing(failure) => retry::after(&failure.class, history.failures.max(1), slow, jitter),
        Situation::AwaitingRegistration => retry::REGISTRATION_POLL,
        Situation::WaitingForCloud => waiting(),
        Situation::Settling => settling_pause(history),
        Situation::InSync | Situation::Observing | Situation::Contested => retry::spread(interval, jitter),
        Situation::Suspended => Duration::from_secs(24 * 3600),
        Situation::Blocked(_) | Situation::NeedsApproval(_) | Situation::Writing => {
            retry::spread(slow, jitter)
        }
    }
}
