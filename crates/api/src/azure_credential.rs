//! `AzureCredential`: the Azure identity of a tenant.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::patterns::{GUID, OBJECT_NAME, text};

/// An Azure identity for objects of the same namespace. Azure RBAC decides what the identity may do.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "serverprotection.dev",
    version = "v1alpha1",
    kind = "AzureCredential",
    plural = "azurecredentials",
    shortname = "azcred",
    category = "defender",
    namespaced,
    status = "AzureCredentialStatus",
    derive = "PartialEq",
    doc = "AzureCredential is an Azure identity that objects of the same namespace work with.",
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
#[serde(rename_all = "camelCase")]
pub struct AzureCredentialSpec {
    /// Id of the Entra tenant: a GUID in lower case.
    #[schemars(
        length(max = 256),
        transform = text(GUID, "tenantId must be the id of an Entra tenant, a GUID in lower case, for example 6f1c0d7e-0000-4000-8000-000000000001 (az account show --query tenantId prints it)")
    )]
    pub tenant_id: String,
    /// Application (client) id of the app registration or managed identity: a GUID in lower case.
    #[schemars(
        length(max = 256),
        transform = text(GUID, "clientId must be the application (client) id of an app registration or managed identity, a GUID in lower case, for example 6f1c0d7e-0000-4000-8000-000000000001")
    )]
    pub client_id: String,
    /// How the identity authenticates. WorkloadIdentity uses a token of a service account of this namespace and needs
    /// no secret. ClientSecret uses a client secret from a Secret of this namespace. ClientCertificate uses a
    /// certificate and its private key from a Secret of this namespace.
    #[serde(rename = "type")]
    pub type_: CredentialType,
    /// Settings of workload identity federation. Required when type is WorkloadIdentity; not allowed otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_identity: Option<WorkloadIdentity>,
    /// The client secret. Required when type is ClientSecret; not allowed otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<ClientSecret>,
    /// The client certificate. Required when type is ClientCertificate; not allowed otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
}

/// How an identity authenticates.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CredentialType {
    WorkloadIdentity,
    ClientSecret,
    ClientCertificate,
}

/// Settings of workload identity federation.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadIdentity {
    /// Name of a service account in the namespace of the credential. The federated credential in Entra must have the subject
    /// system:serviceaccount:NAMESPACE:NAME and the audience api://AzureADTokenExchange.
    #[schemars(
        length(max = 253),
        transform = text(OBJECT_NAME, "workloadIdentity.serviceAccountName must be the name of a service account: lower-case letters, digits, - and ., for example serverprotection-azure")
    )]
    pub service_account_name: String,
}

/// A client secret.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClientSecret {
    /// The key of a Secret in the namespace of the credential that contains the client secret. The controller picks up a rotated secret
    /// within five minutes.
    pub secret_ref: SecretKeyRef,
}

/// A client certificate.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificate {
    /// A Secret of type kubernetes.io/tls in the namespace of the credential: the certificate in tls.crt and its private key in tls.key,
    /// RSA and without a passphrase. The certificate must be registered with the application in Entra. The controller
    /// picks up a renewed certificate within five minutes.
    pub secret_ref: TlsSecretRef,
}

/// A Secret of type kubernetes.io/tls.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TlsSecretRef {
    /// Name of the Secret.
    #[schemars(
        length(max = 253),
        transform = text(OBJECT_NAME, "clientCertificate.secretRef.name must be the name of a Secret of type kubernetes.io/tls: lower-case letters, digits, - and ., for example azure-prod-tls")
    )]
    pub name: String,
}

/// A key of a Secret.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(
        length(max = 253),
        transform = text(OBJECT_NAME, "clientSecret.secretRef.name must be the name of a Secret: lower-case letters, digits, - and ., for example azure-prod")
    )]
    pub name: String,
    /// Key in the data of the Secret.
    #[schemars(
        length(max = 253),
        transform = text("^[-._a-zA-Z0-9]+$", "clientSecret.secretRef.key must be a key of a Secret: letters, digits, -, _ and ., for example client-secret")
    )]
    pub key: String,
}

/// Whether Entra issues a token for the identity, and who uses it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AzureCredentialStatus {
    /// Generation of the spec that this status describes; -1 before the first reconcile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready is True while Entra issues tokens for the identity. It does not say what the identity may do.
    /// Reconciling and Stalled are present only while they are True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Number of ServerProtections whose credentialRef names this object: of its namespace, or for a
    /// ClusterAzureCredential of all namespaces. Updated some seconds after a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<i32>,
    /// When the client certificate expires, if type is ClientCertificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_expiration_time: Option<Time>,
    /// Last handled value of the annotation serverprotection.dev/reconcile-requested-at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_request: Option<String>,
    /// Last handled value of the annotation reconcile.fluxcd.io/requestedAt, as in the objects of Flux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}
