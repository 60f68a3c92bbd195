//! Status refresh of a connector: the machines that scans found in its account.

use kube::{ResourceExt, runtime::controller::Action};
use serverprotection_api::SecurityConnector;
use serverprotection_core::{
    machines::Environment,
    security_connector::{decide::MachineCounts, desired::account, status},
};

use super::reconcile::protection;
use crate::{
    connector_index::ProtectionEntry,
    context::Context,
    state::ObjectState,
    status_writer::{Error, not_due, now, write_status},
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

/// Refreshes the status if only scan results changed. Returns `None` if the object needs a reconcile.
pub(super) async fn refresh_status(
    object: &SecurityConnector,
    context: &Context,
) -> Option<Result<Action, Error>> {
    let uid = object.uid()?;
    let (mut state, left) = not_due(object, context)?;
    if object.spec.suspend || !context.connector_index.take_machine_refresh(&uid) {
        return None;
    }
    let known = protection(object, context);
    let machines = machines(object, known.as_ref(), &state, context)?;
    let after = status::with_machines(&state.status, machines, now());
    Some(
        write_status(object, &mut state, after, context)
            .await
            .map(|there| {
                if there {
                    Action::requeue(left)
                } else {
                    Action::await_change()
                }
            }),
    )
}
