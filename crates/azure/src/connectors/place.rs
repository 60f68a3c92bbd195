//! The places of the managed fields in a connector's JSON (docs/azure-api.md 4.3, 4.4), and the names in it.

use serde_json::{Map, Value, json};
use serverprotection_api::Cloud;
use serverprotection_core::security_connector::field::ConnectorField;

/// A path of members.
pub(super) type Members = &'static [&'static str];

/// Where a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// The tag of the resource with this key.
    Tag(&'a str),
    /// A member of `environmentData`.
    Environment(Members),
    /// A member of a managed offering.
    Offering(Offering, Members),
}

/// The managed offerings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offering {
    /// Foundational posture management, which discovers the account's resources.
    Cspm,
    /// Defender for Servers.
    Servers,
}

/// The form of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A real boolean.
    Flag,
    /// `Organization`; anything else, or no member, is no membership.
    Membership,
    /// A string.
    Text,
    /// A number.
    Hours,
    /// A list of strings.
    Set,
    /// A map of strings.
    Tags,
}

/// The place of the scanner's role since 2024-03-01-preview, and its place before (docs/azure-api.md 4.4).
pub(super) const SCANNER_ROLE: Members = &["vmScanners", "cloudRoleArn"];
pub(super) const OLD_SCANNER_ROLE: Members = &["vmScanners", "configuration", "cloudRoleArn"];

/// The place of a field and the form of its value.
pub(super) fn place(field: &ConnectorField) -> (Place<'_>, Form) {
    use ConnectorField as F;
    let environment = |members, form| (Place::Environment(members), form);
    let cspm = |members| (Place::Offering(Offering::Cspm, members), Form::Text);
    let servers = |members, form| (Place::Offering(Offering::Servers, members), form);
    let membership = || {
        let members = &["organizationalData", "organizationMembershipType"];
        environment(members, Form::Membership)
    };
    match field {
        F::Tag(key) => (Place::Tag(key), Form::Text),
        F::ScanInterval => environment(&["scanInterval"], Form::Hours),
        F::Tier => servers(&["subPlan", "type"], Form::Text),
        F::AwsCspmRole => cspm(&["nativeCloudConnection", "cloudRoleArn"]),
        F::AwsServersRole => servers(&["defenderForServers", "cloudRoleArn"], Form::Text),
        F::AwsArcProvisioningRole => servers(&["arcAutoProvisioning", "cloudRoleArn"], Form::Text),
        F::AwsAgentlessScannerRole => servers(SCANNER_ROLE, Form::Text),
        F::AwsRegions => environment(&["regions"], Form::Set),
        F::AwsOrganization | F::GcpOrganization => membership(),
        F::AwsStackSetName => environment(&["organizationalData", "stacksetName"], Form::Text),
        F::AwsExcludedAccountIds => environment(&["organizationalData", "excludedAccountIds"], Form::Set),
        F::GcpCspmServiceAccount => cspm(&["nativeCloudConnection", "serviceAccountEmailAddress"]),
        F::GcpCspmProvider => cspm(&["nativeCloudConnection", "workloadIdentityProviderId"]),
        F::GcpServersServiceAccount => {
            servers(&["defenderForServers", "serviceAccountEmailAddress"], Form::Text)
        }
        F::GcpServersProvider => servers(&["defenderForServers", "workloadIdentityProviderId"], Form::Text),
        F::GcpProjectNumber => environment(&["projectDetails", "projectNumber"], Form::Text),
        F::GcpProjectId => environment(&["projectDetails", "projectId"], Form::Text),
        F::GcpOrganizationServiceAccount => {
            environment(&["organizationalData", "serviceAccountEmailAddress"], Form::Text)
        }
        F::GcpOrganizationProvider => {
            environment(&["organizationalData", "workloadIdentityProviderId"], Form::Text)
        }
        F::GcpExcludedProjectNumbers => {
            environment(&["organizationalData", "excludedProjectNumbers"], Form::Set)
        }
        F::ArcAgentState => servers(&["arcAutoProvisioning", "enabled"], Form::Flag),
        F::ArcAgentProxy => servers(&["arcAutoProvisioning", "configuration", "proxy"], Form::Text),
        F::ArcAgentPrivateLinkScope => servers(
            &["arcAutoProvisioning", "configuration", "privateLinkScope"],
            Form::Text,
        ),
        F::DefenderForEndpointState => servers(&["mdeAutoProvisioning", "enabled"], Form::Flag),
        F::VulnerabilityAssessmentState => servers(&["vaAutoProvisioning", "enabled"], Form::Flag),
        F::VulnerabilityAssessmentProvider => {
            servers(&["vaAutoProvisioning", "configuration", "type"], Form::Text)
        }
        F::AgentlessState => servers(&["vmScanners", "enabled"], Form::Flag),
        F::AgentlessExclusionTags => servers(&["vmScanners", "configuration", "exclusionTags"], Form::Tags),
    }
}

