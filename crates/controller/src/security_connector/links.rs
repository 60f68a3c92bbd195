//! What a connector takes from its `ServerProtection`.

use std::time::Duration;

use kube::ResourceExt;
use serverprotection_api::SecurityConnector;

use crate::{connector_index::ProtectionEntry, context::Context};

/// Interval of a connector whose `ServerProtection` does not exist.
const WITHOUT_PROTECTION: Duration = Duration::from_secs(600);

/// The `ServerProtection` that the object refers to.
pub(super) fn protection(object: &SecurityConnector, context: &Context) -> Option<ProtectionEntry> {
    let namespace = object.namespace().unwrap_or_default();
    context
        .connector_index
        .protection(&namespace, &object.spec.protection_ref.name)
}

/// The time between two reconciles.
pub(super) fn interval(known: Option<&ProtectionEntry>, context: &Context) -> Duration {
    let own = || known.map_or(WITHOUT_PROTECTION, |known| known.interval);
    context.settings.reconcile_every.unwrap_or_else(own)
}
