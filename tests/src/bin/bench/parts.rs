//! The processes of a run, and the measurements between phases.

use crate::{
    arguments::Arguments,
    cores::{self, Programs, Share},
    progress::{Progress, say, step},
    requests::{self, Request},
    scans,
    watching::Watching,
    world::World,
};
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use serverprotection_tests::{
    Error,
    control_plane::ControlPlane,
    controller_process::{ControllerOptions, ControllerProcess, Replica},
    emulator::Emulator,
    users,
    wait::retry,
};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// Pause between two checks of what this process knows.
pub(crate) const SHORT: Duration = Duration::from_millis(20);
/// Pause between two readings of a log.
const PAUSE: Duration = Duration::from_millis(200);
/// Pause between two readings of the emulator's log, which cost it some time.
const LONG: Duration = Duration::from_millis(500);
/// Time limit until a replica is ready.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// Time limit of the first scan, without machines.
const SCAN_LIMIT: Duration = Duration::from_secs(120);
/// Time without a new version after which no more versions are expected of a scan.
const SETTLED: Duration = Duration::from_secs(3);
/// Time limit until the status of all objects has settled.
const SETTLE_LIMIT: Duration = Duration::from_secs(900);

/// Options of a run.
pub(crate) struct Setup {
    pub(crate) world: World,
    /// Flags of the emulator.
    pub(crate) seed: Value,
    /// Merged into each subscription, as `ctl set` does.
    pub(crate) set: Option<Value>,
    /// Flags of the controller.
    pub(crate) flags: Vec<String>,
    /// Role assignments of the first subscription.
    pub(crate) connectors: usize,
    /// Name of the run in messages.
    pub(crate) name: String,
}

/// The running processes.
pub(crate) struct Parts {
    pub(crate) world: World,
    pub(crate) plane: ControlPlane,
    pub(crate) emulator: Emulator,
    /// Number of writes that each subscription needs.
    pub(crate) needed: HashMap<String, u64>,
    pub(crate) watching: Watching,
    pub(crate) controller: ControllerProcess,
    pub(crate) programs: Programs,
    pub(crate) started: Timestamp,
    /// Time to create the objects.
    pub(crate) create: Duration,
    pub(crate) name: String,
}

/// A measurement between phases.
pub(crate) struct Reading {
    pub(crate) at: Instant,
    reconciles: u64,
    status_writes: u64,
    versions: u64,
    cpu: Duration,
    resident: u64,
    peak: u64,
    cores: cores::Times,
}

/// What the controller did and used in a phase.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Phase {
    pub(crate) seconds: f64,
    pub(crate) reconciles: u64,
    pub(crate) status_writes: u64,
    /// Versions of objects that a watch received.
    pub(crate) versions: u64,
    pub(crate) cpu_seconds: f64,
    /// Resident memory at the end of the phase, and its peak so far, in bytes.
    pub(crate) resident: u64,
    pub(crate) peak: u64,
    /// Processor time of all programs in the phase.
    pub(crate) cores: Share,
}

/// Starts everything, runs `work`, and stops everything, also after an error.
pub(crate) async fn run<T>(
    setup: Setup,
    arguments: &Arguments,
    work: impl AsyncFnOnce(&mut Parts) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut parts = prepare(setup, arguments).await?;
    let result = Box::pin(work(&mut parts)).await;
    parts.stop(arguments, result.is_err()).await?;
    result
}

