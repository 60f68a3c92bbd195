//! One scan: finds the visible subscriptions, reads them in groups, and splits a group that Azure refuses.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
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
    pages::{PageError, is_retried_without_quota},
    queries,
    subject::{Subject, sorted},
};
use crate::arm::Arm;

/// How often a group is split at most: enough for five refused subscriptions among 300.
const MOST_SPLITS: u32 = 48;
/// How often the list of subscriptions is requested at most.
const LIST_TRIES: u32 = 3;

/// The state that all groups of one scan share.
pub(super) struct Scan<'s> {
    pub(super) scanner: &'s Scanner,
    pub(super) arm: &'s Arm,
    observer: &'s dyn ScanObserver,
    report: Mutex<Report>,
    progress: Mutex<Progress>,
    /// The subscriptions with a result.
    finished: Mutex<HashSet<String>>,
    /// The error of the credential, after which no other request can succeed.
    stopped: OnceLock<AzureError>,
}

/// Ignores all results, for queries outside of a scan.
struct NullObserver;

impl ScanObserver for NullObserver {
    fn subscription(&self, _: &Target, _: Result<SubscriptionReading, AzureError>) {}
}

/// Scans the targets, and reports the result of each one to the observer.
pub(super) async fn scan(
    scanner: &Scanner,
    arm: &Arm,
    targets: &[Target],
    observer: &dyn ScanObserver,
) -> Report {
    let started = Instant::now();
    let subjects = sorted(targets);
    let scan = Scan::new(scanner, arm, observer, subjects.len());
    // A scan that never ends would block the scans of its principal.
    let within = tokio::time::timeout(scanner.settings.deadline, Box::pin(scan.run(subjects.clone())));
    if within.await.is_err() {
        scan.time_out(&subjects);
    }
    let report = *scan.report.lock().unwrap_or_else(PoisonError::into_inner);
    Report {
        took: started.elapsed(),
        quota_left: scanner.quota_left(),
        ..report
    }
}

/// Reports the same error for each target.
pub(crate) fn fail(targets: &[Target], observer: &dyn ScanObserver, failure: &AzureError) {
    for target in sorted(targets).iter().flat_map(|subject| &subject.targets) {
        observer.subscription(target, Err(failure.clone()));
    }
}

impl<'s> Scan<'s> {
    pub(super) fn new(
        scanner: &'s Scanner,
        arm: &'s Arm,
        observer: &'s dyn ScanObserver,
        subscriptions: usize,
    ) -> Self {
        Self {
            scanner,
            arm,
            observer,
            report: Mutex::default(),
            progress: Mutex::new(Progress {
                subscriptions: (0, subscriptions),
                ..Progress::default()
            }),
            finished: Mutex::default(),
            stopped: OnceLock::new(),
        }
    }

    /// A scan without an observer.
    pub(super) fn unobserved(scanner: &'s Scanner, arm: &'s Arm) -> Self {
        Self::new(scanner, arm, &NullObserver, 0)
    }
}

impl Scan<'_> {
    async fn run(&self, subjects: Vec<Subject<'_>>) {
        let visible = self.visible(subjects).await;
        let groups = visible.chunks(self.scanner.settings.group_size.clamp(1, 1000));
        let groups: Vec<_> = groups.map(|group| self.group(group.to_vec())).collect();
        stream::iter(groups)
            .buffer_unordered(self.scanner.settings.concurrent_groups.max(1))
            .collect::<()>()
            .await;
    }

    /// The subscriptions that have no result at the deadline fail.
    pub(super) fn time_out(&self, subjects: &[Subject<'_>]) {
        let finished = std::mem::take(&mut *self.finished());
        let minutes = self.scanner.settings.deadline.as_secs() / 60;
        let failure = AzureError {
            code: "ScanTimeout".into(),
            message: format!("the scan did not end within {minutes} minutes"),
            operation: queries::MACHINES_OPERATION.into(),
            class: ErrorClass::Transient,
            request_id: None,
            effect_unknown: false,
        };
        for subject in subjects {
            if !finished.contains(subject.id) {
                self.finish(subject, Err(failure.clone()));
            }
        }
    }

    fn finished(&self) -> MutexGuard<'_, HashSet<String>> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The subscriptions that the identity can see. The others fail here, because Resource Graph would silently omit them, or
    /// refuse the whole group.
    async fn visible<'t>(&self, subjects: Vec<Subject<'t>>) -> Vec<Subject<'t>> {
        if subjects.is_empty() {
            return subjects;
        }
        let seen: HashSet<String> = match self.list().await {
            Ok(list) => list.into_iter().map(|subscription| subscription.id).collect(),
            Err(failure) if failure.class == ErrorClass::Credential => {
                self.fail(&subjects, &failure);
                return Vec::new();
            }
            Err(failure) => {
                tracing::debug!(error = %failure, "subscriptions could not be listed; querying all of them");
                return subjects;
            }
        };
        let (visible, hidden): (Vec<_>, Vec<_>) = subjects
            .into_iter()
            .partition(|subject| seen.contains(subject.id));
        self.fail(&hidden, &not_seen());
        visible
    }

    async fn list(&self) -> Result<Vec<crate::Subscription>, AzureError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.arm.subscriptions().await {
                Err(failure) if tries < LIST_TRIES && is_retried_without_quota(&failure.class) => {
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

    /// Reads a group, and splits it while Azure refuses one of its subscriptions.
    async fn group(&self, subjects: Vec<Subject<'_>>) {
        let mut splits = 0;
        let mut waiting = vec![subjects];
        while let Some(subjects) = waiting.pop() {
            let Outcome { readings, left } = group::read(self, &subjects).await;
            for (subject, reading) in readings {
                self.finish(&subject, reading);
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
                // The first error is kept.
                let _ = self.stopped.set(failure.clone());
            }
            self.fail(&left, &failure);
        }
    }

    /// The error that stopped the scan, if there was one.
    pub(super) fn stopped(&self) -> Option<AzureError> {
        self.stopped.get().cloned()
    }

    /// Updates the report.
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

    /// A machine has its final findings, one for each target.
    pub(super) fn machine(&self, machine: &Machine, findings: &[&Finding]) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.machines += 1;
        drop(progress);
        for finding in findings {
            self.observer.machine(machine, finding);
        }
    }

    pub(super) fn fail(&self, subjects: &[Subject<'_>], failure: &AzureError) {
        for subject in subjects {
            self.finish(subject, Err(failure.clone()));
        }
    }

    /// A subscription is done, with one reading for each target.
    fn finish(&self, subject: &Subject<'_>, readings: Result<Vec<SubscriptionReading>, AzureError>) {
        self.finished().insert(subject.id.to_owned());
        match readings {
            Ok(readings) => {
                for (target, reading) in subject.targets.iter().zip(readings) {
                    self.observer.subscription(target, Ok(reading));
                }
            }
            Err(failure) => {
                for target in &subject.targets {
                    self.observer.subscription(target, Err(failure.clone()));
                }
            }
        }
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

/// The error with the code that Azure uses for a subscription that does not exist or is not visible.
fn not_seen() -> AzureError {
    AzureError {
        class: ErrorClass::NotFound,
        code: "SubscriptionNotFound".into(),
        message: "the subscription does not exist, or the identity has no access to it".into(),
        operation: "GET subscriptions".into(),
        request_id: None,
        effect_unknown: false,
    }
}
