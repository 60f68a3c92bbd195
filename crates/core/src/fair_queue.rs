//! Which objects may be reconciled now, so that the objects of one tenant do not delay those of others.
//!
//! Every tenant has a share. While others wait, it runs no more than its share; alone, it may use all slots. What it
//! uses beyond its share is lent: it does not count for others, so that they need not wait until it is given back. At
//! most twice as many objects as there are slots run at once.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    hash::Hash,
};

/// The slots of each namespace, and of each credential.
pub const SHARE: usize = 8;

/// Whose object it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant {
    /// The namespace of the object.
    pub namespace: String,
    /// The credential in this namespace that the object acts with, if it is known.
    pub credential: Option<String>,
}

/// The objects that run, and those that wait.
#[derive(Debug)]
pub struct FairQueue<Id> {
    slots: usize,
    /// Includes those that may run and have not begun.
    running: HashMap<Id, Tenant>,
    /// May run and have not begun.
    granted: HashSet<Id>,
    by_namespace: HashMap<String, usize>,
    by_tenant: HashMap<Tenant, usize>,
    /// In the order of their arrival.
    waiting: BTreeMap<Tenant, VecDeque<(u64, Id)>>,
    queued: HashSet<Id>,
    arrivals: u64,
}

impl<Id: Clone + Eq + Hash> FairQueue<Id> {
    /// A queue with this many slots, at least one.
    pub fn new(slots: usize) -> Self {
        Self {
            slots: slots.max(1),
            running: HashMap::new(),
            granted: HashSet::new(),
            by_namespace: HashMap::new(),
            by_tenant: HashMap::new(),
            waiting: BTreeMap::new(),
            queued: HashSet::new(),
            arrivals: 0,
        }
    }

    /// Whether the object may run now. If not, it waits, and [`Self::leave`] of another object returns it when it may.
    pub fn enter(&mut self, id: &Id, tenant: &Tenant) -> bool {
        if self.granted.remove(id) || self.running.contains_key(id) {
            return true;
        }
        if self.queued.contains(id) {
            return false;
        }
        if self.admits(tenant) {
            self.start(id.clone(), tenant.clone());
            return true;
        }
        self.arrivals = self.arrivals.wrapping_add(1);
        self.queued.insert(id.clone());
        self.waiting
            .entry(tenant.clone())
            .or_default()
            .push_back((self.arrivals, id.clone()));
        false
    }

    /// The object has ended, or does not exist any more. Returns the objects that may run now; each of them must enter
    /// or leave.
    pub fn leave(&mut self, id: &Id) -> Vec<Id> {
        self.granted.remove(id);
        if let Some(tenant) = self.running.remove(id) {
            subtract(&mut self.by_namespace, &tenant.namespace);
            subtract(&mut self.by_tenant, &tenant);
        }
        let mut granted = Vec::new();
        while let Some(tenant) = self.next() {
            let Some(waiting) = self.waiting.get_mut(&tenant) else {
                break;
            };
            let next = waiting.pop_front();
            if waiting.is_empty() {
                self.waiting.remove(&tenant);
            }
            let Some((_, id)) = next else { break };
            self.queued.remove(&id);
            self.granted.insert(id.clone());
            self.start(id.clone(), tenant);
            granted.push(id);
        }
        granted
    }

    /// The tenant whose object runs next: the one that runs the fewest, then the one that waits longest.
    fn next(&self) -> Option<Tenant> {
        let candidates = self.waiting.iter().filter(|(tenant, _)| self.admits(tenant));
        let first = candidates.min_by_key(|(tenant, waiting)| {
            let arrival = waiting.front().map(|(arrival, _)| *arrival);
            (self.of_namespace(tenant), self.of_tenant(tenant), arrival)
        });
        first.map(|(tenant, _)| tenant.clone())
    }

    fn admits(&self, tenant: &Tenant) -> bool {
        if self.of_namespace(tenant) < SHARE && self.of_tenant(tenant) < SHARE {
            let counted: usize = self
                .by_namespace
                .values()
                .map(|running| (*running).min(SHARE))
                .sum();
            counted < self.slots
        } else {
            self.running.len() < self.slots
        }
    }

    fn start(&mut self, id: Id, tenant: Tenant) {
        *self.by_namespace.entry(tenant.namespace.clone()).or_default() += 1;
        *self.by_tenant.entry(tenant.clone()).or_default() += 1;
        self.running.insert(id, tenant);
    }

    fn of_namespace(&self, tenant: &Tenant) -> usize {
        self.by_namespace
            .get(&tenant.namespace)
            .copied()
            .unwrap_or_default()
    }

    fn of_tenant(&self, tenant: &Tenant) -> usize {
        self.by_tenant.get(tenant).copied().unwrap_or_default()
    }
}

