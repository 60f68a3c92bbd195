//! Until when Azure asked not to be called (I-5), by place and kind of request.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serverprotection_core::{azure_error::ErrorClass, retry::LONGEST_RETRY_AFTER};

/// Why nothing may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// Another write was in progress.
    Conflict,
    /// The service was not there.
    Unavailable,
    /// Too many requests.
    Throttled,
}

impl Why {
    /// The failures whose Retry-After holds for whoever asks next.
    pub(crate) const fn of(class: &ErrorClass) -> Option<Self> {
        match class {
            ErrorClass::Throttled(_) => Some(Self::Throttled),
            ErrorClass::Unavailable(_) => Some(Self::Unavailable),
            ErrorClass::Conflict => Some(Self::Conflict),
            _ => None,
        }
    }
}

/// The waits of one identity. A place is a subscription in lower case, or `{subscription}/…` for what has a budget of its
/// own in it.
#[derive(Debug, Default)]
pub(crate) struct Throttled {
    until: Mutex<HashMap<(String, bool), (Instant, Why)>>,
}

impl Throttled {
    /// How long nothing may be sent. Where the whole subscription waits, its parts do too.
    pub(crate) fn remaining(&self, scope: &str, writes: bool) -> Option<(Duration, Why)> {
        let all = self.lock();
        let until = |scope: &str| all.get(&(scope.to_owned(), writes)).copied();
        let (until, why) = until(scope).max(until(subscription(scope)))?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some((left, why))
    }

    /// Takes the Retry-After of a refusal with this code.
    pub(crate) fn record(&self, scope: &str, writes: bool, code: &str, (wait, why): (Duration, Why)) {
        let scope = match code {
            // ARM's own bucket, which everything in the subscription shares (docs/azure-api.md 8.5).
            "SubscriptionRequestsThrottled" => subscription(scope),
            _ => scope,
        };
        let now = Instant::now();
        // Capped where it was read, and here once more: `+` of a longer one would panic.
        let Some(end) = now.checked_add(wait.min(LONGEST_RETRY_AFTER)) else {
            return;
        };
        let mut all = self.lock();
        all.retain(|_, (until, _)| *until > now);
        // Several may be on their way, and their answers come in any order: the longest wait holds.
        let known = all.entry((scope.to_owned(), writes)).or_insert((now, why));
        *known = (*known).max((end, why));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, bool), (Instant, Why)>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn subscription(scope: &str) -> &str {
    scope.split('/').next().unwrap_or(scope)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WAIT: Duration = Duration::from_secs(30);

    proptest! {
        #[test]
        fn no_sequence_of_waits_panics_or_exceeds_the_cap(
            waits in proptest::collection::vec((any::<Duration>(), any::<bool>(), "[st](/[ab])?"), 0..8),
        ) {
            let throttled = Throttled::default();
            for (wait, writes, scope) in &waits {
                for why in [Why::Throttled, Why::Unavailable, Why::Conflict] {
                    throttled.record(scope, *writes, "SubscriptionRequestsThrottled", (*wait, why));
                    throttled.record(scope, *writes, "X", (Duration::MAX, why));
                }
                let (left, _) = throttled.remaining(scope, *writes).unwrap();
                prop_assert!(left <= LONGEST_RETRY_AFTER, "{left:?}");
            }
        }
    }

    #[test]
    fn why_nothing_is_sent_is_that_of_the_longest_wait() {
        let throttled = Throttled::default();
        throttled.record("s", false, "ServiceUnavailable", (WAIT, Why::Unavailable));
        throttled.record("s", false, "TooManyRequests", (WAIT / 2, Why::Throttled));
        assert_eq!(throttled.remaining("s", false).unwrap().1, Why::Unavailable);
        throttled.record("s", false, "TooManyRequests", (WAIT * 2, Why::Throttled));
        assert_eq!(throttled.remaining("s", false).unwrap().1, Why::Throttled);
    }

    #[test]
    fn of_several_waits_the_longest_holds_whatever_comes_last() {
        let throttled = Throttled::default();
        throttled.record("s", false, "TooManyRequests", (WAIT, Why::Throttled));
        let second = Duration::from_secs(1);
        throttled.record("s", false, "TooManyRequests", (second, Why::Throttled));
        let (left, _) = throttled.remaining("s", false).unwrap();
        assert!(left > Duration::from_secs(25), "{left:?}");
        assert_eq!(
            throttled.remaining("s", true),
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
            throttled.record("s/connectors", true, code, (WAIT, Why::Throttled));
            let waits = |scope: &str| throttled.remaining(scope, true).is_some();
            assert!(waits("s/connectors"), "{code}");
            assert_eq!((waits("s"), waits("s/other")), (everything, everything), "{code}");
            assert!(!waits("t/connectors"), "{code}");
        }
    }
}
