//! Errors of calls to Azure, classified by what the caller should do (I-5, docs/architecture.md 6).

use std::{fmt, time::Duration};

use crate::{grants, message::Message, operation::described, token_cause::TokenCause};

/// A response in no form that Azure uses: a proxy, a firewall or a sign-in page of the network sent it.
pub const UNRECOGNIZED_RESPONSE: &str = "UnrecognizedResponse";
/// The certificate of the server is not trusted.
pub const CERTIFICATE_NOT_TRUSTED: &str = "CertificateNotTrusted";
/// The certificate of the server has expired, or it is for another host.
pub const CERTIFICATE_INVALID: &str = "CertificateInvalid";
/// The machine has no such managed identity.
pub const MANAGED_IDENTITY_NOT_ASSIGNED: &str = "ManagedIdentityNotAssigned";
/// Nothing answers where the managed identity of the machine gets its tokens.
pub const IDENTITY_ENDPOINT_UNREACHABLE: &str = "IdentityEndpointUnreachable";
/// Azure revoked the token because of a Conditional Access policy.
pub const INSUFFICIENT_CLAIMS: &str = "InsufficientClaims";
/// A deny assignment forbids what the roles of the identity allow.
pub const DENY_ASSIGNMENT: &str = "DenyAssignmentAuthorizationFailed";

/// What the caller should do about an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Too many requests: retry after this time, where Azure gave one.
    Throttled(Option<Duration>),
    /// Another write is in progress: wait with jitter. Not an error for the user.
    Conflict,
    /// Network errors and 5xx: back off and retry.
    Transient,
    /// A transient error with a `Retry-After` header (503): back off, and wait at least that long.
    Unavailable(Duration),
    /// No token, or Azure refuses the token: the user fixes or rotates the credential.
    Credential,
    /// The identity lacks a permission; the action, where Azure names it.
    Permission(Option<String>),
    /// The resource provider is not registered in the subscription.
    NotRegistered,
    /// The subscription, or another resource that must exist, is unknown to this identity.
    NotFound,
    /// Azure refuses the request itself (policy, lock, disabled subscription, invalid): the user decides.
    Refused,
    /// Azure cannot sign in to the AWS account or GCP project: its owner fixes this cause.
    CloudAuthentication(SignInCause),
}

/// Why Azure cannot sign in to an AWS account or GCP project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInCause {
    /// The account has no identity provider for Defender for Cloud.
    IdentityProvider,
    /// The AWS `CloudFormation` `StackSet` of the organization.
    StackSet,
    /// Anything else, such as a role or a service account that is missing or does not trust Defender for Cloud.
    Other,
}

impl ErrorClass {
    /// Whether retries alone can succeed.
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Throttled(_) | Self::Conflict | Self::Transient | Self::Unavailable(_)
        )
    }

    /// `Retry-After`, where Azure sent it.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled(wait) => *wait,
            Self::Unavailable(wait) => Some(*wait),
            _ => None,
        }
    }
}

/// A failed call: the request, the response, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureError {
    /// What the caller should do.
    pub class: ErrorClass,
    /// Azure's stable error code (`AuthorizationFailed`, `AADSTS7000215`), or ours for transport errors.
    pub code: String,
    /// Azure's message, without ids that differ each time.
    pub message: String,
    /// The request, such as `PUT pricings/VirtualMachines`; empty if the error was found without a request.
    pub operation: String,
    /// Azure's id of the request, for support cases.
    pub request_id: Option<String>,
    /// The request may have taken effect although it failed (connection lost, 5xx).
    pub effect_unknown: bool,
}

impl fmt::Display for AzureError {
    /// The form for logs. The request id is last, so that messages can be compared without it (see `conditions`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.operation.is_empty() {
            write!(f, "{}: ", self.operation)?;
        }
        f.write_str(&self.cause())
    }
}

impl std::error::Error for AzureError {}

impl AzureError {
    /// For users: what failed, Azure's words, and the next step.
    pub fn to_message(&self) -> Message {
        let request = described(&self.operation);
        let problem = match &self.class {
            // An error that was found without a request has a complete sentence of ours as its message.
            _ if self.operation.is_empty() => return self.with_hint(Message::new(&self.message)),
            // These messages contain a countdown, which would change the object on every reconcile.
            ErrorClass::Throttled(_) => {
                return self.with_hint(Message::new(format!("Azure throttles requests to {request}")));
            }
            ErrorClass::Conflict => {
                return self.with_hint(Message::new("Another update is in progress in Azure"));
            }
            _ if self.code == UNRECOGNIZED_RESPONSE => {
                format!("The response to the request to {request} is not from Azure")
            }
            ErrorClass::Transient | ErrorClass::Unavailable(_) => format!("The request to {request} failed"),
            ErrorClass::Credential if self.code.starts_with("AADSTS") => {
                "Entra refused the credential".into()
            }
            ErrorClass::Permission(Some(action)) => format!("Azure denied {action}"),
            _ if self.code == DENY_ASSIGNMENT => {
                format!("A deny assignment forbids to {request}, although the roles of the identity allow it")
            }
            _ => format!("Azure refused the request to {request}"),
        };
        self.with_hint(Message::new(problem).cause(self.cause()))
    }

