//! Metrics of the fleet: totals by verdict and environment, and what scans cost. Series of single objects only on request.

use std::{
    collections::HashMap,
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
    registry::{Registry, Unit},
};
use serverprotection_azure::fleet::Report;
use serverprotection_core::machines::{Environment, Tally, Verdict};

use super::Fleet;
use crate::panics::Panics;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MachinesLabel {
    environment: &'static str,
    verdict: &'static str,
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

/// What scans are counted by.
#[derive(Debug)]
pub(crate) struct FleetMetrics {
    /// Series of single objects are wanted.
    per_object: bool,
    pub(super) panics: Panics,
    machines: Family<MachinesLabel, Gauge>,
    object_machines: Family<ObjectLabel, Gauge>,
    scans: Family<ScanLabel, Counter>,
    seconds: Histogram,
    queries: Counter,
    pages: Counter,
    rows: Counter,
    confirmations: Counter,
    waited: Counter<f64, std::sync::atomic::AtomicU64>,
    age: Gauge<f64, std::sync::atomic::AtomicU64>,
    quota_left: Gauge,
    /// When each identity's fleet was last scanned as a whole and without a failure.
    whole: Mutex<HashMap<String, Instant>>,
}

impl FleetMetrics {
    pub(crate) fn new(per_object: bool, panics: Panics) -> Self {
        Self {
            per_object,
            panics,
            machines: Family::default(),
            object_machines: Family::default(),
            scans: Family::default(),
            seconds: Histogram::new(exponential_buckets(0.1, 2.0, 14)),
            queries: Counter::default(),
            pages: Counter::default(),
            rows: Counter::default(),
            confirmations: Counter::default(),
            waited: Counter::default(),
            age: Gauge::default(),
            quota_left: Gauge::default(),
            whole: Mutex::default(),
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "machines",
            "Machines by environment and verdict, as the newest scans found them",
            self.machines.clone(),
        );
        if self.per_object {
            registry.register(
                "object_machines",
                "Machines of each object by verdict (--per-object-metrics)",
                self.object_machines.clone(),
            );
        }
        registry.register(
            "fleet_scans",
            "Scans of the fleet; failed: of at least one subscription",
            self.scans.clone(),
        );
        registry.register_with_unit(
            "fleet_scan_duration",
            "Duration of scans",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register(
            "fleet_scan_queries",
            "Queries of Resource Graph",
            self.queries.clone(),
        );
        registry.register("fleet_scan_pages", "Pages of machines read", self.pages.clone());
        registry.register("fleet_scan_rows", "Rows of machines read", self.rows.clone());
        registry.register(
            "fleet_scan_confirmations",
            "Direct requests that confirmed findings",
            self.confirmations.clone(),
        );
        registry.register_with_unit(
            "fleet_scan_waited",
            "Time that queries waited for quota or after failures",
            Unit::Seconds,
            self.waited.clone(),
        );
        registry.register_with_unit(
            "fleet_scan_age",
            "Time since the last scan of a whole fleet that succeeded, the oldest of all identities; -1 before the first",
            Unit::Seconds,
            self.age.clone(),
        );
        registry.register(
            "resource_graph_quota_left",
            "Queries that the quota of Resource Graph allowed at its last answer, the smallest of all identities; -1 before the first",
            self.quota_left.clone(),
        );
    }

    pub(super) fn scanned(&self, principal: &str, whole: bool, complete: bool, report: &Report) {
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

    /// Brings the gauges up to date, before they are read.
    pub(crate) fn refresh(&self, fleet: &Fleet) {
        let mut tally = Tally::default();
        if self.per_object {
            // Objects that are gone must not stay behind.
            self.object_machines.clear();
        }
        fleet.each(|namespace, name, scans| {
            let Some(reading) = &scans.reading else { return };
            tally.merge(&reading.summary.tally);
            if self.per_object {
                for verdict in Verdict::ALL {
                    let label = ObjectLabel {
                        namespace: namespace.to_owned(),
                        name: name.to_owned(),
                        verdict: verdict.as_str(),
                    };
                    self.object_machines
                        .get_or_create(&label)
                        .set(number(reading.summary.tally.verdict(verdict)));
                }
            }
        });
        for environment in Environment::ALL {
            for verdict in Verdict::ALL {
                let label = MachinesLabel {
                    environment: environment.as_str(),
                    verdict: verdict.as_str(),
                };
                self.machines
                    .get_or_create(&label)
                    .set(number(tally.count(environment, verdict)));
            }
        }
        let whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = whole.values().map(Instant::elapsed).max();
        self.age.set(oldest.map_or(-1.0, |age| age.as_secs_f64()));
        self.quota_left.set(fleet.quota_left().map_or(-1, i64::from));
    }

    /// The last member of an identity is gone: nobody waits for its scans.
    pub(super) fn forget(&self, principal: &str) {
        let mut all = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(principal);
    }
}

fn number(machines: u64) -> i64 {
    i64::try_from(machines).unwrap_or(i64::MAX)
}
