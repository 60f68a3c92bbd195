//! Delays before the next attempt. Pure: the caller passes the number of attempts and a jitter between 0 and 1.

use std::time::Duration;

use crate::azure_error::ErrorClass;

/// The delay after a 429 without `Retry-After` (docs/architecture.md 7).
const THROTTLED_WITHOUT_RETRY_AFTER: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(300);
/// The longest delay that Azure can request: an invalid header must not stop the reconciles of an object for years.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// The shortest delay, which prevents a hot loop.
const SHORTEST_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The delay after the `attempts`-th consecutive failure (1 for the first). `slow` is the retry interval for errors
/// that need user action, at most five minutes.
pub fn after(class: &ErrorClass, attempts: u32, slow: Duration, jitter: f64) -> Duration {
    match class {
        ErrorClass::Throttled(None) => not_before(THROTTLED_WITHOUT_RETRY_AFTER, jitter),
        ErrorClass::Throttled(Some(wait)) if *wait >= SHORTEST_RETRY_AFTER => not_before(*wait, jitter),
        ErrorClass::Throttled(Some(_)) => not_before(backed_off(attempts), jitter),
        ErrorClass::Unavailable(wait) => not_before(backed_off(attempts).max(*wait), jitter),
        ErrorClass::Conflict => spread(
            doubled(Duration::from_secs(30), attempts, Duration::from_secs(120)),
            jitter,
        ),
        ErrorClass::Transient => spread(backed_off(attempts), jitter),
        ErrorClass::Credential
        | ErrorClass::Permission(_)
        | ErrorClass::NotFound
        | ErrorClass::Refused
        | ErrorClass::CloudAuthentication(_)
        | ErrorClass::NotRegistered => spread(slow, jitter),
    }
}

/// The delay after a failed write. If the provider refuses a write because it is not registered, the next reconcile
/// follows soon, to read the state of the registration.
pub fn after_write(class: &ErrorClass, attempts: u32, slow: Duration, jitter: f64) -> Duration {
    match class {
        ErrorClass::NotRegistered => spread(REGISTRATION_POLL, jitter),
        class => after(class, attempts, slow, jitter),
    }
}

/// The longest delay between two reads of a registration in progress.
pub const REGISTRATION_POLL: Duration = Duration::from_secs(30);

/// The delay while a registration is in progress: short at first, then half a minute.
pub fn registration(attempts: u32) -> Duration {
    doubled(Duration::from_secs(2), attempts, REGISTRATION_POLL)
}

/// Varies a delay by ± 10 %, so that objects do not reconcile at the same time after a restart.
pub fn spread(duration: Duration, jitter: f64) -> Duration {
    scaled(duration, 0.2f64.mul_add(jitter.clamp(0.0, 1.0), 0.9))
}

/// Never earlier than Azure requested, so the jitter only adds; and never later than the longest delay.
fn not_before(wait: Duration, jitter: f64) -> Duration {
    scaled(wait, 0.1f64.mul_add(jitter.clamp(0.0, 1.0), 1.0)).min(LONGEST_RETRY_AFTER)
}

/// Multiplies a duration. Unlike `mul_f64` it saturates, because the duration may come from a header or a spec.
pub(crate) fn scaled(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

fn backed_off(attempts: u32) -> Duration {
    doubled(Duration::from_secs(1), attempts, LONGEST)
}

pub(crate) fn doubled(first: Duration, attempts: u32, most: Duration) -> Duration {
    first
        .saturating_mul(1 << attempts.saturating_sub(1).min(16))
        .min(most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Delays as headers and specs contain them; the ends of the range are generated more often than at random.
    fn any_wait() -> impl Strategy<Value = Duration> {
        prop_oneof![
            any::<Duration>(),
            Just(Duration::MAX),
            Just(Duration::ZERO),
            Just(Duration::from_secs(u64::MAX)),
            (0_u64..10_000).prop_map(Duration::from_secs),
        ]
    }

    proptest! {
        #[test]
        fn no_wait_of_azure_panics_or_exceeds_the_cap(
            wait in any_wait(),
            attempts in any::<u32>(),
            slow in any_wait(),
            jitter in 0.0..=1.0,
        ) {
            for class in [ErrorClass::Throttled(Some(wait)), ErrorClass::Unavailable(wait)] {
                let next = after(&class, attempts, slow, jitter);
                prop_assert!(next <= LONGEST_RETRY_AFTER, "{next:?} is beyond the cap");
                prop_assert!(next >= wait.min(LONGEST_RETRY_AFTER), "{next:?} is before Azure's {wait:?}");
                prop_assert!(next >= SHORTEST_RETRY_AFTER, "{next:?} is a hot loop");
            }
            // Durations from a spec or a flag saturate.
            let slow_at_least = scaled(slow, 0.89);
            prop_assert!(after(&ErrorClass::Refused, attempts, slow, jitter) >= slow_at_least);
            prop_assert!(spread(slow, jitter) >= slow_at_least);
        }
    }

    #[test]
    fn a_429_with_a_delay_of_zero_backs_off() {
        let now = ErrorClass::Throttled(Some(Duration::ZERO));
        let waits: Vec<_> = (1..=4)
            .map(|attempt| after(&now, attempt, LONGEST, 0.0).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8]);
    }

    #[test]
    fn a_503_waits_at_least_as_long_as_azure_requested_and_backs_off_beyond() {
        let unavailable = ErrorClass::Unavailable(Duration::from_secs(90));
        let wait = |attempt| after(&unavailable, attempt, LONGEST, 0.0).as_secs();
        assert_eq!((wait(1), wait(7), wait(8), wait(20)), (90, 90, 128, 300));
    }

    #[test]
    fn retry_after_is_never_undercut() {
        let requested = Duration::from_secs(17);
        for jitter in [0.0, 0.5, 1.0] {
            assert!(after(&ErrorClass::Throttled(Some(requested)), 1, LONGEST, jitter) >= requested);
        }
    }

    #[test]
    fn transient_failures_back_off_from_a_second_to_five_minutes() {
        let waits: Vec<_> = (1..=12)
            .map(|attempt| after(&ErrorClass::Transient, attempt, LONGEST, 0.5).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    }

    #[test]
    fn errors_that_need_user_action_are_retried_slowly() {
        let slow = Duration::from_secs(300);
        assert!(after(&ErrorClass::Permission(None), 1, slow, 0.0) >= Duration::from_secs(270));
    }
}
