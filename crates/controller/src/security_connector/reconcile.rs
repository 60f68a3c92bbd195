//! Reconciles a `SecurityConnector`, in the same steps as a `ServerProtection` (docs/architecture.md 3.3).

use std::{sync::Arc, time::Duration};

use kube::{Resource, ResourceExt, runtime::controller::Action};
use serverprotection_api::{Mode, SecurityConnector, SecurityConnectorStatus};
use serverprotection_core::{
    claims::{Ownership, Verdict},
    conditions,
    security_connector::{
        account::account_key,
        changes,
        decide::{self, Input, Outcome},
        desired::account,
        events, requeue,
        status::{self, Phase},
        subject::Subject,
    },
};

use super::{
    deletion, finalizer,
    links::{interval, protection},
    observe::{LiveObservation, observe, prove, stage},
    status_refresh,
};
use crate::{
    claims::{self, Creation},
    clock::now,
    connector_index::{Holding, ProtectionEntry},
    context::{Context, InContext},
    requests::{approval, due_in, is_being_applied, is_current, requested},
    state::ObjectState,
    status_writer::{Error, Recorded, complete, keep_status, record_intent},
};

/// How often a reconcile reads and writes Azure before it writes the status and is requeued.
const MOST_ROUNDS: u32 = 3;

/// When an object is decided about again whose `ServerProtection`, or whose claim, is not decided yet.
const UNDECIDED: Duration = Duration::from_secs(5);

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
    if protection(object, context).is_none() && is_being_applied(object, &state, now()) {
        return Ok(Action::requeue(Duration::from_secs(1)));
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

    fn uid(&self) -> &str {
        self.object.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Which connector the object claims.
    fn subject<'s>(
        &self,
        known: Option<&ProtectionEntry>,
        status: &'s SecurityConnectorStatus,
    ) -> Subject<'s> {
        let protection = known.map(|known| &known.protection);
        Subject::of(&self.object.name_any(), &self.object.spec, protection, status)
    }

    /// Whether the object may write its connector, after what this reconcile read.
    async fn verdict(
        &self,
        known: Option<&ProtectionEntry>,
        subject: &Subject<'_>,
        live: &LiveObservation,
    ) -> Verdict {
        let (object, context) = (self.object, self.context);
        let stage = stage(object, known, subject, context);
        if !context.connectors.claims.index().contains(self.uid()) {
            // Without a ServerProtection, its connector was never known.
            return Verdict::none();
        }
        let recorded = subject.recorded().and_then(|target| target.credential.as_ref());
        let present = known.and_then(|known| known.protection.credential.as_ref());
        let (evidence, credential) = match (live.evidence(subject, stage), subject.recorded()) {
            (None, Some(target)) if claims::must_prove::<SecurityConnector>(object.meta(), context) => {
                (Some(prove(object, target, context).await), recorded)
            }
            (evidence, _) if subject.has_moved() => (evidence, recorded),
            (evidence, _) => (evidence, present),
        };
        claims::decide::<SecurityConnector>(object.meta(), stage, credential, evidence, context)
    }

    /// The right to create a connector for the account; `None` while another object creates one.
    fn creation(&self) -> Option<Creation> {
        let spec = &self.object.spec;
        let account = account_key(spec.type_, &account(spec));
        self.context.connectors.claims.create(&account, self.uid())
    }

    /// Returns `None` if another round must read back what this one wrote.
    async fn round(&mut self, round: u32) -> Result<Option<Action>, Error> {
        let (object, context) = (self.object, self.context);
        if !self.is_newest() {
            return Ok(Some(Action::requeue(Duration::from_secs(1))));
        }
        let requested = requested(object, &self.state);
        let (known, asked) = (protection(object, context), requested.is_some());
        let status = Arc::clone(&self.state.status);
        let subject = self.subject(known.as_ref(), &status);
        let live = observe(object, &self.state, known.as_ref(), &subject, asked, context);
        let live = Box::pin(live).await;
        if known.as_ref().is_some_and(is_undecided) {
            // Its first status triggers this object.
            return Ok(Some(Action::requeue(UNDECIDED)));
        }
        // The object was deleted or edited meanwhile: another reconcile decides about the new spec.
        if !self.is_newest() {
            return Ok(Some(Action::requeue(Duration::from_secs(1))));
        }
        let verdict = self.verdict(known.as_ref(), &subject, &live).await;
        if verdict.ownership == Ownership::Undecided {
            return Ok(Some(Action::requeue(UNDECIDED)));
        }
        let creation = (live.is_absent() && verdict.may_write()).then(|| self.creation());
        let account_busy = matches!(creation, Some(None));
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
            claim: claims::claim(object, &verdict),
            account_busy,
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
            context
                .gate
                .permit(verdict.may_write(), mode, object.spec.suspend, &correlation_id),
            target,
        ) {
            (Some(permit), Some(target)) if !decision.changes.is_empty() => {
                // The write may take minutes, and an adoption must show which fields differed. Nothing is written without a
                // recorded claim.
                if decide::needs_intent(&decision) || !claims::is_recorded(object, &self.state) {
                    let failures = previous.history.failures;
                    let intent = status::status(&input, &decision, Phase::BeforeWrite, failures, interval);
                    recorded_intent = Some(intent.clone());
                    match record_intent(object, &mut self.state, intent, context).await? {
                        Recorded::Yes => {}
                        Recorded::Gone => return Ok(Some(Action::await_change())),
                        Recorded::Outdated => return Ok(Some(Action::requeue(Duration::from_secs(1)))),
                    }
                }
                live.apply(&target, &decision, &permit, context).await
            }
            _ => Outcome::default(),
        };
        drop(creation);
        let (any, failure) = decide::own_writes(&outcome);
        claims::wrote(object, any, failure, context);
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

/// Whether the `ServerProtection` was not reconciled yet, so that its claim is not known.
fn is_undecided(known: &ProtectionEntry) -> bool {
    known.protection.mode == Mode::Enforce && known.holding == Holding::Undecided
}

fn count(outcome: &Outcome, context: &Context) {
    for change in &outcome.done {
        let change = match change.action {
            changes::Action::CreateResourceGroup { .. } => "resource_group",
            changes::Action::PutConnector(_) => "connector",
            changes::Action::RegisterProvider(_) => "register",
        };
        context.metrics.changed(change);
    }
}
