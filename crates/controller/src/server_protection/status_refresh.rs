//! Status refresh of a `ServerProtection`: results of scans, and changes of its connectors.

use std::time::Duration;

use kube::{ResourceExt, runtime::controller::Action};
use serverprotection_api::{ServerProtection, ServerProtectionStatus, Tier};
use serverprotection_core::server_protection::{
    connectors::Connectors,
    events,
    observed::Observed,
    status::{self, Refresh},
};

use super::observe::LiveObservation;
use crate::{
    clock::now,
    context::Context,
    fleet::PlanReading,
    state::ObjectState,
    status_writer::{Error, refresh},
};

/// Registers the object for scans with the client of this reconcile, or deregisters it.
pub(crate) fn update_scan_registration(
    object: &ServerProtection,
    status: &ServerProtectionStatus,
    observation: &LiveObservation,
    waits: bool,
    requested: bool,
    context: &Context,
) {
    match observation {
        // An object that waits for another one reads as little as possible.
        _ if waits => context.fleet.deregister(&object.uid().unwrap_or_default()),
        LiveObservation::Azure { observed, client, .. } => match (&observed.credential, client) {
            (Ok(()), Some(client)) => {
                let plan = plan_reading(observed);
                context.fleet.register(object, status, client, plan, requested);
            }
            (Err(failure), _) => context.fleet.without_credential(object, failure),
            (Ok(()), None) => {}
        },
        LiveObservation::Suspended => {
            context.fleet.deregister(&object.uid().unwrap_or_default());
        }
    }
}

/// The plan that this reconcile read.
fn plan_reading(observed: &Observed) -> PlanReading {
    match &observed.plan {
        Some(Ok(plan)) if plan.tier == Tier::Free => PlanReading::Off,
        Some(Ok(plan)) => PlanReading::On(plan.enabled_since),
        Some(Err(_)) | None => PlanReading::Unknown,
    }
}

/// The connectors of the object; `None` until all connectors are listed.
pub(crate) fn connectors(object: &ServerProtection, context: &Context) -> Option<Connectors> {
    let namespace = object.namespace().unwrap_or_default();
    context.connector_index.connectors(&namespace, &object.name_any())
}

/// Computes the status again from cached data: results of scans, and the connectors. No request to Azure is made, and
/// the next reconcile keeps its time, because it may wait as Azure requested.
pub(crate) async fn refresh_status(
    object: &ServerProtection,
    state: ObjectState<ServerProtection>,
    left: Duration,
    context: &Context,
) -> Result<Action, Error> {
    if object.spec.suspend {
        return Ok(Action::requeue(left));
    }
    let scans = context.fleet.scans(&object.uid().unwrap_or_default());
    let connectors = connectors(object, context);
    let cached = Refresh {
        scans: scans.as_ref(),
        connectors: connectors.as_ref(),
    };
    let after = status::refreshed(&state.status, &object.spec, cached, now());
    let events = events::of_refresh(&state.status, &after);
    refresh(object, state, after, events, left, context).await
}
