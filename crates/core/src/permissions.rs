//! The conditions `CredentialReady` and `PermissionsSufficient`: may the identity do what the spec needs?

use crate::{
    azure_error::{AzureError, ErrorClass},
    conditions::{ConditionStatus, ConditionType, Conditions, Reason},
    message::Message,
    reading::{Permissions, ReadResult},
    reason::ReasonText,
};

/// The additional action that is needed to switch on what assigns roles (docs/azure-api.md 8.7).
pub(crate) const ASSIGN_ROLES: &str = "Microsoft.Authorization/roleAssignments/write";

/// Sets `CredentialReady`.
pub(crate) fn credential(
    conditions: &mut Conditions,
    token: &Result<(), AzureError>,
    failure: Option<&AzureError>,
) {
    let refused = token
        .as_ref()
        .err()
        .or_else(|| failure.filter(|failure| failure.class == ErrorClass::Credential));
    let (status, reason, message) = match refused {
        None => (
            ConditionStatus::True,
            Reason::TokenIssued.into(),
            Message::new("Entra issued a token"),
        ),
        Some(failure) if failure.class.is_transient() => (
            ConditionStatus::Unknown,
            Reason::EntraUnreachable.into(),
            failure.to_message(),
        ),
        Some(failure) => (ConditionStatus::False, reason_of(failure), failure.to_message()),
    };
    conditions.set(ConditionType::CredentialReady, status, reason, &message);
}

/// Maximum length of the reason of an event; that of a condition may be longer.
const MAX_REASON: usize = 128;

/// The reason of a condition for an error: Azure's code if it is a word in `CamelCase`, as most are.
pub(crate) fn reason_of(failure: &AzureError) -> ReasonText {
    let word = failure.code.len() <= MAX_REASON
        && failure.code.starts_with(|first: char| first.is_ascii_uppercase())
        && failure.code.chars().all(|c| c.is_ascii_alphanumeric())
        && failure.code.chars().any(|c| c.is_ascii_lowercase());
    match &failure.class {
        _ if word => ReasonText::Code(failure.code.clone()),
        ErrorClass::Credential => Reason::AuthenticationFailed.into(),
        ErrorClass::Permission(_) => Reason::PermissionMissing.into(),
        ErrorClass::NotFound => Reason::NotFound.into(),
        ErrorClass::NotRegistered => Reason::ProviderNotRegistered.into(),
        ErrorClass::Refused => Reason::RefusedByAzure.into(),
        ErrorClass::CloudAuthentication(_) => Reason::CloudAuthenticationFailed.into(),
        ErrorClass::Throttled(_) => Reason::Throttled.into(),
        ErrorClass::Conflict => Reason::UpdateInProgress.into(),
        ErrorClass::Transient | ErrorClass::Unavailable(_) => Reason::AzureUnavailable.into(),
    }
}

/// Sets `PermissionsSufficient`: a denied call is the best evidence, then the permissions that Azure reports. Returns
/// the missing actions, if this reconcile determined them.
pub(crate) fn permitted(
    conditions: &mut Conditions,
    failure: Option<&AzureError>,
    granted: Option<&ReadResult<Permissions>>,
    required: &[&str],
) -> Option<Vec<String>> {
    const TYPE: ConditionType = ConditionType::PermissionsSufficient;
    let denied = failure.filter(|failure| matches!(failure.class, ErrorClass::Permission(_)));
    if let Some(failure) = denied {
        let (status, reason) = (ConditionStatus::False, Reason::MissingPermission);
        conditions.set(TYPE, status, reason, &failure.to_message());
        return Some(match &failure.class {
            ErrorClass::Permission(Some(action)) => vec![action.clone()],
            _ => Vec::new(),
        });
    }
    match granted? {
        Ok(permissions) => {
            let missing: Vec<&str> = required
                .iter()
                .filter(|action| !permissions.allow(action))
                .copied()
                .collect();
            let (status, reason, message) = if missing.is_empty() {
                let message = Message::new("The identity has every permission that the spec needs");
                (ConditionStatus::True, Reason::Sufficient, message)
            } else {
                let message = Message::new(format!("The identity lacks {}", missing.join(", "))).action(
                    "Grant a role with these actions on the subscription (Security Admin; Owner for all extensions)",
                );
                (ConditionStatus::False, Reason::MissingPermission, message)
            };
            conditions.set(TYPE, status, reason, &message);
            Some(missing.into_iter().map(str::to_owned).collect())
        }
        Err(failure) if failure.class.is_transient() => None,
        Err(failure) => {
            // A failed read of the permissions is not an error of the object: the next read shows what the identity
            // may do.
            let cause = format!("{}: {}", failure.code, failure.message);
            let message = Message::new("The permissions of the identity cannot be read").cause(cause);
            conditions.set(TYPE, ConditionStatus::Unknown, Reason::NotReadable, &message);
            Some(Vec::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_code_that_kubernetes_takes_as_a_reason_becomes_one() {
        let reason = |code: &str| {
            reason_of(&AzureError {
                class: ErrorClass::Refused,
                code: code.into(),
                message: String::new(),
                operation: String::new(),
                request_id: None,
                effect_unknown: false,
            })
        };
        let longest = "Aa".repeat(MAX_REASON / 2);
        for code in ["ScopeLocked", &longest] {
            assert_eq!(reason(code), ReasonText::Code(code.into()));
        }
        let refused = ReasonText::from(Reason::RefusedByAzure);
        for code in [
            "",
            "Subscription Not Registered",
            "AADSTS7000215",
            "a",
            "A\nb",
            "Ab\u{1b}",
            &[&longest, "A"].concat(),
        ] {
            assert_eq!(reason(code), refused, "{code:?}");
        }
    }
}
