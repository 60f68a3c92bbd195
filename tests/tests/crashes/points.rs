//! A crash at every request of a creation, before and after its effect.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, env::Environment, harness::Case};

use super::fixture::{Fixture, NAME, ended, is_plan_write, operation, p2};

/// Crashes at the same time. They mostly wait for processes to start, so there may be more than cores.
const AT_ONCE: usize = 6;
/// Time limit of a case: it crashes the controller many times.
const LIMIT: Duration = Duration::from_secs(400);

pub(crate) fn cases() -> Vec<Case<Environment>> {
    let cases = cases![
        a_crash_at_every_request_of_a_creation_ends_the_same,
        a_crash_at_every_write_of_a_legacy_subscription_ends_the_same,
        a_crash_at_the_registration_ends_the_same,
        a_second_replica_that_takes_over_at_every_write_ends_the_same,
    ];
    cases.into_iter().map(|case| case.limit(LIMIT)).collect()
}

async fn a_crash_at_every_request_of_a_creation_ends_the_same(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    every("crash", &environment, json!({}), Successor::Restarted, |_| true).await
}

/// A legacy subscription needs more settings to be written.
async fn a_crash_at_every_write_of_a_legacy_subscription_ends_the_same(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let writes = |request: &Value| request["method"] == "PUT";
    every(
        "legacy",
        &environment,
        json!({"integrationProfile": "legacy"}),
        Successor::Restarted,
        writes,
    )
    .await
}

async fn a_crash_at_the_registration_ends_the_same(environment: Arc<Environment>) -> Result<(), Error> {
    let providers = json!({"providers": {"Microsoft.Security": "NotRegistered"}});
    let asks = |request: &Value| request["kind"] == "arm" && request["method"] == "POST";
    every("register", &environment, providers, Successor::Restarted, asks).await
}

async fn a_second_replica_that_takes_over_at_every_write_ends_the_same(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let writes = |request: &Value| request["method"] == "PUT";
    every("heir", &environment, json!({}), Successor::Standby, writes).await
}

/// What goes on after the crash.
#[derive(Clone, Copy, Debug)]
enum Successor {
    /// A controller that is started then.
    Restarted,
    /// A replica that was waiting.
    Standby,
}

/// The end state of a run without a crash.
struct Reference {
    end: End,
    requests: Vec<Value>,
    writes: Vec<String>,
}

/// A point to crash at.
#[derive(Clone)]
struct Point {
    number: usize,
    phase: &'static str,
}

/// Runs a creation without a crash, and then once for each selected request and phase.
async fn every(
    name: &str,
    environment: &Environment,
    subscription: Value,
    successor: Successor,
    selected: fn(&Value) -> bool,
) -> Result<(), Error> {
    let began = Instant::now();
    let reference = undisturbed(name, environment, subscription.clone()).await?;
    let chosen = reference.requests.iter().enumerate();
    let points: Vec<Point> = chosen
        .filter(|(_, request)| selected(request))
        .flat_map(|(at, _)| {
            ["before", "after"].map(|phase| Point {
                number: at + 1,
                phase,
            })
        })
        .collect();
    assert!(
        !points.is_empty(),
        "no request to crash at: {:#?}",
        reference.requests
    );
    let count = points.len();
    let runs = points.into_iter().map(|point| {
        let (subscription, reference) = (subscription.clone(), &reference);
        async move {
            let result = crash(name, environment, subscription, successor, &point, reference).await;
            (point, result)
        }
    });
    let at_once = match successor {
        Successor::Restarted => AT_ONCE,
        // Two controllers each.
        Successor::Standby => AT_ONCE / 2,
    };
    let results: Vec<_> = stream::iter(runs).buffer_unordered(at_once).collect().await;

    let mut met: BTreeMap<(String, &str), usize> = BTreeMap::new();
    let mut failures = String::new();
    for (Point { number, phase }, result) in results {
        match result {
            Ok(operation) => *met.entry((operation, phase)).or_default() += 1,
            Err(error) => {
                let _ = writeln!(failures, "\n-- {name}: {phase} request {number}: {error}");
            }
        }
    }
    let table: Vec<_> = met
        .iter()
        .map(|((operation, phase), times)| format!("{phase} {operation} x{times}"))
        .collect();
    eprintln!(
        "{name}: {} requests undisturbed, {count} crashes in {:.0?}: {}",
        reference.requests.len(),
        began.elapsed(),
        table.join(", ")
    );
    if failures.is_empty() {
        return Ok(());
    }
    Err(Error::Other(failures))
}

async fn undisturbed(name: &str, environment: &Environment, subscription: Value) -> Result<Reference, Error> {
    let fixture = Fixture::create(environment, &format!("{name}-undisturbed"), subscription).await?;
    fixture.team.protect(NAME, p2()).await?;
    let mut controller = fixture.controller()?;
    fixture.ready().await?;
    // The requests of the following reconcile are not part of the creation.
    let requests = fixture.requests().await?;
    fixture.reconcile().await?;
    let end = End::of(&fixture).await?;
    assert_eq!(controller.terminate().await?, Some(0));
    let writes = fixture.writes().await?;
    let plans = writes.iter().filter(|write| is_plan_write(write)).count();
    assert_eq!(plans, 1, "{writes:?}");
    assert_eq!(end.extensions, ("True".into(), "Provisioned".into()));
    Ok(Reference {
        end,
        requests,
        writes,
    })
}

