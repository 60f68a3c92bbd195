//! The status of a `ServerProtection`. Enumerations are plain strings, so that an older controller can read them after
//! a rollback. Nothing here changes by itself (docs/architecture.md 2.5).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::machines::MachinesStatus;
use crate::PendingOperation;

/// The last observation of Azure, and what the controller did.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServerProtectionStatus {
    /// Generation of the spec that this status describes; -1 before the first reconcile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready summarizes the others. Reconciling, Stalled, Contested and Suspended are present only while they are
    /// True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// For display only: text for the columns of kubectl get. Do not rely on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<DisplayStatus>,
    /// Display name of the subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription_name: Option<String>,
    /// Whether this object may write to its subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimStatus>,
    /// The plan as reported by Azure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanStatus>,
    /// Other Defender plans of the subscription that matter for its servers, as last read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_plans: Option<OtherPlansStatus>,
    /// Azure actions that the spec needs and the identity lacks, as last known (condition PermissionsSufficient).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub missing_actions: Vec<String>,
    /// A write to Azure whose result is not recorded yet. After a crash, the next reconcile finds out what became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_operation: Option<PendingOperation>,
    /// Number of fields in which Azure differs from the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_count: Option<i32>,
    /// Fields in which Azure differs from the spec, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["field".into()]))]
    pub drift: Vec<Drift>,
    /// Fields that were repaired recently. After three repairs of a field within six intervals, enforcement of the
    /// field is paused until suppressedUntilTime.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["field".into()]))]
    pub contested: Vec<ContestedField>,
    /// The workspaces of the spec, as last observed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["resourceId".into()]))]
    pub workspaces: Vec<WorkspaceStatus>,
    /// The machines of the subscription, as found by the newest scan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machines: Option<MachinesStatus>,
    /// The SecurityConnectors that refer to this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connectors: Option<ConnectorsStatus>,
    /// When Azure was last read completely. Updated together with other changes, otherwise hourly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_observed_time: Option<Time>,
    /// Last handled value of the annotation serverprotection.dev/reconcile-requested-at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_request: Option<String>,
    /// Last handled value of the annotation reconcile.fluxcd.io/requestedAt, as in the objects of Flux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}

/// For display only: text for the columns of kubectl get. Do not rely on it; its form may change at any time.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DisplayStatus {
    /// Display name of the subscription, or its id while the name is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// Enforce, Observe or Suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Protected and eligible machines, e.g. 4210/4290.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machines: Option<String>,
    /// Ready and total connectors, e.g. 2/3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connectors: Option<String>,
}

/// Number of SecurityConnectors.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorsStatus {
    /// Number of SecurityConnectors that refer to this object.
    pub total: i32,
    /// Number of them that are Ready.
    pub ready: i32,
}

/// Whether this object may write to its subscription (or connector). It must have proven its access.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClaimStatus {
    /// Held: this object alone may write. Waiting: it proved its access, but another object holds the claim. Releasing:
    /// it is being deleted and still works on Azure. None: it lost the claim.
    pub state: String,
    /// Uid of the object that the claim belongs to. A claim with another uid, as in an object restored from a backup,
    /// does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The credential that proved that it may write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<ClaimCredential>,
    /// When this state began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// When this object first found that Azure matches its spec, or first wrote to Azure. Until then, changes that
    /// lower protection wait for approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub established_since: Option<Time>,
    /// Since when its access is denied. Only a new proof removes this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied_since: Option<Time>,
    /// It cannot take the claim before this time, because the holder of another namespace was just deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
}

/// The credential that proved the access of an object.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClaimCredential {
    /// Kind of the credential object.
    pub kind: String,
    /// Name of the credential object.
    pub name: String,
    /// Uid of the credential object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// The Defender for Servers plan as reported by Azure.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// P1, P2 or Free.
    pub tier: String,
    /// FullyCovered, PartiallyCovered (some machines differ from the subscription's plan) or NotCovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<String>,
    /// Who manages the plan, in Azure's words, when it is managed outside of Azure Resource Manager, for example by a
    /// rule of the Defender portal. The controller does not write such a plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
    /// When the free trial ends. Absent when no trial runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_trial_end_time: Option<Time>,
    /// When the plan was last enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enablement_time: Option<Time>,
    /// Extensions of the plan, by Azure's names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub extensions: Vec<ExtensionStatus>,
}

/// Other Defender plans of the subscription that matter for its servers.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct OtherPlansStatus {
    /// Enabled or Disabled. Without foundational CSPM, Azure gives no recommendations for the machines. Absent when
    /// Azure does not list it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foundational_cspm: Option<String>,
    /// Plans that keep agentless scanning on: CloudPosture (Defender CSPM), Containers. While there are any,
    /// plan.agentlessScanning cannot switch it off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub agentless_scanning: Vec<String>,
}

/// A plan extension.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionStatus {
    /// Azure's name of the extension.
    pub name: String,
    /// Enabled or Disabled.
    pub state: String,
    /// Result of enabling the extension: Succeeded, Failed, ResultLost (the response did not arrive) or NotReported
    /// (it was already enabled). Azure reports the result only in the response to a write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioning: Option<String>,
    /// Azure's message about the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A field in which Azure differs from the spec.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// Path of the field in the spec.
    pub field: String,
    /// Value in the spec.
    pub desired: String,
    /// Value in Azure.
    pub observed: String,
    /// When the difference was first observed.
    pub first_observed_time: Time,
}

/// A field that the controller repaired recently.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ContestedField {
    /// Path of the field in the spec.
    pub field: String,
    /// Value that the controller wrote.
    pub desired: String,
    /// Value that it found before each repair.
    pub observed: String,
    /// Number of repairs of this field in the series.
    pub repairs: i32,
    /// Time of the first repair of the series.
    pub first_repair_time: Time,
    /// Time of the latest repair.
    pub last_repair_time: Time,
    /// Enforcement of this field is paused until this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppressed_until_time: Option<Time>,
    /// Length of the pause in hours: 1, then doubled each time up to 24.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppression_hours: Option<i32>,
}

/// A workspace, as last observed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceStatus {
    /// Resource id of the workspace.
    pub resource_id: String,
    /// Enabled (the solution Security exists), Disabled, or Unknown (it could not be read).
    pub solution: String,
    /// Azure's error if the solution could not be read, otherwise its provisioning state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
