//! The only crate that knows a cluster: watches, reconciles, events, metrics.
//!
//! ```text
//! watch ─▶ reconcile ─┬─ claims, credentials ─▶ who may act on which subscription
//!                     ├─ azure.observe ─▶ core::decide ─▶ gate ─▶ azure.apply
//!                     └─ core::status ─▶ one write of the whole status, one event, metrics
//! ```

mod ancestors;
pub mod args;
mod azure_credential;
mod claims;
mod clock;
mod cluster_credentials;
mod connections;
mod connector_index;
mod context;
mod control_loops;
mod credential_use;
mod credentials;
mod event_recorder;
mod fleet;
mod http;
mod kind;
mod kube_error;
mod kube_proxy;
pub mod kubeconfig;
mod leadership;
mod lease;
mod metrics;
mod metrics_page;
mod namespaces;
mod panics;
mod parsed;
mod publish;
mod reconciler;
mod requests;
mod restrictions;
mod run;
mod secrets;
mod security_connector;
mod series;
mod server_protection;
mod service_account;
mod shutdown;
mod slots;
mod state;
mod status_writer;
mod telemetry;
mod trigger;
mod unreadable;
mod watch;

pub use args::Args;
pub use restrictions::Unrestricted;
pub use run::{Error, run};
