//! When an object is reconciled again, and what a process keeps in memory for that. Losing the memory costs a few
//! reads, never correctness (I-6).

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::jiff::SignedDuration;

use super::{
    changes::{Action, Change},
    contested,
    decide::{Decision, Input, Outcome, Situation},
};
use crate::{Timestamp, azure_error::ErrorClass, retry};

/// Intervals and deadlines of the installation.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// The retry interval for errors that need user action; at most five minutes.
    pub blocked_retry_interval: Duration,
    /// A registration that takes longer than this counts as stuck.
    pub registration_timeout: Duration,
    /// The deadline of a deletion, after which the finalizer is removed (I-8).
    pub deletion_deadline: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            blocked_retry_interval: Duration::from_secs(300),
            registration_timeout: Duration::from_secs(1800),
            deletion_deadline: Duration::from_secs(900),
        }
    }
}

/// What a process keeps in memory about an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReconcileHistory {
    /// The number of reconciles so far.
    pub reconciles: u64,
    /// Whether the last reconcile wrote, so that this one reads back.
    pub verifying: bool,
    /// Consecutive transient failures.
    pub failures: u32,
    /// The number of reads of a registration in progress.
    pub registration_polls: u32,
    /// Fields written since Azure was last in sync, with the demanded values.
    pub written: BTreeMap<String, String>,
    /// Rounds of writes since Azure was last in sync.
    pub rounds: u32,
    /// The last write.
    pub last_write: Option<Timestamp>,
    /// When a failed extension is switched on again.
    pub extension_retry_at: Option<Timestamp>,
    /// The number of such retries so far.
    pub extension_retries: u32,
}

/// Whether every value that a change would write was just written without a visible effect.
pub(super) fn is_settling(input: &Input<'_>, change: &Change) -> bool {
    let again = !change.fields.is_empty()
        && change
            .fields
            .iter()
            .all(|difference| input.history.written.get(&difference.field) == Some(&difference.desired));
    let waited = input
        .history
        .last_write
        .map_or(SignedDuration::MAX, |at| input.now.duration_since(at));
    let pause = settling_pause(input.history);
    again && input.requested.is_none() && SignedDuration::try_from(pause).is_ok_and(|pause| waited < pause)
}

fn settling_pause(history: &ReconcileHistory) -> Duration {
    retry::after(&ErrorClass::Conflict, history.rounds, Duration::ZERO, 0.5)
}

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
        Situation::InSync | Situation::Observing | Situation::Contested
    ) {
        history.written.clear();
        history.rounds = 0;
    }
    if !outcome.done.is_empty() {
        history.rounds = history.rounds.saturating_add(1);
        history.last_write = Some(input.now);
        let fields = outcome.done.iter().flat_map(|change| &change.fields);
        history
            .written
            .extend(fields.map(|field| (field.field.clone(), field.desired.clone())));
    }
    schedule_extension_retry(&mut history, input, decision, outcome);
    history
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
        .plan
        .as_ref()
        .is_some_and(|answer| answer.results.iter().any(|result| !result.succeeded()));
    let waits = matches!(decision.situation, Situation::ExtensionFailed { .. });
    if failed_now || (waits && history.extension_retry_at.is_none()) {
        let doubled = input
            .timeouts
            .blocked_retry_interval
            .saturating_mul(1 << history.extension_retries.min(4));
        let pause = SignedDuration::try_from(doubled).unwrap_or(SignedDuration::MAX);
        history.extension_retry_at = Some(contested::later(input.now, pause));
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
        Situation::Settling => settling_pause(history),
        Situation::InSync | Situation::Observing | Situation::Contested => retry::spread(interval, jitter),
        Situation::Suspended => Duration::from_secs(24 * 3600),
        Situation::ClaimConflicted { .. }
        | Situation::RegistrationMissing
        | Situation::Registering { stuck: true }
        | Situation::NeedsApproval(_)
        | Situation::ExtensionFailed { .. }
        | Situation::Writing => retry::spread(slow, jitter),
    }
}
