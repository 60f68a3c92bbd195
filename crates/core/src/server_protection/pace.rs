//! How an object's visits are paced: what a process remembers between them, and when to come back. Losing the memory
//! costs a few reads, never correctness (law 6).

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::jiff::SignedDuration;

use super::{
    changes::{Action, Change},
    contested,
    decide::{Decision, Input, Outcome, Situation},
};
use crate::{Timestamp, failure::Class, retry};

/// Clocks of the installation.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// Between tries where a human must mend something; at most five minutes.
    pub slow_retry: Duration,
    /// After this long in Registering a registration counts as stuck.
    pub registration_timeout: Duration,
    /// After this long a deletion that Azure does not let happen lets go (law 8).
    pub deletion_deadline: Duration,
}

impl Default for Clocks {
    fn default() -> Self {
        Self {
            slow_retry: Duration::from_secs(300),
            registration_timeout: Duration::from_secs(1800),
            deletion_deadline: Duration::from_secs(900),
        }
    }
}

/// What a process remembers of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// Visits so far.
    pub visits: u64,
    /// The last visit wrote, so that this one only reads back.
    pub verifying: bool,
    /// Failures in a row that time mends.
    pub failures: u32,
    /// Looks at a running registration.
    pub registration_polls: u32,
    /// Fields written since Azure was last in sync, with what was demanded.
    pub written: BTreeMap<String, String>,
    /// Rounds of writes since Azure was last in sync.
    pub rounds: u32,
    /// The last write.
    pub last_write: Option<Timestamp>,
    /// When a failed extension is switched on once more.
    pub extension_retry_at: Option<Timestamp>,
    /// Such retries so far.
    pub extension_retries: u32,
}

/// Whether everything that a change would write was just written in vain.
pub(super) fn is_settling(input: &Input<'_>, change: &Change) -> bool {
    let again = !change.fields.is_empty()
        && change
            .fields
            .iter()
            .all(|difference| input.memory.written.get(&difference.field) == Some(&difference.desired));
    let waited = input
        .memory
        .last_write
        .map_or(SignedDuration::MAX, |at| input.now.duration_since(at));
    let pause = settling_pause(input.memory);
    again && input.requested.is_none() && SignedDuration::try_from(pause).is_ok_and(|pause| waited < pause)
}

fn settling_pause(memory: &Memory) -> Duration {
    retry::after(&Class::Conflict, memory.rounds, Duration::ZERO, 0.5)
}

/// What the process remembers after the visit.
pub fn remember(input: &Input<'_>, decision: &Decision, outcome: &Outcome) -> Memory {
    let mut memory = input.memory.clone();
    memory.visits += 1;
    memory.verifying = !outcome.done.is_empty() && outcome.failed.is_none();
    let failure = match (&decision.situation, &outcome.failed) {
        (Situation::Failing(failure), _) | (_, Some((_, failure))) => Some(failure),
        _ => None,
    };
    memory.failures = match failure {
        Some(failure) if failure.class.is_transient() => memory.failures.saturating_add(1),
        _ => 0,
    };
    memory.registration_polls = match decision.situation {
        Situation::Registering { .. } => memory.registration_polls.saturating_add(1),
        _ => 0,
    };
    if matches!(
        decision.situation,
        Situation::InSync | Situation::Observing | Situation::Contested
    ) {
        memory.written.clear();
        memory.rounds = 0;
    }
    if !outcome.done.is_empty() {
        memory.rounds = memory.rounds.saturating_add(1);
        memory.last_write = Some(input.now);
        let fields = outcome.done.iter().flat_map(|change| &change.fields);
        memory
            .written
            .extend(fields.map(|field| (field.field.clone(), field.desired.clone())));
    }
    remember_extension_retry(&mut memory, input, decision, outcome);
    memory
}

fn remember_extension_retry(memory: &mut Memory, input: &Input<'_>, decision: &Decision, outcome: &Outcome) {
    if decision.situation == Situation::InSync {
        memory.extension_retry_at = None;
        memory.extension_retries = 0;
    }
    let failed_now = outcome
        .plan
        .as_ref()
        .is_some_and(|answer| answer.results.iter().any(|result| !result.succeeded()));
    let waits = matches!(decision.situation, Situation::ExtensionFailed { .. });
    if failed_now || (waits && memory.extension_retry_at.is_none()) {
        let doubled = input
            .clocks
            .slow_retry
            .saturating_mul(1 << memory.extension_retries.min(4));
        let pause = SignedDuration::try_from(doubled).unwrap_or(SignedDuration::MAX);
        memory.extension_retry_at = Some(contested::later(input.now, pause));
        memory.extension_retries = memory.extension_retries.saturating_add(1);
    }
}

/// When to come back. `memory` is what `remember` gave; `jitter` lies between 0 and 1.
pub fn next_visit(
    input: &Input<'_>,
    decision: &Decision,
    outcome: &Outcome,
    memory: &Memory,
    interval: Duration,
    jitter: f64,
) -> Duration {
    let slow = input.clocks.slow_retry;
    if let Some((_, failure)) = &outcome.failed {
        return retry::after_write(&failure.class, memory.failures.max(1), slow, jitter);
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
        Situation::Failing(failure) => retry::after(&failure.class, memory.failures.max(1), slow, jitter),
        Situation::Registering { stuck: false } => retry::registration(memory.registration_polls),
        Situation::Settling => settling_pause(memory),
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
