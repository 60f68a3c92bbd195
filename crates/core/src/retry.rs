//! When to come back. Pure: attempts and a jitter between 0 and 1 come in from outside.

use std::time::Duration;

use crate::failure::Class;

/// A 429 without Retry-After waits this long (conventions.md, CAPZ).
const THROTTLED_WITHOUT_WORD: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(300);

/// How long to wait after the `attempts`-th failure in a row (1 for the first).
/// `slow` is the clock for what a human must mend, at most five minutes.
pub fn after(class: &Class, attempts: u32, slow: Duration, jitter: f64) -> Duration {
    match class {
        // Never before Azure's own word, so the jitter only adds.
        Class::Throttled(word) => word
            .unwrap_or(THROTTLED_WITHOUT_WORD)
            .mul_f64(0.1f64.mul_add(jitter, 1.0)),
        Class::Conflict => spread(
            doubled(Duration::from_secs(30), attempts, Duration::from_secs(120)),
            jitter,
        ),
        Class::Transient => spread(doubled(Duration::from_secs(1), attempts, LONGEST), jitter),
        Class::Credential
        | Class::Permission(_)
        | Class::NotFound
        | Class::Refused
        | Class::NotRegistered => spread(slow, jitter),
    }
}

/// How long to wait after a write that failed. A write that the provider refuses for want of its registration is followed
/// by a reading, which finds the registration's state.
pub fn after_write(class: &Class, attempts: u32, slow: Duration, jitter: f64) -> Duration {
    match class {
        Class::NotRegistered => spread(REGISTRATION_POLL, jitter),
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
    duration.mul_f64(0.2f64.mul_add(jitter.clamp(0.0, 1.0), 0.9))
}

fn doubled(first: Duration, attempts: u32, most: Duration) -> Duration {
    first
        .saturating_mul(1 << attempts.saturating_sub(1).min(16))
        .min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_never_undercut() {
        let word = Duration::from_secs(17);
        for jitter in [0.0, 0.5, 1.0] {
            assert!(after(&Class::Throttled(Some(word)), 1, LONGEST, jitter) >= word);
        }
    }

    #[test]
    fn transient_failures_back_off_from_a_second_to_five_minutes() {
        let waits: Vec<_> = (1..=12)
            .map(|attempt| after(&Class::Transient, attempt, LONGEST, 0.5).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    }

    #[test]
    fn what_a_human_must_mend_is_slow() {
        let slow = Duration::from_secs(300);
        assert!(after(&Class::Permission(None), 1, slow, 0.0) >= Duration::from_secs(270));
    }
}
