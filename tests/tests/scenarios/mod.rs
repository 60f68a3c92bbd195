//! ServerProtection with real components: kube-apiserver, emulator, controller as a process. All cases share an
//! environment; each has its own namespace and subscription. The same cases run with both answers of the emulator's
//! switches.

// Clippy does not recognize a test with its own main function as a test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod admission;
mod adoption;
mod azure_credential;
mod azure_faults;
mod claims;
mod client_certificate;
mod cluster_credential;
mod contested;
mod credentials;
mod drift;
mod edits;
mod elsewhere;
mod file_integrity;
mod observe;
mod odd_answers;
mod permissions;
mod registration;
mod retry_after;
mod unreadable;

use std::{process::ExitCode, time::Duration};

use serde_json::{Value, json};
use serverprotection_tests::{
    Error,
    controller_process::{ControllerOptions, Replica},
    env::{Environment, Options},
    harness::{self, Case},
    team::{Team, condition},
    users::CONTROLLER_NAMESPACE,
};

/// Time limit until a state is reached.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(40);

/// The spec of most cases.
pub(crate) fn p2() -> Value {
    json!({"plan": {"tier": "P2", "agentlessScanning": {"state": "Enabled"}}})
}

/// Runs all cases with these answers of the switches (`default` or `alternate`).
pub(crate) fn run(answers: &'static str) -> ExitCode {
    let mut cases: Vec<Case<Environment>> = Vec::new();
    cases.extend(admission::cases());
    cases.extend(edits::cases());
    cases.extend(file_integrity::cases());
    cases.extend(drift::cases());
    cases.extend(observe::cases());
    cases.extend(claims::cases());
    cases.extend(adoption::cases());
    cases.extend(credentials::cases());
    cases.extend(azure_credential::cases());
    cases.extend(client_certificate::cases());
    cases.extend(cluster_credential::cases());
    cases.extend(permissions::cases());
    cases.extend(registration::cases());
    cases.extend(azure_faults::cases());
    cases.extend(odd_answers::cases());
    cases.extend(retry_after::cases());
    cases.extend(contested::cases());
    cases.extend(elsewhere::cases());
    cases.extend(unreadable::cases());
    let setup = move || async move {
        let lapse_after = format!("{}s", claims::LAPSE_AFTER.as_secs());
        let reserve = format!("{}s", claims::RESERVE.as_secs());
        let flags = [
            "--blocked-retry-interval",
            "3s",
            "--registration-timeout",
            "4s",
            "--claim-lapse-after",
            &lapse_after,
            "--claim-reserve",
            &reserve,
            "--operator-namespace",
            CONTROLLER_NAMESPACE,
        ];
        let options = Options {
            emulator: vec!["--switches".into(), answers.into()],
            controller: Some(ControllerOptions {
                environment: credentials::ambient(),
                // Both ways to run are tested.
                replica: (answers == "default").then(Replica::standard),
                ..ControllerOptions::flags(&flags)
            }),
            ..Options::default()
        };
        Environment::start(options).await
    };
    harness::run(setup, cases)
}

/// Write requests to Azure, except registrations.
pub(crate) async fn writes(team: &Team<'_>) -> Result<Vec<Value>, Error> {
    let all = team.environment.emulator.requests(&team.subscription).await?;
    Ok(all
        .into_iter()
        .filter(|request| request["method"] != "GET")
        .collect())
}

/// Plan writes among them.
pub(crate) async fn plan_writes(team: &Team<'_>) -> Result<Vec<Value>, Error> {
    Ok(of(writes(team).await?, "/pricings/"))
}

/// Requests whose path contains a string.
pub(crate) fn of(requests: Vec<Value>, word: &str) -> Vec<Value> {
    let word = word.to_lowercase();
    requests
        .into_iter()
        .filter(|request| {
            request["path"]
                .as_str()
                .is_some_and(|path| path.to_lowercase().contains(&word))
        })
        .collect()
}

/// All requests of a team.
pub(crate) async fn requests(team: &Team<'_>) -> Result<Vec<Value>, Error> {
    team.environment.emulator.requests(&team.subscription).await
}

/// Waits for Ready=True.
pub(crate) async fn ready(team: &Team<'_>, name: &str) -> Result<Value, Error> {
    team.until(name, "Ready", "True", TIMEOUT).await
}

/// Waits for Stalled with a reason, and checks that the message contains the next step.
pub(crate) async fn stalled(team: &Team<'_>, name: &str, reason: &str, says: &str) -> Result<Value, Error> {
    let what = format!("Stalled/{reason} of {}/{name}", team.namespace);
    let object = team
        .until_holds(name, &what, TIMEOUT, |object| {
            condition(object, "Stalled").is_some_and(|stalled| stalled["reason"] == reason)
        })
        .await?;
    let message = condition(&object, "Stalled").unwrap()["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        message.contains(says),
        "the message does not say \"{says}\": {message}"
    );
    assert_eq!(condition(&object, "Ready").unwrap()["status"], "False");
    assert!(condition(&object, "Reconciling").is_none());
    Ok(object)
}

/// Requests a reconcile and waits for its end.
pub(crate) async fn reconcile(team: &Team<'_>, name: &str) -> Result<Value, Error> {
    let request = team.request(name).await?;
    let what = format!("a reconcile of {}/{name}", team.namespace);
    team.until_holds(name, &what, TIMEOUT, |object| {
        object["status"]["lastHandledRequest"] == request.as_str()
    })
    .await
}

/// The setting, plan or assessment of the subscription in the emulator, by JSON pointer.
pub(crate) async fn in_azure(team: &Team<'_>) -> Result<Value, Error> {
    team.environment.emulator.get(&team.subscription).await
}

/// Status, reason and message of a condition.
pub(crate) fn condition_values<'v>(object: &'v Value, kind: &str) -> (&'v str, &'v str, &'v str) {
    let condition = condition(object, kind).unwrap_or_else(|| panic!("no condition {kind}: {object:#}"));
    let text = |name: &str| condition[name].as_str().unwrap_or_default();
    (text("status"), text("reason"), text("message"))
}
