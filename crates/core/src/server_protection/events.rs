//! Events of a `ServerProtection`: what was written, and what changed for the object.

use serverprotection_api::ServerProtectionStatus;

use super::{
    changes::{Action, Change},
    decide::{Decision, Outcome, Situation},
};
use crate::{
    claims,
    conditions::{self, ConditionType, Reason},
    difference::listed,
    events::{self, Event, Write},
    message::Message,
    reason::EventReason,
};

/// The writes that Azure accepted, for the event of the reconcile.
pub fn writes(decision: &Decision, outcome: &Outcome) -> Vec<Write> {
    outcome
        .done
        .iter()
        .map(|change| written(change, decision))
        .collect()
}

/// The events of a reconcile. `written` are its writes; `decision` and `outcome` are its last ones.
pub fn events(
    previous: &ServerProtectionStatus,
    status: &ServerProtectionStatus,
    written: &[Write],
    decision: &Decision,
    outcome: &Outcome,
    failures: u32,
) -> Vec<Event> {
    let mut all = events::of_reconcile(written, &previous.conditions, &status.conditions);
    all.extend(claims::events(previous.claim.as_ref(), status.claim.as_ref()));
    all.extend(of_refresh(previous, status));
    let read = match &decision.situation {
        Situation::Failing(failure) => Some(failure),
        _ => None,
    };
    all.extend(events::failed(read, outcome.failure(), failures));
    all
}

/// The events of a status refresh: machines and connectors.
pub fn of_refresh(previous: &ServerProtectionStatus, status: &ServerProtectionStatus) -> Vec<Event> {
    let mut all = about_machines(previous, status);
    all.extend(about_connectors(previous, status));
    all
}

/// A connector is not Ready any more, or all of them are.
fn about_connectors(previous: &ServerProtectionStatus, status: &ServerProtectionStatus) -> Option<Event> {
    let condition = events::turned(
        &previous.conditions,
        &status.conditions,
        ConditionType::ConnectorsReady,
    )?;
    let note = Message::stored(&condition.message);
    let is = |reason: Reason| condition.reason == reason.as_str();
    if is(Reason::AllReady) {
        return Some(Event::normal(EventReason::ConnectorsReady, "Verify", &note));
    }
    // New connectors are not Ready at first, which is no event.
    let was_ready = conditions::is_true(&previous.conditions, ConditionType::ConnectorsReady);
    let total = |status: &ServerProtectionStatus| status.connectors.as_ref().map_or(0, |all| all.total);
    (is(Reason::NotReady) && was_ready && total(previous) >= total(status))
        .then(|| Event::warning(EventReason::ConnectorsNotReady, "Verify", &note))
}

/// The share of protected machines crossed `spec.machines.minimumProtectedPercent`, or scans begin to fail.
fn about_machines(previous: &ServerProtectionStatus, status: &ServerProtectionStatus) -> Vec<Event> {
    let of = |status: &ServerProtectionStatus| {
        let condition = conditions::get(&status.conditions, ConditionType::MachinesProtected)?;
        Some((condition.reason.clone(), condition.message.clone()))
    };
    let mut all = Vec::new();
    let (before, now) = (of(previous), of(status));
    if let Some((reason, message)) = now.filter(|(reason, _)| before.is_none_or(|before| before.0 != *reason))
    {
        let note = Message::stored(&message);
        let is = |expected: Reason| reason == expected.as_str();
        if is(Reason::Protected) {
            all.push(Event::normal(EventReason::MachinesProtected, "Verify", &note));
        } else if is(Reason::BelowMinimum) {
            all.push(Event::warning(EventReason::MachinesBelowMinimum, "Verify", &note));
        } else if is(Reason::NoReadAccess) {
            all.push(Event::warning(EventReason::MachinesNotReadable, "Verify", &note));
        }
    }
    let failing = |status: &ServerProtectionStatus| {
        let machines = status.machines.as_ref();
        machines.and_then(|machines| machines.scan_failure.clone())
    };
    if let (None, Some(failure)) = (failing(previous), failing(status)) {
        let note = Message::stored(&failure.message);
        all.push(Event::warning(EventReason::MachineScanFailed, "Verify", &note));
    }
    all
}

fn written(change: &Change, decision: &Decision) -> Write {
    let repaired =
        !change.fields.is_empty() && change.fields.iter().all(|field| decision.repairs.contains(field));
    let reason = match change.action {
        Action::Register => EventReason::ProviderRegistrationRequested,
        Action::PutPlan(_) if repaired => EventReason::PlanRepaired,
        Action::PutPlan(_) => EventReason::PlanWritten,
        Action::PutSetting { .. } if repaired => EventReason::EndpointIntegrationRepaired,
        Action::PutSetting { .. } => EventReason::EndpointIntegrationWritten,
        Action::PutAssessment | Action::DeleteAssessment if repaired => {
            EventReason::VulnerabilityAssessmentRepaired
        }
        Action::PutAssessment | Action::DeleteAssessment => EventReason::VulnerabilityAssessmentWritten,
    };
    Write {
        reason,
        text: describe(change),
    }
}

/// Describes a change for users: its fields with both values.
pub fn describe(change: &Change) -> String {
    if change.fields.is_empty() {
        return "the same plan again, because only the response reports the results of its extensions".into();
    }
    listed(&change.fields)
}
