//! The connected account or project, and how Defender for Cloud accesses it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::patterns::{PROVIDER, SERVICE_ACCOUNT, each, text};

/// Clouds that can be connected.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Cloud {
    AWS,
    GCP,
}

/// An AWS account.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("!has(self.roleArns) || ((!has(self.roleArns.cspm) || !self.roleArns.cspm.matches('^arn:aws:iam::[0-9]{12}:') || self.roleArns.cspm.startsWith('arn:aws:iam::' + self.accountId + ':')) && (!has(self.roleArns.servers) || !self.roleArns.servers.matches('^arn:aws:iam::[0-9]{12}:') || self.roleArns.servers.startsWith('arn:aws:iam::' + self.accountId + ':')) && (!has(self.roleArns.arcProvisioning) || !self.roleArns.arcProvisioning.matches('^arn:aws:iam::[0-9]{12}:') || self.roleArns.arcProvisioning.startsWith('arn:aws:iam::' + self.accountId + ':')) && (!has(self.roleArns.agentlessScanner) || !self.roleArns.agentlessScanner.matches('^arn:aws:iam::[0-9]{12}:') || self.roleArns.agentlessScanner.startsWith('arn:aws:iam::' + self.accountId + ':')))")
    .message("aws.roleArns must contain roles of the account aws.accountId: Defender for Cloud signs in to that account")
    .reason(Reason::FieldValueInvalid).field_path(".roleArns"))]
#[serde(rename_all = "camelCase")]
pub struct AwsAccount {
    /// Id of the AWS account: 12 digits, in quotes. For an organization, the id of its management account: Azure does
    /// not support a delegated administrator account. This field is immutable.
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{12}$')").message("aws.accountId must be the 12-digit id of the AWS account without dashes, for example 123456789012"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("aws.accountId cannot be changed: create another SecurityConnector for another account"))]
    pub account_id: String,
    /// AWS regions that Defender for Cloud scans, for example eu-central-1. An empty list selects all regions. When
    /// absent, the regions in Azure are not changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        inner(length(max = 64)),
        transform = each("^[a-z]+(-[a-z]+)+-[0-9]+$", "aws.regions must contain names of AWS regions, for example eu-central-1")
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub regions: Option<Vec<String>>,
    /// Connects every account of the AWS organization. aws.accountId must be its management account, not a delegated
    /// administrator account. Azure creates the connectors of the member accounts within a day. When absent, only this
    /// account is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<AwsOrganization>,
    /// The IAM roles of the account that Defender for Cloud assumes. A role that is absent has the name that Microsoft's
    /// template gives it.
    #[serde(default)]
    pub role_arns: RoleArns,
}

/// An AWS organization.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AwsOrganization {
    /// Name of the CloudFormation StackSet that creates the roles in the member accounts.
    #[schemars(
        length(max = 256),
        transform = text("^[a-zA-Z][-a-zA-Z0-9]{0,127}$", "aws.organization.stackSetName must be the name of a StackSet: at most 128 letters, digits and -, beginning with a letter, for example defender-for-cloud")
    )]
    pub stack_set_name: String,
    /// Ids of the member accounts that are not connected. An empty list excludes none. When absent, the list in Azure
    /// is not changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 1000),
        inner(length(max = 64)),
        transform = each("^[0-9]{12}$", "aws.organization.excludedAccountIds must contain the 12-digit ids of AWS accounts without dashes, for example 123456789012")
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub excluded_account_ids: Option<Vec<String>>,
}

/// The IAM roles that Defender for Cloud assumes.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RoleArns {
    /// ARN of the role for posture management, which discovers the resources of the account. When absent, the role
    /// CspmMonitorAws of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cspm: Option<RoleArn>,
    /// ARN of the role for Defender for Servers. When absent, the role DefenderForCloud-DefenderForServers of the
    /// account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers: Option<RoleArn>,
    /// ARN of the role that installs the Azure Arc agent. When absent, the role DefenderForCloud-ArcAutoProvisioning
    /// of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arc_provisioning: Option<RoleArn>,
    /// ARN of the role that takes the snapshots of agentless scanning. When absent, the role
    /// DefenderForCloud-AgentlessScanner of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agentless_scanner: Option<RoleArn>,
}