fn subtract<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SLOTS: usize = 32;

    fn tenant(namespace: &str, credential: &str) -> Tenant {
        Tenant {
            namespace: namespace.into(),
            credential: Some(credential.into()),
        }
    }

    /// Lets `count` objects of a tenant enter. Returns how many run.
    fn enter(queue: &mut FairQueue<String>, tenant: &Tenant, count: usize) -> usize {
        let id = |n| format!("{}/{:?}/{n}", tenant.namespace, tenant.credential);
        (0..count).filter(|&n| queue.enter(&id(n), tenant)).count()
    }

    #[test]
    fn alone_a_tenant_uses_all_slots_and_another_still_does_not_wait() {
        let (a, b) = (tenant("a", "x"), tenant("b", "x"));
        let mut queue = FairQueue::new(SLOTS);
        assert_eq!(enter(&mut queue, &a, 40), SLOTS);
        assert_eq!(enter(&mut queue, &b, 10), SHARE, "although all slots are in use");
        // What tenant a gives back goes to tenant b, and to tenant a only within the slots.
        let left = "a/Some(\"x\")/0".to_owned();
        assert_eq!(queue.leave(&left), [] as [String; 0], "39 of 32 run");
        for n in 1..=SHARE {
            queue.leave(&format!("a/Some(\"x\")/{n}"));
        }
        assert_eq!(queue.running.len(), SLOTS);
    }

    #[test]
    fn a_free_slot_goes_to_the_tenant_that_runs_the_fewest() {
        let mut queue = FairQueue::new(2);
        let (a, b) = (tenant("a", "x"), tenant("b", "x"));
        assert_eq!(enter(&mut queue, &a, 5), 2);
        assert!(!queue.enter(&"late".to_owned(), &b));
        assert_eq!(queue.leave(&"a/Some(\"x\")/0".to_owned()), ["late"]);
        assert!(queue.enter(&"late".to_owned(), &b), "it was granted");
        assert_eq!(queue.leave(&"late".to_owned()), ["a/Some(\"x\")/2"]);
    }

    #[test]
    fn a_slow_credential_does_not_delay_another_one_of_its_namespace() {
        let mut queue = FairQueue::new(SLOTS);
        let (slow, quick) = (tenant("a", "slow"), tenant("a", "quick"));
        assert_eq!(enter(&mut queue, &slow, 40), SLOTS);
        assert!(!queue.enter(&"q".to_owned(), &quick));
        assert_eq!(queue.leave(&"a/Some(\"slow\")/0".to_owned()), ["q"]);
    }

    #[test]
    fn an_object_that_disappears_gives_its_slot_back() {
        let mut queue = FairQueue::new(1);
        let a = tenant("a", "x");
        assert!(queue.enter(&"1".to_owned(), &a));
        assert!(!queue.enter(&"2".to_owned(), &a) && !queue.enter(&"3".to_owned(), &a));
        assert!(!queue.enter(&"2".to_owned(), &a), "it waits once");
        assert_eq!(queue.leave(&"1".to_owned()), ["2"]);
        assert_eq!(queue.leave(&"2".to_owned()), ["3"], "deleted before it began");
        assert_eq!(queue.leave(&"3".to_owned()), [] as [String; 0]);
        assert!(queue.running.is_empty() && queue.by_namespace.is_empty() && queue.by_tenant.is_empty());
    }

    proptest! {
        /// In every sequence: the bounds hold, nothing waits that may run, and everything runs in the end.
        #[test]
        fn bounds_hold_and_everything_runs(
            slots in 1_usize..40,
            steps in prop::collection::vec((0_u8..4, 0_u8..3, any::<bool>(), any::<prop::sample::Index>()), 1..200),
        ) {
            let mut queue = FairQueue::new(slots);
            let (mut running, mut waiting) = (Vec::new(), HashSet::new());
            for (number, (namespace, credential, arrives, which)) in steps.into_iter().enumerate() {
                let tenant = tenant(&namespace.to_string(), &credential.to_string());
                if arrives || running.is_empty() {
                    let below = queue.of_namespace(&tenant) < SHARE && queue.of_namespace(&tenant) < slots;
                    let others: usize = queue.by_namespace.iter()
                        .filter(|(name, _)| **name != tenant.namespace)
                        .map(|(_, count)| (*count).min(SHARE)).sum();
                    if queue.enter(&number, &tenant) {
                        running.push(number);
                    } else {
                        prop_assert!(!below || others + queue.of_namespace(&tenant) >= slots);
                        waiting.insert(number);
                    }
                } else {
                    let ended = running.swap_remove(which.index(running.len()));
                    for granted in queue.leave(&ended) {
                        prop_assert!(waiting.remove(&granted));
                        running.push(granted);
                    }
                }
                prop_assert_eq!(queue.running.len(), running.len());
                prop_assert!(running.len() < 2 * slots);
            }
            while let Some(ended) = running.pop() {
                for granted in queue.leave(&ended) {
                    prop_assert!(waiting.remove(&granted));
                    running.push(granted);
                }
            }
            prop_assert!(waiting.is_empty());
        }
    }
}
