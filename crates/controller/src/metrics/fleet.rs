//! Metrics of machines and scans. Series of single objects are optional (`--per-object-metrics`).

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use serverprotection_azure::fleet::Report;
use serverprotection_core::{
    machines::{Environment, Summary, Tally, Verdict},
    metrics,
};

use crate::{panics::Panics, series::register};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MachinesLabel {
    environment: &'static str,
    verdict: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    verdict: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EnvironmentLabel {
    environment: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ObjectLabel {
    namespace: String,
    name: String,
    verdict: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ScanLabel {
    outcome: &'static str,
}

/// The machines of all objects.
#[derive(Debug, Default)]
pub(crate) struct Machines {
    tally: Tally,
    reasons: BTreeMap<(Verdict, &'static str), u64>,
}

impl Machines {
    /// Adds the machines of one object.
    pub(crate) fn add(&mut self, summary: &Summary) {
        self.tally.merge(&summary.tally);
        for (reason, count) in &summary.reasons {
            *self.reasons.entry(*reason).or_default() += count;
        }
    }

    /// Protected divided by eligible machines, from 0 to 1; `NaN` if no machine is eligible.
    fn protected_ratio(&self) -> f64 {
        let eligible = self.tally.eligible(&Environment::ALL);
        float(self.tally.verdict(Verdict::Protected)) / float(eligible)
    }
}

/// The values of the gauges at a scrape.
#[derive(Debug, Default)]
pub(crate) struct FleetGauges {
    /// The machines of all objects.
    pub(crate) machines: Machines,
    /// The machines of each object, as namespace, name and summary.
    pub(crate) objects: Vec<(String, String, Summary)>,
    /// The remaining quota of Resource Graph, the smallest of all principals.
    pub(crate) quota_left: Option<u32>,
}

/// Metrics of machines and scans.
#[derive(Debug)]
pub(crate) struct FleetMetrics {
    /// Whether series of single objects are exported.
    pub(crate) per_object: bool,
    pub(crate) panics: Panics,
    machines: Family<MachinesLabel, Gauge>,
    reasons: Family<ReasonLabels, Gauge>,
    eligible: Family<EnvironmentLabel, Gauge>,
    ratio: Gauge<f64, std::sync::atomic::AtomicU64>,
    object_machines: Family<ObjectLabel, Gauge>,
    scans: Family<ScanLabel, Counter>,
    seconds: Histogram,
    queries: Counter,
    pages: Counter,
    rows: Counter,
    confirmations: Counter,
    waited: Counter<f64, std::sync::atomic::AtomicU64>,
    age: Gauge<f64, std::sync::atomic::AtomicU64>,
    quota_remaining: Gauge,
    /// Time of the last complete scan of all subscriptions, by principal.
    whole: Mutex<HashMap<String, Instant>>,
}

impl FleetMetrics {
    pub(crate) fn new(per_object: bool, panics: Panics) -> Self {
        Self {
            per_object,
            panics,
            machines: Family::default(),
            reasons: Family::default(),
            eligible: Family::default(),
            ratio: Gauge::default(),
            object_machines: Family::default(),
            scans: Family::default(),
            seconds: Histogram::new(exponential_buckets(0.1, 2.0, 14)),
            queries: Counter::default(),
            pages: Counter::default(),
            rows: Counter::default(),
            confirmations: Counter::default(),
            waited: Counter::default(),
            age: Gauge::default(),
            quota_remaining: Gauge::default(),
            whole: Mutex::default(),
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        register(registry, &metrics::MACHINES, self.machines.clone());
        register(registry, &metrics::MACHINES_BY_REASON, self.reasons.clone());
        register(registry, &metrics::MACHINES_ELIGIBLE, self.eligible.clone());
        register(registry, &metrics::MACHINES_PROTECTED_RATIO, self.ratio.clone());
        if self.per_object {
            register(registry, &metrics::OBJECT_MACHINES, self.object_machines.clone());
        }
        register(registry, &metrics::FLEET_SCANS, self.scans.clone());
        register(registry, &metrics::FLEET_SCAN_DURATION, self.seconds.clone());
        register(registry, &metrics::FLEET_SCAN_QUERIES, self.queries.clone());
        register(registry, &metrics::FLEET_SCAN_PAGES, self.pages.clone());
        register(registry, &metrics::FLEET_SCAN_ROWS, self.rows.clone());
        register(
            registry,
            &metrics::FLEET_SCAN_CONFIRMATIONS,
            self.confirmations.clone(),
        );
        register(registry, &metrics::FLEET_SCAN_WAIT, self.waited.clone());
        register(registry, &metrics::FLEET_SCAN_AGE, self.age.clone());
        register(
            registry,
            &metrics::RESOURCE_GRAPH_QUOTA_REMAINING,
            self.quota_remaining.clone(),
        );
    }

    pub(crate) fn count_scan(&self, principal: &str, whole: bool, complete: bool, report: &Report) {
        let outcome = if complete { "complete" } else { "failed" };
        self.scans.get_or_create(&ScanLabel { outcome }).inc();
        self.seconds.observe(report.took.as_secs_f64());
        self.queries.inc_by(report.queries);
        self.pages.inc_by(report.pages);
        self.rows.inc_by(report.rows);
        self.confirmations.inc_by(report.confirmations);
        self.waited.inc_by(report.waited.as_secs_f64());
        if whole && complete {
            let mut all = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert(principal.to_owned(), Instant::now());
        }
    }

    /// Sets the gauges before a scrape.
    pub(super) fn set(&self, gauges: &FleetGauges) {
        if self.per_object {
            // Removes the series of deleted objects.
            self.object_machines.clear();
            for (namespace, name, summary) in &gauges.objects {
                self.set_object(namespace, name, summary);
            }
        }
        self.set_machines(&gauges.machines);
        let whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = whole.values().map(Instant::elapsed).max();
        self.age.set(oldest.map_or(-1.0, |age| age.as_secs_f64()));
        self.quota_remaining.set(gauges.quota_left.map_or(-1, i64::from));
    }

    /// Sets the series of one object.
    fn set_object(&self, namespace: &str, name: &str, summary: &Summary) {
        for verdict in Verdict::ALL {
            let label = ObjectLabel {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                verdict: verdict.as_str(),
            };
            self.object_machines
                .get_or_create(&label)
                .set(number(summary.tally.verdict(verdict)));
        }
    }

    /// Sets the gauges of the machines of all objects.
    fn set_machines(&self, machines: &Machines) {
        // Removes the series of reasons that no machine has any more.
        self.reasons.clear();
        for ((verdict, reason), count) in &machines.reasons {
            let verdict = verdict.as_str();
            self.reasons
                .get_or_create(&ReasonLabels { verdict, reason })
                .set(number(*count));
        }
        for environment in Environment::ALL {
            for verdict in Verdict::ALL {
                let label = MachinesLabel {
                    environment: environment.as_str(),
                    verdict: verdict.as_str(),
                };
                self.machines
                    .get_or_create(&label)
                    .set(number(machines.tally.count(environment, verdict)));
            }
            let label = EnvironmentLabel {
                environment: environment.as_str(),
            };
            self.eligible
                .get_or_create(&label)
                .set(number(machines.tally.eligible(&[environment])));
        }
        self.ratio.set(machines.protected_ratio());
    }

    /// Removes a principal without objects: the age of its scans no longer counts.
    pub(crate) fn forget(&self, principal: &str) {
        let mut all = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(principal);
    }
}

/// Exact for all realistic numbers of machines.
fn float(machines: u64) -> f64 {
    u32::try_from(machines).map_or(f64::INFINITY, f64::from)
}

fn number(machines: u64) -> i64 {
    i64::try_from(machines).unwrap_or(i64::MAX)
}
