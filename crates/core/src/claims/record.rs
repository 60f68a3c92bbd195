//! A verdict in status: `status.claim`, the condition `Claimed`, and the events of a change of owner.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serverprotection_api::ClaimStatus;

use super::{
    candidate::State,
    evidence::MISSING_PERMISSION,
    rules::{Ownership, Verdict},
};
use crate::{
    Timestamp,
    azure_error::{AzureError, ErrorClass},
    conditions::{ConditionStatus, ConditionType, Conditions, Reason},
    events::Event,
    message::Message,
    reason::EventReason,
};

/// The claim of an object in one reconcile.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Uid of the object.
    pub uid: &'a str,
    /// The decision about it.
    pub verdict: &'a Verdict,
}

impl Claim<'_> {
    /// Whether the object had its subject in sync, or wrote it, since it got its claim.
    pub(crate) fn is_established(self, previous: Option<&ClaimStatus>) -> bool {
        let ours = previous.filter(|previous| belongs_to(previous, self.uid));
        ours.is_some_and(|claim| claim.established_since.is_some())
    }

    /// When the object is reconciled again, at the latest. An owner that another object waits for proves its access
    /// more often, so that it is replaced in time if it loses it.
    pub fn at_most(self, next: Duration, retry: Duration) -> Duration {
        let owner = self.verdict.ownership == Ownership::Held && self.verdict.is_awaited;
        match self.verdict.denied_since {
            Some(_) if owner => next.min(retry),
            None if owner => next.min(retry.saturating_mul(2)),
            _ => next,
        }
    }

    /// When a suspended object is reconciled again: seldom, unless another object waits for its claim (R10).
    pub fn suspended_interval(self) -> Duration {
        const SELDOM: Duration = Duration::from_secs(24 * 3600);
        if self.verdict.state.occupies() && self.verdict.is_awaited {
            self.verdict.sleeping_interval
        } else {
            SELDOM
        }
    }
}

/// What users can do about a conflict. Users of one namespace cannot see or delete the objects of another one.
const fn resolve_conflict(holder: Option<&str>) -> &'static str {
    match holder {
        Some(_) => "Delete one of the two objects",
        None => {
            "Delete this object, or ask the administrators of the cluster, who can find out which object is the owner"
        }
    }
}

/// The time until a reservation ends.
pub(crate) fn until(end: Timestamp, now: Timestamp) -> Duration {
    let left = Duration::try_from(end.duration_since(now)).unwrap_or_default();
    left.saturating_add(Duration::from_secs(1))
}

/// There is something to write, but the identity has not proven that it may.
pub(crate) fn not_proven(action: &str) -> AzureError {
    AzureError {
        class: ErrorClass::Permission(Some(action.to_owned())),
        code: MISSING_PERMISSION.into(),
        message: format!("Nothing is written, because Azure does not confirm that the identity has {action}"),
        operation: String::new(),
        request_id: None,
        effect_unknown: false,
    }
}

/// R5: whether a claim in status is that of the object with this uid, and not one from a backup.
pub fn belongs_to(claim: &ClaimStatus, uid: &str) -> bool {
    claim.uid.as_deref() == Some(uid)
}

/// What a reconcile did that establishes a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Established {
    /// Nothing.
    No,
    /// Azure matches the spec.
    InSync,
    /// A write succeeded.
    Written,
}

/// `status.claim` after a reconcile.
pub(crate) fn claim_status(
    previous: Option<&ClaimStatus>,
    claim: Claim<'_>,
    established: Established,
    now: Timestamp,
) -> Option<ClaimStatus> {
    let Claim { uid, verdict } = claim;
    let previous = previous.filter(|previous| belongs_to(previous, uid));
    if verdict.state == State::None && !verdict.lost {
        // An object that lost its claim goes first if the key becomes free.
        let lost = previous.filter(|previous| State::of(Some(previous)) == State::None);
        return lost
            .filter(|_| verdict.ownership != Ownership::ClaimsNothing)
            .cloned();
    }
    let same = previous.filter(|previous| {
        let before = State::of(Some(previous));
        before == verdict.state || (before.occupies() && verdict.state.occupies())
    });
    // R15: who takes a key has established nothing. Another writer may have changed Azure meanwhile.
    let known = same.and_then(|same| same.established_since.clone());
    // To be in sync proves nothing about the right to write.
    let counts = match established {
        Established::No => false,
        Established::InSync => verdict.proven,
        Established::Written => true,
    };
    let counts = counts && verdict.state.occupies();
    let proves = verdict.proven || (counts && established == Established::Written);
    let credential = if proves {
        verdict.credential.clone()
    } else {
        same.and_then(|same| same.credential.clone())
    };
    Some(ClaimStatus {
        state: verdict.state.as_str().into(),
        uid: Some(uid.to_owned()),
        credential,
        since: same.and_then(|same| same.since.clone()).or(Some(Time(now))),
        established_since: known.or_else(|| counts.then_some(Time(now))),
        denied_since: verdict.denied_since.map(Time),
        not_before: verdict.not_before.map(Time),
    })
}

