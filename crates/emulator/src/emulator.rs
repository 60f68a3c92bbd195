//! The state that all handlers share.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{
    arm::{Graph, Throttle},
    entra::Signer,
    faults::Faults,
    foreign::ForeignWriters,
    log::RequestLog,
    monitor::Monitor,
    shared::Shared,
    state::World,
};

/// The emulator. Take locks in the order of the members, and never across an await.
#[expect(missing_debug_implementations, reason = "it holds keys and secrets")]
pub struct Emulator {
    /// The cloud.
    pub world: Shared<World>,
    /// Resource Graph.
    pub graph: Shared<Graph>,
    /// Token buckets of ARM.
    pub throttle: Shared<Throttle>,
    /// Foreign writers.
    pub foreign: Shared<ForeignWriters>,
    /// Faults that tests added.
    pub faults: Shared<Faults>,
    /// The safety monitor.
    pub monitor: Shared<Monitor>,
    /// The request log.
    pub log: Shared<RequestLog>,
    /// Signs and verifies access tokens.
    pub signer: Signer,
    /// The base of URLs in documents, if it is not the Host header of the request.
    pub issuer_url: Option<String>,
    /// What requests to the endpoint of App Service must have in the header `X-IDENTITY-HEADER`.
    pub identity_header: String,
    /// `https://127.0.0.1:port`, for requests without a Host header.
    pub own_url: String,
    unsaved: AtomicBool,
}

impl Emulator {
    /// Creates an emulator of a cloud.
    pub fn new(
        world: World,
        signer: Signer,
        issuer_url: Option<String>,
        identity_header: String,
        own_url: String,
    ) -> Self {
        Self {
            world: Shared::new(world),
            graph: Shared::default(),
            throttle: Shared::default(),
            foreign: Shared::default(),
            faults: Shared::default(),
            monitor: Shared::default(),
            log: Shared::default(),
            signer,
            issuer_url,
            identity_header,
            own_url,
            unsaved: AtomicBool::new(false),
        }
    }

    /// Marks the world as changed, so that it is saved.
    pub fn changed(&self) {
        self.unsaved.store(true, Ordering::Relaxed);
    }

    /// Whether the world changed since the last call.
    pub fn take_changed(&self) -> bool {
        self.unsaved.swap(false, Ordering::Relaxed)
    }

    /// The URL under which a request reached this server.
    pub fn url_for(&self, host: Option<&str>) -> String {
        match (&self.issuer_url, host) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, Some(host)) => format!("https://{host}"),
            (None, None) => self.own_url.clone(),
        }
    }
}
