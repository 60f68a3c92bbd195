//! Verification of machines with real components: what a user sees when machines appear, fail, are repaired,
//! disconnect, change their owner or cannot be read. Each case has its own namespaces, application and subscription.

// Clippy does not recognize a test with its own main function as a test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod access;
mod accounts;
mod clouds;
mod command;
mod life;
mod plan_off;
mod recorded;
mod shared;
mod spec;

use std::{process::ExitCode, time::Duration};

use serde_json::{Value, json};
use serverprotection_tests::{
    Error,
    env::{Environment, Options},
    harness::{self, Case},
    team::{Team, condition},
};

/// Time limit until a state is reached.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(40);
pub(crate) const NAME: &str = "prod";

/// Runs all cases with these answers of the emulator's switches (`default` or `alternate`).
pub(crate) fn run(answers: &'static str) -> ExitCode {
    let mut cases: Vec<Case<Environment>> = Vec::new();
    cases.extend(life::cases());
    cases.extend(access::cases());
    cases.extend(spec::cases());
    cases.extend(shared::cases());
    cases.extend(clouds::cases());
    cases.extend(command::cases());
    cases.extend(accounts::cases());
    cases.extend(recorded::cases());
    cases.extend(plan_off::cases());
    let setup = move || async move {
        let options = Options {
            emulator: vec!["--switches".into(), answers.into()],
            ..Options::with_controller(&["--blocked-retry-interval", "3s", "--machine-scan-interval", "2s"])
        };
        Environment::start(options).await
    };
    harness::run(setup, cases)
}

/// The spec of most cases.
pub(crate) fn p2() -> Value {
    json!({"plan": {"tier": "P2", "agentlessScanning": {"state": "Enabled"}}})
}

/// Creates a subscription with these machines, in which plan and integration were enabled long ago.
pub(crate) fn protected(machines: &Value) -> Value {
    json!({
        "pricings": {"VirtualMachines": {"pricingTier": "Standard", "subPlan": "P2",
         "enablementTime": "2026-01-01T00:00:00Z"}},
        "settings": {"WDATP": true, "WDATP_UNIFIED_SOLUTION": true, "WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW": false},
        "machines": machines,
    })
}

/// Waits until `MachinesProtected` has this status and reason.
pub(crate) async fn machines(
    team: &Team<'_>,
    name: &str,
    status: &str,
    reason: &str,
) -> Result<Value, Error> {
    let what = format!("MachinesProtected={status}/{reason} of {}/{name}", team.namespace);
    team.until_holds(name, &what, TIMEOUT, |object| {
        condition(object, "MachinesProtected")
            .is_some_and(|found| found["status"] == status && found["reason"] == reason)
    })
    .await
}

/// Waits until the column PROTECTED has this value.
pub(crate) async fn shows(team: &Team<'_>, name: &str, summary: &str) -> Result<Value, Error> {
    let what = format!("PROTECTED {summary} of {}/{name}", team.namespace);
    team.until_holds(name, &what, TIMEOUT, |object| {
        object["status"]["display"]["machines"] == summary
    })
    .await
}

/// The machines in the status, by name.
pub(crate) fn worst<'v>(object: &'v Value, name: &str) -> &'v Value {
    let all = object["status"]["machines"]["worst"].as_array();
    let found = all.into_iter().flatten().find(|worst| worst["name"] == name);
    found.unwrap_or_else(|| {
        panic!(
            "{name} is not among the worst: {:#}",
            object["status"]["machines"]
        )
    })
}