/// The member of the offering that a part must have while it is on, and its value if Azure has none.
pub(super) fn default_member(field: &ConnectorField) -> Option<(Members, Value)> {
    match field {
        ConnectorField::DefenderForEndpointState => {
            Some((&["mdeAutoProvisioning", "configuration"], json!({})))
        }
        ConnectorField::AgentlessState => {
            Some((&["vmScanners", "configuration", "scanningMode"], json!("Default")))
        }
        _ => None,
    }
}

impl Offering {
    /// Azure's `offeringType`.
    pub(super) const fn type_(self, cloud: Cloud) -> &'static str {
        match (self, cloud) {
            (Self::Cspm, Cloud::AWS) => "CspmMonitorAws",
            (Self::Cspm, Cloud::GCP) => "CspmMonitorGcp",
            (Self::Servers, Cloud::AWS) => "DefenderForServersAws",
            (Self::Servers, Cloud::GCP) => "DefenderForServersGcp",
        }
    }

    /// Whether this is the offering, in any case: Azure returns the case that a client sent.
    pub(super) fn is(self, cloud: Cloud, found: &Map<String, Value>) -> bool {
        let type_ = found.get("offeringType").and_then(Value::as_str);
        type_.is_some_and(|found| found.eq_ignore_ascii_case(self.type_(cloud)))
    }
}

/// Azure's name of a cloud.
pub(super) const fn environment_name(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::AWS => "AWS",
        Cloud::GCP => "GCP",
    }
}

/// The cloud with this `environmentName`, if it is AWS or GCP.
pub(crate) fn cloud_named(environment: &str) -> Option<Cloud> {
    [Cloud::AWS, Cloud::GCP]
        .into_iter()
        .find(|cloud| environment_name(*cloud).eq_ignore_ascii_case(environment))
}

/// Azure's type of the environment data.
pub(super) const fn environment_type(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::AWS => "AwsAccount",
        Cloud::GCP => "GcpProject",
    }
}

/// The value at the end of a path of members; null counts as absent.
pub(super) fn find<'a>(from: &'a Map<String, Value>, members: &[&str]) -> Option<&'a Value> {
    let (first, rest) = members.split_first()?;
    let value = from.get(*first).filter(|value| !value.is_null())?;
    if rest.is_empty() {
        Some(value)
    } else {
        find(value.as_object()?, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_has_a_place_of_its_own_in_a_cloud() {
        for (at, field) in ConnectorField::ALL.iter().enumerate() {
            let (found, _) = place(field);
            for other in ConnectorField::ALL.iter().skip(at + 1) {
                let both =
                    (field, other) == (&ConnectorField::AwsOrganization, &ConnectorField::GcpOrganization);
                assert_eq!(place(other).0 == found, both, "{field:?} {other:?}");
            }
        }
    }

    #[test]
    fn the_fields_of_the_servers_are_in_their_offering() {
        for field in ConnectorField::ALL {
            let is_there = matches!(place(field).0, Place::Offering(Offering::Servers, _));
            assert_eq!(is_there, field.is_of_servers(), "{field:?}");
        }
    }
}
