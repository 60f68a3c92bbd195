//! Registration of resource providers (docs/azure-api.md 6.5, 8.2).

use futures::future::join_all;
use reqwest::Method;
use serde_json::Value;
use serverprotection_core::{
    azure_error::AzureError,
    gate::WritePermit,
    reading::ReadResult,
    security_connector::arc_providers::{ArcProvider, ArcProviders},
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
/// The resource provider that Defender for Cloud belongs to.
const PROVIDER: &str = "Microsoft.Security";

impl Arm {
    pub(crate) async fn registration(&self, subscription: &str) -> ReadResult<RegistrationState> {
        self.registration_of(GET, subscription, PROVIDER).await
    }

    pub(crate) async fn register(&self, subscription: &str, permit: &WritePermit) -> Result<(), AzureError> {
        let operation = "POST providers/Microsoft.Security/register";
        self.register_namespace(operation, subscription, PROVIDER, permit)
            .await
    }

    /// The registrations of the resource providers that the Azure Arc agent needs.
    pub(crate) async fn arc_providers(&self, subscription: &str) -> ReadResult<ArcProviders> {
        let read = |provider: ArcProvider| async move {
            let (get, _) = operations(provider);
            let state = self
                .registration_of(get, subscription, provider.namespace())
                .await?;
            Ok((provider, state))
        };
        let all = join_all(ArcProvider::ALL.map(read)).await;
        all.into_iter().collect()
    }

    pub(crate) async fn register_arc_provider(
        &self,
        subscription: &str,
        provider: ArcProvider,
        permit: &WritePermit,
    ) -> Result<(), AzureError> {
        let (_, post) = operations(provider);
        self.register_namespace(post, subscription, provider.namespace(), permit)
            .await
    }

    async fn registration_of(
        &self,
        operation: &'static str,
        subscription: &str,
        namespace: &str,
    ) -> ReadResult<RegistrationState> {
        let body = self
            .call(&Call {
                method: Method::GET,
                operation,
                budget: Budget::Subscription(subscription),
                path: &["subscriptions", subscription, "providers", namespace],
                api_version: API_VERSION,
                body: None,
                timeout: None,
                permit: None,
            })
            .await?;
        read(operation, &body)
    }

    async fn register_namespace(
        &self,
        operation: &'static str,
        subscription: &str,
        namespace: &str,
        permit: &WritePermit,
    ) -> Result<(), AzureError> {
        self.call(&Call {
            method: Method::POST,
            operation,
            budget: Budget::Subscription(subscription),
            path: &["subscriptions", subscription, "providers", namespace, "register"],
            api_version: API_VERSION,
            body: None,
            timeout: None,
            permit: Some(permit),
        })
        .await
        .map(drop)
    }
}

/// The operations that read and request a registration.
const fn operations(provider: ArcProvider) -> (&'static str, &'static str) {
    match provider {
        ArcProvider::HybridCompute => (
            "GET providers/Microsoft.HybridCompute",
            "POST providers/Microsoft.HybridCompute/register",
        ),
        ArcProvider::GuestConfiguration => (
            "GET providers/Microsoft.GuestConfiguration",
            "POST providers/Microsoft.GuestConfiguration/register",
        ),
        ArcProvider::HybridConnectivity => (
            "GET providers/Microsoft.HybridConnectivity",
            "POST providers/Microsoft.HybridConnectivity/register",
        ),
        ArcProvider::Compute => (
            "GET providers/Microsoft.Compute",
            "POST providers/Microsoft.Compute/register",
        ),
    }
}

pub(crate) fn read(operation: &str, body: &Value) -> ReadResult<RegistrationState> {
    let name = azure_name(&ProtectionField::Registration);
    let state = body::text(operation, body, &format!("/{name}"))?;
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
        let state = |state: &str| {
            read(
                GET,
                &json!({"namespace": "Microsoft.Security", "registrationState": state}),
            )
        };
        assert_eq!(state("registered"), Ok(RegistrationState::Registered));
        assert_eq!(state("Unregistering"), Ok(RegistrationState::NotRegistered));
        for provider in ArcProvider::ALL {
            let (get, post) = operations(provider);
            assert_eq!(get, format!("GET providers/{}", provider.namespace()));
            assert_eq!(post, format!("POST providers/{}/register", provider.namespace()));
        }
        for missing in [json!(null), json!({}), json!({"registrationState": null})] {
            assert_eq!(
                read(GET, &missing).unwrap_err().code,
                "UnreadableAnswer",
                "{missing}"
            );
        }
    }
}
