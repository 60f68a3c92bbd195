//! What stands in the cluster and what is remembered of it: the beginning of a visit, and the status it leaves behind.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kube::{Api, ResourceExt, runtime::controller::Action};
use serverprotection_api::annotations;
use serverprotection_core::{
    Timestamp,
    conditions::{self, Answer, Conditions},
    events::Event,
    retry,
};

use crate::{
    context::Context,
    guarded::{Guarded, Unreadable},
    kind::{Kind, Standing},
    publish,
    remembered::Remembered,
};

/// No visit is planned further ahead: intervals and waits come from specs and from Azure.
const FURTHEST_VISIT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Failures of the API server back off to this.
const LONGEST_KUBE_RETRY: Duration = Duration::from_secs(15);

/// The API server failed; everything else ends as a condition.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the API server: {0}")]
    Kube(#[from] kube::Error),
}

/// The object as it is worked on, and what is remembered of it.
pub(crate) struct Visit<K: Kind> {
    pub(crate) object: K,
    pub(crate) remembered: Remembered<K>,
}

/// The first visit after a start reads the object itself: a list may be served from an old cache, and the note before a
/// write must not be missed. `None`: the cache is older than what was worked on already.
pub(crate) async fn begin<K: Kind>(cached: &K, context: &Context) -> Result<Option<Visit<K>>, Error> {
    let uid = cached.uid().unwrap_or_default();
    let known = K::memories(context).get(&uid).filter(|known| !known.unreadable);
    if let Some(remembered) = known {
        let newest = remembered.status.observed_generation().unwrap_or_default();
        if cached.meta().generation.unwrap_or_default() < newest {
            return Ok(None);
        }
        return Ok(Some(Visit {
            object: cached.clone(),
            remembered,
        }));
    }
    let api: Api<K> = Api::namespaced(context.client.clone(), &cached.namespace().unwrap_or_default());
    let object = match api.get_opt(&cached.name_any()).await? {
        Some(object) if object.uid() == cached.uid() => object,
        _ => return Ok(None),
    };
    let status = Arc::new(object.status().cloned().unwrap_or_default());
    let remembered = Remembered {
        saved: Some(Arc::clone(&status)),
        status,
        ..Remembered::default()
    };
    Ok(Some(Visit { object, remembered }))
}

/// A new value of either "reconcile now" annotation.
pub(crate) fn requested<K: Kind>(object: &K, remembered: &Remembered<K>) -> Option<String> {
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
    (Some(request.as_str()) != remembered.status.handled()).then_some(request)
}

