//! An AWS account: the identity provider, the roles and their trust, the stack set of an organization (docs/azure-api.md 4.5).

use serverprotection_api::AwsAccount;

use super::{
    ISSUER, Invalid, Parts, SERVERS_AUDIENCE, named,
    policies::{AGENTLESS_SCANNER, ARC_PROVISIONING, SERVERS},
};
use crate::security_connector::desired::Desired;

/// Thumbprint of the issuer's certificate authority: SHA-1 in lower-case hexadecimal digits.
pub const THUMBPRINT: &str = "626d44e704d1ceabe3bf0d53397464ac8080142c";

const CSPM_AUDIENCE: &str = "api://4d8bed1f-eee7-4d8e-b0dc-8462049a4479";
const SCANNER_AUDIENCE: &str = "api://AzureSecurityCenter.MultiCloud.DefenderForServers.VmScanner";

/// What an AWS account must have.
#[derive(Clone, Debug, PartialEq)]
pub struct Aws {
    /// 12 digits; for an organization, its management account.
    pub account_id: String,
    /// The audiences that the identity provider must know for the roles below.
    pub audiences: Vec<&'static str>,
    /// The roles, each once.
    pub roles: Vec<Role>,
    /// The organization whose members get the same roles through a stack set.
    pub organization: Option<Organization>,
}

/// The members of an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    /// Name of its stack set in `CloudFormation`.
    pub stack_set_name: String,
    /// Ids of the excluded accounts.
    pub excluded_account_ids: Vec<String>,
}

/// A role that Defender for Cloud assumes.
#[derive(Clone, Debug, PartialEq)]
pub struct Role {
    /// `arn:aws:iam::ACCOUNT:role/PATH/NAME`.
    pub arn: String,
    /// Begins and ends with `/`.
    pub path: String,
    /// The last part of the ARN.
    pub name: String,
    /// Its purposes: several if the spec gives one role to several purposes.
    pub uses: Vec<Use>,
}

/// What a role is for.
#[derive(Clone, Debug, PartialEq)]
pub struct Use {
    /// A short name, unique in the account: letters and _.
    pub key: &'static str,
    /// Path of its ARN in the spec.
    pub field: &'static str,
    /// The purpose in words.
    pub purpose: &'static str,
    /// The audience of the tokens with which it is assumed.
    pub audience: &'static str,
    /// ARN of the AWS managed policy that it needs.
    pub managed_policy: Option<&'static str>,
    /// The inline policy that it needs.
    pub policy: Option<Policy>,
}

/// A policy of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Unique within the role.
    pub name: &'static str,
    /// What is allowed.
    pub statements: &'static [Statement],
}

/// What a policy allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The statement's `Sid`.
    pub id: &'static str,
    /// IAM actions.
    pub actions: &'static [&'static str],
    /// ARNs, with [`ACCOUNT`] in place of the account's id.
    pub resources: &'static [&'static str],
    /// The statement applies only to resources with this tag: key and value.
    pub tagged: Option<(&'static str, &'static str)>,
}

/// Placeholder for the account's id in resources, so that the same policy serves every member of an organization.
pub const ACCOUNT: &str = "{account}";

impl Aws {
    pub(super) fn of(account: &AwsAccount, desired: &Desired, parts: Parts) -> Result<Self, Invalid> {
        let mut roles: Vec<Role> = Vec::new();
        for used in uses(parts) {
            let arn = named(desired, used.field)?;
            let role = Role::of(&account.account_id, arn, used)?;
            match roles.iter_mut().find(|known| known.arn == role.arn) {
                Some(known) => known.uses.extend(role.uses),
                None => roles.push(role),
            }
        }
        let mut audiences = Vec::new();
        for audience in roles.iter().flat_map(Role::audiences) {
            if !audiences.contains(&audience) {
                audiences.push(audience);
            }
        }
        let organization = match &account.organization {
            Some(organization) => Some(Organization {
                stack_set_name: named(desired, "aws.organization.stackSetName")?.into(),
                excluded_account_ids: organization.excluded_account_ids.clone().unwrap_or_default(),
            }),
            None => None,
        };
        Ok(Self {
            account_id: account.account_id.clone(),
            audiences,
            roles,
            organization,
        })
    }

