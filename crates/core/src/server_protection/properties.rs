//! Properties of the decisions, over generated specs and subscriptions and a small model of Azure.
//!
//! * `specs`: specs that pass admission, and possible subscriptions;
//! * `azure`: the effect of a write (docs/azure-api.md 1 to 3.1), with both behaviors of unconfirmed points;
//! * `writes`: differences, changes and plan writes;
//! * `steps`: reconciles, and everything that happens between them;
//! * `world`: an object with its status and subscription, over reconciles, faults and foreign changes;
//! * `reconciles`: the invariants of every status and every decision of such a walk.

mod azure;
mod reconciles;
mod specs;
mod steps;
mod world;
mod writes;

use proptest::test_runner::Config;

pub(super) use specs::minimal;

/// The whole suite takes seconds; `PROPTEST_CASES=25600` runs a hundred times as many cases. Failures are printed with
/// their smallest input; nothing is written to disk.
fn cases(cases: u32) -> Config {
    let config = Config::default();
    Config {
        cases: cases.saturating_mul(config.cases) / 256,
        failure_persistence: None,
        ..config
    }
}
