//! Registration of the resource provider Microsoft.Security (docs/azure-api.md 8.2).

use reqwest::Method;
use serde_json::Value;
use serverprotection_core::{
    azure_error::AzureError,
    reading::ReadResult,
    server_protection::{field::ProtectionField, observed::RegistrationState},
};

use crate::{
    arm::{Arm, Call},
    body,
    resources::protection_places::azure_name,
    throttled::Budget,
};

const API_VERSION: &str = "2021-04-01";
const GET: &str = "GET providers/Microsoft.Security";
/// The resource provider that everything here belongs to.
const PROVIDER: &str = "Microsoft.Security";

impl Arm {
    pub(crate) async fn registration(&self, subscription: &str) -> ReadResult<RegistrationState> {
        let body = self
            .call(&Call {
                method: Method::GET,
                operation: GET,
                budget: Budget::Subscription(subscription),
                path: &["subscriptions", subscription, "providers", PROVIDER],
                api_version: API_VERSION,
                body: None,
                timeout: None,
                correlation_id: None,
            })
            .await?;
        read(&body)
    }

    pub(crate) async fn register(&self, subscription: &str) -> Result<(), AzureError> {
        self.call(&Call {
            method: Method::POST,
            operation: "POST providers/Microsoft.Security/register",
            budget: Budget::Subscription(subscription),
            path: &["subscriptions", subscription, "providers", PROVIDER, "register"],
            api_version: API_VERSION,
            body: None,
            timeout: None,
            correlation_id: None,
        })
        .await
        .map(drop)
    }
}

fn read(body: &Value) -> ReadResult<RegistrationState> {
    let name = azure_name(&ProtectionField::Registration);
    let state = body::text(GET, body, &format!("/{name}"))?;
    Ok(match state.to_ascii_lowercase().as_str() {
        "registered" => RegistrationState::Registered,
        "registering" => RegistrationState::Registering,
        // NotRegistered, Unregistering, Unregistered and unknown states.
        _ => RegistrationState::NotRegistered,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_response_without_a_state_is_unreadable_and_starts_no_registration() {
        let state =
            |state: &str| read(&json!({"namespace": "Microsoft.Security", "registrationState": state}));
        assert_eq!(state("registered"), Ok(RegistrationState::Registered));
        assert_eq!(state("Unregistering"), Ok(RegistrationState::NotRegistered));
        for missing in [json!(null), json!({}), json!({"registrationState": null})] {
            assert_eq!(read(&missing).unwrap_err().code, "UnreadableAnswer", "{missing}");
        }
    }
}
