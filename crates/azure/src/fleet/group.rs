//! One group of subscriptions, from its plans to its readings.
//!
//! ```text
//! prepare (health reports, permissions) ─▶ judge (pages, fold, verdicts) ─▶ close (confirm, complete the reading)
//! ```
//! The three run side by side in one task; dropping it stops all of them.

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
    machines::{Finding, Listing, Machine, RuleContext, Summary, Verdict, finding, summary},
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
    unprotected::SingleFlight,
};
use crate::resource_graph;

/// Subscriptions whose health reports and permissions are read at the same time.
const PREPARED_AT_ONCE: usize = 8;
/// Closed subscriptions that may wait for their confirmations; then paging waits.
const CLOSING_AT_ONCE: usize = 8;
/// Machines of one subscription that are confirmed at the same time: one group alone can use all GETs of a scanner.
const CONFIRMED_AT_ONCE: usize = 8;

/// What came of a group.
pub(super) struct Outcome<'t> {
    pub(super) readings: Vec<(&'t Target, Result<SubscriptionReading, AzureError>)>,
    /// Subscriptions that were not read to their end, and why not.
    pub(super) left: Option<(Vec<&'t Target>, PageError)>,
}

/// What a group's verdicts depend on besides the machines.
struct Group<'g, 't> {
    scan: &'g Scan<'g>,
    /// Sorted by subscription.
    targets: &'g [&'t Target],
    plans: HashMap<String, Plan>,
    prepared: Vec<SetOnce<Prepared>>,
    at: Timestamp,
    readings: Mutex<HashMap<usize, (SubscriptionReading, SingleFlight)>>,
}

/// What is read beside the machines of a subscription.
#[derive(Debug)]
struct Prepared {
    access: Access,
    issues: Arc<Issues>,
}

/// A subscription that is being read, or waits for its confirmations.
struct Open<'t> {
    place: usize,
    target: &'t Target,
    summary: Summary,
    /// Findings to confirm, bad and undated ones: the worst ones, worst first.
    suspects: Vec<(Finding, Machine)>,
    /// Machines that were not protected at the last scan.
    known: Arc<SingleFlight>,
    /// Those of them that have not been listed yet, by [`hash`] of their id.
    missing: HashSet<u64>,
    /// Machines that are not protected at this one.
    kept: SingleFlight,
}

