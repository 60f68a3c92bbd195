//! The spec of a `ServerProtection`.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{file_integrity::FileIntegrityRules, machines::Machines, status::ServerProtectionStatus};
use crate::patterns::{GUID, OBJECT_NAME, WORKSPACE_ID, duration, text};

/// Desired protection of the servers of one Azure subscription by Microsoft Defender for Servers.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "serverprotection.dev",
    version = "v1alpha1",
    kind = "ServerProtection",
    plural = "serverprotections",
    shortname = "sprot",
    category = "defender",
    namespaced,
    status = "ServerProtectionStatus",
    derive = "PartialEq",
    doc = "ServerProtection keeps the servers of one Azure subscription protected by Microsoft Defender for Servers.",
    selectable = ".spec.subscriptionId",
    selectable = ".spec.mode",
    printcolumn(
        name = "Subscription",
        type_ = "string",
        json_path = ".status.display.subscription"
    ),
    printcolumn(name = "Plan", type_ = "string", json_path = ".spec.plan.tier"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".status.display.mode"),
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
    printcolumn(name = "Drift", type_ = "integer", json_path = ".status.driftCount"),
    printcolumn(name = "Protected", type_ = "string", json_path = ".status.display.machines"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Connectors",
        type_ = "string",
        json_path = ".status.display.connectors",
        priority = 1
    ),
    printcolumn(
        name = "Observed-Plan",
        type_ = "string",
        json_path = ".status.plan.tier",
        priority = 1
    ),
    printcolumn(
        name = "Subscription-ID",
        type_ = "string",
        json_path = ".spec.subscriptionId",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    )
)]
#[cfg_attr(test, kube(cel))]
#[x_kube(validation = Rule::new("!(has(self.plan.fileIntegrityMonitoring) && self.plan.fileIntegrityMonitoring.state == 'Enabled' && self.endpointIntegration.state == 'Disabled')")
    .message("plan.fileIntegrityMonitoring needs endpointIntegration: set endpointIntegration.state to Enabled, or plan.fileIntegrityMonitoring.state to Disabled")
    .reason(Reason::FieldValueForbidden).field_path(".plan.fileIntegrityMonitoring"))]
#[serde(rename_all = "camelCase")]
pub struct ServerProtectionSpec {
    /// Id of the Azure subscription: a GUID in lower case. This field is immutable: create another object for another
    /// subscription. Only one object writes a subscription, one that has proven its access; others that may write it
    /// wait and are Stalled.
    #[schemars(
        length(max = 256),
        transform = text(GUID, "subscriptionId must be the id of an Azure subscription, a GUID in lower case, for example 6f1c0d7e-0000-4000-8000-000000000001 (az account show --query id prints it)")
    )]
    #[x_kube(validation = Rule::new("self == oldSelf").message("subscriptionId cannot be changed: create another ServerProtection for another subscription"))]
    pub subscription_id: String,
    /// The Azure identity that manages the subscription: an AzureCredential in the same namespace, or a
    /// ClusterAzureCredential with a grant for this namespace and subscription. No other identity is ever used.
    // The schema requires it. The API server may still store an object without it from an older schema, and the
    // controller must be able to read that object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub credential_ref: Option<CredentialRef>,
    /// Enforce (the default): differences are repaired in Azure. Observe: differences are reported in status.drift and
    /// in the condition Drifted, and nothing is ever written to Azure.
    #[serde(default)]
    pub mode: Mode,
    /// Set to true to pause this object: Azure is neither read nor written, and status keeps the last observation.
    /// Ready becomes Unknown if anything else in the spec is edited meanwhile. While another object waits for the
    /// subscription, one read per hour checks that this object may still write it. SecurityConnectors that refer to
    /// this object are not paused: each has a suspend of its own. The default is false.
    #[serde(default)]
    pub suspend: bool,
    /// How often Azure is compared with this object: from 1m to 24h, with 10 % jitter. The default is 10m. To
    /// reconcile at once, change the annotation serverprotection.dev/reconcile-requested-at.
    #[serde(default = "ten_minutes")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new(duration("1m", "24h")).message("interval must be from 1m to 24h, in hours (h), minutes (m) and seconds (s), for example 10m or 1h30m"))]
    pub interval: String,
    /// The Defender for Servers plan of the subscription and its extensions.
    pub plan: PlanSpec,
    /// Integration with Microsoft Defender for Endpoint. Azure then deploys the extension MDE.Windows or MDE.Linux to
    /// machines. Enabled by default.
    #[serde(default)]
    pub endpoint_integration: EndpointIntegration,
    /// Vulnerability assessment of the machines. Enabled by default.
    #[serde(default)]
    pub vulnerability_assessment: VulnerabilityAssessment,
    /// Azure resource providers that the subscription needs.
    #[serde(default)]
    pub resource_providers: ResourceProviders,
    /// Log Analytics workspaces whose Defender for Servers solution ("Security") is reported in status.workspaces.
    /// Workspaces are not changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["resourceId".into()]))]
    pub workspaces: Vec<Workspace>,
    /// How machines are verified, that is whether the extension MDE.Windows or MDE.Linux is healthy on each of them.
    /// The operator installs nothing on machines; Defender for Cloud does.
    #[serde(default)]
    pub machines: Machines,
    /// What happens in Azure when this object is deleted. Retain (the default): Azure is not changed.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

