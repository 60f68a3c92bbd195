//! Assertions for workload identity: tokens of a service account in the namespace of the object, so that the subject
//! in Entra identifies the namespace (docs/architecture.md 2.3).

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};
use serverprotection_azure::AssertionSource;

/// The only audience that the controller may request; an admission policy enforces it.
const AUDIENCE: &str = "api://AzureADTokenExchange";

/// A service account whose tokens are used as assertions.
pub(crate) struct ServiceAccountTokens {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl std::fmt::Debug for ServiceAccountTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServiceAccountTokens({}/{})", self.namespace, self.name)
    }
}

#[async_trait::async_trait]
impl AssertionSource for ServiceAccountTokens {
    async fn assertion(&self) -> Result<String, String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![AUDIENCE.into()],
                expiration_seconds: Some(600),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(&self.name, &PostParams::default(), &request)
            .await;
        let answer = answer.map_err(|error| {
            format!(
                "cannot get a token for service account {}/{}: {error}",
                self.namespace, self.name
            )
        })?;
        answer
            .status
            .map(|status| status.token)
            .ok_or_else(|| "the API server returned no token".into())
    }
}
