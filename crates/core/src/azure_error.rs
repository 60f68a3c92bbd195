//! Errors of calls to Azure, classified by what the caller should do (I-5, docs/architecture.md 6).

use std::{fmt, time::Duration};

use crate::message::Message;

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
        let operation = &self.operation;
        let message = match &self.class {
            // An error that was found without a request has a complete sentence of ours as its message.
            _ if operation.is_empty() => Message::new(&self.message),
            ErrorClass::Credential if self.code.starts_with("AADSTS") => {
                Message::new("Entra refused the credential").cause(self.cause())
            }
            // These messages contain a countdown, which would change the object on every reconcile.
            ErrorClass::Throttled(_) => Message::new(format!("Azure throttles {operation}")),
            ErrorClass::Conflict => Message::new("Another update is in progress in Azure"),
            ErrorClass::Transient | ErrorClass::Unavailable(_) => {
                Message::new(format!("{operation} failed")).cause(self.cause())
            }
            ErrorClass::Permission(Some(action)) => {
                Message::new(format!("Azure denied {action}")).cause(self.cause())
            }
            _ => Message::new(format!("Azure refused {operation}")).cause(self.cause()),
        };
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
            (
                ErrorClass::Throttled(_)
                | ErrorClass::Conflict
                | ErrorClass::Transient
                | ErrorClass::Unavailable(_),
                _,
            ) => return None,
            (ErrorClass::Credential, "AADSTS7000215" | "AADSTS7000222") => {
                "Put a valid client secret into the Secret; the controller reads it again within five minutes"
            }
            (ErrorClass::Credential, "AADSTS90002") => "Fix tenantId of the AzureCredential",
            (ErrorClass::Credential, "AADSTS700016") => {
                "Fix clientId of the AzureCredential, or create its application in the tenant"
            }
            (ErrorClass::Credential, "AADSTS70021" | "AADSTS700211" | "AADSTS700212" | "AADSTS700213") => {
                "Add a federated credential for this service account (issuer, subject, audience) to the application"
            }
            (ErrorClass::Credential, "InvalidAuthenticationTokenTenant") => {
                "Fix tenantId of the AzureCredential, or subscriptionId: the subscription belongs to another tenant"
            }
            (ErrorClass::Credential, "CredentialMissing") => {
                "Set spec.credentialRef of the ServerProtection to an AzureCredential of its namespace"
            }
            (ErrorClass::Credential, "CredentialNotFound") => {
                "Create the AzureCredential, or fix credentialRef"
            }
            (ErrorClass::Credential, "SecretNotFound") => "Create the Secret",
            (ErrorClass::Credential, "SecretKeyMissing") => "Add the key to the Secret",
            (ErrorClass::Credential, "SecretForbidden") => {
                "Grant the controller's service account get on Secrets of the namespace"
            }
            (ErrorClass::Credential, _) => {
                "Fix the AzureCredential, or the Secret or service account it references"
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
            (ErrorClass::Refused | ErrorClass::CloudAuthentication(_), _) => {
                "Change the spec, or fix what Azure complains about"
            }
        })
    }
}
