//! What the clients of one principal share. Azure counts quotas by principal (tenant and application), not by
//! credential.
//!
//! ```text
//! Client ─▶ own Tokens ─▶ a token was issued ─▶ Session ─┬─ own Arm
//!                                                         └─ Principal, shared: waits, connectors, scanner
//! ```
//!
//! Every object can name the tenant and application of another one. So a client joins the principal only after its own
//! credential got a token, and it sends all its requests with its own tokens.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use azure_core::http::HttpClient;
use serverprotection_core::reading::{Permissions, ReadResult};

use crate::{
    RequestObserver,
    arm::{Arm, Connection},
    cloud::Cloud,
    connectors::cache::ConnectorCache,
    fleet::{Scanner, Settings},
    locks::Locks,
    throttled::Throttled,
};

/// The principals of one cloud, and what all of them share: the HTTP client and the locks of writes. A process has one.
#[derive(Debug)]
pub struct Principals {
    pub(crate) connection: Connection,
    /// The HTTP client for Entra.
    pub(crate) entra: Arc<dyn HttpClient>,
    pub(crate) locks: Arc<Locks>,
    settings: Settings,
    /// A principal exists while a client with a token uses it.
    by_name: Mutex<HashMap<String, Weak<Principal>>>,
}

/// The state of one principal.
#[derive(Debug)]
pub(crate) struct Principal {
    pub(crate) throttled: Arc<Throttled>,
    pub(crate) connectors: ConnectorCache,
    pub(crate) scanner: Scanner,
}

/// A client whose own credential got a token.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) arm: Arm,
    pub(crate) locks: Arc<Locks>,
    pub(crate) principal: Arc<Principal>,
}

impl Principals {
    /// Creates an empty set of principals. `settings` are those of their scans.
    pub fn new(
        cloud: Cloud,
        http: reqwest::Client,
        request_observer: Arc<dyn RequestObserver>,
        settings: Settings,
    ) -> Self {
        Self {
            entra: Arc::new(http.clone()),
            connection: Connection {
                http,
                cloud: Arc::new(cloud),
                request_observer,
                pricings_version: Arc::default(),
            },
            locks: Arc::default(),
            settings,
            by_name: Mutex::default(),
        }
    }

    /// The cloud of all principals.
    pub fn cloud(&self) -> &Cloud {
        &self.connection.cloud
    }

    /// The principal with this name. The caller has a token for it.
    pub(crate) fn join(&self, name: &str) -> Arc<Principal> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        by_name.retain(|_, principal| principal.strong_count() > 0);
        by_name.get(name).and_then(Weak::upgrade).unwrap_or_else(|| {
            let principal = Arc::new(Principal {
                throttled: Arc::default(),
                connectors: ConnectorCache::default(),
                scanner: Scanner::new(self.settings.clone()),
            });
            by_name.insert(name.to_owned(), Arc::downgrade(&principal));
            principal
        })
    }
}

impl Session {
    /// Reads the permissions of the identity on a subscription. Scans use the result, too.
    pub(crate) async fn permissions(&self, subscription: &str) -> ReadResult<Permissions> {
        let permissions = self.arm.permissions(subscription).await?;
        self.principal.scanner.record_access(subscription, &permissions);
        Ok(permissions)
    }
}
