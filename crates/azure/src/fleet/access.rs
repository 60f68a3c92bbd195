//! Whether the identity may read machines. Resource Graph silently leaves out what it may not (contract.md 8.7).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use super::{Access, Scanner, Target};
use crate::Arm;

/// What reading machines takes.
pub(super) const ACTIONS: [&str; 4] = [
    "Microsoft.Compute/virtualMachines/read",
    "Microsoft.Compute/virtualMachines/extensions/read",
    "Microsoft.HybridCompute/machines/read",
    "Microsoft.HybridCompute/machines/extensions/read",
];

/// When each subscription's permissions were found sufficient.
#[derive(Debug, Default)]
pub(super) struct Memory {
    sufficient: Mutex<HashMap<String, Instant>>,
}

impl Scanner {
    /// One GET, none while a sufficient answer is remembered.
    pub(super) async fn access(&self, arm: &Arm, target: &Target) -> Access {
        let subscription = &target.subscription;
        let known = {
            let mut sufficient = self
                .access
                .sufficient
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            sufficient.retain(|_, at| at.elapsed() < self.settings.remember);
            sufficient.contains_key(subscription)
        };
        if known && !target.fresh {
            return Access::Sufficient;
        }
        let Ok(_permit) = self.gets.acquire().await else {
            return Access::NotReadable;
        };
        let permissions = match arm.permissions(subscription).await {
            Ok(permissions) => permissions,
            Err(failure) => {
                tracing::debug!(subscription, %failure, "permissions could not be read");
                return Access::NotReadable;
            }
        };
        let missing = ACTIONS.into_iter().filter(|action| !permissions.allow(action));
        let missing: Vec<_> = missing.collect();
        if !missing.is_empty() {
            return Access::Missing(missing);
        }
        let mut sufficient = self
            .access
            .sufficient
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        sufficient.insert(subscription.clone(), Instant::now());
        Access::Sufficient
    }
}
