//! The scan of one group of subscriptions, from its plans to its results.
//!
//! ```text
//! judge (pages, fold, verdicts) ─▶ close (confirm, complete the result)
//!   ▲ health reports                  ▲ permissions
//! ```
//! The steps and the reads run concurrently in one task. Dropping it stops all of them.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{
    StreamExt, future,
    stream::{self, FuturesUnordered},
};
use serverprotection_core::{
    Timestamp,
    azure_error::{AzureError, ErrorClass},
    jiff::SignedDuration,
    machines::{Finding, Listing, Machine, PlanOff, RuleContext, Summary, Verdict, finding},
};
use tokio::sync::{SetOnce, mpsc};

use super::{
    Access, SubscriptionReading, Target,
    fold::{Fold, Step},
    health::Issues,
    listed::{Listed, is_resource_id},
    pages::{PageError, PageEvent, Pages},
    parsed::Parsed,
    plans::Plan,
    queries,
    rows::{MachineRow, hash},
    scan::Scan,
    subject::{Findings, Subject, subscriptions, worst},
    unprotected::MachineList,
};
use crate::resource_graph;

/// Subscriptions whose health reports and permissions are read concurrently.
const CONCURRENT_PREPARATIONS: usize = 8;
/// Closed subscriptions that may wait for their confirmations before paging pauses.
const CONCURRENT_CLOSES: usize = 8;
/// Machines of one subscription that are confirmed concurrently. With all closes, one group can use all GETs of a
/// scanner.
const CONCURRENT_CONFIRMATIONS: usize = 8;

/// How long Resource Graph may still show the plan of a subscription as it was before a change.
const INDEX_LAG: SignedDuration = SignedDuration::from_hours(1);

/// The result of a group.
pub(super) struct Outcome<'t> {
    /// One for each target.
    pub(super) readings: Vec<(Subject<'t>, Result<Vec<SubscriptionReading>, AzureError>)>,
    /// Subscriptions that were not read completely, and the cause.
    pub(super) left: Option<(Vec<Subject<'t>>, PageError)>,
}

/// What the verdicts of a group depend on besides the machines.
struct Group<'g, 't> {
    scan: &'g Scan<'g>,
    /// Sorted by id.
    subjects: &'g [Subject<'t>],
    plans: HashMap<String, Plan>,
    prepared: Vec<Prepared>,
    at: Timestamp,
    readings: Mutex<HashMap<usize, Result<Closed, AzureError>>>,
}

/// The readings of a subscription, one for each target, and its machines that are not protected.
type Closed = (Vec<SubscriptionReading>, MachineList);

/// What is read for a subscription besides its machines.
#[derive(Debug, Default)]
struct Prepared {
    access: SetOnce<Access>,
    /// Whether any machine has verdicts: without one, health reports are not read.
    has_machines: SetOnce<bool>,
    issues: SetOnce<Arc<Issues>>,
}

/// A subscription that is being read or waits for its confirmations.
struct Open<'g, 't> {
    index: usize,
    subject: &'g Subject<'t>,
    /// Whether any machine was listed.
    is_populated: bool,
    /// One for each target.
    summaries: Vec<Summary>,
    /// Findings to confirm, the worst first.
    suspects: Vec<(Findings, Machine)>,
    /// Machines that were not protected at the last scan.
    known: Arc<MachineList>,
    /// Those of `known` that were not listed so far, by [`hash`] of their id.
    missing: HashSet<u64>,
    /// Machines that are not protected at this scan.
    kept: MachineList,
}

