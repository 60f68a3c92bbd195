//! What a connector hears between visits: what scans of the fleet have found in its account.

use kube::{ResourceExt, runtime::controller::Action};
use serverprotection_api::SecurityConnector;
use serverprotection_core::{
    machines::Environment,
    security_connector::{decide::MachineCounts, desired::account, status},
};

use super::visit::protection;
use crate::{
    context::Context,
    remembered::Remembered,
    roster::Known,
    saving::{Error, now, quiet, save},
};

/// The machines of the account and of its organization's members; `None` before the first scan.
pub(super) fn machines(
    object: &SecurityConnector,
    known: Option<&Known>,
    remembered: &Remembered<SecurityConnector>,
    context: &Context,
) -> Option<MachineCounts> {
    let environment = Environment::from(object.spec.type_);
    let mut accounts = remembered.memory.members.clone();
    accounts.push(account(&object.spec));
    // A machine may tell the project's id instead of its number.
    accounts.extend(object.spec.gcp.as_ref().map(|gcp| gcp.project_id.clone()));
    context.fleet.machines_of(&known?.uid, environment, &accounts)
}

/// An object that was woken by nothing but a scan is told so without a visit. `None`: it needs a visit.
pub(super) async fn tell(object: &SecurityConnector, context: &Context) -> Option<Result<Action, Error>> {
    let uid = object.uid()?;
    let (mut remembered, left) = quiet(object, context)?;
    if object.spec.suspend || !context.roster.take_news_of_machines(&uid) {
        return None;
    }
    let known = protection(object, context);
    let machines = machines(object, known.as_ref(), &remembered, context)?;
    let after = status::with_machines(&remembered.status, machines, now());
    Some(save(object, &mut remembered, after, context).await.map(|there| {
        if there {
            Action::requeue(left)
        } else {
            Action::await_change()
        }
    }))
}
