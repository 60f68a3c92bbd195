//! A CloudFormation template. For an organization, the template of the management account contains the stack set of the
//! members with their template: one deployment is enough, and the stack set also covers new accounts.
#![allow(clippy::doc_markdown)]

use serverprotection_core::security_connector::prerequisites::{
    ISSUER, Prerequisites,
    aws::{self, ACCOUNT, Aws, Organization, Policy, Role, Statement},
};

use super::{
    IdentityProvider, words,
    yaml::{Node, list, map},
};
use crate::{error::CliError, printable};

/// Where the identity provider comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Provider {
    New,
    Existing,
    /// A parameter of the template decides, because members may differ.
    Parameter,
}

/// Logical ID, as in Microsoft's template.
const PROVIDER: &str = "ASCDefendersOIDCIdentityProvider";
const CHOSEN: &str = "MakesIdentityProvider";

/// The template with its comment.
///
/// # Errors
///
/// Fails if the template cannot be written as YAML, which would be a bug.
pub(super) fn render(
    shown: &str,
    found: &Prerequisites,
    aws: &Aws,
    provider: IdentityProvider,
) -> Result<String, CliError> {
    let provider = match provider {
        IdentityProvider::New => Provider::New,
        IdentityProvider::Existing => Provider::Existing,
    };
    let mut lines = words::head(shown, found);
    lines.push(String::new());
    lines.extend(usage(aws, provider));
    let comment = printable::comment("#", &lines);
    let mut resources = resources(found, aws, provider);
    let mut members = vec![
        ("AWSTemplateFormatVersion".to_owned(), Node::from("2010-09-09")),
        (
            "Description".to_owned(),
            format!("Microsoft Defender for Cloud: {}", printable::one_line(shown)).into(),
        ),
    ];
    if let Some(organization) = &aws.organization {
        members.push(("Parameters".into(), map([("OrganizationalUnitIds", units())])));
        let body = member_template(found, aws)?;
        resources.push(("MemberAccounts".into(), stack_set(organization, body)));
    }
    members.push(("Resources".into(), Node::Map(resources)));
    Ok(comment + &Node::Map(members).to_text()?)
}

fn usage(aws: &Aws, provider: Provider) -> Vec<String> {
    let mut lines = vec![format!(
        "Deploy this template (FILE) in the account {}. IAM is global, so any region works:",
        aws.account_id
    )];
    let deploy = "  aws cloudformation deploy --stack-name defender-for-cloud --template-file FILE --capabilities CAPABILITY_NAMED_IAM";
    if aws.organization.is_some() {
        lines.push(format!(
            "{deploy} --parameter-overrides OrganizationalUnitIds=ROOT"
        ));
        lines.push(
            "ROOT is the root of the organization (aws organizations list-roots), or some of its organizational units."
                .into(),
        );
        lines.push(
            "The stack set needs trusted access: aws organizations enable-aws-service-access --service-principal member.org.stacksets.cloudformation.amazonaws.com"
                .into(),
        );
    } else {
        lines.push(deploy.into());
    }
    if provider == Provider::Existing {
        lines.push(String::new());
        lines.push(
            "The account already has the identity provider, and this template does not manage it. Add the audiences first:"
                .into(),
        );
        lines.extend(
            words::add_audiences(aws)
                .into_iter()
                .map(|command| format!("  {command}")),
        );
    } else {
        lines.push(String::new());
        lines.push(format!(
            "If this fails because {} exists, another product (for example Microsoft Sentinel) created it:",
            aws.provider_arn()
        ));
        lines.push("run the command again with --existing-identity-provider.".into());
    }
    if aws.organization.is_some() {
        lines.push(String::new());
        lines.push("If a member account already has the identity provider, set the parameter IdentityProvider of its stack instance to".into());
        lines.push("Existing (aws cloudformation create-stack-instances or update-stack-instances, --parameter-overrides), and add the".into());
        lines.push("audiences in that account.".into());
    }
    lines
}

/// The template of a member account, as the stack set deploys it.
///
/// # Errors
///
/// Fails if the template cannot be written as YAML, which would be a bug.
pub(super) fn member_template(found: &Prerequisites, aws: &Aws) -> Result<String, CliError> {
    let choice = map([
        ("Type", "String".into()),
        (
            "Description",
            "Existing if the account already has the identity provider of Defender for Cloud, for example from Microsoft Sentinel"
                .into(),
        ),
        ("AllowedValues", list(["New", "Existing"])),
        ("Default", "New".into()),
    ]);
    let is_new = map([("Fn::Equals", list([reference("IdentityProvider"), "New".into()]))]);
    map([
        ("AWSTemplateFormatVersion", "2010-09-09".into()),
        (
            "Description",
            "Microsoft Defender for Cloud: a member account of the organization".into(),
        ),
        ("Parameters", map([("IdentityProvider", choice)])),
        ("Conditions", map([(CHOSEN, is_new)])),
        ("Resources", Node::Map(resources(found, aws, Provider::Parameter))),
    ])
    .to_text()
}

fn units() -> Node {
    map([
        ("Type", "CommaDelimitedList".into()),
        (
            "Description",
            "Root (r-xxxx) or organizational units (ou-xxxx-xxxxxxxx) of the organization whose accounts to connect".into(),
        ),
    ])
}

