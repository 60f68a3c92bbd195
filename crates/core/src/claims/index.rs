//! The candidates of all keys, fed by watch events, reconciles and acknowledged writes of status.

use std::collections::HashMap;

use serverprotection_api::{ClaimCredential, ClaimStatus};

use super::{
    candidate::{Candidate, Names, Stage, State},
    evidence::Evidence,
    record::belongs_to,
    rules::{self, DecisionContext, Ownership, Reservation, Rules, Verdict},
};
use crate::Timestamp;

/// An object as its watch delivers it.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// Its names.
    pub names: Names,
    /// Its uid.
    pub uid: &'a str,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// The id of the subscription, or of the connector in lower case.
    pub key: String,
    /// What it wants.
    pub stage: Stage,
    /// Its claim in status. Counts only if the process knows none, or if this build cannot parse the object.
    pub claim: Option<ClaimStatus>,
}

/// A key has another owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerChange {
    /// The owner before.
    pub from: Names,
    /// The owner from now on.
    pub to: Names,
}

/// What follows from an acknowledged write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// The objects that may take the key now.
    pub waiting: Vec<Names>,
    /// The key has another owner.
    pub change: Option<OwnerChange>,
}

/// All candidates by key.
#[derive(Debug, Default)]
pub struct ClaimIndex {
    rules: Rules,
    keys: HashMap<String, Key>,
    /// The key of each object.
    by_uid: HashMap<String, String>,
    /// Whether all objects are listed (R6).
    listed: bool,
}

#[derive(Debug, Default)]
struct Key {
    candidates: Vec<Candidate>,
    reservation: Option<Reservation>,
    /// The last holder that this process knows.
    owner: Option<(String, Names)>,
}

impl Key {
    fn is_awaited(&self) -> bool {
        self.candidates
            .iter()
            .any(|known| known.state() == State::Waiting)
    }
}

