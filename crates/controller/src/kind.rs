//! What the controllers of both kinds have in common; everything generic here is written against it.

use std::{fmt::Debug, future::Future, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Resource, core::NamespaceResourceScope, runtime::controller::Action};
use serde::{Serialize, de::DeserializeOwned};
use serverprotection_api::{SecurityConnectorStatus, ServerProtectionStatus};

use crate::{context::Context, parsed::InvalidObject, state::StateStore, status_writer::Error};

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
    type Status: StatusExt;
    /// What paces its visits.
    type History: Clone + Debug + Default + Send + Sync + 'static;

    /// Its name, as a label.
    const NAME: &'static str;
    /// A visit takes at most this long; a write that is cut off by it is an open one, and is closed by the next visit.
    const DEADLINE: Duration;

    fn status(&self) -> Option<&Self::Status>;
    /// The cache keeps no status: the first visit reads the object itself, and from then on the process remembers what it
    /// wrote.
    fn forget_status(&mut self);
    fn states(context: &Context) -> &StateStore<Self>;

    /// One visit, also of an object that is being deleted.
    fn reconcile(&self, context: &Context) -> impl Future<Output = Result<Action, Error>> + Send;

    /// A visit of an object that this build cannot read.
    fn unreadable(
        object: &InvalidObject,
        context: &Context,
    ) -> impl Future<Output = Result<Action, Error>> + Send;
}

/// A status, whatever else it holds.
pub(crate) trait StatusExt:
    Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    fn conditions(&self) -> &[Condition];
    fn conditions_mut(&mut self) -> &mut Vec<Condition>;
    fn observed_generation(&self) -> Option<i64>;
    /// Value of the "reconcile now" annotation that was handled last.
    fn handled(&self) -> Option<&str>;
}

macro_rules! status_ext {
    ($status:ty) => {
        impl StatusExt for $status {
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

status_ext!(ServerProtectionStatus);
status_ext!(SecurityConnectorStatus);
