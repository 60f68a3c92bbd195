//! What a user asks for.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{file_integrity::FileIntegrityRules, machines::Machines, status::ServerProtectionStatus};

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
        json_path = ".status.subscriptionName"
    ),
    printcolumn(name = "Plan", type_ = "string", json_path = ".status.plan.tier"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Drift", type_ = "integer", json_path = ".status.driftCount"),
    printcolumn(name = "Protected", type_ = "string", json_path = ".status.machines.summary"),
    printcolumn(
        name = "Connectors",
        type_ = "string",
        json_path = ".status.connectors.summary"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Subscription-ID",
        type_ = "string",
        json_path = ".spec.subscriptionId",
        priority = 1
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    ),
    printcolumn(
        name = "Observed",
        type_ = "date",
        json_path = ".status.lastObserved",
        priority = 1
    ),
    printcolumn(
        name = "Coverage",
        type_ = "string",
        json_path = ".status.plan.coverage",
        priority = 1
    )
)]
#[cfg_attr(test, kube(cel))]
#[x_kube(validation = Rule::new("!(has(self.plan.fileIntegrityMonitoring) && self.plan.fileIntegrityMonitoring.state == 'Enabled' && self.endpointIntegration.state == 'Disabled')")
    .message("plan.fileIntegrityMonitoring needs endpointIntegration: set endpointIntegration.state to Enabled, or plan.fileIntegrityMonitoring.state to Disabled")
    .reason(Reason::FieldValueForbidden).field_path(".plan.fileIntegrityMonitoring"))]
#[serde(rename_all = "camelCase")]
pub struct ServerProtectionSpec {
    /// Id of the Azure subscription: a GUID in lower case. It cannot be changed: create another object for
    /// another subscription. One object owns a subscription; a second one for the same subscription waits as Stalled.
    #[schemars(
        length(min = 36, max = 36),
        regex(pattern = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
    )]
    #[x_kube(validation = Rule::new("self == oldSelf").message("subscriptionId cannot be changed: create another ServerProtection for another subscription"))]
    pub subscription_id: String,
    /// The Azure identity to work with: an AzureCredential in the same namespace. No other identity is ever used.
    // Required by the schema; an object from before that may still be stored without it, and must be readable.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub credential_ref: Option<CredentialRef>,
    /// Enforce: differences are repaired in Azure. Observe: nothing is ever written to Azure; differences are
    /// reported in status.drift and in the condition Drifted.
    #[serde(default)]
    pub mode: Mode,
    /// true pauses this object: Azure is neither read nor written, status keeps what was last seen.
    #[serde(default)]
    pub suspend: bool,
    /// How often Azure is compared with this object, from 1m to 24h (with 10 % jitter). To run at once, change the
    /// annotation serverprotection.dev/reconcile-requested-at.
    #[serde(default = "ten_minutes")]
    #[schemars(
        length(min = 2, max = 16),
        regex(pattern = r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$")
    )]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m') && duration(self) <= duration('24h')").message("interval must lie between 1m and 24h"))]
    pub interval: String,
    /// The Defender for Servers plan of the subscription and its extensions.
    pub plan: PlanSpec,
    /// Integration with Microsoft Defender for Endpoint, which puts the MDE.Windows / MDE.Linux extension on
    /// machines. Enabled unless said otherwise.
    #[serde(default)]
    pub endpoint_integration: EndpointIntegration,
    /// Vulnerability assessment of the machines. Enabled unless said otherwise.
    #[serde(default)]
    pub vulnerability_assessment: VulnerabilityAssessment,
    /// Azure resource providers that the subscription needs.
    #[serde(default)]
    pub resource_providers: ResourceProviders,
    /// Log Analytics workspaces whose Defender for Servers solution ("Security") is watched and reported in
    /// status.workspaces. Nothing is written to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["resourceId".into()]))]
    pub workspaces: Vec<Workspace>,
    /// How the machines are verified: whether the MDE.Windows / MDE.Linux extension is healthy on each of them. Nothing
    /// is ever installed here; Defender for Cloud does that.
    #[serde(default)]
    pub machines: Machines,
    /// What happens in Azure when this object is deleted. Retain: nothing, the subscription stays as it is.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

