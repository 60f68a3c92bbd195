//! Situations.
use super::{changes::Standing, observed::{Plan, Settings}};
use serverprotection_api::Tier;

/// A subscription on which nothing is on.
pub(crate) fn blank() -> Standing {
    Standing {
        plan: Plan {
            tier: Tier::Free,
            enforce: None,
            extensions: Vec::new(),
            coverage: None,
            free_trial_remaining: None,
            enabled_since: None,
        },
        settings: Settings::default(),
        assessment: false,
    }
}
