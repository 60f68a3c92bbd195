//! The subscriptions of a scan, each with the objects that its machines are judged for.

use std::collections::BTreeMap;

use serverprotection_core::{
    Timestamp,
    machines::{Finding, summary},
};

use super::Target;

/// What a scan found about a machine, for each target of its subscription.
pub(super) type Findings = Vec<Finding>;

/// A subscription with all its targets. It is read once, and its machines are judged for each target.
#[derive(Clone, Debug)]
pub(super) struct Subject<'t> {
    pub(super) id: &'t str,
    pub(super) targets: Vec<&'t Target>,
}

impl Subject<'_> {
    /// Whether a user requested the scan for one of the targets.
    pub(super) fn is_fresh(&self) -> bool {
        self.targets.iter().any(|target| target.fresh)
    }

    /// Whether the last scan listed machines for one of the targets.
    pub(super) fn had_machines(&self) -> bool {
        self.targets.iter().any(|target| target.had_machines)
    }
}

/// The subscriptions in the order of Resource Graph. Of several targets with the same object, the first one counts.
pub(super) fn sorted(targets: &[Target]) -> Vec<Subject<'_>> {
    let mut sorted: BTreeMap<&str, Vec<&Target>> = BTreeMap::new();
    for target in targets {
        let all = sorted.entry(&target.subscription).or_default();
        if all.iter().all(|known| known.object != target.object) {
            all.push(target);
        }
    }
    let subjects = sorted.into_iter();
    subjects.map(|(id, targets)| Subject { id, targets }).collect()
}

/// The ids of the subscriptions.
pub(super) fn subscriptions<'t>(subjects: &[Subject<'t>]) -> Vec<&'t str> {
    subjects.iter().map(|subject| subject.id).collect()
}

/// The order of a machine among those to confirm: that of its worst finding.
pub(super) fn worst(findings: &[Finding]) -> Option<(u8, Option<Timestamp>)> {
    findings.iter().map(summary::order).min()
}
