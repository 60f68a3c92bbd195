//! Gauges of objects, computed at each scrape in one pass over the status of all objects.

use std::collections::BTreeMap;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use serverprotection_api::{AzureCredential, ClusterAzureCredential};
use serverprotection_core::{
    Timestamp,
    conditions::{self, ConditionType},
    metrics,
};

use crate::{
    kind::{Kind, StatusExt},
    series::{KindLabel, register},
};

/// The values of the label `ready`.
const READY: [&str; 3] = ["True", "False", "Unknown"];

/// Counts of the objects of a kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ObjectCounts {
    /// By the status of the condition Ready.
    ready: [i64; READY.len()],
    /// By the reason of the condition Stalled.
    stalled: BTreeMap<&'static str, i64>,
    /// By the reason of the condition Reconciling.
    reconciling: BTreeMap<&'static str, i64>,
    /// By the reason of the condition `MachinesProtected`.
    machines_protected: BTreeMap<&'static str, i64>,
    overdue: i64,
    drifted: i64,
    drifted_fields: i64,
    contested: i64,
    contested_fields: i64,
    deleting: i64,
}

impl ObjectCounts {
    /// Counts one object.
    pub(crate) fn add<S: StatusExt>(&mut self, status: &S, deleting: bool, now: Timestamp) {
        let all = status.conditions();
        let ready = conditions::get(all, "Ready").map_or("Unknown", |ready| ready.status.as_str());
        let at = READY.iter().position(|known| *known == ready);
        if let Some(count) = self.ready.get_mut(at.unwrap_or(READY.len() - 1)) {
            *count += 1;
        }
        for (type_, counts) in [
            (ConditionType::Stalled, &mut self.stalled),
            (ConditionType::Reconciling, &mut self.reconciling),
            (ConditionType::MachinesProtected, &mut self.machines_protected),
        ] {
            let always = type_ == ConditionType::MachinesProtected;
            let condition = conditions::get(all, type_).filter(|one| always || one.status == "True");
            if let Some(condition) = condition {
                let reason = metrics::bounded_reason(type_, &condition.reason);
                *counts.entry(reason).or_default() += 1;
            }
        }
        self.drifted += i64::from(conditions::is_true(all, "Drifted"));
        self.drifted_fields += i64::from(status.drift_count().unwrap_or_default());
        self.contested += i64::from(conditions::is_true(all, "Contested"));
        let paused = status.contested().iter().filter(|field| {
            let until = field.suppressed_until_time.as_ref();
            until.is_some_and(|until| until.0 > now)
        });
        self.contested_fields += i64::try_from(paused.count()).unwrap_or(i64::MAX);
        self.deleting += i64::from(deleting);
    }

