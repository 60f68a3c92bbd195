//! Counts of machines that always add up, and the worst machines by name.

use std::{borrow::Cow, collections::BTreeMap};

use super::{Accounts, Environment, Exclusions, Finding, Listing, Machine, Verdict};
use crate::{Timestamp, metrics::OTHER};

/// The maximum number of machines that a summary names.
pub const MOST_WORST: usize = 10;

/// Counts by environment and verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: [[u64; Verdict::ALL.len()]; Environment::ALL.len()],
}

impl Tally {
    /// Adds machines.
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

    /// The number of machines of one environment with one verdict.
    pub fn count(&self, environment: Environment, verdict: Verdict) -> u64 {
        let row = self.counts.get(environment as usize);
        row.and_then(|row| row.get(verdict as usize))
            .copied()
            .unwrap_or_default()
    }

    /// The number of machines with one verdict.
    pub fn verdict(&self, verdict: Verdict) -> u64 {
        Environment::ALL
            .iter()
            .map(|environment| self.count(*environment, verdict))
            .sum()
    }

    /// The number of machines of these environments.
    pub fn total(&self, environments: &[Environment]) -> u64 {
        self.sum(environments, |_| true)
    }

    /// The number of machines of these environments that should be protected.
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

/// One of the worst machines.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Worst {
    pub id: String,
    pub name: String,
    pub environment: Environment,
    pub finding: Finding,
}

/// The result of a scan of one subscription's machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The counts.
    pub tally: Tally,
    /// Machines by verdict and reason. A reason that is not in the tables of this program counts as [`OTHER`].
    pub reasons: BTreeMap<(Verdict, &'static str), u64>,
    /// The worst machines, worst first, at most [`MOST_WORST`].
    pub worst: Vec<Worst>,
    /// The number of machines that each rule of `spec.machines.exclude` excludes, in the order of the rules.
    pub excluded: Vec<u64>,
    /// The machines that connectors created, by account. They are part of the tally.
    pub accounts: Accounts,
    /// Machines that should be protected but whose rows cannot be read.
    pub unreadable: u64,
    /// Machines that should be protected but that Resource Graph no longer lists, although they may not be deleted.
    pub not_listed: u64,
}

impl Summary {
    /// A summary without machines.
    pub fn new(exclusions: &Exclusions) -> Self {
        Self {
            excluded: exclusions.names().map(|_| 0).collect(),
            ..Self::default()
        }
    }

    /// Adds a machine, and keeps its name while it is one of the worst.
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

/// Sorts the worst finding first: by verdict, then the oldest. A finding without a date may be the oldest.
pub fn order(finding: &Finding) -> (u8, Option<Timestamp>) {
    (finding.verdict.rank(), finding.since)
}

#[cfg(test)]
mod tests;
