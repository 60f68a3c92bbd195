//! Which replica of the controller may write: the rules of the Lease that they share.
//!
//! A replica compares nothing with the clock of another one. It waits for the duration of the lease by its own monotonic
//! clock since it last saw the lease change, and it counts its own lease from the moment at which it sent the request
//! that renewed it.

use std::time::{Duration, Instant};

/// The times of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// How long the others wait for a leader that does not renew.
    pub duration: Duration,
    /// How long a leader that cannot renew still writes. Shorter than the duration.
    pub renew_deadline: Duration,
    /// The time between two renewals.
    pub retry_period: Duration,
}

impl Times {
    /// What is wrong with these times, if anything.
    pub fn problem(&self) -> Option<&'static str> {
        if self.duration < Duration::from_secs(1) {
            return Some("the lease must last at least 1s");
        }
        if self.renew_deadline >= self.duration {
            return Some("the renew deadline must be shorter than the lease");
        }
        let longest = self.renew_deadline / 2;
        (self.retry_period.is_zero() || self.retry_period > longest)
            .then_some("the retry period must be at most half of the renew deadline")
    }
}

/// A lease as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its `resourceVersion`.
    pub version: String,
    /// The replica that has it; empty if it was released.
    pub holder: String,
    /// How long it lasts.
    pub duration: Duration,
    /// When this process saw it change.
    pub changed_at: Instant,
}

/// What a candidate does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is no lease: create it.
    Create,
    /// Nobody has it, or its holder did not renew it: take it.
    Take,
    /// Renew the own lease.
    Renew,
    /// Another replica has it for this long, unless it renews it.
    Wait(Duration),
}

/// What the candidate with this identity does next.
pub fn decide(seen: Option<&Seen>, identity: &str, now: Instant) -> Step {
    let Some(seen) = seen else { return Step::Create };
    if seen.holder == identity {
        return Step::Renew;
    }
    if seen.holder.is_empty() {
        return Step::Take;
    }
    let left = seen
        .duration
        .saturating_sub(now.saturating_duration_since(seen.changed_at));
    if left.is_zero() {
        Step::Take
    } else {
        Step::Wait(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn seen(holder: &str, at: Instant) -> Seen {
        Seen {
            version: "1".into(),
            holder: holder.into(),
            duration: 15 * S,
            changed_at: at,
        }
    }

    #[test]
    fn a_live_holder_is_waited_for_and_a_dead_one_is_replaced() {
        let start = Instant::now();
        let step = |holder: &str, after| decide(Some(&seen(holder, start)), "me", start + after);
        assert_eq!(decide(None, "me", start), Step::Create);
        assert_eq!(step("me", Duration::ZERO), Step::Renew);
        assert_eq!(step("me", 100 * S), Step::Renew);
        assert_eq!(step("", Duration::ZERO), Step::Take);
        assert_eq!(step("other", Duration::ZERO), Step::Wait(15 * S));
        assert_eq!(step("other", 14 * S), Step::Wait(S));
        assert_eq!(step("other", 15 * S), Step::Take);
        // A clock that does not advance costs time, never safety.
        assert_eq!(
            decide(Some(&seen("other", start + S)), "me", start),
            Step::Wait(15 * S)
        );
    }

    #[test]
    fn the_times_leave_a_gap_between_two_leaders() {
        let times = |duration, renew_deadline, retry_period| Times {
            duration,
            renew_deadline,
            retry_period,
        };
        assert_eq!(times(15 * S, 10 * S, 2 * S).problem(), None);
        for wrong in [
            times(15 * S, 15 * S, 2 * S),
            times(15 * S, 10 * S, 6 * S),
            times(15 * S, 10 * S, Duration::ZERO),
            times(S / 2, S / 4, S / 10),
        ] {
            assert!(wrong.problem().is_some(), "{wrong:?}");
        }
    }
}