/// Starts everything, the controller last.
async fn prepare(setup: Setup, arguments: &Arguments) -> Result<Parts, Error> {
    let Setup {
        world,
        seed,
        set,
        name,
        ..
    } = setup;
    let latency = humantime::format_duration(arguments.latency).to_string();
    let ((plane, emulator), _) = step(
        &format!("{name}: starting etcd, kube-apiserver and the emulator, installing"),
        &Progress::of(0),
        async {
            let plane = ControlPlane::start().await?;
            plane.install().await?;
            let emulator = Emulator::start_with(Some(&seed), &["--latency", &latency]).await?;
            Ok::<_, Error>((plane, emulator))
        },
    )
    .await?;
    let client = plane.admin().await?;
    if let Some(set) = set {
        for number in 0..world.objects {
            emulator.set(&World::subscription(number), set.clone()).await?;
        }
    }
    let needed = world.needed(&emulator).await?;
    let progress = Progress::of(world.objects + setup.connectors);
    let create = async {
        world.create(&client, &progress).await?;
        World::connect(&client, setup.connectors, &progress).await
    };
    let what = format!(
        "{name}: creating {} objects in {} namespaces",
        world.objects + setup.connectors,
        world.namespaces
    );
    let ((), create) = step(&what, &progress, create).await?;
    let watching = Watching::start(client);
    // Lets the API server finish writing and compacting what was just created.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let started = Timestamp::now();
    let controller = controller(&plane, &emulator, setup.flags, arguments)?;
    let programs = programs(&plane, &controller).await;
    Ok(Parts {
        world,
        plane,
        emulator,
        needed,
        watching,
        controller,
        programs,
        started,
        create,
        name,
    })
}

fn controller(
    plane: &ControlPlane,
    emulator: &Emulator,
    flags: Vec<String>,
    arguments: &Arguments,
) -> Result<ControllerProcess, Error> {
    replica("first", plane, emulator, flags, arguments)
}

/// Starts a replica with this name. One that starts again with the same name has the Lease still.
fn replica(
    name: &str,
    plane: &ControlPlane,
    emulator: &Emulator,
    flags: Vec<String>,
    arguments: &Arguments,
) -> Result<ControllerProcess, Error> {
    let pod = ["POD_NAME", "POD_UID"].map(|variable| (variable.to_owned(), name.to_owned()));
    let mut options = ControllerOptions {
        flags: arguments.flags.clone(),
        environment: arguments.environment.iter().cloned().chain(pod).collect(),
        // An older version may not know its flags.
        replica: arguments.program.is_none().then(Replica::standard),
        program: arguments.program.clone(),
    };
    options.flags.extend(flags);
    let kubeconfig = plane.kubeconfig(users::CONTROLLER)?;
    let log = plane.folder().join(format!("{name}.log"));
    ControllerProcess::start(&kubeconfig, emulator, &log, &options)
}

async fn programs(plane: &ControlPlane, controller: &ControllerProcess) -> Programs {
    let [etcd, api_server] = plane.process_ids().await;
    Programs::new(&[
        ("controller", controller.id()),
        ("etcd", etcd),
        ("kube-apiserver", api_server),
    ])
}

impl Parts {
    /// Stops the controller and starts another one with these flags.
    pub(crate) async fn restart(&mut self, flags: Vec<String>, arguments: &Arguments) -> Result<(), Error> {
        self.controller.terminate().await?;
        self.started = Timestamp::now();
        self.controller = controller(&self.plane, &self.emulator, flags, arguments)?;
        self.programs = programs(&self.plane, &self.controller).await;
        Ok(())
    }

    /// Starts another replica and waits until it is ready to take over.
    pub(crate) async fn standby(
        &self,
        name: &str,
        arguments: &Arguments,
    ) -> Result<ControllerProcess, Error> {
        let mut standby = replica(name, &self.plane, &self.emulator, Vec::new(), arguments)?;
        standby.wait_ready(READY_LIMIT).await?;
        Ok(standby)
    }

    /// The measurement at the very beginning.
    pub(crate) fn start(&self) -> Reading {
        Reading {
            at: Instant::now(),
            reconciles: 0,
            status_writes: 0,
            versions: 0,
            cpu: Duration::ZERO,
            resident: 0,
            peak: 0,
            cores: self.programs.times(),
        }
    }

