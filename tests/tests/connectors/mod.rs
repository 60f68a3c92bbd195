//! SecurityConnector with real components: kube-apiserver, emulator, controller as a process. Each case has its own
//! namespace, subscription and account. The same cases run with both answers of the emulator's switches.

// Clippy does not recognize a test with its own main function as a test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod accounts;
mod admission;
mod arc_providers;
mod azure_faults;
mod cloud_side;
mod deletion;
mod elsewhere;
mod fairness;
mod grants;
mod life;
mod ownership;
mod permissions;
mod protection;
mod refusals;

use std::{process::ExitCode, time::Duration};

use k8s_openapi::api::events::v1::Event;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};
use serverprotection_tests::{
    Error,
    env::{Environment, Options},
    harness::{self, Case},
    objects::condition,
    team::Team,
    users::CONTROLLER_NAMESPACE,
    wait::eventually,
};
use uuid::Uuid;

/// Time limit until a state is reached.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(40);
/// Cases that run at once: most of them wait.
const AT_ONCE: usize = 8;
/// When the finalizer is removed although Azure does not allow the deletion.
pub(crate) const DELETION_DEADLINE: Duration = Duration::from_secs(12);
/// Name of the ServerProtection of every case.
pub(crate) const PROTECTION: &str = "prod";
/// The resource group that `Team::connect` sets.
pub(crate) const GROUP: &str = "rg-connectors";

/// Runs all cases with these answers of the switches (`default` or `alternate`).
pub(crate) fn run(answers: &'static str) -> ExitCode {
    let mut cases: Vec<Case<Environment>> = Vec::new();
    // The slowest cases first.
    cases.extend(accounts::cases());
    cases.extend(protection::cases());
    cases.extend(refusals::cases());
    cases.extend(fairness::cases());
    cases.extend(admission::cases());
    cases.extend(life::cases());
    cases.extend(deletion::cases());
    cases.extend(grants::cases());
    cases.extend(elsewhere::cases());
    cases.extend(cloud_side::cases());
    cases.extend(azure_faults::cases());
    cases.extend(permissions::cases());
    cases.extend(arc_providers::cases());
    cases.extend(ownership::cases());

    let setup = move || async move {
        let options = Options {
            emulator: vec!["--switches".into(), answers.into()],
            ..Options::with_controller(&[
                "--blocked-retry-interval",
                "3s",
                "--machine-scan-interval",
                "2s",
                "--claim-reserve",
                "5s",
                "--operator-namespace",
                CONTROLLER_NAMESPACE,
                "--deletion-deadline",
                &format!("{}s", DELETION_DEADLINE.as_secs()),
            ])
        };
        Environment::start(options).await
    };
    harness::run_at_once(AT_ONCE, setup, cases)
}

/// A team with a ServerProtection that is Ready with plan P2.
pub(crate) async fn protected<'a>(environment: &'a Environment, name: &str) -> Result<Team<'a>, Error> {
    let team = environment.team(name).await?;
    team.protect(PROTECTION, json!({"plan": {"tier": "P2"}})).await?;
    team.until(PROTECTION, "Ready", "True", TIMEOUT).await?;
    Ok(team)
}

/// Waits until the connector is Ready.
pub(crate) async fn ready(team: &Team<'_>, name: &str) -> Result<Value, Error> {
    team.connectors().until(name, "Ready", "True", TIMEOUT).await
}

/// Waits for Stalled with a reason, and checks that the message contains the next step.
pub(crate) async fn stalled(team: &Team<'_>, name: &str, reason: &str, says: &str) -> Result<Value, Error> {
    let what = format!("Stalled/{reason}");
    let object = team
        .connectors()
        .until_holds(name, &what, TIMEOUT, |object| {
            condition(object, "Stalled").is_some_and(|stalled| stalled["reason"] == reason)
        })
        .await?;
    let (.., message) = condition_values(&object, "Stalled");
    assert!(
        message.contains(says),
        "the message does not say \"{says}\": {message}"
    );
    assert_eq!(condition_values(&object, "Ready").0, "False");
    assert!(condition(&object, "Reconciling").is_none());
    Ok(object)
}

/// Status, reason and message of a condition.
pub(crate) fn condition_values<'v>(object: &'v Value, kind: &str) -> (&'v str, &'v str, &'v str) {
    let condition = condition(object, kind).unwrap_or_else(|| panic!("no condition {kind}: {object:#}"));
    let text = |name: &str| condition[name].as_str().unwrap_or_default();
    (text("status"), text("reason"), text("message"))
}

