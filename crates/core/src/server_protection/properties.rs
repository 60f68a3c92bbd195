//! Properties of the decisions, over generated specs and subscriptions and a small model of Azure.
//!
//! * `specs`: what admission lets through, and what a subscription may look like;
//! * `azure`: what a write does there (docs/azure-api.md 1 to 3.1), with both answers where the contract is unconfirmed;
//! * `writes`: differences, changes and plan writes;
//! * `steps`: what happens to an object, and in between;
//! * `world`: an object, its status and its subscription, walked through visits, faults and foreign writers;
//! * `reconciles`: what must hold on every status and every decision of such a walk.

mod azure;
mod reconciles;
mod specs;
mod steps;
mod world;
mod writes;

use proptest::test_runner::Config;

pub(super) use specs::minimal;

/// The whole suite stays within seconds; `PROPTEST_CASES=25600` looks a hundred times as long. Failures are printed with
/// their smallest input; nothing is written to disk.
fn cases(cases: u32) -> Config {
    let config = Config::default();
    Config {
        cases: cases.saturating_mul(config.cases) / 256,
        failure_persistence: None,
        ..config
    }
}
