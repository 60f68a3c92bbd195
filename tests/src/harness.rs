//! The main function of a whole-system test binary (`harness = false`): one environment for all cases, which is always
//! stopped at the end.

use crate::error::Error;
use futures::future::BoxFuture;
use libtest_mimic::{Arguments, Failed, Trial};
use std::{
    fmt::{Debug, Display},
    future::Future,
    process::ExitCode,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{runtime::Runtime, signal::unix, sync::RwLock};

/// Cases that run at once. They mostly wait, so there may be more than cores.
const PARALLEL: usize = 4;
/// Default time limit of a case.
const LIMIT: Duration = Duration::from_secs(180);

/// What the cases of a binary share.
pub trait Setting: Send + Sync + 'static {
    /// Stops everything in the right order. An error fails the run. Called once, also after failures and Ctrl-C.
    fn stop(&self, failed: bool) -> impl Future<Output = Result<(), Error>> + Send;
}

type Body<S> = Box<dyn FnOnce(Arc<S>) -> BoxFuture<'static, Result<(), Failed>> + Send>;

/// One test.
pub struct Case<S> {
    name: String,
    limit: Duration,
    alone: bool,
    body: Body<S>,
}

impl<S> Case<S> {
    /// Runs the case while no other case runs, because it changes what they share. The time until then does not count
    /// for the limit.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Sets a time limit other than 180 s.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
}

/// A test with a name, which [`cases!`](crate::cases) takes from its function. It fails with a panic (assertion) or an `Err`.
pub fn case<S, F, A, E>(name: &str, body: F) -> Case<S>
where
    S: Setting,
    F: FnOnce(Arc<S>) -> A + Send + 'static,
    A: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Debug,
{
    let body: Body<S> = Box::new(move |setting| {
        let body = body(setting);
        Box::pin(async move { body.await.map_err(|e| Failed::from(e.to_string())) })
    });
    Case {
        name: name.to_owned(),
        limit: LIMIT,
        alone: false,
        body,
    }
}

/// Lists cases. The function of a case has a sentence as its name, which is also the name of the case.
#[macro_export]
macro_rules! cases {
    ($($case:ident),+ $(,)?) => {
        vec![$($crate::harness::case(stringify!($case), $case)),+]
    };
}

/// Runs the cases that the command line selects (`NAME`, `--exact`, `--skip`, `--test-threads`, `--list`). Starts the
/// environment unless no case is selected, and stops it after the last case, on Ctrl-C and on SIGTERM.
pub fn run<S, F, A>(setup: F, cases: Vec<Case<S>>) -> ExitCode
where
    S: Setting,
    F: FnOnce() -> A,
    A: Future<Output = Result<S, Error>>,
{
    run_at_once(PARALLEL, setup, cases)
}

/// Like `run`, with another default number of cases at once.
pub fn run_at_once<S, F, A>(parallel: usize, setup: F, cases: Vec<Case<S>>) -> ExitCode
where
    S: Setting,
    F: FnOnce() -> A,
    A: Future<Output = Result<S, Error>>,
{
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(parallel);
    let runtime = match Runtime::new() {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => return complain(&format!("no async runtime: {error}")),
    };
    let setting: Arc<OnceLock<Arc<S>>> = Arc::default();
    let turn: Arc<RwLock<()>> = Arc::default();
    let trials: Vec<Trial> = cases
        .into_iter()
        .map(|case| trial(case, &runtime, &setting, &turn))
        .collect();
    let selected = trials
        .iter()
        .any(|t| !arguments.is_filtered_out(t) && !arguments.is_ignored(t));
    if arguments.list || !selected {
        return libtest_mimic::run(&arguments, trials).exit_code();
    }

    // Before the start, because an interrupted start drops its processes, which kills them.
    let started = runtime.block_on(async {
        tokio::select! {
            started = setup() => started,
            signal = interrupted() => Err(Error::Other(format!("{signal} during the start"))),
        }
    });
    let started = match started {
        Ok(started) => Arc::new(started),
        Err(error) => return complain(&format!("the test environment did not start: {error}")),
    };
    let _ = setting.set(started.clone());
    let watched = started.clone();
    runtime.spawn(async move {
        let signal = interrupted().await;
        complain(&format!("{signal}: stopping the test environment"));
        let _ = watched.stop(false).await;
        std::process::exit(130);
    });
    let conclusion = libtest_mimic::run(&arguments, trials);
    match runtime.block_on(started.stop(conclusion.has_failed())) {
        Ok(()) => conclusion.exit_code(),
        Err(error) => complain(&error.to_string()),
    }
}

fn trial<S: Setting>(
    case: Case<S>,
    runtime: &Arc<Runtime>,
    setting: &Arc<OnceLock<Arc<S>>>,
    turn: &Arc<RwLock<()>>,
) -> Trial {
    let (runtime, setting, turn) = (runtime.clone(), setting.clone(), turn.clone());
    let Case {
        name,
        limit,
        alone,
        body,
    } = case;
    Trial::test(name, move || {
        let setting = setting
            .get()
            .ok_or("the test environment was not started")?
            .clone();
        runtime.block_on(async move {
            let (_alone, _with_others);
            if alone {
                _alone = turn.write().await;
            } else {
                _with_others = turn.read().await;
            }
            // A case that hangs fails, and the others still run.
            match tokio::time::timeout(limit, body(setting)).await {
                Ok(result) => result,
                Err(_) => Err(format!("not finished after {limit:?}").into()),
            }
        })
    })
}

/// Waits for a signal to end this process. Returns its name.
pub async fn interrupted() -> &'static str {
    let mut terminate = unix::signal(unix::SignalKind::terminate()).ok();
    let terminate = async {
        match terminate.as_mut() {
            Some(stream) => stream.recv().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => "Ctrl-C",
        _ = terminate => "SIGTERM",
    }
}

fn complain(what: &str) -> ExitCode {
    eprintln!("error: {what}");
    ExitCode::from(101)
}