/// The claim of an object whose deletion works on Azure (R12).
pub fn claim_after_deletion_began(claim: Option<&ClaimStatus>) -> Option<ClaimStatus> {
    let claim = claim?;
    if !State::of(Some(claim)).occupies() {
        return Some(claim.clone());
    }
    Some(ClaimStatus {
        state: State::Releasing.as_str().into(),
        ..claim.clone()
    })
}

/// Sets `Claimed`. The message never names an object of another namespace.
pub(crate) fn set_claimed(conditions: &mut Conditions, verdict: &Verdict, what: &str) {
    use ConditionStatus::{False, True, Unknown};
    let (status, reason, message) = match &verdict.ownership {
        Ownership::Held => (True, Reason::Held, held(verdict, what)),
        Ownership::HeldByAnother(name) => (
            False,
            Reason::HeldByAnother,
            owned_by_another(name.as_deref(), what),
        ),
        Ownership::Reserved(until) => (False, Reason::Reserved, reserved(*until, what)),
        Ownership::AccessDenied(code) => {
            let message = Message::new(format!(
                "This object may not use {what}, because its access is denied"
            ));
            let message = message.cause(code).action("Read the condition Ready");
            (Unknown, Reason::AccessDenied, message)
        }
        Ownership::AwaitingProtection => {
            let message = Message::new(format!(
                "This object may not use {what} yet, because no ServerProtection that it refers to owns the subscription"
            ));
            let message = message.action("Read the condition Ready");
            (Unknown, Reason::AwaitingProtection, message)
        }
        Ownership::AccessNotProven | Ownership::Undecided => {
            let message = Message::new(format!(
                "This object has not proven yet that it may write {what}; it writes nothing before"
            ));
            (Unknown, Reason::AccessNotProven, message)
        }
        Ownership::ClaimsNothing => {
            let message = Message::new("An object in mode Observe claims nothing");
            (Unknown, Reason::Observed, message)
        }
    };
    conditions.set(ConditionType::Claimed, status, reason, &message);
}

fn held(verdict: &Verdict, what: &str) -> Message {
    let message = Message::new(format!("This object owns {what}"));
    match verdict.denied_since {
        None => message,
        Some(since) => message.and(&format!(
            "Its access has been denied since {since}; if that lasts, an object that may write can take it over."
        )),
    }
}

/// Another object holds it; its name, if it is of the same namespace.
pub(crate) fn held_by_another(name: Option<&str>, what: &str) -> Message {
    owned_by_another(name, what).action(resolve_conflict(name))
}

fn owned_by_another(name: Option<&str>, what: &str) -> Message {
    let holder = name.map_or_else(
        || "An object in another namespace".to_owned(),
        |name| format!("{name} of this namespace"),
    );
    Message::new(format!("{holder} owns {what}, so this object only reads"))
}

/// The holder disappeared, and its namespace goes first.
pub(crate) fn reserved(until: Timestamp, what: &str) -> Message {
    Message::new(format!(
        "The owner of {what} was deleted; until {until}, it is kept for the namespace of that owner"
    ))
}

/// The events when an object takes a key over, or loses it (R19). Names are in the log and in a metric.
pub fn events(before: Option<&ClaimStatus>, after: Option<&ClaimStatus>) -> Option<Event> {
    let (was, is) = (State::of(before), State::of(after));
    match (was, is) {
        (State::Waiting, State::Held) => {
            let note = Message::new("This object is the owner now; another object was the owner before");
            Some(Event::normal(EventReason::ClaimTaken, "Claim", &note))
        }
        (State::Held, State::None | State::Waiting) => {
            let note = Message::new("This object is no longer the owner, and writes nothing any more");
            Some(Event::warning(EventReason::ClaimLost, "Claim", &note))
        }
        _ => None,
    }
}
