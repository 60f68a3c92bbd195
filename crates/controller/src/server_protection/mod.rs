//! The controller of `ServerProtection`.

mod feed;
mod news;
mod visit;

use std::time::Duration;

use kube::runtime::controller::Action;
use serverprotection_api::{ServerProtection, ServerProtectionStatus};

pub(crate) use self::feed::{Feed, claimant_of};
use crate::{context::Context, guarded::Unreadable, kind::Kind, remembered::Memories, saving::Error};

impl Kind for ServerProtection {
    type Status = ServerProtectionStatus;
    type Memory = serverprotection_core::server_protection::pace::Memory;

    const NAME: &'static str = "ServerProtection";

    const DEADLINE: Duration = Duration::from_secs(120);

    fn status(&self) -> Option<&ServerProtectionStatus> {
        self.status.as_ref()
    }
    fn forget_status(&mut self) {
        self.status = None;
    }
    fn memories(context: &Context) -> &Memories<Self> {
        &context.memories
    }
    async fn visit(&self, context: &Context) -> Result<Action, Error> {
        visit::visit(self, context).await
    }
    async fn unreadable(object: &Unreadable, context: &Context) -> Result<Action, Error> {
        visit::unreadable(object, context).await
    }
}