fn ten_minutes() -> String {
    "10m".into()
}

/// A reference to an Azure identity.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CredentialRef {
    /// Kind of the referenced object: AzureCredential (the default), of the same namespace, or ClusterAzureCredential.
    #[serde(default)]
    pub kind: CredentialKind,
    /// Name of the referenced object.
    #[schemars(
        length(max = 253),
        transform = text(OBJECT_NAME, "credentialRef.name must be the name of an AzureCredential or ClusterAzureCredential: lower-case letters, digits, - and ., for example azure-prod")
    )]
    pub name: String,
}

/// Kinds that hold an Azure identity.
#[derive(
    Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
)]
#[allow(missing_docs)]
pub enum CredentialKind {
    #[default]
    AzureCredential,
    ClusterAzureCredential,
}

impl CredentialKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::AzureCredential, Self::ClusterAzureCredential];

    /// As users write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AzureCredential => "AzureCredential",
            Self::ClusterAzureCredential => "ClusterAzureCredential",
        }
    }

    /// The kind of this name, as status records it.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Whether differences are repaired or only reported.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Mode {
    #[default]
    Enforce,
    Observe,
}

/// Desired state. Enabled and Disabled are enforced; Unmanaged is neither compared nor changed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum State {
    Enabled,
    Disabled,
    Unmanaged,
}

impl State {
    pub(crate) const fn enabled() -> Self {
        Self::Enabled
    }
    const fn unmanaged() -> Self {
        Self::Unmanaged
    }
}

/// Defender for Servers Plan 1, Plan 2, or Free (off).
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Tier {
    P1,
    P2,
    Free,
}

/// The Defender for Servers plan of the subscription and its extensions.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(validation = Rule::new("!(self.tier != 'P2' && has(self.agentlessScanning) && self.agentlessScanning.state == 'Enabled')")
    .message("plan.agentlessScanning needs plan.tier P2: set plan.tier to P2, or plan.agentlessScanning.state to Disabled")
    .reason(Reason::FieldValueForbidden).field_path(".agentlessScanning"))]
#[x_kube(validation = Rule::new("!(self.tier != 'P2' && has(self.fileIntegrityMonitoring) && self.fileIntegrityMonitoring.state == 'Enabled')")
    .message("plan.fileIntegrityMonitoring needs plan.tier P2: set plan.tier to P2, or plan.fileIntegrityMonitoring.state to Disabled")
    .reason(Reason::FieldValueForbidden).field_path(".fileIntegrityMonitoring"))]
#[x_kube(validation = Rule::new("!(self.tier == 'Free' && has(self.directOnboarding) && self.directOnboarding.state == 'Enabled')")
    .message("plan.directOnboarding needs plan.tier P1 or P2: set plan.tier to P1 or P2, or plan.directOnboarding.state to Disabled")
    .reason(Reason::FieldValueForbidden).field_path(".directOnboarding"))]
#[x_kube(validation = Rule::new("!(self.tier == 'Free' && has(self.otherExtensions) && self.otherExtensions.exists(e, e.state == 'Enabled'))")
    .message("plan.otherExtensions needs plan.tier P1 or P2: set plan.tier to P1 or P2, or the state of each extension to Disabled")
    .reason(Reason::FieldValueForbidden).field_path(".otherExtensions"))]
