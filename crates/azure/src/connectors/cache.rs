//! What hundreds of connectors of one subscription ask for at once, and one reading can tell all of them.

use std::{sync::OnceLock, time::Duration};

use serverprotection_core::{
    security_connector::account::ListedConnector,
    server_protection::observed::{Permissions, ReadResult},
};

use super::{
    id::ConnectorId,
    single_flight::{MaxAge, SingleFlight, Ttl},
};
use crate::{arm::Arm, fleet::Scanner};

/// For those who ask while somebody asks: a group may have been created just now, and somebody waits for it.
const AT_ONCE: Ttl = Ttl {
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

/// What was read a moment ago.
#[derive(Debug, Default)]
pub(crate) struct ConnectorCache {
    /// ARM's lists of connectors, by subscription.
    pub(super) lists: SingleFlight<Vec<ListedConnector>>,
    /// Resource Graph's rows.
    pub(super) rows: SingleFlight<Vec<ListedConnector>>,
    /// Asks Resource Graph.
    pub(super) scanner: OnceLock<Scanner>,
    /// Whether resource groups exist.
    groups: SingleFlight<bool>,
    /// By subscription.
    permissions: SingleFlight<Permissions>,
}

impl Arm {
    pub(super) async fn group_of(&self, id: &ConnectorId) -> ReadResult<bool> {
        let key = format!("{}/{}", id.subscription, id.resource_group).to_lowercase();
        let ask = self.resource_group(&id.subscription, &id.resource_group);
        self.shared
            .groups
            .get(&key, AT_ONCE, MaxAge::Any, ask)
            .await
            .map(|exists| *exists)
    }

    pub(super) async fn permissions_on(&self, subscription: &str, age: MaxAge) -> ReadResult<Permissions> {
        let ask = self.permissions(subscription);
        let permissions = &self.shared.permissions;
        let found = permissions.get(subscription, KEEP_PERMISSIONS, age, ask).await?;
        Ok(Permissions::clone(&found))
    }
}
