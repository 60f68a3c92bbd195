//! What an installation grants and restricts: each right of the controller is needed, the policies are checked, missing
//! CRDs are named, and the proxy of the environment is used. The cases change what they share, so they run one after
//! the other.

// Clippy does not recognize a test with its own main function as a test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod cluster_rights;
mod crds;
mod policies;
mod proxies;
mod rights;

use std::{process::ExitCode, time::Duration};

use serverprotection_tests::{
    env::{Environment, Options},
    harness::{self, Case},
};

/// Time limit until a state is reached.
const TIMEOUT: Duration = Duration::from_secs(40);

fn main() -> ExitCode {
    let mut cases: Vec<Case<Environment>> = Vec::new();
    cases.extend(crds::cases());
    cases.extend(proxies::cases());
    cases.extend(rights::cases());
    cases.extend(policies::cases());
    harness::run_at_once(1, || Environment::start(Options::default()), cases)
}
