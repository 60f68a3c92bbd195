//! What an object hears between visits: what scans of the fleet have found, and what became of its connectors.

use std::time::Instant;

use kube::{ResourceExt, runtime::controller::Action};
use serverprotection_api::ServerProtection;
use serverprotection_core::server_protection::{
    connectors::Connectors,
    events,
    status::{self, News},
};

use super::visit::Look;
use crate::{
    context::Context,
    publish,
    roster::NewsOfConnectors,
    saving::{Error, now, quiet, save},
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

/// The object's connectors; `None` while they are not listed.
pub(crate) fn connectors(object: &ServerProtection, context: &Context) -> Option<Connectors> {
    let namespace = object.namespace().unwrap_or_default();
    context.roster.connectors(&namespace, &object.name_any())
}

/// An object that was woken by nothing but news is told so without a visit: no request to Azure, one patch, and its next
/// visit comes when it was due anyway (it may wait because Azure asked to). `None`: it needs a visit.
pub(crate) async fn tell(object: &ServerProtection, context: &Context) -> Option<Result<Action, Error>> {
    let uid = object.uid()?;
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let (machines, of_connectors) = (
        context.fleet.take_news(&uid),
        context
            .roster
            .take_news_of_connectors(&namespace, &name, Instant::now()),
    );
    let (mut remembered, left) = quiet(object, context)?;
    match of_connectors {
        _ if object.spec.suspend => return None,
        NewsOfConnectors::None if !machines => return None,
        NewsOfConnectors::After(wait) if !machines => return Some(Ok(Action::requeue(wait.min(left)))),
        _ => {}
    }
    let scans = context.fleet.scans(&uid);
    let connectors = connectors(object, context);
    let news = News {
        scans: scans.as_ref(),
        connectors: connectors.as_ref(),
    };
    let before = remembered.status.clone();
    let after = status::with_news(&before, &object.spec, news, now());
    let told = events::about_news(&before, &after);
    match save(object, &mut remembered, after, context).await {
        Ok(true) => {
            publish::events(context, object, told).await;
            Some(Ok(Action::requeue(left)))
        }
        Ok(false) => Some(Ok(Action::await_change())),
        Err(error) => Some(Err(error)),
    }
}
