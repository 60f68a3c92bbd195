//! Fleet verification for the objects of this controller: one scanner for each identity, shared by all its objects.
//!
//! ```text
//! visit ──join──▶ Member ─┐                      ┌─▶ Scans of the object ──news──▶ its next visit (status only)
//!                         ├─ schedule ─▶ Scanner ┤
//! requestedAt ────────────┘   (one per identity) └─▶ metrics
//! ```
//!
//! An object joins with its own credential after that has got a token: to name another namespace's tenant and
//! application is not enough to see what they see.

mod members;
mod metrics;
mod schedule;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kube::ResourceExt;
use serverprotection_api::{SecurityConnector, ServerProtection};
use serverprotection_azure::{
    Arm,
    fleet::{KnownMachine, Scanner, Settings, Sink, SubscriptionReading},
};
use serverprotection_core::{
    Timestamp,
    failure::{Class, Failure},
    jiff::SignedDuration,
    machines::{Environment, Exclusions, reading::Scans},
    security_connector::decide::MachineCounts,
};
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub(crate) use self::metrics::FleetMetrics;
use self::{
    members::{Member, Members},
    schedule::Batch,
};
use crate::{
    panics::{self, Task},
    roster::Roster,
    saving::now,
    wake::Wake,
};

/// All members, and what runs for them.
pub(crate) struct Fleet {
    interval: Duration,
    members: Mutex<Members>,
    /// By principal; a scanner lives as long as it has a member.
    scanners: Mutex<HashMap<String, Arc<Scanner>>>,
    changed: Notify,
    wake: Wake<ServerProtection>,
    wake_connectors: Wake<SecurityConnector>,
    roster: Arc<Roster>,
    metrics: Arc<FleetMetrics>,
}

impl Fleet {
    pub(crate) fn new(
        interval: Duration,
        wake: Wake<ServerProtection>,
        wake_connectors: Wake<SecurityConnector>,
        roster: Arc<Roster>,
        metrics: Arc<FleetMetrics>,
    ) -> Self {
        Self {
            interval,
            members: Mutex::default(),
            scanners: Mutex::default(),
            changed: Notify::new(),
            wake,
            wake_connectors,
            roster,
            metrics,
        }
    }

    /// The object's machines are scanned with this client from now on. `requested`: at once, and they alone.
    pub(crate) fn join(&self, object: &ServerProtection, arm: &Arc<Arm>, requested: bool) {
        let Some(uid) = object.uid() else { return };
        let member = Member {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            subscription: object.spec.subscription_id.clone(),
            arm: Arc::clone(arm),
            exclusions: Arc::new(Exclusions::of(&object.spec.machines)),
            grace: grace(&object.spec.machines.grace_period),
            credential: Ok(()),
            unprotected: unprotected(object),
        };
        if self.members().join(uid, member, requested, Instant::now()) {
            self.changed.notify_one();
        }
    }

    /// The object's own credential does not work: its scans fail with it, also while another object of the same
    /// identity goes on.
    pub(crate) fn without_credential(&self, object: &ServerProtection, failure: &Failure) {
        if let Some(uid) = object.uid() {
            self.members().without_credential(&uid, failure.clone());
        }
    }

    /// The object is gone, asleep, or owns its subscription no more.
    pub(crate) fn leave(&self, uid: &str) {
        let Some(principal) = self.members().leave(uid) else {
            return;
        };
        self.scanners().remove(&principal);
        self.metrics.forget(&principal);
    }

    /// Members that are gone while nobody watched leave.
    pub(crate) fn retain(&self, still_there: impl Fn(&str) -> bool) {
        let gone = self.members().uids(|uid| !still_there(uid));
        for uid in gone {
            self.leave(&uid);
        }
    }

    /// What the scans say so far; `None` before the first one.
    pub(crate) fn scans(&self, uid: &str) -> Option<Scans> {
        self.members().scans(uid)
    }

    /// The machines of these accounts, as the scans of a `ServerProtection` say; `None` before the first one.
    pub(crate) fn machines_of(
        &self,
        protection: &str,
        environment: Environment,
        accounts: &[String],
    ) -> Option<MachineCounts> {
        self.members().machines_of(protection, environment, accounts)
    }

    /// Whether there is news that no visit has told yet; asked once.
    pub(crate) fn take_news(&self, uid: &str) -> bool {
        self.members().take_news(uid)
    }

