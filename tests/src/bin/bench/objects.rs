//! One number of objects: first the objects, then the controller, then the quiet phase.

use crate::{
    api_server::Served,
    arguments::Arguments,
    parts::{self, Parts, Phase, Setup, phase},
    progress::{Progress, step},
    requests::Request,
    traffic::{self, Traffic},
    world::World,
};
use k8s_openapi::jiff::SignedDuration;
use serde::Serialize;
use serde_json::Value;
use serverprotection_tests::Error;
use std::time::Duration;

/// Time limit until all objects are Ready.
const CONVERGE_LIMIT: Duration = Duration::from_secs(600);
/// Reconciles of each object in the quiet phase.
const QUIET_RECONCILES: u32 = 3;

/// Measurements of one size.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figures {
    pub(crate) objects: usize,
    pub(crate) namespaces: usize,
    pub(crate) reconcile_every_seconds: f64,
    /// Writes that the initial state of the subscriptions needs.
    pub(crate) expected_changes: u64,
    /// Time to create the objects, which is a property of the API server.
    pub(crate) create_seconds: f64,
    /// Time from the start of the process to its first request to Azure.
    pub(crate) first_request_seconds: f64,
    /// Time from the start of the process until the last object was Ready.
    pub(crate) converge_seconds: f64,
    /// Status writes of each object until it was Ready, in total.
    pub(crate) status_writes_until_ready: u64,
    pub(crate) traffic: Traffic,
    /// From the start of the process until all objects are Ready.
    pub(crate) ready: Stage,
    /// From the start of the process until all objects show their machines.
    pub(crate) reported: Stage,
    pub(crate) quiet: Phase,
    /// Objects that stopped being Ready in the quiet phase.
    pub(crate) lost: u64,
    pub(crate) breaches: Vec<Value>,
}

/// The cost from the start of the process until all objects have reached a state.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stage {
    pub(crate) phase: Phase,
    /// Requests to the API server.
    pub(crate) served: Served,
}

impl Stage {
    /// Processor time of kube-apiserver, in seconds.
    pub(crate) fn api_server(&self) -> f64 {
        self.phase.cores.of("kube-apiserver")
    }
}

/// Runs one size from start to end.
pub(crate) async fn measure(objects: usize, arguments: &Arguments) -> Result<Figures, Error> {
    let cadence = arguments.cadence(objects);
    let world = World {
        objects,
        namespaces: arguments.namespaces(objects),
    };
    let setup = Setup {
        world,
        seed: world.seed(),
        set: None,
        flags: vec![
            "--reconcile-every".to_owned(),
            humantime::format_duration(cadence).to_string(),
        ],
        connectors: 0,
        name: format!("{objects} objects"),
    };
    parts::run(setup, arguments, async |parts| run(parts, cadence).await).await
}

async fn run(parts: &mut Parts, cadence: Duration) -> Result<Figures, Error> {
    let objects = parts.world.objects;
    let start = parts.start();
    let progress = Progress::of(objects);
    let what = format!("{objects} objects: running the controller until all are Ready");
    step(&what, &progress, parts.until_ready(&progress, CONVERGE_LIMIT)).await?;
    let converged = parts.reading().await?;
    let ready = Stage {
        phase: phase(&start, &converged),
        served: Served::read(&parts.plane).await?,
    };
    let seen = parts.watching.seen();
    let last = seen.ready.values().max().copied().unwrap_or(parts.started);

    // Scans wait until no object was added for a while, and their results for the first reconciles. The cost of the API server's metrics page belongs to
    // no phase.
    let resumed = parts.reading().await?;
    let what = format!("{objects} objects: waiting until the first scan is reported");
    step(&what, &Progress::of(0), parts.until_empty_scan()).await?;
    let reported = parts.reading().await?;
    let reported = Stage {
        phase: ready.phase.plus(&phase(&resumed, &reported)),
        served: Served::read(&parts.plane).await?,
    };

    let quiet = parts.reading().await?;
    let mut wait = cadence.mul_f64(1.1 * f64::from(QUIET_RECONCILES)) + Duration::from_secs(1);
    let (traffic, requests, end) = loop {
        let what = format!(
            "{objects} objects: quiet phase, one reconcile of each every {} for {} s",
            humantime::format_duration(cadence),
            wait.as_secs()
        );
        step(&what, &Progress::of(0), parts.wait(wait)).await?;
        let end = parts.reading().await?;
        let requests: Vec<Request> = parts.requests(0).await?;
        let pause = SignedDuration::try_from(cadence / 2).unwrap_or(SignedDuration::from_secs(1));
        let traffic = traffic::judge(&requests, &parts.needed, &seen.ready, pause);
        if traffic.fewest_quiet_reconciles >= u64::from(QUIET_RECONCILES) || quiet.at.elapsed() > cadence * 20
        {
            break (traffic, requests, end);
        }
        wait = cadence;
    };
    let first = traffic::first(&requests).unwrap_or(last);
    Ok(Figures {
        objects,
        namespaces: parts.world.namespaces,
        reconcile_every_seconds: cadence.as_secs_f64(),
        expected_changes: parts.needed.values().sum(),
        create_seconds: parts.create.as_secs_f64(),
        first_request_seconds: first.duration_since(parts.started).as_secs_f64(),
        converge_seconds: last.duration_since(parts.started).as_secs_f64(),
        status_writes_until_ready: seen.versions_until_ready,
        traffic,
        ready,
        reported,
        quiet: phase(&quiet, &end),
        lost: parts.watching.seen().lost,
        breaches: parts.emulator.breaches().await?,
    })
}
