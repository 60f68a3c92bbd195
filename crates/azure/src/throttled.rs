//! Waits that Azure asked for (I-5), by scope and kind of request.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serverprotection_core::{azure_error::ErrorClass, retry::LONGEST_RETRY_AFTER};

/// Why requests must wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// Another write was in progress.
    Conflict,
    /// The service was unavailable.
    Unavailable,
    /// Too many requests.
    Throttled,
}

impl Why {
    /// The reason, for errors whose Retry-After applies to other callers too.
    pub(crate) const fn of(class: &ErrorClass) -> Option<Self> {
        match class {
            ErrorClass::Throttled(_) => Some(Self::Throttled),
            ErrorClass::Unavailable(_) => Some(Self::Unavailable),
            ErrorClass::Conflict => Some(Self::Conflict),
            _ => None,
        }
    }
}

/// The waits of one identity. A scope is a subscription in lower case, or `{subscription}/…` for a resource that Azure
/// throttles separately.
#[derive(Debug, Default)]
pub(crate) struct Throttled {
    until: Mutex<HashMap<(String, bool), (Instant, Why)>>,
}

impl Throttled {
    /// The remaining wait of a scope, or of its whole subscription.
    pub(crate) fn remaining(&self, scope: &str, writes: bool) -> Option<(Duration, Why)> {
        let all = self.lock();
        let until = |scope: &str| all.get(&(scope.to_owned(), writes)).copied();
        let (until, why) = until(scope).max(until(subscription(scope)))?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some((left, why))
    }

    /// Records the Retry-After of an error with this code.
    pub(crate) fn record(&self, scope: &str, writes: bool, code: &str, (wait, why): (Duration, Why)) {
        let scope = match code {
            // The bucket of Azure Resource Manager, which the whole subscription shares (docs/azure-api.md 8.5).
            "SubscriptionRequestsThrottled" => subscription(scope),
            _ => scope,
        };
        let now = Instant::now();
        // Already capped when it was read; repeated here because `+` with a longer one would panic.
        let Some(end) = now.checked_add(wait.min(LONGEST_RETRY_AFTER)) else {
            return;
        };
        let mut all = self.lock();
        all.retain(|_, (until, _)| *until > now);
        // Responses of concurrent requests arrive in any order: the longest wait counts.
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
    fn the_reason_is_that_of_the_longest_wait() {
        let throttled = Throttled::default();
        throttled.record("s", false, "ServiceUnavailable", (WAIT, Why::Unavailable));
        throttled.record("s", false, "TooManyRequests", (WAIT / 2, Why::Throttled));
        assert_eq!(throttled.remaining("s", false).unwrap().1, Why::Unavailable);
        throttled.record("s", false, "TooManyRequests", (WAIT * 2, Why::Throttled));
        assert_eq!(throttled.remaining("s", false).unwrap().1, Why::Throttled);
    }

    #[test]
    fn the_longest_of_several_waits_counts() {
        let throttled = Throttled::default();
        throttled.record("s", false, "TooManyRequests", (WAIT, Why::Throttled));
        let second = Duration::from_secs(1);
        throttled.record("s", false, "TooManyRequests", (second, Why::Throttled));
        let (left, _) = throttled.remaining("s", false).unwrap();
        assert!(left > Duration::from_secs(25), "{left:?}");
        assert_eq!(
            throttled.remaining("s", true),
            None,
            "writes are throttled separately"
        );
    }

    #[test]
    fn a_scope_waits_alone_and_a_subscription_with_all_its_scopes() {
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
