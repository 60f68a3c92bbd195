//! Reconciles a `ServerProtection` (docs/architecture.md 3.2).

use std::{sync::Arc, time::Duration};

use kube::{Resource, ResourceExt, runtime::controller::Action};
use serverprotection_api::ServerProtection;
use serverprotection_core::{
    claims::Claim,
    conditions::{self, ConditionType, is_true},
    server_protection::{
        changes::{self},
        decide::{self, Decision, Input, Observation, Outcome},
        events,
        observed::Observed,
        reads, requeue,
        status::{self, Phase},
    },
};

use super::{status_refresh, watch_events::claimant_of};
use crate::{
    context::Context,
    parsed::InvalidObject,
    state::ObjectState,
    status_writer::{
        Error, Loaded, approval, complete, load, now, record_intent, report_unreadable, requested,
    },
};

pub(crate) async fn reconcile(object: &ServerProtection, context: &Context) -> Result<Action, Error> {
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    if let Some(action) = status_refresh::refresh_status(object, context).await {
        return action;
    }
    let Some(Loaded { object, mut state }) = load(object, context).await? else {
        return Ok(Action::requeue(Duration::from_secs(2)));
    };
    let requested = requested(&object, &state);
    let live = observe(&object, &state, requested.is_some(), context).await;
    status_refresh::update_scan_registration(&object, &live, requested.is_some(), context);
    let scans = context.fleet.scans(&object.uid().unwrap_or_default());
    let connectors = status_refresh::connectors(&object, context);
    let before = state.clone();
    let input = Input {
        scans: scans.as_ref(),
        connectors: connectors.as_ref(),
        ..input(&object, &before, &live, requested.as_deref(), context)
    };

    let interval = interval(&object, context);
    let decision = decide::decide(&input);
    let mut recorded_intent = None;
    let outcome = match context.gate.permit(object.spec.mode, object.spec.suspend) {
        Some(permit) if !decision.changes.is_empty() => {
            if decision.writes_plan() {
                let intent = status::status(
                    &input,
                    &decision,
                    Phase::BeforeWrite,
                    before.history.failures,
                    interval,
                );
                recorded_intent = Some(intent.clone());
                if !record_intent(&object, &mut state, intent, context).await? {
                    return Ok(Action::await_change());
                }
            }
            live.apply(&object.spec.subscription_id, &decision, &permit).await
        }
        _ => Outcome::default(),
    };

    state.history = requeue::update_history(&input, &decision, &outcome);
    let failures = state.history.failures;
    let mut after = status::status(&input, &decision, Phase::AfterWrite(&outcome), failures, interval);
    if let Some(intent) = &recorded_intent {
        // The intent was in status while Azure was writing, so conditions changed now and not when the reconcile
        // began.
        conditions::after_intent(&mut after.conditions, &intent.conditions, now());
    }
    let events = events::events(&before.status, &after, &decision, &outcome, failures);
    let next = requeue::requeue_after(
        &input,
        &decision,
        &outcome,
        &state.history,
        interval,
        fastrand::f64(),
    );
    count(&outcome, context);
    complete(&object, state, after, events, next, context).await
}

/// The observation of a reconcile, with the client for its writes.
pub(crate) enum LiveObservation {
    Suspended,
    Conflicted(String),
    Azure {
        observed: Box<Observed>,
        arm: Option<Arc<serverprotection_azure::Arm>>,
    },
}

impl LiveObservation {
    fn observation(&self) -> Observation<'_> {
        match self {
            Self::Suspended => Observation::Suspended,
            Self::Conflicted(holder) => Observation::Conflicted(holder),
            Self::Azure { observed, .. } => Observation::Azure(observed),
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

async fn observe(
    object: &ServerProtection,
    state: &ObjectState<ServerProtection>,
    requested: bool,
    context: &Context,
) -> LiveObservation {
    if let Some(Claim::Conflicted { holder }) = claim(object, state, context) {
        return if object.spec.suspend {
            LiveObservation::Suspended
        } else {
            LiveObservation::Conflicted(holder)
        };
    }
    if object.spec.suspend {
        return LiveObservation::Suspended;
    }
    let namespace = object.namespace().unwrap_or_default();
    let reference = object
        .spec
        .credential_ref
        .as_ref()
        .map(|reference| &reference.name);
    let force_refresh = !is_true(&state.status.conditions, ConditionType::CredentialReady);
    match context
        .credentials
        .arm_for(&namespace, reference.map(String::as_str), force_refresh)
        .await
    {
        Err(failure) => LiveObservation::Azure {
            observed: Box::new(Observed::without_credential(failure)),
            arm: None,
        },
        Ok(arm) => {
            let generation = object.meta().generation.unwrap_or_default();
            let reads = reads::reads(&object.spec, generation, &state.status, &state.history, requested);
            let observed = arm.observe(&object.spec.subscription_id, &reads).await;
            LiveObservation::Azure {
                observed: Box::new(observed),
                arm: Some(arm),
            }
        }
    }
}

fn claim(
    object: &ServerProtection,
    state: &ObjectState<ServerProtection>,
    context: &Context,
) -> Option<Claim> {
    let held = state
        .status
        .claim
        .as_ref()
        .is_some_and(|claim| claim.state == "Held");
    let claimant = claimant_of(object.meta(), object.spec.subscription_id.clone(), held)?;
    Some(context.claims.index().claim(&claimant))
}

fn input<'a>(
    object: &'a ServerProtection,
    before: &'a ObjectState<ServerProtection>,
    live: &'a LiveObservation,
    requested: Option<&'a str>,
    context: &'a Context,
) -> Input<'a> {
    Input {
        spec: &object.spec,
        generation: object.meta().generation.unwrap_or_default(),
        approval: approval(object),
        requested,
        previous: &before.status,
        observation: live.observation(),
        scans: None,
        connectors: None,
        history: &before.history,
        timeouts: &context.timeouts,
        now: now(),
    }
}

fn interval(object: &ServerProtection, context: &Context) -> Duration {
    context
        .reconcile_every
        .unwrap_or_else(|| super::watch_events::interval(&object.spec))
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

/// Reports an object that cannot be parsed. Its machines are not scanned.
pub(crate) async fn unreadable(object: &InvalidObject, context: &Context) -> Result<Action, Error> {
    if object.metadata.deletion_timestamp.is_none() {
        context
            .fleet
            .deregister(&object.metadata.uid.clone().unwrap_or_default());
        report_unreadable::<ServerProtection>(object, context).await?;
    }
    Ok(Action::await_change())
}
