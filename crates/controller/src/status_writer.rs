//! Writes the status of objects. An object has one writer, and a write replaces the whole status (I-7).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kube::{Api, ResourceExt, api::ObjectMeta, runtime::controller::Action};
use serverprotection_core::{conditions, events::Event, reason::EventReason, retry};

use crate::{
    claims,
    clock::now,
    context::{Context, InContext},
    kind::{Scoped, StatusExt},
    kube_error, publish,
    requests::approval,
    state::ObjectState,
};

/// Longest requeue delay. Intervals and delays come from specs and from Azure.
const MAX_REQUEUE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Longest delay after an API server error.
const LONGEST_KUBE_RETRY: Duration = Duration::from_secs(15);
/// Other clients change labels and annotations; more conflicts in a row are not expected.
const CONFLICTS: u32 = 5;
/// Minimum time between two status writes of an object if only cached data changed. Coalesces bursts, so that 200
/// connectors becoming Ready do not cause 200 writes.
const STATUS_DEBOUNCE: Duration = Duration::from_secs(5);
/// With more new objects than this, such a write waits for their first reconciles, which are more urgent.
const BACKLOG: usize = 50;
/// Longest time that it waits.
const LONGEST_DEBOUNCE: Duration = Duration::from_secs(60);
/// When it checks again: after one to three times this long, so that the writes do not come all at once.
const BACKLOG_CHECK: Duration = Duration::from_secs(15);

/// An API server error. All other errors become conditions.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("request to the API server failed: {}", kube_error::described(.0))]
    Kube(#[from] kube::Error),
    #[error("other clients changed the object during each of {CONFLICTS} status writes")]
    Conflicts,
}

/// What became of a recorded intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// The API server has it: the write to Azure may begin.
    Yes,
    /// The object no longer exists.
    Gone,
    /// Spec or status changed meanwhile: decide again.
    Outdated,
}

/// Stores the new status locally, then writes it if it differs from the last acknowledged one, so that results which
/// Azure returns only once survive an API server outage. Transition times are relative to the last acknowledged
/// status. Returns `false` if the object no longer exists.
///
/// # Errors
///
/// Fails if the API server does not acknowledge the write.
pub(crate) async fn write_status<K: InContext>(
    object: &K,
    state: &mut ObjectState<K>,
    status: K::Status,
    context: &Context,
) -> Result<bool, Error> {
    let recorded = write(object, state, status, false, context).await?;
    Ok(recorded != Recorded::Gone)
}

/// Records the intent of a write, based on exactly the version of the object that the decision is based on. If the
/// write fails, no write to Azure follows, so the previous status is restored: an intent without a write would cause a
/// write. It may have arrived all the same, so the next status is sent in any case.
///
/// # Errors
///
/// Fails if the API server does not acknowledge the write.
pub(crate) async fn record_intent<K: InContext>(
    object: &K,
    state: &mut ObjectState<K>,
    intent: K::Status,
    context: &Context,
) -> Result<Recorded, Error> {
    let before = state.clone();
    let recorded = write(object, state, intent, true, context).await;
    if recorded.is_err() {
        let state = ObjectState {
            unacknowledged: true,
            uncertain: true,
            ..before
        };
        K::states(context).put(object.meta(), state);
    }
    recorded
}