    pub(crate) async fn reading(&mut self) -> Result<Reading, Error> {
        let usage = self.controller.usage()?;
        let cores = self.programs.times();
        let at = Instant::now();
        let versions = self.watching.versions();
        let reconciles = self
            .controller
            .metric("serverprotection_reconciles_total", &[])
            .await?;
        let status_writes = self.controller.status_writes().await?;
        Ok(Reading {
            at,
            reconciles: counter(reconciles.unwrap_or_default()),
            status_writes: counter(status_writes),
            versions,
            cpu: usage.cpu,
            resident: usage.resident,
            peak: usage.peak,
            cores,
        })
    }

    /// The requests to Azure after a sequence number of the emulator's log.
    pub(crate) async fn requests(&self, since: u64) -> Result<Vec<Request>, Error> {
        requests::since(&self.emulator, since).await
    }

    /// Sequence number of the last request in the emulator's log.
    pub(crate) async fn last_sequence(&self) -> Result<u64, Error> {
        let summary = self.emulator.summary(None).await?;
        let last = summary.get("lastSequence").and_then(Value::as_u64);
        Ok(last.unwrap_or_default())
    }

    /// Waits until `attempt` returns `Ok`. Fails early if the controller has ended.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        limit: Duration,
        pause: Duration,
        mut attempt: impl FnMut(&Self) -> Result<(), String>,
    ) -> Result<(), Error> {
        let reached = retry(limit, pause, || {
            let ended = self.controller.check();
            std::future::ready(ended.map_or_else(|ended| Ok(Err(ended)), |()| attempt(self).map(Ok)))
        })
        .await;
        in_time(what, limit, reached)
    }

    /// Waits until all requests to Azure after a sequence number satisfy `attempt`. Fails early if the controller has
    /// ended.
    pub(crate) async fn until_requests(
        &mut self,
        what: &str,
        limit: Duration,
        since: u64,
        attempt: impl Fn(&[Request]) -> Result<(), String>,
    ) -> Result<(), Error> {
        let (controller, emulator, attempt) = (&mut self.controller, &self.emulator, &attempt);
        let reached = retry(limit, LONG, || {
            let ended = controller.check();
            async move {
                if ended.is_err() {
                    return Ok(ended);
                }
                let requests = requests::since(emulator, since).await;
                match requests {
                    Ok(requests) => attempt(&requests).map(Ok),
                    Err(error) => Ok(Err(error)),
                }
            }
        })
        .await;
        in_time(what, limit, reached)
    }

    /// Waits until all objects are Ready.
    pub(crate) async fn until_ready(&mut self, progress: &Progress, limit: Duration) -> Result<(), Error> {
        let objects = self.world.objects;
        self.until("all objects to be Ready", limit, SHORT, |parts| {
            let ready = parts.watching.ready();
            progress.done.store(ready, Ordering::Relaxed);
            if ready >= objects {
                return Ok(());
            }
            Err(format!("{ready} are"))
        })
        .await
        .map_err(|error| self.watching.name_missing(error, objects, World::subscription))
    }

    /// Waits until this number of scans has ended, and this number of subscriptions was scanned in them.
    pub(crate) async fn until_scans(
        &mut self,
        scans: usize,
        subscriptions: usize,
        limit: Duration,
    ) -> Result<(), Error> {
        self.until("scans of the machines", limit, PAUSE, |parts| {
            let ended = scans::of_log(&parts.controller.log());
            let scanned = scans::subscriptions(&ended);
            if ended.len() >= scans && scanned >= subscriptions {
                return Ok(());
            }
            Err(format!("{} scans of {scanned} subscriptions", ended.len()))
        })
        .await
    }

    /// Waits until every subscription was scanned and the last status is written.
    pub(crate) async fn until_scanned(&mut self, limit: Duration) -> Result<(), Error> {
        self.until_scans(0, self.world.objects, limit).await?;
        self.until_settled(SETTLED, None).await
    }

    /// The same without machines: every status shows that there are none. Programs that do not scan are not waited for
    /// long.
    pub(crate) async fn until_empty_scan(&mut self) -> Result<(), Error> {
        let objects = self.world.objects;
        let shown = self.until("machines in every status", SCAN_LIMIT, PAUSE, |parts| {
            let scanned = parts.watching.scanned();
            if scanned >= objects {
                return Ok(());
            }
            Err(format!("{scanned} show them"))
        });
        match shown.await {
            Ok(()) | Err(Error::Timeout { .. }) => self.until_settled(SETTLED, None).await,
            other => other,
        }
    }

    /// Waits until the API server has delivered no new version of the objects, and of those of another watch, for this
    /// long.
    pub(crate) async fn until_settled(
        &mut self,
        settled: Duration,
        other: Option<&Watching>,
    ) -> Result<(), Error> {
        let mut last = (self.versions(other), Instant::now());
        self.until("the last status", SETTLE_LIMIT, PAUSE, |parts| {
            let versions = parts.versions(other);
            if versions != last.0 {
                last = (versions, Instant::now());
            }
            if last.1.elapsed() >= settled {
                return Ok(());
            }
            Err(format!("{versions} versions"))
        })
        .await
    }

    /// Versions of the objects that were delivered so far, with those of another watch.
    pub(crate) fn versions(&self, other: Option<&Watching>) -> u64 {
        self.watching.versions() + other.map_or(0, Watching::versions)
    }

    /// Waits, and fails if the controller has ended.
    pub(crate) async fn wait(&mut self, time: Duration) -> Result<(), Error> {
        tokio::time::sleep(time).await;
        self.controller.check()
    }

    /// Stops everything. Keeps the controller's log if requested or if the run failed.
    pub(crate) async fn stop(mut self, arguments: &Arguments, failed: bool) -> Result<(), Error> {
        let log = self.plane.folder().join("controller.log");
        if let Some(copy) = &arguments.keep_log {
            keep(&log, copy)?;
        } else if failed {
            keep(&log, &std::env::temp_dir().join("bench-controller.log"))?;
        }
        // Controller, emulator, kube-apiserver, etcd: no process loses a server that it uses.
        self.controller.terminate_if_running().await?;
        self.emulator.stop().await;
        self.plane.stop().await;
        Ok(())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a counter of a run"
)]
const fn counter(value: f64) -> u64 {
    value as u64
}

