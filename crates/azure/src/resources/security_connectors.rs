//! Security connectors (docs/azure-api.md 4). Only preview versions of this API exist. It is synchronous, although a
//! PUT signs in to the other cloud before it responds, and it is throttled separately.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, value::RawValue};
use serverprotection_core::{
    azure_error::{AzureError, ErrorClass},
    gate::WritePermit,
    reading::ReadResult,
    security_connector::{account::ListedConnector, observed::Connector},
};

use crate::{
    arm::{Arm, Call, Limits},
    body,
    connectors::{id::ConnectorId, parse},
    response::{LARGEST_PAGE, LARGEST_RESOURCE},
    throttled::Budget,
};

const API_VERSION: &str = "2024-08-01-preview";
const GET: &str = "GET securityConnectors";
const LIST: &str = "GET securityConnectors (list)";
const PUT: &str = "PUT securityConnectors";
/// A connector has about 6 kB, and an organization one for each of its accounts.
const LIMITS: Limits = Limits {
    page: 4 * LARGEST_PAGE,
    ..Limits::LONG
};
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
        permit: &WritePermit,
    ) -> Result<Option<Connector>, AzureError> {
        let answer = self
            .connector_call(Method::PUT, PUT, id, Some(body), Some(permit))
            .await?;
        Ok(parse::connector(answer))
    }

    /// Deletes the connector. Succeeds if it does not exist.
    pub(crate) async fn remove_connector(
        &self,
        id: &ConnectorId,
        permit: &WritePermit,
    ) -> Result<(), AzureError> {
        let operation = "DELETE securityConnectors";
        let answer = self.connector_call(Method::DELETE, operation, id, None, Some(permit));
        match answer.await {
            Err(failure) if !is_absent(&failure) => Err(failure),
            _ => Ok(()),
        }
    }

    /// Every connector of a subscription, as far as a list of connectors needs it.
    pub(crate) async fn list_connectors(&self, subscription: &str) -> ReadResult<Vec<ListedConnector>> {
        let call = Call {
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
            permit: None,
        };
        let mut found = Vec::new();
        self.pages(&call, LIMITS, |page: Vec<Box<RawValue>>| {
            for item in page {
                found.push(listed(item.get()).ok_or_else(|| no_connector(LIST))?);
            }
            Ok(())
        })
        .await?;
        Ok(found)
    }

    async fn connector_call(
        &self,
        method: Method,
        operation: &'static str,
        id: &ConnectorId,
        body: Option<&Value>,
        permit: Option<&WritePermit>,
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
            permit,
        })
        .await
    }
}

/// Whether a list of connectors can be read.
pub(crate) fn check_list(items: &[Value]) -> ReadResult<()> {
    let is_readable = |item: &Value| parse::connector(item.clone()).is_some();
    if items.iter().all(is_readable) {
        return Ok(());
    }
    Err(no_connector(LIST))
}

/// Parsed one by one, because a connector takes much more memory than what is kept of it.
fn listed(item: &str) -> Option<ListedConnector> {
    if item.len() > LARGEST_RESOURCE {
        return None;
    }
    let connector = parse::connector(serde_json::from_str(item).ok()?)?;
    Some(ListedConnector::from(&connector))
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
