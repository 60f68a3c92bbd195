//! Security connectors (contract.md 4). Only previews of this API exist. It is synchronous, also where a PUT signs in to
//! the other cloud before it answers, and it has a budget of its own.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use serverprotection_core::{
    failure::{Class, Failure},
    security_connector::observed::Connector,
    server_protection::observed::Reading,
};

use crate::{
    arm::{Arm, Call},
    connectors::id::ConnectorId,
};

const API_VERSION: &str = "2024-08-01-preview";
const GET: &str = "GET securityConnectors";
pub(crate) const PUT: &str = "PUT securityConnectors";
/// 35 s were recorded, and ARM gives up after 60 s (contract.md 4.1).
pub(crate) const PUT_TAKES_AT_MOST: Duration = Duration::from_secs(120);

impl Arm {
    /// The connector; `None`: there is none.
    pub(crate) async fn connector(&self, id: &ConnectorId) -> Reading<Option<Connector>> {
        let body = match self.connector_call(Method::GET, GET, id, None).await {
            Err(failure) if is_absent(&failure) => return Ok(None),
            answer => answer?,
        };
        // A reading must not take for absent what it cannot read: absent connectors are created.
        Connector::read(body).map(Some).ok_or_else(|| unreadable(GET))
    }

    /// Writes the connector, whose full body this is. Gives what Azure answered, if that is a connector.
    pub(crate) async fn put_connector(
        &self,
        id: &ConnectorId,
        body: &Value,
    ) -> Result<Option<Connector>, Failure> {
        let answer = self.connector_call(Method::PUT, PUT, id, Some(body)).await?;
        Ok(Connector::read(answer))
    }

    /// Deletes the connector. One that is gone is deleted.
    pub(crate) async fn remove_connector(&self, id: &ConnectorId) -> Result<(), Failure> {
        let operation = "DELETE securityConnectors";
        match self.connector_call(Method::DELETE, operation, id, None).await {
            Err(failure) if !is_absent(&failure) => Err(failure),
            _ => Ok(()),
        }
    }

    /// Every connector of a subscription.
    pub(crate) async fn list_connectors(&self, subscription: &str) -> Reading<Vec<Connector>> {
        let list = self
            .list(&Call {
                method: Method::GET,
                operation: "LIST securityConnectors",
                subscription: &budget(subscription),
                path: &[
                    "subscriptions",
                    subscription,
                    "providers",
                    "Microsoft.Security",
                    "securityConnectors",
                ],
                api_version: API_VERSION,
                body: None,
            })
            .await?;
        Ok(list.into_iter().filter_map(Connector::read).collect())
    }

    async fn connector_call(
        &self,
        method: Method,
        operation: &'static str,
        id: &ConnectorId,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        self.call(&Call {
            method,
            operation,
            subscription: &budget(&id.subscription),
            path: &id.path(),
            api_version: API_VERSION,
            body,
        })
        .await
    }
}

/// Connectors are throttled by themselves (contract.md 4.7): the plan of the subscription does not wait for them.
fn budget(subscription: &str) -> String {
    format!("{subscription}/securityConnectors")
}

/// Whether Azure says that there is no such connector. Other 404s (an unknown subscription, a type that this cloud does
/// not have, a gateway that lost its way) do not.
fn is_absent(failure: &Failure) -> bool {
    failure.class == Class::NotFound
        && ["ResourceNotFound", "ResourceGroupNotFound", "NotFound"].contains(&failure.code.as_str())
}

fn unreadable(operation: &str) -> Failure {
    Failure {
        class: Class::Transient,
        code: "UnreadableAnswer".into(),
        message: "the answer is no connector".into(),
        operation: operation.into(),
        request_id: None,
        effect_unknown: false,
    }
}
