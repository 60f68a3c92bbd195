//! Errors of AWS or GCP. Connectors have an error shape of their own (docs/azure-api.md 4.7). During a PUT, Azure
//! signs in to the cloud before it responds, so most of these errors need action by the owner of the account.

use serverprotection_api::Cloud;

use super::desired::Target;
use crate::{
    azure_error::{AzureError, ErrorClass},
    message::Message,
};

/// Our code for "Azure cannot sign in to the account".
pub const AUTHENTICATION_FAILED: &str = "CloudAuthenticationFailed";
/// Our code for everything else in the connectors' own error shape.
pub const REFUSED: &str = "ConnectorRefused";

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

/// Classifies an error of the form `{"statusCode", "errorMessage", "errorCorrelation"}`.
pub fn failure(status: u16, message: &str, correlation: Option<&str>, operation: &str) -> AzureError {
    let words = message.to_lowercase();
    let (class, code) = match status {
        429 => (ErrorClass::Throttled(None), "TooManyRequests"),
        // A retry does not remove another connector of the account.
        409 if words.contains("already") => (ErrorClass::Refused, REFUSED),
        409 => (ErrorClass::Conflict, "Conflict"),
        500.. => (ErrorClass::Transient, "ConnectorUnavailable"),
        _ if AUTH_ERROR_PATTERNS.iter().any(|word| words.contains(word)) => {
            (ErrorClass::Refused, AUTHENTICATION_FAILED)
        }
        _ => (ErrorClass::Refused, REFUSED),
    };
    AzureError {
        class,
        code: code.into(),
        message: without_ids(message),
        operation: operation.into(),
        request_id: correlation.map(str::to_owned),
        effect_unknown: status >= 500,
    }
}

/// Azure's message without tracing ids, which differ each time.
fn without_ids(message: &str) -> String {
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

/// Whether the account's owner must fix it.
pub fn is_authentication(failure: &AzureError) -> bool {
    failure.code == AUTHENTICATION_FAILED
}

/// What the account's owner should do.
pub fn remedy(failure: &AzureError, target: &Target) -> String {
    let words = failure.message.to_lowercase();
    let account = &target.account;
    match target.cloud {
        Cloud::AWS if words.contains("identity provider") => format!(
            "Create the IAM OIDC identity provider of Defender for Cloud in AWS account {account} (Microsoft's CloudFormation template creates it), or add its audiences to the existing one"
        ),
        Cloud::AWS if words.contains("stackset") => {
            format!("Fix aws.organization.stackSetName, or create the StackSet in AWS account {account}")
        }
        Cloud::AWS => format!(
            "Check that the roles of aws.roleArns exist in AWS account {account} and trust Defender for Cloud's identity provider with the audience and session name of Microsoft's CloudFormation template"
        ),
        Cloud::GCP => format!(
            "Check the workload identity pool, its providers and the service accounts of gcp.serviceAccounts in GCP project {account}, that the APIs iam, sts, cloudresourcemanager, iamcredentials and compute are enabled, and that no organization policy forbids the federation"
        ),
    }
}

/// The error for users, with what the account's owner should do.
pub fn message(failure: &AzureError, target: &Target) -> Message {
    failure.to_message().action(remedy(failure, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWS: &str = "error occured for security connector: Identity provider is missing from AWS account/s. Defender for Cloud cannot authenticate without it.";
    const GCP: &str = "error occured for security connector: There is a problem with authenticating to your GCP project. Please contact the support with given tracing ID c03b073f-7df8-48a2-8945-fd40ca5b3076.";

    fn target(cloud: Cloud) -> Target {
        Target {
            subscription: "s".into(),
            resource_group: "rg".into(),
            name: "c".into(),
            cloud,
            account: "42".into(),
        }
    }

    #[test]
    fn authentication_errors_are_distinguished() {
        for (cloud, message, reports) in [
            (Cloud::AWS, AWS, "OIDC identity provider"),
            (Cloud::GCP, GCP, "workload identity pool"),
            (
                Cloud::AWS,
                "AWS CloudFormation StackSet name invalid",
                "stackSetName",
            ),
            (Cloud::AWS, "Access denied for role", "aws.roleArns"),
        ] {
            let failure = failure(400, message, Some("id"), "PUT securityConnectors");
            assert!(is_authentication(&failure), "{message}");
            let remedy = remedy(&failure, &target(cloud));
            assert!(remedy.contains(reports) && remedy.contains("42"), "{remedy}");
        }
        let other = failure(400, "offerings are invalid", None, "PUT");
        assert_eq!(
            (other.code.as_str(), &other.class),
            (REFUSED, &ErrorClass::Refused)
        );
    }

    #[test]
    fn the_service_itself_is_transient() {
        assert_eq!(failure(503, AWS, None, "PUT").class, ErrorClass::Transient);
        assert_eq!(failure(429, AWS, None, "PUT").class, ErrorClass::Throttled(None));
        assert!(failure(500, "x", None, "PUT").effect_unknown);
        let busy = failure(409, "Another update operation is in progress", None, "PUT");
        let taken = failure(409, "The account is already connected by x", None, "PUT");
        assert_eq!(
            (busy.class, taken.class),
            (ErrorClass::Conflict, ErrorClass::Refused)
        );
    }

    #[test]
    fn a_repeated_error_reads_the_same() {
        let other = GCP.replace("c03b073f", "ffffffff");
        let reported = |message: &str| failure(400, message, None, "PUT").message;
        assert_eq!(reported(GCP), reported(&other));
        assert!(reported(GCP).ends_with("tracing ID …"), "{}", reported(GCP));
    }
}