/// An object that a visit has nothing to do for before its time: only news can have woken it. With the time that is left.
/// Asked once for each visit.
pub(crate) fn quiet<K: Kind>(object: &K, context: &Context) -> Option<(Remembered<K>, Duration)> {
    let memories = K::memories(context);
    let remembered = memories.get(&object.uid()?)?;
    let called = memories.take_call(&object.namespace().unwrap_or_default(), &object.name_any());
    let quiet = !called
        && remembered.status.observed_generation() == object.meta().generation
        && !remembered.doubtful
        && requested(object, &remembered).is_none()
        && remembered.approval.as_deref() == approval(object);
    let left = remembered.next_visit?.checked_duration_since(Instant::now())?;
    quiet.then_some((remembered, left))
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
pub(crate) async fn save<K: Kind>(
    object: &K,
    remembered: &mut Remembered<K>,
    mut status: K::Status,
    context: &Context,
) -> Result<bool, Error> {
    let memories = K::memories(context);
    let uid = object.uid().unwrap_or_default();
    if let Some(stood) = remembered.saved.as_ref().filter(|_| remembered.doubtful) {
        conditions::after_unsaved(status.conditions_mut(), stood.conditions());
    }
    if !remembered.doubtful
        && let Some(stood) = remembered.saved.as_ref().filter(|stood| ***stood == status)
    {
        // One copy of what stands is enough.
        remembered.status = Arc::clone(stood);
        memories.put(&uid, remembered.clone());
        return Ok(true);
    }
    remembered.status = Arc::new(status);
    remembered.doubtful = true;
    memories.put(&uid, remembered.clone());
    match publish::status(context, object, &remembered.status).await {
        Ok(()) => {
            remembered.saved = Some(Arc::clone(&remembered.status));
            remembered.doubtful = false;
            remembered.kube_failures = 0;
            memories.put(&uid, remembered.clone());
            Ok(true)
        }
        // The object is gone, and with it everything there was to say.
        Err(kube::Error::Api(answer)) if answer.is_not_found() => {
            memories.forget(&uid);
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Saves the note before a write. False: the object is gone, and has no say any more. A note that could not be saved has
/// no write behind it: remembered as one that stands, it would ask for a write that closes it. It may have arrived all
/// the same, so the next status is sent whatever it says.
pub(crate) async fn save_note<K: Kind>(
    object: &K,
    remembered: &mut Remembered<K>,
    note: K::Status,
    context: &Context,
) -> Result<bool, Error> {
    let before = remembered.clone();
    let saved = save(object, remembered, note, context).await;
    if saved.is_err() {
        let remembered = Remembered {
            doubtful: true,
            ..before
        };
        K::memories(context).put(&object.uid().unwrap_or_default(), remembered);
    }
    saved
}

/// Ends a visit: the status that it leaves behind, what was worth an event, and when the next one is due.
pub(crate) async fn finish<K: Kind>(
    object: &K,
    mut remembered: Remembered<K>,
    after: K::Status,
    told: Vec<Event>,
    next: Duration,
    context: &Context,
) -> Result<Action, Error> {
    let next = next.min(FURTHEST_VISIT);
    remembered.next_visit = Instant::now().checked_add(next);
    remembered.approval = approval(object).map(str::to_owned);
    save(object, &mut remembered, after, context).await?;
    publish::events(context, object, told).await;
    Ok(Action::requeue(next))
}

/// A visit panicked: Ready is not known any more, whatever stood there. What else stands was true when it was written.
pub(crate) async fn report_panic<K: Kind>(cached: &K, in_a_row: u32, context: &Context) -> Result<(), Error> {
    let Some(Visit {
        object,
        mut remembered,
    }) = begin(cached, context).await?
    else {
        return Ok(());
    };
    let mut status = K::Status::clone(&remembered.status);
    let generation = object.meta().generation.unwrap_or_default();
    let after = conditions::after_internal_error(status.conditions(), generation, now());
    status.conditions_mut().clone_from(&after);
    let there = save(&object, &mut remembered, status, context).await?;
    if there && in_a_row == 1 {
        let event = Event::warning("InternalError", "Reconcile", conditions::INTERNAL_ERROR);
        publish::events(context, &object, [event]).await;
    }
    Ok(())
}

/// How long to wait after a failure of the API server.
pub(crate) fn kube_retry<K: Kind>(context: &Context, uid: &str) -> Duration {
    let Some(mut remembered) = K::memories(context).get(uid) else {
        return Duration::from_secs(5);
    };
    remembered.kube_failures = remembered.kube_failures.saturating_add(1);
    let wait = Duration::from_secs(1 << remembered.kube_failures.min(6)).min(LONGEST_KUBE_RETRY);
    K::memories(context).put(uid, remembered);
    retry::spread(wait, fastrand::f64())
}

/// An object of a newer version: it is told, and nothing else is touched. It is read first: the watch may deliver it
/// with the status from before our newest patch, and sending that back would turn its conditions back.
pub(crate) async fn report_unreadable<K: Kind>(cached: &Unreadable, context: &Context) -> Result<(), Error> {
    let namespace = cached.metadata.namespace.clone().unwrap_or_default();
    let api: Api<Guarded<K>> = Api::namespaced(context.client.clone(), &namespace);
    let name = cached.metadata.name.clone().unwrap_or_default();
    let Some(Guarded::Unreadable(object)) = api.get_opt(&name).await? else {
        return Ok(());
    };
    let generation = object.metadata.generation.unwrap_or_default();
    let before = object
        .raw
        .pointer("/status/conditions")
        .cloned()
        .unwrap_or_default();
    let before: Vec<_> = serde_json::from_value(before).unwrap_or_default();
    let message = format!(
        "this version of the controller cannot read the object ({}); upgrade the controller, or write the object as this version knows it",
        object.error
    );
    let mut conditions = Conditions::new(&before, generation, now());
    conditions.remove("Reconciling");
    conditions.set("Ready", Answer::False, "Unreadable", &message);
    conditions.set("Stalled", Answer::True, "Unreadable", &message);
    let after = conditions.finish();
    // What was remembered is older than what is told now: once the object can be read, its status is read too.
    let mut status = K::Status::default();
    status.conditions_mut().clone_from(&after);
    let remembered = Remembered {
        status: Arc::new(status),
        unreadable: true,
        ..Remembered::default()
    };
    K::memories(context).put(&object.metadata.uid.clone().unwrap_or_default(), remembered);
    if after != before {
        publish::unreadable::<K>(context, &object, &serde_json::json!(after)).await?;
    }
    Ok(())
}