/// The team's requests for connectors with this method.
pub(crate) async fn requests(team: &Team<'_>, method: &str) -> Result<Vec<Value>, Error> {
    let all = team.environment.emulator.requests(&team.subscription).await?;
    let expected = |request: &Value| {
        let path = request["path"].as_str().unwrap_or_default().to_lowercase();
        request["method"] == method
            && path.contains("/securityconnectors/")
            && !path.contains("/healthreports")
    };
    Ok(all.into_iter().filter(expected).collect())
}

/// All requests for the team's subscription except reads.
pub(crate) async fn writes(team: &Team<'_>) -> Result<Vec<Value>, Error> {
    let all = team.environment.emulator.requests(&team.subscription).await?;
    let written = |request: &Value| request["method"] != "GET" && request["method"] != "HEAD";
    Ok(all.into_iter().filter(written).collect())
}

/// A connector in the emulator, in the resource group of every case; null if it does not exist.
pub(crate) async fn in_azure(team: &Team<'_>, name: &str) -> Result<Value, Error> {
    let state = team.environment.emulator.get(&team.subscription).await?;
    Ok(state["securityConnectors"][format!("{GROUP}/{name}")].clone())
}

/// An offering of a connector as returned by [`in_azure`]; null if it does not exist.
pub(crate) fn offering<'v>(connector: &'v Value, kind: &str) -> &'v Value {
    let all = connector["offerings"].as_array().map(Vec::as_slice);
    let found = all
        .unwrap_or_default()
        .iter()
        .find(|it| it["offeringType"] == kind);
    found.unwrap_or(&Value::Null)
}

/// Changes a connector without the controller: `{"tags.team": "sec"}`.
pub(crate) async fn edit_in_azure(team: &Team<'_>, name: &str, fields: Value) -> Result<(), Error> {
    let fields = fields.as_object().unwrap().iter();
    let paths = fields.map(|(path, value)| (format!("securityConnectors.{name}.{path}"), value.clone()));
    let emulator = &team.environment.emulator;
    emulator
        .set(&team.subscription, Value::Object(paths.collect()))
        .await?;
    Ok(())
}

/// Edits the spec, waits until the object is Ready again, and checks the number of writes of the connector.
pub(crate) async fn edit(team: &Team<'_>, name: &str, spec: Value, puts: usize) -> Result<Value, Error> {
    let before = requests(team, "PUT").await?.len();
    let what = spec.to_string();
    team.connectors().patch(name, json!({"spec": spec})).await?;
    let object = ready(team, name).await?;
    assert_eq!(
        requests(team, "PUT").await?.len() - before,
        puts,
        "writes after {what}"
    );
    Ok(object)
}

/// Adds a fault for the team's subscription. Returns its id.
pub(crate) async fn fault(team: &Team<'_>, mut fault: Value) -> Result<String, Error> {
    fault["match"]["subscription"] = json!(team.subscription);
    team.environment.emulator.add_fault(fault).await
}

/// Waits for an event of the object with this reason. Returns its note.
pub(crate) async fn event(team: &Team<'_>, name: &str, reason: &str) -> Result<String, Error> {
    let api: Api<Event> = Api::namespaced(team.environment.client.clone(), &team.namespace);
    eventually(&format!("event {reason} of {name}"), TIMEOUT, || async {
        let all = api
            .list(&ListParams::default())
            .await
            .map_err(|error| error.to_string())?;
        let about = |event: &&Event| {
            let regarding = event.regarding.as_ref().and_then(|it| it.name.as_deref());
            regarding == Some(name) && event.reason.as_deref() == Some(reason)
        };
        match all.iter().find(about) {
            Some(event) => Ok(event.note.clone().unwrap_or_default()),
            None => Err(format!(
                "{:?}",
                all.iter().map(|event| event.reason.clone()).collect::<Vec<_>>()
            )),
        }
    })
    .await
}

/// An AWS account id or GCP project number that no other case uses.
pub(crate) fn another_account() -> String {
    format!("{:012}", Uuid::new_v4().as_u128() % 1_000_000_000_000)
}

/// Waits for a moment in which nothing must happen.
pub(crate) async fn pause() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}
