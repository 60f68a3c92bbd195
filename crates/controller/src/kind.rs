//! What the kinds with a controller have in common: types only. Generic code depends on these traits.

use std::{fmt::Debug, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Api, Client, Resource,
    core::{ClusterResourceScope, NamespaceResourceScope},
};
use serde::{Serialize, de::DeserializeOwned};
use serverprotection_api::{ClaimStatus, ContestedField, SecurityConnectorStatus, ServerProtectionStatus};
use serverprotection_core::request::Requested;

/// A kind that has a controller.
pub(crate) trait Kind:
    Resource<DynamicType = (), Scope: Scoped> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    /// The status of the kind.
    type Status: StatusExt;
    /// What decides about the next requeue.
    type History: Clone + Debug + Default + Send + Sync + 'static;

    /// Name of the kind, as a label.
    const NAME: &'static str;
    /// Deadline of a reconcile. A write that it interrupts stays open, and the next reconcile handles it
    /// (docs/architecture.md 3.5).
    const DEADLINE: Duration;

    fn status(&self) -> Option<&Self::Status>;
    /// Drops the status of a cached object. The process keeps the newest status in its state.
    fn forget_status(&mut self);
}

/// Where the objects of a kind are.
pub(crate) trait Scoped: Sized + Send + Sync + 'static {
    /// The objects in this namespace, which is empty for objects of the cluster.
    fn api<P>(client: Client, namespace: &str) -> Api<P>
    where
        P: Resource<DynamicType = (), Scope = Self>;
}

impl Scoped for NamespaceResourceScope {
    fn api<P>(client: Client, namespace: &str) -> Api<P>
    where
        P: Resource<DynamicType = (), Scope = Self>,
    {
        Api::namespaced(client, namespace)
    }
}

impl Scoped for ClusterResourceScope {
    fn api<P>(client: Client, _: &str) -> Api<P>
    where
        P: Resource<DynamicType = (), Scope = Self>,
    {
        Api::all(client)
    }
}

/// What all statuses have in common.
pub(crate) trait StatusExt:
    Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    fn conditions(&self) -> &[Condition];
    fn conditions_mut(&mut self) -> &mut Vec<Condition>;
    fn observed_generation(&self) -> Option<i64>;
    /// Last handled values of the "reconcile now" annotations.
    fn handled(&self) -> Requested<'_>;
    /// Number of fields in which Azure differs from the spec.
    fn drift_count(&self) -> Option<i32>;
    /// Fields that were repaired lately.
    fn contested(&self) -> &[ContestedField];
    /// Whether the object may write. `None` for a kind that writes nothing to Azure.
    fn claim(&self) -> Option<&ClaimStatus>;
    fn clear_claim(&mut self);
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
            fn handled(&self) -> Requested<'_> {
                Requested {
                    ours: self.last_handled_request.as_deref(),
                    flux: self.last_handled_reconcile_at.as_deref(),
                }
            }
            fn drift_count(&self) -> Option<i32> {
                self.drift_count
            }
            fn contested(&self) -> &[ContestedField] {
                &self.contested
            }
            fn claim(&self) -> Option<&ClaimStatus> {
                self.claim.as_ref()
            }
            fn clear_claim(&mut self) {
                self.claim = None;
            }
        }
    };
}

status_ext!(ServerProtectionStatus);
status_ext!(SecurityConnectorStatus);