    /// Counts an object whose reconcile should have begun.
    pub(crate) fn add_overdue(&mut self) {
        self.overdue += 1;
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReadyLabels {
    kind: &'static str,
    ready: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindReasonLabels {
    kind: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// The gauges of all kinds.
#[derive(Debug, Default)]
pub(super) struct ObjectGauges {
    ready: Family<ReadyLabels, Gauge>,
    stalled: Family<KindReasonLabels, Gauge>,
    reconciling: Family<KindReasonLabels, Gauge>,
    machines_protected: Family<ReasonLabel, Gauge>,
    overdue: Family<KindLabel, Gauge>,
    drifted: Family<KindLabel, Gauge>,
    drifted_fields: Family<KindLabel, Gauge>,
    contested: Family<KindLabel, Gauge>,
    contested_fields: Family<KindLabel, Gauge>,
    deleting: Gauge,
}

impl ObjectGauges {
    pub(super) fn register(&self, registry: &mut Registry) {
        register(registry, &metrics::OBJECTS, self.ready.clone());
        register(registry, &metrics::STALLED_OBJECTS, self.stalled.clone());
        register(registry, &metrics::RECONCILING_OBJECTS, self.reconciling.clone());
        register(
            registry,
            &metrics::MACHINES_PROTECTED_OBJECTS,
            self.machines_protected.clone(),
        );
        register(registry, &metrics::OVERDUE_OBJECTS, self.overdue.clone());
        register(registry, &metrics::DRIFTED_OBJECTS, self.drifted.clone());
        register(registry, &metrics::DRIFTED_FIELDS, self.drifted_fields.clone());
        register(registry, &metrics::CONTESTED_OBJECTS, self.contested.clone());
        register(
            registry,
            &metrics::CONTESTED_FIELDS,
            self.contested_fields.clone(),
        );
        register(registry, &metrics::DELETIONS_WAITING, self.deleting.clone());
    }

    /// Sets all gauges.
    pub(super) fn set(&self, kinds: &[(&'static str, ObjectCounts)]) {
        // Removes the series of reasons that no object has any more.
        self.stalled.clear();
        self.reconciling.clear();
        self.machines_protected.clear();
        for (kind, counts) in kinds {
            let label = KindLabel { kind };
            for (ready, count) in READY.into_iter().zip(counts.ready) {
                self.ready.get_or_create(&ReadyLabels { kind, ready }).set(count);
            }
            for (family, by_reason) in [
                (&self.stalled, &counts.stalled),
                (&self.reconciling, &counts.reconciling),
            ] {
                for (reason, count) in by_reason {
                    family
                        .get_or_create(&KindReasonLabels { kind, reason })
                        .set(*count);
                }
            }
            for (reason, count) in &counts.machines_protected {
                self.machines_protected
                    .get_or_create(&ReasonLabel { reason })
                    .set(*count);
            }
            self.overdue.get_or_create(&label).set(counts.overdue);
            if [AzureCredential::NAME, ClusterAzureCredential::NAME].contains(kind) {
                // It is compared with nothing.
                continue;
            }
            self.drifted.get_or_create(&label).set(counts.drifted);
            self.drifted_fields
                .get_or_create(&label)
                .set(counts.drifted_fields);
            self.contested.get_or_create(&label).set(counts.contested);
            self.contested_fields
                .get_or_create(&label)
                .set(counts.contested_fields);
        }
        self.deleting
            .set(kinds.iter().map(|(_, counts)| counts.deleting).sum());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use serverprotection_api::ServerProtectionStatus;

    use super::*;

    fn status(of: Value) -> ServerProtectionStatus {
        serde_json::from_value(of).unwrap()
    }

    fn condition(type_: &str, status: &str, reason: &str) -> Value {
        json!({"type": type_, "status": status, "reason": reason, "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    }

    fn contested(until: Option<&str>) -> Value {
        json!({"field": "plan.tier", "desired": "P2", "observed": "P1", "repairs": 3, "suppressedUntilTime": until,
            "firstRepairTime": "2026-01-01T00:00:00Z", "lastRepairTime": "2026-01-01T00:00:00Z"})
    }

    #[test]
    fn one_pass_counts_everything_and_bounds_the_reasons() {
        let stalled = |reason| {
            status(json!({"conditions": [
                condition("Ready", "False", reason), condition("Stalled", "True", reason)]}))
        };
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        let mut counts = ObjectCounts::default();
        for object in [
            ServerProtectionStatus::default(),
            stalled("ScopeLocked"),
            stalled("SomeCodeOfAzure"),
            stalled("AnotherCodeOfAzure"),
            status(json!({"driftCount": 3, "conditions": [
                condition("Ready", "True", "Observed"), condition("Drifted", "True", "Differs"),
                condition("MachinesProtected", "False", "BelowMinimum")]})),
            status(json!({"driftCount": 0,
                "contested": [contested(Some("2026-01-01T02:00:00Z")), contested(Some("2026-01-01T00:30:00Z")),
                    contested(None)],
                "conditions": [condition("Ready", "odd", "X"), condition("Contested", "True", "Suppressed"),
                    condition("Reconciling", "True", "Throttled")]})),
        ] {
            counts.add(&object, false, now);
        }
        counts.add(&ServerProtectionStatus::default(), true, now);
        counts.add_overdue();
        let expected = ObjectCounts {
            ready: [1, 3, 3],
            stalled: [("ScopeLocked", 1), ("Other", 2)].into(),
            reconciling: [("Throttled", 1)].into(),
            machines_protected: [("BelowMinimum", 1)].into(),
            overdue: 1,
            drifted: 1,
            drifted_fields: 3,
            contested: 1,
            contested_fields: 1,
            deleting: 1,
        };
        assert_eq!(counts, expected);
    }

    #[test]
    fn a_reason_that_no_object_has_any_more_has_no_series() {
        let mut registry = Registry::default();
        let gauges = ObjectGauges::default();
        gauges.register(&mut registry);
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        let mut counts = ObjectCounts::default();
        let stalled = json!({"conditions": [condition("Stalled", "True", "ScopeLocked"),
            condition("MachinesProtected", "Unknown", "ScanStale")]});
        counts.add(&status(stalled), false, now);
        gauges.set(&[("ServerProtection", counts)]);
        let page = || {
            let mut page = String::new();
            prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
            page
        };
        let series = r#"serverprotection_stalled_objects{kind="ServerProtection",reason="ScopeLocked"} 1"#;
        assert!(page().contains(series), "{}", page());
        let series = r#"serverprotection_machines_protected_objects{reason="ScanStale"} 1"#;
        assert!(page().contains(series), "{}", page());
        gauges.set(&[("ServerProtection", ObjectCounts::default())]);
        for reason in ["ScopeLocked", "ScanStale"] {
            assert!(!page().contains(reason), "{}", page());
        }
        let objects = r#"serverprotection_objects{kind="ServerProtection",ready="Unknown"} 0"#;
        assert!(page().contains(objects), "{}", page());
    }
}
