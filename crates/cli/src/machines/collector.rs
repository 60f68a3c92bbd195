//! Receives the results of the scan: writes rows immediately, and keeps only counts per subscription.

use std::{
    collections::{BTreeSet, HashMap},
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serverprotection_azure::fleet::{self, ScanObserver, SubscriptionReading, Target};
use serverprotection_core::{
    Timestamp,
    azure_error::AzureError,
    machines::{Environment, Finding, Machine, Verdict},
    security_connector::account::ListedConnector,
};
use tokio_util::sync::CancellationToken;

use super::{
    args::{Args, Format},
    cells,
    identity::{Origin, hint, problem},
    migration::{self, Counting, Report},
    output::Output,
    progress::Progress,
    rows::Rows,
    summary::{self, Summary},
    totals::{End, Outcome, Subscription, Totals},
};

/// Maximum number of accounts that a note lists.
const MAX_ACCOUNTS: usize = 20;

/// Name and requirements of a subscription.
#[derive(Clone, Debug)]
pub(crate) struct Requested {
    pub(crate) name: String,
    pub(crate) minimum: u8,
    pub(crate) origin: Origin,
}

/// Receives the results of all scans of one run.
pub(crate) struct Collector<W> {
    format: Format,
    verdicts: Vec<Verdict>,
    environments: Vec<Environment>,
    accounts: Vec<String>,
    requested: HashMap<String, Requested>,
    progress: Arc<Progress>,
    /// Cancelled when the output can no longer be written.
    pub(crate) closed: CancellationToken,
    state: Mutex<State<W>>,
}

/// The end of a run.
pub(crate) struct Finished {
    pub(crate) end: End,
    /// Why the output is incomplete.
    pub(crate) error: Option<io::Error>,
    /// Text for standard error: the summary of CSV output.
    pub(crate) stderr: String,
    /// A filter that selects nothing.
    pub(crate) note: Option<String>,
}

struct State<W> {
    output: Output<W>,
    /// `None` if the migration report is written instead.
    rows: Option<Rows>,
    counting: Counting,
    totals: Totals,
    /// Progress of the earlier scans of this run.
    before: fleet::Progress,
    latest: fleet::Progress,
}

impl<W: Write + Send> Collector<W> {
    pub(crate) fn new(
        args: &Args,
        requested: HashMap<String, Requested>,
        to: W,
        progress: Arc<Progress>,
        now: Timestamp,
    ) -> Self {
        let mut output = Output::new(to);
        let rows = (!args.migration).then(|| Rows::new(args.output, now));
        if let Some(rows) = &rows {
            rows.start(&mut output.buffer);
        }
        Self {
            format: args.output,
            verdicts: args.verdicts.clone(),
            environments: args.environments.clone(),
            accounts: args.accounts.clone(),
            requested,
            progress,
            closed: CancellationToken::new(),
            state: Mutex::new(State {
                output,
                rows,
                counting: Counting::default(),
                totals: Totals::default(),
                before: fleet::Progress::default(),
                latest: fleet::Progress::default(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the filters select the machine for printing. They never change the counts.
    fn is_expected(&self, machine: &Machine, finding: &Finding) -> bool {
        (self.verdicts.is_empty() || self.verdicts.contains(&finding.verdict))
            && (self.environments.is_empty() || self.environments.contains(&machine.environment()))
            && (self.accounts.is_empty()
                || machine
                    .account()
                    .is_some_and(|account| self.accounts.contains(&account.id)))
    }

    /// Writes the buffer. A slow reader (a pager) slows the scan, but does not block the other tasks of this thread.
    fn flush(&self, state: &mut State<W>) {
        let write = || self.progress.aside(|| state.output.flush());
        if !tokio::task::block_in_place(write) {
            self.closed.cancel();
        }
    }

    /// Ends a scan; the progress of the next one is added to it.
    pub(crate) fn scanned(&self) {
        let mut state = self.state();
        state.before = std::mem::take(&mut state.latest);
    }

    /// The targets whose subscriptions were read.
    pub(crate) fn read_of(&self, targets: &[Target]) -> Vec<String> {
        let state = self.state();
        let read = |target: &&Target| {
            let known = state.totals.subscriptions.get(&target.subscription);
            known.is_some_and(|known| matches!(known.outcome, Outcome::Read { .. }))
        };
        let read = targets.iter().filter(read);
        read.map(|target| target.subscription.clone()).collect()
    }

    /// Adds the connectors of some subscriptions, or why they could not be listed.
    pub(crate) fn connectors(&self, answer: Result<Vec<ListedConnector>, AzureError>) {
        self.state().totals.connectors.add(answer);
    }

    /// Records a subscription that was not scanned.
    pub(crate) fn not_scanned(&self, subscription: &str, failure: AzureError) {
        self.ended(subscription, Err(failure));
    }

    /// Records the result of a subscription.
    fn ended(&self, subscription: &str, reading: Result<SubscriptionReading, AzureError>) {
        let mut state = self.state();
        state.counting.subscription(subscription, reading.is_ok());
        let requested = self.requested.get(subscription);
        let outcome = match reading {
            Ok(reading) => Outcome::Read {
                tally: reading.summary.tally.into(),
                accounts: reading.summary.accounts,
                access: reading.access,
                tier: reading.tier,
            },
            Err(failure) => Outcome::Failed {
                hint: requested.map_or_else(String::new, |requested| hint(&requested.origin, &failure)),
                reason: problem(&failure),
            },
        };
        state.totals.subscriptions.insert(
            subscription.to_owned(),
            Subscription {
                name: requested.map_or_else(String::new, |requested| requested.name.clone()),
                minimum: requested.map_or(100, |requested| requested.minimum),
                outcome,
            },
        );
    }

    /// Writes the summary or the migration report.
    pub(crate) fn finish(&self) -> Finished {
        let mut state = self.state();
        let end = state.totals.end();
        let State {
            output,
            rows,
            counting,
            totals,
            ..
        } = &mut *state;
        let out = &mut output.buffer;
        let mut stderr = String::new();
        match (self.format, rows.is_some()) {
            (Format::Table | Format::Wide, true) => {
                out.extend_from_slice(format!("\n{}", summary::text(totals, self.format)).as_bytes());
            }
            (Format::Table | Format::Wide, false) => {
                let report = migration::text(counting, totals, &self.environments, self.format);
                out.extend_from_slice(report.as_bytes());
                out.extend_from_slice(summary::text(totals, self.format).as_bytes());
            }
            (Format::Json, true) => {
                out.extend_from_slice(b"\n],\"summary\":");
                cells::json(out, &Summary::new(totals, &end));
                out.extend_from_slice(b"}\n");
            }
            (Format::Json, false) => {
                let report = Report::new(counting, totals, &self.environments, &end);
                cells::pretty_json(out, &report);
                out.push(b'\n');
            }
            (Format::Csv, is_list) => {
                if !is_list {
                    migration::csv(out, counting, totals, &self.environments);
                }
                stderr = summary::text(totals, self.format);
            }
        }
        self.flush(&mut state);
        let note = self.unknown_accounts(&state.totals);
        let error = state.output.error().map(|error| io::Error::from(error.kind()));
        Finished {
            end,
            error,
            stderr,
            note,
        }
    }

    /// The accounts of `--account` without a machine, and those that have some.
    fn unknown_accounts(&self, totals: &Totals) -> Option<String> {
        let accounts = totals.accounts();
        let known: BTreeSet<_> = accounts.keys().map(|account| account.id.as_str()).collect();
        let requested = self.accounts.iter().map(String::as_str);
        let unknown: Vec<_> = requested.filter(|id| !known.contains(id)).collect();
        if unknown.is_empty() {
            return None;
        }
        let more = known.len().saturating_sub(MAX_ACCOUNTS);
        let mut known: Vec<_> = known.into_iter().take(MAX_ACCOUNTS).map(str::to_owned).collect();
        if more > 0 {
            known.push(format!("{more} more"));
        }
        let known = if known.is_empty() {
            "no account has machines".to_owned()
        } else {
            format!("accounts with machines: {}", known.join(", "))
        };
        Some(format!("no machine of account {}; {known}", unknown.join(", ")))
    }
}

impl<W: Write + Send> ScanObserver for Collector<W> {
    fn machine(&self, machine: &Machine, finding: &Finding) {
        let mut state = self.state();
        let State {
            output,
            rows,
            counting,
            ..
        } = &mut *state;
        match rows {
            Some(rows) if self.is_expected(machine, finding) => {
                let requested = self.requested.get(&machine.subscription_id);
                let name = requested.map_or("", |requested| requested.name.as_str());
                rows.machine(&mut output.buffer, machine, finding, name);
            }
            Some(_) => {}
            None => counting.machine(machine, finding),
        }
        if output.is_full() {
            self.flush(&mut state);
        }
    }

    fn subscription(&self, target: &Target, reading: Result<SubscriptionReading, AzureError>) {
        self.ended(&target.subscription, reading);
    }

    fn progress(&self, progress: &fleet::Progress) {
        let mut state = self.state();
        let before = state.before;
        let sum = fleet::Progress {
            subscriptions: (
                before.subscriptions.0 + progress.subscriptions.0,
                self.requested.len(),
            ),
            pages: before.pages + progress.pages,
            machines: before.machines + progress.machines,
        };
        state.latest = sum;
        if !state.output.buffer.is_empty() {
            self.flush(&mut state);
        }
        drop(state);
        self.progress.update(&sum);
    }
}

#[cfg(test)]
mod tests;
