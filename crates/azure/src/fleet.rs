//! Fleet verification: reads all machines of many subscriptions with a few queries, and folds them into one summary for
//! each subscription (docs/architecture.md 8, docs/azure-api.md 6 and 7).
//!
//! ```text
//! for each group of ≤ 300 subscriptions: plans ─▶ pages of machines ─▶ fold ─▶ confirm bad and missing ─▶ ScanObserver
//!                                          └─ concurrently, for each subscription: permissions, and health reports if it
//!                                             has machines
//! ```

mod access;
mod ancestors;
mod confirmation;
mod connectors;
mod direct;
mod facts;
mod fold;
mod forms;
mod group;
mod health;
mod listed;
mod pages;
mod parsed;
mod plans;
mod queries;
mod rows;
mod scan;
mod subject;
#[cfg(test)]
mod tests;
mod transitions;
mod unprotected;

use std::{collections::HashMap, sync::Arc, time::Duration};

use serverprotection_core::{
    Timestamp,
    azure_error::AzureError,
    jiff::SignedDuration,
    machines::{Environment, Exclusions, Finding, Machine},
    security_connector::account::ListedConnector,
};
use tokio::sync::Semaphore;

pub(crate) use self::{pages::is_retried, rows::Text, scan::fail};
use crate::{arm::Arm, quota::Quota};

/// A subscription to scan, and what its verdicts depend on. The machines of a subscription are read once, and judged for
/// each of its targets.
#[derive(Clone, Debug)]
pub struct Target {
    /// Uid of the object that the verdicts are for; empty outside of a cluster. Of several targets with the same object
    /// and subscription, the first one counts.
    pub object: String,
    /// GUID in lower case.
    pub subscription: String,
    /// `spec.machines.exclude`.
    pub exclusions: Arc<Exclusions>,
    /// `spec.machines.gracePeriod`.
    pub grace: SignedDuration,
    /// When the plan of the subscription was enabled according to Azure Resource Manager, which Resource Graph may not
    /// show yet. `None` if the plan is off or unknown.
    pub plan_enabled: Option<Timestamp>,
    /// A user requested this scan: cached health reports and permissions are not used.
    pub fresh: bool,
    /// Machines that were not protected at the last scan of an earlier process. Used by the first scan of the
    /// subscription only.
    pub unprotected: Arc<[KnownMachine]>,
    /// Whether the last scan listed machines. If none is listed then, the permissions are read again.
    pub had_machines: bool,
}

impl Target {
    /// Whether the plan was enabled after this time.
    fn plan_was_enabled_since(&self, time: Option<Timestamp>) -> bool {
        time.is_some_and(|time| self.plan_enabled.is_some_and(|enabled| enabled > time))
    }
}

/// A machine named in a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownMachine {
    /// Resource id.
    pub id: String,
    /// Where it runs.
    pub environment: Environment,
}

/// Settings of scans.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The maximum number of direct GETs for each scan and subscription, which confirm bad findings and missing
    /// machines.
    pub confirmations_per_subscription: usize,
    /// Whether to keep the unprotected machines, so that the next scan can confirm those that are missing.
    pub keep_unprotected: bool,
    /// The maximum number of concurrent direct GETs, over all subscriptions.
    pub concurrent_gets: usize,
    /// The maximum number of groups that are read concurrently.
    pub concurrent_groups: usize,
    /// Subscriptions in one query; Microsoft recommends at most 300 (docs/azure-api.md 7.2).
    pub group_size: usize,
    /// Rows in one page, at most 1000.
    pub page_size: u32,
    /// How long health reports (which Azure refreshes every 4 h) and sufficient permissions are cached.
    pub record: Duration,
    /// Wait before the first retry of a page; doubled for each further one.
    pub back_off: Duration,
    /// The longest duration of a scan. After it, the subscriptions without a result fail.
    pub deadline: Duration,
    /// The clock for verdicts.
    pub now: fn() -> Timestamp,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            confirmations_per_subscription: 50,
            keep_unprotected: true,
            concurrent_gets: 64,
            concurrent_groups: 3,
            group_size: 300,
            page_size: 1000,
            record: Duration::from_secs(3600),
            back_off: Duration::from_secs(1),
            deadline: Duration::from_secs(30 * 60),
            now: Timestamp::now,
        }
    }
}

