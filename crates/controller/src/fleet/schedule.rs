//! Decides when to scan which subscriptions: all of a principal periodically, new and changed ones soon, and requested
//! ones at once.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use serverprotection_azure::{Client, fleet::Target};
use serverprotection_core::{azure_error::AzureError, retry::spread};

use super::scan_targets::ScanTargets;

/// Time without new objects before a scan of new objects starts. At start or after a Git sync, many objects are added
/// together.
const DEBOUNCE: Duration = Duration::from_secs(1);
/// Longest time that a scan waits for further new objects.
const MAX_DEBOUNCE: Duration = Duration::from_secs(10);
/// Longest time between two checks of the schedules.
const IDLE: Duration = Duration::from_secs(60);

/// The scans that one principal needs.
pub(super) struct Schedule {
    /// Time of the next scan of all subscriptions; `None` before the first scan.
    next: Option<Instant>,
    /// New or changed objects that should not wait for the next periodic scan.
    waiting: HashSet<String>,
    waiting_since: Option<Instant>,
    last_added: Instant,
    /// Objects for which a user requested a reconcile.
    requested: HashSet<String>,
    /// Running scans. At most one scan of each kind runs at a time.
    running: HashSet<ScanReason>,
}

/// Why a scan runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ScanReason {
    Periodic,
    Changed,
    Requested,
}

/// One scan to run.
pub(super) struct Batch {
    pub(super) principal: String,
    kind: ScanReason,
    /// The client of an object whose credential works.
    pub(super) client: Option<Arc<Client>>,
    /// One for each object.
    pub(super) targets: Vec<Target>,
    /// Uids and subscriptions of objects whose own credential does not work, and why.
    pub(super) without_credential: Vec<(String, String, AzureError)>,
    /// Whether the scan covers all objects of the principal.
    pub(super) whole: bool,
}

impl Schedule {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next: None,
            waiting: HashSet::new(),
            waiting_since: None,
            last_added: now,
            requested: HashSet::new(),
            running: HashSet::new(),
        }
    }

    pub(super) fn add(&mut self, uid: String, requested: bool, now: Instant) {
        if requested {
            self.requested.insert(uid);
            return;
        }
        self.waiting.insert(uid);
        self.waiting_since.get_or_insert(now);
        self.last_added = now;
    }

    /// The next scan, and when it is due.
    fn due_at(&self) -> Option<(ScanReason, Instant)> {
        let mut candidates = Vec::new();
        if !self.requested.is_empty() && !self.running.contains(&ScanReason::Requested) {
            candidates.push((ScanReason::Requested, self.last_added));
        }
        if let Some(since) = self
            .waiting_since
            .filter(|_| !self.running.contains(&ScanReason::Changed))
        {
            candidates.push((
                ScanReason::Changed,
                (self.last_added + DEBOUNCE).min(since + MAX_DEBOUNCE),
            ));
        }
        if let Some(next) = self
            .next
            .filter(|_| !self.running.contains(&ScanReason::Periodic))
        {
            candidates.push((ScanReason::Periodic, next));
        }
        candidates.into_iter().min_by_key(|(_, at)| *at)
    }
}

impl ScanTargets {
    /// Returns the scans that are due now, and how long to wait for the next ones.
    pub(super) fn due(&mut self, now: Instant, interval: Duration) -> (Vec<Batch>, Duration) {
        let mut due = Vec::new();
        let mut wait = IDLE;
        let principals: Vec<String> = self.schedules.keys().cloned().collect();
        for principal in principals {
            while let Some(schedule) = self.schedules.get_mut(&principal) {
                let Some((kind, at)) = schedule.due_at() else {
                    break;
                };
                if at > now {
                    wait = wait.min(at - now);
                    break;
                }
                schedule.running.insert(kind);
                let expected = match kind {
                    ScanReason::Requested => Some(std::mem::take(&mut schedule.requested)),
                    ScanReason::Changed => {
                        schedule.waiting_since = None;
                        Some(std::mem::take(&mut schedule.waiting))
                    }
                    ScanReason::Periodic => None,
                };
                if kind != ScanReason::Requested {
                    schedule.next = Some(match (kind, schedule.next) {
                        // Later changes join the periodic scan that is already planned.
                        (ScanReason::Changed, Some(next)) => next,
                        _ => now + spread(interval, fastrand::f64()),
                    });
                }
                due.push(self.batch(&principal, kind, expected.as_ref()));
            }
        }
        (due, wait)
    }

    fn batch(&self, principal: &str, kind: ScanReason, expected: Option<&HashSet<String>>) -> Batch {
        let mut batch = Batch {
            principal: principal.to_owned(),
            kind,
            client: None,
            targets: Vec::new(),
            without_credential: Vec::new(),
            whole: true,
        };
        // A subscription is scanned for all its objects: each of them has its own exclusions and grace period.
        let expected: Option<HashSet<&str>> = expected.map(|expected| {
            let known = expected.iter().filter_map(|uid| self.all.get(uid));
            known.map(|known| known.object.subscription.as_str()).collect()
        });
        for (uid, known) in &self.all {
            let object = &known.object;
            if object.client.principal() != principal {
                continue;
            }
            if expected
                .as_ref()
                .is_some_and(|expected| !expected.contains(object.subscription.as_str()))
            {
                batch.whole = false;
                continue;
            }
            if let Err(failure) = &object.credential {
                let subscription = object.subscription.clone();
                batch
                    .without_credential
                    .push((uid.clone(), subscription, failure.clone()));
                continue;
            }
            batch.client.get_or_insert_with(|| Arc::clone(&object.client));
            batch.targets.push(Target {
                object: uid.clone(),
                subscription: object.subscription.clone(),
                exclusions: Arc::clone(&object.exclusions),
                grace: object.grace,
                plan_enabled: object.plan.enabled(),
                fresh: kind == ScanReason::Requested,
                unprotected: Arc::clone(&object.unprotected),
                had_machines: known.had_machines(),
            });
        }
        // A stable order gives stable groups, and messages that can be compared.
        batch
            .targets
            .sort_by(|a, b| (&a.subscription, &a.object).cmp(&(&b.subscription, &b.object)));
        batch
    }

    /// Records that a scan has ended, with any outcome.
    pub(super) fn ended(&mut self, batch: &Batch) {
        if let Some(schedule) = self.schedules.get_mut(&batch.principal) {
            schedule.running.remove(&batch.kind);
        }
    }
}

#[cfg(test)]
mod tests;
