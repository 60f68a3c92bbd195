//! Connectors: many accounts of one subscription, while Azure takes time for each write.

use crate::{
    api_server::Served,
    arguments::Arguments,
    parts::{self, Parts, Phase, SHORT, Setup, phase},
    progress::{Progress, step},
    reconciles::{self, Reconciles},
    watching::Watching,
    world::World,
};
use serde::Serialize;
use serde_json::{Value, json};
use serverprotection_tests::{Error, objects::Objects, recorder::resource};
use std::{
    sync::{Mutex, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

/// Time limit of a phase. With Azure's budgets a phase may take long.
const LIMIT: Duration = Duration::from_secs(3600);
/// Time limit of a requested reconcile.
const RECONCILE_LIMIT: Duration = Duration::from_secs(300);
/// Minimum time in which reconciles of the ServerProtection are requested.
const ASKING: Duration = Duration::from_secs(10);
/// Pause between two requests for a reconcile.
const PAUSE: Duration = Duration::from_secs(1);
/// Time without a new version after which no more versions are expected.
const DEBOUNCE: Duration = Duration::from_secs(6);
/// Reconciles of each connector in the quiet phase: one round, in which everything is read once.
const QUIET_RECONCILES: usize = 6;

/// Measurements for one number of connectors.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figures {
    pub(crate) connectors: usize,
    pub(crate) put_seconds: f64,
    pub(crate) throttling: bool,
    /// The least time that the writes take with this concurrency.
    pub(crate) floor_seconds: f64,
    /// Time from the start of the process until the last connector was Ready.
    pub(crate) ready_seconds: f64,
    pub(crate) converge: Phase,
    pub(crate) until_ready: Reconciles,
    pub(crate) served: Served,
    /// Versions of connectors that a watch received until the status was stable.
    pub(crate) versions: u64,
    pub(crate) protection: Protection,
    /// After a restart of the controller: one reconcile of each connector.
    pub(crate) restart: Pass,
    pub(crate) quiet: Pass,
    /// Objects of either kind that stopped being Ready.
    pub(crate) lost: u64,
    pub(crate) breaches: Vec<Value>,
}

/// Measurements of the ServerProtection in the meantime.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Protection {
    /// Requested reconciles, and the duration of each one.
    pub(crate) asked: usize,
    pub(crate) mean_seconds: f64,
    pub(crate) longest_seconds: f64,
    /// The durations, in order.
    pub(crate) seconds: Vec<f64>,
    /// Versions that did not answer a request: changes of connectors and machines.
    pub(crate) unasked: u64,
}

/// Reconciles without work to do.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pass {
    pub(crate) reconciles: Reconciles,
    /// Versions of either kind that a watch received.
    pub(crate) versions: u64,
    pub(crate) phase: Phase,
}

/// Runs one number of connectors from start to end.
pub(crate) async fn measure(connectors: usize, arguments: &Arguments) -> Result<Figures, Error> {
    let world = World {
        objects: 1,
        namespaces: 1,
    };
    let mut seed = world.fleet_seed(1, 0);
    let put_time = humantime::format_duration(arguments.put_time).to_string();
    if let Some(seed) = seed.as_object_mut() {
        let options = json!({"connectorPutTime": put_time, "throttling": arguments.throttling});
        seed.insert("options".into(), options);
    }
    let setup = Setup {
        world,
        seed,
        // As the object wants it: only connectors are written.
        set: Some(json!({"serverVulnerabilityAssessmentsSettings.azureServersSetting": "MdeTvm"})),
        flags: flags(Duration::from_secs(3600)),
        connectors,
        name: format!("{connectors} connectors"),
    };
    parts::run(setup, arguments, async |parts| {
        run(parts, connectors, arguments).await
    })
    .await
}

fn flags(reconcile_every: Duration) -> Vec<String> {
    let every = humantime::format_duration(reconcile_every).to_string();
    let flags = ["--reconcile-every", &every, "--machine-scan-interval", "1h"];
    flags.map(str::to_owned).to_vec()
}

