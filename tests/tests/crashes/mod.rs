//! SIGKILL and SIGTERM at every moment that matters: a restart with empty memory ends where an undisturbed run ends
//! (I-6). Each run has a controller, a namespace, a tenant and a subscription of its own.

// Clippy does not see that a test with its own main is one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod connector;
mod fixture;
mod note;
mod points;
mod stop;

use std::{process::ExitCode, time::Duration};

use serverprotection_tests::{
    env::{Environment, Options},
    harness,
};

/// How long a state may take to be reached: several controllers start at once, on few cores.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(40);

/// Runs all cases with these answers of the switches (`default` or `alternate`).
pub(crate) fn run(answers: &'static str) -> ExitCode {
    let mut cases = points::cases();
    cases.extend(note::cases());
    cases.extend(stop::cases());
    cases.extend(connector::cases());
    let setup = move || {
        Environment::start(Options {
            emulator: vec!["--switches".into(), answers.into()],
            ..Options::default()
        })
    };
    harness::run(setup, cases)
}
