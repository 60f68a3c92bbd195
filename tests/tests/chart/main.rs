//! The Helm chart: what it renders, that the API server admits it, and that a controller works with the rights and
//! policies of a release. The cases share one cluster and change it, so they run one after the other.

// Clippy does not recognize a test with its own main function as a test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod install;
mod objects;
mod render;

use std::process::ExitCode;

use serverprotection_tests::{
    env::{Environment, Options},
    harness::{self, Case},
    helm::Release,
};

/// A name and a namespace that nothing in the repository mentions.
fn release() -> Release {
    Release::new("defender", "defender-ops")
}

fn main() -> ExitCode {
    let mut cases: Vec<Case<Environment>> = Vec::new();
    cases.extend(render::cases());
    cases.extend(install::cases());
    let options = Options {
        release: Some(release()),
        ..Options::default()
    };
    harness::run_at_once(1, || Environment::start(options), cases)
}
