//! The validity of a client certificate: when to say that it expires soon.

use std::time::Duration;

use crate::{Timestamp, jiff::SignedDuration};

/// A certificate with a long validity expires soon during its last 14 days.
const LAST_DAYS: SignedDuration = SignedDuration::from_hours(14 * 24);
/// A certificate with a short validity expires soon during the last sixth of it. cert-manager renews after two thirds.
const LAST_PART: i32 = 6;

/// From when until when a client certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from: Timestamp,
    /// When it expires.
    pub until: Timestamp,
}

impl Validity {
    /// Whether the certificate should have been renewed.
    pub fn expires_soon(self, now: Timestamp) -> bool {
        now >= self.warned_from()
    }

    /// The time until the validity must be checked again; `None` if the certificate has expired.
    pub fn next_change(self, now: Timestamp) -> Option<Duration> {
        let changes = [self.from, self.warned_from(), self.until];
        let next = changes.into_iter().find(|at| *at > now)?;
        Duration::try_from(next.duration_since(now)).ok()
    }

    fn warned_from(self) -> Timestamp {
        let whole = self.until.duration_since(self.from);
        let warned = LAST_DAYS.min(whole / LAST_PART);
        self.until.checked_sub(warned).unwrap_or(self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn long_certificates_expire_soon_for_two_weeks_and_short_ones_for_a_sixth() {
        for (days, soon_after) in [(365, 351), (90, 76), (84, 70), (60, 50), (6, 5)] {
            let validity = Validity {
                from: at(0),
                until: at(days * DAY),
            };
            assert!(!validity.expires_soon(at(soon_after * DAY - 1)), "{days}");
            assert!(validity.expires_soon(at(soon_after * DAY)), "{days}");
        }
    }

    #[test]
    fn it_is_checked_again_when_something_changes() {
        let validity = Validity {
            from: at(10 * DAY),
            until: at(16 * DAY),
        };
        for (day, next) in [
            (9, Some(1)),
            (10, Some(5)),
            (14, Some(1)),
            (15, Some(1)),
            (16, None),
        ] {
            let wait = validity.next_change(at(day * DAY)).map(|wait| wait.as_secs());
            assert_eq!(wait, next.map(|days| days * DAY.unsigned_abs()), "day {day}");
        }
    }
}