pub use serverprotection_core::machines::reading::{Access, SubscriptionReading};

/// The progress of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number of subscriptions that are done, and of all.
    pub subscriptions: (usize, usize),
    /// Pages of machines that were read.
    pub pages: u64,
    /// Machines with a final finding.
    pub machines: u64,
}

/// Observes the results of a scan while it runs. Called by one task at a time; must not block.
pub trait ScanObserver: Send + Sync {
    /// A machine and its final finding. Called once for each machine and target, in no particular order. The result of
    /// its subscription may still be an error.
    fn machine(&self, machine: &Machine, finding: &Finding) {
        let _ = (machine, finding);
    }

    /// The result of a target. Called exactly once for each target when its group was read, because only the last page
    /// proves that no row is missing. An error says nothing about the machines; the last result remains valid.
    fn subscription(&self, target: &Target, reading: Result<SubscriptionReading, AzureError>);

    /// The scan advanced. Called after every page and every subscription.
    fn progress(&self, progress: &Progress) {
        let _ = progress;
    }
}

/// The cost of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Queries of Resource Graph, including refused ones and retries.
    pub queries: u64,
    /// Pages of machines that were read.
    pub pages: u64,
    /// Rows of these pages.
    pub rows: u64,
    /// Rows that appeared before.
    pub duplicates: u64,
    /// Rows that could not be read completely.
    pub unreadable: u64,
    /// Direct GETs that confirmed findings, including failed ones.
    pub confirmations: u64,
    /// Queries that were repeated after an error.
    pub retries: u64,
    /// Wall time.
    pub took: Duration,
    /// The time that queries waited for quota or after errors, summed over groups.
    pub waited: Duration,
    /// Queries that the quota still allows; `None` before the first response.
    pub quota_left: Option<u32>,
}

/// What the scans of one principal keep: the quota, confirmations, first sightings of transitions, health reports,
/// sufficient permissions and unprotected machines. Each scan is given the transport to use.
#[derive(Debug)]
pub(crate) struct Scanner {
    settings: Settings,
    quota: Quota,
    gets: Semaphore,
    confirmations: confirmation::Confirmations,
    health: health::HealthCache,
    access: access::AccessCache,
    transitions: transitions::Transitions,
    unprotected: unprotected::UnprotectedMachines,
}

impl Scanner {
    /// Creates a scanner without cached facts.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            gets: Semaphore::new(settings.concurrent_gets.max(1)),
            quota: Quota::default(),
            confirmations: confirmation::Confirmations::default(),
            health: health::HealthCache::default(),
            access: access::AccessCache::default(),
            transitions: transitions::Transitions::default(),
            unprotected: unprotected::UnprotectedMachines::default(),
            settings,
        }
    }

    /// Drops the unprotected machines of subscriptions that are no longer scanned.
    pub(crate) fn retain(&self, still_scanned: impl Fn(&str) -> bool) {
        self.unprotected.retain(still_scanned);
    }

    /// Scans the targets, and reports the result of each one to the observer, including errors. Can be dropped.
    pub(crate) async fn scan(&self, arm: &Arm, targets: &[Target], observer: &dyn ScanObserver) -> Report {
        scan::scan(self, arm, targets, observer).await
    }

    /// The connectors of some subscriptions, or of all that the identity can see (`None`). Can be dropped.
    pub(crate) async fn known_connectors(
        &self,
        arm: &Arm,
        subscriptions: Option<&[String]>,
    ) -> Result<Vec<ListedConnector>, AzureError> {
        connectors::known(self, arm, subscriptions).await
    }

    /// The management groups above subscriptions. Can be dropped.
    pub(crate) async fn management_groups(
        &self,
        arm: &Arm,
        subscriptions: &[String],
    ) -> Result<HashMap<String, Option<Vec<String>>>, AzureError> {
        ancestors::of(self, arm, subscriptions).await
    }

    /// The number of queries that the quota of Resource Graph allows now; `None` before the first response.
    pub(crate) fn quota_left(&self) -> Option<u32> {
        self.quota.left()
    }
}
