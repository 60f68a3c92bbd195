//! Faults of Resource Graph, one after the other, because a fault of the index affects every scan.

// Clippy does not recognize a test with its own main function as a test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod rows;

use std::{process::ExitCode, sync::Arc, time::Duration};

use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    env::{Environment, Options},
    harness,
    team::{Team, condition},
    wait::eventually,
};

const TIMEOUT: Duration = Duration::from_secs(40);
/// Time limit of the case.
const LIMIT: Duration = Duration::from_secs(900);
const NAME: &str = "prod";
const GRAPH: &str = "ResourceGraph/resources";
/// More than one page of 1000.
const MACHINES: usize = 2500;
/// Longer than the time between two status writes that the results of scans cause.
const STATUS_DEBOUNCE: Duration = Duration::from_secs(6);
/// The controller's scan interval.
const FLAGS: [&str; 4] = ["--blocked-retry-interval", "3s", "--machine-scan-interval", "1s"];

fn main() -> ExitCode {
    let setup = || async {
        let environment = Environment::start(Options::with_controller(&FLAGS)).await?;
        // A later step tests the quota. ARM's buckets would reject fifty confirmations a second, a rate
        // that does not occur in production.
        let settings = json!({"graphQuota": 0, "throttling": false});
        environment.emulator.options(settings).await?;
        Ok(environment)
    };
    // The retry delays are the real ones.
    let cases = cases![resource_graph_on_a_bad_day].into_iter();
    harness::run(setup, cases.map(|case| case.limit(LIMIT)).collect())
}

async fn resource_graph_on_a_bad_day(environment: Arc<Environment>) -> Result<(), Error> {
    let fleet = json!({
        "pricings": {"VirtualMachines": {"pricingTier": "Standard", "subPlan": "P2",
         "enablementTime": "2026-01-01T00:00:00Z"}},
        "settings": {"WDATP": true, "WDATP_UNIFIED_SOLUTION": true, "WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW": false},
        "fleet": {"randomSeed": 7, "machineCount": MACHINES},
    });
    let team = environment.team_with("faults", fleet).await?;
    team.protect(NAME, json!({"plan": {"tier": "P2"}})).await?;
    let object = team
        .until_holds(NAME, "the numbers of a whole fleet", TIMEOUT, |object| {
            object["status"]["machines"]["total"].as_u64() >= Some(2000)
        })
        .await?;
    // The first scans confirm bad verdicts, fifty at a time.
    let settled = settled(&team).await?;
    assert_eq!(settled["total"], object["status"]["machines"]["total"]);
    let verdicts = settled["verdicts"].as_object().unwrap().values();
    assert_eq!(
        verdicts.filter_map(Value::as_u64).sum::<u64>(),
        settled["total"].as_u64().unwrap()
    );

    for (story, fault) in [
        (
            "partial pages",
            json!({"match": {"path": GRAPH, "times": 40}, "action": {"graph": "partialPages"}}),
        ),
        (
            "rows that come twice",
            json!({"match": {"path": GRAPH, "times": 40}, "action": {"graph": "duplicateRows"}}),
        ),
        (
            "a page that fails in the middle",
            json!({"match": {"path": GRAPH, "skip": 2, "times": 1}, "action": {"respond": {"status": 503}}}),
        ),
        (
            "a connection that ends in the middle",
            json!({"match": {"path": GRAPH, "skip": 3, "times": 1}, "action": {"truncate": true}}),
        ),
        (
            "an answer that never comes",
            json!({"match": {"path": GRAPH, "skip": 1, "times": 1}, "action": {"reset": true}}),
        ),
        (
            "429 without quota headers",
            json!({"match": {"path": GRAPH, "skip": 1, "times": 1}, "action": {"respond": {"status": 429}}}),
        ),
        (
            "a quota that no machine can count",
            json!({"match": {"path": GRAPH, "skip": 1, "times": 1}, "action": {"respond": {"status": 200,
                "headers": {"x-ms-user-quota-remaining": "4294967295", "x-ms-user-quota-resets-after": "99:99:99"},
                "body": {"totalRecords": 9, "count": 0, "resultTruncated": "false", "data": []}}}}),
        ),
    ] {
        eprintln!("story: {story}");
        environment.emulator.add_fault(fault).await?;
        scans(&environment, 3.0).await?;
        let machines = numbers(&team).await?;
        assert_eq!(machines["verdicts"], settled["verdicts"], "{story}");
        assert!(machines["scanFailure"].is_null(), "{story}: {machines:#}");
        environment.emulator.clear_faults().await?;
    }
    let panicked = panics(&environment).await?;
    assert!(panicked < 0.5, "{panicked} scans panicked");
    quota(&environment, &team, &settled).await?;
    expired_token(&environment, &team, &settled).await?;
    cut_rows(&environment, &team, &settled).await?;
    failure_and_recovery(&environment, &team, &settled).await?;
    lag(&environment).await?;
    rows::odd(&environment).await?;
    rows::lost(&environment).await
}