#[serde(rename_all = "camelCase")]
pub struct PlanSpec {
    /// P1, P2 or Free (off). There is no default, because P1 and P2 cost money per server and hour. A change between
    /// P1 and P2 is a single step; the subscription is never Free in between.
    pub tier: Tier,
    /// Whether single machines may differ from the subscription's plan. AllowOverrides: they may. Enforced: they may
    /// not, and existing overrides are reset. Unmanaged (the default): the setting in Azure is not changed. Azure
    /// calls this property enforce.
    #[serde(default)]
    pub inheritance: Inheritance,
    /// Scans snapshots of machine disks without an agent. Requires tier P2. Azure's name is AgentlessVmScanning. When
    /// absent, the setting in Azure is not changed (when the tier changes to P2, Azure applies its default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agentless_scanning: Option<AgentlessScanning>,
    /// File integrity monitoring through Defender for Endpoint. Requires tier P2, endpointIntegration and a Log
    /// Analytics workspace. Azure's name is FileIntegrityMonitoring. When absent, the setting in Azure is not changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_integrity_monitoring: Option<FileIntegrityMonitoring>,
    /// Shows and bills in this subscription the servers that were onboarded to Defender for Endpoint without Azure
    /// Arc. Only one subscription of a tenant can have it. Azure's name is MdeDesignatedSubscription. When absent, the
    /// setting in Azure is not changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct_onboarding: Option<DirectOnboarding>,
    /// Plan extensions that have no field of their own, by Azure's name. Extensions that are not listed are not
    /// changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub other_extensions: Vec<OtherExtension>,
}

/// Whether single machines may differ from the subscription's plan.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Inheritance {
    #[default]
    Unmanaged,
    AllowOverrides,
    Enforced,
}

/// Agentless scanning of machine disks.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AgentlessScanning {
    /// Enabled, Disabled, or Unmanaged (not changed). The default is Unmanaged. Defender CSPM shares this setting:
    /// while it keeps agentless scanning on, Disabled has no effect, and the condition Contested reports it.
    #[serde(default = "State::unmanaged")]
    pub state: State,
    /// Machines with one of these tags are not scanned. An empty list removes all tags. When absent, the tags in Azure
    /// are not changed. Used only while state is Enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50))]
    pub exclusion_tags: Option<Vec<ExclusionTag>>,
}

/// A tag that excludes machines from agentless scanning.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ExclusionTag {
    /// Name of the tag.
    #[schemars(length(min = 1, max = 512))]
    pub key: String,
    /// Value of the tag.
    #[schemars(length(max = 256))]
    pub value: String,
}

/// File integrity monitoring.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(validation = Rule::new("!(self.state == 'Enabled' && !has(self.workspaceId))")
    .message("plan.fileIntegrityMonitoring.workspaceId is required when state is Enabled: set it to the resource id of the Log Analytics workspace that receives the events")
    .reason(Reason::FieldValueRequired).field_path(".workspaceId"))]
#[serde(rename_all = "camelCase")]
pub struct FileIntegrityMonitoring {
    /// Enabled, Disabled, or Unmanaged (not changed). The default is Unmanaged.
    #[serde(default = "State::unmanaged")]
    pub state: State,
    /// Resource id of the Log Analytics workspace that receives the events. Required while state is Enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 512),
        transform = text(WORKSPACE_ID, "plan.fileIntegrityMonitoring.workspaceId must be the resource id of a Log Analytics workspace: /subscriptions/ID/resourceGroups/NAME/providers/Microsoft.OperationalInsights/workspaces/NAME")
    )]
    pub workspace_id: Option<String>,
    /// What is monitored. When absent, the preset Recommended applies. Used only while state is Enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<FileIntegrityRules>,
}

/// Direct onboarding of servers without Azure Arc.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DirectOnboarding {
    /// Enabled, Disabled, or Unmanaged (not changed). The default is Unmanaged.
    #[serde(default = "State::unmanaged")]
    pub state: State,
}

/// A plan extension by Azure's name.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OtherExtension {
    /// Azure's name of the extension, in Azure's spelling.
    #[schemars(
        length(max = 256),
        transform = text("^[A-Za-z][A-Za-z0-9]{0,63}$", "plan.otherExtensions must name each extension as Azure does, with letters and digits only, for example ContainerSensor")
    )]
    #[x_kube(validation = Rule::new("!(self.lowerAscii() in ['agentlessvmscanning', 'fileintegritymonitoring', 'mdedesignatedsubscription'])")
        .message("plan.otherExtensions must not contain an extension that has its own field: use plan.agentlessScanning (AgentlessVmScanning), plan.fileIntegrityMonitoring (FileIntegrityMonitoring) or plan.directOnboarding (MdeDesignatedSubscription)"))]
    pub name: String,
    /// Enabled, Disabled, or Unmanaged (not changed).
    pub state: State,
    /// Additional properties of the extension. Properties in Azure that are not listed here are not changed. Used only
    /// while state is Enabled.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8, "additionalProperties" = {"type": "string", "maxLength": 256}))]
    #[x_kube(validation = Rule::new("self.all(name, size(name) <= 64)").message("plan.otherExtensions.properties must not contain a name with more than 64 characters"))]
    pub properties: BTreeMap<String, String>,
}

