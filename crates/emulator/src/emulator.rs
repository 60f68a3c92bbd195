//! Everything that the handlers share.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{
    arm::Throttle, entra::Signer, faults::Faults, foreign::ForeignWriters, graph::Graph, log::RequestLog,
    monitor::Monitor, shared::Shared, state::World,
};

/// The emulator. Locks are taken in the order of the members, and never across an await.
#[expect(missing_debug_implementations, reason = "it holds keys and secrets")]
pub struct Emulator {
    /// The cloud.
    pub world: Shared<World>,
    /// Resource Graph.
    pub graph: Shared<Graph>,
    /// Token buckets.
    pub throttle: Shared<Throttle>,
    /// Other writers.
    pub foreign: Shared<ForeignWriters>,
    /// Ordered faults.
    pub faults: Shared<Faults>,
    /// The laws.
    pub monitor: Shared<Monitor>,
    /// What was asked.
    pub log: Shared<RequestLog>,
    /// Signs and checks access tokens.
    pub signer: Signer,
    /// The base of URLs in documents, when it is not simply the Host header.
    pub issuer_url: Option<String>,
    /// `https://127.0.0.1:port`, for requests without a Host header.
    pub own_url: String,
    unsaved: AtomicBool,
}

impl Emulator {
    /// An emulator around a world.
    pub fn new(world: World, signer: Signer, issuer_url: Option<String>, own_url: String) -> Self {
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
            own_url,
            unsaved: AtomicBool::new(false),
        }
    }

    /// Notes that the world changed and wants saving.
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
