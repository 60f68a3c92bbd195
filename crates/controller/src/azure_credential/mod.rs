//! The controller of `AzureCredential`. It reports whether Entra issues a token, and how many objects use the
//! credential. Tokens and clients are those that the objects use, so that this costs no request of its own while an
//! object uses the credential.

mod reconcile;
mod status_refresh;
mod users;
mod watch_events;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::controller::Action;
use serverprotection_api::{AzureCredential, AzureCredentialStatus, ClaimStatus, ContestedField};
use serverprotection_core::{
    azure_credential::{history::ReconcileHistory, status::contradicts},
    azure_error::AzureError,
    request::Requested,
};

pub(crate) use self::{
    users::CredentialUsers,
    watch_events::{CacheUpdates, EventHandler},
};
use crate::{
    context::Context,
    kind::{Kind, StatusExt},
    parsed::InvalidObject,
    reconciler::Reconcile,
    status_writer::Error,
    unreadable,
};

impl Kind for AzureCredential {
    type Status = AzureCredentialStatus;
    type History = ReconcileHistory;

    const NAME: &'static str = "AzureCredential";

    const DEADLINE: Duration = Duration::from_secs(120);

    fn status(&self) -> Option<&AzureCredentialStatus> {
        self.status.as_ref()
    }
    fn forget_status(&mut self) {
        self.status = None;
    }
}

impl StatusExt for AzureCredentialStatus {
    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
    fn conditions_mut(&mut self) -> &mut Vec<Condition> {
        &mut self.conditions
    }
    fn observed_generation(&self) -> Option<i64> {
        self.observed_generation
    }
    fn handled(&self) -> Requested<'_> {
        Requested {
            ours: self.last_handled_request.as_deref(),
            flux: self.last_handled_reconcile_at.as_deref(),
        }
    }
    fn drift_count(&self) -> Option<i32> {
        None
    }
    fn contested(&self) -> &[ContestedField] {
        &[]
    }
    fn claim(&self) -> Option<&ClaimStatus> {
        None
    }
    fn clear_claim(&mut self) {}
}

impl Reconcile for AzureCredential {
    fn subscription_id(&self, _: &Context) -> Option<String> {
        None
    }
    async fn reconcile(&self, context: &Context) -> Result<Action, Error> {
        reconcile::reconcile(self, context).await
    }
    async fn unreadable(object: &InvalidObject, context: &Context) -> Result<Action, Error> {
        if object.metadata.deletion_timestamp.is_none() {
            unreadable::report::<Self>(object, context).await?;
        }
        Ok(Action::await_change())
    }
}

/// Takes in whether an object got a token with a credential of its namespace. If the status of the credential says
/// something else, the credential is tried at once, which costs no request: the token is cached, and a refusal is
/// remembered for some seconds.
pub(crate) fn used(context: &Context, namespace: &str, name: Option<&str>, token: &Result<(), AzureError>) {
    let Some(name) = name else { return };
    let credentials = &context.azure_credentials;
    let status = credentials.states.status(namespace, name);
    let certificate = context.credentials.certificate(namespace, name);
    if status.is_some_and(|status| contradicts(&status, token, certificate)) {
        credentials.trigger.reconcile(namespace, name);
    }
}
