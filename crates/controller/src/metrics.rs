//! Metrics with bounded labels: no object names, no error texts.

use std::{collections::HashMap, fmt::Write as _, sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use serverprotection_api::{SecurityConnector, ServerProtection};
use serverprotection_azure::RequestObserver;

use crate::{
    fleet::{Fleet, FleetMetrics},
    panics::Panics,
    state::StateStore,
};

/// Everything that is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    states: Arc<StateStore<ServerProtection>>,
    connector_states: Arc<StateStore<SecurityConnector>>,
    pub(crate) fleet: Arc<FleetMetrics>,
    pub(crate) panics: Panics,
    objects: Family<ReadyLabel, Gauge>,
    connectors: Family<ReadyLabel, Gauge>,
    deletions_waiting: Gauge,
    azure_requests: Family<AzureLabels, Counter>,
    azure_seconds: Family<OperationLabel, Histogram>,
    pub(crate) reconciles: Family<OutcomeLabel, Counter>,
    pub(crate) reconcile_seconds: Histogram,
    pub(crate) status_patches: Counter,
    pub(crate) changes: Family<ChangeLabel, Counter>,
    pub(crate) watch_errors: Counter,
    pub(crate) kube_failures: Counter,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReadyLabel {
    ready: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AzureLabels {
    operation: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

/// What became of a visit.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct OutcomeLabel {
    pub(crate) outcome: &'static str,
}

/// A write that Azure accepted.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct ChangeLabel {
    pub(crate) change: &'static str,
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.0, 14))
}

impl Metrics {
    pub(crate) fn new(
        states: Arc<StateStore<ServerProtection>>,
        connector_states: Arc<StateStore<SecurityConnector>>,
        per_object: bool,
    ) -> Self {
        let mut registry = Registry::with_prefix("serverprotection");
        let panics = Panics::default();
        let metrics = Self {
            states,
            connector_states,
            fleet: Arc::new(FleetMetrics::new(per_object, panics.clone())),
            panics,
            objects: Family::default(),
            connectors: Family::default(),
            deletions_waiting: Gauge::default(),
            azure_requests: Family::default(),
            azure_seconds: Family::new_with_constructor(seconds),
            reconciles: Family::default(),
            reconcile_seconds: seconds(),
            status_patches: Counter::default(),
            changes: Family::default(),
            watch_errors: Counter::default(),
            kube_failures: Counter::default(),
            registry: Registry::default(),
        };
        registry.register(
            "objects",
            "ServerProtection objects by the status of their condition Ready",
            metrics.objects.clone(),
        );
        registry.register(
            "connectors",
            "SecurityConnector objects by the status of their condition Ready",
            metrics.connectors.clone(),
        );
        registry.register(
            "deletions_waiting",
            "SecurityConnector objects that are being deleted and wait for Azure",
            metrics.deletions_waiting.clone(),
        );
        registry.register(
            "azure_requests",
            "Requests to Azure; status 0 means that no answer came",
            metrics.azure_requests.clone(),
        );
        registry.register_with_unit(
            "azure_request_duration",
            "Duration of requests to Azure",
            Unit::Seconds,
            metrics.azure_seconds.clone(),
        );
        registry.register(
            "visits",
            "Visits of objects by what became of them",
            metrics.reconciles.clone(),
        );
        registry.register_with_unit(
            "visit_duration",
            "Duration of visits",
            Unit::Seconds,
            metrics.reconcile_seconds.clone(),
        );
        registry.register(
            "status_patches",
            "Status patches sent to the API server",
            metrics.status_patches.clone(),
        );
        registry.register("changes", "Writes that Azure accepted", metrics.changes.clone());
        registry.register(
            "watch_errors",
            "Errors of watches on the API server",
            metrics.watch_errors.clone(),
        );
        registry.register(
            "kubernetes_failures",
            "Failed requests to the API server during visits",
            metrics.kube_failures.clone(),
        );
        metrics.panics.register(&mut registry);
        metrics.fleet.register(&mut registry);
        Self { registry, ..metrics }
    }

    /// The text in the format of `OpenMetrics`.
    pub(crate) fn text(&self, fleet: &Fleet) -> String {
        self.fleet.refresh(fleet);
        set(&self.objects, &self.states.by_ready());
        set(&self.connectors, &self.connector_states.by_ready());
        let waiting = self.connector_states.deletions();
        self.deletions_waiting
            .set(i64::try_from(waiting).unwrap_or(i64::MAX));
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            text.clear();
            let _ = write!(text, "# metrics cannot be written: {error}");
        }
        text
    }
}

fn set(gauges: &Family<ReadyLabel, Gauge>, counts: &HashMap<String, i64>) {
    for ready in ["True", "False", "Unknown"] {
        let count = counts.get(ready).copied().unwrap_or_default();
        gauges
            .get_or_create(&ReadyLabel { ready: ready.into() })
            .set(count);
    }
}

impl RequestObserver for Metrics {
    fn request(&self, operation: &'static str, status: u16, took: Duration) {
        self.azure_requests
            .get_or_create(&AzureLabels { operation, status })
            .inc();
        self.azure_seconds
            .get_or_create(&OperationLabel { operation })
            .observe(took.as_secs_f64());
    }
}
