//! Objects that this build cannot parse, for example because a newer version wrote them.

use std::sync::Arc;

use kube::Api;
use serverprotection_core::{
    conditions::{ConditionStatus, ConditionType, Conditions, Reason},
    message::Message,
};

use crate::{
    clock::now,
    context::{Context, InContext},
    kind::StatusExt,
    parsed::{InvalidObject, Parsed},
    publish,
    state::ObjectState,
    status_writer::Error,
};

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
        publish::unreadable::<K>(context, &object, &serde_json::json!(after)).await?;
    }
    Ok(())
}
