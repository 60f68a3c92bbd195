//! SIGKILL and SIGTERM at every important moment: after a restart the controller reaches the same end state as without
//! a crash (I-6). Each run has its own controller, namespace, tenant and subscription.

// Clippy does not recognize a test with its own main function as a test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod connector;
mod fixture;
mod note;
mod points;
mod restored;
mod stop;

use std::{process::ExitCode, time::Duration};

use serverprotection_tests::{
    env::{Environment, Options},
    harness,
};

/// Time limit until a state is reached: several controllers start at once, on few cores.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(40);

/// Runs all cases with these answers of the switches (`default` or `alternate`).
pub(crate) fn run(answers: &'static str) -> ExitCode {
    let mut cases = points::cases();
    cases.extend(note::cases());
    cases.extend(stop::cases());
    cases.extend(connector::cases());
    cases.extend(restored::cases());
    let setup = move || {
        Environment::start(Options {
            emulator: vec!["--switches".into(), answers.into()],
            ..Options::default()
        })
    };
    harness::run(setup, cases)
}
