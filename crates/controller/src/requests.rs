//! What an object and its annotations ask for.

use std::time::Duration;

use kube::ResourceExt;
use serverprotection_api::annotations;
use serverprotection_core::request::Requested;

use crate::{
    context::{Context, InContext},
    kind::{Kind, StatusExt},
    state::ObjectState,
};

/// Returns the values of the "reconcile now" annotations, if one of them is new.
pub(crate) fn requested<'a, K: Kind>(object: &'a K, state: &ObjectState<K>) -> Option<Requested<'a>> {
    let requested = Requested::by(object.annotations());
    requested.is_new(state.status.handled()).then_some(requested)
}

/// The annotation that approves reductions.
pub(crate) fn approval<K: Kind>(object: &K) -> Option<&str> {
    object
        .annotations()
        .get(annotations::APPROVE_REDUCTION)
        .map(String::as_str)
}

/// The time until the next reconcile that reads and writes Azure; `None` if it is due, or if a change of the object
/// requires one now.
pub(crate) fn due_in<K: InContext>(
    object: &K,
    state: &ObjectState<K>,
    context: &Context,
) -> Option<Duration> {
    let unchanged = state.status.observed_generation() == object.meta().generation
        && !state.unacknowledged
        && requested(object, state).is_none()
        && state.approval.as_deref() == approval(object);
    K::states(context).due_in(object.meta()).filter(|_| unchanged)
}

/// Whether the cached object is as new as the last reconcile.
pub(crate) fn is_current<K: Kind>(object: &K, state: &ObjectState<K>) -> bool {
    let newest = state.status.observed_generation().unwrap_or_default();
    !state.unreadable && object.meta().generation.unwrap_or_default() >= newest
}
