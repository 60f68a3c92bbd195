//! The vulnerability-assessment setting (contract.md 3.1).

use reqwest::Method;
use serde_json::{Value, json};
use serverprotection_core::{
    failure::{Class, Failure},
    server_protection::observed::Reading,
};

use crate::arm::{Arm, Call};

const API_VERSION: &str = "2023-05-01";
const PROVIDER: &str = "MdeTvm";

impl Arm {
    /// Whether Defender Vulnerability Management is selected; a setting that was never made is a 404.
    pub(crate) async fn assessment(&self, subscription: &str) -> Reading<bool> {
        let operation = "GET serverVulnerabilityAssessmentsSettings";
        match self
            .assessment_call(Method::GET, operation, subscription, None)
            .await
        {
            Ok(body) => {
                let provider = body
                    .pointer("/properties/selectedProvider")
                    .and_then(Value::as_str);
                Ok(provider.is_some_and(|provider| provider.eq_ignore_ascii_case(PROVIDER)))
            }
            Err(failure) if failure.class == Class::NotFound && failure.code != "SubscriptionNotFound" => {
                Ok(false)
            }
            Err(failure) => Err(failure),
        }
    }

    pub(crate) async fn put_assessment(&self, subscription: &str) -> Result<(), Failure> {
        let body = json!({ "kind": "AzureServersSetting", "properties": { "selectedProvider": PROVIDER } });
        let operation = "PUT serverVulnerabilityAssessmentsSettings";
        self.assessment_call(Method::PUT, operation, subscription, Some(&body))
            .await
            .map(drop)
    }

    pub(crate) async fn delete_assessment(&self, subscription: &str) -> Result<(), Failure> {
        let operation = "DELETE serverVulnerabilityAssessmentsSettings";
        self.assessment_call(Method::DELETE, operation, subscription, None)
            .await
            .map(drop)
    }

    async fn assessment_call(
        &self,
        method: Method,
        operation: &'static str,
        subscription: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        self.call(&Call {
            method,
            operation,
            subscription,
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
        })
        .await
    }
}