/// ARN of an IAM role: arn:aws:iam::ACCOUNT:role/NAME.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
#[schemars(extend("maxLength" = 640, "x-kubernetes-validations" = [
        {
            "rule": "!self.startsWith('arn:aws-us-gov:') && !self.startsWith('arn:aws-cn:')",
            "message": "aws.roleArns must not contain roles of AWS GovCloud (aws-us-gov) or China (aws-cn): Defender for Cloud connects commercial AWS accounts only (arn:aws:)"
        },
        {
            "rule": r"self.startsWith('arn:aws-us-gov:') || self.startsWith('arn:aws-cn:') || self.matches('^arn:aws:iam::[0-9]{12}:role/[a-zA-Z0-9_+=,.@/-]+$')",
            "message": "aws.roleArns must contain ARNs of IAM roles in the form arn:aws:iam::ACCOUNT:role/NAME"
        }
    ]))]
pub struct RoleArn(pub String);

/// A GCP project.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GcpProject {
    /// Number of the GCP project: digits, in quotes. For an organization, the number of its management project. This
    /// field is immutable.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,20}$')").message("gcp.projectNumber must be the number of the project, digits only (gcloud projects describe PROJECT --format='value(projectNumber)'); set the id of the project in gcp.projectId"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("gcp.projectNumber cannot be changed: create another SecurityConnector for another project"))]
    pub project_number: String,
    /// Id of the GCP project, for example my-project. This field is immutable.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^([a-z0-9][a-z0-9.-]*:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$')").message("gcp.projectId must be the id of the project, for example my-project; set the number of the project in gcp.projectNumber"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("gcp.projectId cannot be changed: create another SecurityConnector for another project"))]
    pub project_id: String,
    /// Connects every project of the GCP organization. gcp.projectId must be its management project. Azure creates the
    /// connectors of the member projects within a day. When absent, only this project is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<GcpOrganization>,
    /// The service accounts that Defender for Cloud acts as. A service account that is absent has the name that
    /// Microsoft's script gives it.
    #[serde(default)]
    pub service_accounts: ServiceAccounts,
    /// The workload identity providers through which Defender for Cloud signs in. A provider that is absent has the
    /// name that Microsoft's script gives it.
    #[serde(default)]
    pub workload_identity_providers: WorkloadIdentityProviders,
}

/// A GCP organization.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GcpOrganization {
    /// Email address of the service account that has the permissions of the organization. Microsoft's onboarding
    /// script creates it.
    #[schemars(
        length(max = 256),
        transform = text(SERVICE_ACCOUNT, "gcp.organization.serviceAccount must be the email address of a service account, for example defender@my-project.iam.gserviceaccount.com")
    )]
    pub service_account: String,
    /// Id of the workload identity provider that creates the connectors of the member projects.
    #[schemars(
        length(max = 256),
        transform = text(PROVIDER, "gcp.organization.workloadIdentityProvider must be the id of a workload identity provider: 4 to 32 lower-case letters, digits and -, for example defender-for-servers")
    )]
    pub workload_identity_provider: String,
    /// Numbers of the member projects that are not connected. An empty list excludes none. When absent, the list in
    /// Azure is not changed. Folders that are excluded in the portal stay excluded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 1000),
        inner(length(max = 64)),
        transform = each("^[0-9]{1,20}$", "gcp.organization.excludedProjectNumbers must contain numbers of projects, digits only, for example 843025268399")
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub excluded_project_numbers: Option<Vec<String>>,
}

/// The service accounts that Defender for Cloud acts as.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccounts {
    /// Email address of the service account for posture management, which discovers the resources of the project. When
    /// absent, microsoft-defender-cspm of the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 256),
        transform = text(SERVICE_ACCOUNT, "gcp.serviceAccounts.cspm must be the email address of a service account, for example defender@my-project.iam.gserviceaccount.com")
    )]
    pub cspm: Option<String>,
    /// Email address of the service account for Defender for Servers. When absent, microsoft-defender-for-servers of
    /// the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 256),
        transform = text(SERVICE_ACCOUNT, "gcp.serviceAccounts.servers must be the email address of a service account, for example defender@my-project.iam.gserviceaccount.com")
    )]
    pub servers: Option<String>,
}

/// The workload identity providers through which Defender for Cloud signs in.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadIdentityProviders {
    /// Id of the provider for posture management. When absent, cspm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 256),
        transform = text(PROVIDER, "gcp.workloadIdentityProviders.cspm must be the id of a workload identity provider: 4 to 32 lower-case letters, digits and -, for example defender-for-servers")
    )]
    pub cspm: Option<String>,
    /// Id of the provider for Defender for Servers. When absent, defender-for-servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 256),
        transform = text(PROVIDER, "gcp.workloadIdentityProviders.servers must be the id of a workload identity provider: 4 to 32 lower-case letters, digits and -, for example defender-for-servers")
    )]
    pub servers: Option<String>,
}
