//! One visit of a `ServerProtection`: the picture of design.md section 3, with its details by name.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kube::{Api, Resource, ResourceExt, runtime::controller::Action};
use serverprotection_api::{ServerProtection, ServerProtectionStatus, annotations};
use serverprotection_core::{
    Timestamp,
    claims::Claim,
    conditions::{Answer, Conditions, is_true},
    retry,
    server_protection::{
        changes::{self},
        decide::{self, Decision, Input, Outcome, Seen},
        events,
        observed::Observed,
        pace, reads,
        status::{self, Progress},
    },
};

use crate::{
    context::Context,
    guarded::{Guarded, Unreadable, claimant_of},
    metrics::{ChangeLabel, OutcomeLabel},
    publish,
    remembered::Remembered,
    verification,
};

/// A visit takes at most this long; a write that is cut off by it is an open one, and is closed by the next visit.
const DEADLINE: Duration = Duration::from_secs(120);
/// Failures of the API server back off to this.
const LONGEST_KUBE_RETRY: Duration = Duration::from_secs(15);

/// The API server failed; everything else ends as a condition.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the API server: {0}")]
    Kube(#[from] kube::Error),
}

/// Visits an object and says when to come back. Never fails: what went wrong paces the next visit.
pub(crate) async fn reconcile(object: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Error> {
    let started = Instant::now();
    let uid = object.meta().uid.clone().unwrap_or_default();
    let visited = match &*object {
        _ if object.meta().deletion_timestamp.is_some() => Ok(Ok(Action::await_change())),
        Guarded::Readable(object) => tokio::time::timeout(DEADLINE, Box::pin(visit(object, &context))).await,
        Guarded::Unreadable(object) => Ok(report_unreadable(object, &context).await),
    };
    let (outcome, action) = match visited {
        Ok(Ok(action)) => ("ok", action),
        Ok(Err(error)) => {
            context.metrics.kube_failures.inc();
            let wait = kube_retry(&context, &uid);
            tracing::warn!(%error, retry_in = ?wait, "visit could not be finished");
            ("kubernetes_failure", Action::requeue(wait))
        }
        Err(_) => {
            tracing::warn!("visit took longer than {DEADLINE:?} and was ended");
            ("deadline", Action::requeue(Duration::from_secs(10)))
        }
    };
    context
        .metrics
        .visits
        .get_or_create(&OutcomeLabel { outcome })
        .inc();
    context
        .metrics
        .visit_seconds
        .observe(started.elapsed().as_secs_f64());
    Ok(action)
}

async fn visit(object: &ServerProtection, context: &Context) -> Result<Action, Error> {
    if let Some(told) = verification::tell_news(object, context).await {
        return told;
    }
    let Some(Visit {
        object,
        mut remembered,
    }) = begin(object, context).await?
    else {
        return Ok(Action::requeue(Duration::from_secs(2)));
    };
    let requested = requested(&object, &remembered);
    let seen = look(&object, &remembered, requested.is_some(), context).await;
    verification::enrol(&object, &seen, requested.is_some(), context);
    let scans = context.fleet.scans(&object.uid().unwrap_or_default());
    let before = remembered.clone();
    let input = Input {
        scans: scans.as_ref(),
        ..input(&object, &before, &seen, requested.as_deref(), context)
    };

    let interval = interval(&object, context);
    let decision = decide::decide(&input);
    let mut noted = None;
    let outcome = match context.gate.permit(object.spec.mode, object.spec.suspend) {
        Some(permit) if !decision.changes.is_empty() => {
            if decision.writes_plan() {
                let note = status::status(
                    &input,
                    &decision,
                    Progress::About,
                    before.memory.failures,
                    interval,
                );
                noted = Some(note.clone());
                match save(&object, &mut remembered, note, context).await {
                    Ok(true) => {}
                    // An object that is gone in the meantime has no say any more.
                    Ok(false) => return Ok(Action::await_change()),
                    Err(error) => {
                        forget_note(&object, &before, context);
                        return Err(error);
                    }
                }
            }
            seen.apply(&object.spec.subscription_id, &decision, &permit).await
        }
        _ => Outcome::default(),
    };

    remembered.memory = pace::remember(&input, &decision, &outcome);
    let failures = remembered.memory.failures;
    let after = status::status(&input, &decision, Progress::Over(&outcome), failures, interval);
    let after = match &noted {
        // The note stood while Azure was writing: what differs now has changed now, not when the visit began.
        Some(note) => status::after_note(after, note, now()),
        None => after,
    };
    let told = events::events(&before.status, &after, &decision, &outcome, failures);
    let next = pace::next_visit(
        &input,
        &decision,
        &outcome,
        &remembered.memory,
        interval,
        fastrand::f64(),
    );
    count(&outcome, context);
    remembered.next_visit = Some(Instant::now() + next);
    remembered.approval = approval(&object).map(str::to_owned);
    save(&object, &mut remembered, after, context).await?;
    publish::events(context, &object, told).await;
    Ok(Action::requeue(next))
}

/// The object as it is worked on, and what is remembered of it.
struct Visit {
    object: ServerProtection,
    remembered: Remembered,
}

/// The first visit after a start reads the object itself: a list may be served from an old cache, and the note before a
/// write must not be missed. `None`: the cache is older than what was worked on already.
async fn begin(cached: &ServerProtection, context: &Context) -> Result<Option<Visit>, Error> {
    let uid = cached.uid().unwrap_or_default();
    if let Some(remembered) = context.memories.get(&uid).filter(|known| !known.unreadable) {
        let newest = remembered.status.observed_generation.unwrap_or_default();
        if cached.meta().generation.unwrap_or_default() < newest {
            return Ok(None);
        }
        return Ok(Some(Visit {
            object: cached.clone(),
            remembered,
        }));
    }
    let api: Api<ServerProtection> =
        Api::namespaced(context.client.clone(), &cached.namespace().unwrap_or_default());
    let object = match api.get_opt(&cached.name_any()).await? {
        Some(object) if object.uid() == cached.uid() => object,
        _ => return Ok(None),
    };
    let status = Arc::new(object.status.clone().unwrap_or_default());
    let remembered = Remembered {
        saved: Some(Arc::clone(&status)),
        status,
        ..Remembered::default()
    };
    Ok(Some(Visit { object, remembered }))
}

/// A new value of either "reconcile now" annotation.
pub(crate) fn requested(object: &ServerProtection, remembered: &Remembered) -> Option<String> {
    let handled = remembered.status.last_handled_reconcile_at.as_deref();
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
    (Some(request.as_str()) != handled).then_some(request)
}

/// The annotation that approves reductions.
pub(crate) fn approval(object: &ServerProtection) -> Option<&str> {
    object
        .annotations()
        .get(annotations::APPROVE_REDUCTION)
        .map(String::as_str)
}

/// What a visit saw, with the client to act on it.
pub(crate) enum Look {
    Suspended,
    Conflicted(String),
    Azure {
        observed: Box<Observed>,
        arm: Option<Arc<serverprotection_azure::Arm>>,
    },
}

impl Look {
    fn seen(&self) -> Seen<'_> {
        match self {
            Self::Suspended => Seen::Suspended,
            Self::Conflicted(holder) => Seen::Conflicted(holder),
            Self::Azure { observed, .. } => Seen::Azure(observed),
        }
    }

    async fn apply(
        &self,
        subscription: &str,
        decision: &Decision,
        permit: &serverprotection_core::gate::WritePermit,
    ) -> Outcome {
        match self {
            Self::Azure { arm: Some(arm), .. } => arm.apply(subscription, &decision.changes, permit).await,
            _ => Outcome::default(),
        }
    }
}

