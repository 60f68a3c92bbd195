//! The managed fields of a connector. Their places in Azure's JSON are known to `azure` only.

use std::borrow::Cow;

/// The fields with their paths in the spec.
macro_rules! fields {
    ($($name:ident: $path:literal,)*) => {
        /// A managed field.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum ConnectorField {
            /// The tag with this key.
            Tag(String),
            $(#[doc = concat!("`", $path, "`.")] $name,)*
        }

        impl ConnectorField {
            /// All fields except tags, which have no fixed number.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The path in the spec.
            pub fn path(&self) -> Cow<'static, str> {
                match self {
                    Self::Tag(key) => Cow::Owned(format!("tags.{key}")),
                    $(Self::$name => Cow::Borrowed($path),)*
                }
            }
        }
    };
}

fields! {
    ScanInterval: "scanInterval",
    Tier: "plan.tier",
    AwsCspmRole: "aws.roleArns.cspm",
    AwsServersRole: "aws.roleArns.servers",
    AwsArcProvisioningRole: "aws.roleArns.arcProvisioning",
    AwsAgentlessScannerRole: "aws.roleArns.agentlessScanner",
    AwsRegions: "aws.regions",
    AwsOrganization: "aws.organization",
    AwsStackSetName: "aws.organization.stackSetName",
    AwsExcludedAccountIds: "aws.organization.excludedAccountIds",
    GcpCspmServiceAccount: "gcp.serviceAccounts.cspm",
    GcpCspmProvider: "gcp.workloadIdentityProviders.cspm",
    GcpServersServiceAccount: "gcp.serviceAccounts.servers",
    GcpServersProvider: "gcp.workloadIdentityProviders.servers",
    GcpProjectNumber: "gcp.projectNumber",
    GcpProjectId: "gcp.projectId",
    GcpOrganization: "gcp.organization",
    GcpOrganizationServiceAccount: "gcp.organization.serviceAccount",
    GcpOrganizationProvider: "gcp.organization.workloadIdentityProvider",
    GcpExcludedProjectNumbers: "gcp.organization.excludedProjectNumbers",
    ArcAgentState: "autoProvisioning.arcAgent.state",
    ArcAgentProxy: "autoProvisioning.arcAgent.proxy",
    ArcAgentPrivateLinkScope: "autoProvisioning.arcAgent.privateLinkScope",
    DefenderForEndpointState: "autoProvisioning.defenderForEndpoint.state",
    VulnerabilityAssessmentState: "autoProvisioning.vulnerabilityAssessment.state",
    VulnerabilityAssessmentProvider: "autoProvisioning.vulnerabilityAssessment.provider",
    AgentlessState: "agentlessScanning.state",
    AgentlessExclusionTags: "agentlessScanning.exclusionTags",
}

impl ConnectorField {
    /// Whether the field belongs to the plan of the servers, and does not exist without it.
    pub const fn is_of_servers(&self) -> bool {
        match self {
            Self::Tier
            | Self::AwsServersRole
            | Self::AwsArcProvisioningRole
            | Self::AwsAgentlessScannerRole
            | Self::GcpServersServiceAccount
            | Self::GcpServersProvider
            | Self::ArcAgentState
            | Self::ArcAgentProxy
            | Self::ArcAgentPrivateLinkScope
            | Self::DefenderForEndpointState
            | Self::VulnerabilityAssessmentState
            | Self::VulnerabilityAssessmentProvider
            | Self::AgentlessState
            | Self::AgentlessExclusionTags => true,
            Self::Tag(_)
            | Self::ScanInterval
            | Self::AwsCspmRole
            | Self::AwsRegions
            | Self::AwsOrganization
            | Self::AwsStackSetName
            | Self::AwsExcludedAccountIds
            | Self::GcpCspmServiceAccount
            | Self::GcpCspmProvider
            | Self::GcpProjectNumber
            | Self::GcpProjectId
            | Self::GcpOrganization
            | Self::GcpOrganizationServiceAccount
            | Self::GcpOrganizationProvider
            | Self::GcpExcludedProjectNumbers => false,
        }
    }

    /// Whether the field belongs to agentless scanning, which only P2 has.
    pub const fn is_of_agentless_scanning(&self) -> bool {
        matches!(
            self,
            Self::AgentlessState | Self::AgentlessExclusionTags | Self::AwsAgentlessScannerRole
        )
    }

    /// The membership without which the field has no meaning.
    pub const fn organization(&self) -> Option<Self> {
        match self {
            Self::AwsStackSetName | Self::AwsExcludedAccountIds => Some(Self::AwsOrganization),
            Self::GcpOrganizationServiceAccount
            | Self::GcpOrganizationProvider
            | Self::GcpExcludedProjectNumbers => Some(Self::GcpOrganization),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_field_has_a_path_of_its_own() {
        let paths: BTreeSet<_> = ConnectorField::ALL.iter().map(ConnectorField::path).collect();
        assert_eq!(paths.len(), ConnectorField::ALL.len());
        assert_eq!(ConnectorField::Tag("env".into()).path(), "tags.env");
    }

    #[test]
    fn the_fields_of_an_organization_are_below_it() {
        for field in ConnectorField::ALL {
            let parent = ["aws.organization", "gcp.organization"]
                .into_iter()
                .find(|parent| field.path().starts_with(&format!("{parent}.")));
            let organization = field.organization();
            assert_eq!(organization.as_ref().map(ConnectorField::path).as_deref(), parent);
        }
    }
}
