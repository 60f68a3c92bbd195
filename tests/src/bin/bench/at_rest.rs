//! Objects at rest: many objects with nothing to do, at the default interval.

use crate::{
    api_server::Served,
    arguments::Arguments,
    parts::{self, Parts, Phase, Setup, phase},
    progress::{Progress, step},
    report,
    requests::{Calls, Request},
    table::{Rows, count, megabytes, milliseconds, milliseconds_each, ratio, seconds},
    world::World,
};
use serde::Serialize;
use serde_json::Value;
use serverprotection_tests::Error;
use std::time::Duration;

/// Time limit until all objects are Ready.
const LIMIT: Duration = Duration::from_secs(1800);

/// Measurements of one number of objects.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figures {
    pub(crate) objects: usize,
    pub(crate) namespaces: usize,
    /// Time to create the objects, which is a property of the API server.
    pub(crate) create_seconds: f64,
    /// Writes that the subscriptions would need: none.
    pub(crate) expected_changes: u64,
    /// From the start of the process until all objects are Ready.
    pub(crate) ready: Phase,
    pub(crate) ready_requests: Calls,
    pub(crate) served: Served,
    /// The measured time.
    pub(crate) rest: Phase,
    pub(crate) rest_requests: Calls,
    /// Objects that stopped being Ready.
    pub(crate) lost: u64,
    pub(crate) breaches: Vec<Value>,
}

/// Runs one number of objects from start to end.
pub(crate) async fn measure(objects: usize, arguments: &Arguments) -> Result<Figures, Error> {
    let world = World {
        objects,
        namespaces: arguments.namespaces(objects),
    };
    let setup = Setup {
        world,
        seed: world.seed_in_sync(),
        set: None,
        flags: Vec::new(),
        connectors: 0,
        name: format!("{objects} objects at rest"),
    };
    parts::run(setup, arguments, async |parts| {
        run(parts, arguments.rest_time).await
    })
    .await
}

async fn run(parts: &mut Parts, time: Duration) -> Result<Figures, Error> {
    let name = parts.name.clone();
    let start = parts.start();
    let progress = Progress::of(parts.world.objects);
    step(
        &format!("{name}: running the controller until all are Ready"),
        &progress,
        parts.until_ready(&progress, LIMIT),
    )
    .await?;
    let converged = parts.reading().await?;
    step(
        &format!("{name}: waiting until the first scan is reported"),
        &Progress::of(0),
        parts.until_scanned(LIMIT),
    )
    .await?;
    let served = Served::read(&parts.plane).await?;
    let since = parts.last_sequence().await?;
    // Lets the API server finish what the page of its metrics has cost.
    parts.wait(Duration::from_secs(2)).await?;
    let before = parts.reading().await?;
    let every = humantime::format_duration(time);
    step(
        &format!("{name}: measuring for {every}"),
        &Progress::of(0),
        parts.wait(time),
    )
    .await?;
    let after = parts.reading().await?;
    let requests = parts.requests(0).await?.into_iter().filter(Request::is_arm);
    let requests: Vec<_> = requests.collect();
    let (rest, earlier): (Vec<_>, Vec<_>) = requests.iter().partition(|request| request.sequence > since);
    Ok(Figures {
        objects: parts.world.objects,
        namespaces: parts.world.namespaces,
        create_seconds: parts.create.as_secs_f64(),
        expected_changes: parts.needed.values().sum(),
        ready: phase(&start, &converged),
        ready_requests: Calls::of(earlier),
        served,
        rest: phase(&before, &after),
        rest_requests: Calls::of(rest),
        lost: parts.watching.seen().lost,
        breaches: parts.emulator.breaches().await?,
    })
}

impl report::Figures for Figures {
    const PART: &'static str = "objects at rest";

    fn column(&self) -> String {
        self.objects.to_string()
    }

    fn breaches(&self) -> &[Value] {
        &self.breaches
    }

    fn rows(rows: &mut Rows<'_, Self>) {
        rows.section = "COUNTS until the first scan is reported";
        start(rows);
        rows.section = "COUNTS at rest";
        rest(rows);
        rows.section = "TIME";
        rows.plain("for comparison: creating the objects", |f| {
            seconds(f.create_seconds)
        });
        rows.plain("process start to all Ready", |f| seconds(f.ready.seconds));
        rows.plain("measured", |f| seconds(f.rest.seconds));
        rows.section = "PROCESSOR at rest";
        processor(rows);
        rows.section = "MEMORY of the controller (MB = 1,000,000 bytes)";
        memory(rows);
    }
}

fn start(rows: &mut Rows<'_, Figures>) {
    rows.zero("changes needed from the initial state", |f| f.expected_changes);
    rows.zero("ARM writes", |f| f.ready_requests.writes);
    rows.plain("requests to Azure per object", |f| {
        per_object(f.ready_requests.total, f)
    });
    rows.plain("status writes per object", |f| {
        per_object(f.served.status_writes("serverprotections"), f)
    });
    rows.plain("events per object", |f| per_object(f.served.events(), f));
    rows.zero("objects that stopped being Ready", |f| f.lost);
    rows.breaches(|f| &f.breaches);
}

fn rest(rows: &mut Rows<'_, Figures>) {
    rows.plain("reconciles", |f| f.rest.reconciles.to_string());
    rows.zero("ARM writes", |f| f.rest_requests.writes);
    rows.plain("requests to Azure", |f| f.rest_requests.total.to_string());
    rows.plain("status writes", |f| f.rest.status_writes.to_string());
}

fn processor(rows: &mut Rows<'_, Figures>) {
    for program in ["controller", "kube-apiserver", "etcd", "emulator"] {
        rows.program(program, program, |f| &f.rest);
        rows.plain("  share of a core", |f| {
            format!("{:.2} %", 100.0 * f.rest.cores.of(program) / f.rest.seconds)
        });
    }
    rows.plain("controller per reconcile", |f| match f.rest.reconciles {
        0 => "-".into(),
        reconciles => milliseconds(milliseconds_each(f.rest.cpu_seconds, reconciles)),
    });
    rows.plain("controller until all were Ready", |f| {
        seconds(f.ready.cpu_seconds)
    });
    rows.plain("kube-apiserver until all were Ready", |f| {
        seconds(f.ready.cores.of("kube-apiserver"))
    });
    rows.noise("at rest", |f| &f.rest);
}

fn memory(rows: &mut Rows<'_, Figures>) {
    rows.plain("resident (VmRSS) at rest", |f| megabytes(f.rest.resident));
    rows.plain("  per object", |f| {
        format!("{:.1} KB", ratio(f.rest.resident, 1000 * count(f.objects)))
    });
    rows.plain("peak (VmHWM)", |f| megabytes(f.rest.peak));
    rows.plain("peak (VmHWM) when all were Ready", |f| megabytes(f.ready.peak));
}

fn per_object(of: u64, figures: &Figures) -> String {
    format!("{:.3}", ratio(of, count(figures.objects)))
}
