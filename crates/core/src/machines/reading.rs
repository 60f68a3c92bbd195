//! What scans say about the machines of one subscription.

use super::Summary;
use crate::{Timestamp, azure_error::AzureError};

/// Whether the identity may read machines: Resource Graph leaves out what it may not, without a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may.
    Sufficient,
    /// These actions are missing at the subscription: the summary may lack machines.
    Missing(Vec<&'static str>),
    /// The permissions could not be read: nothing is known.
    NotReadable,
}

/// The machines of one subscription, completely read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionReading {
    /// The fold.
    pub summary: Summary,
    /// Whether all machines could be seen.
    pub access: Access,
    /// `Free`, `P1` or `P2` as Resource Graph tells; `None` where the plan is not visible.
    pub tier: Option<String>,
    /// When the reading of its group began.
    pub at: Timestamp,
}

/// What the scans of one subscription come to so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scans {
    /// The newest one that succeeded.
    pub reading: Option<SubscriptionReading>,
    /// The failures since then.
    pub failing: Option<Failing>,
}

/// Failures in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// The newest one.
    pub failure: AzureError,
    /// When the first one happened.
    pub since: Timestamp,
    /// How many.
    pub times: u32,
}

impl Scans {
    /// Adds the result of a scan. A failed one keeps the last good numbers.
    pub fn add(&mut self, result: Result<SubscriptionReading, AzureError>, now: Timestamp) {
        match result {
            Ok(reading) => {
                *self = Self {
                    reading: Some(reading),
                    failing: None,
                };
            }
            Err(failure) => {
                let before = self.failing.take();
                self.failing = Some(Failing {
                    failure,
                    since: before.as_ref().map_or(now, |before| before.since),
                    times: before.map_or(0, |before| before.times).saturating_add(1),
                });
            }
        }
    }

    /// Whether the other one would be told differently: times alone are no news.
    pub fn differs_from(&self, other: &Self) -> bool {
        self.reported() != other.reported()
    }

    fn reported(&self) -> impl PartialEq {
        let reading = self.reading.as_ref();
        let failing = self.failing.as_ref();
        (
            reading.map(|reading| (&reading.summary, &reading.access, &reading.tier)),
            failing.map(|failing| (&failing.failure.code, failing.times.min(STALE_AFTER))),
        )
    }
}

/// From this failure in a row on, the numbers count as stale.
pub const STALE_AFTER: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::{Account, Environment, MachineCounts};

    #[test]
    fn a_change_of_accounts_differs_and_a_later_time_does_not() {
        let reading = |id: &str, second: i64| {
            let account = Account {
                environment: Environment::Aws,
                id: id.into(),
            };
            let summary = Summary {
                accounts: [(account, MachineCounts::default())].into(),
                ..Summary::default()
            };
            Scans {
                reading: Some(SubscriptionReading {
                    summary,
                    access: Access::Sufficient,
                    tier: None,
                    at: Timestamp::from_second(second).unwrap(),
                }),
                failing: None,
            }
        };
        assert!(reading("1", 0).differs_from(&reading("2", 0)));
        assert!(!reading("1", 0).differs_from(&reading("1", 900)));
    }
}