/// Integration with Microsoft Defender for Endpoint.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(validation = Rule::new("!(self.state == 'Disabled' && has(self.unifiedSolution) && self.unifiedSolution == 'Enabled')")
    .message("endpointIntegration.unifiedSolution cannot be Enabled while endpointIntegration.state is Disabled: set endpointIntegration.state to Enabled, or endpointIntegration.unifiedSolution to Disabled")
    .reason(Reason::FieldValueForbidden).field_path(".unifiedSolution"))]
#[x_kube(validation = Rule::new("!(self.state == 'Disabled' && has(self.linux) && self.linux == 'Enabled')")
    .message("endpointIntegration.linux cannot be Enabled while endpointIntegration.state is Disabled: set endpointIntegration.state to Enabled, or endpointIntegration.linux to Disabled")
    .reason(Reason::FieldValueForbidden).field_path(".linux"))]
#[serde(rename_all = "camelCase")]
pub struct EndpointIntegration {
    /// Enabled, Disabled, or Unmanaged (not changed). The default is Enabled. Azure's setting is WDATP.
    #[serde(default = "State::enabled")]
    pub state: State,
    /// The unified Defender for Endpoint agent on Windows Server 2012 R2 and 2016: Enabled, Disabled, or Unmanaged
    /// (not changed). When absent, Enabled; while state is Disabled, Unmanaged. Azure's setting is
    /// WDATP_UNIFIED_SOLUTION.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unified_solution: Option<State>,
    /// Defender for Endpoint on Linux machines: Enabled, Disabled, or Unmanaged (not changed). When absent, Enabled;
    /// while state is Disabled, Unmanaged. Azure's setting is the inverted WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linux: Option<State>,
}

impl Default for EndpointIntegration {
    fn default() -> Self {
        Self {
            state: State::Enabled,
            unified_solution: None,
            linux: None,
        }
    }
}

/// Vulnerability assessment of the subscription's machines.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VulnerabilityAssessment {
    /// Enabled, Disabled (deletes the setting in Azure), or Unmanaged (not changed). The default is Enabled.
    #[serde(default = "State::enabled")]
    pub state: State,
    /// Provider of the assessment. The only value is DefenderVulnerabilityManagement (Azure's MdeTvm).
    #[serde(default)]
    pub provider: VulnerabilityAssessmentProvider,
}

impl Default for VulnerabilityAssessment {
    fn default() -> Self {
        Self {
            state: State::Enabled,
            provider: VulnerabilityAssessmentProvider::default(),
        }
    }
}

/// Providers of vulnerability assessment.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum VulnerabilityAssessmentProvider {
    #[default]
    DefenderVulnerabilityManagement,
}

/// Azure resource providers that the subscription needs.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ResourceProviders {
    /// What to do if Microsoft.Security is not registered. Register (the default): register it. Report: only report
    /// it; the object is Stalled.
    #[serde(default)]
    pub registration: Registration,
}

/// Whether a missing registration is repaired or only reported.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Registration {
    #[default]
    Register,
    Report,
}

/// A Log Analytics workspace whose Defender for Servers solution is reported.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Workspace {
    /// Resource id of the workspace.
    #[schemars(
        length(max = 512),
        transform = text(WORKSPACE_ID, "workspaces must contain resource ids of Log Analytics workspaces: /subscriptions/ID/resourceGroups/NAME/providers/Microsoft.OperationalInsights/workspaces/NAME")
    )]
    pub resource_id: String,
    /// What to do with the workspace. The only value is Reported: its state in Azure is shown in status.workspaces.
    #[serde(default)]
    pub state: WorkspaceState,
}

/// What to do with a workspace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum WorkspaceState {
    #[default]
    Reported,
}

/// What happens in Azure when the object is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DeletionPolicy {
    #[default]
    Retain,
}
