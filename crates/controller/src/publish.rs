//! Status patches and events.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType},
};
use serde::Serialize;
use serde_json::{Value, json};
use serverprotection_api::FIELD_MANAGER;
use serverprotection_core::events;

use crate::{
    context::Context,
    kind::Kind,
    parsed::{InvalidObject, Parsed},
};

/// Sends the whole status in one server-side-apply patch (I-7).
pub(crate) async fn status<K: Kind>(
    context: &Context,
    object: &K,
    status: &K::Status,
) -> Result<(), kube::Error> {
    apply::<K, _>(context, object.namespace(), &object.name_any(), status).await
}

/// Sets the conditions of an object that cannot be parsed. The rest of its status is sent back unchanged, because it
/// may contain fields that this build does not know.
pub(crate) async fn unreadable<K: Kind>(
    context: &Context,
    object: &InvalidObject,
    conditions: &Value,
) -> Result<(), kube::Error> {
    let name = object.metadata.name.clone().unwrap_or_default();
    let mut status = object.raw.get("status").cloned().unwrap_or_else(|| json!({}));
    if let Some(members) = status.as_object_mut() {
        members.insert("observedGeneration".into(), json!(object.metadata.generation));
        members.insert("conditions".into(), conditions.clone());
    }
    apply::<K, _>(context, object.metadata.namespace.clone(), &name, &status).await
}

async fn apply<K: Kind, S: Serialize>(
    context: &Context,
    namespace: Option<String>,
    name: &str,
    status: &S,
) -> Result<(), kube::Error> {
    let api: Api<Parsed<K>> = Api::namespaced(context.client.clone(), &namespace.unwrap_or_default());
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "status": status,
    });
    context.metrics.status_patches.inc();
    let params = PatchParams::apply(FIELD_MANAGER).force();
    api.patch_status(name, &params, &Patch::Apply(&patch))
        .await
        .map(drop)
}

/// Emits events and logs each of them. Decisions never depend on events; an event that cannot be sent is logged.
pub(crate) async fn events<K: Kind>(
    context: &Context,
    object: &K,
    events: impl IntoIterator<Item = events::Event>,
) {
    let reference = object.object_ref(&());
    publish(context, &reference, events).await;
}

/// Emits events for an object that cannot be parsed.
pub(crate) async fn publish(
    context: &Context,
    object: &ObjectReference,
    events: impl IntoIterator<Item = events::Event>,
) {
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
        if let Err(error) = context.recorder.publish(&event, object).await {
            tracing::warn!(%error, "event not recorded");
        }
    }
}
