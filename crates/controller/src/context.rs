//! What every reconcile needs.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use kube::{Client, runtime::events::Recorder};
use serverprotection_api::{SecurityConnector, ServerProtection};
use serverprotection_core::{claims::ClaimIndex, gate::Gate, server_protection::requeue::Timeouts};

use crate::{
    connector_index::ConnectorIndex, credentials::Credentials, fleet::Fleet, metrics::Metrics,
    state::StateStore,
};

/// Shared by all reconciles.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) claims: Arc<Claims>,
    pub(crate) connector_claims: Arc<Claims>,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) states: Arc<StateStore<ServerProtection>>,
    pub(crate) connector_states: Arc<StateStore<SecurityConnector>>,
    pub(crate) connector_index: Arc<ConnectorIndex>,
    pub(crate) gate: Gate,
    pub(crate) timeouts: Timeouts,
    pub(crate) reconcile_every: Option<Duration>,
    /// Name of the Azure cloud if it does not support connectors.
    pub(crate) without_connectors: Option<&'static str>,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: Arc<Metrics>,
}

/// The claim index behind its lock, which is never held across an await.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    index: Mutex<ClaimIndex>,
}

impl Claims {
    pub(crate) fn index(&self) -> MutexGuard<'_, ClaimIndex> {
        self.index
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
