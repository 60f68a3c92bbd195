//! Status refresh of a connector: the machines that scans found in its account.

use std::time::Duration;

use kube::runtime::controller::Action;
use serverprotection_api::SecurityConnector;
use serverprotection_core::{
    machines::Environment,
    security_connector::{decide::MachineCounts, desired::account, status},
};

use super::links::protection;
use crate::{
    clock::now,
    connector_index::ProtectionEntry,
    context::Context,
    state::ObjectState,
    status_writer::{Error, refresh},
};

/// The machines of the account and of the members of its organization; `None` before the first scan.
pub(super) fn machines(
    object: &SecurityConnector,
    known: Option<&ProtectionEntry>,
    state: &ObjectState<SecurityConnector>,
    context: &Context,
) -> Option<MachineCounts> {
    let environment = Environment::from(object.spec.type_);
    let mut accounts = state.history.members.clone();
    accounts.push(account(&object.spec));
    // A machine may report the id of the project instead of its number.
    accounts.extend(object.spec.gcp.as_ref().map(|gcp| gcp.project_id.clone()));
    context.fleet.machines_of(&known?.uid, environment, &accounts)
}

/// Computes the status again from cached data: the machines that scans found.
pub(super) async fn refresh_status(
    object: &SecurityConnector,
    state: ObjectState<SecurityConnector>,
    left: Duration,
    context: &Context,
) -> Result<Action, Error> {
    let known = protection(object, context);
    match machines(object, known.as_ref(), &state, context) {
        Some(machines) if !object.spec.suspend => {
            let after = status::with_machines(&state.status, machines, now());
            refresh(object, state, after, Vec::new(), left, context).await
        }
        _ => Ok(Action::requeue(left)),
    }
}
