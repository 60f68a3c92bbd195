//! The account or project that is connected, and how Defender for Cloud gets into it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Clouds that can be connected.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Cloud {
    AWS,
    GCP,
}

/// An AWS account.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AwsAccount {
    /// Id of the account: 12 digits, in quotes. For an organization, its management account. It cannot be changed.
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{12}$')").message("aws.accountId is the id of the AWS account: 12 digits without dashes"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("aws.accountId cannot be changed: create another SecurityConnector for another account"))]
    pub account_id: String,
    /// Regions that are looked at, as eu-central-1. Absent: left as found; an empty list: all regions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 32), regex(pattern = r"^[a-z]+(-[a-z]+)+-[0-9]+$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub regions: Option<Vec<String>>,
    /// Connects every account of the AWS organization whose management account this is. Azure creates the connectors of
    /// the members itself, within a day. Absent: this account only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<AwsOrganization>,
    /// The IAM roles that Defender for Cloud assumes. Absent ones have the names of Microsoft's template.
    #[serde(default)]
    pub role_arns: RoleArns,
}

/// An AWS organization.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AwsOrganization {
    /// Name of the CloudFormation StackSet that creates the roles in the member accounts.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[a-zA-Z][-a-zA-Z0-9]*$"))]
    pub stack_set_name: String,
    /// Ids of member accounts that are left out. Absent: left as found; an empty list: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), inner(length(max = 12), regex(pattern = r"^[0-9]{12}$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub excluded_account_ids: Option<Vec<String>>,
}

/// The IAM roles that Defender for Cloud assumes.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RoleArns {
    /// Finds what the account holds. Absent: role CspmMonitorAws of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cspm: Option<RoleArn>,
    /// The plan's own role. Absent: role DefenderForCloud-DefenderForServers of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers: Option<RoleArn>,
    /// Installs the Azure Arc agent. Absent: role DefenderForCloud-ArcAutoProvisioning of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arc_provisioning: Option<RoleArn>,
    /// Takes the snapshots of agentless scanning. Absent: role DefenderForCloud-AgentlessScanner of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agentless_scanner: Option<RoleArn>,
}

/// ARN of an IAM role: arn:aws:iam::ACCOUNT:role/NAME.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
#[schemars(extend("maxLength" = 640, "x-kubernetes-validations" = [
        {
            "rule": "!self.startsWith('arn:aws-us-gov:') && !self.startsWith('arn:aws-cn:')",
            "message": "aws.roleArns: accounts of AWS GovCloud (aws-us-gov) and China (aws-cn) cannot be connected, Defender for Cloud connects commercial AWS accounts only (arn:aws:)"
        },
        {
            "rule": r"self.startsWith('arn:aws-us-gov:') || self.startsWith('arn:aws-cn:') || self.matches('^arn:aws:iam::[0-9]{12}:role/[a-zA-Z0-9_+=,.@/-]+$')",
            "message": "aws.roleArns holds ARNs of IAM roles: arn:aws:iam::ACCOUNT:role/NAME"
        }
    ]))]
pub struct RoleArn(pub String);

/// A GCP project.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GcpProject {
    /// Number of the project: digits, in quotes. For an organization, its management project. It cannot be changed.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,20}$')").message("gcp.projectNumber is the number of the project, digits only (gcloud projects describe PROJECT --format='value(projectNumber)'); the project's id belongs into gcp.projectId"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("gcp.projectNumber cannot be changed: create another SecurityConnector for another project"))]
    pub project_number: String,
    /// Id of the project, as my-project. It cannot be changed.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^([a-z0-9][a-z0-9.-]*:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$')").message("gcp.projectId is the id of the project, as my-project; the project's number belongs into gcp.projectNumber"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("gcp.projectId cannot be changed: create another SecurityConnector for another project"))]
    pub project_id: String,
    /// Connects every project of the GCP organization whose management project this is. Azure creates the connectors of
    /// the members itself, within a day. Absent: this project only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<GcpOrganization>,
    /// The service accounts that Defender for Cloud acts as. Absent ones have the names of Microsoft's script.
    #[serde(default)]
    pub service_accounts: ServiceAccounts,
    /// The workload identity providers that Defender for Cloud signs in with. Absent ones have the names of Microsoft's
    /// script.
    #[serde(default)]
    pub workload_identity_providers: WorkloadIdentityProviders,
}

/// A GCP organization.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GcpOrganization {
    /// Email address of the service account with the organization's permissions, which the onboarding script created.
    #[schemars(
        length(max = 256),
        regex(pattern = r"^[a-z][-a-z0-9]*@[a-z0-9.-]+\.iam\.gserviceaccount\.com$")
    )]
    pub service_account: String,
    /// Id of the workload identity provider that creates the connectors of the members.
    #[schemars(length(min = 4, max = 32), regex(pattern = r"^[a-z0-9-]+$"))]
    pub workload_identity_provider: String,
    /// Numbers of member projects that are left out. Absent: left as found; an empty list: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), inner(length(max = 20), regex(pattern = r"^[0-9]+$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub excluded_project_numbers: Option<Vec<String>>,
}

/// The service accounts that Defender for Cloud acts as.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccounts {
    /// Email address of the one that finds what the project holds. Absent: microsoft-defender-cspm of the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 256),
        regex(pattern = r"^[a-z][-a-z0-9]*@[a-z0-9.-]+\.iam\.gserviceaccount\.com$")
    )]
    pub cspm: Option<String>,
    /// Email address of the plan's own one. Absent: microsoft-defender-for-servers of the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 256),
        regex(pattern = r"^[a-z][-a-z0-9]*@[a-z0-9.-]+\.iam\.gserviceaccount\.com$")
    )]
    pub servers: Option<String>,
}

/// The workload identity providers that Defender for Cloud signs in with.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadIdentityProviders {
    /// Id of the provider that finds what the project holds. Absent: cspm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 4, max = 32), regex(pattern = r"^[a-z0-9-]+$"))]
    pub cspm: Option<String>,
    /// Id of the plan's own provider. Absent: defender-for-servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 4, max = 32), regex(pattern = r"^[a-z0-9-]+$"))]
    pub servers: Option<String>,
}
