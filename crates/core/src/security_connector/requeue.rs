//! When an object is reconciled again.

use std::time::Duration;

use k8s_openapi::jiff::SignedDuration;

use super::{
    account,
    arc_providers::{self, is_registration},
    cloud,
    decide::{Blocker, Decision, Input, Observation, Outcome, Situation, is_put, own_writes, target},
    history::ReconcileHistory,
};
use crate::{azure_error::AzureError, claims, contested::later, retry};

/// When an object that waits for the creation of another one for the same account tries again.
const ACCOUNT_POLL: Duration = Duration::from_secs(5);

/// The pause after the n-th failure to sign in to the account: 5, 10, then 15 minutes. The account's owner must fix
/// the cause, and each attempt costs a write and a minute of the service's time.
pub fn cloud_pause(failures: u32) -> Duration {
    Duration::from_secs(300).saturating_mul(failures.clamp(1, 3))
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
    if let Observation::Azure(observed) = input.observation {
        history.unregistered = arc_providers::left(input, observed, outcome);
    }
    let failed = main_failure(outcome);
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
            unregistered: history.unregistered,
            ..ReconcileHistory::default()
        };
    }
    history.writes.add(outcome, input.now);
    if failed.is_some_and(|failure| cloud::sign_in_cause(failure).is_some()) {
        history.cloud_failures = history.cloud_failures.saturating_add(1);
        let pause = cloud_pause(history.cloud_failures);
        let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
        history.cloud_retry_at = Some(later(input.now, pause));
    } else if !outcome.done.is_empty() {
        (history.cloud_failures, history.cloud_retry_at) = (0, None);
    }
    if decision.situation != Situation::Suspended {
        history.reconciled = Some(input.spec.into());
    }
    history
}

/// The error of a write that the object depends on.
fn main_failure(outcome: &Outcome) -> Option<&AzureError> {
    own_writes(outcome).1
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
    if let Some(failure) = main_failure(outcome) {
        return if cloud::sign_in_cause(failure).is_some() {
            waiting()
        } else {
            retry::after_write(&failure.class, history.failures.max(1), slow, jitter)
        };
    }
    if !outcome.done.iter().all(is_registration) {
        return Duration::ZERO;
    }
    match &decision.situation {
        Situation::Failing(failure) => retry::after(&failure.class, history.failures.max(1), slow, jitter),
        Situation::AwaitingRegistration => retry::REGISTRATION_POLL,
        Situation::WaitingForCloud => waiting(),
        Situation::Settling => history.writes.pause(),
        Situation::InSync | Situation::Observing | Situation::Contested => retry::spread(interval, jitter),
        Situation::Suspended => input.claim.suspended_interval(),
        // One proof for each interval, but not more than one in five minutes.
        Situation::Blocked(Blocker::ClaimConflicted { .. }) => retry::spread(interval.max(slow), jitter),
        Situation::ClaimReserved(until) => claims::until(*until, input.now).min(interval.max(slow)),
        Situation::AwaitingAccount => retry::spread(ACCOUNT_POLL, jitter),
        Situation::AwaitingProtection(_)
        | Situation::Blocked(_)
        | Situation::NeedsApproval(_)
        | Situation::Writing => retry::spread(slow, jitter),
    }
}
