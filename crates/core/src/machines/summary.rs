//! The fold: counts that always add up, and the few machines that are worth a name.

use std::{borrow::Cow, collections::BTreeMap};

use super::{Accounts, Environment, Exclusions, Finding, Listing, Machine, Verdict};
use crate::{Timestamp, metrics::OTHER};

/// Machines that a summary names at most.
pub const MOST_WORST: usize = 10;

/// Counts by environment and verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: [[u64; Verdict::ALL.len()]; Environment::ALL.len()],
}

impl Tally {
    /// Counts machines.
    pub fn add(&mut self, environment: Environment, verdict: Verdict, machines: u64) {
        let row = self.counts.get_mut(environment as usize);
        if let Some(count) = row.and_then(|row| row.get_mut(verdict as usize)) {
            *count += machines;
        }
    }

    /// Adds another tally.
    pub fn merge(&mut self, other: &Self) {
        for environment in Environment::ALL {
            for verdict in Verdict::ALL {
                self.add(environment, verdict, other.count(environment, verdict));
            }
        }
    }

    /// Machines of one environment with one verdict.
    pub fn count(&self, environment: Environment, verdict: Verdict) -> u64 {
        let row = self.counts.get(environment as usize);
        row.and_then(|row| row.get(verdict as usize))
            .copied()
            .unwrap_or_default()
    }

    /// Machines with one verdict.
    pub fn verdict(&self, verdict: Verdict) -> u64 {
        Environment::ALL
            .iter()
            .map(|environment| self.count(*environment, verdict))
            .sum()
    }

    /// All machines of these environments.
    pub fn total(&self, environments: &[Environment]) -> u64 {
        self.sum(environments, |_| true)
    }

    /// The denominator: machines that should be protected.
    pub fn eligible(&self, environments: &[Environment]) -> u64 {
        self.sum(environments, Verdict::is_eligible)
    }

    fn sum(&self, environments: &[Environment], expected: impl Fn(Verdict) -> bool) -> u64 {
        let verdicts = || Verdict::ALL.into_iter().filter(|verdict| expected(*verdict));
        environments
            .iter()
            .flat_map(|environment| verdicts().map(|verdict| self.count(*environment, verdict)))
            .sum()
    }
}

/// A machine that is worth a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Worst {
    pub id: String,
    pub name: String,
    pub environment: Environment,
    pub finding: Finding,
}

/// What one subscription's machines come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The counts.
    pub tally: Tally,
    /// Machines by verdict and reason. A reason that is not in the tables of this program counts as [`OTHER`].
    pub reasons: BTreeMap<(Verdict, &'static str), u64>,
    /// The worst machines, worst first, at most [`MOST_WORST`].
    pub worst: Vec<Worst>,
    /// Machines that each rule of `spec.machines.exclude` leaves out, in the order of the rules.
    pub excluded: Vec<u64>,
    /// The machines that connectors made, by account; together with those of no account they are the tally's.
    pub accounts: Accounts,
    /// Machines that should be protected and whose rows cannot be read.
    pub unreadable: u64,
    /// Machines that should be protected, and that Resource Graph lists no longer although nothing proves them deleted.
    pub not_listed: u64,
}

impl Summary {
    /// Nothing counted yet.
    pub fn new(exclusions: &Exclusions) -> Self {
        Self {
            excluded: exclusions.names().map(|_| 0).collect(),
            ..Self::default()
        }
    }

    /// Counts a machine, and keeps its name while it is among the worst.
    pub fn add(&mut self, machine: &Machine, finding: &Finding) {
        let environment = machine.environment();
        let instances = u64::from(machine.instances);
        self.tally.add(environment, finding.verdict, instances);
        *self
            .reasons
            .entry((finding.verdict, bounded_reason(finding)))
            .or_default() += instances;
        self.add_to_account(machine, finding);
        if let Some(count) = finding.exclusion.and_then(|at| self.excluded.get_mut(at)) {
            *count += instances;
        }
        if !finding.verdict.is_bad() {
            return;
        }
        match machine.listing {
            Listing::Read => {}
            Listing::Unreadable => self.unreadable += instances,
            Listing::NotListed => self.not_listed += instances,
        }
        let order = |worst: &Worst| (order(&worst.finding), worst.id.clone());
        let entry = Worst {
            id: machine.id.clone(),
            name: machine.name.clone(),
            environment,
            finding: finding.clone(),
        };
        let at = self.worst.partition_point(|known| order(known) <= order(&entry));
        if at < MOST_WORST {
            self.worst.insert(at, entry);
            self.worst.truncate(MOST_WORST);
        }
    }
}

/// Texts of the tables are borrowed; a reason that was made of a code is owned, and their number has no limit.
const fn bounded_reason(finding: &Finding) -> &'static str {
    match finding.reason {
        Cow::Borrowed(reason) => reason,
        Cow::Owned(_) => OTHER,
    }
}

/// Worst first: by verdict, then the longest standing. What has no date may be as old as anything.
pub fn order(finding: &Finding) -> (u8, Option<Timestamp>) {
    (finding.verdict.rank(), finding.since)
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
