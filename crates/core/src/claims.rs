//! Which object owns a subscription (I-3). An object keeps the claim that it holds; a free claim goes to the older
//! object, then to the smaller uid. The index over all objects is fed by watch events. A connector and the account
//! that it connects are claimed by the same rules, under the keys of `security_connector::account::claims`.

use std::collections::HashMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serverprotection_api::ClaimStatus;

use crate::{
    Timestamp,
    conditions::{ConditionStatus, ConditionType, Conditions, Reason},
    message::Message,
};

/// An object that names a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Uid of the object: a recreated object of the same name is a different claimant.
    pub uid: String,
    /// The subscription that it names, or the key of another subject that has one owner.
    pub subscription: String,
    /// When the object was created.
    pub created: Option<Timestamp>,
    /// Whether its status says that it holds the claim.
    pub held: bool,
}

/// The result for one claimant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The claimant owns its subscription.
    Held,
    /// Another object owns the subscription.
    Conflicted {
        /// The owner, as `namespace/name`.
        holder: String,
    },
}

/// All claimants by subscription, and the holder of each claim.
#[derive(Debug, Default)]
pub struct ClaimIndex {
    by_subscription: HashMap<String, Vec<Claimant>>,
    /// Claims decided by this process, which are newer than the cached status.
    holders: HashMap<String, String>,
}

impl ClaimIndex {
    /// Adds an object or replaces its entry.
    pub fn upsert(&mut self, claimant: Claimant) {
        let claimants = self
            .by_subscription
            .entry(claimant.subscription.clone())
            .or_default();
        match claimants.iter_mut().find(|known| known.uid == claimant.uid) {
            Some(known) => *known = claimant,
            None => claimants.push(claimant),
        }
    }

    /// Removes a deleted object. Returns the other claimants of its subscription, because one of them may take over.
    pub fn remove(&mut self, subscription: &str, uid: &str) -> Vec<Claimant> {
        let Some(claimants) = self.by_subscription.get_mut(subscription) else {
            return Vec::new();
        };
        claimants.retain(|claimant| claimant.uid != uid);
        if self.holders.get(subscription).is_some_and(|holder| holder == uid) {
            self.holders.remove(subscription);
        }
        claimants.clone()
    }

    /// After a complete list: removes every object that is not in the list, and returns the claimants that may take
    /// over.
    pub fn retain(&mut self, seen: impl Fn(&str) -> bool) -> Vec<Claimant> {
        for claimants in self.by_subscription.values_mut() {
            claimants.retain(|claimant| seen(&claimant.uid));
        }
        self.by_subscription.retain(|_, claimants| !claimants.is_empty());
        let freed = |subscription: &String| self.holders.get(subscription).is_some_and(|uid| !seen(uid));
        let waiting: Vec<_> = self
            .by_subscription
            .iter()
            .filter(|(subscription, _)| freed(subscription))
            .flat_map(|(_, claimants)| claimants.clone())
            .collect();
        self.holders.retain(|_, uid| seen(uid));
        waiting
    }

    /// Removes a deleted object with several claims. Returns the other claimants of the same subjects.
    pub fn forget(&mut self, uid: &str) -> Vec<Claimant> {
        let keys: Vec<_> = self
            .by_subscription
            .iter()
            .filter(|(_, claimants)| claimants.iter().any(|claimant| claimant.uid == uid))
            .map(|(key, _)| key.clone())
            .collect();
        keys.iter().flat_map(|key| self.remove(key, uid)).collect()
    }

    /// Another claimant of the same subject, as `namespace/name`.
    pub fn other(&self, subscription: &str, uid: &str) -> Option<String> {
        let claimants = self.by_subscription.get(subscription)?;
        let other = claimants.iter().find(|claimant| claimant.uid != uid)?;
        Some(other.owner())
    }

    /// Whether `claimant` owns its subscription. The first call after a claim became free decides the holder.
    pub fn claim(&mut self, claimant: &Claimant) -> Claim {
        self.claim_all(std::slice::from_ref(claimant))
    }

    /// Whether one object owns every subject that it names. It gets all claims or none, so that a claim that it cannot
    /// use stays free.
    pub fn claim_all(&mut self, claimants: &[Claimant]) -> Claim {
        for claimant in claimants {
            self.upsert(claimant.clone());
        }
        let conflict = claimants.iter().find_map(|claimant| {
            let holder = self.holder(claimant);
            (holder.uid != claimant.uid).then(|| holder.owner())
        });
        if let Some(holder) = conflict {
            return Claim::Conflicted { holder };
        }
        for claimant in claimants {
            self.holders
                .insert(claimant.subscription.clone(), claimant.uid.clone());
        }
        Claim::Held
    }

    /// The holder of the subject that `claimant` names, or else the next holder.
    fn holder<'a>(&'a self, claimant: &'a Claimant) -> &'a Claimant {
        let claimants = self
            .by_subscription
            .get(&claimant.subscription)
            .map_or(&[][..], Vec::as_slice);
        let known = self.holders.get(&claimant.subscription);
        claimants
            .iter()
            .find(|candidate| known == Some(&candidate.uid))
            .or_else(|| {
                claimants
                    .iter()
                    .min_by_key(|candidate| (!candidate.held, candidate.created, &candidate.uid))
            })
            .unwrap_or(claimant)
    }
}

