//! Events, and what both kinds find worth one: a condition that turned, and the first of a row of failures.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::{azure_error::AzureError, conditions::get};

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

impl Event {
    /// Something went as it should.
    pub fn normal(reason: &str, action: &str, note: impl Into<String>) -> Self {
        Self {
            warning: false,
            reason: reason.into(),
            action: action.into(),
            note: note.into(),
        }
    }

    /// Somebody should look.
    pub fn warning(reason: &str, action: &str, note: impl Into<String>) -> Self {
        Self {
            warning: true,
            ..Self::normal(reason, action, note)
        }
    }
}

/// The condition of this type, when its status or reason is another one than before.
pub(crate) fn turned<'a>(before: &[Condition], now: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    let now = get(now, type_)?;
    let same =
        get(before, type_).is_some_and(|before| before.status == now.status && before.reason == now.reason);
    (!same).then_some(now)
}

/// What was written, and what became of the object by that.
pub(crate) fn of_reconcile(
    written: impl Iterator<Item = Event>,
    before: &[Condition],
    now: &[Condition],
) -> Vec<Event> {
    let mut all: Vec<_> = written.chain(summary(before, now)).collect();
    all.dedup_by(|a, b| a.reason == b.reason);
    all
}

/// Ready became True, or somebody must act.
fn summary(before: &[Condition], now: &[Condition]) -> Vec<Event> {
    let mut all = Vec::new();
    if let Some(ready) = turned(before, now, "Ready").filter(|ready| ready.status == "True") {
        all.push(Event::normal(&ready.reason, "Reconcile", &ready.message));
    }
    for type_ in ["Stalled", "Contested"] {
        if let Some(condition) = turned(before, now, type_) {
            all.push(Event::warning(&condition.reason, "Reconcile", &condition.message));
        }
    }
    all
}

/// A failure that time mends is told once in a row of them. `reading` failed, or else the write did.
pub(crate) fn failed(
    reading: Option<&AzureError>,
    write: Option<&AzureError>,
    failures: u32,
) -> Option<Event> {
    let (reason, failure) = match (reading, write) {
        (Some(failure), _) => ("ObservationFailed", failure),
        (None, Some(failure)) => ("WriteFailed", failure),
        (None, None) => return None,
    };
    let note = || format!("{failure}; {}", failure.hint());
    (failure.class.is_transient() && failures == 1).then(|| Event::warning(reason, "Reconcile", note()))
}
