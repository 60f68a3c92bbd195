//! `serverprotection machines`: the machines of subscriptions with a verdict on each, straight from Azure.
//!
//! ```text
//! flags, -f ─▶ Input ─▶ scopes (who reads what) ─▶ targets ─▶ Scanner ─▶ Collector ─┬─▶ rows, as they come
//!                                                                                   └─▶ Totals ─▶ summary, exit code
//! ```

mod accounts;
mod args;
mod collector;
mod identity;
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
use collector::{Asked, Collector};
use input::Input;
use progress::Progress;
use serverprotection_azure::{
    Arm, RequestObserver,
    fleet::{Scanner, Settings, Target},
    locks::Locks,
};
use serverprotection_core::{Timestamp, azure_error::AzureError};
use targets::Resolved;

/// Wrong usage, or not everything is known.
const FAILED: u8 = 2;
/// As a shell tells of a program that SIGINT ended.
const INTERRUPTED: u8 = 130;
/// As a shell tells of a program that SIGPIPE ended.
const NOT_READ: u8 = 141;

/// Runs until everything is read, or nobody wants to know any more.
pub(crate) fn run(args: Args) -> ExitCode {
    let progress = Arc::new(Progress::new(!(args.no_progress || args.quiet), !args.quiet));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            progress.line(&format!("no runtime: {error}"));
            return ExitCode::from(FAILED);
        }
    };
    let code = runtime.block_on(async {
        // A task of its own: while it waits for the reader of its output, Ctrl-C is heard.
        let work = tokio::spawn(work(args, Arc::clone(&progress)));
        let code = tokio::select! {
            ended = work => match ended {
                Ok(Ok(code)) => code,
                Ok(Err(problem)) => {
                    progress.line(&problem);
                    FAILED
                }
                Err(error) => {
                    progress.line(&format!("a bug: {error}"));
                    FAILED
                }
            },
            _ = tokio::signal::ctrl_c() => {
                // Whoever writes may hold the terminal for good: nothing is waited for.
                eprintln!("\nserverprotection: interrupted: the output is not complete");
                return INTERRUPTED;
            }
        };
        progress.end();
        code
    });
    runtime.shutdown_background();
    ExitCode::from(code)
}

async fn work(args: Args, progress: Arc<Progress>) -> Result<u8, String> {
    let input = Input::read(&args.files)?;
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let (scopes, notes) = scope::scopes(&args, input, is_set)?;
    for note in &notes {
        progress.note(note);
    }
    let (cloud, http) = args.endpoints.open().map_err(|error| error.to_string())?;
    let cloud = Arc::new(cloud);
    let locks = Arc::new(Locks::default());

    let mut scans = Vec::new();
    let alone = scopes.len() == 1;
    for scope in scopes {
        let arm = Arm::new(
            scope.identity.clone(),
            http.clone(),
            Arc::clone(&cloud),
            Arc::clone(&locks),
            Arc::new(Unmetered),
        );
        let arm = Arc::new(arm);
        let resolved = targets::resolve(&args, &scope, &arm).await;
        scans.push((arm, scope, check_early(resolved, alone)?));
    }
    let asked = asked(&args, &mut scans);
    let collector = Collector::new(
        &args,
        asked,
        io::stdout(),
        Arc::clone(&progress),
        Timestamp::now(),
    );
    let collector = Arc::new(collector);
    for (arm, _, Resolved { targets, failure, .. }) in &scans {
        read(arm, targets, failure.as_ref(), &collector).await;
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
        // All is known, although its last words were not read.
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(format!("standard output: {error}"));
        }
        _ => {}
    }
    progress.raw(&finished.stderr);
    for reason in &finished.end.reasons {
        progress.line(reason);
    }
    Ok(finished.end.code)
}

/// With one identity only, its failure is the end. With several, the subscriptions of the others are read.
fn check_early(resolved: Resolved, alone: bool) -> Result<Resolved, String> {
    match &resolved.failure {
        Some((failure, hint)) if alone || resolved.targets.is_empty() => Err(format!("{failure}\n  {hint}")),
        _ => Ok(resolved),
    }
}

/// What is asked of each subscription. The first who names one reads it.
fn asked(args: &Args, scans: &mut [(Arc<Arm>, scope::Scope, Resolved)]) -> HashMap<String, Asked> {
    let mut asked = HashMap::new();
    for (_, scope, resolved) in scans {
        resolved.targets.retain(|target| {
            let id = &target.subscription;
            let is_first = !asked.contains_key(id);
            if is_first {
                let of_object = resolved.minimums.get(id).copied();
                let entry = Asked {
                    name: resolved.names.get(id).cloned().unwrap_or_default(),
                    minimum: args.minimum_protected_percent.or(of_object).unwrap_or(100),
                    origin: scope.origin.clone(),
                };
                asked.insert(id.clone(), entry);
            }
            is_first
        });
    }
    asked
}

async fn read(
    arm: &Arc<Arm>,
    targets: &[Target],
    failure: Option<&(AzureError, String)>,
    collector: &Arc<Collector<io::Stdout>>,
) {
    if let Some((failure, _)) = failure {
        for target in targets {
            collector.not_scanned(&target.subscription, failure.clone());
        }
        return;
    }
    // One scan: no later one asks what became of its machines.
    let settings = Settings {
        keep_unprotected: false,
        ..Settings::default()
    };
    let group_size = settings.group_size;
    let scanner = Scanner::new(Arc::clone(arm), settings);
    let all = async {
        scanner.scan(targets, collector.as_ref()).await;
        // A group whose connectors cannot be listed does not hide those of the others.
        for group in collector.read_of(targets).chunks(group_size) {
            collector.connectors(scanner.known_connectors(Some(group)).await);
        }
    };
    tokio::select! {
        () = all => {}
        () = collector.closed.cancelled() => {}
    }
    collector.scanned();
}

/// The output ended before the machines did.
fn closed(error: Option<io::Error>) -> Result<u8, String> {
    match error {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("standard output: {error}")),
        _ => Ok(NOT_READ),
    }
}

#[derive(Debug)]
struct Unmetered;

impl RequestObserver for Unmetered {
    fn request(&self, _: &'static str, _: u16, _: Duration) {}
}
