//! What the controller saw and did. Enumerations are plain strings, so that an older controller can read them after a
//! rollback; nothing here changes by itself.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ClaimStatus, ContestedField, Drift};

/// What stands in Azure, as last seen.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecurityConnectorStatus {
    /// Generation of the spec that this status speaks about; -1 before the first visit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready is the summary. Reconciling, Stalled, Contested and Suspended are present only while they are True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The connector in Azure that this object works on. It is kept, so that a deletion works after the ServerProtection
    /// is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<ConnectorTarget>,
    /// Whether this object owns its connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimStatus>,
    /// Id of the AWS account, or number of the GCP project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Name of the account or project, as Azure tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_name: Option<String>,
    /// Plan of the account's servers as Azure answered it: P1, P2 or Free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// When the free trial of the account ends, while one runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_trial_ends: Option<Time>,
    /// Whether Azure reaches the account: Healthy, NotHealthy or Unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// What Azure says is wrong with the connection (the first 8).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub issues: Vec<ConnectorIssue>,
    /// The Azure Arc machines of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machines: Option<ConnectorMachines>,
    /// Connectors that Azure created for the members of the organization. They are counted and never touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<i32>,
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
    /// When Azure was last read completely; written with another change, or hourly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_observed: Option<Time>,
    /// Value of the "reconcile now" annotation that was handled last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}

/// The connector in Azure, and how to get there.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorTarget {
    /// Resource id of the connector.
    pub id: String,
    /// Id of the Azure subscription.
    pub subscription_id: String,
    /// The identity that works on it: the credentialRef of the ServerProtection when it was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<TargetCredential>,
    /// Mode of the ServerProtection when it was last seen: Enforce or Observe.
    pub mode: String,
}

/// The Azure identity that works on the connector.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TargetCredential {
    /// Kind of the credential object.
    pub kind: String,
    /// Name of the credential object.
    pub name: String,
}

/// Something that is wrong with the connection.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorIssue {
    /// Azure's name of the issue.
    pub name: String,
    /// Azure's description.
    pub message: String,
    /// What to do about it, in Azure's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// The Azure Arc machines of the account.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorMachines {
    /// Protected machines of those that should be, as 41/42.
    pub summary: String,
    /// All Azure Arc machines of the account.
    pub total: i64,
    /// Machines that should be protected.
    pub eligible: i64,
    /// Machines that are protected.
    pub protected: i64,
}
