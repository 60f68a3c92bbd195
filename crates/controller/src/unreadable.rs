//! Objects that this build cannot parse, for example because a newer version wrote them.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, Resource, runtime::controller::Action};
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
    kind::StatusExt,
    parsed::{InvalidObject, Parsed},
    publish,
    state::ObjectState,
    status_writer::Error,
};

/// Decides about the claim of such an object with what was learned about its access, and records the decision (R10).
/// Members of the claim that this build does not know stay.
///
/// # Errors
///
/// Fails if the API server cannot be read, or does not acknowledge the write.
pub(crate) async fn record_proof<K: InContext>(
    cached: &InvalidObject,
    evidence: Evidence,
    context: &Context,
) -> Result<Action, Error> {
    let meta = &cached.metadata;
    let known = status_claim(cached).and_then(|claim| claim.credential);
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
    let api: Api<Parsed<K>> = Api::namespaced(
        context.client.clone(),
        meta.namespace.as_deref().unwrap_or_default(),
    );
    let newest = api.get_opt(meta.name.as_deref().unwrap_or_default()).await?;
    let Some(Parsed::Invalid(mut object)) = newest.filter(|newest| newest.meta().uid == meta.uid) else {
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

/// Reports such an object, and changes nothing else. The object is read first: the watch may deliver it with an older
/// status, and sending that back would revert its conditions.
///
/// # Errors
///
/// Fails if the API server cannot be read, or does not acknowledge the write.
pub(crate) async fn report<K: InContext>(cached: &InvalidObject, context: &Context) -> Result<(), Error> {
    let namespace = cached.metadata.namespace.clone().unwrap_or_default();
    let api: Api<Parsed<K>> = Api::namespaced(context.client.clone(), &namespace);
    let name = cached.metadata.name.clone().unwrap_or_default();
    let Some(Parsed::Invalid(object)) = api.get_opt(&name).await? else {
        return Ok(());
    };
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
        publish::unreadable::<K>(context, &object, &json!(after)).await?;
    }
    Ok(())
}
