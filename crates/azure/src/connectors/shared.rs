//! What hundreds of connectors of one subscription ask for at once, and one reading can tell all of them.

use std::{sync::OnceLock, time::Duration};

use serverprotection_core::{
    security_connector::account::Known,
    server_protection::observed::{Permissions, Reading},
};

use super::{
    id::ConnectorId,
    kept::{Age, KeepFor, Kept},
};
use crate::{arm::Arm, fleet::Scanner};

/// For those who ask while somebody asks: a group may have been created just now, and somebody waits for it.
const AT_ONCE: KeepFor = KeepFor {
    success: Duration::ZERO,
    failure: Duration::ZERO,
    moment: Duration::ZERO,
};
/// Grants take minutes to arrive (contract.md 8.8).
const KEEP_PERMISSIONS: KeepFor = KeepFor {
    success: Duration::from_secs(10),
    failure: Duration::ZERO,
    moment: Duration::from_secs(3),
};

/// What was read a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// ARM's lists of connectors, by subscription.
    pub(super) lists: Kept<Vec<Known>>,
    /// Resource Graph's rows.
    pub(super) rows: Kept<Vec<Known>>,
    /// Asks Resource Graph.
    pub(super) scanner: OnceLock<Scanner>,
    /// Whether resource groups exist.
    groups: Kept<bool>,
    /// By subscription.
    permissions: Kept<Permissions>,
}

impl Arm {
    pub(super) async fn group_of(&self, id: &ConnectorId) -> Reading<bool> {
        let key = format!("{}/{}", id.subscription, id.resource_group).to_lowercase();
        let ask = self.resource_group(&id.subscription, &id.resource_group);
        self.shared
            .groups
            .get(&key, AT_ONCE, Age::Kept, ask)
            .await
            .map(|exists| *exists)
    }

    pub(super) async fn permissions_on(&self, subscription: &str, age: Age) -> Reading<Permissions> {
        let ask = self.permissions(subscription);
        let permissions = &self.shared.permissions;
        let found = permissions.get(subscription, KEEP_PERMISSIONS, age, ask).await?;
        Ok(Permissions::clone(&found))
    }
}