async fn look(
    object: &ServerProtection,
    remembered: &Remembered,
    requested: bool,
    context: &Context,
) -> Look {
    if let Some(Claim::Conflicted { holder }) = claim(object, remembered, context) {
        return if object.spec.suspend {
            Look::Suspended
        } else {
            Look::Conflicted(holder)
        };
    }
    if object.spec.suspend {
        return Look::Suspended;
    }
    let doubtful = !is_true(&remembered.status.conditions, "CredentialReady");
    match context.credentials.arm_for(object, doubtful).await {
        Err(failure) => Look::Azure {
            observed: Box::new(Observed::without_credential(failure)),
            arm: None,
        },
        Ok(arm) => {
            let generation = object.meta().generation.unwrap_or_default();
            let reads = reads::reads(
                &object.spec,
                generation,
                &remembered.status,
                &remembered.memory,
                requested,
            );
            let observed = arm.observe(&object.spec.subscription_id, &reads).await;
            Look::Azure {
                observed: Box::new(observed),
                arm: Some(arm),
            }
        }
    }
}

fn claim(object: &ServerProtection, remembered: &Remembered, context: &Context) -> Option<Claim> {
    let held = remembered
        .status
        .claim
        .as_ref()
        .is_some_and(|claim| claim.state == "Held");
    let claimant = claimant_of(object.meta(), object.spec.subscription_id.clone(), held)?;
    Some(context.claims.index().claim(&claimant))
}

