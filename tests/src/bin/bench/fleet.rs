//! Fleets of machines: one identity, one object for each subscription, and scans of all of them.

use crate::{
    arguments::{Arguments, Fleet},
    parts::{self, Parts, Phase, Setup, phase},
    progress::{Progress, step},
    recount::{self, Counted, Matrix},
    scans::{self, Cost, Ended},
    table::count,
    world::World,
};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{Api, api::ListParams, core::DynamicObject};
use serde::Serialize;
use serde_json::{Value, json};
use serverprotection_tests::{Error, recorder::resource};
use std::{collections::BTreeMap, time::Duration};

/// Time limit of a phase.
const LIMIT: Duration = Duration::from_secs(900);
/// Scans of the steady phase.
const STEADY_SCANS: usize = 2;
/// The seed of the generator, so that every run has the same machines.
const SEED: u64 = 7;
/// Old enough that no grace period runs because the plan was just enabled.
const PLAN_AGE: SignedDuration = SignedDuration::from_hours(24 * 30);

/// Measurements of one fleet.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figures {
    /// As requested; instances of scale sets are added.
    pub(crate) generated: u64,
    pub(crate) subscriptions: usize,
    /// As recounted, including instances of scale sets.
    pub(crate) machines: u64,
    pub(crate) rows: u64,
    pub(crate) scan_every_seconds: f64,
    /// Queries of one scan of everything, and the least time that the quota allows for them.
    pub(crate) expected_queries: u64,
    pub(crate) quota_floor_seconds: u64,
    pub(crate) expected_changes: u64,
    pub(crate) first: Cost,
    pub(crate) steady: Cost,
    /// Queries of the whole run, as counted by the controller and by the emulator.
    pub(crate) reported_queries: u64,
    pub(crate) seen_queries: u64,
    pub(crate) failed_scans: u64,
    /// Time from the start of the process until the status of all objects contained their machines.
    pub(crate) reported_seconds: f64,
    pub(crate) until_reported: Phase,
    pub(crate) steady_phase: Phase,
    /// Objects whose status differs from the recount: subscription, status, recount.
    pub(crate) objects_that_differ: Vec<Value>,
    /// Machines that the metrics count under another environment or verdict than the recount.
    pub(crate) machines_that_differ: u64,
    /// Machines by verdict, as recounted.
    pub(crate) verdicts: BTreeMap<String, u64>,
    pub(crate) breaches: Vec<Value>,
}

impl Figures {
    pub(crate) fn is_of(&self, fleet: Fleet) -> bool {
        (self.generated, self.subscriptions) == (fleet.machines, fleet.subscriptions)
    }
}

/// Runs one fleet from start to end.
pub(crate) async fn measure(fleet: Fleet, arguments: &Arguments) -> Result<Figures, Error> {
    let world = World {
        objects: fleet.subscriptions,
        namespaces: 1,
    };
    let since = Timestamp::now() - PLAN_AGE;
    let every = humantime::format_duration(fleet.scan_every()).to_string();
    let flags = ["--reconcile-every", "1h", "--machine-scan-interval", &every];
    let setup = Setup {
        world,
        seed: world.fleet_seed(SEED, fleet.machines),
        // As the objects want it: nothing is written, nothing else happens.
        set: Some(
            json!({"serverVulnerabilityAssessmentsSettings.azureServersSetting": "MdeTvm",
                "pricings.VirtualMachines.enablementTime": since.to_string()}),
        ),
        flags: flags.map(str::to_owned).to_vec(),
        connectors: 0,
        name: format!(
            "{} machines in {} subscriptions",
            fleet.machines, fleet.subscriptions
        ),
    };
    parts::run(setup, arguments, async |parts| run(parts, fleet).await).await
}

