//! What a process keeps in memory about an object. Losing it costs a few reads and at most one write, never correctness
//! (I-6).

use super::{arc_providers::ArcProvider, value::ConnectorPath};
use crate::{Timestamp, settling::Writes, suspension::Demand};

/// What a process keeps in memory about an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReconcileHistory {
    /// The number of reconciles so far.
    pub reconciles: u64,
    /// The spec of the last reconcile that was not suspended.
    pub reconciled: Option<Demand>,
    /// Whether the last reconcile wrote the connector, so that this one reads it back.
    pub verifying: bool,
    /// Whether the last reconcile found no connector and did not create one.
    pub absent: bool,
    /// Consecutive transient failures.
    pub failures: u32,
    /// What was written since Azure was last in sync.
    pub writes: Writes<ConnectorPath>,
    /// Consecutive writes that failed because Azure cannot sign in to the account.
    pub cloud_failures: u32,
    /// Such a write is not attempted again before this time.
    pub cloud_retry_at: Option<Timestamp>,
    /// The providers of Azure Arc that must still be registered.
    pub unregistered: Vec<ArcProvider>,
    /// Accounts of the organization's members, as the connectors were last listed.
    pub members: Vec<String>,
}