    /// Scans what is due until the process ends.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let start = || Arc::clone(&self).scan_what_is_due(stop.clone());
        self.metrics.panics.restarted(Task::ScanSchedule, start).await;
    }

    async fn scan_what_is_due(self: Arc<Self>, stop: CancellationToken) {
        let mut running = JoinSet::new();
        loop {
            let (due, wait) = self.members().due(Instant::now(), self.interval);
            for batch in due {
                running.spawn(Arc::clone(&self).scan_or_say_why_not(batch));
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                () = self.changed.notified() => {}
                Some(ended) = running.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a scan of the fleet ended by itself; the next one is made in time");
                    }
                }
            }
        }
    }

    /// A scan that panics is one that failed, for all objects of the batch that it had not told yet.
    async fn scan_or_say_why_not(self: Arc<Self>, batch: Batch) {
        let (principal, began) = (batch.principal.clone(), Timestamp::now());
        let subscriptions: Vec<_> = batch.targets.iter().map(|one| one.subscription.clone()).collect();
        let scan = Box::pin(Arc::clone(&self).scan(batch));
        let Err(panic) = panics::caught(scan).await else {
            return;
        };
        self.metrics.panics.count_task(Task::MachineScan);
        tracing::error!(
            principal,
            subscriptions = subscriptions.len(),
            panic,
            "internal error: a scan of the fleet panicked; the next one is made in time, please report this line"
        );
        for subscription in &subscriptions {
            self.hear(&principal, subscription, &Err(internal_error()), began);
        }
    }

    async fn scan(self: Arc<Self>, batch: Batch) {
        // A scan that is dropped or panics must not keep its identity from being scanned again.
        let _running = Running {
            fleet: &self,
            batch: &batch,
        };
        let began = Timestamp::now();
        for (subscription, failure) in &batch.without_credential {
            self.hear(&batch.principal, subscription, &Err(failure.clone()), began);
        }
        let Some(arm) = batch.arm.clone() else { return };
        let scanner = self.scanner(&batch.principal, arm);
        let sink = Hearing {
            fleet: &self,
            principal: &batch.principal,
            began,
            failed: std::sync::atomic::AtomicUsize::new(0),
        };
        let report = scanner.scan(&batch.targets, &sink).await;
        if batch.whole {
            let subscriptions = self.members().subscriptions(&batch.principal);
            scanner.retain(|subscription| subscriptions.contains(subscription));
        }
        let failed = sink.failed.into_inner();
        self.metrics
            .scanned(&batch.principal, batch.whole, failed == 0, &report);
        let subscriptions = batch.targets.len();
        if failed > 0 {
            tracing::warn!(
                principal = batch.principal,
                subscriptions,
                failed,
                ?report,
                "fleet scanned, not all of it"
            );
        } else {
            tracing::info!(principal = batch.principal, subscriptions, queries = report.queries, rows = report.rows, unreadable = report.unreadable, confirmations = report.confirmations, took = ?report.took, "fleet scanned");
        }
    }

    fn scanner(&self, principal: &str, arm: Arc<Arm>) -> Arc<Scanner> {
        let mut scanners = self.scanners();
        let scanner = scanners
            .entry(principal.to_owned())
            .or_insert_with(|| Arc::new(Scanner::new(Arc::clone(&arm), Settings::default())));
        scanner.set_arm(arm);
        Arc::clone(scanner)
    }

    /// Takes the result of a scan, and wakes the object when there is something new to tell.
    fn hear(
        &self,
        principal: &str,
        subscription: &str,
        result: &Result<SubscriptionReading, Failure>,
        began: Timestamp,
    ) {
        let woken = self.members().hear(principal, subscription, result, began, now());
        for (namespace, name) in woken {
            self.wake.for_news(&namespace, &name);
            for connector in self.roster.machines_changed(&namespace, &name) {
                self.wake_connectors.for_news(&namespace, &connector);
            }
        }
    }

    /// For every member: namespace, name and what is known of its machines.
    pub(crate) fn each(&self, tell: impl FnMut(&str, &str, &Scans)) {
        self.members().each(tell);
    }

    /// Quota of Resource Graph that is left, the smallest of all identities.
    pub(crate) fn quota_left(&self) -> Option<u32> {
        self.scanners()
            .values()
            .filter_map(|scanner| scanner.quota_left())
            .min()
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn scanners(&self) -> MutexGuard<'_, HashMap<String, Arc<Scanner>>> {
        self.scanners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Running<'a> {
    fleet: &'a Fleet,
    batch: &'a Batch,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.fleet.members().ended(self.batch);
        self.fleet.changed.notify_one();
    }
}

struct Hearing<'a> {
    fleet: &'a Fleet,
    principal: &'a str,
    began: Timestamp,
    failed: std::sync::atomic::AtomicUsize,
}

impl Sink for Hearing<'_> {
    fn subscription(&self, subscription: &str, reading: Result<SubscriptionReading, Failure>) {
        if let Err(failure) = &reading {
            tracing::warn!(subscription, %failure, "the machines of a subscription could not be read");
            self.failed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        self.fleet
            .hear(self.principal, subscription, &reading, self.began);
    }
}

/// Our mistake; what it was stands in the log.
fn internal_error() -> Failure {
    Failure {
        class: Class::Transient,
        code: "InternalError".into(),
        message: "the controller made a mistake while it read the machines; its log says more".into(),
        operation: "scan the machines".into(),
        request_id: None,
        effect_unknown: false,
    }
}

/// The machines that the status names. An earlier process may have written it: they are all that is left of what it knew.
fn unprotected(object: &ServerProtection) -> Arc<[KnownMachine]> {
    let status = object.status.as_ref();
    let machines = status.and_then(|status| status.machines.as_ref());
    let worst = machines.into_iter().flat_map(|machines| &machines.worst);
    let known = worst.filter_map(|machine| {
        let mut all = Environment::ALL.into_iter();
        Some(KnownMachine {
            environment: all.find(|environment| environment.as_str() == machine.environment)?,
            id: machine.id.clone(),
        })
    });
    known.collect()
}

/// Admission has checked it; an object from before the rule gets the default, or the nearest that the rule allows.
fn grace(text: &str) -> SignedDuration {
    let day = SignedDuration::from_hours(24);
    let grace =
        humantime::parse_duration(text).map_or(day, |grace| SignedDuration::try_from(grace).unwrap_or(day));
    grace.clamp(SignedDuration::from_mins(1), SignedDuration::from_hours(720))
}
