//! `make test-cluster`: the operator as its users install it, with pods on the node of `tests/cluster`. It runs on the
//! node, one case after the other.
#![allow(clippy::print_stdout, reason = "the output of this program is for the user")]

mod failures;
mod identities;
mod leader;
mod load;
mod node;
mod pods;
mod release;
mod samples;
mod setting;
mod tenant;
mod upgrades;

use crate::setting::Cluster;
use serverprotection_tests::harness::{self, Case};
use std::{process::ExitCode, time::Duration};

/// Time limit until a state is reached.
const TIMEOUT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let mut cases: Vec<Case<Cluster>> = Vec::new();
    cases.extend(samples::cases());
    cases.extend(identities::cases());
    cases.extend(failures::cases());
    cases.extend(upgrades::cases());
    harness::run_at_once(1, Cluster::start, cases)
}

/// Prints a result below the name of the case that runs.
fn report(text: &str) {
    println!("\n     {text}");
}
