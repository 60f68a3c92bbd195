//! Reconciles a `SecurityConnector`, in the same steps as a `ServerProtection` (docs/architecture.md 3.3).

use std::{sync::Arc, time::Duration};

use kube::{Resource, ResourceExt, runtime::controller::Action};
use serverprotection_api::{Mode, SecurityConnector, SecurityConnectorStatus};
use serverprotection_core::{
    conditions,
    security_connector::{
        changes,
        decide::{self, Input, Outcome},
        events, requeue,
        status::{self, Phase},
    },
};

use super::{
    deletion, finalizer,
    links::{interval, protection},
    observe::observe,
    status_refresh,
};
use crate::{
    clock::now,
    context::{Context, InContext},
    requests::{approval, due_in, is_current, requested},
    state::ObjectState,
    status_writer::{Error, Recorded, complete, keep_status, record_intent},
};

/// How often a reconcile reads and writes Azure before it writes the status and is requeued.
const MOST_ROUNDS: u32 = 3;

pub(crate) async fn reconcile(object: &SecurityConnector, context: &Context) -> Result<Action, Error> {
    if object.metadata.deletion_timestamp.is_some() {
        return deletion::reconcile(object, context).await;
    }
    let states = SecurityConnector::states(context);
    let known = states.get(object.meta());
    let Some(mut state) = known.filter(|state| is_current(object, state)) else {
        return Ok(Action::requeue(Duration::from_secs(2)));
    };
    let settled = finalizer::is_settled(object);
    if let Some(left) = due_in(object, &state, context).filter(|_| settled) {
        return status_refresh::refresh_status(object, state, left, context).await;
    }
    states.begin(object.meta());
    if let Some(version) = finalizer::settle(object, context).await? {
        state.resource_version = version;
        states.put(object.meta(), state.clone());
    }
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

/// A reconcile: rounds of reading, deciding and writing, and one status in the end.
struct Reconcile<'a> {
    object: &'a SecurityConnector,
    /// The status that the API server has before the first round.
    before: Arc<SecurityConnectorStatus>,
    state: ObjectState<SecurityConnector>,
    context: &'a Context,
}

impl Reconcile<'_> {
    /// Whether no other spec is known than the one that this reconcile works with.
    fn is_newest(&self) -> bool {
        SecurityConnector::states(self.context).is_newest(self.object.meta())
    }

    /// Returns `None` if another round must read back what this one wrote.
    async fn round(&mut self, round: u32) -> Result<Option<Action>, Error> {
        let (object, context) = (self.object, self.context);
        if !self.is_newest() {
            return Ok(Some(Action::requeue(Duration::from_secs(1))));
        }
        let requested = requested(object, &self.state);
        let known = protection(object, context);
        let live = observe(object, &self.state, known.as_ref(), requested.is_some(), context);
        let live = Box::pin(live).await;
        // The object was deleted or edited meanwhile: another reconcile decides about the new spec.
        if !self.is_newest() {
            return Ok(Some(Action::requeue(Duration::from_secs(1))));
        }
        let previous = self.state.clone();
        let (name, correlation_id) = (object.name_any(), uuid::Uuid::new_v4().to_string());
        let input = Input {
            name: &name,
            spec: &object.spec,
            generation: object.meta().generation.unwrap_or_default(),
            approval: approval(object),
            requested,
            protection: known.as_ref().map(|known| &known.protection),
            previous: &previous.status,
            observation: live.observation(),
            machines: status_refresh::machines(object, known.as_ref(), &previous, context),
            history: &previous.history,
            timeouts: &context.settings.timeouts,
            correlation_id: &correlation_id,
            now: now(),
        };
        let interval = interval(known.as_ref(), context);
        let decision = decide::decide(&input);
        let mode = known
            .as_ref()
            .map_or(Mode::Observe, |known| known.protection.mode);
        let target = decide::target(&input);
        let mut recorded_intent = None;
        let outcome = match (
            context.gate.permit(mode, object.spec.suspend, &correlation_id),
            target,
        ) {
            (Some(permit), Some(target)) if !decision.changes.is_empty() => {
                // The write may take minutes, and an adoption must show which fields differed.
                let failures = previous.history.failures;
                let intent = status::status(&input, &decision, Phase::BeforeWrite, failures, interval);
                recorded_intent = Some(intent.clone());
                match record_intent(object, &mut self.state, intent, context).await? {
                    Recorded::Yes => {}
                    Recorded::Gone => return Ok(Some(Action::await_change())),
                    Recorded::Outdated => return Ok(Some(Action::requeue(Duration::from_secs(1)))),
                }
                live.apply(&target, &decision, &permit).await
            }
            _ => Outcome::default(),
        };
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

fn count(outcome: &Outcome, context: &Context) {
    for change in &outcome.done {
        let change = match change.action {
            changes::Action::CreateResourceGroup { .. } => "resource_group",
            changes::Action::PutConnector(_) => "connector",
        };
        context.metrics.changed(change);
    }
}
