//! What is worth an event: what was written, and what became of the object.

use serverprotection_api::ServerProtectionStatus;

use super::{
    changes::{Action, Change, listed},
    decide::{Decision, Outcome, Situation},
};
use crate::conditions;

/// An event as Kubernetes wants it: a specific reason, and a note for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Warning instead of Normal.
    pub warning: bool,
    /// CamelCase.
    pub reason: String,
    /// What was done.
    pub action: String,
    /// For people.
    pub note: String,
}

/// The events of a visit.
pub fn events(
    previous: &ServerProtectionStatus,
    status: &ServerProtectionStatus,
    decision: &Decision,
    outcome: &Outcome,
    failures: u32,
) -> Vec<Event> {
    let mut all: Vec<_> = outcome
        .done
        .iter()
        .map(|change| written(change, decision))
        .collect();
    let appeared = |type_: &str| {
        let now = conditions::get(&status.conditions, type_)?;
        let before = conditions::get(&previous.conditions, type_);
        let same = before.is_some_and(|before| before.status == now.status && before.reason == now.reason);
        (!same).then_some(now)
    };
    if let Some(ready) = appeared("Ready").filter(|ready| ready.status == "True") {
        all.push(Event {
            warning: false,
            reason: ready.reason.clone(),
            action: "Reconcile".into(),
            note: ready.message.clone(),
        });
    }
    for type_ in ["Stalled", "Contested"] {
        if let Some(condition) = appeared(type_) {
            all.push(Event {
                warning: true,
                reason: condition.reason.clone(),
                action: "Reconcile".into(),
                note: condition.message.clone(),
            });
        }
    }
    all.dedup_by(|a, b| a.reason == b.reason);
    all.extend(about_machines(previous, status));
    // A failure that time mends is told once in a row of them.
    let failure = match (&decision.situation, &outcome.failed) {
        (Situation::Failing(failure), _) => Some(("ObservationFailed", failure)),
        (_, Some((_, failure))) => Some(("WriteFailed", failure)),
        _ => None,
    };
    if let Some((reason, failure)) =
        failure.filter(|(_, failure)| failure.class.is_transient() && failures == 1)
    {
        all.push(Event {
            warning: true,
            reason: reason.into(),
            action: "Reconcile".into(),
            note: format!("{failure}; {}", failure.advice()),
        });
    }
    all
}

/// The line of `spec.machines.minimumProtectedPercent` was crossed, or scans begin to fail.
pub fn about_machines(previous: &ServerProtectionStatus, status: &ServerProtectionStatus) -> Vec<Event> {
    let of = |status: &ServerProtectionStatus| {
        let condition = conditions::get(&status.conditions, "MachinesProtected")?;
        Some((condition.reason.clone(), condition.message.clone()))
    };
    let event = |warning, reason: &str, note: String| Event {
        warning,
        reason: reason.into(),
        action: "Verify".into(),
        note,
    };
    let mut all = Vec::new();
    let (before, now) = (of(previous), of(status));
    if let Some((reason, message)) = now.filter(|(reason, _)| before.is_none_or(|before| before.0 != *reason))
    {
        match reason.as_str() {
            "Protected" => all.push(event(false, "MachinesProtected", message)),
            "BelowMinimum" => all.push(event(true, "MachinesBelowMinimum", message)),
            "NoReadAccess" => all.push(event(true, "MachinesNotReadable", message)),
            _ => {}
        }
    }
    let failing = |status: &ServerProtectionStatus| {
        let machines = status.machines.as_ref();
        machines.and_then(|machines| machines.scan_failure.clone())
    };
    if let (None, Some(failure)) = (failing(previous), failing(status)) {
        all.push(event(true, "MachineScanFailed", failure.message));
    }
    all
}

fn written(change: &Change, decision: &Decision) -> Event {
    let repaired =
        !change.fields.is_empty() && change.fields.iter().all(|field| decision.repairs.contains(field));
    let reason = match change.action {
        Action::Register => "ProviderRegistrationRequested",
        Action::PutPlan(_) if repaired => "PlanRepaired",
        Action::PutPlan(_) => "PlanWritten",
        Action::PutSetting { .. } if repaired => "EndpointIntegrationRepaired",
        Action::PutSetting { .. } => "EndpointIntegrationWritten",
        Action::PutAssessment | Action::DeleteAssessment if repaired => "VulnerabilityAssessmentRepaired",
        Action::PutAssessment | Action::DeleteAssessment => "VulnerabilityAssessmentWritten",
    };
    Event {
        warning: false,
        reason: reason.into(),
        action: "Write".into(),
        note: describe(change),
    }
}

/// A change for people: its fields with both values.
pub fn describe(change: &Change) -> String {
    if change.fields.is_empty() {
        return "the plan was written once more, because only the answer tells whether its extensions arrived".into();
    }
    listed(&change.fields)
}
