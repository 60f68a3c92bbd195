//! The controller of `ServerProtection`.

mod observe;
mod reconcile;
mod status_refresh;
mod watch_events;

use std::time::Duration;

use kube::runtime::controller::Action;
use serverprotection_api::{ServerProtection, ServerProtectionStatus};

pub(crate) use self::watch_events::EventHandler;
use crate::{
    context::Context, credential_use::CredentialKey, kind::Kind, parsed::InvalidObject,
    reconciler::Reconcile, status_writer::Error,
};

impl Kind for ServerProtection {
    type Status = ServerProtectionStatus;
    type History = serverprotection_core::server_protection::history::ReconcileHistory;

    const NAME: &'static str = "ServerProtection";

    const DEADLINE: Duration = Duration::from_secs(120);

    fn status(&self) -> Option<&ServerProtectionStatus> {
        self.status.as_ref()
    }
    fn forget_status(&mut self) {
        self.status = None;
    }
}

impl Reconcile for ServerProtection {
    fn subscription_id(&self, _: &Context) -> Option<String> {
        Some(self.spec.subscription_id.clone())
    }
    fn credential(&self, _: &Context) -> Option<String> {
        let reference = self.spec.credential_ref.as_ref()?;
        Some(CredentialKey::new(reference.kind, "", &reference.name).to_string())
    }
    async fn reconcile(&self, context: &Context) -> Result<Action, Error> {
        reconcile::reconcile(self, context).await
    }
    async fn unreadable(object: &InvalidObject, context: &Context) -> Result<Action, Error> {
        reconcile::unreadable(object, context).await
    }
}
