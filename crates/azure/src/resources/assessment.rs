//! The vulnerability assessment setting (docs/azure-api.md 3.1).

use reqwest::Method;
use serde_json::{Value, json};
use serverprotection_core::{
    azure_error::AzureError, gate::WritePermit, reading::ReadResult,
    server_protection::field::ProtectionField,
};

use crate::{
    arm::{Arm, Call},
    body, error_response,
    resources::protection_places::azure_name,
    throttled::Budget,
};

const API_VERSION: &str = "2023-05-01";
const GET: &str = "GET serverVulnerabilityAssessmentsSettings";
const PROVIDER: &str = "MdeTvm";

impl Arm {
    /// Whether Defender Vulnerability Management is selected.
    pub(crate) async fn assessment(&self, subscription: &str) -> ReadResult<bool> {
        match self
            .assessment_call(Method::GET, GET, subscription, None, None)
            .await
        {
            Ok(body) => read(&body),
            // A setting that was never written is a 404.
            Err(failure) if error_response::is_absent(&failure) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    pub(crate) async fn put_assessment(
        &self,
        subscription: &str,
        permit: &WritePermit,
    ) -> Result<(), AzureError> {
        let operation = "PUT serverVulnerabilityAssessmentsSettings";
        self.assessment_call(
            Method::PUT,
            operation,
            subscription,
            Some(&request()),
            Some(permit),
        )
        .await
        .map(drop)
    }

    pub(crate) async fn delete_assessment(
        &self,
        subscription: &str,
        permit: &WritePermit,
    ) -> Result<(), AzureError> {
        let operation = "DELETE serverVulnerabilityAssessmentsSettings";
        self.assessment_call(Method::DELETE, operation, subscription, None, Some(permit))
            .await
            .map(drop)
    }

    async fn assessment_call(
        &self,
        method: Method,
        operation: &'static str,
        subscription: &str,
        body: Option<&Value>,
        permit: Option<&WritePermit>,
    ) -> Result<Value, AzureError> {
        self.call(&Call {
            method,
            operation,
            budget: Budget::Subscription(subscription),
            path: &[
                "subscriptions",
                subscription,
                "providers",
                "Microsoft.Security",
                "serverVulnerabilityAssessmentsSettings",
                "azureServersSetting",
            ],
            api_version: API_VERSION,
            body,
            timeout: None,
            permit,
        })
        .await
    }
}

pub(super) fn request() -> Value {
    let name = azure_name(&ProtectionField::Assessment);
    json!({ "kind": "AzureServersSetting", "properties": { name: PROVIDER } })
}

pub(crate) fn read(body: &Value) -> ReadResult<bool> {
    let name = azure_name(&ProtectionField::Assessment);
    let provider = body::text(GET, body, &format!("/properties/{name}"))?;
    Ok(provider.eq_ignore_ascii_case(PROVIDER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> ReadResult<bool> {
        read(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_response_without_a_selected_provider_is_unreadable() {
        let selected = |provider: &str| format!(r#"{{"properties": {{"selectedProvider": "{provider}"}}}}"#);
        assert_eq!(read_text(&selected("mdetvm")), Ok(true));
        assert_eq!(read_text(&selected("Another")), Ok(false));
        for missing in [
            "null",
            "{}",
            r#"{"properties": {}}"#,
            r#"{"properties": {"selectedProvider": null}}"#,
        ] {
            assert_eq!(
                read_text(missing).unwrap_err().code,
                "UnreadableAnswer",
                "{missing}"
            );
        }
    }
}
