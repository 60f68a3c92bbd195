//! Reasons as values of a label. Error codes of Azure and Entra appear as reasons of conditions, and their number has no
//! limit: what is not in the list below counts as [`OTHER`].

/// Every reason that is not in the list.
pub const OTHER: &str = "Other";

/// The reasons of the condition Stalled that this program sets itself, and the codes of Azure that it handles by name.
const STALLED: [&str; 41] = [
    "AccountConnectedElsewhere",
    "AgentlessScanningNeedsP2",
    "AuthenticationFailed",
    "AuthorizationFailed",
    "ClaimConflicted",
    "ConnectorRefused",
    "Contested",
    "CredentialInvalid",
    "CredentialMissing",
    "CredentialNotFound",
    "ExtensionFailed",
    "InvalidAuthenticationTokenTenant",
    "InvalidResourceId",
    "LocationDiffers",
    "ManagedByOrganization",
    "NameTaken",
    "NotAvailableInCloud",
    "NotFound",
    "PermissionMissing",
    "PermitEnded",
    "ProtectionNotFound",
    "ProviderNotRegistered",
    "ReadOnlyDisabledSubscription",
    "ReductionNeedsApproval",
    "RefusedByAzure",
    "RegistrationStuck",
    "RequestDisallowedByPolicy",
    "ResourceGroupMissing",
    "ResourceGroupNotFound",
    "ResourceNotFound",
    "ResultTruncated",
    "ScopeLocked",
    "SecretForbidden",
    "SecretKeyMissing",
    "SecretNotFound",
    "SubscriptionNotFound",
    "TargetChanged",
    "UnexpectedAnswer",
    "UnknownPlan",
    "Unreadable",
    "UnreadableAnswer",
];

/// The reason itself when it is in the fixed list of this program, else [`OTHER`].
pub fn bounded_stalled_reason(reason: &str) -> &'static str {
    let known = STALLED.binary_search(&reason).ok();
    known.and_then(|at| STALLED.get(at)).copied().unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_azure_that_are_not_in_the_list_count_as_other() {
        assert!(STALLED.is_sorted(), "it is searched by halves");
        for reason in STALLED {
            assert_eq!(bounded_stalled_reason(reason), reason);
        }
        for code in ["", "SomeNewCode", "scopelocked", "ScopeLocked "] {
            assert_eq!(bounded_stalled_reason(code), OTHER, "{code:?}");
        }
    }

    /// The reasons are literals in the two files that set the condition; a new one must be added here.
    #[test]
    fn every_reason_that_the_code_sets_is_in_the_list() {
        let sources = [
            include_str!("../server_protection/status/summary.rs"),
            include_str!("../security_connector/status/summary.rs"),
        ];
        let mut found = 0;
        for source in sources {
            for call in source.split("stalled(").skip(1) {
                let Some(literal) = call.trim_start().strip_prefix('"') else {
                    continue;
                };
                let reason = literal.split('"').next().unwrap_or_default();
                assert_eq!(bounded_stalled_reason(reason), reason);
                found += 1;
            }
        }
        assert!(
            found >= 16,
            "{found} reasons: the sources are written otherwise now"
        );
    }

    #[test]
    fn every_reason_that_is_documented_is_in_the_list() {
        let page = include_str!("../../../../docs/status.md");
        let mut rows = 0;
        let mut inside = false;
        for line in page.lines() {
            inside = line.starts_with('|') && (inside || line.contains("| do |"));
            if !inside {
                continue;
            }
            let cell = line.split('|').nth(1).unwrap_or_default();
            for reason in cell.split('`').skip(1).step_by(2) {
                assert_eq!(bounded_stalled_reason(reason), reason);
                rows += 1;
            }
        }
        assert!(rows >= 30, "{rows} reasons: the tables are written otherwise now");
    }
}
