//! Verifies the machines of all objects (docs/architecture.md 8): one schedule for each principal, shared by the objects
//! that use it.
//!
//! ```text
//! reconcile ──register──▶ ScanTargets ─┐                       ┌─▶ Scans of the object ──▶ status refresh
//!                                      ├─ schedule ─▶ Client ──┤
//! "reconcile now" ─────────────────────┘  (one per principal)  └─▶ metrics
//! ```
//!
//! An object is registered only after its own credential got a token: naming another namespace's tenant and
//! application is not enough to see its machines.

mod scan_targets;
mod schedule;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kube::ResourceExt;
use serverprotection_api::{SecurityConnector, ServerProtection, ServerProtectionStatus};
use serverprotection_azure::{
    Client,
    fleet::{KnownMachine, Report, ScanObserver, SubscriptionReading, Target},
};
use serverprotection_core::{
    Timestamp,
    azure_error::{AzureError, ErrorClass},
    jiff::SignedDuration,
    machines::{Environment, Exclusions, reading::Scans},
    security_connector::decide::MachineCounts,
};
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub(crate) use self::scan_targets::PlanReading;
use self::{
    scan_targets::{ScanTargets, ScannedObject},
    schedule::Batch,
};
use crate::{
    clock::now,
    connector_index::ConnectorIndex,
    metrics::{FleetGauges, FleetMetrics},
    panics::{self, Task},
    trigger::Trigger,
};

/// The objects to scan.
pub(crate) struct Fleet {
    interval: Duration,
    scan_targets: Mutex<ScanTargets>,
    changed: Notify,
    trigger: Trigger<ServerProtection>,
    trigger_connectors: Trigger<SecurityConnector>,
    connector_index: Arc<ConnectorIndex>,
    metrics: Arc<FleetMetrics>,
}

impl Fleet {
    pub(crate) fn new(
        interval: Duration,
        trigger: Trigger<ServerProtection>,
        trigger_connectors: Trigger<SecurityConnector>,
        connector_index: Arc<ConnectorIndex>,
        metrics: Arc<FleetMetrics>,
    ) -> Self {
        Self {
            interval,
            scan_targets: Mutex::default(),
            changed: Notify::new(),
            trigger,
            trigger_connectors,
            connector_index,
            metrics,
        }
    }

    /// Scans the machines of the object with this client from now on. `requested` scans them at once, without the other
    /// objects of the principal; a change of the plan soon. The cached object has no status, so that it is given beside
    /// it.
    pub(crate) fn register(
        &self,
        object: &ServerProtection,
        status: &ServerProtectionStatus,
        client: &Arc<Client>,
        plan: PlanReading,
        requested: bool,
    ) {
        let Some(uid) = object.uid() else { return };
        let scanned = ScannedObject {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            subscription: object.spec.subscription_id.clone(),
            client: Arc::clone(client),
            exclusions: Arc::new(Exclusions::of(&object.spec.machines)),
            grace: grace(&object.spec.machines.grace_period),
            plan,
            credential: Ok(()),
            unprotected: unprotected(status),
            had_machines: status
                .machines
                .as_ref()
                .is_some_and(|machines| machines.total > 0),
        };
        if self
            .scan_targets()
            .register(uid, scanned, requested, Instant::now())
        {
            self.changed.notify_one();
        }
    }

    /// Records that the object's own credential does not work. Its scans fail with this error, even if another object
    /// of the same principal can still scan.
    pub(crate) fn without_credential(&self, object: &ServerProtection, failure: &AzureError) {
        if let Some(uid) = object.uid() {
            self.scan_targets().without_credential(&uid, failure.clone());
        }
    }

    /// Stops scanning for an object that is deleted, suspended, or no longer owns its subscription.
    pub(crate) fn deregister(&self, uid: &str) {
        let Some(client) = self.scan_targets().deregister(uid) else {
            return;
        };
        client.retain_scanned(|_| false);
        self.metrics.forget(client.principal());
    }

