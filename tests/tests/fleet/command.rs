//! `serverprotection machines` against the same Azure, without a cluster.

use serverprotection_tests::{env::Environment, harness::Case};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    Vec::new()
}
