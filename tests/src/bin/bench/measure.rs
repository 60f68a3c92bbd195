//! One size: objects first, then the controller, then quiet.

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

/// How long all objects may take to become Ready before the benchmark gives up.
const CONVERGE_LIMIT: Duration = Duration::from_secs(600);
/// Visits that each object gets in the quiet phase.
const QUIET_RECONCILES: u32 = 3;
/// How long the first scan may take, without machines.
const REFRESH_LIMIT: Duration = Duration::from_secs(30);

/// Everything that was measured of one size.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figures {
    pub(crate) objects: usize,
    pub(crate) namespaces: usize,
    pub(crate) reconcile_every_seconds: f64,
    /// Writes that the start state of the subscriptions needs.
    pub(crate) expected_changes: u64,
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

/// Runs one size from nothing to the end.
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
    let what = format!("{objects} objects: the controller runs, until all are Ready");
    step(&what, &progress, parts.until_ready(&progress)).await?;
    let converged = parts.reading().await?;
    let kubernetes_requests = kubernetes_requests(&parts.plane).await?;
    let seen = parts.watching.seen();
    let last = seen.ready.values().max().copied().unwrap_or(parts.started);

    // The first scan of the machines comes when the crowd of new objects is calm, and is told in one more patch each.
    let what = format!("{objects} objects: the first scan of their machines is told");
    step(&what, &Progress::of(0), parts.until_reported()).await?;
    // The API server's metrics page was expensive, so that the quiet phase gets a reading of its own.
    let quiet = parts.reading().await?;
    let mut wait = cadence.mul_f64(1.1 * f64::from(QUIET_RECONCILES)) + Duration::from_secs(1);
    let (traffic, requests, end) = loop {
        let what = format!(
            "{objects} objects: quiet, each is visited every {} for {} s",
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
            // Also ends when the watch is gone, which the time limit then tells.
            let _ = tokio::time::timeout(Duration::from_secs(1), count.changed()).await;
        }
    }

    async fn quiet_for(&mut self, wait: Duration) -> Result<(), Error> {
        tokio::time::sleep(wait).await;
        self.controller.check()
    }

    /// Waits until all objects were scanned and have told it; a program from before the scans is not waited for.
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

/// What the controller asked of the API server: nobody else asks for these by these verbs once the objects are there.
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
