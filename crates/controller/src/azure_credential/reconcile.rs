//! Reconciles an `AzureCredential`.

use std::{sync::Arc, time::Duration};

use kube::runtime::controller::Action;
use serverprotection_core::{
    azure_credential::{
        certificate::Validity,
        events::events,
        requeue::requeue_after,
        status::{Input, recovered, status},
    },
    azure_error::AzureError,
    conditions::{ConditionType, is_true},
};

use super::{Credential, status_refresh::refresh_status};
use crate::{
    clock::now,
    context::Context,
    requests::{due_in, is_current, requested},
    status_writer::{Error, complete},
};

/// While the `ServerProtection`s are not listed, their number is unknown.
const LISTED_CHECK: Duration = Duration::from_millis(250);

pub(super) async fn reconcile<C: Credential>(object: &C, context: &Context) -> Result<Action, Error> {
    if object.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    if !context.protections.listed.is_set() {
        return Ok(Action::requeue(LISTED_CHECK));
    }
    let states = C::states(context);
    let known = states.get(object.meta());
    let Some(mut state) = known.filter(|state| is_current(object, state)) else {
        return Ok(Action::requeue(Duration::from_secs(2)));
    };
    if let Some(left) = due_in(object, &state, context) {
        return refresh_status(object, state, left, context).await;
    }
    states.begin(object.meta());
    let requested = requested(object, &state);
    let works = is_true(&state.status.conditions, ConditionType::Ready);
    let (token, certificate) = sign_in(object, !works || requested.is_some(), context).await;
    // The object was deleted or edited meanwhile: another reconcile decides about the new spec.
    if !states.is_newest(object.meta()) {
        return Ok(Action::requeue(Duration::from_secs(1)));
    }
    let before = Arc::clone(&state.acknowledged);
    state.history = state.history.after(&token);
    let after = status(&Input {
        generation: object.meta().generation.unwrap_or_default(),
        requested,
        previous: &state.status,
        token: &token,
        certificate,
        history: state.history,
        used_by: super::status_refresh::used_by(object, context),
        now: now(),
    });
    let slow = context.settings.timeouts.blocked_retry_interval;
    let mut next = requeue_after(&token, state.history, slow, fastrand::f64());
    // The status says that the certificate expires soon, or has expired, when that happens.
    if let (Ok(()), Some(change)) = (
        &token,
        certificate.and_then(|validity| validity.next_change(now())),
    ) {
        next = next.min(change + Duration::from_secs(1));
    }
    let events = events(&before, &after);
    let recovered = recovered(&before, &after);
    let action = complete(object, state, after, events, next, context).await?;
    if recovered {
        context.trigger_users(&object.key());
    }
    Ok(action)
}

/// Gets a token with the client that the objects use, too. `force_refresh` reads the Secret again.
async fn sign_in<C: Credential>(
    object: &C,
    force_refresh: bool,
    context: &Context,
) -> (Result<(), AzureError>, Option<Validity>) {
    match context.credentials.client(&object.key(), force_refresh).await {
        Ok(client) => (client.sign_in().await, client.certificate()),
        Err(failure) => (Err(failure), None),
    }
}