    /// Deregisters objects that were deleted while the watch was down.
    pub(crate) fn retain(&self, still_there: impl Fn(&str) -> bool) {
        let gone = self.scan_targets().uids(|uid| !still_there(uid));
        for uid in gone {
            self.deregister(&uid);
        }
    }

    /// The results of the scans so far; `None` before the first one.
    pub(crate) fn scans(&self, uid: &str) -> Option<Scans> {
        self.scan_targets().scans(uid)
    }

    /// The machines of these accounts according to the scans of a `ServerProtection`; `None` before the first scan.
    pub(crate) fn machines_of(
        &self,
        protection: &str,
        environment: Environment,
        accounts: &[String],
    ) -> Option<MachineCounts> {
        self.scan_targets().machines_of(protection, environment, accounts)
    }

    /// Runs the scans that are due until the process ends.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let start = || Arc::clone(&self).run_due_scans(stop.clone());
        self.metrics.panics.restarted(Task::ScanSchedule, start).await;
    }

    async fn run_due_scans(self: Arc<Self>, stop: CancellationToken) {
        let mut running = JoinSet::new();
        loop {
            let (due, wait) = self.scan_targets().due(Instant::now(), self.interval);
            for batch in due {
                running.spawn(Arc::clone(&self).scan_or_report_panic(batch));
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                () = self.changed.notified() => {}
                Some(ended) = running.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "scan task ended unexpectedly; runs again on schedule");
                    }
                }
            }
        }
    }

    /// Runs a scan. If it panics, it counts as failed for the objects of the batch that have no result yet.
    async fn scan_or_report_panic(self: Arc<Self>, batch: Batch) {
        let (principal, began) = (batch.principal.clone(), Timestamp::now());
        let targets = batch.targets.clone();
        let scan = Box::pin(Arc::clone(&self).scan(batch));
        let Err(panic) = panics::caught(scan).await else {
            return;
        };
        self.metrics.panics.count_task(Task::MachineScan);
        tracing::error!(
            principal,
            objects = targets.len(),
            panic,
            "internal error: scan task panicked; runs again on schedule; please report"
        );
        for target in &targets {
            self.record_result(
                &principal,
                &target.object,
                &target.subscription,
                Err(internal_error()),
                began,
            );
        }
    }

    async fn scan(self: Arc<Self>, batch: Batch) {
        // A scan that is dropped or panics must not block later scans of its principal.
        let _running = Running {
            fleet: &self,
            batch: &batch,
        };
        let began = Timestamp::now();
        for (object, subscription, failure) in &batch.without_credential {
            self.record_result(
                &batch.principal,
                object,
                subscription,
                Err(failure.clone()),
                began,
            );
        }
        let Some(client) = &batch.client else { return };
        let observer = ResultObserver {
            fleet: &self,
            principal: &batch.principal,
            began,
            failed: Mutex::default(),
        };
        let report = client.scan(&batch.targets, &observer).await;
        if batch.whole {
            let subscriptions = self.scan_targets().subscriptions(&batch.principal);
            client.retain_scanned(|subscription| subscriptions.contains(subscription));
        }
        let failed = observer
            .failed
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
        self.metrics
            .count_scan(&batch.principal, batch.whole, failed == 0, &report);
        let subscriptions: HashSet<_> = batch.targets.iter().map(|target| &target.subscription).collect();
        let subscriptions = subscriptions.len();
        let (principal, duration_seconds) = (batch.principal.as_str(), report.took.as_secs_f64());
        let Report {
            queries,
            rows,
            unreadable,
            confirmations,
            ..
        } = report;
        if failed > 0 {
            tracing::warn!(
                principal,
                subscriptions,
                failed,
                queries,
                rows,
                unreadable,
                confirmations,
                duration_seconds,
                "fleet scan incomplete"
            );
        } else {
            tracing::info!(
                principal,
                subscriptions,
                queries,
                rows,
                unreadable,
                confirmations,
                duration_seconds,
                "fleet scan complete"
            );
        }
    }

    /// Records the result of a scan for an object, and triggers a status refresh if it changes the status.
    fn record_result(
        &self,
        principal: &str,
        uid: &str,
        subscription: &str,
        result: Result<SubscriptionReading, AzureError>,
        began: Timestamp,
    ) {
        let triggered = self
            .scan_targets()
            .record_result(principal, uid, subscription, result, began, now());
        if let Some((namespace, name)) = triggered {
            self.trigger.refresh(&namespace, &name);
            for connector in self.connector_index.names(&namespace, &name) {
                self.trigger_connectors.refresh(&namespace, &connector);
            }
        }
    }

    /// The values of the gauges.
    pub(crate) fn gauges(&self) -> FleetGauges {
        let mut gauges = FleetGauges {
            quota_left: self.quota_left(),
            ..FleetGauges::default()
        };
        self.scan_targets().each(|namespace, name, scans| {
            let Some(reading) = &scans.reading else { return };
            gauges.machines.add(&reading.summary);
            if self.metrics.per_object {
                let object = (namespace.to_owned(), name.to_owned(), reading.summary.clone());
                gauges.objects.push(object);
            }
        });
        gauges
    }

    /// The remaining quota of Resource Graph, the smallest of all principals.
    fn quota_left(&self) -> Option<u32> {
        self.scan_targets().quota_left()
    }

    fn scan_targets(&self) -> MutexGuard<'_, ScanTargets> {
        self.scan_targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Running<'a> {
    fleet: &'a Fleet,
    batch: &'a Batch,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.fleet.scan_targets().ended(self.batch);
        self.fleet.changed.notify_one();
    }
}