/// The quota is obeyed: no query is rejected, and the numbers are the same.
async fn quota(environment: &Environment, team: &Team<'_>, settled: &Value) -> Result<(), Error> {
    eprintln!("story: a small quota");
    let small = json!({"graphQuota": 3, "graphQuotaWindow": "1s"});
    environment.emulator.options(small).await?;
    scans(environment, 1.0).await?;
    environment.emulator.clear().await?;
    scans(environment, 3.0).await?;
    let all = environment.emulator.requests_since("", None, Some("arm")).await?;
    let refused = all.iter().filter(|request| request["status"] == 429).count();
    assert_eq!(refused, 0, "queries that the quota refused");
    assert_eq!(numbers(team).await?["verdicts"], settled["verdicts"]);
    environment.emulator.options(json!({"graphQuota": 0})).await?;
    Ok(())
}

/// A paging token expires: the group is read again.
async fn expired_token(environment: &Environment, team: &Team<'_>, settled: &Value) -> Result<(), Error> {
    eprintln!("story: tokens that run out between pages");
    environment.emulator.add_fault(json!({"id": "slow", "match": {"path": GRAPH, "skip": 1, "times": 1}, "action": {"delay": "1500ms"}})).await?;
    environment
        .emulator
        .options(json!({"graphTokenLifetime": "1s"}))
        .await?;
    scans(environment, 3.0).await?;
    environment
        .emulator
        .options(json!({"graphTokenLifetime": "10m"}))
        .await?;
    environment.emulator.clear_faults().await?;
    scans(environment, 2.0).await?;
    let machines = numbers(team).await?;
    assert_eq!(machines["verdicts"], settled["verdicts"]);
    assert!(machines["scanFailure"].is_null(), "{machines:#}");
    Ok(())
}

/// Truncated rows are an error, never a smaller fleet.
async fn cut_rows(environment: &Environment, team: &Team<'_>, settled: &Value) -> Result<(), Error> {
    eprintln!("story: rows that are cut");
    environment
        .emulator
        .add_fault(json!({"match": {"path": GRAPH, "times": 1000}, "action": {"graph": "truncated"}}))
        .await?;
    let object = reason(team, "ScanStale").await?;
    assert_eq!(object["status"]["machines"]["verdicts"], settled["verdicts"]);
    let message = object["status"]["machines"]["scanFailure"]["message"]
        .as_str()
        .unwrap();
    assert!(message.contains("ResultTruncated"), "{message}");
    environment.emulator.clear_faults().await?;
    recovered(team, settled).await
}

