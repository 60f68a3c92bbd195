//! The subscriptions to scan, the identity for each of them, and the results so far.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use serverprotection_azure::{
    Client,
    fleet::{KnownMachine, SubscriptionReading},
};
use serverprotection_core::{
    Timestamp,
    azure_error::AzureError,
    jiff::SignedDuration,
    machines::{Environment, Exclusions, MachineCounts, reading::Scans},
};

use super::schedule::Schedule;

/// An object whose subscription is scanned.
pub(super) struct ScannedObject {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) subscription: String,
    pub(super) client: Arc<Client>,
    pub(super) exclusions: Arc<Exclusions>,
    pub(super) grace: SignedDuration,
    /// The plan of the subscription when it was last read.
    pub(super) plan: PlanReading,
    /// Whether the credential of the object works.
    pub(super) credential: Result<(), AzureError>,
    /// Unprotected machines in the status of the object; empty once a scan with this identity has succeeded in this
    /// process.
    pub(super) unprotected: Arc<[KnownMachine]>,
    /// Whether the status of the object shows machines.
    pub(super) had_machines: bool,
}

/// The plan of a subscription as a reconcile read it from Azure Resource Manager. Resource Graph lags behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PlanReading {
    /// Not read.
    #[default]
    Unknown,
    /// Free.
    Off,
    /// P1 or P2, and since when, if Azure says so.
    On(Option<Timestamp>),
}

impl PlanReading {
    /// The plan after an earlier reading. A plan that was off and is on without a date was enabled now.
    fn after(self, before: Self, now: Timestamp) -> Self {
        match (before, self) {
            (before, Self::Unknown) => before,
            (Self::Off, Self::On(None)) => Self::On(Some(now)),
            (Self::On(since), Self::On(None)) => Self::On(since),
            (_, plan) => plan,
        }
    }

    /// Whether the plan was changed between the two readings.
    fn was_changed(self, before: Self) -> bool {
        before != Self::Unknown && before != self
    }

    /// When the plan was enabled, if it is on.
    pub(super) const fn enabled(self) -> Option<Timestamp> {
        match self {
            Self::On(since) => since,
            Self::Off | Self::Unknown => None,
        }
    }
}

impl ScannedObject {
    /// Returns whether a scan has the same result for both. After a change of the plan it has not: the grace period of
    /// the machines begins again.
    fn scans_the_same(&self, before: &Self) -> bool {
        self.subscription == before.subscription
            && self.exclusions == before.exclusions
            && self.grace == before.grace
            && self.credential == before.credential
            && self.client.principal() == before.client.principal()
            && !self.plan.was_changed(before.plan)
    }
}

#[derive(Default)]
pub(super) struct ScanTargets {
    pub(super) all: HashMap<String, ScanTarget>,
    pub(super) schedules: HashMap<String, Schedule>,
}

/// An object, and the results of its scans.
pub(super) struct ScanTarget {
    pub(super) object: ScannedObject,
    scans: Scans,
}

impl ScanTarget {
    /// Whether the last scan listed machines; before the first one of this process, whether the status shows some.
    pub(super) fn had_machines(&self) -> bool {
        let reading = self.scans.reading.as_ref();
        reading.map_or(self.object.had_machines, |reading| {
            reading.summary.tally.total(&Environment::ALL) > 0
        })
    }
}

impl ScanTargets {
    /// Adds or updates an object. Returns whether a scan must be scheduled.
    pub(super) fn register(
        &mut self,
        uid: String,
        mut object: ScannedObject,
        requested: bool,
        now: Instant,
    ) -> bool {
        let before = self.all.remove(&uid);
        let was_scanned = before.as_ref().is_some_and(|before| {
            before.scans.reading.is_some() && before.object.client.principal() == object.client.principal()
        });
        if was_scanned {
            object.unprotected = Arc::default();
        }
        let moved = before
            .as_ref()
            .is_some_and(|before| before.object.subscription != object.subscription);
        if let Some(before) = before.as_ref().filter(|_| !moved) {
            object.plan = object.plan.after(before.object.plan, crate::clock::now());
        }
        let same = before
            .as_ref()
            .is_some_and(|before| object.scans_the_same(&before.object));
        let principal = object.client.principal().to_owned();
        let scans = before
            .map(|before| before.scans)
            .filter(|_| !moved)
            .unwrap_or_default();
        self.all.insert(uid.clone(), ScanTarget { object, scans });
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
            known.object.credential = Err(failure);
        }
    }

    /// Removes an object. Returns its client if it was the last object of that principal.
    pub(super) fn deregister(&mut self, uid: &str) -> Option<Arc<Client>> {
        let client = self.all.remove(uid)?.object.client;
        if self.has(client.principal()) {
            return None;
        }
        self.schedules.remove(client.principal());
        Some(client)
    }

    pub(super) fn uids(&self, expected: impl Fn(&str) -> bool) -> Vec<String> {
        self.all.keys().filter(|uid| expected(uid)).cloned().collect()
    }

    /// The subscriptions that a principal scans.
    pub(super) fn subscriptions(&self, principal: &str) -> HashSet<String> {
        let scan_targets = self.all.values().map(|known| &known.object);
        scan_targets
            .filter(|object| object.client.principal() == principal)
            .map(|object| object.subscription.clone())
            .collect()
    }

    pub(super) fn has(&self, principal: &str) -> bool {
        self.all
            .values()
            .any(|known| known.object.client.principal() == principal)
    }

    pub(super) fn scans(&self, uid: &str) -> Option<Scans> {
        let scans = &self.all.get(uid)?.scans;
        (*scans != Scans::default()).then(|| scans.clone())
    }

    /// The machines of these accounts, according to the scans of a `ServerProtection`.
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

    /// Records the result of an object, and returns its namespace and name if it changes its status. A scan for another
    /// principal or subscription than that of the object by now does not count. Two scans may run at once: a result that
    /// is older than the recorded one is ignored.
    pub(super) fn record_result(
        &mut self,
        principal: &str,
        uid: &str,
        subscription: &str,
        result: Result<SubscriptionReading, AzureError>,
        began: Timestamp,
        now: Timestamp,
    ) -> Option<(String, String)> {
        let known = self.all.get_mut(uid)?;
        if known.object.subscription != subscription || known.object.client.principal() != principal {
            return None;
        }
        let newest = known.scans.reading.as_ref().map(|reading| reading.at);
        // An object gets results only if its own credential works.
        let own = known.object.credential.clone();
        let result = own.and(result);
        if newest.is_some_and(|newest| newest > result.as_ref().map_or(began, |reading| reading.at)) {
            return None;
        }
        if result.is_ok() {
            known.object.unprotected = Arc::default();
        }
        let before = known.scans.clone();
        known.scans.add(result, now);
        let names = (known.object.namespace.clone(), known.object.name.clone());
        known.scans.differs_from(&before).then_some(names)
    }

    /// The remaining quota of Resource Graph, the smallest of all principals.
    pub(super) fn quota_left(&self) -> Option<u32> {
        let all = self.all.values();
        all.filter_map(|known| known.object.client.quota_left()).min()
    }

    pub(super) fn each(&self, mut on_target: impl FnMut(&str, &str, &Scans)) {
        for known in self.all.values() {
            on_target(&known.object.namespace, &known.object.name, &known.scans);
        }
    }
}
