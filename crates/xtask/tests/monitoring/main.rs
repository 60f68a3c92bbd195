//! Alert rules, dashboard, runbooks and the queries of the documentation agree with the table of metrics and with each
//! other. `make test-metrics` also runs the rules with promtool.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends there"
)]

mod dashboard;
mod files;
mod query;
mod rules;
mod runbooks;
