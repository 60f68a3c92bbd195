//! The spec of a `SecurityConnector`.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    cloud::{AwsAccount, Cloud, GcpProject},
    status::SecurityConnectorStatus,
};
use crate::{
    AgentlessScanning, State, Tier,
    patterns::{OBJECT_NAME, PRIVATE_LINK_SCOPE_ID, RESOURCE_GROUP, short_text, text},
};

/// Desired connection of an AWS account or GCP project to Microsoft Defender for Servers.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "serverprotection.dev",
    version = "v1alpha1",
    kind = "SecurityConnector",
    plural = "securityconnectors",
    shortname = "secconn",
    category = "defender",
    namespaced,
    status = "SecurityConnectorStatus",
    derive = "PartialEq",
    doc = "SecurityConnector keeps the servers of one AWS account or GCP project (or of an organization of them) connected to Microsoft Defender for Servers.",
    selectable = ".spec.protectionRef.name",
    selectable = ".spec.type",
    printcolumn(name = "Cloud", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Account", type_ = "string", json_path = ".status.account"),
    printcolumn(name = "Tier", type_ = "string", json_path = ".status.display.tier"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Health", type_ = "string", json_path = ".status.display.health"),
    printcolumn(name = "Machines", type_ = "string", json_path = ".status.display.machines"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Protection",
        type_ = "string",
        json_path = ".spec.protectionRef.name",
        priority = 1
    ),
    printcolumn(name = "Drift", type_ = "integer", json_path = ".status.driftCount", priority = 1),
    printcolumn(name = "Members", type_ = "integer", json_path = ".status.members", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    ),
    validation = Rule::new("has(self.spec.connectorName) || size(self.metadata.name) <= 63").message("metadata.name has more than 63 characters, the limit for the name of a connector: set connectorName")
)]
#[cfg_attr(test, kube(cel))]
#[x_kube(validation = Rule::new("(self.type == 'AWS') == has(self.aws)")
    .message("aws must be set when type is AWS, and must not be set otherwise").reason(Reason::FieldValueInvalid).field_path(".aws"))]
#[x_kube(validation = Rule::new("(self.type == 'GCP') == has(self.gcp)")
    .message("gcp must be set when type is GCP, and must not be set otherwise").reason(Reason::FieldValueInvalid).field_path(".gcp"))]
#[x_kube(validation = Rule::new("has(self.connectorName) == has(oldSelf.connectorName) && (!has(self.connectorName) || self.connectorName == oldSelf.connectorName)")
    .message("connectorName cannot be changed: create another SecurityConnector"))]
#[x_kube(validation = Rule::new("!(has(self.plan) && self.plan.tier != 'P2' && has(self.agentlessScanning) && self.agentlessScanning.state == 'Enabled')")
    .message("agentlessScanning needs plan.tier P2: set plan.tier to P2, or agentlessScanning.state to Disabled")
    .reason(Reason::FieldValueForbidden).field_path(".agentlessScanning"))]
#[x_kube(validation = Rule::new("!has(self.agentlessScanning) || !has(self.agentlessScanning.exclusionTags) || self.agentlessScanning.exclusionTags.all(tag, self.agentlessScanning.exclusionTags.exists_one(other, other.key == tag.key))")
    .message("agentlessScanning.exclusionTags must contain each key only once: a connector has one value for each key")
    .reason(Reason::FieldValueInvalid).field_path(".agentlessScanning"))]
