//! The controller of `SecurityConnector`.

mod deletion;
mod feed;
mod finalizer;
mod look;
mod news;
mod visit;

use std::time::Duration;

use kube::runtime::controller::Action;
use serverprotection_api::{SecurityConnector, SecurityConnectorStatus};

pub(crate) use self::feed::Feed;
use crate::{context::Context, guarded::Unreadable, kind::Kind, remembered::Memories, saving::Error};

impl Kind for SecurityConnector {
    type Status = SecurityConnectorStatus;
    type Memory = serverprotection_core::security_connector::pace::Memory;

    const NAME: &'static str = "SecurityConnector";

    /// A PUT signs in to the cloud before it answers and may take two minutes; another object's may come first.
    const DEADLINE: Duration = Duration::from_secs(300);

    fn status(&self) -> Option<&SecurityConnectorStatus> {
        self.status.as_ref()
    }
    fn forget_status(&mut self) {
        self.status = None;
    }
    fn memories(context: &Context) -> &Memories<Self> {
        &context.connector_memories
    }
    async fn visit(&self, context: &Context) -> Result<Action, Error> {
        Box::pin(visit::visit(self, context)).await
    }
    async fn unreadable(object: &Unreadable, context: &Context) -> Result<Action, Error> {
        deletion::unreadable(object, context).await
    }
}
