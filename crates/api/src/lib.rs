//! The custom resources of `serverprotection.dev/v1alpha1`, with their rules and columns.
//!
//! This crate knows neither a cluster nor Azure. Doc comments on fields are user documentation: `kubectl explain`
//! prints them.
// KubeSchema declares `pub` shadow structs inside functions.
#![allow(unreachable_pub)]
// Field docs are user documentation (no Markdown in `kubectl explain`); columns repeat their attribute's members.
#![allow(clippy::doc_markdown, clippy::duplicated_attributes)]

pub mod azure_credential;
pub mod cluster_azure_credential;
pub mod definitions;
pub mod pending_operation;
pub mod security_connector;
pub mod server_protection;

mod patterns;

pub use azure_credential::{
    AzureCredential, AzureCredentialSpec, AzureCredentialStatus, ClientCertificate, ClientSecret,
    CredentialType, SecretKeyRef, TlsSecretRef, WorkloadIdentity,
};
pub use cluster_azure_credential::{
    ClusterAzureCredential, ClusterAzureCredentialSpec, ClusterCredentialType, Grant, NamespaceRequirement,
    NamespaceSelector, SelectorOperator,
};
pub use definitions::{crds, file_name};
pub use pending_operation::{OperationType, PendingOperation};
pub use security_connector::cloud::{
    AwsAccount, AwsOrganization, Cloud, GcpOrganization, GcpProject, RoleArn, RoleArns, ServiceAccounts,
    WorkloadIdentityProviders,
};
pub use security_connector::spec::{
    ArcAgent, AutoProvisioning, ConnectorDeletionPolicy, ConnectorPlan, ProtectionRef, Provisioned,
    SecurityConnector, SecurityConnectorSpec,
};
pub use security_connector::status::{
    ConnectorDisplay, ConnectorIssue, ConnectorMachines, ConnectorTarget, SecurityConnectorStatus,
    TargetCredential,
};
pub use server_protection::file_integrity::{
    CustomFileIntegrityRules, FileIntegrityPreset, FileIntegrityRules,
};
pub use server_protection::machines::{
    EnvironmentStatus, ExcludedStatus, MachineExclusion, MachineStatus, MachineTag, Machines, MachinesStatus,
    ScanFailure,
};
pub use server_protection::spec::{
    AgentlessScanning, CredentialKind, CredentialRef, DeletionPolicy, DirectOnboarding, EndpointIntegration,
    ExclusionTag, FileIntegrityMonitoring, Inheritance, Mode, OtherExtension, PlanSpec, Registration,
    ResourceProviders, ServerProtection, ServerProtectionSpec, State, Tier, VulnerabilityAssessment,
    VulnerabilityAssessmentProvider, Workspace, WorkspaceState,
};
pub use server_protection::status::{
    ClaimCredential, ClaimStatus, ConnectorsStatus, ContestedField, DisplayStatus, Drift, ExtensionStatus,
    OtherPlansStatus, PlanStatus, ServerProtectionStatus, WorkspaceStatus,
};

/// API group of all kinds.
pub const GROUP: &str = "serverprotection.dev";
/// Field manager of the controller. Flux takes back the fields of managers whose name begins with `kubectl`, so this
/// name must not.
pub const FIELD_MANAGER: &str = "serverprotection";

/// Most bytes of text in a spec. Admission counts characters; no spec that it admits exceeds this in ASCII. The
/// controller does not keep a longer one.
pub const MOST_SPEC_BYTES: usize = 400 * 1024;

/// Finalizer of objects whose deletion changes Azure.
pub const FINALIZER: &str = "serverprotection.dev/azure";

/// Annotations that users set on objects.
pub mod annotations {
    /// Any new value starts a reconcile.
    pub const RECONCILE_REQUESTED_AT: &str = "serverprotection.dev/reconcile-requested-at";
    /// The same, as `flux reconcile` writes it.
    pub const FLUX_REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
    /// Approves changes that lower protection: `field=value` pairs separated by commas, or a generation.
    pub const APPROVE_REDUCTION: &str = "serverprotection.dev/approve-reduction";
    /// `true` removes the finalizer at once, whatever exists in Azure.
    pub const FORCE_REMOVE: &str = "serverprotection.dev/force-remove";

    /// Most bytes of a value. Kubernetes admits 256 KiB, which the controller would keep and copy to status: it ignores a
    /// longer value, as if the annotation were missing.
    pub const MOST_BYTES: usize = 256;
    /// Most bytes of [`APPROVE_REDUCTION`]. A generation approves more fields than fit.
    pub const MOST_APPROVAL_BYTES: usize = 4096;
}

#[cfg(test)]
mod tests;