#[serde(rename_all = "camelCase")]
pub struct SecurityConnectorSpec {
    /// The ServerProtection in the same namespace that this connector belongs to. It supplies the Azure subscription,
    /// the identity, the mode, the interval and the default plan. This field is immutable.
    #[x_kube(validation = Rule::new("self == oldSelf").message("protectionRef cannot be changed: create another SecurityConnector"))]
    pub protection_ref: ProtectionRef,
    /// Set to true to pause this object: Azure is neither read nor written, and status keeps the last observation.
    /// Ready becomes Unknown if anything else in the spec is edited meanwhile. While another object waits for the
    /// connector, one read per hour checks that this object may still access it. The suspend of the ServerProtection
    /// does not apply to this object. The default is false.
    #[serde(default)]
    pub suspend: bool,
    /// Azure resource group of the connector and of the Azure Arc machines of the account. This field is immutable.
    #[schemars(
        length(max = 256),
        transform = short_text(90, RESOURCE_GROUP, "resourceGroup must be the name of a resource group: at most 90 letters, digits, -, _, ., ( and ), not ending with a period, for example rg-defender")
    )]
    #[x_kube(validation = Rule::new("self == oldSelf").message("resourceGroup cannot be changed: create another SecurityConnector"))]
    pub resource_group: String,
    /// Set to true to create the resource group if it does not exist. The operator never deletes it. The default is
    /// false.
    #[serde(default)]
    pub create_resource_group: bool,
    /// Azure region that stores the data of the connector, for example westeurope. This field is immutable.
    #[schemars(
        length(max = 256),
        transform = text("^[a-z0-9]{1,64}$", "location must be the name of an Azure region, for example westeurope for West Europe (az account list-locations prints them)")
    )]
    #[x_kube(validation = Rule::new("self == oldSelf").message("location cannot be changed: create another SecurityConnector"))]
    pub location: String,
    /// Name of the connector in Azure. When absent, the name of this object. This field is immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 256),
        transform = text("^[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9_-])?$", "connectorName must be the name of a connector: at most 63 letters, digits, -, _ and ., beginning with a letter or digit, not ending with a period, for example aws-prod")
    )]
    pub connector_name: Option<String>,
    /// Azure tags of the connector. Tags in Azure that are not listed here are not changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 50, "additionalProperties" = {"type": "string", "maxLength": 256}))]
    #[x_kube(validation = Rule::new("self.all(key, size(key) <= 512)").message("tags must not contain a key with more than 512 characters"))]
    pub tags: BTreeMap<String, String>,
    /// Cloud of the account: AWS or GCP. This field is immutable.
    #[serde(rename = "type")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("type cannot be changed: create another SecurityConnector"))]
    pub type_: Cloud,
    /// The AWS account. Required when type is AWS; not allowed otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsAccount>,
    /// The GCP project. Required when type is GCP; not allowed otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gcp: Option<GcpProject>,
    /// How often Defender for Cloud scans the account for changes: whole hours from 1h to 24h. The portal offers 4h, 6h,
    /// 12h and 24h. The default is 4h.
    #[serde(default = "four_hours")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^([1-9]|1[0-9]|2[0-4])h$')").message("scanInterval must be whole hours from 1h to 24h, for example 4h"))]
    pub scan_interval: String,
    /// The Defender for Servers plan of the account. When absent, the plan of the ServerProtection applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<ConnectorPlan>,
    /// What Defender for Cloud installs on the machines of the account. Everything is Enabled by default.
    #[serde(default)]
    pub auto_provisioning: AutoProvisioning,
    /// Scans snapshots of machine disks without an agent. Requires plan P2. When absent, the setting in Azure is not
    /// changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agentless_scanning: Option<AgentlessScanning>,
    /// What happens in Azure when this object is deleted. Retain (the default): the connector stays. Delete: the
    /// connector is deleted, and the account is no longer protected; roles and service accounts in the account stay.
    #[serde(default)]
    pub deletion_policy: ConnectorDeletionPolicy,
}

fn four_hours() -> String {
    "4h".into()
}

/// A reference to a ServerProtection.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ProtectionRef {
    /// Name of the ServerProtection in the same namespace.
    #[schemars(
        length(max = 253),
        transform = text(OBJECT_NAME, "protectionRef.name must be the name of a ServerProtection: lower-case letters, digits, - and ., for example contoso-prod")
    )]
    pub name: String,
}

/// The Defender for Servers plan of the account.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorPlan {
    /// P1, P2 or Free. With Free, the account stays connected for foundational posture management, and its servers are
    /// not protected.
    pub tier: Tier,
}

/// What Defender for Cloud installs on the machines of the account.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AutoProvisioning {
    /// The Azure Arc agent. All other components require it.
    #[serde(default)]
    pub arc_agent: ArcAgent,
    /// The Defender for Endpoint extension (MDE.Windows, MDE.Linux).
    #[serde(default)]
    pub defender_for_endpoint: Provisioned,
    /// Vulnerability assessment by Defender Vulnerability Management.
    #[serde(default)]
    pub vulnerability_assessment: Provisioned,
}

/// The Azure Arc agent on the machines of the account.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ArcAgent {
    /// Enabled, Disabled, or Unmanaged (not changed). The default is Enabled.
    #[serde(default = "State::enabled")]
    pub state: State,
    /// HTTP proxy of the agents, for example `http://proxy.example:3128`. Do not include a user name or password:
    /// everyone who can read this object can read them. An empty string removes the proxy. When absent, the proxy in
    /// Azure is not changed. Used only while state is Enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new(r"self == '' || self.matches('^https?://[^\\s/@]+/?$')").message("autoProvisioning.arcAgent.proxy must be the address of an HTTP proxy without user name and password, for example http://proxy.example:3128"))]
    pub proxy: Option<String>,
    /// Resource id of the Azure Arc private link scope that the agents join. An empty string removes it. When absent,
    /// the scope in Azure is not changed. Used only while state is Enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 512),
        transform = text(PRIVATE_LINK_SCOPE_ID, "autoProvisioning.arcAgent.privateLinkScope must be the resource id of a private link scope: /subscriptions/ID/resourceGroups/NAME/providers/Microsoft.HybridCompute/privateLinkScopes/NAME")
    )]
    pub private_link_scope: Option<String>,
}

impl Default for ArcAgent {
    fn default() -> Self {
        Self {
            state: State::Enabled,
            proxy: None,
            private_link_scope: None,
        }
    }
}

/// A component that Defender for Cloud installs.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Provisioned {
    /// Enabled, Disabled, or Unmanaged (not changed). The default is Enabled.
    #[serde(default = "State::enabled")]
    pub state: State,
}

impl Default for Provisioned {
    fn default() -> Self {
        Self {
            state: State::Enabled,
        }
    }
}

/// What happens in Azure when the object is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ConnectorDeletionPolicy {
    #[default]
    Retain,
    Delete,
}
