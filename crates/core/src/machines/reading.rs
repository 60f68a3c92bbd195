//! Results of the scans of one subscription.

use super::Summary;
use crate::{Timestamp, azure_error::AzureError};

/// Whether the identity may read machines. Resource Graph silently omits what an identity may not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may.
    Sufficient,
    /// The identity lacks these actions on the subscription, so the summary may lack machines.
    Missing(Vec<&'static str>),
    /// Unknown: the permissions could not be read.
    NotReadable,
}

/// The result of one complete scan of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionReading {
    /// The counts and the worst machines.
    pub summary: Summary,
    /// Whether the identity may read all machines.
    pub access: Access,
    /// `Free`, `P1` or `P2` according to Resource Graph; `None` if the plan is not visible.
    pub tier: Option<String>,
    /// When the scan of the subscription's group began.
    pub at: Timestamp,
}

/// The last successful scan of one subscription, and the failures since then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scans {
    /// The newest scan that succeeded.
    pub reading: Option<SubscriptionReading>,
    /// The failures after it.
    pub failing: Option<Failing>,
}

/// Consecutive failures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// The newest one.
    pub failure: AzureError,
    /// When the first one happened.
    pub since: Timestamp,
    /// The number of failures.
    pub times: u32,
}

impl Scans {
    /// Adds the result of a scan. A failed scan keeps the result of the last successful one.
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

    /// Whether the other one would be reported differently. Times alone do not count.
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

/// The number of consecutive failures after which the result counts as stale.
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
