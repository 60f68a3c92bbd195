//! The status of an `AzureCredential`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serverprotection_api::AzureCredentialStatus;

use super::{certificate::Validity, history::ReconcileHistory};
use crate::{
    Timestamp,
    azure_error::{AzureError, ErrorClass},
    conditions::{ConditionStatus, ConditionType, Conditions, Reason, get, is_true},
    message::Message,
    permissions::{reason_of, unreachable_reason},
    reason::ReasonText,
    request::Requested,
    summary::{Secondary, Summary, is_passing, ready, stalled},
    token_cause::TokenCause,
};

/// What a reconcile of an `AzureCredential` found.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Generation of the spec.
    pub generation: i64,
    /// The "reconcile now" annotations, if one of them is new.
    pub requested: Option<Requested<'a>>,
    /// The status before.
    pub previous: &'a AzureCredentialStatus,
    /// Whether the credential has a token.
    pub token: &'a Result<(), AzureError>,
    /// The validity of its client certificate, if it has one and the certificate could be read.
    pub certificate: Option<Validity>,
    /// With this attempt.
    pub history: ReconcileHistory,
    /// Number of `ServerProtection`s that name the credential.
    pub used_by: usize,
    /// The time.
    pub now: Timestamp,
}

/// The status after a reconcile.
pub fn status(input: &Input<'_>) -> AzureCredentialStatus {
    let previous = input.previous;
    let mut status = with_users(previous, input.used_by);
    if let Some(requested) = input.requested {
        requested.record(
            &mut status.last_handled_request,
            &mut status.last_handled_reconcile_at,
        );
    }
    let observed_before = previous.observed_generation == Some(input.generation);
    let passes = |failure| is_passing(failure, &previous.conditions, input.history.failures);
    if observed_before && input.token.as_ref().is_err_and(passes) {
        return status;
    }
    status.observed_generation = Some(input.generation);
    let unknown = input.certificate.is_none()
        && input
            .token
            .as_ref()
            .is_err_and(|failure| failure.class.is_transient());
    if !unknown {
        status.certificate_expiration_time = input.certificate.map(|validity| Time(validity.until));
    }
    let mut conditions = Conditions::new(&previous.conditions, input.generation, input.now);
    summary(input).apply(&mut conditions);
    status.conditions = conditions.finish();
    status
}

/// The same status with this number of users.
pub fn with_users(previous: &AzureCredentialStatus, used_by: usize) -> AzureCredentialStatus {
    AzureCredentialStatus {
        used_by: Some(i32::try_from(used_by).unwrap_or(i32::MAX)),
        ..previous.clone()
    }
}

fn summary(input: &Input<'_>) -> Summary {
    match input.token {
        Ok(()) => {
            let issued = "Entra issued a token";
            match input
                .certificate
                .filter(|validity| validity.expires_soon(input.now))
            {
                None => ready(Reason::TokenIssued, Message::new(issued)),
                Some(validity) => {
                    let expires = format!("{issued}. The client certificate expires at {}", validity.until);
                    let action =
                        "Renew the certificate in the Secret, and register the new one with the application";
                    let message = Message::new(expires).action(action);
                    ready(Reason::ClientCertificateExpiresSoon, message)
                }
            }
        }
        Err(failure) if failure.class.is_transient() => Summary {
            ready: ConditionStatus::Unknown,
            reason: unreachable_reason(failure),
            message: failure.to_message().and("The controller retries."),
            secondary: Secondary::Reconciling(Reason::Retrying),
        },
        Err(failure) => stalled(reason(failure), failure.to_message()),
    }
}

/// The reason for an error: what Entra's code stands for, so that the column REASON tells what to fix. The objects that
/// use the credential say `AuthenticationFailed` for all of them.
fn reason(failure: &AzureError) -> ReasonText {
    let cause = TokenCause::of(&failure.code).filter(|_| failure.class == ErrorClass::Credential);
    cause.map_or_else(|| reason_of(failure), |cause| reason_for(cause).into())
}

const fn reason_for(cause: TokenCause) -> Reason {
    match cause {
        TokenCause::ClientSecret => Reason::ClientSecretRefused,
        TokenCause::ClientCertificate => Reason::ClientCertificateRefused,
        TokenCause::ClientCertificateRevoked => Reason::ClientCertificateRevoked,
        TokenCause::ClientCertificateNotValid => Reason::ClientCertificateNotValid,
        TokenCause::Assertion => Reason::AssertionRefused,
        TokenCause::Tenant => Reason::TenantNotFound,
        TokenCause::Cloud => Reason::TenantInAnotherCloud,
        TokenCause::Application => Reason::ApplicationNotFound,
        TokenCause::ApplicationDisabled => Reason::ApplicationDisabled,
        TokenCause::Audience => Reason::AudienceUnknown,
        TokenCause::FederatedCredential => Reason::FederatedCredentialMissing,
        TokenCause::Issuer => Reason::IssuerNotTrusted,
        TokenCause::Clock => Reason::ClockSkewed,
        TokenCause::ConditionalAccess => Reason::BlockedByConditionalAccess,
        TokenCause::TenantRestriction => Reason::TenantRestricted,
        TokenCause::Unavailable => Reason::EntraUnreachable,
    }
}

/// Whether an object that used the credential found something else than the status says. Objects get tokens more often
/// than the credential itself is tried. `certificate` is the one that was read last.
pub fn contradicts(
    status: &AzureCredentialStatus,
    token: &Result<(), AzureError>,
    certificate: Option<Validity>,
) -> bool {
    let ready = is_true(&status.conditions, ConditionType::Ready);
    let renewed = |validity: Validity| status.certificate_expiration_time != Some(Time(validity.until));
    match token {
        Ok(()) => !ready || certificate.is_some_and(renewed),
        Err(failure) if failure.class.is_transient() => ready,
        Err(failure) => {
            let stalled = get(&status.conditions, ConditionType::Stalled);
            stalled.is_none_or(|stalled| stalled.reason != reason(failure).as_str())
        }
    }
}

/// Whether the credential works again after a user had to act. The objects that use it wait minutes for their next
/// attempt.
pub fn recovered(before: &AzureCredentialStatus, after: &AzureCredentialStatus) -> bool {
    is_true(&before.conditions, ConditionType::Stalled) && is_true(&after.conditions, ConditionType::Ready)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_cause_has_a_reason_of_its_own() {
        let reasons: BTreeSet<_> = TokenCause::ALL.into_iter().map(reason_for).collect();
        assert_eq!(reasons.len(), TokenCause::ALL.len());
        assert!(
            !reasons.contains(&Reason::AuthenticationFailed),
            "that is for other codes"
        );
    }
}
