//! What a connector takes from its `ServerProtection`, and the client of its credential.

use std::{sync::Arc, time::Duration};

use kube::ResourceExt;
use serverprotection_api::SecurityConnector;
use serverprotection_azure::Client;
use serverprotection_core::azure_error::AzureError;

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

/// Returns the client for the namespace of the object and this credential.
pub(super) async fn client(
    object: &SecurityConnector,
    credential: Option<&str>,
    force_refresh: bool,
    context: &Context,
) -> Result<Arc<Client>, AzureError> {
    let namespace = object.namespace().unwrap_or_default();
    context
        .credentials
        .client_for(&namespace, credential, force_refresh)
        .await
}
