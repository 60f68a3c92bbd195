//! Events of a `SecurityConnector`: what was written, what changed for the object, and whether Azure reaches the account.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serverprotection_api::SecurityConnectorStatus;

use super::{
    arc_providers::is_registration,
    changes::{Action, Change, describe},
    decide::{Decision, Outcome, Situation},
    deletion::RemovalReason,
    value::ConnectorPath,
};
use crate::{
    azure_error::AzureError,
    claims,
    conditions::{ConditionStatus, ConditionType, get},
    events::{self, Event, Write},
    message::Message,
    reason::EventReason,
};

/// The writes that Azure accepted, for the event of the reconcile: the connector before its resource group.
pub fn writes(decision: &Decision, outcome: &Outcome) -> Vec<Write> {
    let done = outcome.done.iter().rev();
    done.map(|change| written(change, decision)).collect()
}

/// The events of a reconcile. `written` are its writes; `decision` and `outcome` are its last ones.
pub fn events(
    previous: &SecurityConnectorStatus,
    status: &SecurityConnectorStatus,
    written: &[Write],
    decision: &Decision,
    outcome: &Outcome,
    failures: u32,
) -> Vec<Event> {
    let mut all = events::of_reconcile(written, &previous.conditions, &status.conditions);
    all.extend(claims::events(previous.claim.as_ref(), status.claim.as_ref()));
    all.extend(about_account(previous, status));
    let read = match &decision.situation {
        Situation::Failing(failure) => Some(failure),
        _ => None,
    };
    // The condition ProviderRegistered reports a registration that failed.
    let failed = outcome
        .failed
        .as_ref()
        .filter(|(change, _)| !is_registration(change));
    let failure = failed.map(|(_, failure)| failure);
    all.extend(events::failed(read, failure, failures));
    all
}

/// Azure cannot sign in to the account, or reports the connection as broken, or as healthy again. A sign-in that works
/// again makes the object Ready, which is an event already.
fn about_account(previous: &SecurityConnectorStatus, status: &SecurityConnectorStatus) -> Vec<Event> {
    let turned = |type_| events::turned(&previous.conditions, &status.conditions, type_);
    let mut all = Vec::new();
    for (type_, reason) in [
        (
            ConditionType::CloudAuthenticated,
            EventReason::CloudAuthenticationFailed,
        ),
        (ConditionType::Healthy, EventReason::ConnectionNotHealthy),
    ] {
        if let Some(condition) =
            turned(type_).filter(|condition| condition.status == ConditionStatus::False.as_str())
        {
            all.push(Event::warning(
                reason,
                "Verify",
                &Message::stored(&condition.message),
            ));
        }
    }
    let was_bad = get(&previous.conditions, ConditionType::Healthy)
        .is_some_and(|healthy| healthy.status == ConditionStatus::False.as_str());
    let is_good = |healthy: &&Condition| healthy.status == ConditionStatus::True.as_str();
    if let Some(condition) = turned(ConditionType::Healthy).filter(|healthy| was_bad && is_good(healthy)) {
        let note = Message::stored(&condition.message);
        all.push(Event::normal(EventReason::ConnectionHealthy, "Verify", &note));
    }
    all
}

/// A deletion that waits is reported at its first error: `GitOps` tools no longer show a pruned object.
pub fn deletion_waits(message: &Message, failures: u32) -> Option<Event> {
    (failures == 1).then(|| Event::warning(EventReason::DeletionWaits, "Delete", message))
}

/// The finalizer is removed. The event is the only record that remains, so it names the resource id of the connector.
pub fn finalizer_removed(why: &RemovalReason, id: Option<&str>) -> Event {
    let note = with_id(why.describe(), id);
    let reason = match why {
        why if why.leaves_behind() => {
            return Event::warning(EventReason::ConnectorLeftBehind, "Delete", &note);
        }
        RemovalReason::Gone => EventReason::ConnectorDeleted,
        _ => EventReason::ConnectorRetained,
    };
    Event::normal(reason, "Delete", &note)
}

fn with_id(note: Message, id: Option<&str>) -> Message {
    match id {
        Some(id) => note.and(&format!("Its resource id is {id}.")),
        None => note,
    }
}

/// The finalizer of an object that this build cannot parse is removed: what its deletion should do is unknown.
pub fn unreadable_finalizer_removed(error: &str, id: Option<&str>) -> Event {
    let note = Message::new(
        "The connector stays in Azure, because this version of the controller cannot read the object",
    )
    .cause(error);
    Event::warning(EventReason::ConnectorLeftBehind, "Delete", &with_id(note, id))
}

/// Why a deletion waits.
pub fn deletion_failed(failure: &AzureError) -> Message {
    Message::new("The connector is not deleted yet").caused_by(&failure.to_message())
}

fn written(change: &Change, decision: &Decision) -> Write {
    let repaired =
        !change.fields.is_empty() && change.fields.iter().all(|field| decision.repairs.contains(field));
    let creates = change
        .fields
        .iter()
        .any(|field| field.field == ConnectorPath::Connector);
    let reason = match change.action {
        Action::CreateResourceGroup { .. } => EventReason::ResourceGroupCreated,
        Action::RegisterProvider(_) => EventReason::ProviderRegistrationRequested,
        Action::PutConnector(_) if creates => EventReason::ConnectorCreated,
        Action::PutConnector(_) if repaired => EventReason::ConnectorRepaired,
        Action::PutConnector(_) => EventReason::ConnectorWritten,
    };
    Write {
        reason,
        text: describe(change),
    }
}
