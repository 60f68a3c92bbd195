//! Clients of Azure: Entra, Azure Resource Manager and Resource Graph. No other crate knows their REST APIs.
//!
//! ```text
//! Client (one credential) ─▶ Session (it has a token)
//!    ├─ observe:    subscription, registration, plan, settings, assessment, permissions, solutions
//!    ├─ apply:      the changes of a ServerProtection in order, each with its lock and a WritePermit
//!    ├─ connectors: reads and writes of one security connector, and other connectors
//!    └─ fleet:      all machines of many subscriptions, and all connectors, by Resource Graph
//!         │
//!         ├─ Arm, Tokens: the transport, own to each client: origin check, request ids, Retry-After, classification
//!         └─ Principal:   what the clients of one tenant and application share: waits, quota, lists, results of scans
//! ```

mod apply;
mod arm;
mod body;
mod bounded;
mod certificates;
pub mod check;
mod client;
mod client_certificate;
mod cloud;
mod connectors;
mod error_response;
pub mod fleet;
mod identity;
mod locks;
mod observe;
mod principal;
mod quota;
mod resource_graph;
mod resources;
mod response;
mod retry_after;
#[cfg(test)]
mod stub;
mod throttled;
mod tokens;
mod transport;
mod url_path;

pub use client::Client;
pub use client_certificate::{ClientCertificate, ClientCertificateError};
pub use cloud::Cloud;
pub use identity::{AssertionSource, Identity};
pub use principal::Principals;
pub use resources::subscriptions::Subscription;
pub use transport::{HttpError, http_client};

use std::time::Duration;

/// Observes every request to Azure, for metrics.
pub trait RequestObserver: Send + Sync + std::fmt::Debug {
    /// A request ended. `operation` is one of a fixed set of names. `status` is the HTTP status, or 0 without a
    /// response.
    fn request(&self, operation: &'static str, status: u16, took: Duration);
}
