//! From which AWS account or GCP project a machine came. The tags of a connector say that one made the machine, not
//! which one: a machine belongs to its connector by cloud and account (docs/azure-api.md 6.5).

use std::collections::{BTreeMap, BTreeSet};

use serverprotection_api::Cloud;

use super::{Environment, Finding, Machine, Summary, Verdict};

/// An AWS account or a GCP project.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Account {
    /// AWS or GCP.
    pub environment: Environment,
    /// As a connector's `hierarchyIdentifier`: the account's id, or the project's number. Never empty.
    pub id: String,
}

/// Machines of some kind, how many of them should be protected, and how many are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct MachineCounts {
    pub total: u64,
    pub eligible: u64,
    pub protected: u64,
}

/// The counts of every account that has machines.
pub type Accounts = BTreeMap<Account, MachineCounts>;

impl From<Cloud> for Environment {
    fn from(cloud: Cloud) -> Self {
        match cloud {
            Cloud::AWS => Self::Aws,
            Cloud::GCP => Self::Gcp,
        }
    }
}

impl MachineCounts {
    /// Counts machines that were found to be this.
    pub fn add(&mut self, verdict: Verdict, machines: u64) {
        self.total += machines;
        self.eligible += if verdict.is_eligible() { machines } else { 0 };
        self.protected += if verdict == Verdict::Protected {
            machines
        } else {
            0
        };
    }

    /// Adds other counts.
    pub const fn merge(&mut self, other: &Self) {
        self.total += other.total;
        self.eligible += other.eligible;
        self.protected += other.protected;
    }
}

impl Machine {
    /// The account that a connector of Defender for Cloud found it in; `None` for every other machine, also for the
    /// second resource that the other multicloud connector makes, and where the tags were taken away. A project whose
    /// number is not told goes by its id.
    pub fn account(&self) -> Option<Account> {
        if !self.by_connector || self.is_foreign_shell() {
            return None;
        }
        let environment = self.environment();
        let names: &[&str] = match environment {
            Environment::Aws => &["AccountId"],
            Environment::Gcp => &["ProjectNumber", "ProjectId"],
            Environment::Azure | Environment::OnPremises => return None,
        };
        let id = names.iter().find_map(|name| self.tag(name))?;
        Some(Account {
            environment,
            id: id.to_owned(),
        })
    }
}

impl Summary {
    /// Counts a machine for its account, if it has one.
    pub(super) fn add_to_account(&mut self, machine: &Machine, finding: &Finding) {
        if let Some(account) = machine.account() {
            let counts = self.accounts.entry(account).or_default();
            counts.add(finding.verdict, u64::from(machine.instances));
        }
    }

    /// The machines of some accounts of one cloud: a connector's own, and those of its organization's members.
    pub fn of_accounts<'a>(
        &self,
        environment: Environment,
        ids: impl IntoIterator<Item = &'a str>,
    ) -> MachineCounts {
        let ids: BTreeSet<&str> = ids.into_iter().collect();
        let mut sum = MachineCounts::default();
        for (account, counts) in &self.accounts {
            if account.environment == environment && ids.contains(account.id.as_str()) {
                sum.merge(counts);
            }
        }
        sum
    }
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
