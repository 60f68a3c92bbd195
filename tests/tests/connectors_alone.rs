//! Connectors with a controller of their own: in sync, in a cloud without connectors, deleted while no controller
//! runs.

// Clippy does not recognize a test with its own main function as a test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{process::ExitCode, sync::Arc, time::Duration};

use k8s_openapi::api::events::v1::Event;
use kube::{Api, ResourceExt, api::ListParams};
use reqwest::Method;
use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    controller_process::{ControllerOptions, ControllerProcess},
    env::{Environment, Options},
    harness,
    objects::condition,
    team::Team,
    wait::eventually,
};

const TIMEOUT: Duration = Duration::from_secs(40);
/// Number of watched reconciles: two rounds, in each of which everything is read once.
const RECONCILES: usize = 12;

fn main() -> ExitCode {
    harness::run(
        || Environment::start(Options::default()),
        cases![
            a_healthy_connector_is_only_read,
            in_azure_government_there_are_no_connectors,
            a_deletion_while_no_controller_runs_still_happens,
        ],
    )
}

/// A controller that watches only this team.
fn controller(team: &Team<'_>, flags: &[&str]) -> Result<ControllerProcess, Error> {
    let namespace = [
        "--watch-namespace",
        &team.namespace,
        "--blocked-retry-interval",
        "3s",
    ];
    let options = ControllerOptions::flags(&[&namespace, flags].concat());
    let log = format!("{}.log", team.namespace);
    team.environment.another_controller(&log, &options)
}

async fn ready(team: &Team<'_>) -> Result<(), Error> {
    team.until("prod", "Ready", "True", TIMEOUT).await?;
    team.connectors()
        .until("account", "Ready", "True", TIMEOUT)
        .await?;
    Ok(())
}

/// The requests of the team's application after a sequence number.
async fn requests(team: &Team<'_>, since: u64) -> Result<Vec<Value>, Error> {
    let path = format!("requests?since={since}&kind=all");
    let answer = team.environment.emulator.call(Method::GET, &path, None).await?;
    let all = answer["requests"].as_array().unwrap().iter();
    let ours = all.filter(|request| request["principal"] == team.client_id.as_str());
    Ok(ours.cloned().collect())
}

fn path(request: &Value) -> String {
    request["path"].as_str().unwrap_or_default().to_lowercase()
}

/// Everything in the cluster that must not change.
#[derive(Debug, PartialEq)]
struct Still {
    connector: Option<String>,
    protection: Option<String>,
    status_writes: f64,
    events: usize,
}

impl Still {
    async fn of(team: &Team<'_>, controller: &mut ControllerProcess) -> Result<Self, Error> {
        let events: Api<Event> = Api::namespaced(team.environment.client.clone(), &team.namespace);
        Ok(Self {
            connector: team.connectors().api.get("account").await?.resource_version(),
            protection: team.api().get("prod").await?.resource_version(),
            status_writes: controller.status_writes().await?,
            events: events.list(&ListParams::default()).await?.items.len(),
        })
    }
}

async fn a_healthy_connector_is_only_read(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("quiet").await?;
    team.protect("prod", json!({"plan": {"tier": "P2"}})).await?;
    team.connect("account", json!({})).await?;
    let mut controller = controller(&team, &["--reconcile-every", "1s"])?;
    ready(&team).await?;
    team.scanned("prod", TIMEOUT).await?;
    team.until_holds("prod", "its connector, counted", TIMEOUT, |object| {
        object["status"]["display"]["connectors"] == "1/1"
    })
    .await?;
    let quiet = |object: &Value| {
        object["status"]["display"]["machines"] == "0/0" && object["status"]["health"] == "Healthy"
    };
    team.connectors()
        .until_holds("account", "health and machines", TIMEOUT, quiet)
        .await?;
    // Events are created after the status is written.
    tokio::time::sleep(Duration::from_secs(2)).await;

    let still = Still::of(&team, &mut controller).await?;
    let summary = environment.emulator.summary(None).await?;
    let since = summary["lastSequence"].as_u64().unwrap();
    let own = |all: &[Value]| {
        all.iter()
            .filter(|it| path(it).ends_with("/securityconnectors/account"))
            .count()
    };
    eventually("reconciles", TIMEOUT, || async {
        let made = own(&requests(&team, since).await.map_err(|error| error.to_string())?);
        if made >= RECONCILES {
            Ok(())
        } else {
            Err(format!("{made} reconciles"))
        }
    })
    .await?;

    let all = requests(&team, since).await?;
    assert_eq!(
        Still::of(&team, &mut controller).await?,
        still,
        "something was written to the API server"
    );
    let asks = |it: &Value| it["method"] == "GET" || path(it).ends_with("/microsoft.resourcegraph/resources");
    let writes: Vec<_> = all.iter().filter(|it| it["kind"] != "arm" || !asks(it)).collect();
    assert!(writes.is_empty(), "a write or a token request: {writes:#?}");
    let ending = |end: &str| {
        all.iter()
            .filter(|it| path(it).contains("/securityconnectors") && path(it).ends_with(end))
            .count()
    };
    let (reconciles, lists, health) = (own(&all), ending("/securityconnectors"), ending("/healthreports"));
    eprintln!("{reconciles} reconciles of the connector with {lists} lists and {health} reads of its health");
    // Health is read once in a round of six, and so is the list unless it is cached. A round may be incomplete at
    // either end.
    assert!(
        (1..=3).contains(&health) && lists <= 3,
        "{lists} lists, {health} reports"
    );
    assert_eq!(controller.terminate().await?, Some(0));
    Ok(())
}

async fn in_azure_government_there_are_no_connectors(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("government").await?;
    team.protect("prod", json!({"plan": {"tier": "P2"}})).await?;
    team.connect("account", json!({"deletionPolicy": "Delete"}))
        .await?;
    let mut controller = controller(&team, &["--cloud", "us-government"])?;
    let object = team
        .connectors()
        .until_holds("account", "Stalled/NotAvailableInCloud", TIMEOUT, |object| {
            condition(object, "Stalled").is_some_and(|it| it["reason"] == "NotAvailableInCloud")
        })
        .await?;
    let message = condition(&object, "Stalled").unwrap()["message"]
        .as_str()
        .unwrap();
    assert!(
        message.contains("Azure Government has no connectors"),
        "{message}"
    );
    assert_eq!(condition(&object, "Ready").unwrap()["status"], "False");
    // The subscription itself is protected as in other clouds.
    team.until("prod", "Ready", "True", TIMEOUT).await?;
    let about = |it: &&Value| path(it).contains("securityconnectors");
    let all = requests(&team, 0).await?;
    assert_eq!(all.iter().filter(about).count(), 0, "no call about connectors");
    team.connectors().delete("account", TIMEOUT).await?;
    assert_eq!(controller.terminate().await?, Some(0));
    Ok(())
}

async fn a_deletion_while_no_controller_runs_still_happens(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("late").await?;
    team.protect("prod", json!({"plan": {"tier": "P2"}})).await?;
    team.connect("account", json!({"deletionPolicy": "Delete"}))
        .await?;
    let mut before = controller(&team, &[])?;
    ready(&team).await?;
    assert_eq!(before.terminate().await?, Some(0));

    team.connectors().start_deletion("account").await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut after = controller(&team, &["--deletion-deadline", "2s"])?;
    team.connectors().until_gone("account", TIMEOUT).await?;
    let state = environment.emulator.get(&team.subscription).await?;
    assert!(
        state["securityConnectors"]["rg-connectors/account"].is_null(),
        "it was never tried"
    );
    assert_eq!(after.terminate().await?, Some(0));
    Ok(())
}
