//! Problems of a connector with its account: whether the service can log in, and what it reports.

use serde_json::Value;

use super::{
    Clouds, Connector,
    cloud::{AwsAccount, GcpProject, IdentityProvider, TrustState},
    connector::Cloud,
};

/// A problem in the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `issueName` of a health report.
    pub name: &'static str,
    /// The problem.
    pub description: String,
    /// The remedy for the user.
    pub remedy: &'static str,
    /// Whether it refuses a PUT; otherwise only the health report shows it.
    pub login: bool,
}

impl Problem {
    const fn login(name: &'static str, description: String, remedy: &'static str) -> Self {
        Self {
            name,
            description,
            remedy,
            login: true,
        }
    }
}

const MISSING_PROVIDER: &str = "Identity provider is missing from AWS account/s. Defender for Cloud cannot \
    authenticate without it. Create the identity provider to complete the onboarding.";

/// All problems of a connector, the first one to report first.
pub fn problems(connector: &Connector, clouds: &Clouds) -> Vec<Problem> {
    let mut all = match connector.cloud() {
        Some(Cloud::Aws) => {
            let none = AwsAccount::default();
            let account = clouds.aws.get(connector.account()).unwrap_or(&none);
            aws(connector, account)
        }
        Some(Cloud::Gcp) => {
            let none = GcpProject::default();
            let project = clouds.gcp.get(connector.account()).unwrap_or(&none);
            gcp(connector, project)
        }
        None => Vec::new(),
    };
    if connector.unassigned && connector.provisions("arcAutoProvisioning") {
        all.push(Problem {
            name: "Missing role assignment",
            description: "Defender for Cloud may not assign the role that onboards machines to Azure Arc."
                .into(),
            remedy: "Let an Owner of the subscription write the connector again.",
            login: false,
        });
    }
    all
}

fn aws(connector: &Connector, account: &AwsAccount) -> Vec<Problem> {
    let mut all = Vec::new();
    match &account.identity_provider {
        IdentityProvider::Ok => {}
        IdentityProvider::Missing => all.push(Problem::login(
            "Identity provider is missing",
            MISSING_PROVIDER.into(),
            "Run the CloudFormation template again.",
        )),
        IdentityProvider::OwnedBy(owner) => all.push(Problem::login(
            "Identity provider lacks audiences",
            format!(
                "The identity provider of the AWS account/s belongs to {owner} and lacks the audiences of \
                 Defender for Cloud. Add them to the template to complete the onboarding."
            ),
            "Add the audiences of Defender for Cloud to the existing identity provider.",
        )),
    }
    for arn in used(connector.offerings(), "cloudRoleArn") {
        let name = arn.rsplit('/').next().unwrap_or_default();
        let trust = account.roles.get(arn).or_else(|| account.roles.get(name));
        let foreign = arn
            .split(':')
            .nth(4)
            .is_some_and(|owner| owner != connector.account());
        let (title, what) = match trust.copied().unwrap_or_default() {
            TrustState::Missing => ("Role is missing", "does not exist in AWS account/s"),
            TrustState::WrongTrust => (
                "Role trusts somebody else",
                "does not trust Defender for Cloud of this tenant",
            ),
            TrustState::WrongAudience => (
                "Role expects another audience",
                "does not accept the audience of its plan",
            ),
            TrustState::Ok if foreign => (
                "Role of another account",
                "does not belong to the AWS account of the connector",
            ),
            TrustState::Ok => continue,
        };
        all.push(Problem::login(
            title,
            format!("The role '{arn}' {what}. Defender for Cloud cannot authenticate without it."),
            "Run the CloudFormation template again.",
        ));
    }
    let organization = account
        .organization
        .as_ref()
        .filter(|_| connector.is_organization());
    let named = connector
        .organizational()
        .and_then(|data| data.get("stacksetName")?.as_str())
        .is_some_and(|name| !name.is_empty());
    let missing = organization.is_some_and(|found| found.stack_set != TrustState::Ok);
    if connector.is_organization() && (missing || !named) {
        all.push(Problem {
            name: "AWS CloudFormation StackSet name invalid or does not exist",
            description: "The CloudFormation StackSet of the connector does not exist in the management account.".into(),
            remedy: "Create the StackSet in the management account, under the name that the connector carries.",
            login: false,
        });
    }
    all
}

fn gcp(connector: &Connector, project: &GcpProject) -> Vec<Problem> {
    let mut found: Vec<String> = Vec::new();
    let wrong = |trust: TrustState| match trust {
        TrustState::Ok => None,
        TrustState::Missing => Some("does not exist"),
        TrustState::WrongTrust => Some("trusts somebody else"),
        TrustState::WrongAudience => Some("expects another audience"),
    };
    if project.federation_blocked {
        found.push("An organization policy forbids workload identity federation.".into());
    }
    if let Some(what) = wrong(project.workload_identity_pool) {
        found.push(format!("The workload identity pool {what}."));
    }
    for name in used(connector.offerings(), "workloadIdentityProviderId") {
        if let Some(what) = project
            .workload_identity_providers
            .get(name)
            .copied()
            .and_then(wrong)
        {
            found.push(format!("The workload identity provider '{name}' {what}."));
        }
    }
    for name in used(connector.offerings(), "serviceAccountEmailAddress") {
        if let Some(what) = project.service_accounts.get(name).copied().and_then(wrong) {
            found.push(format!("The service account '{name}' {what}."));
        }
    }
    for api in ["iam", "sts", "cloudresourcemanager", "iamcredentials", "compute"] {
        if project.apis.get(api) == Some(&false) {
            found.push(format!("The API '{api}.googleapis.com' is off."));
        }
    }
    let sent = connector
        .properties
        .get("environmentData")
        .and_then(|data| data.pointer("/projectDetails/projectId")?.as_str());
    if let (Some(sent), Some(id)) = (sent, &project.project_id)
        && sent != id
    {
        found.push(format!("The project '{sent}' does not have this number."));
    }
    found
        .into_iter()
        .map(|description| {
            Problem::login(
                "Problem with authenticating to the GCP project",
                description,
                "Run the onboarding script again.",
            )
        })
        .collect()
}

/// The values of a member in all offerings; disabled parts do not count.
fn used<'a>(offerings: &'a [Value], member: &str) -> Vec<&'a str> {
    let mut all = Vec::new();
    let mut open: Vec<&Value> = offerings.iter().collect();
    while let Some(value) = open.pop() {
        match value {
            Value::Object(members) if members.get("enabled") != Some(&Value::Bool(false)) => {
                if let Some(text) = members.get(member).and_then(Value::as_str)
                    && !all.contains(&text)
                {
                    all.push(text);
                }
                open.extend(members.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    all.sort_unstable();
    all
}
