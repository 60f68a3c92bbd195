//! Until when Azure asked not to be called (law 5), by place and kind of request.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The waits of one identity. A place is a subscription in lower case, or `{subscription}/…` for what has a budget of its
/// own in it.
#[derive(Debug, Default)]
pub(crate) struct Throttled {
    until: Mutex<HashMap<(String, bool), Instant>>,
}

impl Throttled {
    /// How long nothing may be sent. Where the whole subscription waits, its parts do too.
    pub(crate) fn wait(&self, place: &str, writes: bool) -> Option<Duration> {
        let all = self.lock();
        let until = |place: &str| all.get(&(place.to_owned(), writes)).copied();
        let until = until(place).max(until(subscription(place)))?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Takes the Retry-After of a refusal with this code.
    pub(crate) fn remember(&self, place: &str, writes: bool, code: &str, wait: Duration) {
        let place = match code {
            // ARM's own bucket, which everything in the subscription shares (contract.md 8.5).
            "SubscriptionRequestsThrottled" => subscription(place),
            _ => place,
        };
        let now = Instant::now();
        let mut all = self.lock();
        all.retain(|_, until| *until > now);
        // Several may be on their way, and their answers come in any order: the longest wait holds.
        let until = all.entry((place.to_owned(), writes)).or_insert(now);
        *until = (*until).max(now + wait);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, bool), Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn subscription(place: &str) -> &str {
    place.split('/').next().unwrap_or(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(30);

    #[test]
    fn of_several_waits_the_longest_holds_whatever_comes_last() {
        let throttled = Throttled::default();
        throttled.remember("s", false, "TooManyRequests", WAIT);
        throttled.remember("s", false, "TooManyRequests", Duration::from_secs(1));
        let left = throttled.wait("s", false).unwrap();
        assert!(left > Duration::from_secs(25), "{left:?}");
        assert_eq!(
            throttled.wait("s", true),
            None,
            "writes have a budget of their own"
        );
    }

    #[test]
    fn a_budget_within_a_subscription_holds_up_nothing_else_and_the_subscriptions_own_everything() {
        for (code, everything) in [
            ("ResourceRequestsThrottled", false),
            ("TooManyRequests", false),
            ("SubscriptionRequestsThrottled", true),
        ] {
            let throttled = Throttled::default();
            throttled.remember("s/connectors", true, code, WAIT);
            let waits = |place: &str| throttled.wait(place, true).is_some();
            assert!(waits("s/connectors"), "{code}");
            assert_eq!((waits("s"), waits("s/other")), (everything, everything), "{code}");
            assert!(!waits("t/connectors"), "{code}");
        }
    }
}
