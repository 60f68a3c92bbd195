//! What a process keeps in memory about an object. Losing it costs a few reads, never correctness (I-6).

use super::{field::ProtectionField, refused::Refused};
use crate::{Timestamp, settling::Writes, suspension::Demand};

/// What a process keeps in memory about an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReconcileHistory {
    /// The number of reconciles so far.
    pub reconciles: u64,
    /// The spec of the last reconcile that was not suspended.
    pub reconciled: Option<Demand>,
    /// Whether the last reconcile wrote, so that this one reads back.
    pub verifying: bool,
    /// Consecutive transient failures.
    pub failures: u32,
    /// The number of reads of a registration in progress.
    pub registration_polls: u32,
    /// What was written since Azure was last in sync.
    pub writes: Writes<ProtectionField>,
    /// The parts of the spec that Azure refused.
    pub refused: Refused,
    /// When a failed extension is switched on again.
    pub extension_retry_at: Option<Timestamp>,
    /// The number of such retries so far.
    pub extension_retries: u32,
}
