//! What a reconcile learned about the access of its object.

use crate::{
    azure_error::{AzureError, ErrorClass},
    reading::{Permissions, ReadResult},
};

/// What one reconcile learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The object's own credential got a token, and the subject of the claim was read completely.
    Read(Rights),
    /// Access is denied, with the code of the cause.
    Denied(String),
    /// Nothing is known: a time-out, 429, 5xx, a page of a proxy, an unreadable response, or nothing was read.
    Nothing,
}

/// Whether the identity may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Its permissions contain the action.
    Allowed,
    /// Its permissions do not contain this action.
    Missing(&'static str),
    /// Its permissions cannot be read.
    Unreadable,
    /// This reconcile did not read them.
    NotRead,
}

/// What is known about the access of a candidate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    /// Not tried since the process started or the object appeared.
    #[default]
    Untried,
    /// It read the subject, and it may write.
    Proven,
    /// It read the subject, but whether it may write cannot be read, and no write of it succeeded yet.
    Weak,
    /// Access is denied, with the code of the cause.
    Denied(String),
    /// The last try gave no answer.
    Unknown,
}

impl Proof {
    /// Whether the object may hold a claim.
    pub const fn is_given(&self) -> bool {
        matches!(self, Self::Proven | Self::Weak)
    }
}

/// The code of a denial that no response of Azure carries: the permissions that Azure reports lack the action.
pub(super) const MISSING_PERMISSION: &str = "MissingPermission";

impl Evidence {
    /// The evidence of a failed read. A denial counts only in the shape of Entra or of Azure Resource Manager: a proxy
    /// that answers 403 denies nothing.
    pub fn of_failure(failure: &AzureError) -> Self {
        let denies = matches!(
            failure.class,
            ErrorClass::Credential | ErrorClass::Permission(_) | ErrorClass::NotFound
        );
        // The classification names responses without a code of Azure after their HTTP status.
        let foreign = failure.code.starts_with("Http");
        if denies && !foreign {
            Self::Denied(failure.code.clone())
        } else {
            Self::Nothing
        }
    }
}

impl Rights {
    /// What the permissions say about the action that writes.
    pub fn of(permissions: Option<&ReadResult<Permissions>>, action: &'static str) -> Self {
        match permissions {
            Some(Ok(permissions)) if permissions.allow(action) => Self::Allowed,
            Some(Ok(_)) => Self::Missing(action),
            Some(Err(failure)) if !failure.class.is_transient() => Self::Unreadable,
            // After a transient error, the next reconcile reads them again.
            Some(Err(_)) | None => Self::NotRead,
        }
    }
}
