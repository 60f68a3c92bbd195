//! One visit of a `SecurityConnector`: the same picture as that of a `ServerProtection`.

use std::time::Duration;

use kube::{Resource, ResourceExt, runtime::controller::Action};
use serverprotection_api::{Mode, SecurityConnector};
use serverprotection_core::{
    conditions,
    security_connector::{
        changes,
        decide::{self, Input, Outcome},
        events, pace,
        status::{self, Progress},
    },
};

use super::{deletion, finalizer, look::look, news};
use crate::{
    context::Context,
    metrics::ChangeLabel,
    roster::Known,
    saving::{Error, Visit, approval, begin, finish, now, requested, save_note},
};

/// The interval of a connector whose `ServerProtection` is not there.
const WITHOUT_PROTECTION: Duration = Duration::from_secs(600);

pub(crate) async fn visit(cached: &SecurityConnector, context: &Context) -> Result<Action, Error> {
    if cached.metadata.deletion_timestamp.is_some() {
        return deletion::visit(cached, context).await;
    }
    if let Some(told) = news::tell(cached, context).await {
        return told;
    }
    let Some(Visit {
        object,
        mut remembered,
    }) = begin(cached, context).await?
    else {
        return Ok(Action::requeue(Duration::from_secs(2)));
    };
    // Read anew, it may be on its way out; the watch will say so.
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(Action::requeue(Duration::from_secs(1)));
    }
    // Before the first write: what is to be deleted later must not be orphaned.
    finalizer::settle(&object, context).await?;

    let requested = requested(&object, &remembered);
    let known = protection(&object, context);
    let seen = look(&object, &remembered, known.as_ref(), requested.is_some(), context);
    let seen = Box::pin(seen).await;
    let before = remembered.clone();
    let name = object.name_any();
    let input = Input {
        name: &name,
        spec: &object.spec,
        generation: object.meta().generation.unwrap_or_default(),
        approval: approval(&object),
        requested: requested.as_deref(),
        protection: known.as_ref().map(|known| &known.protection),
        previous: &before.status,
        seen: seen.seen(),
        machines: news::machines(&object, known.as_ref(), &before, context),
        memory: &before.memory,
        clocks: &context.clocks,
        now: now(),
    };

    let interval = interval(known.as_ref(), context);
    let decision = decide::decide(&input);
    let mode = known
        .as_ref()
        .map_or(Mode::Observe, |known| known.protection.mode);
    let target = decide::target(&input);
    let mut noted = None;
    let outcome = match (context.gate.permit(mode, object.spec.suspend), target) {
        (Some(permit), Some(target)) if !decision.changes.is_empty() => {
            // The write takes up to minutes; and of an adoption it must be seen what differed.
            let failures = before.memory.failures;
            let note = status::status(&input, &decision, Progress::About, failures, interval);
            noted = Some(note.clone());
            if !save_note(&object, &mut remembered, note, context).await? {
                return Ok(Action::await_change());
            }
            seen.apply(&target, &decision, &permit).await
        }
        _ => Outcome::default(),
    };

    remembered.memory = pace::remember(&input, &decision, &outcome);
    let failures = remembered.memory.failures;
    let mut after = status::status(&input, &decision, Progress::Over(&outcome), failures, interval);
    if let Some(note) = &noted {
        // The note stood while Azure was writing: what differs now has changed now, not when the visit began.
        conditions::after_note(&mut after.conditions, &note.conditions, now());
    }
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
    finish(&object, remembered, after, told, next, context).await
}

/// The `ServerProtection` that the object refers to.
pub(super) fn protection(object: &SecurityConnector, context: &Context) -> Option<Known> {
    let namespace = object.namespace().unwrap_or_default();
    context
        .roster
        .protection(&namespace, &object.spec.protection_ref.name)
}

pub(super) fn interval(known: Option<&Known>, context: &Context) -> Duration {
    let own = || known.map_or(WITHOUT_PROTECTION, |known| known.interval);
    context.visit_every.unwrap_or_else(own)
}

fn count(outcome: &Outcome, context: &Context) {
    for change in &outcome.done {
        let change = match change.action {
            changes::Action::CreateResourceGroup { .. } => "resource_group",
            changes::Action::PutConnector(_) => "connector",
        };
        context
            .metrics
            .changes
            .get_or_create(&ChangeLabel { change })
            .inc();
    }
}
