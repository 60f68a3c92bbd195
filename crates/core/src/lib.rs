//! Decisions as pure functions over plain types: no I/O, no async, no clock. The caller passes in the time and the
//! results of reads.
//!
//! ```text
//! spec ──desired──┐
//!                 ├─ differences ─ changes ─ decide ──▶ Decision ─▶ (azure applies) ─▶ status
//! Azure ─observed─┘
//! ```

pub mod azure_error;
pub mod claims;
pub mod conditions;
pub mod events;
pub mod gate;
pub mod machines;
pub mod message;
pub mod metrics;
pub mod reason;
pub mod retry;
pub mod security_connector;
pub mod server_protection;
pub mod status_reference;

/// A point in time. Kubernetes stores whole seconds.
pub use k8s_openapi::jiff::{self, Timestamp};