struct ResultObserver<'a> {
    fleet: &'a Fleet,
    principal: &'a str,
    began: Timestamp,
    /// The subscriptions that could not be read.
    failed: Mutex<HashSet<String>>,
}

impl ScanObserver for ResultObserver<'_> {
    fn subscription(&self, target: &Target, reading: Result<SubscriptionReading, AzureError>) {
        let Target {
            object, subscription, ..
        } = target;
        if let Err(failure) = &reading {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            // Several objects may have the subscription.
            if failed.insert(subscription.clone()) {
                tracing::warn!(
                    subscription_id = subscription,
                    error = %failure,
                    "machines of the subscription could not be read"
                );
            }
        }
        self.fleet
            .record_result(self.principal, object, subscription, reading, self.began);
    }
}

/// The result of a scan that panicked; the log has the details.
fn internal_error() -> AzureError {
    AzureError {
        class: ErrorClass::Transient,
        code: "InternalError".into(),
        message: "The scan failed because of a bug in the controller; see its log".into(),
        operation: String::new(),
        request_id: None,
        effect_unknown: false,
    }
}

/// The unprotected machines in the status. After a restart, the status is the only record of earlier results.
fn unprotected(status: &ServerProtectionStatus) -> Arc<[KnownMachine]> {
    let worst = status.machines.iter().flat_map(|machines| &machines.worst);
    let known = worst.filter_map(|machine| {
        let mut all = Environment::ALL.into_iter();
        Some(KnownMachine {
            environment: all.find(|environment| environment.as_str() == machine.environment)?,
            id: machine.id.clone(),
        })
    });
    known.collect()
}

/// The grace period. Admission checks it; an older object with an invalid value gets the default, or the nearest
/// allowed value.
fn grace(text: &str) -> SignedDuration {
    let day = SignedDuration::from_hours(24);
    let grace =
        humantime::parse_duration(text).map_or(day, |grace| SignedDuration::try_from(grace).unwrap_or(day));
    grace.clamp(SignedDuration::from_mins(1), SignedDuration::from_hours(720))
}
