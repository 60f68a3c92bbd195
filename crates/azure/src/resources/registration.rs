//! Registration of Microsoft.Security (contract.md 8.2).

use reqwest::Method;
use serde_json::Value;
use serverprotection_core::{
    failure::Failure,
    server_protection::{
        laws::PROVIDER,
        observed::{Reading, RegistrationState},
    },
};

use crate::arm::{Arm, Call};

const API_VERSION: &str = "2021-04-01";

impl Arm {
    pub(crate) async fn registration(&self, subscription: &str) -> Reading<RegistrationState> {
        let body = self
            .call(&Call {
                method: Method::GET,
                operation: "GET providers/Microsoft.Security",
                subscription,
                path: &["subscriptions", subscription, "providers", PROVIDER],
                api_version: API_VERSION,
                body: None,
            })
            .await?;
        let state = body
            .get("registrationState")
            .and_then(Value::as_str)
            .unwrap_or_default();
        Ok(match state.to_ascii_lowercase().as_str() {
            "registered" => RegistrationState::Registered,
            "registering" => RegistrationState::Registering,
            // NotRegistered, Unregistering, Unregistered, and what Azure may invent.
            _ => RegistrationState::NotRegistered,
        })
    }

    pub(crate) async fn register(&self, subscription: &str) -> Result<(), Failure> {
        self.call(&Call {
            method: Method::POST,
            operation: "POST providers/Microsoft.Security/register",
            subscription,
            path: &["subscriptions", subscription, "providers", PROVIDER, "register"],
            api_version: API_VERSION,
            body: None,
        })
        .await
        .map(drop)
    }
}
