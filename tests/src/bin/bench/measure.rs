//! One size: objects first, then the controller, then quiet.

use crate::{
    arguments::Arguments,
    cores::{self, Programs, Share},
    progress::{Progress, say, step},
    traffic::{self, Request, Traffic},
    watching::Watching,
    world::World,
};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde::Serialize;
use serde_json::Value;
use serverprotection_tests::{
    Error,
    control_plane::ControlPlane,
    controller_process::{ControllerOptions, ControllerProcess},
    emulator::Emulator,
    users,
};
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// How long all objects may take to become Ready before the benchmark gives up.
const CONVERGE_LIMIT: Duration = Duration::from_secs(600);
/// Visits that each object gets in the quiet phase.
const QUIET_VISITS: u32 = 3;

/// Everything that was measured of one size.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figures {
    pub(crate) objects: usize,
    pub(crate) namespaces: usize,
    pub(crate) visit_every_seconds: f64,
    /// Writes that the start state of the subscriptions needs.
    pub(crate) needed_changes: u64,
    /// Creating the objects: what the API server itself is able to do.
    pub(crate) create_seconds: f64,
    /// From the start of the process to the first request of any kind to Azure.
    pub(crate) first_request_seconds: f64,
    /// From the start of the process until the last object was Ready.
    pub(crate) converge_seconds: f64,
    pub(crate) traffic: Traffic,
    pub(crate) converge: Phase,
    pub(crate) quiet: Phase,
    /// Requests to the API server while converging, by verb and resource.
    pub(crate) kubernetes_requests: BTreeMap<String, u64>,
    /// Objects that stopped being Ready in the quiet phase.
    pub(crate) lost: u64,
    pub(crate) breaches: Vec<Value>,
}

/// What the controller did and used in a phase.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Phase {
    pub(crate) seconds: f64,
    pub(crate) visits: u64,
    pub(crate) status_patches: u64,
    /// New versions of objects that the API server told a watcher.
    pub(crate) versions: u64,
    pub(crate) cpu_seconds: f64,
    /// Resident at its end, and the most there ever was so far, in bytes.
    pub(crate) resident: u64,
    pub(crate) peak: u64,
    /// Who used the processor meanwhile.
    pub(crate) cores: Share,
}

/// What is read at the boundaries of phases.
struct Reading {
    at: Instant,
    visits: u64,
    status_patches: u64,
    versions: u64,
    cpu: Duration,
    resident: u64,
    peak: u64,
    cores: cores::Times,
}

/// The running parts.
struct Parts {
    world: World,
    plane: ControlPlane,
    emulator: Emulator,
    needed: HashMap<String, u64>,
    watching: Watching,
    controller: ControllerProcess,
    programs: Programs,
    started: Timestamp,
}

/// Runs one size from nothing to the end.
pub(crate) async fn measure(objects: usize, arguments: &Arguments) -> Result<Figures, Error> {
    let cadence = arguments.cadence(objects);
    let (mut parts, create) = prepare(objects, arguments).await?;
    let log = parts.plane.folder().join("controller.log");
    let result = Box::pin(run(&mut parts, cadence, create)).await;
    if let Some(copy) = &arguments.keep_log {
        keep(&log, copy)?;
    } else if result.is_err() {
        keep(&log, &std::env::temp_dir().join("bench-controller.log"))?;
    }
    // Controller, emulator, kube-apiserver, etcd: nobody loses what it still talks to.
    parts.controller.terminate_if_running().await?;
    parts.emulator.stop().await;
    parts.plane.stop().await;
    result
}

fn keep(log: &PathBuf, copy: &PathBuf) -> Result<(), Error> {
    std::fs::copy(log, copy).map_err(|source| Error::Io {
        what: format!("copy the controller's log to {}", copy.display()),
        source,
    })?;
    say(&format!("log of the controller: {}", copy.display()));
    Ok(())
}

