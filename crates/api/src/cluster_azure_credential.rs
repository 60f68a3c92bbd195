//! `ClusterAzureCredential`: an Azure identity of the platform, and which namespaces may use it for what.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    azure_credential::{AzureCredentialStatus, ClientCertificate, ClientSecret, WorkloadIdentity},
    patterns::{GUID, MANAGEMENT_GROUP, each, text},
};

/// An Azure identity for objects of the namespaces that its grants select. It can be used only for the subscriptions
/// that a grant names. Azure RBAC decides what the identity may do there.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "serverprotection.dev",
    version = "v1alpha1",
    kind = "ClusterAzureCredential",
    plural = "clusterazurecredentials",
    shortname = "cazcred",
    category = "defender",
    status = "AzureCredentialStatus",
    derive = "PartialEq",
    doc = "ClusterAzureCredential is an Azure identity that objects of several namespaces work with, each for the subscriptions that a grant allows.",
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Client", type_ = "string", json_path = ".spec.clientId"),
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
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Used-By",
        type_ = "integer",
        json_path = ".status.usedBy",
        priority = 1
    ),
    printcolumn(name = "Tenant", type_ = "string", json_path = ".spec.tenantId", priority = 1),
    printcolumn(
        name = "Certificate-Expires",
        type_ = "string",
        json_path = ".status.certificateExpirationTime",
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
#[x_kube(validation = Rule::new("(self.type == 'WorkloadIdentity') == has(self.workloadIdentity)")
    .message("workloadIdentity must be set when type is WorkloadIdentity, and must not be set otherwise").reason(Reason::FieldValueInvalid).field_path(".workloadIdentity"))]
#[x_kube(validation = Rule::new("(self.type == 'ClientSecret') == has(self.clientSecret)")
    .message("clientSecret must be set when type is ClientSecret, and must not be set otherwise").reason(Reason::FieldValueInvalid).field_path(".clientSecret"))]
#[x_kube(validation = Rule::new("(self.type == 'ClientCertificate') == has(self.clientCertificate)")
    .message("clientCertificate must be set when type is ClientCertificate, and must not be set otherwise").reason(Reason::FieldValueInvalid).field_path(".clientCertificate"))]
#[x_kube(validation = Rule::new("self.type == 'ManagedIdentity' || has(self.clientId)")
    .message("clientId is required unless type is ManagedIdentity: set it to the application (client) id of the app registration or managed identity").reason(Reason::FieldValueRequired).field_path(".clientId"))]
#[x_kube(validation = Rule::new("!has(self.grants) || (self.grants.map(grant, has(grant.subscriptions) ? size(grant.subscriptions) : 0).sum() <= 1024 && self.grants.map(grant, has(grant.managementGroups) ? size(grant.managementGroups) : 0).sum() <= 256 && self.grants.map(grant, has(grant.referencedSubscriptions) ? size(grant.referencedSubscriptions) : 0).sum() <= 512)")
    .message("grants must not contain more than 1024 subscriptions, 256 managementGroups and 512 referencedSubscriptions, counted over all grants: grant a management group instead of its subscriptions, or create another ClusterAzureCredential")
    .reason(Reason::FieldValueInvalid).field_path(".grants"))]
#[serde(rename_all = "camelCase")]
pub struct ClusterAzureCredentialSpec {
    /// Id of the Entra tenant: a GUID in lower case.
    #[schemars(
        length(max = 256),
        transform = text(GUID, "tenantId must be the id of an Entra tenant, a GUID in lower case, for example 6f1c0d7e-0000-4000-8000-000000000001 (az account show --query tenantId prints it)")
    )]
    pub tenant_id: String,
    /// Application (client) id of the app registration or managed identity: a GUID in lower case. Optional when type
    /// is ManagedIdentity: the system-assigned identity is then used, or the only user-assigned one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 256),
        transform = text(GUID, "clientId must be the application (client) id of an app registration or managed identity, a GUID in lower case, for example 6f1c0d7e-0000-4000-8000-000000000001")
    )]
    pub client_id: Option<String>,
    /// How the identity authenticates. WorkloadIdentity uses a token of a service account in the namespace of the
    /// operator and needs no secret. ManagedIdentity uses the managed identity of the node or of the hosting service.
    /// ClientSecret and ClientCertificate use a Secret in the namespace of the operator.
    #[serde(rename = "type")]
    pub type_: ClusterCredentialType,
    /// Settings of workload identity federation. The service account is in the namespace of the operator. Required when
    /// type is WorkloadIdentity; not allowed otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_identity: Option<WorkloadIdentity>,
    /// The client secret. The Secret is in the namespace of the operator. Required when type is ClientSecret; not
    /// allowed otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<ClientSecret>,
    /// The client certificate. The Secret is in the namespace of the operator. Required when type is ClientCertificate;
    /// not allowed otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
    /// Who may use the identity for what. One grant must cover the namespace of an object, its subscription and the
    /// subscriptions of all resource ids in its spec. Without grants, nobody may use the identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub grants: Vec<Grant>,
}