async fn write<K: InContext>(
    object: &K,
    state: &mut ObjectState<K>,
    mut status: K::Status,
    is_intent: bool,
    context: &Context,
) -> Result<Recorded, Error> {
    let store = K::states(context);
    if state.unacknowledged {
        conditions::after_unsaved(status.conditions_mut(), state.acknowledged.conditions(), now());
    }
    // The watch may have delivered a newer version since this reconcile began. An intent names the one that the decision
    // is based on.
    if !is_intent && let Some(stored) = store.get(object.meta()) {
        state.resource_version = stored.resource_version;
    }
    let before = ObjectState::clone(state);
    if *state.acknowledged == status && !state.uncertain {
        // Share one copy of the acknowledged status.
        state.status = Arc::clone(&state.acknowledged);
        state.unacknowledged = false;
        store.put(object.meta(), state.clone());
        return Ok(Recorded::Yes);
    }
    state.status = Arc::new(status);
    state.unacknowledged = true;
    state.uncertain = true;
    store.put(object.meta(), state.clone());
    for _ in 0..CONFLICTS {
        let sent = publish::status::<K, _>(context, object.meta(), &state.resource_version, &*state.status);
        match sent.await {
            Ok(version) => {
                state.acknowledged = Arc::clone(&state.status);
                (state.unacknowledged, state.uncertain) = (false, false);
                state.resource_version = version;
                state.last_write = Some(Instant::now());
                state.kube_failures = 0;
                store.put(object.meta(), state.clone());
                claims::acknowledged::<K>(object.meta(), state.acknowledged.claim(), context);
                return Ok(Recorded::Yes);
            }
            // The object is deleted, so there is nothing left to report.
            Err(kube::Error::Api(answer)) if answer.is_not_found() => {
                store.forget(object.meta());
                return Ok(Recorded::Gone);
            }
            Err(kube::Error::Api(answer)) if answer.is_conflict() => {
                let Some(newest) = newest(object, context).await? else {
                    store.forget(object.meta());
                    return Ok(Recorded::Gone);
                };
                state.resource_version = newest.resource_version().unwrap_or_default();
                if is_intent && let Some(changed) = changed(object, &newest, &before) {
                    *state = changed;
                    store.put(object.meta(), state.clone());
                    claims::acknowledged::<K>(object.meta(), state.acknowledged.claim(), context);
                    return Ok(Recorded::Outdated);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Conflicts)
}

/// The object as the API server has it; `None` if it no longer exists.
async fn newest<K: InContext>(object: &K, context: &Context) -> Result<Option<K>, Error> {
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<K> = K::Scope::api(context.client.clone(), &namespace);
    let newest = api.get_opt(&object.name_any()).await?;
    Ok(newest.filter(|newest| newest.uid() == object.uid()))
}

/// The state to decide from again, if the decision was based on another spec or status than the API server has.
/// Another process may have recorded an intent of its own since this one listed the object.
fn changed<K: InContext>(object: &K, newest: &K, before: &ObjectState<K>) -> Option<ObjectState<K>> {
    let version = newest.resource_version().unwrap_or_default();
    let status = newest.status().cloned().unwrap_or_default();
    if !before.uncertain && status != *before.acknowledged {
        return Some(ObjectState::new(status, version));
    }
    (newest.meta().generation != object.meta().generation).then(|| ObjectState {
        resource_version: version,
        ..before.clone()
    })
}

/// Keeps a computed status in memory without writing it, because this reconcile reads Azure once more and writes then.
pub(crate) fn keep_status<K: InContext>(
    object: &K,
    state: &mut ObjectState<K>,
    mut status: K::Status,
    context: &Context,
) {
    conditions::after_unsaved(status.conditions_mut(), state.acknowledged.conditions(), now());
    state.status = Arc::new(status);
    state.unacknowledged = true;
    K::states(context).put(object.meta(), state.clone());
}

/// Ends a reconcile: writes the status, emits the events, and requeues the object after `next`.
///
/// # Errors
///
/// Fails if the API server does not acknowledge the write. The events are not emitted then; the next reconcile reports
/// what was written to Azure.
pub(crate) async fn complete<K: InContext>(
    object: &K,
    mut state: ObjectState<K>,
    after: K::Status,
    events: Vec<Event>,
    next: Duration,
    context: &Context,
) -> Result<Action, Error> {
    let next = next.min(MAX_REQUEUE);
    state.approval = approval(object).map(str::to_owned);
    write_status(object, &mut state, after, context).await?;
    state.written.clear();
    K::states(context).put(object.meta(), state);
    K::states(context).schedule(object.meta(), Instant::now().checked_add(next));
    publish::events(context, &object.object_ref(&()), events).await;
    Ok(Action::requeue(next))
}

/// Writes a status that was computed from cached data, if it changed. Such writes are debounced. The object is requeued
/// after `left`, the time until its next reconcile.
///
/// # Errors
///
/// Fails if the API server does not acknowledge the write. The events are not emitted then.
pub(crate) async fn refresh<K: InContext>(
    object: &K,
    mut state: ObjectState<K>,
    after: K::Status,
    events: Vec<Event>,
    left: Duration,
    context: &Context,
) -> Result<Action, Error> {
    if after == *state.status {
        return Ok(Action::requeue(left));
    }
    let since = state.last_write.map_or(LONGEST_DEBOUNCE, |at| at.elapsed());
    if K::states(context).new_objects() > BACKLOG && since < LONGEST_DEBOUNCE {
        let wait = BACKLOG_CHECK.mul_f64(1.0 + 2.0 * fastrand::f64());
        return Ok(Action::requeue(wait.min(left)));
    }
    let wait = STATUS_DEBOUNCE.saturating_sub(since);
    if !wait.is_zero() {
        return Ok(Action::requeue(wait.min(left)));
    }
    if write_status(object, &mut state, after, context).await? {
        publish::events(context, &object.object_ref(&()), events).await;
    }
    Ok(Action::requeue(left))
}

/// Reports a panic: Ready becomes Unknown. Other conditions keep their values.
///
/// # Errors
///
/// Fails if the API server does not acknowledge the write.
pub(crate) async fn report_panic<K: InContext>(
    object: &K,
    in_a_row: u32,
    context: &Context,
) -> Result<(), Error> {
    let Some(mut state) = K::states(context).get(object.meta()) else {
        return Ok(());
    };
    let mut status = K::Status::clone(&state.status);
    let generation = object.meta().generation.unwrap_or_default();
    let after = conditions::after_internal_error(status.conditions(), generation, now());
    status.conditions_mut().clone_from(&after);
    let there = write_status(object, &mut state, status, context).await?;
    if there && in_a_row == 1 {
        let note = conditions::internal_error();
        let event = Event::warning(EventReason::InternalError, "Reconcile", &note);
        publish::events(context, &object.object_ref(&()), [event]).await;
    }
    Ok(())
}

/// Delay before a retry after an API server error.
pub(crate) fn kube_retry<K: InContext>(context: &Context, meta: &ObjectMeta) -> Duration {
    let Some(mut state) = K::states(context).get(meta) else {
        return Duration::from_secs(5);
    };
    state.kube_failures = state.kube_failures.saturating_add(1);
    let wait = Duration::from_secs(1 << state.kube_failures.min(6)).min(LONGEST_KUBE_RETRY);
    K::states(context).put(meta, state);
    retry::spread(wait, fastrand::f64())
}
