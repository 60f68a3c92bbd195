//! Assertions for workload identity: tokens of a service account in the namespace of the object, so that the subject
//! in Entra identifies the namespace (docs/architecture.md 2.3).

use std::sync::Arc;

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};
use serverprotection_azure::AssertionSource;
use serverprotection_core::azure_error::{AzureError, ErrorClass};

use crate::{credentials::GRANT_DELAY, kube_error::described, restrictions::Restrictions};

/// The only audience that the controller may request; an admission policy enforces it.
const AUDIENCE: &str = "api://AzureADTokenExchange";

/// Part of the message of the admission policy (`deploy/base/token_policy.yaml`).
const NOT_GRANTED: &str = "use azurecredentials.serverprotection.dev";

/// A service account whose tokens are used as assertions.
pub(crate) struct ServiceAccountTokens {
    pub(crate) client: Client,
    pub(crate) restrictions: Arc<Restrictions>,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl std::fmt::Debug for ServiceAccountTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServiceAccountTokens({}/{})", self.namespace, self.name)
    }
}

fn is_not_granted<T>(answer: &Result<T, kube::Error>) -> bool {
    matches!(answer, Err(kube::Error::Api(status)) if says_not_granted(&status.message))
}

fn says_not_granted(message: &str) -> bool {
    message.contains(NOT_GRANTED)
}

#[async_trait::async_trait]
impl AssertionSource for ServiceAccountTokens {
    async fn assertion(&self) -> Result<String, AzureError> {
        let closed = |message: &str| failure(ErrorClass::Credential, "TokensNotRestricted", message.into());
        self.restrictions.tokens().map_err(closed)?;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![AUDIENCE.into()],
                expiration_seconds: Some(600),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let params = PostParams::default();
        let mut answer = accounts.create_token_request(&self.name, &params, &request).await;
        if is_not_granted(&answer) {
            tokio::time::sleep(GRANT_DELAY).await;
            answer = accounts.create_token_request(&self.name, &params, &request).await;
        }
        let account = format!("{}/{}", self.namespace, self.name);
        let answer = answer.map_err(|error| no_token(&account, &error))?;
        answer.status.map(|status| status.token).ok_or_else(|| {
            let message = format!("The API server returned no token of ServiceAccount {account}");
            failure(ErrorClass::Transient, UNAVAILABLE, message)
        })
    }
}

/// The code of an API server that does not issue the token now.
const UNAVAILABLE: &str = "ServiceAccountTokenUnavailable";

/// Only a refusal is an error of the credential: while the API server is away, nothing is known about it.
fn no_token(account: &str, error: &kube::Error) -> AzureError {
    let cause = described(error);
    match error {
        kube::Error::Api(status) if says_not_granted(&status.message) => failure(
            ErrorClass::Credential,
            "ServiceAccountNotGranted",
            format!("No Role lets ServiceAccount {account} use azurecredentials.serverprotection.dev"),
        ),
        kube::Error::Api(status) if status.is_not_found() => failure(
            ErrorClass::Credential,
            "ServiceAccountNotFound",
            format!("ServiceAccount {account} does not exist"),
        ),
        kube::Error::Api(status) if status.is_forbidden() => failure(
            ErrorClass::Credential,
            "ServiceAccountForbidden",
            format!("The controller may not request tokens of ServiceAccount {account}: {cause}"),
        ),
        kube::Error::Api(status) if matches!(status.code, 400 | 422) => failure(
            ErrorClass::Credential,
            "ServiceAccountTokenRefused",
            format!("The API server refused a token of ServiceAccount {account}: {cause}"),
        ),
        _ => failure(
            ErrorClass::Transient,
            UNAVAILABLE,
            format!("The API server issued no token of ServiceAccount {account}: {cause}"),
        ),
    }
}

fn failure(class: ErrorClass, code: &str, message: String) -> AzureError {
    AzureError {
        class,
        code: code.into(),
        message,
        operation: String::new(),
        request_id: None,
        effect_unknown: false,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_missing_service_account_is_one_sentence_with_one_action() {
        let answer = |code: u16, reason: &str| {
            let message = "serviceaccounts \"azure\": no";
            let status = Status::failure(message, reason).with_code(code);
            no_token("team/azure", &kube::Error::Api(Box::new(status)))
        };
        for (status, reason, class, code) in [
            (404, "NotFound", ErrorClass::Credential, "ServiceAccountNotFound"),
            (
                403,
                "Forbidden",
                ErrorClass::Credential,
                "ServiceAccountForbidden",
            ),
            (
                422,
                "Invalid",
                ErrorClass::Credential,
                "ServiceAccountTokenRefused",
            ),
            (429, "TooManyRequests", ErrorClass::Transient, UNAVAILABLE),
            (500, "InternalError", ErrorClass::Transient, UNAVAILABLE),
        ] {
            let failure = answer(status, reason);
            assert_eq!((failure.class.clone(), failure.code.as_str()), (class, code));
            let text = failure.to_message().to_string();
            assert!(
                text.contains("ServiceAccount team/azure") && !text.contains("Status {"),
                "{text}"
            );
        }
        let text = answer(404, "NotFound").to_message().to_string();
        assert_eq!(
            text,
            "ServiceAccount team/azure does not exist. Create the ServiceAccount, or fix \
             workloadIdentity.serviceAccountName of the AzureCredential."
        );
    }
}