fn stack_set(organization: &Organization, body: String) -> Node {
    let mut targets = vec![(
        "OrganizationalUnitIds".to_owned(),
        reference("OrganizationalUnitIds"),
    )];
    if !organization.excluded_account_ids.is_empty() {
        targets.push(("AccountFilterType".into(), "DIFFERENCE".into()));
        let excluded = organization.excluded_account_ids.iter().map(String::as_str);
        targets.push(("Accounts".into(), list(excluded)));
    }
    let instances = map([
        ("DeploymentTargets", Node::Map(targets)),
        ("Regions", list([reference("AWS::Region")])),
    ]);
    let properties = map([
        ("StackSetName", organization.stack_set_name.as_str().into()),
        (
            "Description",
            "Microsoft Defender for Cloud in the member accounts of the organization".into(),
        ),
        ("PermissionModel", "SERVICE_MANAGED".into()),
        (
            "AutoDeployment",
            map([
                ("Enabled", true.into()),
                ("RetainStacksOnAccountRemoval", false.into()),
            ]),
        ),
        ("Capabilities", list(["CAPABILITY_NAMED_IAM"])),
        ("StackInstancesGroup", list([instances])),
        ("TemplateBody", Node::Lines(body)),
    ]);
    map([
        ("Type", "AWS::CloudFormation::StackSet".into()),
        ("Properties", properties),
    ])
}

fn resources(found: &Prerequisites, aws: &Aws, provider: Provider) -> Vec<(String, Node)> {
    let mut resources = Vec::new();
    if provider != Provider::Existing {
        resources.push((PROVIDER.to_owned(), identity_provider(aws, provider)));
    }
    for role in &aws.roles {
        let id = role
            .uses
            .first()
            .map_or_else(String::new, |used| logical_id(used.key));
        resources.push((id, role_resource(found, role, provider)));
    }
    resources
}

fn identity_provider(aws: &Aws, provider: Provider) -> Node {
    let properties = map([
        ("Url", ISSUER.into()),
        ("ClientIdList", list(aws.audiences.iter().copied())),
        ("ThumbprintList", list([aws::THUMBPRINT])),
    ]);
    let mut members = vec![("Type".to_owned(), Node::from("AWS::IAM::OIDCProvider"))];
    if provider == Provider::Parameter {
        members.push(("Condition".into(), CHOSEN.into()));
    }
    // Another product may use the provider by the time the stack is deleted or no longer creates it.
    for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
        members.push((policy.into(), "Retain".into()));
    }
    members.push(("Properties".into(), properties));
    Node::Map(members)
}

fn role_resource(found: &Prerequisites, role: &Role, provider: Provider) -> Node {
    let mut properties = vec![("RoleName".to_owned(), Node::from(role.name.as_str()))];
    if role.path != "/" {
        properties.push(("Path".into(), role.path.as_str().into()));
    }
    properties.push(("Description".into(), description(role).into()));
    properties.push(("AssumeRolePolicyDocument".into(), trust(found, role, provider)));
    let managed: Vec<_> = role.uses.iter().filter_map(|used| used.managed_policy).collect();
    if !managed.is_empty() {
        properties.push(("ManagedPolicyArns".into(), list(managed)));
    }
    let policies: Vec<_> = role
        .uses
        .iter()
        .filter_map(|used| used.policy)
        .map(policy)
        .collect();
    if !policies.is_empty() {
        properties.push(("Policies".into(), Node::List(policies)));
    }
    map([
        ("Type", "AWS::IAM::Role".into()),
        ("Properties", Node::Map(properties)),
    ])
}

/// The description of a role; IAM accepts at most 1000 characters.
pub(super) fn description(role: &Role) -> String {
    let purposes: Vec<_> = role.uses.iter().map(|used| used.purpose).collect();
    format!("Microsoft Defender for Cloud - {}", purposes.join("; "))
}

fn trust(found: &Prerequisites, role: &Role, provider: Provider) -> Node {
    let existing = map([("Fn::Sub", aws::provider_arn("${AWS::AccountId}").into())]);
    let federated = match provider {
        Provider::New => reference(PROVIDER),
        Provider::Existing => existing,
        Provider::Parameter => map([("Fn::If", list([CHOSEN.into(), reference(PROVIDER), existing]))]),
    };
    let equals = Node::Map(vec![
        (aws::audience_key(), list(role.audiences())),
        (aws::SESSION_KEY.into(), aws::session_name(&found.tenant).into()),
    ]);
    document([map([
        ("Effect", "Allow".into()),
        ("Principal", map([("Federated", federated)])),
        ("Action", "sts:AssumeRoleWithWebIdentity".into()),
        ("Condition", map([("StringEquals", equals)])),
    ])])
}

fn policy(policy: Policy) -> Node {
    let statements = policy.statements.iter().map(statement);
    map([
        ("PolicyName", policy.name.into()),
        ("PolicyDocument", document(statements)),
    ])
}

fn statement(statement: &Statement) -> Node {
    let mut members = vec![
        ("Sid".to_owned(), Node::from(statement.id)),
        ("Effect".into(), "Allow".into()),
        ("Action".into(), list(statement.actions.iter().copied())),
        (
            "Resource".into(),
            list(statement.resources.iter().map(|arn| resource(arn))),
        ),
    ];
    if let Some((key, value)) = statement.tagged {
        let equals = Node::Map(vec![(format!("aws:ResourceTag/{key}"), value.into())]);
        members.push(("Condition".into(), map([("StringEquals", equals)])));
    }
    Node::Map(members)
}

fn resource(arn: &str) -> Node {
    if arn.contains(ACCOUNT) {
        map([("Fn::Sub", arn.replace(ACCOUNT, "${AWS::AccountId}").into())])
    } else {
        arn.into()
    }
}

fn document(statements: impl IntoIterator<Item = Node>) -> Node {
    map([("Version", "2012-10-17".into()), ("Statement", list(statements))])
}

fn reference(id: &str) -> Node {
    map([("Ref", id.into())])
}

/// `agentless_scanner` becomes `AgentlessScannerRole`.
fn logical_id(key: &str) -> String {
    let words = key.split('_').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    });
    words.collect::<String>() + "Role"
}
