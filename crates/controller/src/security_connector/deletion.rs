//! Reconciles a connector that is being deleted. The finalizer is removed in the end, whatever Azure answers (I-8).

use std::{sync::Arc, time::Duration};

use kube::{Resource, ResourceExt, api::ObjectMeta, runtime::controller::Action};
use serverprotection_api::{Mode, SecurityConnector, TargetCredential, annotations};
use serverprotection_azure::Client;
use serverprotection_core::{
    Timestamp,
    azure_error::AzureError,
    claims::Evidence,
    reading::ReadResult,
    retry,
    security_connector::{
        deletion::{Deletion, Input, RemovalReason, deletion, is_overdue},
        events,
        observed::Connector,
        status,
    },
};

use super::{finalizer, links::protection, observe::prove_with, watch_events::stage};
use crate::{
    claims,
    clock::now,
    connector_index::ProtectionEntry,
    context::{Context, InContext},
    credential_use::CredentialUse,
    parsed::{InvalidObject, Parsed},
    publish,
    requests::is_current,
    state::ObjectState,
    status_writer::{Error, write_status},
    unreadable,
};

/// Runs one reconcile of the deletion.
pub(super) async fn reconcile(object: &SecurityConnector, context: &Context) -> Result<Action, Error> {
    if !finalizer::is_on(object.meta()) {
        // Finalizers of others hold nothing (R11).
        claims::release(object, stage(object), context).await?;
        return Ok(Action::await_change());
    }
    let known = SecurityConnector::states(context).get(object.meta());
    let Some(mut state) = known.filter(|state| is_current(object, state)) else {
        return Ok(Action::requeue(Duration::from_secs(2)));
    };
    let known = protection(object, context);
    let other = successor(object, context);
    let mut connector: Option<ReadResult<Option<Connector>>> = None;
    loop {
        let decision = deletion(&Input {
            uid: object.metadata.uid.as_deref().unwrap_or_default(),
            spec: &object.spec,
            previous: &state.status,
            force: force(object.meta()),
            other: other.as_deref(),
            observes: known.as_ref().map(|known| known.protection.mode == Mode::Observe),
            connector: connector.as_ref(),
            tried: force_refresh(&state),
            requested: requested_at(object.meta()),
            deadline: context.settings.timeouts.deletion_deadline,
            now: now(),
        });
        let failure = match (&decision, connector.take()) {
            (Deletion::RemoveFinalizer(why), _) => {
                return remove_finalizer(object, &state, why, context).await;
            }
            (Deletion::Read { .. }, Some(Err(failure))) => failure,
            (Deletion::Read { id }, _) => {
                connector = Some(read(object, &state, known.as_ref(), id, context).await);
                continue;
            }
            (Deletion::Delete { id }, _) => {
                // The finalizer was removed by someone else: the connector is no longer this object's.
                if !refresh_status(object, &mut state, &decision, None, context).await? {
                    return Ok(Action::await_change());
                }
                match delete(object, &state, known.as_ref(), id, context).await {
                    Ok(()) => {
                        connector = Some(Ok(None));
                        continue;
                    }
                    Err(failure) => failure,
                }
            }
        };
        return wait(object, state, &decision, &failure, context).await;
    }
}

async fn remove_finalizer(
    object: &SecurityConnector,
    state: &ObjectState<SecurityConnector>,
    why: &RemovalReason,
    context: &Context,
) -> Result<Action, Error> {
    finalizer::remove(object.meta(), context).await?;
    let id = state.status.target.as_ref().map(|target| target.id.as_str());
    let event = events::finalizer_removed(why, id);
    publish::events(context, &object.object_ref(&()), [event]).await;
    Ok(Action::await_change())
}

/// Azure does not allow the deletion yet: reports it in status, emits one event, and retries until the deadline.
async fn wait(
    object: &SecurityConnector,
    mut state: ObjectState<SecurityConnector>,
    decision: &Deletion,
    failure: &AzureError,
    context: &Context,
) -> Result<Action, Error> {
    let failures = state.deleting.unwrap_or_default().saturating_add(1);
    state.deleting = Some(failures);
    refresh_status(object, &mut state, decision, Some(failure), context).await?;
    let events = events::deletion_waits(&events::deletion_failed(failure), failures);
    publish::events(context, &object.object_ref(&()), events).await;
    let slow = context.settings.timeouts.blocked_retry_interval;
    let next = retry::after(&failure.class, failures, slow, fastrand::f64());
    Ok(Action::requeue(next.min(until_deadline(object.meta(), context))))
}

/// Writes the status of the deletion. Returns `false` if the object no longer exists.
async fn refresh_status(
    object: &SecurityConnector,
    state: &mut ObjectState<SecurityConnector>,
    decision: &Deletion,
    failure: Option<&AzureError>,
    context: &Context,
) -> Result<bool, Error> {
    let generation = object.meta().generation.unwrap_or_default();
    let deadline = context.settings.timeouts.deletion_deadline;
    let correlation_id = uuid::Uuid::new_v4().to_string();
    let status = status::deleting(
        &state.status,
        generation,
        decision,
        failure,
        deadline,
        &correlation_id,
        now(),
    );
    state.deleting.get_or_insert(0);
    write_status(object, state, status, context).await
}

async fn read(
    object: &SecurityConnector,
    state: &ObjectState<SecurityConnector>,
    known: Option<&ProtectionEntry>,
    id: &str,
    context: &Context,
) -> ReadResult<Option<Connector>> {
    let client = client(object, state, known, id, context).await?;
    client.read_connector(id).await
}