impl ClaimIndex {
    /// An index with these times.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            ..Self::default()
        }
    }

    /// The times of the rules.
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Takes in an object. Returns the objects that may take the key that it named before.
    pub fn observe(&mut self, seen: Seen<'_>, now: Timestamp) -> Vec<Names> {
        let mut freed = Vec::new();
        if self.by_uid.get(seen.uid).is_some_and(|known| *known != seen.key) {
            freed = self.remove(seen.uid, now);
        }
        self.by_uid.insert(seen.uid.to_owned(), seen.key.clone());
        let key = self.keys.entry(seen.key).or_default();
        let claim = seen.claim.filter(|claim| belongs_to(claim, seen.uid));
        if let Some(known) = key.candidates.iter_mut().find(|known| known.uid == seen.uid) {
            if seen.stage == Stage::Unreadable || known.stage == Stage::Unreadable {
                known.claim = claim;
            }
            known.stage = seen.stage;
            return freed;
        }
        let uid = seen.uid.to_owned();
        let mut candidate = Candidate::new(seen.names, uid, seen.created, seen.stage, now);
        candidate.claim = claim;
        if candidate.occupies() {
            key.owner = Some((candidate.uid.clone(), candidate.names.clone()));
        }
        key.candidates.push(candidate);
        freed
    }

    /// Whether the object is a candidate.
    pub fn contains(&self, uid: &str) -> bool {
        self.by_uid.contains_key(uid)
    }

    /// Removes an object that is gone. Returns the objects that may take its key.
    pub fn remove(&mut self, uid: &str, now: Timestamp) -> Vec<Names> {
        let Some(name) = self.by_uid.remove(uid) else {
            return Vec::new();
        };
        let Some(key) = self.keys.get_mut(&name) else {
            return Vec::new();
        };
        let Some(at) = key.candidates.iter().position(|known| known.uid == uid) else {
            return Vec::new();
        };
        // Their order is that of their turns, which an object that cannot write must not change.
        let gone = key.candidates.remove(at);
        let freed = if gone.occupies() {
            key.disappeared(&gone.names.namespace, &self.rules, now)
        } else {
            Vec::new()
        };
        if key.candidates.is_empty() {
            self.keys.remove(&name);
        }
        freed
    }

    /// After a complete list: removes every object that is not in it, and returns the objects that may take over.
    pub fn retain(&mut self, still_there: impl Fn(&str) -> bool, now: Timestamp) -> Vec<Names> {
        let gone: Vec<String> = self
            .by_uid
            .keys()
            .filter(|uid| !still_there(uid))
            .cloned()
            .collect();
        let freed = gone.iter().flat_map(|uid| self.remove(uid, now)).collect();
        if !std::mem::replace(&mut self.listed, true) {
            for key in self.keys.values_mut() {
                key.disappeared_unseen(&self.rules, now);
            }
        }
        freed
    }

    /// Decides about an object in its reconcile, which learned this. `None` if the object is not known.
    pub fn decide(
        &mut self,
        uid: &str,
        stage: Stage,
        credential: Option<ClaimCredential>,
        evidence: Option<Evidence>,
        now: Timestamp,
    ) -> Option<Verdict> {
        let (listed, spacing) = (self.listed, self.rules.counted_spacing());
        let key = self.keys.get_mut(self.by_uid.get(uid)?)?;
        let me = key.candidates.iter_mut().find(|known| known.uid == uid)?;
        me.stage = stage;
        if let Some(evidence) = evidence {
            me.uses(credential);
            me.learn(evidence, spacing, now);
        }
        key.reservation = key
            .reservation
            .take()
            .filter(|reservation| reservation.until > now);
        let at = DecisionContext {
            decides: listed,
            // A key that no object waits for is not kept: the next object moves the owner to its namespace.
            reservation: key.reservation.as_ref().filter(|_| key.is_awaited()),
            rules: &self.rules,
            now,
        };
        let verdict = rules::verdict(&key.candidates, uid, &at)?;
        let me = key.candidates.iter_mut().find(|known| known.uid == uid)?;
        if verdict.ownership == Ownership::Undecided && me.wants_since.is_none() {
            // The short wait for others begins now.
            me.wants_since = Some(now);
        }
        if verdict.ownership != Ownership::Undecided {
            me.wants_since = None;
        }
        if verdict.state == State::Held && !me.state().occupies() {
            me.takes = true;
            key.reservation = None;
        } else if verdict.state != State::Held {
            me.takes = false;
        }
        Some(verdict)
    }

    /// The API server has this claim of the object now.
    pub fn acknowledged(&mut self, uid: &str, claim: Option<&ClaimStatus>, now: Timestamp) -> Acknowledged {
        let mut result = Acknowledged::default();
        let Some(key) = self.by_uid.get(uid).and_then(|name| self.keys.get_mut(name)) else {
            return result;
        };
        let Some(me) = key.candidates.iter_mut().find(|known| known.uid == uid) else {
            return result;
        };
        let (held, ours) = (
            State::of(me.claim.as_ref()).occupies(),
            claim.filter(|claim| belongs_to(claim, uid)),
        );
        let holds = State::of(ours).occupies();
        if me.claim.as_ref() != ours {
            me.claim = ours.cloned();
        }
        let (names, deleting) = (me.names.clone(), matches!(me.stage, Stage::Deleting { .. }));
        if holds {
            me.takes = false;
            let before = key.owner.replace((uid.to_owned(), names.clone()));
            result.change = before
                .filter(|(known, _)| known != uid)
                .map(|(_, from)| OwnerChange { from, to: names });
        } else if held {
            result.waiting = if deleting {
                key.disappeared(&names.namespace, &self.rules, now)
            } else {
                key.waiting()
            };
        }
        result
    }

    /// Azure denied (or accepted) a write of the object.
    pub fn wrote(&mut self, uid: &str, denied: bool, now: Timestamp) {
        let key = self.by_uid.get(uid).and_then(|name| self.keys.get_mut(name));
        let me = key.and_then(|key| key.candidates.iter_mut().find(|known| known.uid == uid));
        if let Some(me) = me {
            me.write_denied = denied.then_some(now);
        }
    }

    /// Another object that waits for the key of this one and proved its access.
    pub fn successor(&self, uid: &str) -> Option<&Names> {
        let key = self.keys.get(self.by_uid.get(uid)?)?;
        let mut others = key.candidates.iter().filter(|known| known.uid != uid);
        others.find(|known| known.waits()).map(|known| &known.names)
    }

    /// The holder that this object waits for, if its last proof is old: it may be suspended (R10), or its interval may be
    /// long.
    pub fn stale_holder(&self, uid: &str, now: Timestamp) -> Option<&Names> {
        let key = self.keys.get(self.by_uid.get(uid)?)?;
        let me = key.candidates.iter().find(|known| known.uid == uid)?;
        let holder = key
            .candidates
            .iter()
            .find(|known| known.uid != uid && known.occupies())?;
        let recent = rules::signed(self.rules.spacing.saturating_mul(2));
        let stale = holder.tried.is_none_or(|last| now.duration_since(last) > recent);
        let due = self.must_prove(&holder.uid, now) || (stale && holder.is_eligible());
        (me.waits() && due).then_some(&holder.names)
    }

    /// Whether a holder that is not reconciled by itself must prove its access now: another object waits, and the last
    /// try was some time ago (R10).
    pub fn must_prove(&self, uid: &str, now: Timestamp) -> bool {
        let Some(key) = self.by_uid.get(uid).and_then(|name| self.keys.get(name)) else {
            return false;
        };
        let Some(me) = key.candidates.iter().find(|known| known.uid == uid) else {
            return false;
        };
        let interval = rules::signed(self.rules.sleeping_interval().mul_f64(0.9));
        let due = me.tried.is_none_or(|last| now.duration_since(last) >= interval);
        let sleeps = matches!(me.stage, Stage::Suspended | Stage::Unreadable);
        sleeps && due && me.occupies() && self.successor(uid).is_some()
    }
}

impl Key {
    fn waiting(&self) -> Vec<Names> {
        let waits = |known: &&Candidate| known.state() == State::Waiting;
        self.candidates
            .iter()
            .filter(waits)
            .map(|known| known.names.clone())
            .collect()
    }

    /// R14: objects of other namespaces wait for a while, so that the owner can create its object again.
    fn disappeared(&mut self, namespace: &str, rules: &Rules, now: Timestamp) -> Vec<Names> {
        let waiting = self.waiting();
        if waiting.iter().any(|names| names.namespace != namespace) {
            self.reservation = Some(Reservation {
                namespace: Some(namespace.to_owned()),
                until: rules::reserved_until(rules, now),
            });
        }
        waiting
    }

    /// R14 for a holder that disappeared while no process watched: its namespace is not known. If an object has a
    /// reservation in its status, an earlier process saw the holder disappear and decided.
    fn disappeared_unseen(&mut self, rules: &Rules, now: Timestamp) {
        let occupied = self.candidates.iter().any(Candidate::occupies);
        let decided = self.candidates.iter().any(|known| {
            let claim = known.claim.as_ref();
            claim.is_some_and(|claim| claim.not_before.is_some())
        });
        if !occupied && !decided && !self.waiting().is_empty() {
            self.reservation = Some(Reservation {
                namespace: None,
                until: rules::reserved_until(rules, now),
            });
        }
    }
}