impl Claimant {
    fn owner(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// State of a claim in status: this object owns what it names.
pub const HELD: &str = "Held";
/// State of a claim in status: another object owns it.
pub const CONFLICTED: &str = "Conflicted";

/// The claim after a reconcile: its holder, since when, and since when Azure has matched the spec.
pub(crate) fn claim_status(
    previous: Option<&ClaimStatus>,
    holder: Option<&str>,
    established: bool,
    now: Timestamp,
) -> ClaimStatus {
    let state = if holder.is_some() { CONFLICTED } else { HELD };
    let same = previous.filter(|previous| previous.state == state);
    // A claim that was lost and regained starts again, because another writer may have changed Azure meanwhile.
    let known = same.and_then(|claim| claim.established_since.clone());
    ClaimStatus {
        state: state.into(),
        since: same.and_then(|claim| claim.since.clone()).or(Some(Time(now))),
        holder: holder.map(str::to_owned),
        established_since: known.or_else(|| established.then_some(Time(now))),
    }
}

/// Sets `Claimed`. The message never names the other object: it may be of another namespace.
pub(crate) fn set_claimed(conditions: &mut Conditions, held: bool, what: &str) {
    let (status, reason, message) = if held {
        let message = format!("This object owns {what}");
        (ConditionStatus::True, Reason::Held, message)
    } else {
        let message = format!("Another object owns {what}, so this one neither reads nor writes Azure");
        (ConditionStatus::False, Reason::HeldByAnother, message)
    };
    conditions.set(ConditionType::Claimed, status, reason, &Message::new(message));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimant(name: &str, created: i64, held: bool) -> Claimant {
        Claimant {
            namespace: format!("ns-{name}"),
            name: name.into(),
            uid: format!("uid-{name}"),
            subscription: "s".into(),
            created: Timestamp::from_second(created).ok(),
            held,
        }
    }

    #[test]
    fn a_free_claim_goes_to_the_older_object() {
        let (young, old) = (claimant("young", 20, false), claimant("old", 10, false));
        let mut index = ClaimIndex::default();
        index.upsert(young.clone());
        index.upsert(old.clone());
        assert_eq!(
            index.claim(&young),
            Claim::Conflicted {
                holder: "ns-old/old".into()
            }
        );
        assert_eq!(index.claim(&old), Claim::Held);
    }

    #[test]
    fn the_holder_keeps_it_against_an_older_object() {
        let (holder, older) = (claimant("holder", 20, true), claimant("older", 10, false));
        let mut index = ClaimIndex::default();
        index.upsert(holder.clone());
        assert_eq!(
            index.claim(&older),
            Claim::Conflicted {
                holder: "ns-holder/holder".into()
            }
        );
        assert_eq!(index.claim(&holder), Claim::Held);
    }

    #[test]
    fn a_decision_holds_although_the_cache_does_not_show_it_yet() {
        let (first, older) = (claimant("first", 20, false), claimant("older", 10, false));
        let mut index = ClaimIndex::default();
        assert_eq!(index.claim(&first), Claim::Held);
        assert_eq!(
            index.claim(&older),
            Claim::Conflicted {
                holder: "ns-first/first".into()
            }
        );
    }

    #[test]
    fn a_claimant_that_cannot_have_all_claims_takes_none() {
        let of = |name: &str, created, keys: &[&str]| -> Vec<_> {
            let named = |key: &&str| Claimant {
                subscription: (*key).into(),
                ..claimant(name, created, false)
            };
            keys.iter().map(named).collect()
        };
        let mut index = ClaimIndex::default();
        let holder = of("holder", 1, &["id", "account"]);
        assert_eq!(index.claim_all(&holder), Claim::Held);
        let torn = of("torn", 2, &["other", "account"]);
        assert!(matches!(index.claim_all(&torn), Claim::Conflicted { .. }));
        assert_eq!(
            index.other("account", "uid-holder").as_deref(),
            Some("ns-torn/torn")
        );
        // The older object asks first, but does not block the younger one with a claim that it cannot use.
        let waiting = index.forget("uid-holder");
        assert!(waiting.iter().any(|waiting| waiting.uid == "uid-torn"));
        assert_eq!(index.claim_all(&torn), Claim::Held);
        assert_eq!(index.other("id", "uid-torn"), None);
    }

    #[test]
    fn deletion_frees_the_claim_and_returns_the_other_claimants() {
        let (a, b) = (claimant("a", 1, true), claimant("b", 2, false));
        let mut index = ClaimIndex::default();
        index.upsert(a.clone());
        assert!(matches!(index.claim(&b), Claim::Conflicted { .. }));
        assert_eq!(index.remove("s", &a.uid), std::slice::from_ref(&b));
        assert_eq!(index.claim(&b), Claim::Held);
    }

    #[test]
    fn a_list_removes_objects_that_it_does_not_contain() {
        let (gone, stays) = (claimant("gone", 1, true), claimant("stays", 2, false));
        let mut index = ClaimIndex::default();
        assert_eq!(index.claim(&gone), Claim::Held);
        index.upsert(stays.clone());
        assert_eq!(index.retain(|uid| uid == stays.uid), std::slice::from_ref(&stays));
        assert_eq!(index.claim(&stays), Claim::Held);
    }
}