async fn run(parts: &mut Parts, fleet: Fleet) -> Result<Figures, Error> {
    let name = parts.name.clone();
    let start = parts.start();
    step(
        &format!("{name}: running the controller until all are scanned and reported"),
        &Progress::of(0),
        async {
            parts.until_ready(&Progress::of(0), LIMIT).await?;
            parts.until_scanned(LIMIT).await
        },
    )
    .await?;
    let reported = parts.reading().await?;
    let reported_seconds = Timestamp::now().duration_since(parts.started).as_secs_f64();
    let ended = scans::of_log(&parts.controller.log());
    let first = first_scans(&ended, fleet.subscriptions);
    let entries = parts.requests(0).await?;
    let first_cost = scans::cost(&entries, parts.started, first);
    let all = recount::recount(&parts.emulator, world_ids(fleet)).await?;

    step(
        &format!("{name}: waiting for the end of the next scan"),
        &Progress::of(0),
        parts.until_scans(ended.len() + 1, 0, LIMIT),
    )
    .await?;
    let begin = parts.reading().await?;
    let known = scans::of_log(&parts.controller.log());
    step(
        &format!("{name}: waiting for {STEADY_SCANS} scans without changes"),
        &Progress::of(0),
        parts.until_scans(known.len() + STEADY_SCANS, 0, LIMIT),
    )
    .await?;
    let end = parts.reading().await?;
    let ended = scans::of_log(&parts.controller.log());
    let from = known.last().map_or(parts.started, |scan| scan.at);
    let entries = parts.requests(0).await?;
    let steady = scans::cost(&entries, from, ended.get(known.len()..).unwrap_or_default());
    let over_all = scans::cost(&entries, parts.started, &ended);
    let sum = sum(&all);
    let expected_queries = recount::queries(&all);
    Ok(Figures {
        generated: fleet.machines,
        subscriptions: fleet.subscriptions,
        machines: sum.total(),
        rows: sum.rows,
        scan_every_seconds: fleet.scan_every().as_secs_f64(),
        expected_queries,
        quota_floor_seconds: recount::quota_floor(expected_queries),
        expected_changes: parts.needed.values().sum(),
        first: first_cost,
        steady,
        reported_queries: ended.iter().map(|scan| scan.queries).sum(),
        seen_queries: over_all.calls.queries(),
        failed_scans: count(ended.iter().filter(|scan| !scan.complete).count()),
        reported_seconds,
        until_reported: phase(&start, &reported),
        steady_phase: phase(&begin, &end),
        objects_that_differ: parts.objects_that_differ(&all).await?,
        machines_that_differ: difference(&parts.matrix().await?, &sum.matrix),
        verdicts: sum.verdicts(),
        breaches: parts.emulator.breaches().await?,
    })
}

/// The scans until every subscription was part of one.
fn first_scans(ended: &[Ended], subscriptions: usize) -> &[Ended] {
    let mut scanned = 0;
    let until = ended.iter().position(|scan| {
        scanned += scan.subscriptions;
        scanned >= subscriptions
    });
    until.and_then(|last| ended.get(..=last)).unwrap_or(ended)
}

fn world_ids(fleet: Fleet) -> Vec<String> {
    (0..fleet.subscriptions).map(World::subscription).collect()
}

fn sum(all: &BTreeMap<String, Counted>) -> Counted {
    let mut sum = Counted::default();
    for counted in all.values() {
        sum.rows += counted.rows;
        for (key, machines) in &counted.matrix {
            *sum.matrix.entry(key.clone()).or_default() += machines;
        }
    }
    sum
}

/// Number of machines that are in different cells of the two.
fn difference(one: &Matrix, other: &Matrix) -> u64 {
    let mut keys: Vec<_> = one.keys().chain(other.keys()).collect();
    keys.sort();
    keys.dedup();
    let of = |matrix: &Matrix, key| matrix.get(key).copied().unwrap_or_default();
    keys.into_iter()
        .map(|key| of(one, key).abs_diff(of(other, key)))
        .sum()
}

impl Parts {
    async fn objects_that_differ(&self, all: &BTreeMap<String, Counted>) -> Result<Vec<Value>, Error> {
        let api: Api<DynamicObject> = Api::all_with(self.plane.admin().await?, &resource());
        let objects = api.list(&ListParams::default()).await?;
        let nothing = Counted::default();
        let differs = |object: &DynamicObject| {
            let id = object
                .data
                .pointer("/spec/subscriptionId")
                .and_then(Value::as_str)?;
            let counted = all.get(id).unwrap_or(&nothing);
            let status = object.data.pointer("/status/machines");
            let reported =
                status.map(|it| json!([it.get("total"), it.get("verdicts"), it.get("environments")]));
            let counts = json!([counted.total(), counted.verdicts(), counted.environments()]);
            (!matches_counts(object, counted)).then(|| json!([id, reported, counts]))
        };
        Ok(objects.items.iter().filter_map(differs).collect())
    }

