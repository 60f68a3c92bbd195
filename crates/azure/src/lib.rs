//! The only place that knows REST: tokens, the ARM client, one file per resource.
//!
//! ```text
//! Identity ─▶ Tokens ─▶ Arm (origin check, request ids, throttle memory, classification)
//!                        ├─ observe: subscription, registration, plan, settings, assessment, permissions, solutions
//!                        ├─ connectors: the same for one security connector, and who else connects its account
//!                        ├─ fleet:   every machine of many subscriptions, and all connectors, by Resource Graph
//!                        └─ apply:   one core `Change` after the other, each under its lock and with a WritePermit
//! ```

pub mod apply;
pub mod arm;
mod body;
pub mod cloud;
pub mod connectors;
mod error_response;
pub mod fleet;
pub mod identity;
pub mod locks;
pub mod observe;
mod quota;
mod resource_graph;
mod resources;
mod retry_after;
mod throttled;
mod tokens;
mod transport;

pub use arm::Arm;
pub use cloud::Cloud;
pub use identity::{AssertionSource, Identity};
pub use resources::subscriptions::Subscription;
pub use transport::{HttpError, http_client};

use std::time::Duration;

/// Hears of every request to Azure, for metrics.
pub trait RequestObserver: Send + Sync + std::fmt::Debug {
    /// `operation` is one of a fixed set of names; `status` is the HTTP status, or 0 when no answer came.
    fn request(&self, operation: &'static str, status: u16, took: Duration);
}
