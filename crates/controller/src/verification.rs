//! Where visits and the scans of the fleet meet.

use std::time::Instant;

use kube::{ResourceExt, runtime::controller::Action};
use serverprotection_api::ServerProtection;
use serverprotection_core::server_protection::{events, status};

use crate::{
    context::Context,
    publish,
    reconcile::{Error, Look, approval, now, requested, save},
};

/// Enrols the object with the client of this visit, or takes it out.
pub(crate) fn enrol(object: &ServerProtection, look: &Look, requested: bool, context: &Context) {
    match look {
        Look::Azure { observed, arm } => match (&observed.credential, arm) {
            (Ok(()), Some(arm)) => context.fleet.join(object, arm, requested),
            (Err(failure), _) => context.fleet.without_credential(object, failure),
            (Ok(()), None) => {}
        },
        Look::Suspended | Look::Conflicted(_) => context.fleet.leave(&object.uid().unwrap_or_default()),
    }
}

/// An object that was woken by nothing but a scan is told so without a visit: no request to Azure, one patch, and its
/// next visit comes when it was due anyway (it may wait because Azure asked to). `None`: it needs a visit.
pub(crate) async fn tell_news(object: &ServerProtection, context: &Context) -> Option<Result<Action, Error>> {
    let uid = object.uid()?;
    let mut remembered = context.memories.get(&uid)?;
    let next = remembered.next_visit?;
    let called = context
        .memories
        .take_call(&object.namespace().unwrap_or_default(), &object.name_any());
    let only_news = !called
        && remembered.status.observed_generation == object.metadata.generation
        && !remembered.doubtful
        && !object.spec.suspend
        && requested(object, &remembered).is_none()
        && remembered.approval.as_deref() == approval(object);
    let left = next.checked_duration_since(Instant::now())?;
    if !only_news || !context.fleet.take_news(&uid) {
        return None;
    }
    let scans = context.fleet.scans(&uid)?;
    let before = remembered.status.clone();
    let after = status::with_machines(&before, &object.spec, &scans, now());
    let told = events::about_machines(&before, &after);
    match save(object, &mut remembered, after, context).await {
        Ok(true) => {
            publish::events(context, object, told).await;
            Some(Ok(Action::requeue(left)))
        }
        Ok(false) => Some(Ok(Action::await_change())),
        Err(error) => Some(Err(error)),
    }
}