fn input<'a>(
    object: &'a ServerProtection,
    before: &'a Remembered,
    look: &'a Look,
    requested: Option<&'a str>,
    context: &'a Context,
) -> Input<'a> {
    Input {
        spec: &object.spec,
        generation: object.meta().generation.unwrap_or_default(),
        approval: approval(object),
        requested,
        previous: &before.status,
        seen: look.seen(),
        scans: None,
        memory: &before.memory,
        clocks: &context.clocks,
        now: now(),
    }
}

/// In whole seconds, cut off: what is written must be what is read back, and never lie ahead.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn interval(object: &ServerProtection, context: &Context) -> Duration {
    let spec = humantime::parse_duration(&object.spec.interval).unwrap_or(Duration::from_secs(600));
    context.visit_every.unwrap_or(spec)
}

/// Remembers first, then patches: what an answer told is not lost while the API server is away. Nothing is sent when
/// nothing changed. Transition times count from what stood there, not from what never arrived. False: the object is gone.
pub(crate) async fn save(
    object: &ServerProtection,
    remembered: &mut Remembered,
    status: ServerProtectionStatus,
    context: &Context,
) -> Result<bool, Error> {
    let uid = object.uid().unwrap_or_default();
    let status = match &remembered.saved {
        Some(stood) if remembered.doubtful => status::after_unsaved(status, stood),
        _ => status,
    };
    if !remembered.doubtful
        && let Some(stood) = remembered.saved.as_ref().filter(|stood| ***stood == status)
    {
        // One copy of what stands is enough.
        remembered.status = Arc::clone(stood);
        context.memories.put(&uid, remembered.clone());
        return Ok(true);
    }
    remembered.status = Arc::new(status);
    remembered.doubtful = true;
    context.memories.put(&uid, remembered.clone());
    match publish::status(context, object, &remembered.status).await {
        Ok(()) => {
            remembered.saved = Some(Arc::clone(&remembered.status));
            remembered.doubtful = false;
            remembered.kube_failures = 0;
            context.memories.put(&uid, remembered.clone());
            Ok(true)
        }
        // The object is gone, and with it everything there was to say.
        Err(kube::Error::Api(answer)) if answer.is_not_found() => {
            context.memories.forget(&uid);
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// A note that could not be saved has no write behind it: remembered as one that stands, it would ask for a write that
/// closes it. It may have arrived all the same, so the next status is sent whatever it says.
fn forget_note(object: &ServerProtection, before: &Remembered, context: &Context) {
    let remembered = Remembered {
        doubtful: true,
        ..before.clone()
    };
    context
        .memories
        .put(&object.uid().unwrap_or_default(), remembered);
}

fn kube_retry(context: &Context, uid: &str) -> Duration {
    let Some(mut remembered) = context.memories.get(uid) else {
        return Duration::from_secs(5);
    };
    remembered.kube_failures = remembered.kube_failures.saturating_add(1);
    let wait = Duration::from_secs(1 << remembered.kube_failures.min(6)).min(LONGEST_KUBE_RETRY);
    context.memories.put(uid, remembered);
    retry::spread(wait, fastrand::f64())
}

fn count(outcome: &Outcome, context: &Context) {
    for change in &outcome.done {
        let change = match change.action {
            changes::Action::Register => "register",
            changes::Action::PutPlan(_) => "plan",
            changes::Action::PutSetting { .. } => "setting",
            changes::Action::PutAssessment | changes::Action::DeleteAssessment => "assessment",
        };
        context
            .metrics
            .changes
            .get_or_create(&ChangeLabel { change })
            .inc();
    }
}

/// An object of a newer version: it is told, and nothing else is touched. It is read first: the watch may deliver it
/// with the status from before our newest patch, and sending that back would turn its conditions back.
async fn report_unreadable(cached: &Unreadable, context: &Context) -> Result<Action, Error> {
    let namespace = cached.metadata.namespace.clone().unwrap_or_default();
    let api: Api<Guarded> = Api::namespaced(context.client.clone(), &namespace);
    let name = cached.metadata.name.clone().unwrap_or_default();
    let Some(Guarded::Unreadable(object)) = api.get_opt(&name).await? else {
        return Ok(Action::await_change());
    };
    let uid = object.metadata.uid.clone().unwrap_or_default();
    context.fleet.leave(&uid);
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
    let status = ServerProtectionStatus {
        conditions: after.clone(),
        ..ServerProtectionStatus::default()
    };
    let remembered = Remembered {
        status: Arc::new(status),
        unreadable: true,
        ..Remembered::default()
    };
    context.memories.put(&uid, remembered);
    if after != before {
        publish::unreadable(context, &object, &serde_json::json!(after)).await?;
    }
    Ok(Action::await_change())
}
