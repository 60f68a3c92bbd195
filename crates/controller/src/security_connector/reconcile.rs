//! Reconciles a `SecurityConnector`, in the same steps as a `ServerProtection` (docs/architecture.md 3.3).

use std::time::Duration;

use kube::{Resource, ResourceExt, runtime::controller::Action};
use serverprotection_api::{Mode, SecurityConnector};
use serverprotection_core::{
    conditions,
    security_connector::{
        changes,
        decide::{self, Input, Outcome},
        events, requeue,
        status::{self, Phase},
    },
};

use super::{deletion, finalizer, observe::observe, status_refresh};
use crate::{
    connector_index::ProtectionEntry,
    context::Context,
    status_writer::{Error, Loaded, approval, complete, load, now, record_intent, requested},
};

/// Interval of a connector whose `ServerProtection` does not exist.
const WITHOUT_PROTECTION: Duration = Duration::from_secs(600);

pub(crate) async fn reconcile(cached: &SecurityConnector, context: &Context) -> Result<Action, Error> {
    if cached.metadata.deletion_timestamp.is_some() {
        return deletion::reconcile(cached, context).await;
    }
    if let Some(action) = status_refresh::refresh_status(cached, context).await {
        return action;
    }
    let Some(Loaded { object, mut state }) = load(cached, context).await? else {
        return Ok(Action::requeue(Duration::from_secs(2)));
    };
    // The object that was just read may already be deleted; the watch delivers that change.
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(Action::requeue(Duration::from_secs(1)));
    }
    // Before the first write, so that a connector that must be deleted later is not orphaned.
    finalizer::settle(&object, context).await?;

    let requested = requested(&object, &state);
    let known = protection(&object, context);
    let live = observe(&object, &state, known.as_ref(), requested.is_some(), context);
    let live = Box::pin(live).await;
    let before = state.clone();
    let name = object.name_any();
    let input = Input {
        name: &name,
        spec: &object.spec,
        generation: object.meta().generation.unwrap_or_default(),
        approval: approval(&object),
        requested: requested.as_deref(),
        protection: known.as_ref().map(|known| &known.protection),
        previous: &before.status,
        observation: live.observation(),
        machines: status_refresh::machines(&object, known.as_ref(), &before, context),
        history: &before.history,
        timeouts: &context.timeouts,
        now: now(),
    };

    let interval = interval(known.as_ref(), context);
    let decision = decide::decide(&input);
    let mode = known
        .as_ref()
        .map_or(Mode::Observe, |known| known.protection.mode);
    let target = decide::target(&input);
    let mut recorded_intent = None;
    let outcome = match (context.gate.permit(mode, object.spec.suspend), target) {
        (Some(permit), Some(target)) if !decision.changes.is_empty() => {
            // The write may take minutes, and an adoption must show which fields differed.
            let failures = before.history.failures;
            let intent = status::status(&input, &decision, Phase::BeforeWrite, failures, interval);
            recorded_intent = Some(intent.clone());
            if !record_intent(&object, &mut state, intent, context).await? {
                return Ok(Action::await_change());
            }
            live.apply(&target, &decision, &permit).await
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

/// The `ServerProtection` that the object refers to.
pub(super) fn protection(object: &SecurityConnector, context: &Context) -> Option<ProtectionEntry> {
    let namespace = object.namespace().unwrap_or_default();
    context
        .connector_index
        .protection(&namespace, &object.spec.protection_ref.name)
}

pub(super) fn interval(known: Option<&ProtectionEntry>, context: &Context) -> Duration {
    let own = || known.map_or(WITHOUT_PROTECTION, |known| known.interval);
    context.reconcile_every.unwrap_or_else(own)
}

fn count(outcome: &Outcome, context: &Context) {
    for change in &outcome.done {
        let change = match change.action {
            changes::Action::CreateResourceGroup { .. } => "resource_group",
            changes::Action::PutConnector(_) => "connector",
        };
        context.metrics.changed(change);
    }
}