async fn prepare(objects: usize, arguments: &Arguments) -> Result<(Parts, Duration), Error> {
    let world = World {
        objects,
        namespaces: arguments.namespaces(objects),
    };
    let latency = humantime::format_duration(arguments.latency).to_string();
    let seed = world.seed();
    let ((plane, emulator), _) = step(
        &format!("{objects} objects: starting etcd, kube-apiserver and the emulator, installing"),
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
    let needed = world.needed(&emulator).await?;
    let progress = Progress::of(objects);
    let create = world.create(&client, &progress);
    let what = format!(
        "{objects} objects: creating them in {} namespaces",
        world.namespaces
    );
    let ((), created) = step(&what, &progress, create).await?;
    let watching = Watching::start(client);
    let mut options = ControllerOptions {
        flags: arguments.flags.clone(),
        environment: arguments.environment.clone(),
        program: arguments.program.clone(),
    };
    let cadence = humantime::format_duration(arguments.cadence(objects)).to_string();
    options.flags.extend(["--visit-every".to_owned(), cadence]);
    // What was just created is written and compacted in peace.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let kubeconfig = plane.kubeconfig(users::CONTROLLER)?;
    let log = plane.folder().join("controller.log");
    let started = Timestamp::now();
    let controller = ControllerProcess::start(&kubeconfig, &emulator, &log, &options)?;
    let [etcd, api_server] = plane.process_ids().await;
    let programs = Programs::new(&[
        ("controller", controller.id()),
        ("etcd", etcd),
        ("kube-apiserver", api_server),
    ]);
    let parts = Parts {
        world,
        plane,
        emulator,
        needed,
        watching,
        controller,
        programs,
        started,
    };
    Ok((parts, created))
}

async fn run(parts: &mut Parts, cadence: Duration, create: Duration) -> Result<Figures, Error> {
    let objects = parts.world.objects;
    let start = Reading {
        at: Instant::now(),
        visits: 0,
        status_patches: 0,
        versions: 0,
        cpu: Duration::ZERO,
        resident: 0,
        peak: 0,
        cores: parts.programs.times(),
    };
    let progress = Progress::of(objects);
    let what = format!("{objects} objects: the controller runs, until all are Ready");
    step(&what, &progress, parts.until_ready(&progress)).await?;
    let converged = parts.reading().await?;
    let kubernetes_requests = kubernetes_requests(&parts.plane).await?;
    let seen = parts.watching.seen();
    let last = seen.ready.values().max().copied().unwrap_or(parts.started);

    // The API server's metrics page was expensive, so that the quiet phase gets a reading of its own.
    let quiet = parts.reading().await?;
    let mut wait = cadence.mul_f64(1.1 * f64::from(QUIET_VISITS)) + Duration::from_secs(1);
    let (traffic, requests, end) = loop {
        let what = format!(
            "{objects} objects: quiet, each is visited every {} for {} s",
            humantime::format_duration(cadence),
            wait.as_secs()
        );
        step(&what, &Progress::of(0), parts.quiet_for(wait)).await?;
        let end = parts.reading().await?;
        let requests = parts.requests().await?;
        let pause = SignedDuration::try_from(cadence / 2).unwrap_or(SignedDuration::from_secs(1));
        let traffic = traffic::judge(&requests, &parts.needed, &seen.ready, pause);
        if traffic.fewest_quiet_visits >= u64::from(QUIET_VISITS) || quiet.at.elapsed() > cadence * 20 {
            break (traffic, requests, end);
        }
        wait = cadence;
    };
    let first = traffic::first(&requests).unwrap_or(last);
    Ok(Figures {
        objects,
        namespaces: parts.world.namespaces,
        visit_every_seconds: cadence.as_secs_f64(),
        needed_changes: parts.needed.values().sum(),
        create_seconds: create.as_secs_f64(),
        first_request_seconds: first.duration_since(parts.started).as_secs_f64(),
        converge_seconds: last.duration_since(parts.started).as_secs_f64(),
        traffic,
        converge: phase(&start, &converged),
        quiet: phase(&quiet, &end),
        kubernetes_requests,
        lost: parts.watching.seen().lost,
        breaches: parts.emulator.breaches().await?,
    })
}

impl Parts {
    async fn until_ready(&mut self, progress: &Progress) -> Result<(), Error> {
        let mut count = self.watching.count();
        let began = Instant::now();
        loop {
            self.controller.check()?;
            let ready = *count.borrow_and_update();
            progress.done.store(ready, Ordering::Relaxed);
            if ready >= self.world.objects {
                return Ok(());
            }
            if began.elapsed() > CONVERGE_LIMIT {
                return Err(Error::Timeout {
                    what: "all objects to be Ready".into(),
                    after: CONVERGE_LIMIT,
                    last: format!("{ready} are; not {}", self.watching.missing(self.world)),
                });
            }
            // Also ends when the watch is gone, which the time limit then tells.
            let _ = tokio::time::timeout(Duration::from_secs(1), count.changed()).await;
        }
    }

    async fn quiet_for(&mut self, wait: Duration) -> Result<(), Error> {
        tokio::time::sleep(wait).await;
        self.controller.check()
    }

    async fn reading(&mut self) -> Result<Reading, Error> {
        let usage = self.controller.usage()?;
        let cores = self.programs.times();
        let at = Instant::now();
        let versions = self.watching.seen().versions;
        let visits = self.counter("serverprotection_visits_total").await?;
        let status_patches = self.counter("serverprotection_status_patches_total").await?;
        Ok(Reading {
            at,
            visits,
            status_patches,
            versions,
            cpu: usage.cpu,
            resident: usage.resident,
            peak: usage.peak,
            cores,
        })
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a counter of a run"
    )]
    async fn counter(&mut self, name: &str) -> Result<u64, Error> {
        Ok(self.controller.metric(name, &[]).await?.unwrap_or_default() as u64)
    }

    async fn requests(&self) -> Result<Vec<Request>, Error> {
        let answer = self.emulator.call(Method::GET, "requests?kind=all", None).await?;
        let entries = answer.get("requests").and_then(Value::as_array);
        Ok(entries.into_iter().flatten().filter_map(Request::read).collect())
    }
}

