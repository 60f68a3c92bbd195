//! Decisions as pure functions over plain types: no I/O, no async, no clock. Time and readings come in from outside.
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

/// Points in time, as Kubernetes writes them.
pub use k8s_openapi::jiff::{self, Timestamp};
