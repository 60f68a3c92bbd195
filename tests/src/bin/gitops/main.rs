//! `make test-gitops`: the real controller and the emulated Azure under the real tools of `GitOps`. Each case has a
//! repository, a namespace and a subscription of its own.
#![allow(clippy::print_stdout, reason = "the output of this program is for the user")]

mod argo;
mod azure;
mod flux;
mod flux_cases;
mod flux_drift;
mod flux_fleet;
mod flux_prune;
mod git_server;
mod kustomization;
mod objects;
mod repository;
mod setting;
mod steps;

use crate::setting::Gitops;
use serverprotection_tests::harness::{self, Case};
use std::{process::ExitCode, time::Duration};

/// Time limit until a state is reached.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Cases that run at once: most of them wait for a tool.
const AT_ONCE: usize = 3;

fn main() -> ExitCode {
    let mut cases: Vec<Case<Gitops>> = Vec::new();
    // The slowest cases first; the largest one last, because it slows down the others.
    cases.extend(flux_drift::cases());
    cases.extend(flux_prune::cases());
    cases.extend(flux_cases::cases());
    cases.extend(flux_fleet::cases());
    cases.extend(argo::cases());
    harness::run_at_once(AT_ONCE, Gitops::start, cases)
}
