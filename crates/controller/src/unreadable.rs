//! Objects that this build cannot parse, for example because a newer version wrote them.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::{Api, runtime::controller::Action};
use serde_json::{Value, json};
use serverprotection_api::TargetCredential;
use serverprotection_core::{
    claims::{Evidence, Stage},
    conditions::{ConditionStatus, ConditionType, Conditions, Reason},
    message::Message,
};

use crate::{
    claims::{self, status_claim},
    clock::now,
    context::{Context, InContext},
    kind::{Scoped, StatusExt},
    parsed::{InvalidObject, Parsed},
    publish,
    state::ObjectState,
    status_writer::Error,
};

/// The object as the API server has it: the cache keeps only its metadata. `None` if it is gone, was created again, or
/// can be parsed now.
///
/// # Errors
///
/// Fails if the API server cannot be read.
pub(crate) async fn newest<K: InContext>(
    meta: &ObjectMeta,
    context: &Context,
) -> Result<Option<InvalidObject>, Error> {
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let api: Api<Parsed<K>> = K::Scope::api(context.client.clone(), namespace);
    let newest = api.get_opt(meta.name.as_deref().unwrap_or_default()).await?;
    Ok(match newest {
        Some(Parsed::Invalid(object)) if object.metadata.uid == meta.uid => Some(*object),
        Some(_) | None => None,
    })
}

/// Decides about the claim of such an object with what was learned about its access, and records the decision (R10).
/// Members of the claim that this build does not know stay.
///
/// # Errors
///
/// Fails if the API server cannot be read, or does not acknowledge the write.
pub(crate) async fn record_proof<K: InContext>(
    reported: &InvalidObject,
    evidence: Evidence,
    context: &Context,
) -> Result<Action, Error> {
    let meta = &reported.metadata;
    let known = status_claim(reported).and_then(|claim| claim.credential);
    let credential = known.map(|known| TargetCredential {
        kind: known.kind,
        name: known.name,
    });
    let verdict = claims::decide::<K>(
        meta,
        Stage::Unreadable,
        credential.as_ref(),
        Some(evidence),
        context,
    );
    let again = verdict.sleeping_interval;
    // The report has changed the status.
    let Some(mut object) = newest::<K>(meta, context).await? else {
        return Ok(Action::await_change());
    };
    let before = object.raw.pointer("/status/claim").cloned().unwrap_or_default();
    let mut after = before.clone();
    if let Some(members) = after.as_object_mut() {
        match verdict.denied_since {
            Some(since) => members.insert("deniedSince".into(), json!(Time(since))),
            None => members.remove("deniedSince"),
        };
        if verdict.lost {
            members.insert("state".into(), json!(verdict.state.as_str()));
        }
    }
    if after != before {
        let status = object.raw.get_mut("status").and_then(Value::as_object_mut);
        if let Some(status) = status {
            status.insert("claim".into(), after);
        }
        let conditions = object
            .raw
            .pointer("/status/conditions")
            .cloned()
            .unwrap_or_default();
        publish::unreadable::<K>(context, &object, &conditions).await?;
        claims::acknowledged::<K>(meta, status_claim(&object).as_ref(), context);
    }
    Ok(Action::requeue(again))
}

/// Reports such an object, and changes nothing else.
///
/// # Errors
///
/// Fails if the API server does not acknowledge the write.
pub(crate) async fn report<K: InContext>(object: &InvalidObject, context: &Context) -> Result<(), Error> {
    let generation = object.metadata.generation.unwrap_or_default();
    let before = object
        .raw
        .pointer("/status/conditions")
        .cloned()
        .unwrap_or_default();
    let before: Vec<_> = serde_json::from_value(before).unwrap_or_default();
    let message = Message::new("This version of the controller cannot read the object")
        .cause(&object.error)
        .action("Upgrade the controller, or write the object as this version knows it");
    let mut conditions = Conditions::new(&before, generation, now());
    conditions.remove(ConditionType::Reconciling);
    let reason = Reason::Unreadable;
    conditions.set(ConditionType::Ready, ConditionStatus::False, reason, &message);
    conditions.set(ConditionType::Stalled, ConditionStatus::True, reason, &message);
    let after = conditions.finish();
    // The cached status is outdated now; once the object can be parsed, its status is read again.
    let mut status = K::Status::default();
    status.conditions_mut().clone_from(&after);
    let version = object.metadata.resource_version.clone().unwrap_or_default();
    let mut state = ObjectState::new(status, version);
    state.unreadable = true;
    state.status = Arc::clone(&state.acknowledged);
    K::states(context).put_unreadable(&object.metadata, state);
    if after != before {
        publish::unreadable::<K>(context, object, &json!(after)).await?;
    }
    Ok(())
}
