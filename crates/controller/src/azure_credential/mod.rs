//! The controllers of `AzureCredential` and `ClusterAzureCredential`. They report whether Entra issues a token, and how many
//! objects use the credential. Tokens and clients are those that the objects use, so that this costs no request of its own while an
//! object uses the credential.

mod reconcile;
mod status_refresh;
mod users;
mod watch_events;
mod watching;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::controller::Action;
use serverprotection_api::{
    AzureCredential, AzureCredentialStatus, ClaimStatus, ClusterAzureCredential, ContestedField,
    CredentialKind,
};
use serverprotection_core::{
    azure_credential::{history::ReconcileHistory, status::contradicts},
    azure_error::AzureError,
    grants,
    request::Requested,
};

pub(crate) use self::{
    users::CredentialUsers,
    watch_events::{CacheUpdates, EventHandler},
    watching::Watching,
};
use crate::{
    context::{Context, InContext},
    credential_use::CredentialKey,
    kind::{Kind, StatusExt},
    parsed::InvalidObject,
    reconciler::Reconcile,
    status_writer::Error,
    unreadable,
};

/// A kind that holds an Azure identity.
pub(crate) trait Credential:
    InContext + Kind<Status = AzureCredentialStatus, History = ReconcileHistory>
{
    const KIND: CredentialKind;

    /// The object as a credential.
    fn key(&self) -> CredentialKey {
        CredentialKey::of_object(Self::KIND, self.meta())
    }
}

impl Credential for AzureCredential {
    const KIND: CredentialKind = CredentialKind::AzureCredential;
}

impl Credential for ClusterAzureCredential {
    const KIND: CredentialKind = CredentialKind::ClusterAzureCredential;
}

macro_rules! controlled {
    ($kind:ty) => {
        impl Kind for $kind {
            type Status = AzureCredentialStatus;
            type History = ReconcileHistory;

            const NAME: &'static str = <$kind as Credential>::KIND.as_str();

            const DEADLINE: Duration = Duration::from_secs(120);

            fn status(&self) -> Option<&AzureCredentialStatus> {
                self.status.as_ref()
            }
            fn forget_status(&mut self) {
                self.status = None;
            }
        }

        impl Reconcile for $kind {
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
    };
}

controlled!(AzureCredential);
controlled!(ClusterAzureCredential);

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

/// Takes in whether an object got a token with its credential. If the status of the credential says something else, the
/// credential is tried at once, which costs no request: the token is cached, and a refusal is remembered for some
/// seconds.
pub(crate) fn used(context: &Context, credential: Option<CredentialKey>, token: &Result<(), AzureError>) {
    // What is not granted says nothing about the credential.
    if token.as_ref().is_err_and(grants::decided) {
        return;
    }
    match credential {
        Some(key) if key.kind == CredentialKind::AzureCredential => {
            tried::<AzureCredential>(context, &key, token);
        }
        Some(key) => tried::<ClusterAzureCredential>(context, &key, token),
        None => {}
    }
}

fn tried<C: Credential>(context: &Context, key: &CredentialKey, token: &Result<(), AzureError>) {
    let own = C::own(context);
    let status = own.states.status(&key.namespace, &key.name);
    let certificate = context.credentials.certificate(key);
    if status.is_some_and(|status| contradicts(&status, token, certificate)) {
        own.trigger.reconcile(&key.namespace, &key.name);
    }
}
