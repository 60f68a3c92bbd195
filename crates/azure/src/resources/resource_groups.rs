//! Resource groups, which contain connectors and the Arc machines of their accounts.

use reqwest::Method;
use serde_json::{Value, json};
use serverprotection_core::{
    azure_error::{AzureError, ErrorClass},
    gate::WritePermit,
    reading::ReadResult,
};

use crate::{
    arm::{Arm, Call},
    body,
    throttled::Budget,
};

const API_VERSION: &str = "2021-04-01";
const GET: &str = "GET resourceGroups";

impl Arm {
    /// Whether the resource group exists.
    pub(crate) async fn resource_group(&self, subscription: &str, name: &str) -> ReadResult<bool> {
        match self
            .group_call(Method::GET, GET, subscription, name, None, None)
            .await
        {
            Ok(body) => body::text(GET, &body, "/name").map(|_| true),
            Err(failure)
                if failure.class == ErrorClass::NotFound && failure.code == "ResourceGroupNotFound" =>
            {
                Ok(false)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Creates the resource group. The caller checks that it does not exist, because the PUT would remove its tags.
    pub(crate) async fn put_resource_group(
        &self,
        subscription: &str,
        name: &str,
        location: &str,
        permit: &WritePermit,
    ) -> Result<(), AzureError> {
        let body = json!({ "location": location });
        let operation = "PUT resourceGroups";
        self.group_call(
            Method::PUT,
            operation,
            subscription,
            name,
            Some(&body),
            Some(permit),
        )
        .await
        .map(drop)
    }

    async fn group_call(
        &self,
        method: Method,
        operation: &'static str,
        subscription: &str,
        name: &str,
        body: Option<&Value>,
        permit: Option<&WritePermit>,
    ) -> Result<Value, AzureError> {
        self.call(&Call {
            method,
            operation,
            budget: Budget::Subscription(subscription),
            path: &["subscriptions", subscription, "resourcegroups", name],
            api_version: API_VERSION,
            body,
            timeout: None,
            permit,
        })
        .await
    }
}
