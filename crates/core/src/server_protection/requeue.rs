//! When an object is reconciled again.

use std::time::Duration;

use k8s_openapi::jiff::SignedDuration;

use super::{
    changes::Action,
    decide::{Decision, Input, Outcome, Situation, tries_everything},
    history::ReconcileHistory,
    refused::Refused,
};
use crate::{claims, contested::later, retry};

/// Updates what the process keeps in memory after a reconcile.
pub fn update_history(input: &Input<'_>, decision: &Decision, outcome: &Outcome) -> ReconcileHistory {
    let mut history = input.history.clone();
    history.reconciles += 1;
    history.verifying = !outcome.done.is_empty() && outcome.failed.is_none();
    let failure = match (&decision.situation, &outcome.failed) {
        (Situation::Failing(failure), _) | (_, Some((_, failure))) => Some(failure),
        _ => None,
    };
    history.failures = match failure {
        Some(failure) if failure.class.is_transient() => history.failures.saturating_add(1),
        _ => 0,
    };
    history.registration_polls = match decision.situation {
        Situation::Registering { .. } => history.registration_polls.saturating_add(1),
        _ => 0,
    };
    if matches!(
        decision.situation,
        Situation::InSync | Situation::Observing | Situation::Contested | Situation::ManagedElsewhere { .. }
    ) {
        history.writes.clear();
    }
    history.writes.add(outcome, input.now);
    history.refused = refused_before(input, decision)
        .after(outcome, &decision.differences)
        .0;
    schedule_extension_retry(&mut history, input, decision, outcome);
    if decision.situation != Situation::Suspended {
        history.reconciled = Some(input.spec.into());
    }
    history
}

/// What Azure had refused before the writes of this reconcile.
fn refused_before(input: &Input<'_>, decision: &Decision) -> Refused {
    let in_sync = matches!(decision.situation, Situation::InSync | Situation::Observing);
    if in_sync || tries_everything(input) {
        return Refused::default();
    }
    input.history.refused.clone()
}

fn schedule_extension_retry(
    history: &mut ReconcileHistory,
    input: &Input<'_>,
    decision: &Decision,
    outcome: &Outcome,
) {
    if decision.situation == Situation::InSync {
        history.extension_retry_at = None;
        history.extension_retries = 0;
    }
    let failed_now = outcome
        .response
        .as_ref()
        .is_some_and(|answer| answer.results.iter().any(|result| !result.succeeded()));
    let waits = matches!(decision.situation, Situation::ExtensionFailed { .. });
    if failed_now || (waits && history.extension_retry_at.is_none()) {
        let doubled = input
            .timeouts
            .blocked_retry_interval
            .saturating_mul(1 << history.extension_retries.min(4));
        let pause = SignedDuration::try_from(doubled).unwrap_or(SignedDuration::MAX);
        history.extension_retry_at = Some(later(input.now, pause));
        history.extension_retries = history.extension_retries.saturating_add(1);
    }
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
    if let Some((_, failure)) = &outcome.failed {
        // What Azure refused must not keep the rest waiting.
        if refused_before(input, decision)
            .after(outcome, &decision.differences)
            .1
        {
            return Duration::ZERO;
        }
        return retry::after_write(&failure.class, history.failures.max(1), slow, jitter);
    }
    if !outcome.done.is_empty() {
        let registers = outcome
            .done
            .iter()
            .any(|change| change.action == Action::Register);
        return if registers {
            retry::registration(1)
        } else {
            Duration::ZERO
        };
    }
    match &decision.situation {
        Situation::Failing(failure) => retry::after(&failure.class, history.failures.max(1), slow, jitter),
        Situation::Registering { stuck: false } => retry::registration(history.registration_polls),
        Situation::Settling => history.writes.pause(),
        Situation::InSync
        | Situation::Observing
        | Situation::Contested
        | Situation::ManagedElsewhere { .. } => retry::spread(interval, jitter),
        Situation::Suspended => input.claim.suspended_interval(),
        // One proof for each interval, but not more than one in five minutes.
        Situation::ClaimConflicted { .. } => retry::spread(interval.max(slow), jitter),
        Situation::ClaimReserved(until) => claims::until(*until, input.now).min(interval.max(slow)),
        Situation::RegistrationMissing
        | Situation::Registering { stuck: true }
        | Situation::NeedsApproval(_)
        | Situation::ExtensionFailed { .. }
        | Situation::Writing => retry::spread(slow, jitter),
    }
}
