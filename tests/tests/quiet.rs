//! An object in sync costs a handful of reads per reconcile and nothing else: no write, no event, no
//! token.

// Clippy does not recognize a test with its own main function as a test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use k8s_openapi::{api::events::v1::Event, jiff::Timestamp};
use kube::{Api, ResourceExt, api::ListParams};
use reqwest::Method;
use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    controller_process::{ControllerOptions, ControllerProcess},
    env::{Environment, Options},
    harness,
    team::{CREDENTIAL, Team, condition},
    wait::eventually,
};

const TIMEOUT: Duration = Duration::from_secs(40);
const NAME: &str = "prod";
/// Number of watched reconciles.
const RECONCILES: f64 = 10.0;
/// Reads of a reconcile in sync (I-4).
const READS: usize = 4;
/// Reconciles are a second apart, with at least this pause between them.
const PAUSE: Duration = Duration::from_millis(400);

fn main() -> ExitCode {
    harness::run(
        || Environment::start(Options::default()),
        cases![
            an_object_in_sync_is_only_read,
            an_object_that_observes_is_only_read,
            two_workspaces_cost_no_more_reads,
        ],
    )
}

async fn an_object_in_sync_is_only_read(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("quiet").await?;
    at_rest(&team, p2()).await
}

async fn an_object_that_observes_is_only_read(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("observing").await?;
    let mut spec = p2();
    spec["mode"] = json!("Observe");
    at_rest(&team, spec).await
}

async fn two_workspaces_cost_no_more_reads(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("workspaces").await?;
    let group = format!(
        "/subscriptions/{}/resourceGroups/logs/providers",
        team.subscription
    );
    let id = |name: &str| format!("{group}/Microsoft.OperationalInsights/workspaces/{name}");
    let solution = format!("{group}/Microsoft.OperationsManagement/solutions/Security(on)");
    let seed = json!({"subscriptionId": team.subscription, "resourceGroups": ["logs"],
        "workspaces": [id("on"), id("off")], "solutions": [solution]});
    environment
        .emulator
        .seed(json!({"subscriptions": [seed]}))
        .await?;
    let mut spec = p2();
    spec["workspaces"] = json!([{"resourceId": id("on")}, {"resourceId": id("off")}]);
    at_rest(&team, spec).await
}

fn p2() -> Value {
    json!({"plan": {"tier": "P2", "agentlessScanning": {"state": "Enabled"}}})
}

/// Everything that must not change.
#[derive(Debug, PartialEq)]
struct Still {
    resource_version: Option<String>,
    credential_version: Option<String>,
    status_writes: f64,
    /// Names and versions.
    events: Vec<(String, Option<String>)>,
}

impl Still {
    async fn of(team: &Team<'_>, controller: &mut ControllerProcess) -> Result<Self, Error> {
        let object = team.api().get(NAME).await?;
        let credential = team.credentials().api.get(CREDENTIAL).await?;
        let api: Api<Event> = Api::namespaced(team.environment.client.clone(), &team.namespace);
        let events = api.list(&ListParams::default()).await?.into_iter();
        Ok(Self {
            resource_version: object.resource_version(),
            credential_version: credential.resource_version(),
            status_writes: controller.status_writes().await?,
            events: events
                .map(|event| (event.name_any(), event.resource_version()))
                .collect(),
        })
    }
}

