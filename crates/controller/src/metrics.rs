//! Metrics with bounded labels: no error texts, and object names only where an administrator needs them. Names and HELP texts come from the table in `core`.

mod fleet;
mod negotiation;
mod objects;
mod text_format;

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::Registry,
};
use serverprotection_api::{AzureCredential, ClusterAzureCredential, SecurityConnector, ServerProtection};
use serverprotection_azure::RequestObserver;
use serverprotection_core::metrics;

use self::objects::ObjectGauges;
pub(crate) use self::{
    fleet::{FleetGauges, FleetMetrics},
    negotiation::Format,
    objects::ObjectCounts,
};
use crate::{
    kind::Kind,
    panics::Panics,
    restrictions::PolicyGauges,
    series::{KindLabel, register},
};

/// All metrics of the controller.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// Held while a scrape sets and reads the gauges.
    scrape: Mutex<()>,
    pub(crate) fleet: Arc<FleetMetrics>,
    pub(crate) panics: Panics,
    pub(crate) policies: PolicyGauges,
    leader: Gauge,
    objects: ObjectGauges,
    azure_requests: Family<AzureLabels, Counter>,
    azure_seconds: Family<OperationLabel, Histogram>,
    reconciles: Family<OutcomeLabels, Counter>,
    reconcile_seconds: Family<KindLabel, Histogram>,
    pub(crate) status_writes: Counter,
    changes: Family<ChangeLabel, Counter>,
    claim_changes: Family<KindLabel, Counter>,
    watch_errors: Family<KindLabel, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AzureLabels {
    operation: &'static str,
    code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ChangeLabel {
    change: &'static str,
}

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    KubernetesError,
    Timeout,
    Panic,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Success, Self::KubernetesError, Self::Timeout, Self::Panic];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::KubernetesError => "kubernetes_error",
            Self::Timeout => "timeout",
            Self::Panic => "panic",
        }
    }
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.0, 14))
}

impl Metrics {
    /// `per_object` also exports series of single objects.
    pub(crate) fn new(per_object: bool) -> Self {
        let panics = Panics::default();
        let metrics = Self {
            registry: Registry::default(),
            scrape: Mutex::default(),
            fleet: Arc::new(FleetMetrics::new(per_object, panics.clone())),
            panics,
            policies: PolicyGauges::default(),
            leader: Gauge::default(),
            objects: ObjectGauges::default(),
            azure_requests: Family::default(),
            azure_seconds: Family::new_with_constructor(seconds),
            reconciles: Family::default(),
            reconcile_seconds: Family::new_with_constructor(seconds),
            status_writes: Counter::default(),
            changes: Family::default(),
            claim_changes: Family::default(),
            watch_errors: Family::default(),
        };
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        Self { registry, ..metrics }
    }

    fn register(&self, registry: &mut Registry) {
        let build = Info::new([
            ("version", env!("CARGO_PKG_VERSION")),
            ("os", std::env::consts::OS),
            ("arch", std::env::consts::ARCH),
        ]);
        register(registry, &metrics::BUILD_INFO, build);
        register(registry, &metrics::LEADER, self.leader.clone());
        self.objects.register(registry);
        register(registry, &metrics::AZURE_REQUESTS, self.azure_requests.clone());
        register(
            registry,
            &metrics::AZURE_REQUEST_DURATION,
            self.azure_seconds.clone(),
        );
        for kind in [
            ServerProtection::NAME,
            SecurityConnector::NAME,
            AzureCredential::NAME,
            ClusterAzureCredential::NAME,
        ] {
            for outcome in Outcome::ALL {
                drop(self.reconciles.get_or_create(&outcome_labels(kind, outcome)));
            }
        }
        for kind in [ServerProtection::NAME, SecurityConnector::NAME] {
            drop(self.claim_changes.get_or_create(&KindLabel { kind }));
        }
        register(registry, &metrics::RECONCILES, self.reconciles.clone());
        register(
            registry,
            &metrics::RECONCILE_DURATION,
            self.reconcile_seconds.clone(),
        );
        register(registry, &metrics::STATUS_WRITES, self.status_writes.clone());
        register(registry, &metrics::CHANGES, self.changes.clone());
        register(registry, &metrics::CLAIM_CHANGES, self.claim_changes.clone());
        register(registry, &metrics::WATCH_ERRORS, self.watch_errors.clone());
        self.panics.register(registry);
        self.policies.register(registry);
        self.fleet.register(registry);
    }

    /// Sets the gauges and returns the metrics page.
    pub(crate) fn page(
        &self,
        format: Format,
        leads: bool,
        objects: &[(&'static str, ObjectCounts)],
        machines: &FleetGauges,
    ) -> String {
        let _one = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.leader.set(i64::from(leads));
        self.fleet.set(machines);
        self.objects.set(objects);
        self.encoded(format)
    }

    fn encoded(&self, format: Format) -> String {
        let mut page = String::new();
        if let Err(error) = encode(&mut page, &self.registry) {
            page.clear();
            let _ = writeln!(page, "# internal error: cannot encode metrics: {error}");
        }
        match format {
            Format::Text => text_format::from_open_metrics(&page),
            Format::OpenMetrics => page,
        }
    }

    /// Counts a reconcile of this kind, with its duration.
    pub(crate) fn reconciled(&self, kind: &'static str, outcome: Outcome, took: Duration) {
        self.reconciles
            .get_or_create(&outcome_labels(kind, outcome))
            .inc();
        self.reconcile_seconds
            .get_or_create(&KindLabel { kind })
            .observe(took.as_secs_f64());
    }

    /// Counts a write that Azure accepted.
    pub(crate) fn changed(&self, change: &'static str) {
        self.changes.get_or_create(&ChangeLabel { change }).inc();
    }

    /// Counts a claim of this kind that went from one object to another. Users choose the names of objects, so the log
    /// has them and no label.
    pub(crate) fn claim_changed(&self, kind: &'static str) {
        self.claim_changes.get_or_create(&KindLabel { kind }).inc();
    }

    /// Counts an error of the watch of a kind.
    pub(crate) fn watch_failed(&self, kind: &'static str) {
        self.watch_errors.get_or_create(&KindLabel { kind }).inc();
    }

    #[cfg(test)]
    pub(crate) fn watch_errors(&self, kind: &'static str) -> u64 {
        self.watch_errors.get_or_create(&KindLabel { kind }).get()
    }
}

fn outcome_labels(kind: &'static str, outcome: Outcome) -> OutcomeLabels {
    OutcomeLabels {
        kind,
        outcome: outcome.as_str(),
    }
}

impl RequestObserver for Metrics {
    fn request(&self, operation: &'static str, status: u16, took: Duration) {
        let labels = AzureLabels {
            operation,
            code: status,
        };
        self.azure_requests.get_or_create(&labels).inc();
        self.azure_seconds
            .get_or_create(&OperationLabel { operation })
            .observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests;
