//! Security connectors (docs/azure-api.md 4). Only preview versions of this API exist. It is synchronous, although a
//! PUT signs in to the other cloud before it responds, and it is throttled separately.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use serverprotection_core::{
    azure_error::{AzureError, ErrorClass},
    reading::ReadResult,
    security_connector::observed::Connector,
};

use crate::{
    arm::{Arm, Call},
    body,
    connectors::{id::ConnectorId, parse},
    throttled::Budget,
};

const API_VERSION: &str = "2024-08-01-preview";
const GET: &str = "GET securityConnectors";
const LIST: &str = "GET securityConnectors (list)";
const PUT: &str = "PUT securityConnectors";
/// A PUT was recorded with 35 s, and Azure Resource Manager gives up after 60 s (docs/azure-api.md 4.1).
const PUT_TIMEOUT: Duration = Duration::from_secs(120);

impl Arm {
    /// The connector; `None` if it does not exist.
    pub(crate) async fn connector(&self, id: &ConnectorId) -> ReadResult<Option<Connector>> {
        match self.connector_call(Method::GET, GET, id, None, None).await {
            Err(failure) if is_absent(&failure) => Ok(None),
            answer => read(answer?).map(Some),
        }
    }

    /// Writes the connector with its full body. Returns the connector in Azure's response, if there is one.
    pub(crate) async fn put_connector(
        &self,
        id: &ConnectorId,
        body: &Value,
        correlation_id: &str,
    ) -> Result<Option<Connector>, AzureError> {
        let correlation_id = Some(correlation_id);
        let answer = self
            .connector_call(Method::PUT, PUT, id, Some(body), correlation_id)
            .await?;
        Ok(parse::connector(answer))
    }

    /// Deletes the connector. Succeeds if it does not exist.
    pub(crate) async fn remove_connector(
        &self,
        id: &ConnectorId,
        correlation_id: &str,
    ) -> Result<(), AzureError> {
        let (operation, correlation_id) = ("DELETE securityConnectors", Some(correlation_id));
        let answer = self.connector_call(Method::DELETE, operation, id, None, correlation_id);
        match answer.await {
            Err(failure) if !is_absent(&failure) => Err(failure),
            _ => Ok(()),
        }
    }

    /// Every connector of a subscription.
    pub(crate) async fn list_connectors(&self, subscription: &str) -> ReadResult<Vec<Connector>> {
        let list = self
            .list(&Call {
                method: Method::GET,
                operation: LIST,
                budget: Budget::Connectors(subscription),
                path: &[
                    "subscriptions",
                    subscription,
                    "providers",
                    "Microsoft.Security",
                    "securityConnectors",
                ],
                api_version: API_VERSION,
                body: None,
                timeout: None,
                correlation_id: None,
            })
            .await?;
        let connectors: Option<_> = list.into_iter().map(parse::connector).collect();
        connectors.ok_or_else(|| no_connector(LIST))
    }

    async fn connector_call(
        &self,
        method: Method,
        operation: &'static str,
        id: &ConnectorId,
        body: Option<&Value>,
        correlation_id: Option<&str>,
    ) -> Result<Value, AzureError> {
        let timeout = (method == Method::PUT).then_some(PUT_TIMEOUT);
        self.call(&Call {
            method,
            operation,
            budget: Budget::Connectors(&id.subscription),
            path: &id.path(),
            api_version: API_VERSION,
            body,
            timeout,
            correlation_id,
        })
        .await
    }
}

/// Whether the connector does not exist. Other 404s mean an unknown subscription, a type that the cloud does not have,
/// or a gateway.
fn is_absent(failure: &AzureError) -> bool {
    failure.class == ErrorClass::NotFound
        && ["ResourceNotFound", "ResourceGroupNotFound", "NotFound"].contains(&failure.code.as_str())
}

/// What cannot be read must not count as absent or disabled: the operator creates absent connectors and enables
/// disabled offerings.
fn read(answer: Value) -> ReadResult<Connector> {
    body::text(GET, &answer, "/properties/environmentName")?;
    body::mandatory_list(GET, &answer, "/properties/offerings")?;
    parse::connector(answer).ok_or_else(|| no_connector(GET))
}

fn no_connector(operation: &str) -> AzureError {
    body::unreadable(operation, "Azure's response is not a security connector".into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_connector_without_its_mandatory_members_is_unreadable_and_not_blank() {
        let whole = json!({"properties": {"environmentName": "AWS", "offerings": []}});
        assert!(read(whole).is_ok());
        for odd in [
            json!(null),
            json!([]),
            json!({}),
            json!({"properties": {"environmentName": "AWS"}}),
            json!({"properties": {"environmentName": "AWS", "offerings": null}}),
            json!({"properties": {"offerings": []}}),
        ] {
            let failure = read(odd.clone()).unwrap_err();
            assert_eq!(
                (failure.class, failure.code.as_str()),
                (ErrorClass::Transient, "UnreadableAnswer"),
                "{odd}"
            );
        }
    }
}