/// Crashes and restarts once. Returns the request of the crash.
async fn crash(
    name: &str,
    environment: &Environment,
    subscription: Value,
    successor: Successor,
    point: &Point,
    reference: &Reference,
) -> Result<String, Error> {
    let Point { number, phase } = point;
    let fixture = Fixture::create(environment, &format!("{name}-{phase}-{number}"), subscription).await?;
    let fault = fixture.hang_request(*number, phase).await?;
    fixture.team.protect(NAME, p2()).await?;
    let (mut first, standby) = match successor {
        Successor::Restarted => (fixture.controller()?, None),
        Successor::Standby => {
            let first = fixture.replica("first").await?;
            first.wait_for_log("this process is the leader", LIMIT).await?;
            (first, Some(fixture.replica("second").await?))
        }
    };
    let struck = fixture.kill_when_it_hangs(&mut first, &fault).await?;
    let operation = operation(&struck);
    let lost = fixture.result_is_lost(&operation, phase).await?;
    let second = standby.map_or_else(|| fixture.controller(), Ok);
    let verdict = async {
        fixture.ready().await?;
        fixture.reconcile().await?;
        compare(&fixture, reference, &operation, phase, lost).await
    };
    ended(second, &operation, verdict.await).await?;
    Ok(operation)
}

async fn compare(
    fixture: &Fixture<'_>,
    reference: &Reference,
    struck: &str,
    phase: &str,
    lost: bool,
) -> Result<(), Error> {
    let mut wrong = Vec::new();
    let mut check = |what: &str, fine: bool, shown: String| {
        if !fine {
            wrong.push(format!("{what}: {shown}"));
        }
    };
    let end = End::of(fixture).await?;
    for (found, expected) in [
        (&end.azure, &reference.end.azure),
        (&end.conditions, &reference.end.conditions),
        (&end.status, &reference.end.status),
    ] {
        check(
            "another end",
            found == expected,
            format!("{found:#}\ninstead of {expected:#}"),
        );
    }

    let expected = if lost {
        ("Unknown", "ResultLost")
    } else {
        ("True", "Provisioned")
    };
    let found = (end.extensions.0.as_str(), end.extensions.1.as_str());
    check(
        "ExtensionsProvisioned",
        found == expected,
        format!("{found:?} instead of {expected:?}"),
    );
    fixture.recorded().await?;
    let ever_true = fixture.ever("ExtensionsProvisioned", "True");
    check(
        "True on the way",
        ever_true != lost,
        format!("ExtensionsProvisioned, lost: {lost}"),
    );

    // Each write once, and an interrupted write a second time. A write that had its effect is not repeated, except for
    // the plan while its result is not recorded, because only its response contains the result.
    let mut expected = reference.writes.clone();
    if reference.writes.iter().any(|write| write == struck) && phase == "before" {
        expected.push(struck.to_owned());
    }
    if lost {
        expected.extend(
            reference
                .writes
                .iter()
                .find(|write| is_plan_write(write))
                .cloned(),
        );
    }
    let mut writes = fixture.writes().await?;
    let in_order = format!("{writes:#?}");
    writes.sort();
    expected.sort();
    check("writes", writes == expected, in_order);

    let tiers: Vec<_> = fixture
        .team
        .history()
        .iter()
        .filter_map(|version| version.status["plan"]["tier"].as_str().map(str::to_owned))
        .collect();
    let risen = tiers.iter().skip_while(|tier| *tier == "Free");
    check(
        "a Free interval",
        risen.clone().all(|tier| tier == "P2"),
        format!("{tiers:?}"),
    );
    fixture.check_monitor().await?;
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Error::Other(wrong.join("\n")))
}

/// The end state of a run. It must not depend on a crash.
#[derive(Debug)]
struct End {
    azure: Value,
    conditions: Value,
    status: Value,
    extensions: (String, String),
}

impl End {
    async fn of(fixture: &Fixture<'_>) -> Result<Self, Error> {
        let object = fixture.team.get(NAME).await?;
        let azure = fixture
            .team
            .environment
            .emulator
            .get(&fixture.team.subscription)
            .await?;
        let mut conditions = BTreeMap::new();
        let mut extensions = Default::default();
        for condition in object["status"]["conditions"].as_array().unwrap() {
            let text = |name: &str| condition[name].as_str().unwrap_or_default().to_owned();
            let reported = (text("status"), text("reason"));
            if text("type") == "ExtensionsProvisioned" {
                extensions = reported;
            } else {
                conditions.insert(text("type"), reported);
            }
        }
        let status = &object["status"];
        let names = |list: &Value, member: &str| -> Vec<Value> {
            let all = list.as_array().into_iter().flatten();
            all.map(|item| json!([item["name"], item[member]])).collect()
        };
        Ok(Self {
            azure: without_what_differs(azure),
            conditions: json!(conditions),
            status: json!({
                "observedGeneration": status["observedGeneration"],
                "plan": [status["plan"]["tier"], status["plan"]["coverage"]],
                "extensions": names(&status["plan"]["extensions"], "state"),
                "claim": status["claim"]["state"],
                "established": status["claim"]["establishedSince"].is_string(),
                "drift": [status["driftCount"], status["drift"]],
                "contested": status["contested"],
                "lastObservedTime": status["lastObservedTime"].is_string(),
                "finalizers": object["metadata"]["finalizers"],
            }),
            extensions,
        })
    }
}

/// The subscription without names and times.
fn without_what_differs(mut azure: Value) -> Value {
    for member in ["subscriptionId", "displayName", "tenantId"] {
        azure.as_object_mut().unwrap().remove(member);
    }
    for plan in azure["pricings"].as_object_mut().unwrap().values_mut() {
        let plan = plan.as_object_mut().unwrap();
        plan.remove("enablementTime");
        plan.remove("freeTrialRemainingTime");
    }
    azure
}
