//! A visit of a connector that is being deleted: it ends with the finalizer gone, whatever Azure says (law 8).

use std::time::Duration;

use kube::{Resource, ResourceExt, api::ObjectMeta, runtime::controller::Action};
use serverprotection_api::{Mode, SecurityConnector, annotations};
use serverprotection_core::{
    Timestamp,
    failure::Failure,
    retry,
    security_connector::{
        account,
        deletion::{Deletion, Input, Why, deletion, is_overdue},
        desired, events,
        observed::Connector,
        status,
    },
    server_protection::observed::Reading,
};

use super::{finalizer, look::arm, visit::protection};
use crate::{
    context::Context,
    guarded::{Guarded, Unreadable},
    publish,
    remembered::Remembered,
    roster::Known,
    saving::{Error, Visit, begin, now, report_unreadable, save},
};

/// One visit.
pub(super) async fn visit(cached: &SecurityConnector, context: &Context) -> Result<Action, Error> {
    if !finalizer::is_on(cached.meta()) {
        return Ok(Action::await_change());
    }
    let Some(Visit {
        object,
        mut remembered,
    }) = begin(cached, context).await?
    else {
        return Ok(Action::requeue(Duration::from_secs(2)));
    };
    let known = protection(&object, context);
    let other = other(&object, &remembered, context);
    let mut connector: Option<Reading<Option<Connector>>> = None;
    loop {
        let decision = deletion(&Input {
            spec: &object.spec,
            previous: &remembered.status,
            force: force(object.meta()),
            other: other.as_deref(),
            observes: known.as_ref().map(|known| known.protection.mode == Mode::Observe),
            connector: connector.as_ref(),
            tried: doubtful(&remembered),
            requested: requested_at(object.meta()),
            deadline: context.clocks.deletion_deadline,
            now: now(),
        });
        let failure = match (&decision, connector.take()) {
            (Deletion::LetGo(why), _) => return let_go(&object, why, context).await,
            (Deletion::Read { .. }, Some(Err(failure))) => failure,
            (Deletion::Read { id }, _) => {
                connector = Some(read(&object, &remembered, known.as_ref(), id, context).await);
                continue;
            }
            (Deletion::Delete { id }, _) => {
                tell(&object, &mut remembered, &decision, None, context).await?;
                match delete(&object, &remembered, known.as_ref(), id, context).await {
                    Ok(()) => {
                        connector = Some(Ok(None));
                        continue;
                    }
                    Err(failure) => failure,
                }
            }
        };
        return wait(&object, remembered, &decision, &failure, context).await;
    }
}

async fn let_go(object: &SecurityConnector, why: &Why, context: &Context) -> Result<Action, Error> {
    finalizer::remove(object.meta(), context).await?;
    publish::events(context, object, [events::let_go(why)]).await;
    Ok(Action::await_change())
}

/// Azure does not let it happen yet: told in status, once as an event, and tried again until the deadline.
async fn wait(
    object: &SecurityConnector,
    mut remembered: Remembered<SecurityConnector>,
    decision: &Deletion,
    failure: &Failure,
    context: &Context,
) -> Result<Action, Error> {
    let failures = remembered.deleting.unwrap_or_default().saturating_add(1);
    remembered.deleting = Some(failures);
    tell(object, &mut remembered, decision, Some(failure), context).await?;
    let told = events::deletion_waits(&events::waiting_words(failure), failures);
    publish::events(context, object, told).await;
    let slow = context.clocks.slow_retry;
    let next = retry::after(&failure.class, failures, slow, fastrand::f64());
    Ok(Action::requeue(next.min(until_deadline(object.meta(), context))))
}

async fn tell(
    object: &SecurityConnector,
    remembered: &mut Remembered<SecurityConnector>,
    decision: &Deletion,
    failure: Option<&Failure>,
    context: &Context,
) -> Result<(), Error> {
    let generation = object.meta().generation.unwrap_or_default();
    let deadline = context.clocks.deletion_deadline;
    let status = status::deleting(&remembered.status, generation, decision, failure, deadline, now());
    remembered.deleting.get_or_insert(0);
    save(object, remembered, status, context).await.map(drop)
}

