//! Loads an object with its state at the beginning of a reconcile, and writes its status at the end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kube::{Api, ResourceExt, runtime::controller::Action};
use serverprotection_api::annotations;
use serverprotection_core::{
    Timestamp,
    conditions::{self, ConditionStatus, ConditionType, Conditions, Reason},
    events::Event,
    message::Message,
    reason::EventReason,
    retry,
};

use crate::{
    context::Context,
    kind::{Kind, StatusExt},
    parsed::{InvalidObject, Parsed},
    publish,
    state::ObjectState,
};

/// Longest requeue delay. Intervals and delays come from specs and from Azure.
const MAX_REQUEUE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Longest delay after an API server error.
const LONGEST_KUBE_RETRY: Duration = Duration::from_secs(15);

/// An API server error. All other errors become conditions.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("request to the API server failed: {0}")]
    Kube(#[from] kube::Error),
}

/// An object, and what the process stores about it.
pub(crate) struct Loaded<K: Kind> {
    pub(crate) object: K,
    pub(crate) state: ObjectState<K>,
}

/// Returns the object and its state. The first reconcile of a process reads the object from the API server, because a
/// cached list may be old and the recorded intent must not be missed. Returns `None` if the cache is older than the
/// last reconciled generation, or if the object no longer exists.
///
/// # Errors
///
/// Fails if the API server cannot be read.
pub(crate) async fn load<K: Kind>(cached: &K, context: &Context) -> Result<Option<Loaded<K>>, Error> {
    let uid = cached.uid().unwrap_or_default();
    let known = K::states(context).get(&uid).filter(|known| !known.unreadable);
    if let Some(state) = known {
        let newest = state.status.observed_generation().unwrap_or_default();
        if cached.meta().generation.unwrap_or_default() < newest {
            return Ok(None);
        }
        return Ok(Some(Loaded {
            object: cached.clone(),
            state,
        }));
    }
    let api: Api<K> = Api::namespaced(context.client.clone(), &cached.namespace().unwrap_or_default());
    let object = match api.get_opt(&cached.name_any()).await? {
        Some(object) if object.uid() == cached.uid() => object,
        _ => return Ok(None),
    };
    let status = Arc::new(object.status().cloned().unwrap_or_default());
    let state = ObjectState {
        acknowledged: Some(Arc::clone(&status)),
        status,
        ..ObjectState::default()
    };
    Ok(Some(Loaded { object, state }))
}

/// Returns the new value of the "reconcile now" annotations, if there is one.
pub(crate) fn requested<K: Kind>(object: &K, state: &ObjectState<K>) -> Option<String> {
    // Both are one request: a change of either starts a reconcile.
    let value = |name| object.annotations().get(name).map(String::as_str);
    let (ours, flux) = (
        value(annotations::RECONCILE_REQUESTED_AT),
        value(annotations::FLUX_REQUESTED_AT),
    );
    let request = match (ours, flux) {
        (Some(ours), Some(flux)) => format!("{ours},{flux}"),
        (one, other) => one.or(other)?.to_owned(),
    };
    (Some(request.as_str()) != state.status.handled()).then_some(request)
}

/// Returns the cached state and the time until the next scheduled reconcile, if nothing requires reading Azure
/// earlier. Clears the pending trigger.
pub(crate) fn not_due<K: Kind>(object: &K, context: &Context) -> Option<(ObjectState<K>, Duration)> {
    let store = K::states(context);
    let state = store.get(&object.uid()?)?;
    let due = store.take_due(&object.namespace().unwrap_or_default(), &object.name_any());
    let not_due = !due
        && state.status.observed_generation() == object.meta().generation
        && !state.unacknowledged
        && requested(object, &state).is_none()
        && state.approval.as_deref() == approval(object);
    let left = state.next_reconcile?.checked_duration_since(Instant::now())?;
    not_due.then_some((state, left))
}

/// The annotation that approves reductions.
pub(crate) fn approval<K: Kind>(object: &K) -> Option<&str> {
    object
        .annotations()
        .get(annotations::APPROVE_REDUCTION)
        .map(String::as_str)
}

