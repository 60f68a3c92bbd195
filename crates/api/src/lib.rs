//! What users write and read: the custom resources of `serverprotection.dev/v1alpha1`, their rules and columns.
//!
//! This crate knows neither a cluster nor Azure. Doc comments on fields are user documentation: they are what
//! `kubectl explain` prints.
// KubeSchema declares `pub` shadow structs inside functions.
#![allow(unreachable_pub)]
// Field docs are user documentation (no Markdown in `kubectl explain`); columns repeat their attribute's members.
#![allow(clippy::doc_markdown, clippy::duplicated_attributes)]

pub mod azure_credential;
pub mod definitions;
pub mod security_connector;
pub mod server_protection;

pub use azure_credential::{
    AzureCredential, AzureCredentialSpec, ClientSecret, CredentialType, SecretKeyRef, WorkloadIdentity,
};
pub use definitions::{crds, file_name};
pub use security_connector::cloud::{
    AwsAccount, AwsOrganization, Cloud, GcpOrganization, GcpProject, RoleArn, RoleArns, ServiceAccounts,
    WorkloadIdentityProviders,
};
pub use security_connector::spec::{
    ArcAgent, AutoProvisioning, ConnectorDeletionPolicy, ConnectorPlan, ProtectionRef, Provisioned,
    SecurityConnector, SecurityConnectorSpec,
};
pub use security_connector::status::{
    ConnectorIssue, ConnectorMachines, ConnectorTarget, SecurityConnectorStatus, TargetCredential,
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
    ClaimStatus, ConnectorsStatus, ContestedField, Drift, ExtensionStatus, PlanStatus,
    ServerProtectionStatus, WorkspaceStatus,
};

/// API group of all our kinds.
pub const GROUP: &str = "serverprotection.dev";
/// Our field manager. Flux takes back fields of managers that begin with `kubectl`, so it must not.
pub const FIELD_MANAGER: &str = "serverprotection";

/// Our finalizer, on objects whose deletion has to do something in Azure.
pub const FINALIZER: &str = "serverprotection.dev/azure";

/// Annotations that users set on our objects.
pub mod annotations {
    /// "Reconcile now": any new value starts a visit.
    pub const RECONCILE_REQUESTED_AT: &str = "serverprotection.dev/reconcile-requested-at";
    /// The same, as `flux reconcile` writes it.
    pub const FLUX_REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
    /// Approves changes that lower protection: `field=value` pairs separated by commas, or a generation.
    pub const APPROVE_REDUCTION: &str = "serverprotection.dev/approve-reduction";
    /// `true` lets a deletion go at once, whatever stands in Azure.
    pub const FORCE_REMOVE: &str = "serverprotection.dev/force-remove";
}

#[cfg(test)]
mod tests;
