//! The checklist for an AWS account.

use serverprotection_core::security_connector::prerequisites::{
    ISSUER, Prerequisites,
    aws::{self, ACCOUNT, Aws, Organization, Role, Statement},
};

use super::Page;
use crate::prerequisites::{IdentityProvider, words};

pub(super) fn list(page: &mut Page, found: &Prerequisites, account: &Aws, provider: IdentityProvider) {
    page.section("Identity provider");
    identity_provider(page, account, provider);
    page.section("Roles");
    for role in &account.roles {
        role_item(page, found, account, role);
    }
    if found.parts.agentless.is_served() {
        page.note("Volumes with a customer-managed key are scanned only if the key policy delegates access to IAM or names the role of");
        page.note("the scanner.");
    }
    if let Some(organization) = &account.organization {
        page.section("Organization");
        stack_set(page, organization);
    }
    if found.parts.arc.is_served() {
        page.section("Machines (EC2), for the Azure Arc agent");
        machines(page);
    }
    page.section("Templates");
    page.note(
        "--output cloudformation and --output terraform print templates for all of this except the machines.",
    );
}

fn identity_provider(page: &mut Page, account: &Aws, provider: IdentityProvider) {
    let arn = account.provider_arn();
    page.item(&format!("OpenID Connect provider {arn}"));
    page.detail("URL", [ISSUER]);
    page.detail("Thumbprint", [aws::THUMBPRINT]);
    page.detail("Audiences", &account.audiences);
    page.note("The issuer is a tenant of Microsoft. An account can have only one provider with this URL, and Microsoft Sentinel, for");
    page.note("example, uses the same one. Check whether it exists:");
    page.command(&format!(
        "aws iam get-open-id-connect-provider --open-id-connect-provider-arn {arn}"
    ));
    match provider {
        IdentityProvider::New => {
            page.note("NoSuchEntity means that it does not exist: create it. If it exists, do not import it, because another product may own");
            page.note(
                "it: use --existing-identity-provider for templates, and add the audiences (safe to repeat):",
            );
        }
        IdentityProvider::Existing => {
            page.note("It exists (--existing-identity-provider). Do not create or import it, because another product may own it. Add the");
            page.note("audiences (safe to repeat):");
        }
    }
    for command in words::add_audiences(account) {
        page.command(&command);
    }
}

fn role_item(page: &mut Page, found: &Prerequisites, account: &Aws, role: &Role) {
    page.item(&format!("Role {}", role.arn));
    page.detail("Spec", role.uses.iter().map(|used| used.field));
    page.detail("Purpose", role.uses.iter().map(|used| used.purpose));
    let mut trust =
        vec!["sts:AssumeRoleWithWebIdentity by the identity provider, if both conditions match:".to_owned()];
    trust.push(format!(
        "  {} = {}",
        aws::audience_key(),
        role.audiences().join(" or ")
    ));
    trust.push(format!(
        "  {} = {}",
        aws::SESSION_KEY,
        aws::session_name(&found.tenant)
    ));
    page.detail("Trust", trust);
    page.detail(
        "Managed policy",
        role.uses.iter().filter_map(|used| used.managed_policy),
    );
    for policy in role.uses.iter().filter_map(|used| used.policy) {
        page.detail(
            "Allowed",
            policy
                .statements
                .iter()
                .flat_map(|statement| allowed(statement, &account.account_id)),
        );
    }
    if role.uses.iter().any(|used| used.managed_policy.is_some()) {
        page.note("SecurityAudit reads configuration only. Microsoft's template attaches ReadOnlyAccess without billing instead, which");
        page.note("also reads data.");
    }
}

fn allowed(statement: &Statement, account: &str) -> Vec<String> {
    let resources: Vec<_> = statement
        .resources
        .iter()
        .map(|arn| arn.replace(ACCOUNT, account))
        .collect();
    let tagged = statement
        .tagged
        .map(|(key, value)| format!(" with the tag {key} = {value}"));
    let mut lines: Vec<_> = statement
        .actions
        .iter()
        .map(|action| (*action).to_owned())
        .collect();
    lines.push(format!(
        "  on {}{}",
        resources.join(", "),
        tagged.unwrap_or_default()
    ));
    lines
}

fn stack_set(page: &mut Page, organization: &Organization) {
    page.item(&format!(
        "CloudFormation StackSet {}, in the management account",
        organization.stack_set_name
    ));
    page.detail("Spec", ["aws.organization.stackSetName"]);
    page.detail(
        "Creates",
        ["identity provider and roles with the same names in every member account; those above are for the management account"],
    );
    page.detail(
        "Permissions",
        ["service-managed; includes new accounts of the organization automatically"],
    );
    page.detail("Excluded", organization.excluded_account_ids.iter());
    page.note("StackSets need trusted access to the organization:");
    page.command("aws organizations enable-aws-service-access --service-principal member.org.stacksets.cloudformation.amazonaws.com");
    page.note("If a member account already has the identity provider (Microsoft Sentinel), add the audiences there, and set the");
    page.note("parameter IdentityProvider of its stack instance to Existing.");
    page.note("Azure creates the connectors of the members within a day. A new AWS root account can be connected after 12 hours.");
}

fn machines(page: &mut Page) {
    page.item("Systems Manager agent (SSM), running; included in the Amazon Linux, Ubuntu and Windows images of AWS");
    page.item(
        "Instance profile whose role has the policy arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore,",
    );
    page.note("or Default Host Management Configuration of Systems Manager in the account. Microsoft's template also creates an");
    page.note("automation that attaches such a profile to machines without one; this output does not.");
    page.item("The machines are visible in Systems Manager, in every region:");
    page.command("aws ssm describe-instance-information --query 'InstanceInformationList[].[InstanceId,PingStatus]' --output text");
    page.item("Outgoing HTTPS to ssm, ssmmessages and ec2messages (.REGION.amazonaws.com), to gbl.his.arc.azure.com,");
    page.note(
        "agentonboarding.defenderforservers.security.azure.com, and to the endpoints of the Azure Arc agent",
    );
    page.item("An operating system that the Azure Arc agent supports");
}