async fn run(parts: &mut Parts, connectors: usize, arguments: &Arguments) -> Result<Figures, Error> {
    let name = parts.name.clone();
    let start = parts.start();
    let watching = Watching::connectors(parts.plane.admin().await?);
    let asked = Asked::default();
    let progress = Progress::of(connectors);
    step(
        &format!("{name}: running the controller until all are Ready"),
        &progress,
        parts.until_connected(connectors, &watching, &asked, &progress),
    )
    .await?;
    let asked_until = Instant::now();
    let converged = parts.reading().await?;
    let until_ready = reconciles::of(&parts.requests(0).await?);
    let served = Served::read(&parts.plane).await?;
    let seen = watching.seen();
    let last = seen.ready.values().max().copied().unwrap_or(parts.started);
    let ready_seconds = last.duration_since(parts.started).as_secs_f64();
    parts.until_settled(DEBOUNCE, Some(&watching)).await?;
    let versions = watching.versions();
    let protection = asked.figures(asked_until, parts.watching.seen().unasked);

    let (restart, quiet) = parts.quiet(connectors, &watching, arguments).await?;
    let breaches = parts.emulator.breaches().await?;
    Ok(Figures {
        connectors,
        put_seconds: arguments.put_time.as_secs_f64(),
        throttling: arguments.throttling,
        floor_seconds: floor(connectors, arguments).as_secs_f64(),
        ready_seconds,
        converge: phase(&start, &converged),
        until_ready,
        served,
        versions,
        protection,
        restart,
        quiet,
        lost: watching.seen().lost + parts.watching.seen().lost,
        breaches,
    })
}

/// The least time for this many writes at once, each with this latency.
fn floor(connectors: usize, arguments: &Arguments) -> Duration {
    let rounds = connectors.div_ceil(arguments.concurrency().max(1));
    arguments
        .put_time
        .saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX))
}

/// Interval between two reconciles of a connector in the quiet phase: all of them are reconciled once well within it.
fn cadence(connectors: usize) -> Duration {
    let each = Duration::from_millis(50).saturating_mul(u32::try_from(connectors).unwrap_or(u32::MAX));
    each.max(Duration::from_secs(5))
}

/// The requested reconciles.
#[derive(Debug, Default)]
struct Asked {
    took: Mutex<Vec<Duration>>,
    under_way: Mutex<Option<Instant>>,
}

