//! Intervals and deadlines of the installation.

use std::time::Duration;

/// Intervals and deadlines of the installation.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// The retry interval for errors that need user action; at most five minutes.
    pub blocked_retry_interval: Duration,
    /// A registration that takes longer than this counts as stuck.
    pub registration_timeout: Duration,
    /// The deadline of a deletion, after which the finalizer is removed (I-8).
    pub deletion_deadline: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            blocked_retry_interval: Duration::from_secs(300),
            registration_timeout: Duration::from_secs(1800),
            deletion_deadline: Duration::from_secs(900),
        }
    }
}