    /// Machines by environment and verdict, from the controller's metrics.
    async fn matrix(&mut self) -> Result<Matrix, Error> {
        let page = self.controller.metrics().await?;
        Ok(page
            .lines()
            .filter_map(series)
            .filter(|(_, machines)| *machines > 0)
            .collect())
    }
}

/// Parses `serverprotection_machines{environment="Azure",verdict="Protected"} 5`.
fn series(line: &str) -> Option<((String, String), u64)> {
    let (labels, value) = line
        .strip_prefix("serverprotection_machines{")?
        .rsplit_once("} ")?;
    let label = |name: &str| {
        let (_, rest) = labels.split_once(&format!("{name}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    Some((
        (label("environment")?, label("verdict")?),
        value.trim().parse().ok()?,
    ))
}

/// Whether the status has these totals, verdicts and environments.
fn matches_counts(object: &DynamicObject, counted: &Counted) -> bool {
    let machines = object.data.pointer("/status/machines");
    let total = machines
        .and_then(|machines| machines.get("total"))
        .and_then(Value::as_u64);
    if counted.total() == 0 {
        return total.unwrap_or_default() == 0;
    }
    let map = |name: &str, number: fn(&Value) -> Option<u64>| -> BTreeMap<String, u64> {
        let all = machines
            .and_then(|machines| machines.get(name))
            .and_then(Value::as_object);
        all.into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), number(value).unwrap_or_default()))
            .filter(|(_, number)| *number > 0)
            .collect()
    };
    total == Some(counted.total())
        && map("verdicts", Value::as_u64) == counted.verdicts()
        && map("environments", |value| value.get("total")?.as_u64()) == counted.environments()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(environment: &str, verdict: &str) -> (String, String) {
        (environment.into(), verdict.into())
    }

    #[test]
    fn metrics_and_recount_are_compared() {
        let (found, machines) =
            series("serverprotection_machines{environment=\"Azure\",verdict=\"Protected\"} 5").unwrap();
        assert_eq!((found, machines), (key("Azure", "Protected"), 5));
        assert_eq!(series("serverprotection_machines_other 5"), None);
        let one = Matrix::from([(key("Azure", "Protected"), 5), (key("AWS", "Failed"), 1)]);
        let other = Matrix::from([(key("Azure", "Protected"), 3), (key("Azure", "Failed"), 1)]);
        assert_eq!(difference(&one, &other), 4);
        assert_eq!(difference(&one, &one), 0);
    }

    #[test]
    fn a_status_matches_a_recount() {
        let mut object = DynamicObject::new("a", &resource());
        let counted = Counted {
            rows: 3,
            matrix: Matrix::from([(key("Azure", "Protected"), 2), (key("AWS", "Failed"), 1)]),
        };
        object.data = json!({"status": {"machines": {"total": 3, "verdicts": {"Protected": 2, "Failed": 1, "Missing": 0},
            "environments": {"Azure": {"total": 2}, "AWS": {"total": 1}}}}});
        assert!(matches_counts(&object, &counted));
        assert!(!matches_counts(&object, &Counted::default()));
        object.data["status"]["machines"]["verdicts"]["Failed"] = json!(0);
        assert!(!matches_counts(&object, &counted));
    }

    #[test]
    fn first_scans_end_when_all_were_in_one() {
        let scan = |subscriptions| Ended {
            at: Timestamp::UNIX_EPOCH,
            subscriptions,
            complete: true,
            queries: 1,
        };
        let ended = [scan(60), scan(40), scan(100)];
        assert_eq!(first_scans(&ended, 100).len(), 2);
        assert_eq!(first_scans(&ended, 50).len(), 1);
    }
}
