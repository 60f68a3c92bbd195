//! Reconciles a `ServerProtection` (docs/architecture.md 3.2).

use std::{sync::Arc, time::Duration};

use kube::{Resource, ResourceExt, runtime::controller::Action};
use serverprotection_api::{ServerProtection, ServerProtectionStatus};
use serverprotection_core::{
    claims::{Evidence, Ownership, Verdict},
    conditions,
    request::Requested,
    security_connector::desired::Protection,
    server_protection::{
        changes,
        decide::{self, Input, Outcome},
        events, requeue,
        status::{self, Phase},
    },
};

use super::{
    observe::{LiveObservation, observe, prove, prove_with},
    status_refresh,
    watch_events::stage,
};
use crate::{
    claims,
    clock::now,
    context::{Context, InContext},
    credential_use::CredentialUse,
    parsed::InvalidObject,
    requests::{approval, due_in, is_being_applied, is_current, requested},
    state::ObjectState,
    status_writer::{Error, Recorded, complete, keep_status, record_intent},
    unreadable,
};

/// How often a reconcile reads and writes Azure before it writes the status and is requeued. A write is read back at
/// once; a plan write and the writes that depend on it take three rounds.
const MOST_ROUNDS: u32 = 5;

/// When an object that waits for the proof of another one is decided about again.
const UNDECIDED: Duration = Duration::from_secs(2);

pub(crate) async fn reconcile(object: &ServerProtection, context: &Context) -> Result<Action, Error> {
    if object.metadata.deletion_timestamp.is_some() {
        return release(object, context).await;
    }
    let states = ServerProtection::states(context);
    let known = states.get(object.meta());
    let Some(state) = known.filter(|state| is_current(object, state)) else {
        return Ok(Action::requeue(Duration::from_secs(2)));
    };
    if let Some(left) = due_in(object, &state, context) {
        return status_refresh::refresh_status(object, state, left, context).await;
    }
    if is_being_applied(object, &state, now()) && !has_credential(object, context) {
        return Ok(Action::requeue(Duration::from_secs(1)));
    }
    states.begin(object.meta());
    let mut reconcile = Reconcile {
        object,
        before: Arc::clone(&state.acknowledged),
        state,
        context,
    };
    for round in 1..=MOST_ROUNDS {
        if let Some(action) = Box::pin(reconcile.round(round)).await? {
            return Ok(action);
        }
    }
    Ok(Action::requeue(Duration::ZERO))
}

/// Whether the credential that the object names exists.
fn has_credential(object: &ServerProtection, context: &Context) -> bool {
    let namespace = object.namespace().unwrap_or_default();
    let usage = CredentialUse::of_protection(&namespace, &object.spec);
    context.credentials.contains(&usage)
}

/// A reconcile: rounds of reading, deciding and writing, and one status in the end.
struct Reconcile<'a> {
    object: &'a ServerProtection,
    /// The status that the API server has before the first round.
    before: Arc<ServerProtectionStatus>,
    state: ObjectState<ServerProtection>,
    context: &'a Context,
}