fn in_time(what: &str, limit: Duration, reached: Result<Result<(), Error>, String>) -> Result<(), Error> {
    reached.unwrap_or_else(|last| {
        Err(Error::Timeout {
            what: what.into(),
            after: limit,
            last,
        })
    })
}

fn keep(log: &PathBuf, copy: &Path) -> Result<(), Error> {
    std::fs::copy(log, copy).map_err(|source| Error::Io {
        what: format!("copy the controller's log to {}", copy.display()),
        source,
    })?;
    say(&format!("log of the controller: {}", copy.display()));
    Ok(())
}

impl Phase {
    /// This phase and a later one, without the time between them.
    pub(crate) fn plus(&self, later: &Self) -> Self {
        Self {
            seconds: self.seconds + later.seconds,
            reconciles: self.reconciles + later.reconciles,
            status_writes: self.status_writes + later.status_writes,
            versions: self.versions + later.versions,
            cpu_seconds: self.cpu_seconds + later.cpu_seconds,
            resident: later.resident,
            peak: later.peak,
            cores: self.cores.plus(&later.cores),
        }
    }
}

/// The difference of two measurements.
pub(crate) fn phase(before: &Reading, after: &Reading) -> Phase {
    Phase {
        seconds: after.at.duration_since(before.at).as_secs_f64(),
        reconciles: after.reconciles.saturating_sub(before.reconciles),
        status_writes: after.status_writes.saturating_sub(before.status_writes),
        versions: after.versions.saturating_sub(before.versions),
        cpu_seconds: after.cpu.saturating_sub(before.cpu).as_secs_f64(),
        resident: after.resident,
        peak: after.peak,
        cores: cores::between(&before.cores, &after.cores),
    }
}