impl Asked {
    /// Requests one reconcile after the other until one fails.
    async fn ask(&self, objects: &Objects) -> Error {
        loop {
            let began = Instant::now();
            *self.under_way.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
            if let Err(error) = objects.reconcile(&World::protection(0), RECONCILE_LIMIT).await {
                return error;
            }
            self.under_way
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            self.took
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(began.elapsed());
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A reconcile that has not ended counts with the time so far.
    fn figures(&self, until: Instant, unasked: u64) -> Protection {
        let took = self.took.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = *self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let sum: Duration = took.iter().sum();
        let longest = took
            .iter()
            .copied()
            .chain(under_way.map(|began| until.duration_since(began)));
        Protection {
            asked: took.len(),
            mean_seconds: sum.as_secs_f64() / f64::from(u32::try_from(took.len()).unwrap_or(1).max(1)),
            longest_seconds: longest.max().unwrap_or_default().as_secs_f64(),
            seconds: took.iter().map(Duration::as_secs_f64).collect(),
            unasked,
        }
    }
}

impl Parts {
    /// Waits until every connector is Ready, and requests reconciles of the ServerProtection in the meantime.
    async fn until_connected(
        &mut self,
        connectors: usize,
        watching: &Watching,
        asked: &Asked,
        progress: &Progress,
    ) -> Result<(), Error> {
        self.until_ready(&Progress::of(1), LIMIT).await?;
        let objects = Objects::new(self.plane.admin().await?, &World::namespace(0), resource());
        let began = Instant::now();
        let connected = self.until("connectors to be Ready", LIMIT, SHORT, |_| {
            let ready = watching.ready();
            progress.done.store(ready, Ordering::Relaxed);
            if ready >= connectors && began.elapsed() >= ASKING {
                return Ok(());
            }
            Err(format!("{ready} are"))
        });
        tokio::select! {
            connected = connected => {
                connected.map_err(|error| watching.name_missing(error, connectors, World::account))
            }
            error = asked.ask(&objects) => Err(error),
        }
    }

    /// A restart, and reconciles that find everything in sync.
    async fn quiet(
        &mut self,
        connectors: usize,
        watching: &Watching,
        arguments: &Arguments,
    ) -> Result<(Pass, Pass), Error> {
        let name = self.name.clone();
        let cadence = cadence(connectors);
        // Three readings of all connectors would take Azure's budget an hour.
        let options = json!({"throttling": false});
        self.emulator.options(options).await?;
        // What is read about once an hour has not been read of new connectors yet; it is reported once.
        let since = self.last_sequence().await?;
        self.restart(flags(cadence), arguments).await?;
        step(
            &format!("{name}: waiting for one more reconcile of each"),
            &Progress::of(0),
            self.until_reconciled(connectors, 1, since),
        )
        .await?;
        self.until_settled(DEBOUNCE, Some(watching)).await?;

        let since = self.last_sequence().await?;
        let versions = self.versions(Some(watching));
        self.restart(flags(cadence), arguments).await?;
        let start = self.start();
        step(
            &format!("{name}: restarted the controller, waiting for one reconcile of each"),
            &Progress::of(0),
            self.until_reconciled(connectors, 1, since),
        )
        .await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let reconciled = self.reading().await?;
        let restart = Pass {
            reconciles: reconciles::of(&self.requests(since).await?),
            versions: self.versions(Some(watching)) - versions,
            phase: phase(&start, &reconciled),
        };
        let since = self.last_sequence().await?;
        let versions = self.versions(Some(watching));
        let every = humantime::format_duration(cadence);
        step(
            &format!("{name}: quiet phase, {QUIET_RECONCILES} reconciles of each, one every {every}"),
            &Progress::of(0),
            self.until_reconciled(connectors, QUIET_RECONCILES, since),
        )
        .await?;
        let end = self.reading().await?;
        let quiet = Pass {
            reconciles: reconciles::of(&self.requests(since).await?),
            versions: self.versions(Some(watching)) - versions,
            phase: phase(&reconciled, &end),
        };
        Ok((restart, quiet))
    }

    /// Waits until each connector was read this often.
    async fn until_reconciled(&mut self, connectors: usize, times: usize, since: u64) -> Result<(), Error> {
        let what = "reconciles of all connectors";
        self.until_requests(what, LIMIT, since, |requests| {
            let fewest = reconciles::of(requests).fewest(connectors);
            if connectors == 0 || fewest >= times {
                return Ok(());
            }
            Err(format!("the last one had {fewest}"))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_writes_take_as_long_as_the_first() {
        let arguments = Arguments::read(["bench"]).unwrap();
        let seconds = |connectors| floor(connectors, &arguments).as_secs();
        assert_eq!([seconds(0), seconds(1), seconds(32), seconds(200)], [0, 5, 5, 35]);
    }

    #[test]
    fn a_reconcile_that_never_ended_counts() {
        let asked = Asked::default();
        asked.took.lock().unwrap().push(Duration::from_millis(200));
        let figures = asked.figures(Instant::now(), 3);
        assert_eq!((figures.asked, figures.unasked), (1, 3));
        assert!((figures.longest_seconds - 0.2).abs() < 1e-9);
        *asked.under_way.lock().unwrap() = Instant::now().checked_sub(Duration::from_secs(9));
        assert!(asked.figures(Instant::now(), 3).longest_seconds > 8.0);
    }
}
