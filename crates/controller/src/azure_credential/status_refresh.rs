//! Status refresh of an `AzureCredential`: the number of objects that use it.

use std::time::Duration;

use kube::runtime::controller::Action;
use serverprotection_core::azure_credential::status::with_users;

use super::Credential;
use crate::{
    context::Context,
    state::ObjectState,
    status_writer::{Error, refresh},
};

/// Objects are often created in bursts. The status waits for their first reconciles, but not longer than this after its
/// last write.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// When it checks again.
const BURST_CHECK: Duration = Duration::from_secs(5);

/// The number of `ServerProtection`s that name the credential.
pub(super) fn used_by<C: Credential>(object: &C, context: &Context) -> usize {
    context.credential_users.count(&object.key())
}

pub(super) async fn refresh_status<C: Credential>(
    object: &C,
    state: ObjectState<C>,
    left: Duration,
    context: &Context,
) -> Result<Action, Error> {
    let after = with_users(&state.status, used_by(object, context));
    let waits = state.last_write.is_some_and(|at| at.elapsed() < LONGEST_WAIT);
    if after != *state.status && waits && context.protections.states.new_objects() > 0 {
        return Ok(Action::requeue(BURST_CHECK.min(left)));
    }
    refresh(object, state, after, Vec::new(), left, context).await
}
