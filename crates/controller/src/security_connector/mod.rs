//! The controller of `SecurityConnector`.

mod deletion;
mod finalizer;
mod links;
mod observe;
mod reconcile;
mod status_refresh;
mod watch_events;

use std::time::Duration;

use kube::runtime::controller::Action;
use serverprotection_api::{SecurityConnector, SecurityConnectorStatus};

pub(crate) use self::watch_events::EventHandler;
use crate::{
    context::{Context, InContext},
    credential_use::CredentialKey,
    kind::Kind,
    parsed::InvalidObject,
    reconciler::Reconcile,
    status_writer::Error,
};

impl Kind for SecurityConnector {
    type Status = SecurityConnectorStatus;
    type History = serverprotection_core::security_connector::history::ReconcileHistory;

    const NAME: &'static str = "SecurityConnector";

    /// A PUT signs in to the cloud before it answers and may take two minutes, and it may wait for the PUT of another
    /// object.
    const DEADLINE: Duration = Duration::from_secs(300);

    fn status(&self) -> Option<&SecurityConnectorStatus> {
        self.status.as_ref()
    }
    fn forget_status(&mut self) {
        self.status = None;
    }
}

impl Reconcile for SecurityConnector {
    /// Taken from the `ServerProtection`, or from the status if the `ServerProtection` is gone.
    fn subscription_id(&self, context: &Context) -> Option<String> {
        let known = links::protection(self, context);
        known.map(|known| known.protection.subscription).or_else(|| {
            let state = Self::states(context).get(&self.metadata)?;
            Some(state.status.target.as_ref()?.subscription_id.clone())
        })
    }
    fn credential(&self, context: &Context) -> Option<String> {
        let credential = links::protection(self, context)?.protection.credential?;
        Some(CredentialKey::of(&credential, "")?.to_string())
    }
    async fn reconcile(&self, context: &Context) -> Result<Action, Error> {
        Box::pin(reconcile::reconcile(self, context)).await
    }
    async fn unreadable(object: &InvalidObject, context: &Context) -> Result<Action, Error> {
        deletion::unreadable(object, context).await
    }
}