impl Reconcile<'_> {
    /// Whether no other spec is known than the one that this reconcile works with.
    fn is_newest(&self) -> bool {
        ServerProtection::states(self.context).is_newest(self.object.meta())
    }

    /// Returns `None` if another round must read back what this one wrote.
    async fn round(&mut self, round: u32) -> Result<Option<Action>, Error> {
        let (object, context) = (self.object, self.context);
        if !self.is_newest() {
            return Ok(Some(Action::requeue(Duration::from_secs(1))));
        }
        let requested = requested(object, &self.state);
        let live = observe(object, &self.state, requested.is_some(), context).await;
        // The object was deleted or edited meanwhile: another reconcile decides about the new spec.
        if !self.is_newest() {
            return Ok(Some(Action::requeue(Duration::from_secs(1))));
        }
        let (stage, credential) = (stage(object), Protection::of(&object.spec).credential);
        let evidence = match live.evidence() {
            None if claims::must_prove::<ServerProtection>(object.meta(), context) => {
                Some(prove(object, context).await)
            }
            evidence => evidence,
        };
        let verdict =
            claims::decide::<ServerProtection>(object.meta(), stage, credential.as_ref(), evidence, context);
        if verdict.ownership == Ownership::Undecided {
            return Ok(Some(Action::requeue(UNDECIDED)));
        }
        let status = &self.state.status;
        let waits = verdict.is_waiting();
        status_refresh::update_scan_registration(object, status, &live, waits, requested.is_some(), context);
        let scans = context.fleet.scans(&object.uid().unwrap_or_default());
        let connectors = status_refresh::connectors(object, context);
        let previous = self.state.clone();
        let correlation_id = uuid::Uuid::new_v4().to_string();
        let input = Input {
            scans: scans.as_ref(),
            connectors: connectors.as_ref(),
            ..input(
                object,
                &previous,
                (&live, &verdict),
                requested,
                &correlation_id,
                context,
            )
        };
        let interval = interval(object, context);
        let decision = decide::decide(&input);
        let mut recorded_intent = None;
        let outcome = match context.gate.permit(
            verdict.may_write(),
            object.spec.mode,
            object.spec.suspend,
            &correlation_id,
        ) {
            Some(permit) if !decision.changes.is_empty() => {
                // The result of a plan write is in its response only, and nothing is written without a recorded claim.
                if decision.writes_plan() || !claims::is_recorded(object, &self.state) {
                    let failures = previous.history.failures;
                    let intent = status::status(&input, &decision, Phase::BeforeWrite, failures, interval);
                    recorded_intent = Some(intent.clone());
                    match record_intent(object, &mut self.state, intent, context).await? {
                        Recorded::Yes => {}
                        Recorded::Gone => return Ok(Some(Action::await_change())),
                        Recorded::Outdated => return Ok(Some(Action::requeue(Duration::from_secs(1)))),
                    }
                }
                live.apply(&object.spec.subscription_id, &decision, &permit, context)
                    .await
            }
            _ => Outcome::default(),
        };
        claims::wrote(object, !outcome.done.is_empty(), outcome.failure(), context);
        self.state.history = requeue::update_history(&input, &decision, &outcome);
        let failures = self.state.history.failures;
        let mut after = status::status(&input, &decision, Phase::AfterWrite(&outcome), failures, interval);
        if let Some(intent) = &recorded_intent {
            // The intent was in status while Azure was writing, so conditions changed now and not when the reconcile
            // began.
            conditions::after_intent(&mut after.conditions, &intent.conditions, now());
        }
        self.state.written.extend(events::writes(&decision, &outcome));
        count(&outcome, context);
        let history = &self.state.history;
        let next = requeue::requeue_after(&input, &decision, &outcome, history, interval, fastrand::f64());
        let next = input.claim.at_most(next, input.timeouts.blocked_retry_interval);
        if next.is_zero() && round < MOST_ROUNDS && !context.stop.is_cancelled() {
            keep_status(object, &mut self.state, after, context);
            return Ok(None);
        }
        let written = &self.state.written;
        let events = events::events(&self.before, &after, written, &decision, &outcome, failures);
        complete(object, self.state.clone(), after, events, next, context)
            .await
            .map(Some)
    }
}

fn input<'a>(
    object: &'a ServerProtection,
    before: &'a ObjectState<ServerProtection>,
    (live, verdict): (&'a LiveObservation, &'a Verdict),
    requested: Option<Requested<'a>>,
    correlation_id: &'a str,
    context: &'a Context,
) -> Input<'a> {
    Input {
        spec: &object.spec,
        generation: object.meta().generation.unwrap_or_default(),
        approval: approval(object),
        requested,
        previous: &before.status,
        observation: live.observation(),
        claim: claims::claim(object, verdict),
        scans: None,
        connectors: None,
        history: &before.history,
        timeouts: &context.settings.timeouts,
        correlation_id,
        now: now(),
    }
}

fn interval(object: &ServerProtection, context: &Context) -> Duration {
    context
        .settings
        .reconcile_every
        .unwrap_or_else(|| super::watch_events::interval(&object.spec))
}

/// An object that is being deleted holds nothing, whatever finalizers of others keep it (R11).
async fn release(object: &ServerProtection, context: &Context) -> Result<Action, Error> {
    context.fleet.deregister(&object.uid().unwrap_or_default());
    claims::release(object, stage(object), context).await?;
    Ok(Action::await_change())
}

fn count(outcome: &Outcome, context: &Context) {
    for change in &outcome.done {
        let change = match change.action {
            changes::Action::Register => "register",
            changes::Action::PutPlan(_) => "plan",
            changes::Action::PutSetting { .. } => "setting",
            changes::Action::PutAssessment | changes::Action::DeleteAssessment => "assessment",
        };
        context.metrics.changed(change);
    }
}

async fn prove_unreadable(object: &InvalidObject, context: &Context) -> Evidence {
    prove_with(&CredentialUse::of_unreadable(object), context).await
}

/// Reports an object that cannot be parsed. Its machines are not scanned.
pub(crate) async fn unreadable(object: &InvalidObject, context: &Context) -> Result<Action, Error> {
    if object.metadata.deletion_timestamp.is_none() {
        context
            .fleet
            .deregister(&object.metadata.uid.clone().unwrap_or_default());
        unreadable::report::<ServerProtection>(object, context).await?;
        if claims::must_prove::<ServerProtection>(&object.metadata, context) {
            let evidence = prove_unreadable(object, context).await;
            return unreadable::record_proof::<ServerProtection>(object, evidence, context).await;
        }
    }
    Ok(Action::await_change())
}
