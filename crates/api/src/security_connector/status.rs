//! The status of a `SecurityConnector`. Enumerations are plain strings, so that an older controller can read them
//! after a rollback. Nothing here changes by itself (docs/architecture.md 2.5).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ClaimStatus, ContestedField, Drift, PendingOperation};

/// The last observation of Azure, and what the controller did.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecurityConnectorStatus {
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
    pub display: Option<ConnectorDisplay>,
    /// The connector in Azure that this object manages. It is stored so that a deletion works after the
    /// ServerProtection is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<ConnectorTarget>,
    /// Whether this object may write its connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimStatus>,
    /// Id of the AWS account, or number of the GCP project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Name of the account or project as reported by Azure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_name: Option<String>,
    /// Plan of the account's servers as reported by Azure: P1, P2 or Free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// When the free trial of the account ends. Absent when no trial runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_trial_end_time: Option<Time>,
    /// Whether Azure can access the account: Healthy, NotHealthy or Unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// Problems with the connection as reported by Azure, at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub issues: Vec<ConnectorIssue>,
    /// The Azure Arc machines of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machines: Option<ConnectorMachines>,
    /// Number of connectors that Azure created for the members of the organization. The operator does not change them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<i32>,
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
pub struct ConnectorDisplay {
    /// Plan of the account's servers in Azure, else the one that the spec or the ServerProtection demands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Like status.health; absent while the connector is not observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// Protected and eligible machines, e.g. 41/42; absent while the connector is not observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machines: Option<String>,
}

/// The connector in Azure, and the identity that accesses it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorTarget {
    /// Resource id of the connector.
    pub id: String,
    /// Id of the Azure subscription.
    pub subscription_id: String,
    /// The identity that manages the connector: the last observed credentialRef of the ServerProtection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<TargetCredential>,
    /// Last observed mode of the ServerProtection: Enforce or Observe.
    pub mode: String,
}

/// The Azure identity that manages the connector.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TargetCredential {
    /// Kind of the credential object.
    pub kind: String,
    /// Name of the credential object.
    pub name: String,
}

/// A problem with the connection.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorIssue {
    /// Name of the problem in Azure.
    pub name: String,
    /// Description by Azure.
    pub message: String,
    /// What to do about it, as described by Azure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// The Azure Arc machines of the account.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorMachines {
    /// Number of Azure Arc machines of the account.
    pub total: i64,
    /// Number of machines that should be protected.
    pub eligible: i64,
    /// Number of machines that are protected.
    pub protected: i64,
}
