//! The rules of claims R1 to R19 (docs/claims.md): what one object holds, given all candidates of its key.

use std::time::Duration;

use serverprotection_api::ClaimCredential;

use super::{
    candidate::{Candidate, Names, Stage, State},
    evidence::Proof,
};
use crate::{Timestamp, contested::later, jiff::SignedDuration, reason::Reason};

/// Denials, or tries without an answer, that this process must have seen before a holder loses its claim (R13).
const LAPSE_AFTER_FAILURES: u32 = 3;
/// The longest wait for a candidate that goes first (R7).
const LONGEST_TURN: SignedDuration = SignedDuration::from_secs(30);

/// The times of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// D: a holder whose access is denied for this long loses its claim to an object that waits.
    pub lapse_after: Duration,
    /// U: the same for a holder whose access is unknown.
    pub unknown_lapse_after: Duration,
    /// How long a key is kept for objects of the namespace whose holder disappeared.
    pub reserve: Duration,
    /// How far apart two failures to prove, or two proofs of a waiting object, are at least.
    pub spacing: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            lapse_after: Duration::from_secs(24 * 3600),
            unknown_lapse_after: Duration::from_secs(7 * 24 * 3600),
            reserve: Duration::from_secs(600),
            spacing: Duration::from_secs(300),
        }
    }
}

impl Rules {
    /// How far apart failures are counted: a little less than the interval of retries, which have jitter.
    pub fn counted_spacing(&self) -> SignedDuration {
        signed(self.spacing.mul_f64(0.8))
    }

    /// How often a holder that is not reconciled, because it is suspended or cannot be parsed, is asked for its proof
    /// while another object waits (R10).
    pub fn sleeping_interval(&self) -> Duration {
        self.lapse_after / 24
    }
}

/// The key is kept for the namespace whose holder disappeared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The namespace; `None` if the holder disappeared while no process watched.
    pub namespace: Option<String>,
    /// When the reservation ends.
    pub until: Timestamp,
}

/// What surrounds a decision.
#[derive(Clone, Copy, Debug)]
pub struct DecisionContext<'a> {
    /// Whether this process decides: it leads, and has listed all objects since (R6).
    pub decides: bool,
    /// The reservation of the key.
    pub reservation: Option<&'a Reservation>,
    /// The times of the rules.
    pub rules: &'a Rules,
    /// The current time.
    pub now: Timestamp,
}

/// Where an object stands, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// It holds the key.
    Held,
    /// Another object holds it; its name, if it is of the same namespace.
    HeldByAnother(Option<String>),
    /// The key is kept for another namespace until this time.
    Reserved(Timestamp),
    /// An object that goes first may take the key within seconds.
    Undecided,
    /// Its access is denied, with the code of the cause.
    AccessDenied(String),
    /// Its access is not proven.
    AccessNotProven,
    /// A connector whose `ServerProtection` holds no subscription (R18).
    AwaitingProtection,
    /// Mode Observe, or being deleted: it claims nothing.
    ClaimsNothing,
}

/// The decision about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The state of its claim from now on.
    pub state: State,
    /// Where it stands.
    pub ownership: Ownership,
    /// Since when its access is denied.
    pub denied_since: Option<Timestamp>,
    /// It may not hold the key before this time.
    pub not_before: Option<Timestamp>,
    /// Whether its proof shows that it may write, and not only that it may read.
    pub proven: bool,
    /// Whether it loses what it held.
    pub lost: bool,
    /// The credential that the object uses.
    pub credential: Option<ClaimCredential>,
    /// Whether another object waits for the key.
    pub is_awaited: bool,
    /// How often it is asked for its proof if it is suspended or cannot be parsed and another object waits (R10).
    pub sleeping_interval: Duration,
}

impl Verdict {
    fn new(state: State, ownership: Ownership) -> Self {
        Self {
            state,
            ownership,
            denied_since: None,
            not_before: None,
            proven: false,
            lost: false,
            credential: None,
            is_awaited: false,
            sleeping_interval: Duration::ZERO,
        }
    }

    /// The verdict about an object that proved its access and holds the key.
    #[cfg(test)]
    pub(crate) fn holds() -> Self {
        Self {
            proven: true,
            ..Self::new(State::Held, Ownership::Held)
        }
    }

    /// The verdict about an object that waits for another one; its name, if it is of the same namespace.
    #[cfg(test)]
    pub(crate) fn waits(holder: Option<&str>) -> Self {
        let ownership = Ownership::HeldByAnother(holder.map(str::to_owned));
        Self {
            proven: true,
            ..Self::new(State::Waiting, ownership)
        }
    }

    /// The verdict about an object that holds nothing.
    #[cfg(test)]
    pub(crate) fn contends(ownership: Ownership) -> Self {
        Self::new(State::None, ownership)
    }

