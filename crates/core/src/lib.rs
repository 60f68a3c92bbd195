//! Decisions as pure functions over plain types: no I/O, no async, no clock. The caller passes in the time and the
//! results of reads.
//!
//! ```text
//! spec ──desired──┐
//!                 ├─ differences ─ changes ─ decide ──▶ Decision ─▶ (azure applies) ─▶ status
//! Azure ─observed─┘
//! ```

pub mod arm_id;
pub mod azure_credential;
pub mod azure_error;
pub mod change;
pub mod claims;
pub mod conditions;
pub mod contested;
pub mod difference;
pub mod events;
pub mod fair_queue;
pub mod gate;
pub mod grants;
pub mod lease;
pub mod machines;
pub mod message;
pub mod metrics;
pub mod mode;
pub mod printable;
pub mod reading;
pub mod reason;
pub mod reductions;
pub mod request;
pub mod retry;
pub mod security_connector;
pub mod server_protection;
pub mod settling;
pub mod status_reference;
pub mod suspension;
pub mod switch;
pub mod tier;
pub mod timeouts;
pub mod token_cause;

mod drift;
mod operation;
mod permissions;
mod summary;
#[cfg(test)]
mod written_statuses;

/// A point in time. Kubernetes stores whole seconds.
pub use k8s_openapi::jiff::{self, Timestamp};