fn ten_minutes() -> String {
    "10m".into()
}

/// A reference to the Azure identity to work with.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CredentialRef {
    /// Kind of the referenced object: AzureCredential.
    #[serde(default)]
    pub kind: CredentialKind,
    /// Name of the referenced object in the same namespace.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub name: String,
}

/// Kinds that hold an Azure identity.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CredentialKind {
    #[default]
    AzureCredential,
}

/// Whether differences are repaired or only reported.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Mode {
    #[default]
    Enforce,
    Observe,
}

/// Enabled: kept on. Disabled: kept off. Unmanaged: left as it is found.
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
    .message("plan.directOnboarding needs plan.tier P1 or P2: set plan.tier, or plan.directOnboarding.state to Disabled")
    .reason(Reason::FieldValueForbidden).field_path(".directOnboarding"))]
#[x_kube(validation = Rule::new("!(self.tier == 'Free' && has(self.otherExtensions) && self.otherExtensions.exists(e, e.state == 'Enabled'))")
    .message("plan.otherExtensions that are Enabled need plan.tier P1 or P2")
    .reason(Reason::FieldValueForbidden).field_path(".otherExtensions"))]
#[serde(rename_all = "camelCase")]
pub struct PlanSpec {
    /// P1, P2 or Free (off). There is no default: it costs money per server and hour. P1 and P2 are switched into each
    /// other in one step; a subscription is never sent through Free on the way.
    pub tier: Tier,
    /// Whether single machines may differ from the subscription's plan. AllowOverrides: they may. Enforced: they may
    /// not, and existing exceptions are reset. Unmanaged: left as found. Azure calls this property enforce.
    #[serde(default)]
    pub inheritance: Inheritance,
    /// Scanning of machine disks by snapshots, without an agent; needs tier P2. Azure's extension
    /// AgentlessVmScanning. Absent: left as found (a move to P2 takes Azure's own default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agentless_scanning: Option<AgentlessScanning>,
    /// File integrity monitoring through Defender for Endpoint; needs tier P2, endpointIntegration and a Log Analytics
    /// workspace. Azure's extension FileIntegrityMonitoring. Absent: left as found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_integrity_monitoring: Option<FileIntegrityMonitoring>,
    /// Shows and bills servers that were onboarded to Defender for Endpoint without Azure Arc in this subscription.
    /// Only one subscription of a tenant can have it. Azure's extension MdeDesignatedSubscription. Absent: left as found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct_onboarding: Option<DirectOnboarding>,
    /// Extensions of the plan that have no field of their own yet, by Azure's name. Extensions that are named nowhere
    /// are left as found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
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
    /// Enabled, Disabled, or Unmanaged (left as found). Defender CSPM shares this switch: while it keeps agentless
    /// scanning on, Disabled cannot take effect and the condition Contested says so.
    #[serde(default = "State::unmanaged")]
    pub state: State,
    /// Machines with one of these tags are not scanned. Absent: the tags in Azure are kept; an empty list clears them.
    /// Used only while state is Enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50))]
    pub exclusion_tags: Option<Vec<ExclusionTag>>,
}

/// A tag by which machines are left out of agentless scanning.
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
    .message("plan.fileIntegrityMonitoring.workspaceId is required when state is Enabled: the id of the Log Analytics workspace for the events")
    .reason(Reason::FieldValueRequired).field_path(".workspaceId"))]
