//! The AWS account or GCP project of a machine. The tags of a machine say that a connector created it, but not which
//! one: a machine belongs to a connector by cloud and account (docs/azure-api.md 6.5).

use std::collections::{BTreeMap, BTreeSet};

use serverprotection_api::Cloud;

use super::{Environment, Finding, Machine, Summary, Verdict};

/// An AWS account or a GCP project.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Account {
    /// AWS or GCP.
    pub environment: Environment,
    /// As in a connector's `hierarchyIdentifier`: the id of the account or the number of the project. Never empty.
    pub id: String,
}

/// A number of machines, how many of them should be protected, and how many are.
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
    /// Adds machines with a verdict.
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
    /// The account in which a connector of Defender for Cloud found the machine. `None` for every other machine, for
    /// the second resource that the multicloud connector of Azure Arc creates, and if the tags were removed. A project
    /// without a number in the tags is identified by its id.
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
    /// Adds a machine to the counts of its account, if it has one.
    pub(super) fn add_to_account(&mut self, machine: &Machine, finding: &Finding) {
        if let Some(account) = machine.account() {
            let counts = self.accounts.entry(account).or_default();
            counts.add(finding.verdict, u64::from(machine.instances));
        }
    }

    /// The sum over some accounts of one cloud, such as a connector's own and those of the members of its organization.
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
mod tests;
