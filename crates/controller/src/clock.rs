//! The wall clock.

use serverprotection_core::Timestamp;

/// Now, truncated to whole seconds (Kubernetes' precision), so that a stored timestamp compares equal when read back.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
