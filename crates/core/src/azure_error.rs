//! What can go wrong with a call to Azure, by what the caller should do about it (I-5).

use std::{fmt, time::Duration};

/// What to do about a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Too many requests: come back after this time (Azure's own word, when it gave one).
    Throttled(Option<Duration>),
    /// Another write is in progress: wait with jitter; it is not an error.
    Conflict,
    /// Network, 5xx: back off and try again.
    Transient,
    /// The same, and Azure said when to come back (`Retry-After` of a 503): not before, and backing off.
    Unavailable(Duration),
    /// No token, or Azure refuses the token: a human or a rotation mends it.
    Credential,
    /// The identity may not do it; the action's name when Azure told it.
    Permission(Option<String>),
    /// The resource provider is not registered in the subscription.
    NotRegistered,
    /// The subscription (or another thing that must exist) is unknown to this identity.
    NotFound,
    /// Azure refuses the request as such (policy, lock, disabled subscription, invalid): a human decides.
    Refused,
}

impl ErrorClass {
    /// Time alone mends it.
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Throttled(_) | Self::Conflict | Self::Transient | Self::Unavailable(_)
        )
    }

    /// How long Azure asked to be left alone, when it said so.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled(wait) => *wait,
            Self::Unavailable(wait) => Some(*wait),
            _ => None,
        }
    }
}

/// A failed call: what was asked, what Azure said, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureError {
    /// What to do about it.
    pub class: ErrorClass,
    /// Azure's stable error code (`AuthorizationFailed`, `AADSTS7000215`), or ours for transport errors.
    pub code: String,
    /// Azure's words, without ids that differ each time.
    pub message: String,
    /// What was asked, e.g. `PUT pricings/VirtualMachines`.
    pub operation: String,
    /// Azure's id of the request, for a support case.
    pub request_id: Option<String>,
    /// The request may have had its effect although it failed (connection lost, 5xx).
    pub effect_unknown: bool,
}

impl fmt::Display for AzureError {
    /// The request id stands last, so that messages can be compared without it (see `conditions`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.operation, self.code, self.message)?;
        match &self.request_id {
            Some(id) => write!(f, " (request id {id})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for AzureError {}

impl AzureError {
    /// The next step for the user, as a sentence.
    pub fn hint(&self) -> &'static str {
        match (&self.class, self.code.as_str()) {
            (ErrorClass::Throttled(_), _) => "nothing to do: the next try waits as long as Azure asked",
            (ErrorClass::Conflict, _) => "nothing to do: another update is in progress",
            (ErrorClass::Transient, _) => "nothing to do: it is tried again",
            (ErrorClass::Unavailable(_), _) => {
                "nothing to do: it is tried again, not before Azure asked for it"
            }
            (ErrorClass::Credential, "AADSTS7000215" | "AADSTS7000222") => {
                "put a valid client secret into the Secret; it is read again within five minutes"
            }
            (ErrorClass::Credential, "AADSTS90002") => "correct tenantId of the AzureCredential",
            (ErrorClass::Credential, "AADSTS700016") => {
                "correct clientId of the AzureCredential, or create its application in the tenant"
            }
            (ErrorClass::Credential, "AADSTS70021" | "AADSTS700211" | "AADSTS700212" | "AADSTS700213") => {
                "add a federated credential for this service account (issuer, subject, audience) to the application"
            }
            (ErrorClass::Credential, "InvalidAuthenticationTokenTenant") => {
                "the subscription belongs to another tenant: correct tenantId of the AzureCredential or subscriptionId"
            }
            (ErrorClass::Credential, "CredentialMissing") => {
                "set spec.credentialRef of the ServerProtection to an AzureCredential of its namespace"
            }
            (ErrorClass::Credential, _) => "correct the AzureCredential or what it refers to",
            (ErrorClass::Permission(_), _) => {
                "grant the identity a role with this action on the subscription (Security Admin; Owner for all extensions); grants take minutes to arrive"
            }
            (ErrorClass::NotRegistered, _) => {
                "register Microsoft.Security (az provider register -n Microsoft.Security), or set resourceProviders.registration to Register"
            }
            (ErrorClass::NotFound, "SubscriptionNotFound") => {
                "correct subscriptionId, or give the identity access to the subscription"
            }
            (ErrorClass::NotFound, _) => "check that the resource exists and that the identity may see it",
            (ErrorClass::Refused, "ReadOnlyDisabledSubscription") => {
                "the subscription is disabled: enable it again in Azure"
            }
            (ErrorClass::Refused, "ScopeLocked") => {
                "a lock forbids it: remove the read-only lock (for a deletion, also the delete lock) from the resource, its resource group or the subscription"
            }
            (ErrorClass::Refused, "RequestDisallowedByPolicy") => {
                "exempt the subscription from the Azure Policy that is named here, or change the spec"
            }
            (ErrorClass::Refused, _) => "change the spec or what Azure complains about",
        }
    }
}
