//! Waits that Azure asked for (I-5), by budget and kind of request.

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

/// What Azure throttles together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Budget<'a> {
    /// The requests for a subscription, by its id in lower case.
    Subscription(&'a str),
    /// The connectors of a subscription, which are throttled separately (docs/azure-api.md 4.7), so that the plan of the
    /// subscription need not wait.
    Connectors(&'a str),
    /// Requests that are not about one subscription.
    Tenant,
    /// Queries of Resource Graph, which wait with the tenant. Their own waits are not recorded here, because `quota` has
    /// them.
    ResourceGraph,
}

impl<'a> Budget<'a> {
    /// The subscription, for log lines.
    pub(crate) const fn subscription(self) -> Option<&'a str> {
        match self {
            Self::Subscription(id) | Self::Connectors(id) => Some(id),
            Self::Tenant | Self::ResourceGraph => None,
        }
    }

    /// The budget of Azure Resource Manager, which includes this one.
    fn of_resource_manager(self) -> Self {
        self.subscription().map_or(Self::Tenant, Self::Subscription)
    }

    /// The key of its waits; `None` if they are not recorded.
    fn key(self, writes: bool) -> Option<Key> {
        let (id, part) = match self {
            Self::Subscription(id) => (id, Part::Whole),
            Self::Connectors(id) => (id, Part::Connectors),
            Self::Tenant => ("", Part::Whole),
            Self::ResourceGraph => return None,
        };
        Some((id.to_owned(), part, writes))
    }
}

/// Subscription, empty for those of the tenant; the part of it; whether the wait is for writes.
type Key = (String, Part, bool);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    Whole,
    Connectors,
}

/// The waits of one principal.
#[derive(Debug, Default)]
pub(crate) struct Throttled {
    until: Mutex<HashMap<Key, (Instant, Why)>>,
}

impl Throttled {
    /// The remaining wait of a budget, or of its whole subscription.
    pub(crate) fn remaining(&self, budget: Budget<'_>, writes: bool) -> Option<(Duration, Why)> {
        let all = self.lock();
        let wait = |budget: Budget<'_>| all.get(&budget.key(writes)?).copied();
        let (until, why) = wait(budget).max(wait(budget.of_resource_manager()))?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some((left, why))
    }

    /// Records the Retry-After of an error with this code.
    pub(crate) fn record(&self, budget: Budget<'_>, writes: bool, code: &str, (wait, why): (Duration, Why)) {
        let budget = match code {
            // The bucket of Azure Resource Manager, which the whole subscription shares (docs/azure-api.md 8.5).
            "SubscriptionRequestsThrottled" if budget != Budget::ResourceGraph => {
                budget.of_resource_manager()
            }
            _ => budget,
        };
        let now = Instant::now();
        // Already capped when it was read; repeated here because `+` with a longer one would panic.
        let (Some(key), Some(end)) = (budget.key(writes), now.checked_add(wait.min(LONGEST_RETRY_AFTER)))
        else {
            return;
        };
        let mut all = self.lock();
        all.retain(|_, (until, _)| *until > now);
        // Responses of concurrent requests arrive in any order: the longest wait counts.
        let known = all.entry(key).or_insert((now, why));
        *known = (*known).max((end, why));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, (Instant, Why)>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WAIT: Duration = Duration::from_secs(30);
    const S: Budget<'_> = Budget::Subscription("s");
    const BUDGETS: [Budget<'_>; 4] = [
        S,
        Budget::Connectors("s"),
        Budget::Connectors("t"),
        Budget::Tenant,
    ];

    proptest! {
        #[test]
        fn no_sequence_of_waits_panics_or_exceeds_the_cap(
            waits in proptest::collection::vec((any::<Duration>(), any::<bool>(), 0..BUDGETS.len()), 0..8),
        ) {
            let throttled = Throttled::default();
            for (wait, writes, budget) in &waits {
                let budget = BUDGETS[*budget];
                for why in [Why::Throttled, Why::Unavailable, Why::Conflict] {
                    throttled.record(budget, *writes, "SubscriptionRequestsThrottled", (*wait, why));
                    throttled.record(budget, *writes, "X", (Duration::MAX, why));
                }
                let (left, _) = throttled.remaining(budget, *writes).unwrap();
                prop_assert!(left <= LONGEST_RETRY_AFTER, "{left:?}");
            }
        }
    }

    #[test]
    fn the_reason_is_that_of_the_longest_wait() {
        let throttled = Throttled::default();
        throttled.record(S, false, "ServiceUnavailable", (WAIT, Why::Unavailable));
        throttled.record(S, false, "TooManyRequests", (WAIT / 2, Why::Throttled));
        assert_eq!(throttled.remaining(S, false).unwrap().1, Why::Unavailable);
        throttled.record(S, false, "TooManyRequests", (WAIT * 2, Why::Throttled));
        assert_eq!(throttled.remaining(S, false).unwrap().1, Why::Throttled);
    }

    #[test]
    fn the_longest_of_several_waits_counts() {
        let throttled = Throttled::default();
        throttled.record(S, false, "TooManyRequests", (WAIT, Why::Throttled));
        let second = Duration::from_secs(1);
        throttled.record(S, false, "TooManyRequests", (second, Why::Throttled));
        let (left, _) = throttled.remaining(S, false).unwrap();
        assert!(left > Duration::from_secs(25), "{left:?}");
        assert_eq!(
            throttled.remaining(S, true),
            None,
            "writes are throttled separately"
        );
    }

    #[test]
    fn connectors_wait_alone_and_a_subscription_waits_with_its_connectors() {
        for (code, everything) in [
            ("ResourceRequestsThrottled", false),
            ("TooManyRequests", false),
            ("SubscriptionRequestsThrottled", true),
        ] {
            let throttled = Throttled::default();
            throttled.record(Budget::Connectors("s"), true, code, (WAIT, Why::Throttled));
            let waits = |budget| throttled.remaining(budget, true).is_some();
            assert!(waits(Budget::Connectors("s")), "{code}");
            assert_eq!(waits(S), everything, "{code}");
            assert!(
                !waits(Budget::Connectors("t")) && !waits(Budget::Tenant),
                "{code}"
            );
        }
    }

    #[test]
    fn queries_wait_with_the_tenant_and_not_for_each_other() {
        let throttled = Throttled::default();
        throttled.record(
            Budget::ResourceGraph,
            false,
            "SubscriptionRequestsThrottled",
            (WAIT, Why::Throttled),
        );
        for budget in [Budget::ResourceGraph, Budget::Tenant] {
            assert_eq!(throttled.remaining(budget, false), None);
        }
        throttled.record(Budget::Tenant, false, "TooManyRequests", (WAIT, Why::Throttled));
        assert!(throttled.remaining(Budget::ResourceGraph, false).is_some());
    }
}
