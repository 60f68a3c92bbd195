//! Who is verified, with what, and what is known so far.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use serverprotection_azure::{
    Arm,
    fleet::{KnownMachine, SubscriptionReading},
};
use serverprotection_core::{
    Timestamp,
    azure_error::AzureError,
    jiff::SignedDuration,
    machines::{Environment, Exclusions, MachineCounts, reading::Scans},
};

use super::schedule::Schedule;

/// One object.
pub(super) struct Member {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) subscription: String,
    pub(super) arm: Arc<Arm>,
    pub(super) exclusions: Arc<Exclusions>,
    pub(super) grace: SignedDuration,
    /// Whether the object's own credential works.
    pub(super) credential: Result<(), AzureError>,
    /// Machines that its status names; empty once a scan of this identity has succeeded in this process.
    pub(super) unprotected: Arc<[KnownMachine]>,
}

impl Member {
    /// Whether a scan would say the same of both.
    fn asks_the_same(&self, other: &Self) -> bool {
        self.subscription == other.subscription
            && self.exclusions == other.exclusions
            && self.grace == other.grace
            && self.credential == other.credential
            && self.arm.principal() == other.arm.principal()
    }
}

#[derive(Default)]
pub(super) struct ScanTargets {
    pub(super) all: HashMap<String, ScanTarget>,
    pub(super) schedules: HashMap<String, Schedule>,
}

/// A member and what is known of its machines.
pub(super) struct ScanTarget {
    pub(super) member: Member,
    scans: Scans,
    /// There is something that no visit has told yet.
    status_refresh: bool,
}

impl ScanTargets {
    /// Whether a scan has to be scheduled.
    pub(super) fn register(
        &mut self,
        uid: String,
        mut member: Member,
        requested: bool,
        now: Instant,
    ) -> bool {
        let before = self.all.remove(&uid);
        let was_scanned = before.as_ref().is_some_and(|before| {
            before.scans.reading.is_some() && before.member.arm.principal() == member.arm.principal()
        });
        if was_scanned {
            member.unprotected = Arc::default();
        }
        let same = before
            .as_ref()
            .is_some_and(|before| before.member.asks_the_same(&member));
        let moved = before
            .as_ref()
            .is_some_and(|before| before.member.subscription != member.subscription);
        let principal = member.arm.principal().to_owned();
        let scans = before
            .map(|before| before.scans)
            .filter(|_| !moved)
            .unwrap_or_default();
        self.all.insert(
            uid.clone(),
            ScanTarget {
                member,
                scans,
                status_refresh: false,
            },
        );
        if same && !requested {
            return false;
        }
        let schedule = self
            .schedules
            .entry(principal)
            .or_insert_with(|| Schedule::new(now));
        schedule.add(uid, requested, now);
        true
    }

    pub(super) fn without_credential(&mut self, uid: &str, failure: AzureError) {
        if let Some(known) = self.all.get_mut(uid) {
            known.member.credential = Err(failure);
        }
    }

    /// Gives the principal when its last member has left.
    pub(super) fn deregister(&mut self, uid: &str) -> Option<String> {
        let known = self.all.remove(uid)?;
        let principal = known.member.arm.principal().to_owned();
        if self.has(&principal) {
            return None;
        }
        self.schedules.remove(&principal);
        Some(principal)
    }

    pub(super) fn uids(&self, expected: impl Fn(&str) -> bool) -> Vec<String> {
        self.all.keys().filter(|uid| expected(uid)).cloned().collect()
    }

    /// What an identity scans.
    pub(super) fn subscriptions(&self, principal: &str) -> HashSet<String> {
        let scan_targets = self.all.values().map(|known| &known.member);
        scan_targets
            .filter(|member| member.arm.principal() == principal)
            .map(|member| member.subscription.clone())
            .collect()
    }

    pub(super) fn has(&self, principal: &str) -> bool {
        self.all
            .values()
            .any(|known| known.member.arm.principal() == principal)
    }

    pub(super) fn scans(&self, uid: &str) -> Option<Scans> {
        let scans = &self.all.get(uid)?.scans;
        (*scans != Scans::default()).then(|| scans.clone())
    }

    /// The machines of these accounts, as far as the scans of a member say.
    pub(super) fn machines_of(
        &self,
        uid: &str,
        environment: Environment,
        accounts: &[String],
    ) -> Option<MachineCounts> {
        let reading = self.all.get(uid)?.scans.reading.as_ref()?;
        let accounts = accounts.iter().map(String::as_str);
        Some(reading.summary.of_accounts(environment, accounts))
    }

    pub(super) fn take_refresh(&mut self, uid: &str) -> bool {
        self.all
            .get_mut(uid)
            .is_some_and(|known| std::mem::take(&mut known.status_refresh))
    }

    /// Adds a result, and names the objects that have something new to tell. A scan that began before the one whose
    /// numbers stand says nothing new: two may run at once.
    pub(super) fn record_result(
        &mut self,
        principal: &str,
        subscription: &str,
        result: &Result<SubscriptionReading, AzureError>,
        began: Timestamp,
        now: Timestamp,
    ) -> Vec<(String, String)> {
        let mut triggered = Vec::new();
        for known in self.all.values_mut() {
            if known.member.subscription != subscription || known.member.arm.principal() != principal {
                continue;
            }
            let newest = known.scans.reading.as_ref().map(|reading| reading.at);
            // Its own credential decides what it may hear.
            let own = known.member.credential.clone();
            let result = own.and_then(|()| result.clone());
            if newest.is_some_and(|newest| newest > result.as_ref().map_or(began, |reading| reading.at)) {
                continue;
            }
            if result.is_ok() {
                known.member.unprotected = Arc::default();
            }
            let before = known.scans.clone();
            known.scans.add(result, now);
            if known.scans.differs_from(&before) {
                known.status_refresh = true;
                triggered.push((known.member.namespace.clone(), known.member.name.clone()));
            }
        }
        triggered
    }

    pub(super) fn each(&self, mut on_target: impl FnMut(&str, &str, &Scans)) {
        for known in self.all.values() {
            on_target(&known.member.namespace, &known.member.name, &known.scans);
        }
    }
}
