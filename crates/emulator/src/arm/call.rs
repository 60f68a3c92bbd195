//! A request with its caller, and what handlers need to answer it.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Caller, Route, refusals,
    resource_graph::{Distortion, Graph},
};
use crate::{
    answer::ArmError,
    incoming::Incoming,
    instant,
    state::{Principal, Subscription, World},
};

/// One call of Azure Resource Manager by an authenticated caller.
pub(crate) struct Call<'a> {
    /// The request.
    pub(crate) request: &'a Incoming,
    /// What its path names.
    pub(crate) route: &'a Route,
    /// The caller.
    pub(crate) caller: &'a Caller,
    /// The base URL by which the caller addresses this server: `https://host:port`.
    pub(crate) host: &'a str,
    /// When it is answered.
    pub(crate) now: Timestamp,
    /// The cloud, with the answers of the switches and the options.
    pub(crate) world: &'a mut World,
    /// What Resource Graph keeps besides the cloud.
    pub(crate) graph: &'a mut Graph,
    /// How a fault distorts a response of Resource Graph.
    pub(crate) distortion: Option<Distortion>,
}

impl Call<'_> {
    /// The id of the subscription of the path, in lower case; empty for tenant-wide requests.
    pub(super) fn subscription_id(&self) -> &str {
        self.route.subscription.as_deref().unwrap_or_default()
    }

    /// The subscription of the path; the checks have made sure that it exists.
    ///
    /// # Errors
    ///
    /// Returns 404 `SubscriptionNotFound` if the cloud has no such subscription.
    pub(super) fn subscription(&self) -> Result<&Subscription, ArmError> {
        let id = self.subscription_id();
        self.world
            .subscriptions
            .get(id)
            .ok_or_else(|| refusals::subscription_not_found(id))
    }

    /// The subscription of the path, mutable.
    ///
    /// # Errors
    ///
    /// Returns 404 `SubscriptionNotFound` if the cloud has no such subscription.
    pub(super) fn subscription_mut(&mut self) -> Result<&mut Subscription, ArmError> {
        let id = self.route.subscription.as_deref().unwrap_or_default();
        self.world
            .subscriptions
            .get_mut(id)
            .ok_or_else(|| refusals::subscription_not_found(id))
    }

    /// The api-version; empty if the request has none.
    pub(super) fn version(&self) -> String {
        self.request.query("api-version").unwrap_or_default()
    }

    /// The body as JSON.
    ///
    /// # Errors
    ///
    /// Returns 400 if the body is not JSON.
    pub(super) fn body(&self) -> Result<Value, ArmError> {
        serde_json::from_slice(&self.request.body)
            .map_err(|error| refusals::invalid_content(&error.to_string()))
    }

    /// The caller with its roles.
    pub(super) fn principal(&self) -> Option<&Principal> {
        self.world.principals.get(&self.caller.client_id)
    }

    /// Whether the caller may perform an action in the subscription of the path.
    pub(super) fn may(&self, action: &str) -> bool {
        self.principal()
            .is_some_and(|principal| principal.may(self.subscription_id(), action))
    }

    /// Whether a subscription belongs to the caller's tenant and the caller has any role on it.
    pub(super) fn sees(&self, subscription: &str) -> bool {
        let found = self.world.subscriptions.get(subscription);
        found.is_some_and(|found| found.tenant == self.caller.tenant)
            && self
                .principal()
                .is_some_and(|principal| principal.assignments(subscription).next().is_some())
    }

    pub(super) fn epoch_milliseconds(&self) -> i64 {
        instant::epoch_milliseconds(self.now)
    }

    pub(super) fn registration_time(&self) -> i64 {
        i64::try_from(self.world.knobs.registration_time.as_millis()).unwrap_or(i64::MAX)
    }
}
