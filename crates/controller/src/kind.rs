//! What the controllers of both kinds have in common; everything generic here is written against it.

use std::{fmt::Debug, future::Future, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Resource, core::NamespaceResourceScope, runtime::controller::Action};
use serde::{Serialize, de::DeserializeOwned};
use serverprotection_api::{
    SecurityConnector, SecurityConnectorStatus, ServerProtection, ServerProtectionStatus,
};

use crate::{
    context::Context, guarded::Unreadable, remembered::Memories, saving::Error, security_connector,
    server_protection,
};

/// A kind of ours with a controller.
pub(crate) trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// Its status.
    type Status: Standing;
    /// What paces its visits.
    type Memory: Clone + Debug + Default + Send + Sync + 'static;

    /// A visit takes at most this long; a write that is cut off by it is an open one, and is closed by the next visit.
    const DEADLINE: Duration;

    fn status(&self) -> Option<&Self::Status>;
    fn forget_status(&mut self);
    fn memories(context: &Context) -> &Memories<Self>;

    /// One visit, also of an object that is being deleted.
    fn visit(&self, context: &Context) -> impl Future<Output = Result<Action, Error>> + Send;

    /// A visit of an object that this build cannot read.
    fn unreadable(
        object: &Unreadable,
        context: &Context,
    ) -> impl Future<Output = Result<Action, Error>> + Send;
}

/// A status, whatever else it holds.
pub(crate) trait Standing:
    Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    fn conditions(&self) -> &[Condition];
    fn conditions_mut(&mut self) -> &mut Vec<Condition>;
    fn observed_generation(&self) -> Option<i64>;
    /// Value of the "reconcile now" annotation that was handled last.
    fn handled(&self) -> Option<&str>;
}

macro_rules! standing {
    ($status:ty) => {
        impl Standing for $status {
            fn conditions(&self) -> &[Condition] {
                &self.conditions
            }
            fn conditions_mut(&mut self) -> &mut Vec<Condition> {
                &mut self.conditions
            }
            fn observed_generation(&self) -> Option<i64> {
                self.observed_generation
            }
            fn handled(&self) -> Option<&str> {
                self.last_handled_reconcile_at.as_deref()
            }
        }
    };
}

standing!(ServerProtectionStatus);
standing!(SecurityConnectorStatus);

impl Kind for ServerProtection {
    type Status = ServerProtectionStatus;
    type Memory = serverprotection_core::server_protection::pace::Memory;

    const DEADLINE: Duration = Duration::from_secs(120);

    fn status(&self) -> Option<&ServerProtectionStatus> {
        self.status.as_ref()
    }
    /// The cache keeps the claim of a status and nothing else: the first visit reads the object itself, and from then on
    /// the process remembers what it wrote.
    fn forget_status(&mut self) {
        if let Some(status) = &mut self.status {
            *status = ServerProtectionStatus {
                claim: status.claim.take(),
                ..ServerProtectionStatus::default()
            };
        }
    }
    fn memories(context: &Context) -> &Memories<Self> {
        &context.memories
    }
    async fn visit(&self, context: &Context) -> Result<Action, Error> {
        server_protection::visit(self, context).await
    }
    async fn unreadable(object: &Unreadable, context: &Context) -> Result<Action, Error> {
        server_protection::unreadable(object, context).await
    }
}

impl Kind for SecurityConnector {
    type Status = SecurityConnectorStatus;
    type Memory = serverprotection_core::security_connector::pace::Memory;

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
        security_connector::visit(self, context).await
    }
    async fn unreadable(object: &Unreadable, context: &Context) -> Result<Action, Error> {
        security_connector::unreadable(object, context).await
    }
}
