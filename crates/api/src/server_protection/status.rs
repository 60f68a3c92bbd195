//! What the controller saw and did. Enumerations are plain strings, so that an older controller can read them after a
//! rollback; nothing here changes by itself.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::machines::MachinesStatus;

/// What stands in Azure, as last seen.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServerProtectionStatus {
    /// Generation of the spec that this status speaks about; -1 before the first visit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready is the summary. Reconciling, Stalled, Contested and Suspended are present only while they are True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Display name of the subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription_name: Option<String>,
    /// Whether this object owns its subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimStatus>,
    /// The plan as Azure answered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanStatus>,
    /// Azure actions that the spec needs and the identity lacks, as last known (condition PermissionsSufficient).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub missing_actions: Vec<String>,
    /// Number of fields in which Azure differs from the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_count: Option<i32>,
    /// The fields in which Azure differs from the spec (the first 16).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["field".into()]))]
    pub drift: Vec<Drift>,
    /// Fields that were repaired lately. A field repaired three times within six intervals is left alone until heldOffUntil.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["field".into()]))]
    pub contested: Vec<ContestedField>,
    /// The workspaces of the spec, as last seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["resourceId".into()]))]
    pub workspaces: Vec<WorkspaceStatus>,
    /// The machines of the subscription, as the newest scan found them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machines: Option<MachinesStatus>,
    /// The SecurityConnectors that refer to this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connectors: Option<ConnectorsStatus>,
    /// When Azure was last read completely; written with another change, or hourly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_observed: Option<Time>,
    /// Value of the "reconcile now" annotation that was handled last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}

/// SecurityConnectors, counted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorsStatus {
    /// Ready connectors of all, as 2/3.
    pub summary: String,
    /// All SecurityConnectors that refer to this object.
    pub total: i32,
    /// Those of them that are Ready.
    pub ready: i32,
}

/// Ownership of the subscription.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClaimStatus {
    /// Held or Conflicted.
    pub state: String,
    /// When this state began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The object that holds the subscription, as namespace/name, when state is Conflicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// When this object first found Azure as its spec demands, or first wrote to it. Until then, changes that lower
    /// protection wait for approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub established_since: Option<Time>,
}

/// The Defender for Servers plan as Azure answered it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// P1, P2 or Free.
    pub tier: String,
    /// FullyCovered, PartiallyCovered (machines differ from the subscription's plan) or NotCovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<String>,
    /// When the free trial ends, while one runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_trial_ends: Option<Time>,
    /// When the plan was last switched on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled_since: Option<Time>,
    /// Extensions of the plan, by Azure's names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub extensions: Vec<ExtensionStatus>,
}

/// One extension of the plan.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionStatus {
    /// Azure's name of the extension.
    pub name: String,
    /// Enabled or Disabled.
    pub state: String,
    /// What Azure told when the extension was switched on: Succeeded, Failed, ResultLost (the answer never arrived) or
    /// NotReported (it was on before). Azure tells it only in the answer to a write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioning: Option<String>,
    /// Azure's own words for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A field in which Azure differs from the spec.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// Path of the field in the spec.
    pub field: String,
    /// What the spec demands.
    pub desired: String,
    /// What Azure answered.
    pub observed: String,
    /// When the difference was first seen.
    pub since: Time,
}

/// A field that this controller repaired lately.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ContestedField {
    /// Path of the field in the spec.
    pub field: String,
    /// What was written each time.
    pub desired: String,
    /// What was found each time.
    pub observed: String,
    /// Repairs of this field since the first one of the series.
    pub repairs: i32,
    /// First repair of the series.
    pub first_repair: Time,
    /// Latest repair.
    pub last_repair: Time,
    /// Until then the field is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_off_until: Option<Time>,
    /// How long it is left alone, in hours: 1, doubling to 24.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_hours: Option<i32>,
}

/// A workspace as last seen.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceStatus {
    /// Resource id of the workspace.
    pub resource_id: String,
    /// Enabled (the solution Security is there), Disabled, or Unknown (it could not be read).
    pub solution: String,
    /// Azure's words when it could not be read, or its provisioning state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
