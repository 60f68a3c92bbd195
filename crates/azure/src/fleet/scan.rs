//! One scan: which subscriptions can be seen, their groups, and the search for one that spoils its group.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Instant,
};

use futures::{StreamExt, stream};
use serverprotection_core::{
    azure_error::{AzureError, ErrorClass},
    machines::{Finding, Machine},
};

use super::{
    Progress, Report, ScanObserver, Scanner, SubscriptionReading, Target,
    group::{self, Outcome},
    pages::{PageError, worth_waiting},
};
use crate::Arm;

/// A group is split this often at most: enough for five bad subscriptions among 300, and an end when all are bad.
const MOST_SPLITS: u32 = 48;
/// The list of subscriptions is asked for this often at most.
const LIST_TRIES: u32 = 3;

/// What all groups of one scan share.
pub(super) struct Scan<'s> {
    pub(super) scanner: &'s Scanner,
    pub(super) arm: Arc<Arm>,
    observer: &'s dyn ScanObserver,
    report: Mutex<Report>,
    progress: Mutex<Progress>,
    /// No token: nothing else can succeed.
    stopped: OnceLock<AzureError>,
}

/// Hears nothing: for queries outside of a scan.
struct NullObserver;

impl ScanObserver for NullObserver {
    fn subscription(&self, _: &str, _: Result<SubscriptionReading, AzureError>) {}
}

/// Scans the targets and tells the sink of each.
pub(super) async fn scan(scanner: &Scanner, targets: &[Target], observer: &dyn ScanObserver) -> Report {
    let started = Instant::now();
    // Sorted as Resource Graph sorts them; of two with the same id the first counts.
    let mut sorted = BTreeMap::new();
    for target in targets {
        sorted.entry(target.subscription.as_str()).or_insert(target);
    }
    let scan = Scan::new(scanner, observer, sorted.len());
    let visible = scan.visible(sorted.into_values().collect()).await;
    let groups = visible.chunks(scanner.settings.group_size.clamp(1, 1000));
    let groups: Vec<_> = groups.map(|group| scan.group(group.to_vec())).collect();
    stream::iter(groups)
        .buffer_unordered(scanner.settings.concurrent_groups.max(1))
        .collect::<()>()
        .await;
    let report = *scan.report.lock().unwrap_or_else(PoisonError::into_inner);
    Report {
        took: started.elapsed(),
        quota_left: scanner.quota_left(),
        ..report
    }
}

impl<'s> Scan<'s> {
    fn new(scanner: &'s Scanner, observer: &'s dyn ScanObserver, subscriptions: usize) -> Self {
        Self {
            scanner,
            arm: scanner.arm(),
            observer,
            report: Mutex::default(),
            progress: Mutex::new(Progress {
                subscriptions: (0, subscriptions),
                ..Progress::default()
            }),
            stopped: OnceLock::new(),
        }
    }

    /// For queries that tell no sink.
    pub(super) fn unobserved(scanner: &'s Scanner) -> Self {
        Self::new(scanner, &NullObserver, 0)
    }
}

impl Scan<'_> {
    /// The targets that the identity sees at all; the others are told. Resource Graph would leave them out in silence,
    /// or refuse the whole group.
    async fn visible<'t>(&self, targets: Vec<&'t Target>) -> Vec<&'t Target> {
        if targets.is_empty() {
            return targets;
        }
        let seen: HashSet<String> = match self.list().await {
            Ok(list) => list.into_iter().map(|subscription| subscription.id).collect(),
            Err(failure) if failure.class == ErrorClass::Credential => {
                self.fail(&targets, &failure);
                return Vec::new();
            }
            Err(failure) => {
                tracing::debug!(error = %failure, "subscriptions could not be listed; querying all of them");
                return targets;
            }
        };
        let (visible, hidden): (Vec<_>, Vec<_>) = targets
            .into_iter()
            .partition(|target| seen.contains(&target.subscription));
        self.fail(&hidden, &not_seen());
        visible
    }

    async fn list(&self) -> Result<Vec<crate::Subscription>, AzureError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.arm.subscriptions().await {
                Err(failure) if tries < LIST_TRIES && worth_waiting(&failure.class) => {
                    if let Some(wait) = failure.class.retry_after() {
                        tokio::time::sleep(wait).await;
                    }
                    if !matches!(failure.class, ErrorClass::Throttled(_)) {
                        self.back_off(tries).await;
                    }
                }
                answer => return answer,
            }
        }
    }

    /// Reads a group, and smaller and smaller ones where Azure refuses one of its subscriptions.
    async fn group(&self, targets: Vec<&Target>) {
        let mut splits = 0;
        let mut waiting = vec![targets];
        while let Some(targets) = waiting.pop() {
            let Outcome { readings, left } = group::read(self, &targets).await;
            for (target, reading) in readings {
                self.apply_to(target, reading);
            }
            let Some((mut left, stop)) = left else { continue };
            if matches!(stop, PageError::Refused(_)) && left.len() > 1 && splits < MOST_SPLITS {
                splits += 1;
                let second = left.split_off(left.len() / 2);
                waiting.push(second);
                waiting.push(left);
                continue;
            }
            let failure = stop.failure();
            if failure.class == ErrorClass::Credential {
                // The first one stands.
                let _ = self.stopped.set(failure.clone());
            }
            self.fail(&left, &failure);
        }
    }

    /// Why nothing else is asked, if so.
    pub(super) fn stopped(&self) -> Option<AzureError> {
        self.stopped.get().cloned()
    }

    /// Counts into the report.
    pub(super) fn count(&self, add: impl FnOnce(&mut Report)) {
        add(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A page of machines was read.
    pub(super) fn page_read(&self, rows: usize, duplicates: u64, unreadable: usize) {
        self.count(|report| {
            report.pages += 1;
            report.rows += u64::try_from(rows).unwrap_or(u64::MAX);
            report.duplicates += duplicates;
            report.unreadable += u64::try_from(unreadable).unwrap_or(u64::MAX);
        });
        self.advance(|progress| progress.pages += 1);
    }

    /// A machine has its final finding.
    pub(super) fn machine(&self, machine: &Machine, finding: &Finding) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.machines += 1;
        drop(progress);
        self.observer.machine(machine, finding);
    }

    fn fail(&self, targets: &[&Target], failure: &AzureError) {
        for target in targets {
            self.apply_to(target, Err(failure.clone()));
        }
    }

    fn apply_to(&self, target: &Target, reading: Result<SubscriptionReading, AzureError>) {
        self.observer.subscription(&target.subscription, reading);
        self.advance(|progress| progress.subscriptions.0 += 1);
    }

    fn advance(&self, step: impl FnOnce(&mut Progress)) {
        let progress = {
            let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
            step(&mut progress);
            *progress
        };
        self.observer.progress(&progress);
    }
}

/// As Azure words it for a subscription that is not there, or not for this identity.
fn not_seen() -> AzureError {
    AzureError {
        class: ErrorClass::NotFound,
        code: "SubscriptionNotFound".into(),
        message: "the subscription is not among those that the identity sees".into(),
        operation: "GET subscriptions".into(),
        request_id: None,
        effect_unknown: false,
    }
}