/// Now, truncated to whole seconds (Kubernetes' precision), so that a stored timestamp compares equal when read back.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Stores the new status locally, then patches it if it differs from the last acknowledged one, so that results which
/// Azure returns only once survive an API server outage. Transition times are relative to the last acknowledged
/// status. Returns `false` if the object no longer exists.
///
/// # Errors
///
/// Fails if the API server does not acknowledge the patch.
pub(crate) async fn write_status<K: Kind>(
    object: &K,
    state: &mut ObjectState<K>,
    mut status: K::Status,
    context: &Context,
) -> Result<bool, Error> {
    let store = K::states(context);
    let uid = object.uid().unwrap_or_default();
    if let Some(acknowledged) = state.acknowledged.as_ref().filter(|_| state.unacknowledged) {
        conditions::after_unsaved(status.conditions_mut(), acknowledged.conditions());
    }
    if !state.unacknowledged
        && let Some(acknowledged) = state
            .acknowledged
            .as_ref()
            .filter(|acknowledged| ***acknowledged == status)
    {
        // Share one copy of the acknowledged status.
        state.status = Arc::clone(acknowledged);
        store.put(&uid, state.clone());
        return Ok(true);
    }
    state.status = Arc::new(status);
    state.unacknowledged = true;
    store.put(&uid, state.clone());
    match publish::status(context, object, &state.status).await {
        Ok(()) => {
            state.acknowledged = Some(Arc::clone(&state.status));
            state.unacknowledged = false;
            state.kube_failures = 0;
            store.put(&uid, state.clone());
            Ok(true)
        }
        // The object is deleted, so there is nothing left to report.
        Err(kube::Error::Api(answer)) if answer.is_not_found() => {
            store.forget(&uid);
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Records the intent of a write. Returns `false` if the object no longer exists. If the patch fails, no write to
/// Azure follows, so the previous status is restored: an intent without a write would cause a write. The patch may
/// have arrived all the same, so the next status is sent in any case.
///
/// # Errors
///
/// Fails if the API server does not acknowledge the patch.
pub(crate) async fn record_intent<K: Kind>(
    object: &K,
    state: &mut ObjectState<K>,
    intent: K::Status,
    context: &Context,
) -> Result<bool, Error> {
    let before = state.clone();
    let acknowledged = write_status(object, state, intent, context).await;
    if acknowledged.is_err() {
        let state = ObjectState {
            unacknowledged: true,
            ..before
        };
        K::states(context).put(&object.uid().unwrap_or_default(), state);
    }
    acknowledged
}

/// Ends a reconcile: writes the status, emits the events, and requeues the object after `next`.
///
/// # Errors
///
/// Fails if the API server does not acknowledge the patch. The events are not emitted then.
pub(crate) async fn complete<K: Kind>(
    object: &K,
    mut state: ObjectState<K>,
    after: K::Status,
    events: Vec<Event>,
    next: Duration,
    context: &Context,
) -> Result<Action, Error> {
    let next = next.min(MAX_REQUEUE);
    state.next_reconcile = Instant::now().checked_add(next);
    state.approval = approval(object).map(str::to_owned);
    write_status(object, &mut state, after, context).await?;
    publish::events(context, object, events).await;
    Ok(Action::requeue(next))
}

/// Reports a panic: Ready becomes Unknown. Other conditions keep their values.
///
/// # Errors
///
/// Fails if the API server cannot be read, or does not acknowledge the patch.
pub(crate) async fn report_panic<K: Kind>(cached: &K, in_a_row: u32, context: &Context) -> Result<(), Error> {
    let Some(Loaded { object, mut state }) = load(cached, context).await? else {
        return Ok(());
    };
    let mut status = K::Status::clone(&state.status);
    let generation = object.meta().generation.unwrap_or_default();
    let after = conditions::after_internal_error(status.conditions(), generation, now());
    status.conditions_mut().clone_from(&after);
    let there = write_status(&object, &mut state, status, context).await?;
    if there && in_a_row == 1 {
        let note = conditions::internal_error();
        let event = Event::warning(EventReason::InternalError, "Reconcile", &note);
        publish::events(context, &object, [event]).await;
    }
    Ok(())
}

/// Delay before a retry after an API server error.
pub(crate) fn kube_retry<K: Kind>(context: &Context, uid: &str) -> Duration {
    let Some(mut state) = K::states(context).get(uid) else {
        return Duration::from_secs(5);
    };
    state.kube_failures = state.kube_failures.saturating_add(1);
    let wait = Duration::from_secs(1 << state.kube_failures.min(6)).min(LONGEST_KUBE_RETRY);
    K::states(context).put(uid, state);
    retry::spread(wait, fastrand::f64())
}

/// Reports an object that cannot be parsed, and changes nothing else. The object is read first: the watch may deliver
/// it with an older status, and sending that back would revert its conditions.
///
/// # Errors
///
/// Fails if the API server cannot be read, or does not acknowledge the patch.
pub(crate) async fn report_unreadable<K: Kind>(
    cached: &InvalidObject,
    context: &Context,
) -> Result<(), Error> {
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
    let state = ObjectState {
        status: Arc::new(status),
        unreadable: true,
        ..ObjectState::default()
    };
    K::states(context).put(&object.metadata.uid.clone().unwrap_or_default(), state);
    if after != before {
        publish::unreadable::<K>(context, &object, &serde_json::json!(after)).await?;
    }
    Ok(())
}
