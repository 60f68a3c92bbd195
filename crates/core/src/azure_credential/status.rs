//! The status of an `AzureCredential`.

use serverprotection_api::AzureCredentialStatus;

use super::history::ReconcileHistory;
use crate::{
    Timestamp,
    azure_error::AzureError,
    conditions::{ConditionStatus, ConditionType, Conditions, Reason, get, is_true},
    message::Message,
    permissions::reason_of,
    request::Requested,
    summary::{Secondary, Summary, is_passing, ready, stalled},
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
    let mut conditions = Conditions::new(&previous.conditions, input.generation, input.now);
    summary(input.token).apply(&mut conditions);
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

fn summary(token: &Result<(), AzureError>) -> Summary {
    match token {
        Ok(()) => ready(Reason::TokenIssued, Message::new("Entra issued a token")),
        Err(failure) if failure.class.is_transient() => Summary {
            ready: ConditionStatus::Unknown,
            reason: Reason::EntraUnreachable.into(),
            message: failure.to_message().and("The controller retries."),
            secondary: Secondary::Reconciling(Reason::Retrying),
        },
        Err(failure) => stalled(reason_of(failure), failure.to_message()),
    }
}

/// Whether an object that used the credential found something else than the status says. Objects get tokens more often
/// than the credential itself is tried.
pub fn is_news(status: &AzureCredentialStatus, token: &Result<(), AzureError>) -> bool {
    let ready = is_true(&status.conditions, ConditionType::Ready);
    match token {
        Ok(()) => !ready,
        Err(failure) if failure.class.is_transient() => ready,
        Err(failure) => {
            let reason =
                get(&status.conditions, ConditionType::Stalled).map(|stalled| stalled.reason.as_str());
            reason != Some(reason_of(failure).as_str())
        }
    }
}

/// Whether the credential works again after a user had to act. The objects that use it wait minutes for their next
/// attempt.
pub fn recovered(before: &AzureCredentialStatus, after: &AzureCredentialStatus) -> bool {
    is_true(&before.conditions, ConditionType::Stalled) && is_true(&after.conditions, ConditionType::Ready)
}
