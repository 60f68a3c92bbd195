//! Status patches and events.

use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType},
};
use serde_json::{Value, json};
use serverprotection_api::{FIELD_MANAGER, ServerProtection, ServerProtectionStatus};
use serverprotection_core::server_protection::events;

use crate::{
    context::Context,
    guarded::{Guarded, Unreadable},
};

/// One server-side-apply patch of the whole status (law 7).
pub(crate) async fn status(
    context: &Context,
    object: &ServerProtection,
    status: &ServerProtectionStatus,
) -> Result<(), kube::Error> {
    let api: Api<Guarded> = api(context, object.namespace());
    let patch = json!({
        "apiVersion": ServerProtection::api_version(&()),
        "kind": ServerProtection::kind(&()),
        "status": status,
    });
    context.metrics.status_patches.inc();
    let params = PatchParams::apply(FIELD_MANAGER).force();
    api.patch_status(&object.name_any(), &params, &Patch::Apply(&patch))
        .await
        .map(drop)
}

/// Tells on an unreadable object that it is one. What else stands in its status is sent back as it was found: it may
/// hold what this build does not know.
pub(crate) async fn unreadable(
    context: &Context,
    object: &Unreadable,
    conditions: &Value,
) -> Result<(), kube::Error> {
    let api: Api<Guarded> = api(context, object.metadata.namespace.clone());
    let name = object.metadata.name.clone().unwrap_or_default();
    let mut status = object.raw.get("status").cloned().unwrap_or_else(|| json!({}));
    if let Some(members) = status.as_object_mut() {
        members.insert("observedGeneration".into(), json!(object.metadata.generation));
        members.insert("conditions".into(), conditions.clone());
    }
    let patch = json!({
        "apiVersion": ServerProtection::api_version(&()),
        "kind": ServerProtection::kind(&()),
        "status": status,
    });
    context.metrics.status_patches.inc();
    let params = PatchParams::apply(FIELD_MANAGER).force();
    api.patch_status(&name, &params, &Patch::Apply(&patch))
        .await
        .map(drop)
}

fn api(context: &Context, namespace: Option<String>) -> Api<Guarded> {
    Api::namespaced(context.client.clone(), &namespace.unwrap_or_default())
}

/// What is worth an event is worth a line in the log. Events never decide about anything: a lost one is logged.
pub(crate) async fn events(context: &Context, object: &ServerProtection, events: Vec<events::Event>) {
    for event in events {
        if event.warning {
            tracing::warn!(reason = event.reason, "{}", event.note);
        } else {
            tracing::info!(reason = event.reason, "{}", event.note);
        }
        let type_ = if event.warning {
            EventType::Warning
        } else {
            EventType::Normal
        };
        // The API allows 1 kB.
        let note: String = event.note.chars().take(1000).collect();
        let event = Event {
            type_,
            reason: event.reason,
            note: Some(note),
            action: event.action,
            secondary: None,
        };
        if let Err(error) = context.recorder.publish(&event, &object.object_ref(&())).await {
            tracing::warn!(%error, "event was not recorded");
        }
    }
}
