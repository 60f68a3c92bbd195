//! Responses that the connectors of one subscription share.

use std::time::Duration;

use serverprotection_core::{
    reading::{Permissions, ReadResult},
    security_connector::{
        account::ListedConnector,
        arc_providers::{ArcProvider, ArcProviders},
    },
    server_protection::observed::RegistrationState,
};

use super::{
    id::ConnectorId,
    single_flight::{MaxAge, SingleFlight, Ttl},
};
use crate::principal::Session;

/// Shared by concurrent callers only: a group may have been created since.
const CONCURRENT_ONLY: Ttl = Ttl {
    success: Duration::ZERO,
    failure: Duration::ZERO,
    fresh_for: Duration::ZERO,
};
/// Grants take minutes to arrive (docs/azure-api.md 8.8).
const KEEP_PERMISSIONS: Ttl = Ttl {
    success: Duration::from_secs(10),
    failure: Duration::ZERO,
    fresh_for: Duration::from_secs(3),
};

/// The first reconciles of hundreds of connectors share one read. A failure is kept, too, because nothing waits for it.
const KEEP_PROVIDERS: Ttl = Ttl {
    success: Duration::from_secs(60),
    failure: Duration::from_secs(60),
    fresh_for: Duration::from_secs(3),
};

/// Recent responses for one principal.
#[derive(Debug, Default)]
pub(crate) struct ConnectorCache {
    /// Connectors that Azure Resource Manager lists, by subscription.
    pub(super) lists: SingleFlight<Vec<ListedConnector>>,
    /// Connectors that Resource Graph lists.
    pub(super) rows: SingleFlight<Vec<ListedConnector>>,
    /// Whether resource groups exist, by subscription and name.
    groups: SingleFlight<bool>,
    /// Permissions, by subscription.
    permissions: SingleFlight<Permissions>,
    /// Registrations of the resource providers of Azure Arc, by subscription.
    arc_providers: SingleFlight<ArcProviders>,
}

impl Session {
    pub(super) async fn group_of(&self, id: &ConnectorId) -> ReadResult<bool> {
        let key = format!("{}/{}", id.subscription, id.resource_group).to_lowercase();
        let request = self.arm.resource_group(&id.subscription, &id.resource_group);
        self.principal
            .connectors
            .groups
            .get(&key, CONCURRENT_ONLY, MaxAge::Any, request)
            .await
            .map(|exists| *exists)
    }

    pub(super) async fn permissions_on(&self, subscription: &str, age: MaxAge) -> ReadResult<Permissions> {
        let request = self.permissions(subscription);
        let permissions = &self.principal.connectors.permissions;
        let found = permissions
            .get(subscription, KEEP_PERMISSIONS, age, request)
            .await?;
        Ok(Permissions::clone(&found))
    }

    pub(super) async fn arc_providers_of(&self, subscription: &str, age: MaxAge) -> ReadResult<ArcProviders> {
        // Boxed, because the future of every reconcile would otherwise reserve memory for this rare case.
        let request = Box::pin(self.arm.arc_providers(subscription));
        let providers = &self.principal.connectors.arc_providers;
        let found = providers.get(subscription, KEEP_PROVIDERS, age, request).await?;
        Ok(ArcProviders::clone(&found))
    }

    /// A registration was requested.
    pub(super) async fn amend_arc_provider(&self, subscription: &str, provider: ArcProvider) {
        let requested = |found: &mut ArcProviders| {
            found.insert(provider, RegistrationState::Registering);
        };
        self.principal
            .connectors
            .arc_providers
            .amend(subscription, requested)
            .await;
    }
}