    /// The verdict about an object that is no candidate.
    pub fn none() -> Self {
        Self::new(State::None, Ownership::AccessNotProven)
    }

    /// The verdict about an object that is not known yet.
    pub fn unknown() -> Self {
        Self::new(State::None, Ownership::Undecided)
    }

    /// Whether the object waits for another one.
    pub fn is_waiting(&self) -> bool {
        self.state == State::Waiting
    }

    /// Whether the object may write (R1).
    pub fn may_write(&self) -> bool {
        self.state.occupies() && self.ownership == Ownership::Held
    }
}

/// Decides about the object with this uid, which is being reconciled; its proof is that of this reconcile. `None` if it
/// is no candidate.
pub fn verdict(candidates: &[Candidate], uid: &str, at: &DecisionContext<'_>) -> Option<Verdict> {
    let me = candidates.iter().find(|candidate| candidate.uid == uid)?;
    let others: Vec<&Candidate> = candidates
        .iter()
        .filter(|candidate| candidate.uid != uid)
        .collect();
    let mut verdict = if me.state().occupies() {
        holder(me, &others, at)
    } else {
        contender(me, &others, at)
    };
    verdict.proven = me.proof == Proof::Proven;
    verdict.credential.clone_from(&me.credential);
    verdict.is_awaited = others.iter().any(|other| other.waits());
    verdict.sleeping_interval = at.rules.sleeping_interval();
    if verdict.state != State::None || verdict.lost {
        verdict.denied_since = denied_since(me, at.now);
    }
    Some(verdict)
}

/// R5: the first denial sets it, only a proof clears it.
fn denied_since(me: &Candidate, now: Timestamp) -> Option<Timestamp> {
    let known = || Some(me.claim.as_ref()?.denied_since.as_ref()?.0);
    match me.proof {
        Proof::Proven => None,
        Proof::Denied(_) => known().or(Some(now)),
        Proof::Untried | Proof::Unknown | Proof::Weak => known(),
    }
}

/// Decides about an object that holds the key.
fn holder(me: &Candidate, others: &[&Candidate], at: &DecisionContext<'_>) -> Verdict {
    let held = || Verdict::new(State::Held, Ownership::Held);
    match me.stage {
        // R11
        Stage::Observes | Stage::Deleting { working: false } => {
            return Verdict::new(State::None, Ownership::ClaimsNothing);
        }
        // R12
        Stage::Deleting { working: true } => return Verdict::new(State::Releasing, Ownership::Held),
        Stage::Enforces | Stage::Suspended | Stage::Unreadable | Stage::Blocked => {}
    }
    if !at.decides {
        return held();
    }
    // R17
    if let Some(rival) = others.iter().find(|other| other.occupies()) {
        let by_another = Ownership::HeldByAnother(visible(rival, me));
        let yields = others
            .iter()
            .filter(|other| other.occupies())
            .any(|other| seniority(other) < seniority(me));
        return if yields {
            let state = if me.is_eligible() && me.proof.is_given() {
                State::Waiting
            } else {
                State::None
            };
            Verdict {
                lost: true,
                ..Verdict::new(state, by_another)
            }
        } else {
            Verdict::new(State::Held, by_another)
        };
    }
    if lapses(me, others, at) {
        return Verdict {
            lost: true,
            ..Verdict::new(State::None, unproven(me))
        };
    }
    if me.stage == Stage::Blocked {
        // R18
        return Verdict::new(State::Held, unproven(me));
    }
    held()
}

/// R13, and the second half of R3. The key's write lock is free: this decides about an object that is being reconciled
/// and has not begun to write, and no object is reconciled twice at once.
fn lapses(me: &Candidate, others: &[&Candidate], at: &DecisionContext<'_>) -> bool {
    let waiting = || others.iter().filter(|other| other.waits());
    let over = |since: Option<Timestamp>, limit: Duration| {
        since.is_some_and(|since| at.now.duration_since(since) >= signed(limit))
    };
    let is_awaited = || waiting().next().is_some();
    let is_denied = || {
        let seen = me.denials.number >= LAPSE_AFTER_FAILURES;
        seen && is_awaited() && over(denied_since(me, at.now), at.rules.lapse_after)
    };
    match me.proof {
        Proof::Proven | Proof::Untried => false,
        Proof::Weak => waiting().any(|other| other.proof == Proof::Proven) || is_denied(),
        Proof::Denied(_) => is_denied(),
        Proof::Unknown => {
            let seen = me.unknowns.number >= LAPSE_AFTER_FAILURES;
            seen && is_awaited() && over(me.unknown_since, at.rules.unknown_lapse_after)
        }
    }
}