#[serde(rename_all = "camelCase")]
pub struct FileIntegrityMonitoring {
    /// Enabled, Disabled, or Unmanaged (left as found).
    #[serde(default = "State::unmanaged")]
    pub state: State,
    /// Resource id of the Log Analytics workspace that receives the events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 512),
        regex(
            pattern = r"^/[sS]ubscriptions/[0-9a-fA-F-]{36}/[rR]esource[gG]roups/[^/]+/providers/[mM]icrosoft\.[oO]perational[iI]nsights/workspaces/[^/]+$"
        )
    )]
    pub workspace_id: Option<String>,
    /// What is monitored. Absent: the preset Recommended. Used only while state is Enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<FileIntegrityRules>,
}

/// Direct onboarding of servers without Azure Arc.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DirectOnboarding {
    /// Enabled, Disabled, or Unmanaged (left as found).
    #[serde(default = "State::unmanaged")]
    pub state: State,
}

/// An extension of the plan by Azure's own name.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OtherExtension {
    /// Azure's name of the extension, in its spelling.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z][A-Za-z0-9]*$"))]
    #[x_kube(validation = Rule::new("!(self.lowerAscii() in ['agentlessvmscanning', 'fileintegritymonitoring', 'mdedesignatedsubscription'])")
        .message("this extension has a field of its own: use plan.agentlessScanning (AgentlessVmScanning), plan.fileIntegrityMonitoring (FileIntegrityMonitoring) or plan.directOnboarding (MdeDesignatedSubscription)"))]
    pub name: String,
    /// Enabled, Disabled, or Unmanaged (left as found).
    pub state: State,
    /// Additional properties of the extension. Each key given here is kept; other keys in Azure stay as they are.
    /// Used only while state is Enabled.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub properties: BTreeMap<String, String>,
}

/// Integration with Microsoft Defender for Endpoint.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(validation = Rule::new("!(self.state == 'Disabled' && has(self.unifiedSolution) && self.unifiedSolution == 'Enabled')")
    .message("endpointIntegration.unifiedSolution cannot be Enabled while endpointIntegration.state is Disabled")
    .reason(Reason::FieldValueForbidden).field_path(".unifiedSolution"))]
#[x_kube(validation = Rule::new("!(self.state == 'Disabled' && has(self.linux) && self.linux == 'Enabled')")
    .message("endpointIntegration.linux cannot be Enabled while endpointIntegration.state is Disabled")
    .reason(Reason::FieldValueForbidden).field_path(".linux"))]
#[serde(rename_all = "camelCase")]
pub struct EndpointIntegration {
    /// Enabled, Disabled, or Unmanaged (left as found). Azure's setting WDATP.
    #[serde(default = "State::enabled")]
    pub state: State,
    /// The unified Defender for Endpoint agent on Windows Server 2012 R2 and 2016. Absent: Enabled, and left as
    /// found while state is Disabled. Azure's setting WDATP_UNIFIED_SOLUTION.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unified_solution: Option<State>,
    /// Defender for Endpoint on Linux machines. Absent: Enabled, and left as found while state is Disabled. Azure's
    /// setting is the inverted WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW.
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
    /// Enabled, Disabled (the setting is deleted), or Unmanaged (left as found).
    #[serde(default = "State::enabled")]
    pub state: State,
    /// Who assesses: DefenderVulnerabilityManagement (Azure's MdeTvm).
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
    /// Register: Microsoft.Security is registered when it is not. Report: a missing registration ends as Stalled.
    #[serde(default)]
    pub registration: Registration,
}

/// Whether a missing registration is mended or only reported.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Registration {
    #[default]
    Register,
    Report,
}

/// A Log Analytics workspace whose Defender for Servers solution is watched.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Workspace {
    /// Resource id of the workspace.
    #[schemars(
        length(max = 512),
        regex(
            pattern = r"^/[sS]ubscriptions/[0-9a-fA-F-]{36}/[rR]esource[gG]roups/[^/]+/providers/[mM]icrosoft\.[oO]perational[iI]nsights/workspaces/[^/]+$"
        )
    )]
    pub resource_id: String,
    /// Reported: what stands in Azure is shown in status.workspaces.
    #[serde(default)]
    pub state: WorkspaceState,
}

/// What is done about a workspace.
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
