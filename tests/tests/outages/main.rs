//! Kubernetes away, Azure frozen, tokens that run out: nothing is lost, nothing storms, everything recovers.
//! Each case breaks a world of its own.

// Clippy does not see that a test with its own main is one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod azure;
mod kubernetes;

use std::{future::Future, panic::AssertUnwindSafe, process::ExitCode, sync::Arc, time::Duration};

use futures::FutureExt;
use reqwest::Method;
use serde_json::{Value, json};
use serverprotection_tests::{
    Error,
    env::{Environment, Options},
    harness::{self, Setting, case},
    team::Team,
};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(90);
pub(crate) const NAME: &str = "prod";

/// The cases share nothing.
struct Nothing;

impl Setting for Nothing {
    async fn stop(&self, _: bool) -> Result<(), Error> {
        Ok(())
    }
}

fn main() -> ExitCode {
    let limit = Duration::from_secs(240);
    harness::run(
        || std::future::ready(Ok(Nothing)),
        vec![
            case("a_minute_without_kubernetes_loses_nothing", |_| {
                world(&["--reconcile-every", "2s"], json!({}), kubernetes::away)
            })
            .limit(limit),
            case("half_a_minute_of_frozen_azure_is_waited_for", |_| {
                world(&["--reconcile-every", "1s"], json!({}), azure::frozen)
            })
            .limit(limit),
            case("tokens_and_secrets_are_renewed_in_time", |_| {
                // Tokens are renewed five minutes before they end: these live for four seconds.
                let settings = json!({"tokenLifetime": "304s"});
                world(
                    &["--reconcile-every", "1s", "--blocked-retry-interval", "2s"],
                    settings,
                    azure::rolling,
                )
            })
            .limit(limit),
            case("tokens_shorter_than_any_that_entra_issues_still_work", |_| {
                world(
                    &["--reconcile-every", "1s"],
                    json!({"tokenLifetime": "3s"}),
                    azure::short_tokens,
                )
            })
            .limit(limit),
        ],
    )
}

/// Runs a case in an environment of its own, which judges it at its end.
async fn world<F, A>(flags: &'static [&'static str], settings: Value, body: F) -> Result<(), Error>
where
    F: FnOnce(Arc<Environment>) -> A,
    A: Future<Output = Result<(), Error>>,
{
    let options = Options {
        seed: Some(json!({"settings": settings})),
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

/// Asks for one more visit, and waits until it was made.
pub(crate) async fn reconcile(team: &Team<'_>) -> Result<Value, Error> {
    let request = team.request(NAME).await?;
    let what = format!("a visit of {}", team.namespace);
    team.until_holds(NAME, &what, TIMEOUT, |object| {
        object["status"]["lastHandledReconcileAt"] == request.as_str()
    })
    .await
}

/// The controller lives and says so.
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

/// What the team's application asked since then, tokens included.
pub(crate) async fn requests(team: &Team<'_>, since: u64) -> Result<Vec<Value>, Error> {
    let path = format!("requests?since={since}&kind=all");
    let answer = team.environment.emulator.call(Method::GET, &path, None).await?;
    let all = answer["requests"].as_array().unwrap().iter();
    Ok(all
        .filter(|request| request["principal"] == team.client_id.as_str())
        .cloned()
        .collect())
}
