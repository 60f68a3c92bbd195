//! The conditions `CredentialReady` and `PermissionsSufficient`: may the identity do what the spec needs?

use crate::{
    azure_error::{
        AzureError, CERTIFICATE_INVALID, CERTIFICATE_NOT_TRUSTED, ErrorClass, IDENTITY_ENDPOINT_UNREACHABLE,
    },
    conditions::{ConditionStatus, ConditionType, Conditions, Reason},
    grants::MANAGEMENT_GROUPS_UNREADABLE,
    message::Message,
    reading::{Permissions, ReadResult},
    reason::ReasonText,
};

/// The additional action that is needed to switch on what assigns roles (docs/azure-api.md 8.7).
pub(crate) const ASSIGN_ROLES: &str = "Microsoft.Authorization/roleAssignments/write";

/// An action that a spec needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Required {
    /// The action.
    pub(crate) action: &'static str,
    /// The field that needs it, if the role Security Admin does not have it.
    pub(crate) field: Option<&'static str>,
}

impl Required {
    /// An action of Security Admin.
    pub(crate) const fn of_security_admin(action: &'static str) -> Self {
        Self { action, field: None }
    }

    /// The right to assign roles, which Owner has.
    pub(crate) const fn owner(field: &'static str) -> Self {
        Self {
            action: ASSIGN_ROLES,
            field: Some(field),
        }
    }
}

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
            unreachable_reason(failure),
            failure.to_message(),
        ),
        Some(failure) => (ConditionStatus::False, reason_of(failure), failure.to_message()),
    };
    conditions.set(ConditionType::CredentialReady, status, reason, &message);
}

/// Whether the certificate of Entra was refused: retries alone do not help.
pub(crate) fn is_certificate(code: &str) -> bool {
    [CERTIFICATE_NOT_TRUSTED, CERTIFICATE_INVALID].contains(&code)
}

/// The reason for a transient error of a token request.
pub(crate) fn unreachable_reason(failure: &AzureError) -> ReasonText {
    let other = [IDENTITY_ENDPOINT_UNREACHABLE, MANAGEMENT_GROUPS_UNREADABLE];
    if is_certificate(&failure.code) || other.contains(&failure.code.as_str()) {
        ReasonText::Code(failure.code.clone())
    } else {
        Reason::EntraUnreachable.into()
    }
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

/// The missing actions, each with the fields that need it, and the smallest roles that have them.
fn lacking(missing: &[Required]) -> Message {
    let mut listed: Vec<String> = Vec::new();
    for required in missing {
        let fields: Vec<_> = missing
            .iter()
            .filter(|other| other.action == required.action)
            .filter_map(|other| other.field)
            .collect();
        let text = if fields.is_empty() {
            required.action.to_owned()
        } else {
            format!("{} (for {})", required.action, fields.join(" and "))
        };
        if !listed.contains(&text) {
            listed.push(text);
        }
    }
    // Each of these roles has all actions of the next one.
    let role = if missing.iter().any(|required| required.action == ASSIGN_ROLES) {
        "Owner"
    } else if missing.iter().any(|required| required.field.is_some()) {
        "Contributor"
    } else {
        "Security Admin"
    };
    Message::new(format!("The identity lacks {}", listed.join(", "))).action(format!(
        "Grant a role with these actions on the subscription, such as {role}"
    ))
}

/// Sets `PermissionsSufficient`: a denied call is the best evidence, then the permissions that Azure reports. Returns
/// the missing actions, if this reconcile determined them. `elsewhere` is what the spec needs and what the permissions
/// on the subscription do not show.
pub(crate) fn permitted(
    conditions: &mut Conditions,
    failure: Option<&AzureError>,
    granted: Option<&ReadResult<Permissions>>,
    required: &[Required],
    elsewhere: &[&str],
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
            let lacks = |required: &&Required| !permissions.allow(required.action);
            let missing: Vec<Required> = required.iter().filter(lacks).copied().collect();
            let (status, reason, message) = if missing.is_empty() {
                let message = Message::new("The identity has every permission that the spec needs");
                (ConditionStatus::True, Reason::Sufficient, message)
            } else {
                (
                    ConditionStatus::False,
                    Reason::MissingPermission,
                    lacking(&missing),
                )
            };
            let message = if elsewhere.is_empty() {
                message
            } else {
                message.and(&format!(
                    "Not visible in the permissions on the subscription: {}.",
                    elsewhere.join("; ")
                ))
            };
            conditions.set(TYPE, status, reason, &message);
            let mut actions: Vec<String> = missing.iter().map(|missing| missing.action.to_owned()).collect();
            actions.dedup();
            Some(actions)
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
