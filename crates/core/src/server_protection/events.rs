//! What is worth an event: what was written, and what became of the object.

use serverprotection_api::ServerProtectionStatus;

use super::{
    changes::{Action, Change, listed},
    decide::{Decision, Outcome, Situation},
};
use crate::{
    conditions,
    events::{self, Event},
};

/// The events of a visit.
pub fn events(
    previous: &ServerProtectionStatus,
    status: &ServerProtectionStatus,
    decision: &Decision,
    outcome: &Outcome,
    failures: u32,
) -> Vec<Event> {
    let written = outcome.done.iter().map(|change| written(change, decision));
    let mut all = events::of_reconcile(written, &previous.conditions, &status.conditions);
    all.extend(of_refresh(previous, status));
    let reading = match &decision.situation {
        Situation::Failing(failure) => Some(failure),
        _ => None,
    };
    let write = outcome.failed.as_ref().map(|(_, failure)| failure);
    all.extend(events::failed(reading, write, failures));
    all
}

/// What can turn between visits: machines and connectors.
pub fn of_refresh(previous: &ServerProtectionStatus, status: &ServerProtectionStatus) -> Vec<Event> {
    let mut all = about_machines(previous, status);
    all.extend(about_connectors(previous, status));
    all
}

/// A connector is not Ready any more, or all of them are.
fn about_connectors(previous: &ServerProtectionStatus, status: &ServerProtectionStatus) -> Option<Event> {
    let condition = events::turned(&previous.conditions, &status.conditions, "ConnectorsReady")?;
    match condition.reason.as_str() {
        "AllReady" => Some(Event::normal("ConnectorsReady", "Verify", &condition.message)),
        // New connectors are not Ready at first, which is no news.
        "NotReady" if conditions::is_true(&previous.conditions, "ConnectorsReady") => {
            let grew =
                |status: &ServerProtectionStatus| status.connectors.as_ref().map_or(0, |all| all.total);
            (grew(previous) >= grew(status))
                .then(|| Event::warning("ConnectorsNotReady", "Verify", &condition.message))
        }
        _ => None,
    }
}

/// The line of `spec.machines.minimumProtectedPercent` was crossed, or scans begin to fail.
fn about_machines(previous: &ServerProtectionStatus, status: &ServerProtectionStatus) -> Vec<Event> {
    let of = |status: &ServerProtectionStatus| {
        let condition = conditions::get(&status.conditions, "MachinesProtected")?;
        Some((condition.reason.clone(), condition.message.clone()))
    };
    let mut all = Vec::new();
    let (before, now) = (of(previous), of(status));
    if let Some((reason, message)) = now.filter(|(reason, _)| before.is_none_or(|before| before.0 != *reason))
    {
        match reason.as_str() {
            "Protected" => all.push(Event::normal("MachinesProtected", "Verify", message)),
            "BelowMinimum" => all.push(Event::warning("MachinesBelowMinimum", "Verify", message)),
            "NoReadAccess" => all.push(Event::warning("MachinesNotReadable", "Verify", message)),
            _ => {}
        }
    }
    let failing = |status: &ServerProtectionStatus| {
        let machines = status.machines.as_ref();
        machines.and_then(|machines| machines.scan_failure.clone())
    };
    if let (None, Some(failure)) = (failing(previous), failing(status)) {
        all.push(Event::warning("MachineScanFailed", "Verify", failure.message));
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
    Event::normal(reason, "Write", describe(change))
}

/// A change for people: its fields with both values.
pub fn describe(change: &Change) -> String {
    if change.fields.is_empty() {
        return "the plan was written once more, because only the answer tells whether its extensions arrived".into();
    }
    listed(&change.fields)
}
