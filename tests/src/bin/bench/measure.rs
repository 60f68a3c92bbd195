//! One size: first the objects, then the controller, then the quiet phase.

use crate::{
    arguments::Arguments,
    progress::{Progress, step},
    scans,
    setup::{self, Parts, Phase, Setup, phase},
    traffic::{self, Request, Traffic},
    world::World,
};
use k8s_openapi::jiff::SignedDuration;
use serde::Serialize;
use serde_json::Value;
use serverprotection_tests::{Error, control_plane::ControlPlane};
use std::{
    collections::BTreeMap,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// Time limit until all objects are Ready.
const CONVERGE_LIMIT: Duration = Duration::from_secs(600);
/// Reconciles of each object in the quiet phase.
const QUIET_RECONCILES: u32 = 3;
/// Time limit of the first scan, without machines.
const REFRESH_LIMIT: Duration = Duration::from_secs(30);

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
    pub(crate) traffic: Traffic,
    pub(crate) converge: Phase,
    pub(crate) quiet: Phase,
    /// Requests to the API server while converging, by verb and resource.
    pub(crate) kubernetes_requests: BTreeMap<String, u64>,
    /// Objects that stopped being Ready in the quiet phase.
    pub(crate) lost: u64,
    pub(crate) breaches: Vec<Value>,
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
    let mut parts = setup::prepare(setup, arguments).await?;
    let result = Box::pin(run(&mut parts, cadence)).await;
    parts.stop(arguments, result.is_err()).await?;
    result
}

async fn run(parts: &mut Parts, cadence: Duration) -> Result<Figures, Error> {
    let objects = parts.world.objects;
    let start = parts.start();
    let progress = Progress::of(objects);
    let what = format!("{objects} objects: running the controller until all are Ready");
    step(&what, &progress, parts.until_ready(&progress)).await?;
    let converged = parts.reading().await?;
    let kubernetes_requests = kubernetes_requests(&parts.plane).await?;
    let seen = parts.watching.seen();
    let last = seen.ready.values().max().copied().unwrap_or(parts.started);

    // The first scan waits until no object was added for a while, and causes one more patch for each object.
    let what = format!("{objects} objects: waiting until the first scan is reported");
    step(&what, &Progress::of(0), parts.until_reported()).await?;
    // Reading the API server's metrics page is expensive, so the quiet phase starts with a new measurement.
    let quiet = parts.reading().await?;
    let mut wait = cadence.mul_f64(1.1 * f64::from(QUIET_RECONCILES)) + Duration::from_secs(1);
    let (traffic, requests, end) = loop {
        let what = format!(
            "{objects} objects: quiet phase, one reconcile of each every {} for {} s",
            humantime::format_duration(cadence),
            wait.as_secs()
        );
        step(&what, &Progress::of(0), parts.quiet_for(wait)).await?;
        let end = parts.reading().await?;
        let requests: Vec<_> = parts
            .requests(0)
            .await?
            .iter()
            .filter_map(Request::read)
            .collect();
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
        traffic,
        converge: phase(&start, &converged),
        quiet: phase(&quiet, &end),
        kubernetes_requests,
        lost: parts.watching.seen().lost,
        breaches: parts.emulator.breaches().await?,
    })
}

impl Parts {
    pub(crate) async fn until_ready(&mut self, progress: &Progress) -> Result<(), Error> {
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
                    last: format!(
                        "{ready} are; not {}",
                        self.watching.missing(self.world.objects, World::subscription)
                    ),
                });
            }
            // Also ends if the watch fails; then the time limit reports it.
            let _ = tokio::time::timeout(Duration::from_secs(1), count.changed()).await;
        }
    }

    async fn quiet_for(&mut self, wait: Duration) -> Result<(), Error> {
        tokio::time::sleep(wait).await;
        self.controller.check()
    }

    /// Waits until the status of all objects contains a scan. Programs without scans are not waited for.
    async fn until_reported(&mut self) -> Result<(), Error> {
        let began = Instant::now();
        while scans::subscriptions(&scans::of_log(&self.controller.log())) < self.world.objects
            && began.elapsed() < REFRESH_LIMIT
        {
            self.quiet_for(Duration::from_millis(200)).await?;
        }
        self.until_settled(Duration::from_secs(2)).await
    }
}

/// The controller's requests to the API server. No other client sends requests with these verbs and resources once the
/// objects exist.
pub(crate) async fn kubernetes_requests(plane: &ControlPlane) -> Result<BTreeMap<String, u64>, Error> {
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
        let expected = match resource {
            "serverprotections" | "securityconnectors" => ["GET", "PUT", "PATCH", "APPLY"].contains(&verb),
            "events" => label("group") == Some("events.k8s.io") || verb == "POST",
            "secrets" => verb == "GET",
            _ => false,
        };
        if expected {
            let part = label("subresource").filter(|part| !part.is_empty());
            let name = part.map_or_else(|| resource.to_owned(), |part| format!("{resource}/{part}"));
            *all.entry(format!("{verb} {name}")).or_default() +=
                value.trim().parse::<u64>().unwrap_or_default();
        }
    }
    Ok(all)
}
