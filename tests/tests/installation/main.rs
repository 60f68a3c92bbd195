//! What an installation grants and restricts: each right of the controller is needed, the policies are checked, missing
//! CRDs are named, and the proxy of the environment is used. Most cases change what all share, so they run alone.

// Clippy does not recognize a test with its own main function as a test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod cluster_rights;
mod crds;
mod policies;
mod proxies;
mod rights;
mod roles;

use std::{process::ExitCode, time::Duration};

use serverprotection_tests::{
    env::{Environment, Options},
    harness::{self, Case},
};

/// Time limit until a state is reached.
const TIMEOUT: Duration = Duration::from_secs(40);
/// Cases at once. What does not work without a right is waited for, which costs nothing.
const SIDE_BY_SIDE: usize = 6;

fn main() -> ExitCode {
    let alone = [crds::cases(), proxies::cases(), policies::cases()];
    let mut cases: Vec<Case<Environment>> = alone.into_iter().flatten().map(Case::alone).collect();
    cases.extend(rights::cases());
    harness::run_at_once(SIDE_BY_SIDE, || Environment::start(Options::default()), cases)
}
