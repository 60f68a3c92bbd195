//! What stands in the cluster and what is remembered of it: the beginning of a visit, and the status it leaves behind.

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

/// No visit is planned further ahead: intervals and waits come from specs and from Azure.
const MAX_REQUEUE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Failures of the API server back off to this.
const LONGEST_KUBE_RETRY: Duration = Duration::from_secs(15);

/// The API server failed; everything else ends as a condition.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the API server: {0}")]
    Kube(#[from] kube::Error),
}

/// The object as it is worked on, and what is remembered of it.
pub(crate) struct Loaded<K: Kind> {
    pub(crate) object: K,
    pub(crate) state: ObjectState<K>,
}

/// The first visit after a start reads the object itself: a list may be served from an old cache, and the note before a
/// write must not be missed. `None`: the cache is older than what was worked on already.
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

/// A new value of either "reconcile now" annotation.
pub(crate) fn requested<K: Kind>(object: &K, state: &ObjectState<K>) -> Option<String> {
    // Both are one request: either one changing starts a visit.
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

/// An object that a visit has nothing to do for before its time: only news can have woken it. With the time that is left.
/// Asked once for each visit.
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

/// In whole seconds, cut off: what is written must be what is read back, and never lie ahead.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Remembers first, then patches: what an answer told is not lost while the API server is away. Nothing is sent when
/// nothing changed. Transition times count from what stood there, not from what never arrived. False: the object is gone.
pub(crate) async fn write_status<K: Kind>(
    object: &K,
    state: &mut ObjectState<K>,
    mut status: K::Status,
    context: &Context,
) -> Result<bool, Error> {
    let store = K::states(context);
    let uid = object.uid().unwrap_or_default();
    if let Some(stood) = state.acknowledged.as_ref().filter(|_| state.unacknowledged) {
        conditions::after_unsaved(status.conditions_mut(), stood.conditions());
    }
    if !state.unacknowledged
        && let Some(stood) = state.acknowledged.as_ref().filter(|stood| ***stood == status)
    {
        // One copy of what stands is enough.
        state.status = Arc::clone(stood);
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
        // The object is gone, and with it everything there was to say.
        Err(kube::Error::Api(answer)) if answer.is_not_found() => {
            store.forget(&uid);
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Saves the note before a write. False: the object is gone, and has no say any more. A note that could not be saved has
/// no write behind it: remembered as one that stands, it would ask for a write that closes it. It may have arrived all
/// the same, so the next status is sent whatever it says.
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

/// Ends a visit: the status that it leaves behind, what was worth an event, and when the next one is due.
pub(crate) async fn complete<K: Kind>(
    object: &K,
    mut state: ObjectState<K>,
    after: K::Status,
    reported: Vec<Event>,
    next: Duration,
    context: &Context,
) -> Result<Action, Error> {
    let next = next.min(MAX_REQUEUE);
    state.next_reconcile = Instant::now().checked_add(next);
    state.approval = approval(object).map(str::to_owned);
    write_status(object, &mut state, after, context).await?;
    publish::events(context, object, reported).await;
    Ok(Action::requeue(next))
}

/// A visit panicked: Ready is not known any more, whatever stood there. What else stands was true when it was written.
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

/// How long to wait after a failure of the API server.
pub(crate) fn kube_retry<K: Kind>(context: &Context, uid: &str) -> Duration {
    let Some(mut state) = K::states(context).get(uid) else {
        return Duration::from_secs(5);
    };
    state.kube_failures = state.kube_failures.saturating_add(1);
    let wait = Duration::from_secs(1 << state.kube_failures.min(6)).min(LONGEST_KUBE_RETRY);
    K::states(context).put(uid, state);
    retry::spread(wait, fastrand::f64())
}

/// An object of a newer version: it is told, and nothing else is touched. It is read first: the watch may deliver it
/// with the status from before our newest patch, and sending that back would turn its conditions back.
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
    // What was remembered is older than what is told now: once the object can be read, its status is read too.
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
