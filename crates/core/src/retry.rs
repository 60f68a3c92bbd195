//! When to come back. Pure: attempts and a jitter between 0 and 1 come in from outside.

use std::time::Duration;

use crate::azure_error::ErrorClass;

/// A 429 without Retry-After waits this long (docs/architecture.md 7).
const THROTTLED_WITHOUT_WORD: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(300);
/// The longest wait that Azure can ask for: one broken header must not put an object to sleep for years.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// A shorter wait is as good as none, and must not become a hot loop.
const SHORTEST_RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long to wait after the `attempts`-th failure in a row (1 for the first).
/// `slow` is the clock for what a human must mend, at most five minutes.
pub fn after(class: &ErrorClass, attempts: u32, slow: Duration, jitter: f64) -> Duration {
    match class {
        ErrorClass::Throttled(None) => not_before(THROTTLED_WITHOUT_WORD, jitter),
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
        | ErrorClass::NotRegistered => spread(slow, jitter),
    }
}

/// How long to wait after a write that failed. A write that the provider refuses for want of its registration is followed
/// by a reading, which finds the registration's state.
pub fn after_write(class: &ErrorClass, attempts: u32, slow: Duration, jitter: f64) -> Duration {
    match class {
        ErrorClass::NotRegistered => spread(REGISTRATION_POLL, jitter),
        class => after(class, attempts, slow, jitter),
    }
}

/// Between two readings of a registration that runs.
pub const REGISTRATION_POLL: Duration = Duration::from_secs(30);

/// While a registration runs: quickly at first, then every half minute.
pub fn registration(attempts: u32) -> Duration {
    doubled(Duration::from_secs(2), attempts, REGISTRATION_POLL)
}

/// ± 10 %, so that objects do not stay in step after a restart.
pub fn spread(duration: Duration, jitter: f64) -> Duration {
    scaled(duration, 0.2f64.mul_add(jitter.clamp(0.0, 1.0), 0.9))
}

/// Never earlier than Azure asked, so the jitter only adds; and never later than an hour, whatever it asked.
fn not_before(wait: Duration, jitter: f64) -> Duration {
    scaled(wait, 0.1f64.mul_add(jitter.clamp(0.0, 1.0), 1.0)).min(LONGEST_RETRY_AFTER)
}

/// Longer by this factor. Unlike `mul_f64` it saturates: the duration may come from a header or a spec.
pub(crate) fn scaled(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

fn backed_off(attempts: u32) -> Duration {
    doubled(Duration::from_secs(1), attempts, LONGEST)
}

fn doubled(first: Duration, attempts: u32, most: Duration) -> Duration {
    first
        .saturating_mul(1 << attempts.saturating_sub(1).min(16))
        .min(most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As headers and specs spell them: the ends of the range are likelier than chance makes them.
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
            // What a spec or a flag asks for saturates.
            let slow_at_least = scaled(slow, 0.89);
            prop_assert!(after(&ErrorClass::Refused, attempts, slow, jitter) >= slow_at_least);
            prop_assert!(spread(slow, jitter) >= slow_at_least);
        }
    }

    #[test]
    fn a_throttled_answer_that_asks_for_no_time_backs_off_by_itself() {
        let now = ErrorClass::Throttled(Some(Duration::ZERO));
        let waits: Vec<_> = (1..=4)
            .map(|attempt| after(&now, attempt, LONGEST, 0.0).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8]);
    }

    #[test]
    fn an_outage_lasts_as_long_as_azure_said_and_backs_off_beyond() {
        let unavailable = ErrorClass::Unavailable(Duration::from_secs(90));
        let wait = |attempt| after(&unavailable, attempt, LONGEST, 0.0).as_secs();
        assert_eq!((wait(1), wait(7), wait(8), wait(20)), (90, 90, 128, 300));
    }

    #[test]
    fn retry_after_is_never_undercut() {
        let word = Duration::from_secs(17);
        for jitter in [0.0, 0.5, 1.0] {
            assert!(after(&ErrorClass::Throttled(Some(word)), 1, LONGEST, jitter) >= word);
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
    fn errors_that_need_a_person_are_retried_slowly() {
        let slow = Duration::from_secs(300);
        assert!(after(&ErrorClass::Permission(None), 1, slow, 0.0) >= Duration::from_secs(270));
    }
}
