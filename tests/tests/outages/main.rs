//! API server unavailable, Azure frozen, tokens expired: nothing is lost, no request storm occurs, everything
//! recovers. Each case has an environment of its own.

// Clippy does not recognize a test with its own main function as a test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod azure;
mod kubernetes;

use std::{future::Future, panic::AssertUnwindSafe, process::ExitCode, sync::Arc, time::Duration};

use futures::FutureExt;
use reqwest::Method;
use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    env::{Environment, Options},
    harness::{self, Setting},
    team::Team,
};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(90);
pub(crate) const NAME: &str = "prod";
/// Time limit of a case, with the start and the end of its environment.
const LIMIT: Duration = Duration::from_secs(240);

/// The cases share nothing.
struct Nothing;

impl Setting for Nothing {
    async fn stop(&self, _: bool) -> Result<(), Error> {
        Ok(())
    }
}

fn main() -> ExitCode {
    let cases = cases![
        a_minute_without_kubernetes_loses_nothing,
        half_a_minute_of_frozen_azure_is_survived,
        tokens_and_secrets_are_renewed_in_time,
        tokens_shorter_than_any_that_entra_issues_still_work,
    ];
    let cases = cases.into_iter().map(|case| case.limit(LIMIT));
    harness::run(|| std::future::ready(Ok(Nothing)), cases.collect())
}

async fn a_minute_without_kubernetes_loses_nothing(_: Arc<Nothing>) -> Result<(), Error> {
    world(&["--reconcile-every", "2s"], json!({}), kubernetes::away).await
}

async fn half_a_minute_of_frozen_azure_is_survived(_: Arc<Nothing>) -> Result<(), Error> {
    world(&["--reconcile-every", "1s"], json!({}), azure::frozen).await
}

async fn tokens_and_secrets_are_renewed_in_time(_: Arc<Nothing>) -> Result<(), Error> {
    let flags = &["--reconcile-every", "1s", "--blocked-retry-interval", "2s"];
    // Tokens are renewed five minutes before they expire; these are valid for four seconds more than that.
    world(flags, json!({"tokenLifetime": "304s"}), azure::rolling).await
}

async fn tokens_shorter_than_any_that_entra_issues_still_work(_: Arc<Nothing>) -> Result<(), Error> {
    let settings = json!({"tokenLifetime": "3s"});
    world(&["--reconcile-every", "1s"], settings, azure::short_tokens).await
}

/// Runs a case in its own environment, which checks the invariants at the end.
async fn world<F, A>(flags: &'static [&'static str], settings: Value, body: F) -> Result<(), Error>
where
    F: FnOnce(Arc<Environment>) -> A,
    A: Future<Output = Result<(), Error>>,
{
    let options = Options {
        seed: Some(json!({"options": settings})),
        ..Options::with_controller(flags)
    };
    let environment = Arc::new(Environment::start(options).await?);
    let result = AssertUnwindSafe(body(environment.clone())).catch_unwind().await;
    let failed = !matches!(result, Ok(Ok(())));
    let stopped = environment.stop(failed).await;
    match result {
        Ok(result) => result.and(stopped),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

pub(crate) fn p2() -> Value {
    json!({"plan": {"tier": "P2", "agentlessScanning": {"state": "Enabled"}}})
}

pub(crate) async fn ready(team: &Team<'_>) -> Result<Value, Error> {
    team.until(NAME, "Ready", "True", TIMEOUT).await?;
    team.scanned(NAME, TIMEOUT).await
}

/// Requests one more reconcile and waits for its end.
pub(crate) async fn reconcile(team: &Team<'_>) -> Result<Value, Error> {
    let request = team.request(NAME).await?;
    let what = format!("a reconcile of {}", team.namespace);
    team.until_holds(NAME, &what, TIMEOUT, |object| {
        object["status"]["lastHandledRequest"] == request.as_str()
    })
    .await
}

/// The controller runs, and `/readyz` succeeds.
pub(crate) async fn alive(environment: &Environment) -> Result<(), Error> {
    let mut controller = environment.controller().await;
    let controller = controller.as_mut().unwrap();
    controller.check()?;
    assert_eq!(controller.get("healthz").await?, "ok");
    controller.metrics().await.map(drop)
}

pub(crate) async fn last_sequence(environment: &Environment) -> Result<u64, Error> {
    let summary = environment.emulator.summary(None).await?;
    Ok(summary["lastSequence"].as_u64().unwrap())
}

/// The requests of the team's application after a sequence number, including token requests.
pub(crate) async fn requests(team: &Team<'_>, since: u64) -> Result<Vec<Value>, Error> {
    let path = format!("requests?since={since}&kind=all");
    let answer = team.environment.emulator.call(Method::GET, &path, None).await?;
    let all = answer["requests"].as_array().unwrap().iter();
    Ok(all
        .filter(|request| request["principal"] == team.client_id.as_str())
        .cloned()
        .collect())
}
