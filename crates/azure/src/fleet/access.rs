//! Whether the identity may read machines. Resource Graph silently omits what it may not read (docs/azure-api.md 8.7).

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use serverprotection_core::{azure_error::AzureError, reading::Permissions};

use super::{Access, Scanner, subject::Subject};
use crate::arm::Arm;

/// The actions that are needed to read machines.
pub(super) const ACTIONS: [&str; 4] = [
    "Microsoft.Compute/virtualMachines/read",
    "Microsoft.Compute/virtualMachines/extensions/read",
    "Microsoft.HybridCompute/machines/read",
    "Microsoft.HybridCompute/machines/extensions/read",
];

/// When each subscription's permissions were found sufficient.
#[derive(Debug, Default)]
pub(super) struct AccessCache {
    sufficient: Mutex<HashMap<String, Instant>>,
}

impl Scanner {
    /// Sends one GET, unless sufficient permissions were read recently, by a scan or a reconcile.
    pub(super) async fn access(&self, arm: &Arm, subject: &Subject<'_>) -> Access {
        let subscription = subject.id;
        let known = self.access.lock().get(subscription).copied();
        if known.is_some_and(|at| at.elapsed() < self.settings.record) && !subject.is_fresh() {
            return Access::Sufficient;
        }
        match self.access_now(arm, subscription).await {
            Ok(access) => access,
            // One lost request is no reason to doubt what was sufficient.
            Err(failure) if known.is_some() && failure.class.is_transient() => Access::Sufficient,
            Err(_) => Access::NotReadable,
        }
    }

    /// Sends one GET, whatever was read before.
    pub(super) async fn access_now(&self, arm: &Arm, subscription: &str) -> Result<Access, AzureError> {
        let _permit = self.gets.acquire().await;
        let permissions = arm.permissions(subscription).await.inspect_err(|failure| {
            tracing::debug!(subscription_id = subscription, error = %failure, "permissions could not be read");
        })?;
        Ok(self.record_access(subscription, &permissions))
    }

    /// Records permissions that were read now. Those of a reconcile spare the next scan the request.
    pub(crate) fn record_access(&self, subscription: &str, permissions: &Permissions) -> Access {
        let missing = ACTIONS.into_iter().filter(|action| !permissions.allow(action));
        let missing: Vec<_> = missing.collect();
        let mut sufficient = self.access.lock();
        // Subscriptions that are no longer scanned.
        sufficient.retain(|_, at| at.elapsed() < self.settings.record * 4);
        if missing.is_empty() {
            sufficient.insert(subscription.to_owned(), Instant::now());
            return Access::Sufficient;
        }
        sufficient.remove(subscription);
        Access::Missing(missing)
    }
}

impl AccessCache {
    /// After a refused request, lets the next scan read the permissions of the subscription again.
    pub(super) fn forget(&self, subscription: &str) {
        self.lock().remove(subscription);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.sufficient.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