/// How an identity of the platform authenticates.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ClusterCredentialType {
    WorkloadIdentity,
    ManagedIdentity,
    ClientSecret,
    ClientCertificate,
}

/// Lets the objects of some namespaces use the identity for some subscriptions.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = Rule::new("has(self.namespaceSelector) && ((has(self.namespaceSelector.matchLabels) && size(self.namespaceSelector.matchLabels) > 0) || (has(self.namespaceSelector.matchExpressions) && size(self.namespaceSelector.matchExpressions) > 0))")
    .message("grants must contain a namespaceSelector with matchLabels or matchExpressions, because an empty one would select every namespace; for the namespace team-a write namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: team-a}}")
    .reason(Reason::FieldValueRequired).field_path(".namespaceSelector"))]
#[x_kube(validation = Rule::new("(has(self.subscriptions) && size(self.subscriptions) > 0) || (has(self.managementGroups) && size(self.managementGroups) > 0)")
    .message("grants must contain subscriptions or managementGroups: without them a grant allows nothing")
    .reason(Reason::FieldValueRequired).field_path(".subscriptions"))]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// Selects namespaces by their labels. Kubernetes sets the label kubernetes.io/metadata.name to the name of each
    /// namespace. Required; it must contain at least one requirement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<NamespaceSelector>,
    /// Ids of the subscriptions that objects of these namespaces may protect: GUIDs in lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 512),
        inner(length(max = 64)),
        transform = each(GUID, "grants.subscriptions must contain ids of Azure subscriptions, GUIDs in lower case, for example 6f1c0d7e-0000-4000-8000-000000000001")
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub subscriptions: Vec<String>,
    /// Ids of management groups: objects of these namespaces may protect the subscriptions below them. The identity must
    /// be able to read the subscriptions. A subscription that moves is recognized within 15 minutes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(max = 90)),
        transform = each(MANAGEMENT_GROUP, "grants.managementGroups must contain ids of management groups, not their display names or resource ids, for example contoso-production (az account management-group list prints them as name)")
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub management_groups: Vec<String>,
    /// Ids of further subscriptions that may appear in the resource ids of a spec, such as those of Log Analytics
    /// workspaces and private link scopes. They cannot be protected with this grant. The subscription that an object
    /// protects, and those in subscriptions, need not be repeated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 128),
        inner(length(max = 64)),
        transform = each(GUID, "grants.referencedSubscriptions must contain ids of Azure subscriptions, GUIDs in lower case, for example 6f1c0d7e-0000-4000-8000-000000000001")
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub referenced_subscriptions: Vec<String>,
}

/// Selects namespaces by their labels. A namespace must meet all requirements.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Labels that the namespace must have, with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 4, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    #[x_kube(validation = Rule::new("self.all(key, size(key) <= 317)").message("grants.namespaceSelector.matchLabels must not contain a key with more than 317 characters"))]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub match_expressions: Vec<NamespaceRequirement>,
}

/// A requirement of a selector.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)")
    .message("grants.namespaceSelector.matchExpressions must contain values when operator is In or NotIn, and must not contain values otherwise")
    .reason(Reason::FieldValueInvalid).field_path(".values"))]
#[serde(rename_all = "camelCase")]
pub struct NamespaceRequirement {
    /// Key of the label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// In: the label has one of the values. NotIn: it has none of them, or is missing. Exists: the label is there.
    /// DoesNotExist: it is not.
    pub operator: SelectorOperator,
    /// Values for In and NotIn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// How a requirement compares.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SelectorOperator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}