/// Decides about an object that does not hold the key.
fn contender(me: &Candidate, others: &[&Candidate], at: &DecisionContext<'_>) -> Verdict {
    match me.stage {
        Stage::Observes | Stage::Deleting { .. } => {
            return Verdict::new(State::None, Ownership::ClaimsNothing);
        }
        Stage::Suspended | Stage::Unreadable => {
            return Verdict::new(State::None, Ownership::AccessNotProven);
        }
        Stage::Enforces | Stage::Blocked => {}
    }
    let not_before = not_before(me);
    let waiting = |ownership, not_before| Verdict {
        not_before,
        ..Verdict::new(State::Waiting, ownership)
    };
    let rival = others.iter().find(|other| other.occupies());
    if !me.is_eligible() || !me.proof.is_given() {
        let passing = matches!(me.proof, Proof::Unknown | Proof::Untried);
        return if me.is_eligible() && me.state() == State::Waiting && passing {
            let ownership = rival.map_or(Ownership::AccessNotProven, |rival| {
                Ownership::HeldByAnother(visible(rival, me))
            });
            waiting(ownership, not_before)
        } else {
            Verdict::new(State::None, unproven(me))
        };
    }
    // R8
    if let Some(rival) = rival {
        return waiting(Ownership::HeldByAnother(visible(rival, me)), None);
    }
    if let Some(until) = kept_back(me, at) {
        return waiting(Ownership::Reserved(until), Some(until));
    }
    // R7
    let waits_for = others.iter().any(|other| goes_first(other, me, at));
    if !at.decides || waits_for {
        return Verdict {
            not_before,
            ..Verdict::new(me.state(), Ownership::Undecided)
        };
    }
    Verdict::new(State::Held, Ownership::Held)
}

fn not_before(candidate: &Candidate) -> Option<Timestamp> {
    Some(candidate.claim.as_ref()?.not_before.as_ref()?.0)
}

/// R14: until when the object may not take the key, because it is kept for another namespace. If nobody knows which one,
/// only those that waited already are kept back.
fn kept_back(candidate: &Candidate, at: &DecisionContext<'_>) -> Option<Timestamp> {
    let reserved = at.reservation.filter(|reservation| match &reservation.namespace {
        Some(namespace) => *namespace != candidate.names.namespace,
        None => candidate.state() == State::Waiting,
    });
    let until = not_before(candidate).max(reserved.map(|reservation| reservation.until));
    until.filter(|until| *until > at.now)
}

/// R7: whether an object that may take the key goes before another one, which waits for it for a short time only.
fn goes_first(other: &Candidate, me: &Candidate, at: &DecisionContext<'_>) -> bool {
    let within = |since: Timestamp| at.now.duration_since(since) < LONGEST_TURN;
    let in_time = within(me.wants_since.unwrap_or(at.now));
    if !other.is_eligible() || kept_back(other, at).is_some() || !in_time {
        return false;
    }
    match other.proof {
        Proof::Untried => within(other.first_seen) && age(other) < age(me),
        Proof::Proven | Proof::Weak => order(other) < order(me),
        Proof::Denied(_) | Proof::Unknown => false,
    }
}

type Age<'a> = (bool, Option<Timestamp>, &'a str);

/// R7: those that held the key before, then the older, then the smaller uid.
fn age(candidate: &Candidate) -> Age<'_> {
    (!candidate.held_before(), candidate.created, &candidate.uid)
}

/// R7: those that proved that they may write, then by age.
fn order(candidate: &Candidate) -> (bool, Age<'_>) {
    (candidate.proof == Proof::Weak, age(candidate))
}

/// R17: the first one stays.
fn seniority(candidate: &Candidate) -> (bool, Option<Timestamp>, &str) {
    let since = candidate.claim.as_ref().and_then(|claim| claim.since.as_ref());
    (since.is_none(), since.map(|time| time.0), &candidate.uid)
}

fn unproven(me: &Candidate) -> Ownership {
    match &me.proof {
        Proof::Denied(code) if *code != Reason::AwaitingProtection.as_str() => {
            Ownership::AccessDenied(code.clone())
        }
        _ if me.stage == Stage::Blocked => Ownership::AwaitingProtection,
        _ => Ownership::AccessNotProven,
    }
}

/// R8: the name of the holder is told within its namespace only.
fn visible(holder: &Candidate, to: &Candidate) -> Option<String> {
    let Names { namespace, name } = &holder.names;
    (*namespace == to.names.namespace).then(|| name.clone())
}

pub(super) fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// The end of a reservation that begins now.
pub(super) fn reserved_until(rules: &Rules, now: Timestamp) -> Timestamp {
    later(now, signed(rules.reserve))
}
