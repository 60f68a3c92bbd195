//! Errors of AWS or GCP (docs/azure-api.md 4.7). During a PUT, Azure signs in to the cloud before it responds, so most
//! of these errors need action by the owner of the account.

use serverprotection_api::Cloud;

use super::desired::Target;
use crate::{
    azure_error::{AzureError, ErrorClass, SignInCause},
    message::Message,
};

/// Why Azure cannot sign in to the account, which its owner must fix. `None` for every other error.
pub const fn sign_in_cause(failure: &AzureError) -> Option<SignInCause> {
    match failure.class {
        ErrorClass::CloudAuthentication(cause) => Some(cause),
        _ => None,
    }
}

/// What the account's owner should do.
pub fn remedy(cause: SignInCause, target: &Target) -> String {
    let account = &target.account;
    match (target.cloud, cause) {
        (Cloud::AWS, SignInCause::IdentityProvider) => format!(
            "Create the IAM OIDC identity provider of Defender for Cloud in AWS account {account} (Microsoft's CloudFormation template creates it), or add its audiences to the existing one"
        ),
        (Cloud::AWS, SignInCause::StackSet) => {
            format!("Fix aws.organization.stackSetName, or create the StackSet in AWS account {account}")
        }
        (Cloud::AWS, SignInCause::Other) => format!(
            "Check that the roles of aws.roleArns exist in AWS account {account} and trust Defender for Cloud's identity provider with the audience and session name of Microsoft's CloudFormation template"
        ),
        (Cloud::GCP, _) => format!(
            "Check the workload identity pool, its providers and the service accounts of gcp.serviceAccounts in GCP project {account}, that the APIs iam, sts, cloudresourcemanager, iamcredentials and compute are enabled, and that no organization policy forbids the federation"
        ),
    }
}

/// The error for users, with what the account's owner should do. `None` if the error has nothing to do with signing in.
pub fn message(failure: &AzureError, target: &Target) -> Option<Message> {
    let cause = sign_in_cause(failure)?;
    Some(failure.to_message().action(remedy(cause, target)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security_connector::samples::failure;

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
    fn each_cause_has_its_remedy() {
        for (cloud, cause, reports) in [
            (
                Cloud::AWS,
                SignInCause::IdentityProvider,
                "OIDC identity provider",
            ),
            (Cloud::AWS, SignInCause::StackSet, "stackSetName"),
            (Cloud::AWS, SignInCause::Other, "aws.roleArns"),
            (
                Cloud::GCP,
                SignInCause::IdentityProvider,
                "workload identity pool",
            ),
            (Cloud::GCP, SignInCause::Other, "workload identity pool"),
        ] {
            let class = ErrorClass::CloudAuthentication(cause);
            let failure = failure(class, "CloudAuthenticationFailed", "PUT");
            let message = message(&failure, &target(cloud)).unwrap().to_string();
            assert!(message.contains(reports) && message.contains("42"), "{message}");
        }
        let other = failure(ErrorClass::Refused, "ConnectorRefused", "PUT");
        assert_eq!(message(&other, &target(Cloud::AWS)), None);
    }
}
