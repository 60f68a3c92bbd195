//! `serverprotection machines`: the machines of subscriptions with a verdict on each, read from Azure without a cluster.
//!
//! ```text
//! flags, -f ─▶ Input ─▶ scopes (per identity) ─▶ targets ─▶ Client ──▶ Collector ─┬─▶ rows, as they arrive
//!                                                                                 └─▶ Totals ─▶ summary, exit code
//! ```

mod accounts;
pub(crate) mod args;
mod cells;
mod collector;
pub(crate) mod identity;
mod input;
mod migration;
mod output;
mod progress;
mod rows;
mod scope;
mod summary;
mod targets;
mod totals;

use std::{collections::HashMap, io, process::ExitCode, sync::Arc, time::Duration};

pub(crate) use args::Args;
use collector::{Collector, Requested};
use input::Input;
use progress::Progress;
use serverprotection_azure::{
    Client, Principals, RequestObserver,
    fleet::{Settings, Target},
};
use serverprotection_core::{Timestamp, azure_error::AzureError};
use targets::Resolved;

use crate::error::CliError;

/// The command failed, or the result is incomplete.
const FAILED: u8 = 2;
/// The exit code that a shell reports for SIGINT.
const INTERRUPTED: u8 = 130;
/// The exit code that a shell reports for SIGPIPE.
const PIPE_CLOSED: u8 = 141;

/// Runs until all subscriptions are read, Ctrl-C, or the output pipe is closed.
pub(crate) fn run(args: Args) -> ExitCode {
    let progress = Arc::new(Progress::new(!(args.no_progress || args.quiet), !args.quiet));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            progress.line(&format!("cannot start the async runtime: {error}"));
            return ExitCode::from(FAILED);
        }
    };
    let code = runtime.block_on(async {
        // A separate task: while it blocks on its output, Ctrl-C still works.
        let work = tokio::spawn(work(args, Arc::clone(&progress)));
        let code = tokio::select! {
            ended = work => match ended {
                Ok(Ok(code)) => code,
                Ok(Err(problem)) => {
                    progress.line(&problem.to_string());
                    FAILED
                }
                Err(error) => {
                    progress.line(&format!("bug: {error}"));
                    FAILED
                }
            },
            _ = tokio::signal::ctrl_c() => {
                // Not through `progress`: the blocked task may hold the terminal.
                eprintln!("\nserverprotection: interrupted; the output is incomplete");
                return INTERRUPTED;
            }
        };
        progress.end();
        code
    });
    runtime.shutdown_background();
    ExitCode::from(code)
}

async fn work(args: Args, progress: Arc<Progress>) -> Result<u8, CliError> {
    let input = Input::read(&args.files, args.recursive)?;
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let (scopes, notes) = scope::scopes(&args, input, is_set)?;
    for note in &notes {
        progress.note(note);
    }
    let (cloud, http) = args.endpoints.open().map_err(|error| error.to_string())?;
    // There is only one scan, so nothing compares later which machines disappeared.
    let settings = Settings {
        keep_unprotected: false,
        ..Settings::default()
    };
    let group_size = settings.group_size;
    let principals = Arc::new(Principals::new(cloud, http, Arc::new(Unmetered), settings));

    let mut scans = Vec::new();
    let alone = scopes.len() == 1;
    for scope in scopes {
        let client = Client::new(scope.identity.clone(), &principals);
        let resolved = targets::resolve(&args, &scope, &client).await;
        scans.push((client, scope, check_early(resolved, alone)?));
    }
    let requested = requested(&args, &mut scans);
    let collector = Collector::new(
        &args,
        requested,
        io::stdout(),
        Arc::clone(&progress),
        Timestamp::now(),
    );
    let collector = Arc::new(collector);
    for (client, _, Resolved { targets, failure, .. }) in &scans {
        read(client, targets, failure.as_ref(), group_size, &collector).await;
        if collector.closed.is_cancelled() {
            break;
        }
    }
    if collector.closed.is_cancelled() {
        return closed(collector.finish().error);
    }
    progress.end();
    let finished = collector.finish();
    match finished.error {
        // If the pipe was closed only now, all counts and thus the exit code are known.
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(not_written(&error)),
        _ => {}
    }
    progress.lines(&finished.stderr);
    if let Some(note) = &finished.note {
        progress.note(note);
    }
    for reason in &finished.end.reasons {
        progress.line(reason);
    }
    Ok(finished.end.code)
}

/// Fails if the only identity failed. With several identities, the subscriptions of the others are still read.
fn check_early(resolved: Resolved, alone: bool) -> Result<Resolved, CliError> {
    match &resolved.failure {
        Some((failure, hint)) if alone || resolved.targets.is_empty() => {
            Err(CliError::new("cannot list the subscriptions")
                .because(identity::problem(failure))
                .action(hint))
        }
        _ => Ok(resolved),
    }
}

/// The requirements of each subscription. If several scopes name a subscription, the first one reads it.
fn requested(args: &Args, scans: &mut [(Client, scope::Scope, Resolved)]) -> HashMap<String, Requested> {
    let mut requested = HashMap::new();
    for (_, scope, resolved) in scans {
        resolved.targets.retain(|target| {
            let id = &target.subscription;
            let is_first = !requested.contains_key(id);
            if is_first {
                let of_object = resolved.minimums.get(id).copied();
                let entry = Requested {
                    name: resolved.names.get(id).cloned().unwrap_or_default(),
                    minimum: args.minimum_protected_percent.or(of_object).unwrap_or(100),
                    origin: scope.origin.clone(),
                };
                requested.insert(id.clone(), entry);
            }
            is_first
        });
    }
    requested
}

async fn read(
    client: &Client,
    targets: &[Target],
    failure: Option<&(AzureError, String)>,
    group_size: usize,
    collector: &Arc<Collector<io::Stdout>>,
) {
    if let Some((failure, _)) = failure {
        for target in targets {
            collector.not_scanned(&target.subscription, failure.clone());
        }
        return;
    }
    let all = async {
        client.scan(targets, collector.as_ref()).await;
        // In groups, so that one failure does not hide the connectors of the other subscriptions.
        for group in collector.read_of(targets).chunks(group_size) {
            collector.connectors(client.known_connectors(Some(group)).await);
        }
    };
    tokio::select! {
        () = all => {}
        () = collector.closed.cancelled() => {}
    }
    collector.scanned();
}

/// The result if the output failed during the scan.
fn closed(error: Option<io::Error>) -> Result<u8, CliError> {
    match error {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(not_written(&error)),
        _ => Ok(PIPE_CLOSED),
    }
}

fn not_written(error: &io::Error) -> CliError {
    CliError::new("cannot write to standard output").because(error)
}

#[derive(Debug)]
struct Unmetered;

impl RequestObserver for Unmetered {
    fn request(&self, _: &'static str, _: u16, _: Duration) {}
}