/// Scans fail: the last numbers stay and show their age. Then scans recover without a change.
async fn failure_and_recovery(
    environment: &Environment,
    team: &Team<'_>,
    settled: &Value,
) -> Result<(), Error> {
    eprintln!("story: Resource Graph is away");
    environment
        .emulator
        .add_fault(
            json!({"match": {"path": GRAPH, "times": 100_000}, "action": {"respond": {"status": 500}}}),
        )
        .await?;
    let what = "the first failed scan";
    team.until_holds(NAME, what, Duration::from_secs(90), |object| {
        object["status"]["machines"]["scanFailure"].is_object()
    })
    .await?;
    // A 500 is retried for half a minute in each scan; a 400 is not.
    environment.emulator.clear_faults().await?;
    let refusal = json!({"status": 400, "body": {"error": {"code": "BadRequest", "message": "no"}}});
    environment
        .emulator
        .add_fault(json!({"match": {"path": GRAPH, "times": 100_000}, "action": {"respond": refusal}}))
        .await?;
    let stale = eventually("stale numbers", Duration::from_secs(180), || async {
        let object = team.get(NAME).await.map_err(|error| error.to_string())?;
        let found = condition(&object, "MachinesProtected").unwrap();
        if found["reason"] == "ScanStale" {
            Ok(object)
        } else {
            Err(found.to_string())
        }
    })
    .await?;
    assert_eq!(stale["status"]["machines"]["verdicts"], settled["verdicts"]);
    let message = condition(&stale, "MachinesProtected").unwrap()["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(message.contains("The numbers are from"), "{message}");
    // Ready does not depend on scans.
    assert_eq!(condition(&stale, "Ready").unwrap()["status"], "True");
    team.until_events(&["MachineScanFailed"], TIMEOUT).await?;
    environment.emulator.clear_faults().await?;
    recovered(team, settled).await
}

/// Delayed index data is confirmed with the machine itself, so there is no false alarm.
async fn lag(environment: &Environment) -> Result<(), Error> {
    eprintln!("story: an index that lags");
    let seed = json!({
        "pricings": {"VirtualMachines": {"pricingTier": "Standard", "subPlan": "P2",
         "enablementTime": "2026-01-01T00:00:00Z"}},
        "settings": {"WDATP": true},
        "machines": [{"name": "web-1"}, {"name": "db-1", "mde": {"provisioningState": "Failed", "code": 24}}],
    });
    let team = environment.team_with("lag", seed).await?;
    // The index returns the state before the repair.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let repaired = json!({"mde.provisioningState": "Succeeded", "mde.code": null});
    environment
        .emulator
        .set_machine(&team.subscription, "db-1", repaired)
        .await?;
    environment.emulator.options(json!({"graphLag": "10m"})).await?;
    team.protect(NAME, json!({"plan": {"tier": "P2"}})).await?;
    let object = reason(&team, "Protected").await?;
    assert_eq!(object["status"]["display"]["machines"], "2/2");
    environment.emulator.options(json!({"graphLag": "0s"})).await?;
    let alarmed = team
        .history()
        .iter()
        .any(|version| version.status["machines"]["verdicts"]["Failed"].as_i64() > Some(0));
    assert!(!alarmed, "an alarm for a machine that was repaired");
    Ok(())
}

async fn numbers(team: &Team<'_>) -> Result<Value, Error> {
    Ok(team.get(NAME).await?["status"]["machines"].clone())
}

async fn reason(team: &Team<'_>, reason: &str) -> Result<Value, Error> {
    let what = format!("MachinesProtected/{reason} of {}", team.namespace);
    team.until_holds(NAME, &what, Duration::from_secs(120), |object| {
        condition(object, "MachinesProtected").is_some_and(|found| found["reason"] == reason)
    })
    .await
}

async fn recovered(team: &Team<'_>, settled: &Value) -> Result<(), Error> {
    let object = team
        .until_holds(NAME, "the end of failed scans", TIMEOUT, |object| {
            object["status"]["machines"]["scanFailure"].is_null()
                && condition(object, "MachinesProtected").is_some_and(|found| found["status"] == "False")
        })
        .await?;
    assert_eq!(object["status"]["machines"]["verdicts"], settled["verdicts"]);
    Ok(())
}

/// Waits until the numbers are stable over several scans.
async fn settled(team: &Team<'_>) -> Result<Value, Error> {
    let mut last = (Value::Null, None);
    for _ in 0..40 {
        scans(team.environment, 3.0).await?;
        let machines = numbers(team).await?;
        // Until every machine has been confirmed, a verdict may still change.
        let asked = metric(
            team.environment,
            "serverprotection_fleet_scan_confirmations_total",
        )
        .await?;
        let now = (machines["verdicts"].clone(), asked);
        if now == last {
            return Ok(machines);
        }
        last = now;
    }
    Err(Error::Other(format!("the numbers do not settle: {last:#?}")))
}

/// A series of the controller's metrics; `None` if it does not exist.
async fn metric(environment: &Environment, name: &str) -> Result<Option<f64>, Error> {
    let mut controller = environment.controller().await;
    controller.as_mut().unwrap().metric(name, &[]).await
}

/// Number of scans that ended with an internal error.
async fn panics(environment: &Environment) -> Result<f64, Error> {
    let mut controller = environment.controller().await;
    let labels = ["task=\"machine_scan\""];
    let panics = controller
        .as_mut()
        .unwrap()
        .metric("serverprotection_task_panics_total", &labels)
        .await?;
    Ok(panics.unwrap())
}

/// Waits for this number of further scans, including failed ones.
async fn scans(environment: &Environment, more: f64) -> Result<(), Error> {
    let made = || async {
        let mut controller = environment.controller().await;
        let controller = controller.as_mut().unwrap();
        let made = controller.metric("serverprotection_fleet_scans_total", &[]).await;
        made.map_err(|error| error.to_string())
    };
    let before = made().await.map_err(Error::Other)?.unwrap_or_default();
    eventually("scans", Duration::from_secs(60), || async {
        let now = made().await?.unwrap_or_default();
        if now >= before + more {
            Ok(())
        } else {
            Err(format!("{now} scans"))
        }
    })
    .await?;
    tokio::time::sleep(STATUS_DEBOUNCE).await;
    Ok(())
}
