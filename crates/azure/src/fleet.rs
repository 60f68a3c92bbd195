//! Fleet verification: every machine of many subscriptions in a few queries, folded into one summary each
//! (docs/architecture.md 8, docs/azure-api.md 6 and 7).
//!
//! ```text
//! groups of ≤ 300 subscriptions, each: plans ─▶ pages of machines ─▶ fold ─▶ confirm what looks bad or is missing ─▶ Sink
//!                                        └─ beside it, by subscription: health reports, permissions
//! ```

mod access;
mod confirmation;
mod connectors;
mod direct;
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
#[cfg(test)]
mod tests;
mod transitions;
mod unprotected;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use serverprotection_core::{
    Timestamp,
    azure_error::AzureError,
    jiff::SignedDuration,
    machines::{Environment, Exclusions, Finding, Machine},
    security_connector::account::ListedConnector,
};
use tokio::sync::Semaphore;

use crate::{Arm, quota::Quota};

/// A subscription whose machines are to be verified, and what its verdicts depend on.
#[derive(Clone, Debug)]
pub struct Target {
    /// GUID, lower case. Of two targets with the same one the first counts.
    pub subscription: String,
    /// `spec.machines.exclude`.
    pub exclusions: Arc<Exclusions>,
    /// `spec.machines.gracePeriod`.
    pub grace: SignedDuration,
    /// Somebody asked for this scan: health reports and permissions are read anew.
    pub fresh: bool,
    /// Machines that were not protected when an earlier process scanned: asked only at the first scan of the
    /// subscription, later ones know better.
    pub unprotected: Arc<[KnownMachine]>,
}

/// A machine that is known from a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownMachine {
    /// Resource id.
    pub id: String,
    /// Where it runs.
    pub environment: Environment,
}

/// How a scanner works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Direct GETs to confirm bad findings and disappeared machines, per scan and subscription.
    pub confirmations_per_subscription: usize,
    /// Further scans will follow: unprotected machines are kept, to confirm those that disappear until then.
    pub keep_unprotected: bool,
    /// Direct GETs at the same time, over all subscriptions.
    pub concurrent_gets: usize,
    /// Groups read at the same time.
    pub concurrent_groups: usize,
    /// Subscriptions in one query; Microsoft advises at most 300 (docs/azure-api.md 7.2).
    pub group_size: usize,
    /// Rows in one page, at most 1000.
    pub page_size: u32,
    /// How long health reports (refreshed by Azure every 4 h) and sufficient permissions are remembered.
    pub record: Duration,
    /// Wait before the first repetition of a page that failed; doubled for each further one.
    pub back_off: Duration,
    /// The clock of verdicts.
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
            now: Timestamp::now,
        }
    }
}

pub use serverprotection_core::machines::reading::{Access, SubscriptionReading};

/// How far a scan is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Subscriptions told to the sink, and all of them.
    pub subscriptions: (usize, usize),
    /// Pages of machines read.
    pub pages: u64,
    /// Machines judged.
    pub machines: u64,
}

/// Takes what a scan finds, while it runs. Called from one task at a time; must not block.
pub trait ScanObserver: Send + Sync {
    /// A machine and its final finding, in no particular order, each machine once. Its subscription's reading may
    /// still become an Err.
    fn machine(&self, machine: &Machine, finding: &Finding) {
        let _ = (machine, finding);
    }

    /// The reading of a target, exactly once for each, when its group has been read: only the last page shows that
    /// nothing is missing. Err: nothing is known about its machines, the last reading stands.
    fn subscription(&self, subscription: &str, reading: Result<SubscriptionReading, AzureError>);

    /// After every page and every subscription.
    fn progress(&self, progress: &Progress) {
        let _ = progress;
    }
}

/// What a scan cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Queries of Resource Graph, refused ones and repetitions too.
    pub queries: u64,
    /// Pages of machines read.
    pub pages: u64,
    /// Rows in them.
    pub rows: u64,
    /// Rows that came a second time.
    pub duplicates: u64,
    /// Rows of which something could not be read.
    pub unreadable: u64,
    /// Direct GETs that confirmed findings, failed ones too.
    pub confirmations: u64,
    /// Queries repeated after a failure.
    pub retries: u64,
    /// Wall time.
    pub took: Duration,
    /// Time that queries waited for quota or after failures, summed over groups.
    pub waited: Duration,
    /// Queries that the quota still allows; `None` before the first answer.
    pub quota_left: Option<u32>,
}

/// Scans the machines of one identity's subscriptions. Lives across scans: the quota, remembered confirmations, first
/// sightings of transitions, health reports and permissions are the identity's. A dropped scan leaves it usable; two scans may run at once.
#[derive(Debug)]
pub struct Scanner {
    arm: RwLock<Arc<Arm>>,
    settings: Settings,
    quota: Quota,
    gets: Semaphore,
    confirmations: confirmation::Confirmations,
    health: health::Memory,
    access: access::Memory,
    transitions: transitions::Transitions,
    unprotected: unprotected::Memory,
}

impl Scanner {
    /// A scanner that remembers nothing yet.
    pub fn new(arm: Arc<Arm>, settings: Settings) -> Self {
        Self {
            arm: RwLock::new(arm),
            gets: Semaphore::new(settings.concurrent_gets.max(1)),
            quota: Quota::default(),
            confirmations: confirmation::Confirmations::default(),
            health: health::Memory::default(),
            access: access::Memory::default(),
            transitions: transitions::Transitions::default(),
            unprotected: unprotected::Memory::default(),
            settings,
        }
    }

    /// Replaces the client, after a rotated secret. Scans that run go on with the old one.
    pub fn set_arm(&self, arm: Arc<Arm>) {
        *self.arm.write().unwrap_or_else(PoisonError::into_inner) = arm;
    }

    /// Forgets the machines of subscriptions that are scanned no more.
    pub fn retain(&self, still_scanned: impl Fn(&str) -> bool) {
        self.unprotected.retain(still_scanned);
    }

    /// Reads and judges the machines of the targets. Every target is told to the sink once; failures are told there.
    pub async fn scan(&self, targets: &[Target], observer: &dyn ScanObserver) -> Report {
        scan::scan(self, targets, observer).await
    }

    /// The connectors of these subscriptions, of every kind and in no particular order; `None`: of all that the identity
    /// sees. Those that it may not read are left out in silence, as in all of Resource Graph. Waits while the quota is
    /// used up, and can be dropped at any time; what time mends is asked for twice again at most.
    pub async fn known_connectors(
        &self,
        subscriptions: Option<&[String]>,
    ) -> Result<Vec<ListedConnector>, AzureError> {
        connectors::known(self, subscriptions).await
    }

    /// Queries that the quota of Resource Graph still allows now; `None` before the first answer.
    pub fn quota_left(&self) -> Option<u32> {
        self.quota.left()
    }

    fn arm(&self) -> Arc<Arm> {
        Arc::clone(&self.arm.read().unwrap_or_else(PoisonError::into_inner))
    }
}
