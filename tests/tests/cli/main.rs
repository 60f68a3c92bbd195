//! The commands of `serverprotection` that read a cluster, a manifest or Azure, against real ones. One case at a time:
//! some run without a controller, and the others start it.

// Clippy does not recognize a test with its own main function as a test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod debug;
mod gitops;
mod pages;
mod uninstall;
mod validate;

use std::{process::ExitCode, time::Duration};

use serverprotection_tests::{
    Error,
    controller_process::ControllerOptions,
    env::{Environment, Options},
    harness::{self, Case},
    users,
};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let mut cases: Vec<Case<Environment>> = Vec::new();
    cases.extend(validate::cases());
    cases.extend(uninstall::cases());
    cases.extend(debug::cases());
    cases.extend(gitops::cases());
    cases.extend(pages::cases());
    harness::run_at_once(1, || Environment::start(Options::default()), cases)
}

/// The path of the administrator's kubeconfig.
pub(crate) fn kubeconfig(environment: &Environment) -> Result<String, Error> {
    Ok(environment.plane.kubeconfig(users::ADMIN)?.display().to_string())
}

/// Starts the controller, unless it runs.
pub(crate) async fn with_controller(environment: &Environment) -> Result<(), Error> {
    let is_running = match environment.controller().await.as_mut() {
        Some(controller) => controller.is_running(),
        None => false,
    };
    if is_running {
        return Ok(());
    }
    environment.start_controller(&ControllerOptions::flags(&[])).await
}