fn phase(before: &Reading, after: &Reading) -> Phase {
    Phase {
        seconds: after.at.duration_since(before.at).as_secs_f64(),
        visits: after.visits.saturating_sub(before.visits),
        status_patches: after.status_patches.saturating_sub(before.status_patches),
        versions: after.versions.saturating_sub(before.versions),
        cpu_seconds: after.cpu.saturating_sub(before.cpu).as_secs_f64(),
        resident: after.resident,
        peak: after.peak,
        cores: cores::between(&before.cores, &after.cores),
    }
}

/// What the controller asked of the API server: nobody else asks for these by these verbs once the objects are there.
async fn kubernetes_requests(plane: &ControlPlane) -> Result<BTreeMap<String, u64>, Error> {
    let page = plane.kubectl(&["get", "--raw", "/metrics"]).await?;
    let mut all = BTreeMap::new();
    for line in page
        .lines()
        .filter_map(|line| line.strip_prefix("apiserver_request_total{"))
    {
        let Some((labels, value)) = line.rsplit_once("} ") else {
            continue;
        };
        let label = |name: &str| {
            let (_, rest) = labels.split_once(&format!("{name}=\""))?;
            Some(rest.split_once('"')?.0)
        };
        let (Some(verb), Some(resource)) = (label("verb"), label("resource")) else {
            continue;
        };
        let wanted = match resource {
            "serverprotections" => ["GET", "PUT", "PATCH", "APPLY"].contains(&verb),
            "events" => label("group") == Some("events.k8s.io") || verb == "POST",
            "secrets" => verb == "GET",
            _ => false,
        };
        if wanted {
            let part = label("subresource").filter(|part| !part.is_empty());
            let name = part.map_or_else(|| resource.to_owned(), |part| format!("{resource}/{part}"));
            *all.entry(format!("{verb} {name}")).or_default() +=
                value.trim().parse::<u64>().unwrap_or_default();
        }
    }
    Ok(all)
}
