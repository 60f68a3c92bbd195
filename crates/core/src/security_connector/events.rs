//! What is worth an event: what was written, what became of the object, and whether Azure reaches the account.

use serverprotection_api::SecurityConnectorStatus;

use super::{
    changes::{Action, CONNECTOR, Change, describe},
    cloud,
    decide::{Decision, Outcome, Situation},
    deletion::RemovalReason,
};
use crate::{
    azure_error::AzureError,
    events::{self, Event},
};

/// The events of a visit.
pub fn events(
    previous: &SecurityConnectorStatus,
    status: &SecurityConnectorStatus,
    decision: &Decision,
    outcome: &Outcome,
    failures: u32,
) -> Vec<Event> {
    let written = outcome.done.iter().map(|change| written(change, decision));
    let mut all = events::of_reconcile(written, &previous.conditions, &status.conditions);
    all.extend(about_account(previous, status));
    let reading = match &decision.situation {
        Situation::Failing(failure) => Some(failure),
        _ => None,
    };
    let write = outcome.failed.as_ref().map(|(_, failure)| failure);
    all.extend(events::failed(reading, write, failures));
    all
}

/// Azure cannot sign in to the account, or reports the connection as broken.
fn about_account(previous: &SecurityConnectorStatus, status: &SecurityConnectorStatus) -> Vec<Event> {
    let turned = |type_| events::turned(&previous.conditions, &status.conditions, type_);
    let mut all = Vec::new();
    for (type_, reason) in [
        ("CloudAuthenticated", cloud::AUTHENTICATION_FAILED),
        ("Healthy", "ConnectionNotHealthy"),
    ] {
        if let Some(condition) = turned(type_).filter(|condition| condition.status == "False") {
            all.push(Event::warning(reason, "Verify", &condition.message));
        }
    }
    all
}

/// A deletion that waits is told once in a row of failures: `GitOps` tools forget a pruned object at once.
pub fn deletion_waits(message: &str, failures: u32) -> Option<Event> {
    (failures == 1).then(|| Event::warning("DeletionWaits", "Delete", message))
}

/// The finalizer goes.
pub fn let_go(why: &RemovalReason) -> Event {
    if why.leaves_behind() {
        Event::warning("ConnectorLeftBehind", "Delete", why.describe())
    } else {
        let reason = match why {
            RemovalReason::Gone => "ConnectorDeleted",
            _ => "ConnectorRetained",
        };
        Event::normal(reason, "Delete", why.describe())
    }
}

/// An object of a newer version cannot say what its deletion should do.
pub fn unreadable_let_go(error: &str) -> Event {
    let note = format!(
        "this version of the controller cannot read the object ({error}): its connector stays in Azure as it is"
    );
    Event::warning("ConnectorLeftBehind", "Delete", note)
}

/// What a failed deletion tells, in the words of its status.
pub fn waiting_words(failure: &AzureError) -> String {
    format!("the connector is not deleted yet: {failure}; {}", failure.hint())
}

fn written(change: &Change, decision: &Decision) -> Event {
    let repaired = change.fields.iter().all(|field| decision.repairs.contains(field));
    let creates = change.fields.iter().any(|field| field.field == CONNECTOR);
    let reason = match change.action {
        Action::CreateResourceGroup { .. } => "ResourceGroupCreated",
        Action::PutConnector(_) if creates => "ConnectorCreated",
        Action::PutConnector(_) if repaired => "ConnectorRepaired",
        Action::PutConnector(_) => "ConnectorWritten",
    };
    Event::normal(reason, "Write", describe(change))
}
