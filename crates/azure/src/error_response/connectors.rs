//! What the error texts of connectors mean: their own error shape (docs/azure-api.md 4.7) has no codes.

use serverprotection_core::azure_error::{ErrorClass, SignInCause};

/// Our code for "Azure cannot sign in to the account".
pub(crate) const AUTHENTICATION_FAILED: &str = "CloudAuthenticationFailed";
/// Our code for every other refusal.
pub(crate) const REFUSED: &str = "ConnectorRefused";

/// Words, in lower case, that mark an error as one that the account's owner must fix.
const AUTH_ERROR_PATTERNS: [&str; 13] = [
    "identity provider",
    "authenticat",
    "credential",
    "assume",
    "trust",
    "access denied",
    "accessdenied",
    "not authorized",
    "permission",
    "service account",
    "stackset",
    "federat",
    "workload identity",
];

/// Class and code of a response whose status alone does not classify it.
pub(super) fn class_and_code(status: u16, message: &str) -> (ErrorClass, &'static str) {
    let words = message.to_lowercase();
    match status {
        // A retry does not remove another connector of the account.
        409 if words.contains("already") => (ErrorClass::Refused, REFUSED),
        409 => (ErrorClass::Conflict, "Conflict"),
        _ => match sign_in_cause(&words) {
            Some(cause) => (ErrorClass::CloudAuthentication(cause), AUTHENTICATION_FAILED),
            None => (ErrorClass::Refused, REFUSED),
        },
    }
}

fn sign_in_cause(words: &str) -> Option<SignInCause> {
    if !AUTH_ERROR_PATTERNS.iter().any(|word| words.contains(word)) {
        return None;
    }
    Some(if words.contains("identity provider") {
        SignInCause::IdentityProvider
    } else if words.contains("stackset") {
        SignInCause::StackSet
    } else {
        SignInCause::Other
    })
}

/// Azure's message without tracing ids, which differ each time.
pub(super) fn without_ids(message: &str) -> String {
    let is_id = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        word.len() == 36
            && word.chars().filter(|c| *c == '-').count() == 4
            && word.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
    };
    let words: Vec<_> = message
        .split_whitespace()
        .map(|word| if is_id(word) { "…" } else { word })
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWS: &str = "error occured for security connector: Identity provider is missing from AWS account/s. Defender for Cloud cannot authenticate without it.";
    const GCP: &str = "error occured for security connector: There is a problem with authenticating to your GCP project. Please contact the support with given tracing ID c03b073f-7df8-48a2-8945-fd40ca5b3076.";

    #[test]
    fn authentication_errors_are_distinguished() {
        for (message, cause) in [
            (AWS, SignInCause::IdentityProvider),
            (GCP, SignInCause::Other),
            ("AWS CloudFormation StackSet name invalid", SignInCause::StackSet),
            ("Access denied for role", SignInCause::Other),
        ] {
            let expected = (ErrorClass::CloudAuthentication(cause), AUTHENTICATION_FAILED);
            assert_eq!(class_and_code(400, message), expected, "{message}");
        }
        let other = class_and_code(400, "offerings are invalid");
        assert_eq!(other, (ErrorClass::Refused, REFUSED));
    }

    #[test]
    fn an_account_that_is_taken_is_no_conflict_that_passes() {
        let class = |message| class_and_code(409, message).0;
        assert_eq!(
            class("Another update operation is in progress"),
            ErrorClass::Conflict
        );
        assert_eq!(
            class("The account is already connected by x"),
            ErrorClass::Refused
        );
    }

    #[test]
    fn a_repeated_error_reads_the_same() {
        let other = GCP.replace("c03b073f", "ffffffff");
        assert_eq!(without_ids(GCP), without_ids(&other));
        assert!(without_ids(GCP).ends_with("tracing ID …"), "{}", without_ids(GCP));
    }
}