    fn with_hint(&self, message: Message) -> Message {
        match self.hint() {
            Some(hint) => message.action(hint),
            None => message,
        }
    }

    /// Azure's error code and message.
    fn cause(&self) -> String {
        match &self.request_id {
            Some(id) => format!("{}: {} (request id {id})", self.code, self.message),
            None => format!("{}: {}", self.code, self.message),
        }
    }

    /// What the user should do, in the imperative. `None`: the controller retries by itself.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match (&self.class, self.code.as_str()) {
            // Retried, but only the user can end it.
            (_, grants::MANAGEMENT_GROUPS_UNREADABLE) => {
                "Check that the identity of the ClusterAzureCredential has the role Reader on the subscription; the controller retries"
            }
            (_, UNRECOGNIZED_RESPONSE) => {
                "Allow these requests in the network: a proxy, a firewall or a sign-in page sent this response"
            }
            (_, CERTIFICATE_NOT_TRUSTED) => {
                "Set --extra-ca to a file with the certificate authority that issued this certificate, if you trust it"
            }
            (_, IDENTITY_ENDPOINT_UNREACHABLE) => {
                "Run the controller on Azure machines with a managed identity, and allow its requests to their metadata service (169.254.169.254)"
            }
            (
                ErrorClass::Throttled(_)
                | ErrorClass::Conflict
                | ErrorClass::Transient
                | ErrorClass::Unavailable(_),
                _,
            ) => return None,
            (ErrorClass::Credential, code) => match TokenCause::of(code) {
                Some(cause) => return cause.action(),
                None => credential_hint(code),
            },
            (_, DENY_ASSIGNMENT) => {
                "Remove the deny assignment that Azure names, or exclude the identity from it; a role does not help"
            }
            (ErrorClass::Permission(_), _) => {
                "Grant the identity a role with this action on the subscription (Security Admin; Owner for all extensions). Grants take minutes to take effect"
            }
            (ErrorClass::NotRegistered, _) => {
                "Register the resource provider (az provider register -n Microsoft.Security), or set resourceProviders.registration to Register"
            }
            (ErrorClass::NotFound, "SubscriptionNotFound") => {
                "Fix subscriptionId, or give the identity access to the subscription"
            }
            (ErrorClass::NotFound, _) => "Check that the resource exists and that the identity may read it",
            (ErrorClass::Refused, "ReadOnlyDisabledSubscription") => "Enable the subscription in Azure",
            (ErrorClass::Refused, "ScopeLocked") => {
                "Remove the read-only lock (for a deletion, also the delete lock) from the resource, its resource group or the subscription"
            }
            (ErrorClass::Refused, "RequestDisallowedByPolicy") => {
                "Exempt the subscription from the Azure Policy that Azure names, or change the spec"
            }
            (ErrorClass::Refused, "UnknownPlan") => "Upgrade the controller",
            (ErrorClass::Refused, "InvalidResourceId") => "Fix the id in the spec",
            (ErrorClass::Refused | ErrorClass::CloudAuthentication(_), _) => {
                "Change the spec, or fix what Azure complains about"
            }
        })
    }
}

