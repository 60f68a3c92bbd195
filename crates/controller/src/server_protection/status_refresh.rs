//! Status refresh of a `ServerProtection`: results of scans, and changes of its connectors.

use std::time::Instant;

use kube::{ResourceExt, runtime::controller::Action};
use serverprotection_api::ServerProtection;
use serverprotection_core::server_protection::{
    connectors::Connectors,
    events,
    status::{self, Refresh},
};

use super::reconcile::LiveObservation;
use crate::{
    connector_index::ConnectorRefresh,
    context::Context,
    publish,
    status_writer::{Error, not_due, now, write_status},
};

/// Registers the object for scans with the client of this reconcile, or deregisters it.
pub(crate) fn update_scan_registration(
    object: &ServerProtection,
    observation: &LiveObservation,
    requested: bool,
    context: &Context,
) {
    match observation {
        LiveObservation::Azure { observed, arm } => match (&observed.credential, arm) {
            (Ok(()), Some(arm)) => context.fleet.register(object, arm, requested),
            (Err(failure), _) => context.fleet.without_credential(object, failure),
            (Ok(()), None) => {}
        },
        LiveObservation::Suspended | LiveObservation::Conflicted(_) => {
            context.fleet.deregister(&object.uid().unwrap_or_default());
        }
    }
}

/// The connectors of the object; `None` until all connectors are listed.
pub(crate) fn connectors(object: &ServerProtection, context: &Context) -> Option<Connectors> {
    let namespace = object.namespace().unwrap_or_default();
    context.connector_index.connectors(&namespace, &object.name_any())
}

/// Refreshes the status if only scan results or connectors changed: one patch, no request to Azure, and the next
/// reconcile keeps its time, because it may wait as Azure requested. Returns `None` if the object needs a reconcile.
pub(crate) async fn refresh_status(
    object: &ServerProtection,
    context: &Context,
) -> Option<Result<Action, Error>> {
    let uid = object.uid()?;
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let (machines, connector_refresh) = (
        context.fleet.take_refresh(&uid),
        context
            .connector_index
            .take_connector_refresh(&namespace, &name, Instant::now()),
    );
    let (mut state, left) = not_due(object, context)?;
    match connector_refresh {
        _ if object.spec.suspend => return None,
        ConnectorRefresh::None if !machines => return None,
        ConnectorRefresh::After(wait) if !machines => return Some(Ok(Action::requeue(wait.min(left)))),
        _ => {}
    }
    let scans = context.fleet.scans(&uid);
    let connectors = connectors(object, context);
    let status_refresh = Refresh {
        scans: scans.as_ref(),
        connectors: connectors.as_ref(),
    };
    let before = state.status.clone();
    let after = status::refreshed(&before, &object.spec, status_refresh, now());
    let events = events::of_refresh(&before, &after);
    match write_status(object, &mut state, after, context).await {
        Ok(true) => {
            publish::events(context, object, events).await;
            Some(Ok(Action::requeue(left)))
        }
        Ok(false) => Some(Ok(Action::await_change())),
        Err(error) => Some(Err(error)),
    }
}