    /// ARN of the identity provider.
    pub fn provider_arn(&self) -> String {
        provider_arn(&self.account_id)
    }
}

/// ARN of the identity provider in an account; AWS builds it from the URL.
pub fn provider_arn(account: &str) -> String {
    format!("arn:aws:iam::{account}:oidc-provider/{}", issuer_name())
}

/// The issuer as it appears in condition keys: `sts.windows.net/TENANT/`.
pub fn issuer_name() -> &'static str {
    ISSUER.trim_start_matches("https://")
}

/// Condition key for the audience.
pub fn audience_key() -> String {
    format!("{}:aud", issuer_name())
}

/// Condition key for the session's name.
pub const SESSION_KEY: &str = "sts:RoleSessionName";

/// The session's name contains the tenant, so that another customer's Defender for Cloud cannot assume the role.
pub fn session_name(tenant: &str) -> String {
    format!("MicrosoftDefenderForClouds_{tenant}")
}

impl Role {
    fn of(account: &str, arn: &str, used: Use) -> Result<Self, Invalid> {
        let field = used.field;
        let resource = arn
            .strip_prefix("arn:aws:iam::")
            .and_then(|rest| rest.split_once(":role/"));
        let Some((owner, path_and_name)) = resource else {
            let message = format!("{arn} is not the ARN of an IAM role; use arn:aws:iam::ACCOUNT:role/NAME");
            return Err(Invalid::new(field, message));
        };
        if owner != account {
            let message = format!(
                "{arn} is a role of another account; use a role of account {account} (aws.accountId)"
            );
            return Err(Invalid::new(field, message));
        }
        let (path, name) = path_and_name.rsplit_once('/').unwrap_or(("", path_and_name));
        let is_name = |name: &str| {
            name.bytes()
                .all(|c| c.is_ascii_alphanumeric() || b"_+=,.@-".contains(&c))
        };
        if name.is_empty() || name.len() > 64 || !is_name(name) || !path.split('/').all(is_name) {
            let message = format!(
                "{path_and_name:?} is not a valid role name; use at most 64 letters, digits and _+=,.@-, after an optional path"
            );
            return Err(Invalid::new(field, message));
        }
        Ok(Self {
            arn: arn.into(),
            path: if path.is_empty() {
                "/".into()
            } else {
                format!("/{path}/")
            },
            name: name.into(),
            uses: vec![used],
        })
    }

    /// The audiences that it trusts, each once.
    pub fn audiences(&self) -> Vec<&'static str> {
        let mut audiences: Vec<_> = self.uses.iter().map(|used| used.audience).collect();
        audiences.dedup();
        audiences
    }
}

/// In the order of the offerings.
fn uses(parts: Parts) -> Vec<Use> {
    let mut uses = vec![Use {
        key: "cspm",
        field: "aws.roleArns.cspm",
        purpose: "discovers the resources of the account and reads their configuration",
        audience: CSPM_AUDIENCE,
        managed_policy: Some("arn:aws:iam::aws:policy/SecurityAudit"),
        policy: None,
    }];
    if parts.servers.is_served() {
        uses.push(Use {
            key: "servers",
            field: "aws.roleArns.servers",
            purpose: "opens and closes ports of security groups for just-in-time access",
            audience: SERVERS_AUDIENCE,
            managed_policy: None,
            policy: Some(SERVERS),
        });
    }
    if parts.arc.is_served() {
        uses.push(Use {
            key: "arc_provisioning",
            field: "aws.roleArns.arcProvisioning",
            purpose: "installs the Azure Arc agent with Systems Manager",
            audience: SERVERS_AUDIENCE,
            managed_policy: None,
            policy: Some(ARC_PROVISIONING),
        });
    }
    if parts.agentless.is_served() {
        uses.push(Use {
            key: "agentless_scanner",
            field: "aws.roleArns.agentlessScanner",
            purpose: "takes, copies and deletes the snapshots of agentless scanning",
            audience: SCANNER_AUDIENCE,
            managed_policy: None,
            policy: Some(AGENTLESS_SCANNER),
        });
    }
    uses
}
