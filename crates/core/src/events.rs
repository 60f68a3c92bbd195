//! Events that both kinds emit: a condition whose status or reason changed, and the first of consecutive transient
//! errors.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::{
    azure_error::AzureError,
    conditions::{ConditionStatus, ConditionType, Reason, get, is_true},
    message::Message,
    reason::EventReason,
};

/// Maximum length of an event's note, in bytes: the API server allows 1024.
const MAX_NOTE: usize = 1000;

/// An event as Kubernetes expects it: a specific reason, and a note for users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whether the type is Warning instead of Normal.
    pub warning: bool,
    /// `CamelCase`: an `EventReason`, or the reason of the condition that changed.
    pub reason: String,
    /// The action of the controller, such as `Write`.
    pub action: String,
    /// The text for users: one line that the API server accepts.
    pub note: String,
}

impl Event {
    /// An event of the type Normal.
    pub fn normal(reason: impl AsRef<str>, action: &str, note: &Message) -> Self {
        Self {
            warning: false,
            reason: reason.as_ref().to_owned(),
            action: action.into(),
            note: note.to_bytes(MAX_NOTE),
        }
    }

    /// An event of the type Warning.
    pub fn warning(reason: impl AsRef<str>, action: &str, note: &Message) -> Self {
        Self {
            warning: true,
            ..Self::normal(reason, action, note)
        }
    }
}

/// The condition of this type, if its status or reason changed.
pub(crate) fn turned<'a>(
    before: &[Condition],
    now: &'a [Condition],
    type_: ConditionType,
) -> Option<&'a Condition> {
    let now = get(now, type_)?;
    let same =
        get(before, type_).is_some_and(|before| before.status == now.status && before.reason == now.reason);
    (!same).then_some(now)
}

/// A write that Azure accepted, as its event reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The reason of the event.
    pub reason: EventReason,
    /// What was written, for users.
    pub text: String,
}

/// Suspended or Resumed, the event of the writes, then those of the changed conditions. Events cost the API server time,
/// so that all writes of a reconcile, and Ready if they made it True, are one event. Its reason is that of the first
/// write.
pub(crate) fn of_reconcile(written: &[Write], before: &[Condition], now: &[Condition]) -> Vec<Event> {
    let became_true = |ready: &&Condition| {
        ready.status == ConditionStatus::True.as_str() && ready.reason != Reason::Suspended.as_str()
    };
    let ready = turned(before, now, ConditionType::Ready).filter(became_true);
    let mut all: Vec<_> = suspension(before, now).into_iter().collect();
    match (written, ready) {
        ([first, ..], ready) => {
            let texts: Vec<_> = written.iter().map(|write| write.text.as_str()).collect();
            let note = Message::new(texts.join(", "));
            let note = match ready {
                Some(ready) => note.and(&ready.message),
                None => note,
            };
            all.push(Event::normal(first.reason, "Write", &note));
        }
        ([], Some(ready)) => {
            let note = Message::stored(&ready.message);
            all.push(Event::normal(&ready.reason, "Reconcile", &note));
        }
        ([], None) => {}
    }
    all.extend(needing_action(before, now));
    all
}

/// The event when an object becomes suspended or is resumed.
fn suspension(before: &[Condition], now: &[Condition]) -> Option<Event> {
    let suspended = |conditions| is_true(conditions, ConditionType::Suspended);
    let (reason, note) = match (suspended(before), suspended(now)) {
        (false, true) => (
            EventReason::Suspended,
            "Azure is neither read nor written from now on, because spec.suspend is true",
        ),
        (true, false) => (
            EventReason::Resumed,
            "Azure is read again, because spec.suspend is no longer true",
        ),
        _ => return None,
    };
    Some(Event::normal(reason, "Reconcile", &Message::new(note)))
}

/// User action is needed. A pause that stalls the object is one event.
fn needing_action(before: &[Condition], now: &[Condition]) -> Vec<Event> {
    let contested = turned(before, now, ConditionType::Contested);
    let stalled = turned(before, now, ConditionType::Stalled)
        .filter(|stalled| contested.is_none() || stalled.reason != Reason::Contested.as_str());
    let all = stalled.into_iter().chain(contested);
    all.map(|condition| {
        let note = Message::stored(&condition.message);
        Event::warning(&condition.reason, "Reconcile", &note)
    })
    .collect()
}

/// The first of consecutive transient errors, of either the read or the write.
pub(crate) fn failed(read: Option<&AzureError>, write: Option<&AzureError>, failures: u32) -> Option<Event> {
    let (reason, failure) = match (read, write) {
        (Some(failure), _) => (EventReason::ObservationFailed, failure),
        (None, Some(failure)) => (EventReason::WriteFailed, failure),
        (None, None) => return None,
    };
    let first = failure.class.is_transient() && failures == 1;
    first.then(|| Event::warning(reason, "Reconcile", &failure.to_message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_of_wide_characters_fits_and_keeps_its_action() {
        let tags = vec!["値".repeat(256); 6].join(", ");
        let note = Message::new(format!("tags: none -> {tags}")).action("Do nothing");
        let event = Event::warning("PlanChanged", "Write", &note);
        assert!((990..=1000).contains(&event.note.len()), "{}", event.note.len());
        assert!(event.note.ends_with("… Do nothing."), "{}", event.note);
    }
}