async fn delete(
    object: &SecurityConnector,
    state: &ObjectState<SecurityConnector>,
    known: Option<&ProtectionEntry>,
    id: &str,
    context: &Context,
) -> Result<(), AzureError> {
    let client = client(object, state, known, id, context).await?;
    // The decision already considers mode and suspend, including the recorded mode of a `ServerProtection` that is
    // gone.
    let pending = state.status.pending_operation.as_ref();
    let correlation_id = pending.map_or("", |operation| operation.correlation_id.as_str());
    let holds = claims::is_recorded(object, state);
    match context.gate.permit(holds, Mode::Enforce, false, correlation_id) {
        Some(permit) => client.delete_connector(id, &permit).await,
        None => Err(stopping()),
    }
}

/// The client that reads and deletes the connector.
async fn client(
    object: &SecurityConnector,
    state: &ObjectState<SecurityConnector>,
    known: Option<&ProtectionEntry>,
    id: &str,
    context: &Context,
) -> ReadResult<Arc<Client>> {
    let namespace = object.namespace().unwrap_or_default();
    let usage = CredentialUse::of_target(&namespace, credential(state, known), id);
    let clients = &context.credentials;
    clients.client_for(&usage, force_refresh(state)).await
}

/// This process may not write any more; the next one continues.
fn stopping() -> AzureError {
    AzureError {
        class: serverprotection_core::azure_error::ErrorClass::Transient,
        code: "Stopping".into(),
        message: "The controller is stopping".into(),
        operation: "DELETE securityConnectors".into(),
        request_id: None,
        effect_unknown: false,
    }
}

/// The credential recorded in the target, or else the current one of the `ServerProtection` for its subscription.
fn credential<'a>(
    state: &'a ObjectState<SecurityConnector>,
    known: Option<&'a ProtectionEntry>,
) -> Option<&'a TargetCredential> {
    let target = state.status.target.as_ref()?;
    let now = known.map(|known| &known.protection);
    let now = now.filter(|now| now.subscription == target.subscription_id);
    let now = now.and_then(|now| now.credential.as_ref());
    target.credential.as_ref().or(now)
}

fn force_refresh(state: &ObjectState<SecurityConnector>) -> bool {
    state.deleting.is_some_and(|failures| failures > 0)
}

/// R16: another object that proved its access and waits for the connector, as users see it.
fn successor(object: &SecurityConnector, context: &Context) -> Option<String> {
    let index = context.connectors.claims.index();
    let found = index.successor(object.metadata.uid.as_deref()?)?;
    Some(if Some(&found.namespace) == object.metadata.namespace.as_ref() {
        format!("SecurityConnector {}", found.name)
    } else {
        "a SecurityConnector of another namespace".into()
    })
}

fn force(meta: &ObjectMeta) -> Option<&str> {
    let annotations = meta.annotations.as_ref()?;
    annotations.get(annotations::FORCE_REMOVE).map(String::as_str)
}

fn requested_at(meta: &ObjectMeta) -> Timestamp {
    meta.deletion_timestamp.as_ref().map_or_else(now, |time| time.0)
}

fn until_deadline(meta: &ObjectMeta, context: &Context) -> Duration {
    let waited = now().duration_since(requested_at(meta));
    let deadline = context.settings.timeouts.deletion_deadline;
    deadline
        .saturating_sub(Duration::try_from(waited).unwrap_or_default())
        .max(Duration::from_secs(1))
}

async fn prove_unreadable(object: &InvalidObject, context: &Context) -> Evidence {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let credential = object.raw.pointer("/status/target/credential").cloned();
    let credential: Option<TargetCredential> = credential.and_then(|one| serde_json::from_value(one).ok());
    let id = object.text("/status/target/id").unwrap_or_default();
    let usage = CredentialUse::of_target(namespace, credential.as_ref(), id);
    prove_with(&usage, id, context).await
}

/// Reports an object that cannot be parsed. Its deletion policy is unknown, so nothing is deleted in Azure, and the
/// finalizer is removed after the deadline.
pub(crate) async fn unreadable(object: &InvalidObject, context: &Context) -> Result<Action, Error> {
    let meta = &object.metadata;
    let deleting = meta.deletion_timestamp.is_some();
    if deleting && !finalizer::is_on(meta) {
        return Ok(Action::await_change());
    }
    let overdue = is_overdue(
        requested_at(meta),
        context.settings.timeouts.deletion_deadline,
        now(),
    );
    if deleting && (overdue || force(meta).is_some_and(|force| force.trim() == "true")) {
        finalizer::remove(meta, context).await?;
        let parsed: Parsed<SecurityConnector> = Parsed::Invalid(Box::new(object.clone()));
        let event = events::unreadable_finalizer_removed(&object.error, object.text("/status/target/id"));
        publish::events(context, &parsed.object_ref(&()), [event]).await;
        return Ok(Action::await_change());
    }
    unreadable::report::<SecurityConnector>(object, context).await?;
    if claims::must_prove::<SecurityConnector>(meta, context) {
        let evidence = prove_unreadable(object, context).await;
        return unreadable::record_proof::<SecurityConnector>(object, evidence, context).await;
    }
    Ok(if deleting {
        Action::requeue(until_deadline(meta, context))
    } else {
        Action::await_change()
    })
}