async fn at_rest(team: &Team<'_>, spec: Value) -> Result<(), Error> {
    let environment = team.environment;
    team.protect(NAME, spec).await?;
    let flags = ["--watch-namespace", &team.namespace, "--reconcile-every", "1s"];
    let options = ControllerOptions::flags(&flags);
    let started = SystemTime::now();
    let mut controller = environment.another_controller(&format!("{}.log", team.namespace), &options)?;
    team.until(NAME, "Ready", "True", TIMEOUT).await?;
    eprintln!(
        "{}: first request to Azure {} after the start",
        team.namespace,
        first_request(team, started).await?
    );
    // The event is created after the status is written.
    eventually("the event of being ready", TIMEOUT, || async {
        let api: Api<Event> = Api::namespaced(environment.client.clone(), &team.namespace);
        let events = api
            .list(&ListParams::default())
            .await
            .map_err(|e| e.to_string())?;
        let notes: Vec<_> = events.into_iter().filter_map(|event| event.note).collect();
        let ready = ["Azure matches the spec", "Mode Observe"];
        let reported = notes
            .iter()
            .any(|note| ready.iter().any(|text| note.contains(text)));
        if reported {
            Ok(())
        } else {
            Err(format!("{notes:?}"))
        }
    })
    .await?;
    team.scanned(NAME, TIMEOUT).await?;
    let still = Still::of(team, &mut controller).await?;
    let since = last_sequence(environment).await?;
    let before = reconciles(&mut controller).await?;
    let began = Instant::now();
    while reconciles(&mut controller).await? < before + RECONCILES {
        assert!(
            began.elapsed() < TIMEOUT,
            "only {} reconciles",
            reconciles(&mut controller).await? - before
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let made = reconciles(&mut controller).await? - before;
    let requests = requests(team, since).await?;
    assert_eq!(
        Still::of(team, &mut controller).await?,
        still,
        "something was written to the API server"
    );
    let others: Vec<_> = requests
        .iter()
        .filter(|request| request["kind"] != "arm" || request["method"] != "GET")
        .collect();
    assert!(others.is_empty(), "a write or a token request: {others:#?}");
    // Settings that are off do not exist in Azure.
    let answered = |request: &Value| request["status"] == 200 || request["errorCode"] == "ResourceNotFound";
    assert!(requests.iter().all(answered), "{requests:#?}");
    let groups = groups(&requests);
    eprintln!("{}: {made} reconciles with {groups:?} reads", team.namespace);
    let seen = f64::from(u32::try_from(groups.len()).unwrap());
    // A reconcile may be in progress at either end.
    assert!((made - seen).abs() < 1.5, "{made} reconciles, reads {groups:?}");
    assert!(groups.iter().all(|reads| *reads <= READS), "reads {groups:?}");
    let object = team.get(NAME).await?;
    assert_eq!(condition(&object, "Ready").unwrap()["status"], "True");
    assert_eq!(controller.terminate().await?, Some(0));
    Ok(())
}

async fn reconciles(controller: &mut ControllerProcess) -> Result<f64, Error> {
    let failed = controller
        .metric(
            "serverprotection_reconciles_total",
            &["outcome=\"kubernetes_error\""],
        )
        .await?;
    assert_eq!(failed, Some(0.0), "a reconcile that the API server failed");
    let overdue = controller.metric("serverprotection_overdue_objects", &[]).await?;
    assert_eq!(overdue, Some(0.0), "an object that is not reconciled");
    let ok = controller
        .metric(
            "serverprotection_reconciles_total",
            &["kind=\"ServerProtection\"", "outcome=\"success\""],
        )
        .await?;
    Ok(ok.unwrap_or_default())
}

async fn last_sequence(environment: &Environment) -> Result<u64, Error> {
    let summary = environment.emulator.summary(None).await?;
    Ok(summary["lastSequence"].as_u64().unwrap())
}

/// The requests of the team's application after a sequence number, including token requests, in the order of arrival.
async fn requests(team: &Team<'_>, since: u64) -> Result<Vec<Value>, Error> {
    let path = format!("requests?since={since}&kind=all");
    let answer = team.environment.emulator.call(Method::GET, &path, None).await?;
    let all = answer["requests"].as_array().unwrap().iter();
    let mut ours: Vec<Value> = all
        .filter(|request| request["principal"] == team.client_id.as_str())
        .cloned()
        .collect();
    ours.sort_by_key(arrival);
    Ok(ours)
}

fn arrival(request: &Value) -> Timestamp {
    request["at"].as_str().unwrap().parse().unwrap()
}

/// Number of requests of each reconcile. Reconciles are a second apart, and the reads of a reconcile come at once.
fn groups(requests: &[Value]) -> Vec<usize> {
    let mut groups: Vec<usize> = Vec::new();
    let mut last: Option<Timestamp> = None;
    for request in requests {
        let at = arrival(request);
        let apart = last.is_none_or(|last| at.duration_since(last) > PAUSE.try_into().unwrap());
        match groups.last_mut() {
            Some(group) if !apart => *group += 1,
            _ => groups.push(1),
        }
        last = Some(at);
    }
    groups
}

async fn first_request(team: &Team<'_>, started: SystemTime) -> Result<String, Error> {
    let started = Timestamp::try_from(started).unwrap();
    let first = requests(team, 0).await?.first().map(arrival).unwrap();
    Ok(format!("{} ms", first.duration_since(started).as_millis()))
}
