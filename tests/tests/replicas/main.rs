//! Two controllers as real processes: one writes, the other one takes over, and a former leader writes nothing.

// Clippy does not recognize a test with its own main function as a test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod lease;
mod pair;
mod takeover;

use std::{process::ExitCode, time::Duration};

use serverprotection_tests::{
    env::{Environment, Options},
    harness,
};

/// Time limit until a state is reached.
const TIMEOUT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let mut cases = takeover::cases();
    cases.extend(lease::cases());
    harness::run(|| Environment::start(Options::default()), cases)
}
