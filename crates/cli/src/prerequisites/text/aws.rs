//! The list for an AWS account.

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
        page.note("Volumes with a key of your own are scanned only if the key's policy leaves access to IAM, or names the scanner's role.");
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
    page.note("--output cloudformation and --output terraform print all of it but what the machines need.");
}

fn identity_provider(page: &mut Page, account: &Aws, provider: IdentityProvider) {
    let arn = account.provider_arn();
    page.item(&format!("OpenID Connect provider {arn}"));
    page.detail("URL", [ISSUER]);
    page.detail("Thumbprint", [aws::THUMBPRINT]);
    page.detail("Audiences", &account.audiences);
    page.note("The issuer is Microsoft's own tenant. An account has one provider of this URL, so it may have an owner already:");
    page.note(
        "Microsoft Sentinel, for instance, signs in through the same provider. Find out whether it is there:",
    );
    page.command(&format!(
        "aws iam get-open-id-connect-provider --open-id-connect-provider-arn {arn}"
    ));
    match provider {
        IdentityProvider::New => {
            page.note("NoSuchEntity: make it. If it is there, it stays whose it is: neither make nor import it, add the audiences");
            page.note("(those that it has already do no harm), and print templates with --existing-identity-provider:");
        }
        IdentityProvider::Existing => {
            page.note("It is there already (--existing-identity-provider) and stays whose it is: neither make nor import it, add the");
            page.note("audiences; those that it has already do no harm:");
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
        vec!["sts:AssumeRoleWithWebIdentity by the identity provider, if both are equal:".to_owned()];
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
        page.note("SecurityAudit reads how things are set up. Microsoft's template attaches ReadOnlyAccess without billing instead,");
        page.note("which also reads contents.");
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
        "Makes",
        ["identity provider and roles of the same names in every member account; the management account needs its own, above"],
    );
    page.detail(
        "Permissions",
        ["service-managed; new accounts of the organization get it by themselves"],
    );
    page.detail("Left out", organization.excluded_account_ids.iter());
    page.note("StackSets need trusted access to the organization:");
    page.command("aws organizations enable-aws-service-access --service-principal member.org.stacksets.cloudformation.amazonaws.com");
    page.note("A member account that has the identity provider already (Microsoft Sentinel): add the audiences there, and set");
    page.note("the parameter IdentityProvider of its stack instance to Existing.");
    page.note("Azure makes the connectors of the members within a day. A new AWS root account needs 12 hours before it can be connected.");
}

fn machines(page: &mut Page) {
    page.item("Systems Manager agent (SSM), running: Amazon Linux, Ubuntu and Windows images of AWS have it");
    page.item(
        "Instance profile whose role has the policy arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore,",
    );
    page.note("or the account's Default Host Management Configuration of Systems Manager instead. Microsoft's template also makes an");
    page.note("automation that attaches such a profile to machines without one; here that is left to you.");
    page.item("The machines are seen by Systems Manager, in every region:");
    page.command("aws ssm describe-instance-information --query 'InstanceInformationList[].[InstanceId,PingStatus]' --output text");
    page.item("Outgoing HTTPS to ssm, ssmmessages and ec2messages (.REGION.amazonaws.com), to gbl.his.arc.azure.com,");
    page.note(
        "agentonboarding.defenderforservers.security.azure.com, and to the endpoints of the Azure Arc agent",
    );
    page.item("An operating system that the Azure Arc agent supports");
}