/// Scans a group. `subjects` are sorted by id, without duplicates.
pub(super) async fn read<'t>(scan: &Scan<'_>, subjects: &[Subject<'t>]) -> Outcome<'t> {
    let at = (scan.scanner.settings.now)();
    let plans = match scan.plans(subscriptions(subjects)).await {
        Ok(plans) => plans,
        Err(stop) => {
            return Outcome {
                readings: Vec::new(),
                left: Some((subjects.to_vec(), stop)),
            };
        }
    };
    let group = Group {
        scan,
        subjects,
        plans,
        prepared: subjects.iter().map(|_| Prepared::default()).collect(),
        at,
        readings: Mutex::default(),
    };
    let (closed, closing) = mpsc::channel(CONCURRENT_CLOSES);
    let ((broken, end), ()) = tokio::select! {
        done = future::join(group.judge_all(closed), group.close_all(closing)) => done,
        never = group.prepare_all() => match never {},
    };
    group.outcome(&broken, end)
}

impl<'g, 't> Group<'g, 't> {
    /// Reads what is needed besides the machines, in the order of the pages. Never returns; it is dropped with the
    /// group.
    async fn prepare_all(&self) -> Infallible {
        let all = || self.subjects.iter().zip(&self.prepared);
        let access: Vec<_> = all()
            .map(|(subject, prepared)| self.read_access(subject, prepared))
            .collect();
        let health: Vec<_> = all()
            .map(|(subject, prepared)| self.read_health(subject, prepared))
            .collect();
        let access = stream::iter(access).buffer_unordered(CONCURRENT_PREPARATIONS);
        let health = stream::iter(health).buffer_unordered(CONCURRENT_PREPARATIONS);
        future::join(access.collect::<()>(), health.collect::<()>()).await;
        future::pending().await
    }

    async fn read_access(&self, subject: &Subject<'_>, prepared: &Prepared) {
        let access = self.scan.scanner.access(self.scan.arm, subject).await;
        // Not set before: each subscription is prepared once.
        let _ = prepared.access.set(access);
    }

    async fn read_health(&self, subject: &Subject<'_>, prepared: &Prepared) {
        let has_reports = self.plan(subject.id).is_some_and(Plan::has_health_reports);
        let issues = if has_reports && *prepared.has_machines.wait().await {
            self.scan.scanner.health(self.scan.arm, subject).await
        } else {
            Arc::default()
        };
        // Not set before: each subscription is prepared once.
        let _ = prepared.issues.set(issues);
    }

    /// Lets the health reports of the subscription of a step be read, if it has machines. Called for a whole page before
    /// its first verdict, so that the reports of several subscriptions are read concurrently.
    fn announce(&self, step: &Step) {
        let index = match step {
            Step::Machine(machine) => self.index(machine),
            Step::Closed(index) => Some(*index),
        };
        let Some((subject, prepared)) =
            index.and_then(|index| Some((self.subjects.get(index)?, self.prepared.get(index)?)))
        else {
            return;
        };
        if !prepared.has_machines.initialized() {
            let has_machines = matches!(step, Step::Machine(_)) || !self.known(subject).is_empty();
            // Only this task sets it.
            let _ = prepared.has_machines.set(has_machines);
        }
    }

    fn index(&self, machine: &Machine) -> Option<usize> {
        let found = self
            .subjects
            .binary_search_by(|subject| subject.id.cmp(machine.subscription_id.as_str()));
        found.ok()
    }

    /// Reads all pages and judges the machines in their order. Returns the indexes of subscriptions whose rows were out
    /// of order, and how the pages ended.
    async fn judge_all(&self, closed: mpsc::Sender<Open<'g, 't>>) -> (Vec<usize>, Result<(), PageError>) {
        let ids = subscriptions(self.subjects);
        let mut fold = Fold::new(ids.iter().copied());
        let mut pages = Pages::new(queries::MACHINES_OPERATION, &queries::MACHINES, ids);
        let mut open = None;
        let mut steps = Vec::new();
        loop {
            let (rows, last) = match pages.next::<Parsed<MachineRow>>(self.scan).await {
                Ok(PageEvent::Page(rows, last)) => (rows, last),
                Ok(PageEvent::Restart) => {
                    fold.restart();
                    continue;
                }
                Err(stop) => return (fold.broken(), Err(stop)),
            };
            let (count, known) = (rows.len(), fold.duplicates);
            let odd = rows.iter().filter(|row| row.odd.is_some()).count();
            for row in rows {
                fold.row(Listed::from(row), &mut steps);
            }
            if last {
                steps.extend(fold.end());
            }
            self.scan.page_read(count, fold.duplicates - known, odd);
            for step in &steps {
                self.announce(step);
            }
            for step in steps.drain(..) {
                self.step(step, &mut open, &closed).await;
            }
            if last {
                let end = pages.complete(fold.distinct).map_err(PageError::Failed);
                return (fold.broken(), end);
            }
        }
    }

    async fn step(&self, step: Step, open: &mut Option<Open<'g, 't>>, closed: &mpsc::Sender<Open<'g, 't>>) {
        match step {
            Step::Machine(machine) => {
                let Some(index) = self.index(&machine) else { return };
                let Some(now_open) = open.take().or_else(|| self.open(index)) else {
                    return;
                };
                self.judge(open.insert(now_open), *machine).await;
            }
            Step::Closed(index) => {
                if let Some(complete) = open.take().or_else(|| self.open(index)) {
                    // The receiver lives as long as this sender.
                    let _ = closed.send(complete).await;
                }
            }
        }
    }

    fn open(&self, index: usize) -> Option<Open<'g, 't>> {
        let subject = self.subjects.get(index)?;
        let known = self.known(subject);
        let summaries = subject.targets.iter();
        Some(Open {
            index,
            subject,
            is_populated: false,
            summaries: summaries.map(|target| Summary::new(&target.exclusions)).collect(),
            suspects: Vec::new(),
            missing: known.hashes(subject.id),
            known,
            kept: MachineList::default(),
        })
    }

    fn known(&self, subject: &Subject<'_>) -> Arc<MachineList> {
        let scanner = self.scan.scanner;
        if !scanner.settings.keep_unprotected {
            return Arc::default();
        }
        let known = scanner.unprotected.of(subject.id);
        known.unwrap_or_else(|| Arc::new(MachineList::of(subject)))
    }

    /// Counts a machine, unless one of its findings must be confirmed first.
    async fn judge(&self, open: &mut Open<'_, '_>, machine: Machine) {
        let Some(prepared) = self.prepared.get(open.index) else {
            return;
        };
        open.is_populated = true;
        let issues = prepared.issues.wait().await;
        let was_unprotected = !open.missing.is_empty() && open.missing.remove(&hash(&machine.id, ""));
        let findings = self.find(open.subject, issues, &machine);
        // A machine that no longer counts improves the result, too.
        let is_suspect = findings.iter().any(|finding| {
            let leaves = was_unprotected && finding.verdict.leaves_by_its_state();
            leaves || finding.needs_confirmation(self.at)
        });
        if !is_suspect || !is_resource_id(&machine.id) {
            return self.count(open, &machine, &findings);
        }
        if let Some(confirmation) = self.scan.scanner.confirmations.get(&machine) {
            if let Some(machine) = confirmation.apply_to(machine) {
                let findings = self.find(open.subject, issues, &machine);
                self.count(open, &machine, &findings);
            }
            return;
        }
        let order = worst(&findings);
        let at = open.suspects.partition_point(|(known, _)| worst(known) <= order);
        open.suspects.insert(at, (findings, machine));
        if open.suspects.len() > self.scan.scanner.settings.confirmations_per_subscription
            && let Some((findings, machine)) = open.suspects.pop()
        {
            self.count(open, &machine, &findings);
        }
    }

    fn find(&self, subject: &Subject<'_>, issues: &Issues, machine: &Machine) -> Findings {
        let id = hash(&machine.id, "");
        let plan = self.plan(subject.id);
        let transition_seen = self.scan.scanner.transitions.seen(machine, self.at);
        let find = |target: &&Target| {
            let rule_context = RuleContext {
                now: self.at,
                grace: target.grace,
                plan_enabled_since: plan.and_then(|plan| plan.enabled_since).max(target.plan_enabled),
                exclusions: &target.exclusions,
                plan_off: plan.and_then(|plan| plan.off(id)).filter(|off| {
                    *off == PlanOff::OfMachine
                        || !target.plan_was_enabled_since(self.at.checked_sub(INDEX_LAG).ok())
                }),
                plan_unreadable: plan.is_some_and(|plan| plan.unreadable.contains(&id)),
                health: issues.known.get(&id),
                health_unreadable: issues.unreadable.contains(&id),
                transition_seen,
            };
            finding(machine, &rule_context)
        };
        subject.targets.iter().map(find).collect()
    }

    fn count(&self, open: &mut Open<'_, '_>, machine: &Machine, findings: &[Finding]) {
        let is_listed = machine.listing != Listing::NotListed;
        let mut counted = Vec::with_capacity(findings.len());
        for (summary, finding) in open.summaries.iter_mut().zip(findings) {
            // A machine that is gone counts only where it should be protected.
            if is_listed || finding.verdict.is_eligible() {
                summary.add(machine, finding);
                counted.push(finding);
            }
        }
        let unprotected =
            |finding: &Finding| finding.verdict.is_eligible() && finding.verdict != Verdict::Protected;
        // Machines that are not listed are kept by `confirm_missing`.
        let keeps = is_listed && self.scan.scanner.settings.keep_unprotected;
        if keeps && findings.iter().any(unprotected) {
            open.kept.add(machine);
        }
        self.scan.machine(machine, &counted);
    }

    fn plan(&self, subscription: &str) -> Option<&Plan> {
        self.plans.get(subscription)
    }

    /// Confirms and completes the closed subscriptions.
    async fn close_all(&self, mut closing: mpsc::Receiver<Open<'_, '_>>) {
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(open) = closing.recv(), if running.len() < CONCURRENT_CLOSES => running.push(self.close(open)),
                Some(()) = running.next() => {}
                else => return,
            }
        }
    }

    async fn close(&self, open: Open<'_, '_>) {
        let index = open.index;
        let Some(prepared) = self.prepared.get(index) else {
            return;
        };
        let closed = match self.confirm_access(&open, prepared.access.wait().await).await {
            Ok(access) => Ok(self.complete(open, access, prepared.issues.wait().await).await),
            Err(failure) => Err(failure),
        };
        let readings = self.readings.lock();
        readings
            .unwrap_or_else(PoisonError::into_inner)
            .insert(index, closed);
    }

    /// All rows of a subscription also disappear when the identity loses its access, so permissions that were read before
    /// do not prove that its machines are gone.
    async fn confirm_access(&self, open: &Open<'_, '_>, access: &Access) -> Result<Access, AzureError> {
        let is_emptied = !open.is_populated && open.subject.had_machines();
        if !is_emptied || *access != Access::Sufficient {
            return Ok(access.clone());
        }
        let scanner = self.scan.scanner;
        let now = scanner.access_now(self.scan.arm, open.subject.id).await;
        now.inspect_err(|_| scanner.access.forget(open.subject.id))
    }

    /// Confirms findings and completes the readings.
    async fn complete(&self, mut open: Open<'_, '_>, access: Access, issues: &Issues) -> Closed {
        self.confirm_missing(&mut open, &access, issues).await;
        let suspects = std::mem::take(&mut open.suspects);
        let mut confirmed = stream::iter(suspects)
            .map(|(findings, machine)| async move {
                self.scan.count(|report| report.confirmations += 1);
                let confirmation = self.scan.scanner.confirm(self.scan.arm, &machine).await;
                (findings, machine, confirmation)
            })
            .buffer_unordered(CONCURRENT_CONFIRMATIONS);
        while let Some((findings, machine, confirmation)) = confirmed.next().await {
            match confirmation {
                Ok(confirmation) => {
                    if let Some(machine) = confirmation.apply_to(machine) {
                        let findings = self.find(open.subject, issues, &machine);
                        self.count(&mut open, &machine, &findings);
                    }
                }
                Err(failure) => {
                    tracing::debug!(error = %failure, resource_id = machine.id, "finding not confirmed; using the result of Resource Graph");
                    self.count(&mut open, &machine, &findings);
                }
            }
        }
        let tier = self.plan(open.subject.id).and_then(|plan| plan.tier.as_ref());
        let summaries = open.summaries.into_iter();
        let closed = summaries.map(|summary| SubscriptionReading {
            tier: tier.cloned(),
            summary,
            access: access.clone(),
            at: self.at,
        });
        (closed.collect(), open.kept)
    }

    /// Checks whether machines that were not protected and are no longer listed are deleted: a verdict must not improve
    /// because Resource Graph lost a row. Machines that exist or cannot be checked still count. Later scans check them
    /// again, after those that were not checked yet.
    async fn confirm_missing(&self, open: &mut Open<'_, '_>, access: &Access, issues: &Issues) {
        let subject = open.subject;
        let known = Arc::clone(&open.known);
        let missing = known.machines(subject.id);
        let missing = missing.filter(|machine| open.missing.contains(&hash(&machine.id, "")));
        let missing = missing.map(|machine| (self.find(subject, issues, &machine), machine));
        // Each spec may exclude the machine by now.
        let mut missing: Vec<_> = missing
            .filter(|(findings, _)| findings.iter().any(|finding| finding.verdict.is_eligible()))
            .collect();
        if missing.is_empty() {
            return;
        }
        let limit = self.scan.scanner.settings.confirmations_per_subscription;
        // Without the permission to read machines, every GET would be refused.
        let may = !matches!(access, Access::Missing(_));
        let room = limit.saturating_sub(open.suspects.len()).max(limit.div_ceil(2));
        let now = if may { room.min(missing.len()) } else { 0 };
        for (findings, machine) in open.suspects.split_off(open.suspects.len().min(limit - now)) {
            self.count(open, &machine, &findings);
        }
        let later = missing.split_off(now);
        let asked = stream::iter(missing).map(|(findings, machine)| async move {
            self.scan.count(|report| report.confirmations += 1);
            let exists = self.scan.scanner.exists(self.scan.arm, &machine).await;
            (findings, machine, exists)
        });
        let asked: Vec<_> = asked.buffered(CONCURRENT_CONFIRMATIONS).collect().await;
        let mut kept = MachineList::default();
        for (findings, machine) in later {
            kept.add(&machine);
            self.count(open, &machine, &findings);
        }
        for (findings, machine, exists) in asked {
            match exists {
                Ok(false) => continue,
                Ok(true) => tracing::debug!(resource_id = machine.id, "machine exists but is not listed"),
                Err(failure) => {
                    tracing::debug!(error = %failure, resource_id = machine.id, "machine is not listed; deletion not confirmed");
                    if matches!(failure.class, ErrorClass::Permission(_)) {
                        self.scan.scanner.access.forget(subject.id);
                    }
                }
            }
            kept.add(&machine);
            self.count(open, &machine, &findings);
        }
        kept.append(&open.kept, subject.id);
        open.kept = kept;
    }

    /// The complete results: all of them if no row is missing, otherwise those of subscriptions that were closed before
    /// the error.
    fn outcome(self, broken: &[usize], end: Result<(), PageError>) -> Outcome<'t> {
        let mut known = self.readings.into_inner().unwrap_or_else(PoisonError::into_inner);
        if end.is_err() && known.len() == self.subjects.len() {
            // All were closed although rows are missing, and it is unknown which subscriptions lack them.
            known.clear();
        }
        let mut readings = Vec::new();
        let mut left = Vec::new();
        for (index, subject) in self.subjects.iter().enumerate() {
            match known.remove(&index) {
                _ if broken.contains(&index) => readings.push((subject.clone(), Err(out_of_order()))),
                Some(Err(failure)) => readings.push((subject.clone(), Err(failure))),
                Some(Ok((reading, kept))) => {
                    let scanner = self.scan.scanner;
                    if scanner.settings.keep_unprotected {
                        scanner.unprotected.replace(subject.id, self.at, kept);
                    }
                    readings.push((subject.clone(), Ok(reading)));
                }
                None => left.push(subject.clone()),
            }
        }
        let left = match end {
            Ok(()) if left.is_empty() => None,
            Ok(()) => Some((left, PageError::Failed(out_of_order()))),
            Err(stop) => Some((left, stop)),
        };
        Outcome { readings, left }
    }
}

fn out_of_order() -> AzureError {
    let message = "the rows are out of order, so some machines may not be counted";
    resource_graph::failure("RowsOutOfOrder", message, queries::MACHINES_OPERATION)
}
