//! Status writes and events.

use axum::http::{HeaderValue, header};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    api::{ObjectMeta, PostParams},
    core::{PartialObjectMeta, Request},
    runtime::events::{Event, EventType},
};
use serde::Serialize;
use serde_json::{Value, json};
use serverprotection_api::FIELD_MANAGER;
use serverprotection_core::events;

use crate::{context::Context, kind::Kind, kube_error::described, parsed::InvalidObject};

/// Asks for the metadata alone: the controller knows the rest.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// The body of a status write. The API server takes nothing else from it than the status.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusUpdate<'a, S> {
    api_version: &'a str,
    kind: &'a str,
    metadata: Precondition<'a>,
    status: &'a S,
}

/// The object and the version that the write is based on.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Precondition<'a> {
    name: &'a str,
    namespace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
    resource_version: &'a str,
}

/// Sends the whole status with one PUT, the cheapest form of a write for the API server (docs/benchmarks.md). Returns
/// the new version of the object.
///
/// # Errors
///
/// Fails with 409 if the object is not of this version any more.
pub(crate) async fn status<K: Kind, S: Serialize + Sync>(
    context: &Context,
    meta: &ObjectMeta,
    resource_version: &str,
    status: &S,
) -> Result<String, kube::Error> {
    let (namespace, name) = (
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    );
    let update = StatusUpdate {
        api_version: &K::api_version(&()),
        kind: &K::kind(&()),
        metadata: Precondition {
            name,
            namespace,
            uid: meta.uid.as_deref(),
            resource_version,
        },
        status,
    };
    let body = serde_json::to_vec(&update).map_err(kube::Error::SerdeError)?;
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PostParams::default()
    };
    let in_namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
    let request = Request::new(K::url_path(&(), in_namespace));
    let mut request = request
        .replace_subresource("status", name, &params, body)
        .map_err(kube::Error::BuildRequest)?;
    let accept = HeaderValue::from_static(METADATA_ONLY);
    request.headers_mut().insert(header::ACCEPT, accept);
    context.metrics.status_writes.inc();
    let answer: PartialObjectMeta<K> = context.client.request(request).await?;
    Ok(answer.metadata.resource_version.unwrap_or_default())
}

/// Sets the conditions of an object that cannot be parsed. The rest of its status is sent back unchanged, because it
/// may contain fields that this build does not know.
///
/// # Errors
///
/// Fails if the API server does not acknowledge the write.
pub(crate) async fn unreadable<K: Kind>(
    context: &Context,
    object: &InvalidObject,
    conditions: &Value,
) -> Result<(), kube::Error> {
    let mut all = object.raw.get("status").cloned().unwrap_or_else(|| json!({}));
    if let Some(members) = all.as_object_mut() {
        members.insert("observedGeneration".into(), json!(object.metadata.generation));
        members.insert("conditions".into(), conditions.clone());
    }
    let version = object.metadata.resource_version.as_deref().unwrap_or_default();
    status::<K, _>(context, &object.metadata, version, &all)
        .await
        .map(drop)
}

/// Emits events for an object and logs each of them. Decisions never depend on events; an event that cannot be sent is
/// logged.
pub(crate) async fn events(
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
        let event = Event {
            type_,
            reason: event.reason,
            note: Some(event.note),
            action: event.action,
            secondary: None,
        };
        if let Err(error) = context.recorder.publish(&event, object).await {
            tracing::warn!(error = described(&error), "event not recorded");
        }
    }
}