/// The next step for a refused credential whose code is not one of Entra's.
fn credential_hint(code: &str) -> &'static str {
    match code {
        INSUFFICIENT_CLAIMS => {
            "Exclude the application from the Conditional Access policy, or allow the address from which the controller reaches Azure"
        }
        "InvalidAuthenticationTokenTenant" => {
            "Fix tenantId of the AzureCredential, or subscriptionId: the subscription belongs to another tenant"
        }
        "CredentialMissing" => {
            "Set spec.credentialRef of the ServerProtection to an AzureCredential of its namespace"
        }
        grants::CREDENTIAL_NOT_GRANTED => {
            "Fix credentialRef, or ask an administrator of the cluster for a grant: spec.grants of the ClusterAzureCredential, or a label of the namespace that its namespaceSelector selects"
        }
        grants::SUBSCRIPTION_NOT_GRANTED => {
            "Fix subscriptionId, or ask an administrator of the cluster to add the subscription to the grant of the namespace"
        }
        grants::REFERENCE_NOT_GRANTED => {
            "Fix the field, or ask an administrator of the cluster to add the subscription to referencedSubscriptions of this grant"
        }
        grants::CLUSTER_CREDENTIALS_OFF => {
            "Use an AzureCredential of the namespace: the controller runs with --watch-namespace and has no rights in the whole cluster"
        }
        "CredentialNotFound" => "Create the AzureCredential, or fix credentialRef",
        "CredentialUnreadable" => {
            "Upgrade the controller, or write the AzureCredential as this version knows it"
        }
        "SecretNotFound" => "Create the Secret with this key",
        "SecretForbidden" => {
            "Bind the ClusterRole serverprotection-secret-reader to the controller in the namespace (deploy/samples/2-secret.yaml)"
        }
        "TlsSecretNotFound" => {
            "Create a Secret of type kubernetes.io/tls with this name (kubectl create secret tls, or a Certificate of cert-manager)"
        }
        "ClientCertificateUnreadable" => {
            "Store the certificate and its RSA private key in PEM format in tls.crt and tls.key"
        }
        "ClientKeyEncrypted" => "Store the private key without a passphrase (openssl pkey removes it)",
        "ClientKeyNotRsa" => {
            "Issue a certificate with an RSA key, because Entra accepts no other (cert-manager: privateKey.algorithm RSA, size 2048)"
        }
        "ClientKeyMismatch" => {
            "Store the certificate of this key; it must be the first one in tls.crt, before its issuers"
        }
        "ClientCertificateExpired" => {
            "Renew the certificate in the Secret, and register the new one with the application in Entra"
        }
        "ClientCertificateNotYetValid" => {
            "Wait until then, or synchronize the clock of the controller's node if the time has passed"
        }
        MANAGED_IDENTITY_NOT_ASSIGNED => {
            "Assign the managed identity to the machines (or the app) of the controller, or fix clientId"
        }
        "ServiceAccountNotGranted" => {
            "Bind the ClusterRole serverprotection-identity-user to the ServiceAccount in the namespace (deploy/samples/workload-identity)"
        }
        "TokensNotRestricted" => {
            "Install the policy of deploy/base/token_policy.yaml; the controller's log says what it found"
        }
        "ServiceAccountNotFound" => {
            "Create the ServiceAccount, or fix workloadIdentity.serviceAccountName of the AzureCredential"
        }
        "ServiceAccountForbidden" => {
            "Grant the controller create on serviceaccounts/token of this ServiceAccount"
        }
        _ => "Fix the AzureCredential, or the Secret or service account it references",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(class: ErrorClass, code: &str) -> AzureError {
        AzureError {
            class,
            code: code.into(),
            message: "m".into(),
            operation: "PUT pricings/VirtualMachines".into(),
            request_id: None,
            effect_unknown: false,
        }
    }

    #[test]
    fn a_message_begins_with_what_failed_and_has_one_action() {
        for (class, code, begins, ends) in [
            (
                ErrorClass::Refused,
                DENY_ASSIGNMENT,
                "A deny assignment forbids to write the plan",
                "a role does not help.",
            ),
            (
                ErrorClass::Refused,
                "RequestDisallowedByPolicy",
                "Azure refused the request to write the plan: RequestDisallowedByPolicy: m.",
                "or change the spec.",
            ),
            (
                ErrorClass::Transient,
                UNRECOGNIZED_RESPONSE,
                "The response to the request to write the plan is not from Azure: ",
                "sent this response.",
            ),
            (
                ErrorClass::Transient,
                CERTIFICATE_NOT_TRUSTED,
                "The request to write the plan failed: CertificateNotTrusted: m.",
                "if you trust it.",
            ),
            (
                ErrorClass::Permission(Some("a/write".into())),
                "AuthorizationFailed",
                "Azure denied a/write",
                "take effect.",
            ),
            (
                ErrorClass::Transient,
                "ServerTimeout",
                "The request to write the plan failed: ServerTimeout: m.",
                "m.",
            ),
        ] {
            let text = failure(class, code).to_message().to_string();
            assert!(text.starts_with(begins), "{text}");
            assert!(text.ends_with(ends), "{text}");
            assert!(!text.contains("PUT"), "{text}");
        }
    }

    #[test]
    fn refusals_with_different_causes_have_different_actions() {
        let refused = [
            (ErrorClass::Permission(None), "AuthorizationFailed"),
            (ErrorClass::Refused, DENY_ASSIGNMENT),
            (ErrorClass::Refused, "RequestDisallowedByPolicy"),
            (ErrorClass::Refused, "ScopeLocked"),
            (ErrorClass::Refused, "ReadOnlyDisabledSubscription"),
            (ErrorClass::Transient, UNRECOGNIZED_RESPONSE),
            (ErrorClass::Credential, INSUFFICIENT_CLAIMS),
            (ErrorClass::Credential, "AADSTS7000112"),
            (ErrorClass::Credential, "AADSTS700024"),
        ];
        let actions: std::collections::BTreeSet<_> = refused
            .iter()
            .map(|(class, code)| failure(class.clone(), code).hint())
            .collect();
        assert_eq!(actions.len(), refused.len());
    }
}