/// Reads a group. `targets` are sorted by subscription, each once.
pub(super) async fn read<'t>(scan: &Scan<'_>, targets: &[&'t Target]) -> Outcome<'t> {
    let at = (scan.scanner.settings.now)();
    let plans = match scan.plans(subscriptions(targets)).await {
        Ok(plans) => plans,
        Err(stop) => {
            return Outcome {
                readings: Vec::new(),
                left: Some((targets.to_vec(), stop)),
            };
        }
    };
    let group = Group {
        scan,
        targets,
        plans,
        prepared: targets.iter().map(|_| SetOnce::new()).collect(),
        at,
        readings: Mutex::default(),
    };
    let (closed, closing) = mpsc::channel(CLOSING_AT_ONCE);
    let ((broken, end), ()) = tokio::select! {
        done = future::join(group.judge_all(closed), group.close_all(closing)) => done,
        never = group.prepare() => match never {},
    };
    group.outcome(&broken, end)
}

impl<'t> Group<'_, 't> {
    /// Reads what is needed beside the machines, in the order of the pages. Never ends: it is dropped with the group.
    async fn prepare(&self) -> Infallible {
        let all = self.targets.iter().zip(&self.prepared);
        let all: Vec<_> = all
            .map(|(target, prepared)| self.prepare_one(target, prepared))
            .collect();
        stream::iter(all)
            .buffer_unordered(PREPARED_AT_ONCE)
            .collect::<()>()
            .await;
        future::pending().await
    }

    async fn prepare_one(&self, target: &Target, prepared: &SetOnce<Prepared>) {
        let (scanner, arm) = (self.scan.scanner, &self.scan.arm);
        let issues = async {
            if self.plan(target).is_some_and(Plan::has_health_reports) {
                scanner.health(arm, target).await
            } else {
                Arc::default()
            }
        };
        let (issues, access) = future::join(issues, scanner.access(arm, target)).await;
        // Nobody else sets it.
        let _ = prepared.set(Prepared { access, issues });
    }

    /// Reads all pages and judges the machines as they come. Gives the places of subscriptions that came in no order,
    /// and how it ended.
    async fn judge_all(&self, closed: mpsc::Sender<Open<'t>>) -> (Vec<usize>, Result<(), PageError>) {
        let ids = subscriptions(self.targets);
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
            for step in steps.drain(..) {
                self.step(step, &mut open, &closed).await;
            }
            if last {
                let end = pages.complete(fold.distinct).map_err(PageError::Failed);
                return (fold.broken(), end);
            }
        }
    }

    async fn step(&self, step: Step, open: &mut Option<Open<'t>>, closed: &mpsc::Sender<Open<'t>>) {
        match step {
            Step::Machine(machine) => {
                let found = self
                    .targets
                    .binary_search_by(|target| target.subscription.cmp(&machine.subscription_id));
                let Ok(place) = found else { return };
                let Some(now_open) = open.take().or_else(|| self.open(place)) else {
                    return;
                };
                self.judge(open.insert(now_open), *machine).await;
            }
            Step::Closed(place) => {
                if let Some(complete) = open.take().or_else(|| self.open(place)) {
                    // The other end lives as long as this one.
                    let _ = closed.send(complete).await;
                }
            }
        }
    }

    fn open(&self, place: usize) -> Option<Open<'t>> {
        let target = *self.targets.get(place)?;
        let known = self.known(target);
        Some(Open {
            place,
            target,
            summary: Summary::new(&target.exclusions),
            suspects: Vec::new(),
            missing: known.hashes(&target.subscription),
            known,
            kept: SingleFlight::default(),
        })
    }

    fn known(&self, target: &Target) -> Arc<SingleFlight> {
        let scanner = self.scan.scanner;
        if !scanner.settings.keep_unprotected {
            return Arc::default();
        }
        let known = scanner.unprotected.of(&target.subscription);
        known.unwrap_or_else(|| Arc::new(SingleFlight::of(target)))
    }

    /// Counts a machine, unless its finding is to be confirmed and it has not been asked itself.
    async fn judge(&self, open: &mut Open<'t>, machine: Machine) {
        let Some(prepared) = self.prepared.get(open.place) else {
            return;
        };
        let issues = &prepared.wait().await.issues;
        if !open.missing.is_empty() {
            open.missing.remove(&hash(&machine.id, ""));
        }
        let finding = self.find(open.target, issues, &machine);
        if !finding.needs_confirmation(self.at) || !is_resource_id(&machine.id) {
            return self.count(open, &machine, &finding);
        }
        if let Some(confirmation) = self.scan.scanner.confirmations.get(&machine) {
            if let Some(machine) = confirmation.apply_to(machine) {
                let finding = self.find(open.target, issues, &machine);
                self.count(open, &machine, &finding);
            }
            return;
        }
        let order = summary::order(&finding);
        let at = open
            .suspects
            .partition_point(|(known, _)| summary::order(known) <= order);
        open.suspects.insert(at, (finding, machine));
        if open.suspects.len() > self.scan.scanner.settings.confirmations_per_subscription
            && let Some((finding, machine)) = open.suspects.pop()
        {
            self.count(open, &machine, &finding);
        }
    }

    fn find(&self, target: &Target, issues: &Issues, machine: &Machine) -> Finding {
        let id = hash(&machine.id, "");
        let plan = self.plan(target);
        let rule_context = RuleContext {
            now: self.at,
            grace: target.grace,
            plan_enabled_since: plan.and_then(|plan| plan.enabled_since),
            exclusions: &target.exclusions,
            plan_off: plan.is_some_and(|plan| plan.off.contains(&id)),
            plan_unreadable: plan.is_some_and(|plan| plan.unreadable.contains(&id)),
            health: issues.known.get(&id),
            health_unreadable: issues.unreadable.contains(&id),
            transition_seen: self.scan.scanner.transitions.seen(machine, self.at),
        };
        finding(machine, &rule_context)
    }

    fn count(&self, open: &mut Open<'t>, machine: &Machine, finding: &Finding) {
        open.summary.add(machine, finding);
        let unprotected = finding.verdict.is_eligible() && finding.verdict != Verdict::Protected;
        // What is not listed is kept where it is confirmed.
        if unprotected && machine.listing != Listing::NotListed && self.scan.scanner.settings.keep_unprotected
        {
            open.kept.add(machine);
        }
        self.scan.machine(machine, finding);
    }

    fn plan(&self, target: &Target) -> Option<&Plan> {
        self.plans.get(&target.subscription)
    }

    /// Confirms and completes the subscriptions that are closed.
    async fn close_all(&self, mut closing: mpsc::Receiver<Open<'t>>) {
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(open) = closing.recv(), if running.len() < CLOSING_AT_ONCE => running.push(self.close(open)),
                Some(()) = running.next() => {}
                else => return,
            }
        }
    }

    async fn close(&self, mut open: Open<'t>) {
        let Some(prepared) = self.prepared.get(open.place) else {
            return;
        };
        let prepared = prepared.wait().await;
        self.confirm_missing(&mut open, prepared).await;
        let suspects = std::mem::take(&mut open.suspects);
        let mut confirmed = stream::iter(suspects)
            .map(|(finding, machine)| async move {
                self.scan.count(|report| report.confirmations += 1);
                let confirmation = self.scan.scanner.confirm(&self.scan.arm, &machine).await;
                (finding, machine, confirmation)
            })
            .buffer_unordered(CONFIRMED_AT_ONCE);
        while let Some((finding, machine, confirmation)) = confirmed.next().await {
            match confirmation {
                Ok(confirmation) => {
                    if let Some(machine) = confirmation.apply_to(machine) {
                        let finding = self.find(open.target, &prepared.issues, &machine);
                        self.count(&mut open, &machine, &finding);
                    }
                }
                Err(failure) => {
                    tracing::debug!(error = %failure, resource_id = machine.id, "finding not confirmed; using the result of Resource Graph");
                    self.count(&mut open, &machine, &finding);
                }
            }
        }
        let reading = SubscriptionReading {
            tier: self.plan(open.target).and_then(|plan| plan.tier.clone()),
            summary: open.summary,
            access: prepared.access.clone(),
            at: self.at,
        };
        let readings = self.readings.lock();
        readings
            .unwrap_or_else(PoisonError::into_inner)
            .insert(open.place, (reading, open.kept));
    }

    /// Asks machines that were not protected whether they are deleted, now that they are not listed: a verdict must not
    /// improve because Resource Graph lost a row. Those that exist, and those that cannot be asked, go on counting, and
    /// are asked again at a later scan, after those that have not been asked yet.
    async fn confirm_missing(&self, open: &mut Open<'t>, prepared: &Prepared) {
        let target = open.target;
        let known = Arc::clone(&open.known);
        let missing = known.machines(&target.subscription);
        let missing = missing.filter(|machine| open.missing.contains(&hash(&machine.id, "")));
        let missing = missing.map(|machine| (self.find(target, &prepared.issues, &machine), machine));
        // The spec may leave it out by now.
        let mut missing: Vec<_> = missing
            .filter(|(finding, _)| finding.verdict.is_eligible())
            .collect();
        if missing.is_empty() {
            return;
        }
        let limit = self.scan.scanner.settings.confirmations_per_subscription;
        // Who may not read machines is refused each of them, and is Unknown anyway.
        let may = !matches!(prepared.access, Access::Missing(_));
        let room = limit.saturating_sub(open.suspects.len()).max(limit.div_ceil(2));
        let now = if may { room.min(missing.len()) } else { 0 };
        for (finding, machine) in open.suspects.split_off(open.suspects.len().min(limit - now)) {
            self.count(open, &machine, &finding);
        }
        let later = missing.split_off(now);
        let asked = stream::iter(missing).map(|(finding, machine)| async move {
            self.scan.count(|report| report.confirmations += 1);
            let exists = self.scan.scanner.exists(&self.scan.arm, &machine).await;
            (finding, machine, exists)
        });
        let asked: Vec<_> = asked.buffered(CONFIRMED_AT_ONCE).collect().await;
        let mut kept = SingleFlight::default();
        for (finding, machine) in later {
            kept.add(&machine);
            self.count(open, &machine, &finding);
        }
        for (finding, machine, exists) in asked {
            match exists {
                Ok(false) => continue,
                Ok(true) => tracing::debug!(resource_id = machine.id, "machine exists but is not listed"),
                Err(failure) => {
                    tracing::debug!(error = %failure, resource_id = machine.id, "machine is not listed; deletion not confirmed");
                    if matches!(failure.class, ErrorClass::Permission(_)) {
                        self.scan.scanner.access.forget(&target.subscription);
                    }
                }
            }
            kept.add(&machine);
            self.count(open, &machine, &finding);
        }
        kept.append(&open.kept, &target.subscription);
        open.kept = kept;
    }

    /// Readings that are complete: all of them when nothing is missing, else those that were closed before the end.
    fn outcome(self, broken: &[usize], end: Result<(), PageError>) -> Outcome<'t> {
        let mut known = self.readings.into_inner().unwrap_or_else(PoisonError::into_inner);
        if end.is_err() && known.len() == self.targets.len() {
            // All were closed, and yet rows are missing: nobody knows of which subscription.
            known.clear();
        }
        let mut readings = Vec::new();
        let mut left = Vec::new();
        for (place, target) in self.targets.iter().enumerate() {
            match known.remove(&place) {
                _ if broken.contains(&place) => readings.push((*target, Err(out_of_order()))),
                Some((reading, kept)) => {
                    let scanner = self.scan.scanner;
                    if scanner.settings.keep_unprotected {
                        scanner.unprotected.replace(&target.subscription, self.at, kept);
                    }
                    readings.push((*target, Ok(reading)));
                }
                None => left.push(*target),
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

fn subscriptions<'t>(targets: &[&'t Target]) -> Vec<&'t str> {
    targets
        .iter()
        .map(|target| target.subscription.as_str())
        .collect()
}

fn out_of_order() -> AzureError {
    let message = "machines came after their subscription had been read: some may not have been counted";
    resource_graph::failure("RowsOutOfOrder", message, queries::MACHINES_OPERATION)
}