async fn read(
    object: &SecurityConnector,
    remembered: &Remembered<SecurityConnector>,
    known: Option<&Known>,
    id: &str,
    context: &Context,
) -> Reading<Option<Connector>> {
    let arm = arm(
        object,
        credential(remembered, known),
        doubtful(remembered),
        context,
    )
    .await?;
    arm.read_connector(id).await
}

async fn delete(
    object: &SecurityConnector,
    remembered: &Remembered<SecurityConnector>,
    known: Option<&Known>,
    id: &str,
    context: &Context,
) -> Result<(), Failure> {
    let arm = arm(
        object,
        credential(remembered, known),
        doubtful(remembered),
        context,
    )
    .await?;
    // Mode and suspend are part of the decision, which remembers the mode of a ServerProtection that is gone.
    match context.gate.permit(Mode::Enforce, false) {
        Some(permit) => arm.delete_connector(id, &permit).await,
        None => Err(stopping()),
    }
}

/// This process may not write any more; the next one goes on.
fn stopping() -> Failure {
    Failure {
        class: serverprotection_core::failure::Class::Transient,
        code: "Stopping".into(),
        message: "the controller is stopping".into(),
        operation: "DELETE securityConnectors".into(),
        request_id: None,
        effect_unknown: false,
    }
}

/// That of the target; where none is noted (the ServerProtection had none then), what the ServerProtection says now.
fn credential<'a>(
    remembered: &'a Remembered<SecurityConnector>,
    known: Option<&'a Known>,
) -> Option<&'a str> {
    let noted = remembered.status.target.as_ref();
    let noted = noted.and_then(|target| target.credential.as_ref());
    let now = known.and_then(|known| known.protection.credential.as_ref());
    noted.or(now).map(|credential| credential.name.as_str())
}

fn doubtful(remembered: &Remembered<SecurityConnector>) -> bool {
    remembered.deleting.is_some_and(|failures| failures > 0)
}

/// Another object that waits for the connector or the account.
fn other(
    object: &SecurityConnector,
    remembered: &Remembered<SecurityConnector>,
    context: &Context,
) -> Option<String> {
    let uid = object.uid()?;
    let id = remembered
        .status
        .target
        .as_ref()
        .map(|target| target.id.to_lowercase());
    let account = account::account_key(object.spec.type_, &desired::account(&object.spec));
    let index = context.connector_claims.index();
    id.into_iter()
        .chain([account])
        .find_map(|key| index.other(&key, &uid))
}

fn force(meta: &ObjectMeta) -> Option<&str> {
    let annotations = meta.annotations.as_ref()?;
    annotations.get(annotations::FORCE_REMOVE).map(String::as_str)
}

fn requested_at(meta: &ObjectMeta) -> Timestamp {
    meta.deletion_timestamp.as_ref().map_or_else(now, |time| time.0)
}

fn until_deadline(meta: &ObjectMeta, context: &Context) -> Duration {
    let waited = now().duration_since(requested_at(meta));
    let deadline = context.clocks.deletion_deadline;
    deadline
        .saturating_sub(Duration::try_from(waited).unwrap_or_default())
        .max(Duration::from_secs(1))
}

/// An object of a newer version: it is told. What its deletion should do is not known, so it does nothing; it goes after
/// the deadline all the same.
pub(crate) async fn unreadable(object: &Unreadable, context: &Context) -> Result<Action, Error> {
    let meta = &object.metadata;
    let deleting = meta.deletion_timestamp.is_some();
    if deleting && !finalizer::is_on(meta) {
        return Ok(Action::await_change());
    }
    let overdue = is_overdue(requested_at(meta), context.clocks.deletion_deadline, now());
    if deleting && (overdue || force(meta).is_some_and(|force| force.trim() == "true")) {
        finalizer::remove(meta, context).await?;
        let guarded: Guarded<SecurityConnector> = Guarded::Unreadable(Box::new(object.clone()));
        let event = events::unreadable_let_go(&object.error);
        publish::publish(context, &guarded.object_ref(&()), [event]).await;
        return Ok(Action::await_change());
    }
    report_unreadable::<SecurityConnector>(object, context).await?;
    Ok(if deleting {
        Action::requeue(until_deadline(meta, context))
    } else {
        Action::await_change()
    })
}
