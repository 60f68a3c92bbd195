//! The spec with its defaults resolved, as rows: path in the spec, place in Azure's JSON, and expected value.

use std::collections::BTreeSet;

use serde_json::json;
use serverprotection_api::{
    AwsAccount, Cloud, CredentialKind, GcpProject, Mode, SecurityConnectorSpec, ServerProtectionSpec, State,
    TargetCredential, Tier,
};

use super::expected::{Empty, Expected};
use crate::{arm_id::same_id, server_protection::desired::registers, switch::switch};

/// What a connector takes from the `ServerProtection` that it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    /// The Azure subscription.
    pub subscription: String,
    /// Whether differences are repaired.
    pub mode: Mode,
    /// The plan of connectors whose spec names none.
    pub tier: Tier,
    /// Whether the object registers Microsoft.Security if it is not registered.
    pub registers: bool,
    /// The identity; `None` if the object was stored before the field was required.
    pub credential: Option<TargetCredential>,
}

impl Protection {
    /// Extracts these values from the referenced object.
    pub fn of(spec: &ServerProtectionSpec) -> Self {
        let credential = spec.credential_ref.as_ref().map(|reference| TargetCredential {
            kind: match reference.kind {
                CredentialKind::AzureCredential => "AzureCredential".into(),
            },
            name: reference.name.clone(),
        });
        Self {
            subscription: spec.subscription_id.clone(),
            mode: spec.mode,
            tier: spec.plan.tier,
            registers: registers(spec),
            credential,
        }
    }
}

/// The connector in Azure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The Azure subscription.
    pub subscription: String,
    /// The resource group.
    pub resource_group: String,
    /// The connector's name.
    pub name: String,
    /// The cloud that is connected.
    pub cloud: Cloud,
    /// The AWS account's id or the GCP project's number: Azure's `hierarchyIdentifier`.
    pub account: String,
}

impl Target {
    /// Resolves the target. `object` is the name of the object, which is the connector's name if the spec gives none.
    pub fn of(object: &str, spec: &SecurityConnectorSpec, subscription: &str) -> Self {
        Self {
            subscription: subscription.into(),
            resource_group: spec.resource_group.clone(),
            name: spec.connector_name.clone().unwrap_or_else(|| object.into()),
            cloud: spec.type_,
            account: account(spec),
        }
    }

    /// The resource id.
    pub fn id(&self) -> String {
        format!(
            "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.Security/securityConnectors/{}",
            self.subscription, self.resource_group, self.name
        )
    }

    /// Whether this is the connector's id, in any case.
    pub fn is(&self, id: &str) -> bool {
        same_id(&self.id(), id)
    }
}

/// The id of the AWS account or the number of the GCP project.
pub fn account(spec: &SecurityConnectorSpec) -> String {
    let aws = spec.aws.as_ref().map(|aws| &aws.account_id);
    let gcp = spec.gcp.as_ref().map(|gcp| &gcp.project_number);
    aws.or(gcp).cloned().unwrap_or_default()
}

/// Whether an organization is connected, and not a single account.
pub fn is_organization(spec: &SecurityConnectorSpec) -> bool {
    let aws = spec.aws.as_ref().is_some_and(|aws| aws.organization.is_some());
    let gcp = spec.gcp.as_ref().is_some_and(|gcp| gcp.organization.is_some());
    aws || gcp
}

/// Azure's names of a cloud.
pub const fn environment_name(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::AWS => "AWS",
        Cloud::GCP => "GCP",
    }
}

/// Azure's type of the environment data.
pub const fn environment_type(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::AWS => "AwsAccount",
        Cloud::GCP => "GcpProject",
    }
}

/// The managed offerings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offering {
    /// Foundational posture management, which discovers the account's resources.
    Cspm,
    /// Defender for Servers.
    Servers,
}

impl Offering {
    /// Azure's `offeringType`.
    pub const fn azure_name(self, cloud: Cloud) -> &'static str {
        match (self, cloud) {
            (Self::Cspm, Cloud::AWS) => "CspmMonitorAws",
            (Self::Cspm, Cloud::GCP) => "CspmMonitorGcp",
            (Self::Servers, Cloud::AWS) => "DefenderForServersAws",
            (Self::Servers, Cloud::GCP) => "DefenderForServersGcp",
        }
    }
}

/// A path of members.
pub type Members = &'static [&'static str];

/// A place in the connector's JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A tag of the resource.
    Tag(String),
    /// A member of `environmentData`.
    Environment(Members),
    /// A member of a managed offering.
    Offering(Offering, Members),
}

/// A managed field.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its path in the spec.
    pub path: String,
    /// Its place in Azure's JSON.
    pub place: Place,
    /// The expected value.
    pub value: Expected,
    /// Whether the value is Microsoft's default name of a role, service account or provider, because the spec names
    /// none.
    pub defaulted: bool,
}

/// What the spec demands.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// The connector.
    pub target: Target,
    /// The region of its data; used when the connector is created.
    pub location: String,
    /// The plan of the servers.
    pub tier: Tier,
    /// Every managed field, in the order of the spec.
    pub fields: Vec<Field>,
    /// Whether the spec demands agentless scanning although the plan, inherited from the `ServerProtection`, does not
    /// have it.
    pub agentless_needs_p2: bool,
}

pub(super) const TIER: &str = "plan.tier";
pub(super) const AGENTLESS: &str = "agentlessScanning";
/// The place of the scanner's role since 2024-03-01-preview, and its place before (docs/azure-api.md 4.4).
pub(super) const SCANNER_ROLE: Members = &["vmScanners", "cloudRoleArn"];
pub(super) const OLD_SCANNER_ROLE: Members = &["vmScanners", "configuration", "cloudRoleArn"];

impl Desired {
    /// Resolves the defaults of a spec. Defined for every spec that passed admission.
    pub fn of(object: &str, spec: &SecurityConnectorSpec, protection: &Protection) -> Self {
        let tier = spec.plan.as_ref().map_or(protection.tier, |plan| plan.tier);
        let agentless = spec.agentless_scanning.as_ref().map(|scanning| scanning.state);
        let mut rows = Rows::default();
        for (key, value) in &spec.tags {
            let place = Place::Tag(key.clone());
            rows.add(&format!("tags.{key}"), place, Expected::Text(value.clone()));
        }
        if let Some(aws) = &spec.aws {
            rows.aws_environment(aws);
        }
        if let Some(gcp) = &spec.gcp {
            rows.gcp_environment(gcp);
        }
        let hours = spec.scan_interval.trim_end_matches('h').parse().unwrap_or(4);
        rows.environment("scanInterval", &["scanInterval"], Expected::Hours(hours));
        rows.servers(TIER, &["subPlan", "type"], Expected::Tier(tier));
        if tier != Tier::Free {
            rows.connections(spec);
            rows.provisioning(spec);
            rows.agentless(spec, tier);
        }
        Self {
            target: Target::of(object, spec, &protection.subscription),
            location: spec.location.clone(),
            tier,
            fields: rows.0,
            agentless_needs_p2: tier != Tier::P2 && agentless == Some(State::Enabled),
        }
    }
}

/// The role of this name in the account.
fn role_arn(account: &str, role: &str) -> String {
    format!("arn:aws:iam::{account}:role/{role}")
}

/// The service account of this name in the project. The parts of a domain-scoped project id (`example.com:my-project`)
/// are swapped.
pub(super) fn service_account(project: &str, name: &str) -> String {
    match project.split_once(':') {
        Some((domain, project)) => format!("{name}@{project}.{domain}.iam.gserviceaccount.com"),
        None => format!("{name}@{project}.iam.gserviceaccount.com"),
    }
}

fn set(entries: &[String]) -> BTreeSet<String> {
    entries.iter().cloned().collect()
}

#[derive(Default)]
struct Rows(Vec<Field>);

impl Rows {
    fn add(&mut self, path: &str, place: Place, value: Expected) {
        self.0.push(Field {
            path: path.into(),
            place,
            value,
            defaulted: false,
        });
    }

    fn environment(&mut self, path: &str, members: Members, value: Expected) {
        self.add(path, Place::Environment(members), value);
    }

    fn servers(&mut self, path: &str, members: Members, value: Expected) {
        self.add(path, Place::Offering(Offering::Servers, members), value);
    }

    /// A role, service account or provider: the spec's, or Microsoft's.
    fn identity(
        &mut self,
        path: &str,
        offering: Offering,
        members: Members,
        named: Option<String>,
        default: String,
    ) {
        self.0.push(Field {
            path: path.into(),
            place: Place::Offering(offering, members),
            defaulted: named.is_none(),
            value: Expected::Text(named.unwrap_or(default)),
        });
    }

    fn aws_environment(&mut self, aws: &AwsAccount) {
        let cspm = aws.role_arns.cspm.as_ref().map(|arn| arn.0.clone());
        let default = role_arn(&aws.account_id, "CspmMonitorAws");
        let members: Members = &["nativeCloudConnection", "cloudRoleArn"];
        self.identity("aws.roleArns.cspm", Offering::Cspm, members, cspm, default);
        if let Some(regions) = &aws.regions {
            let regions = Expected::Set(set(regions), Empty::All);
            self.environment("aws.regions", &["regions"], regions);
        }
        self.membership("aws.organization", aws.organization.is_some());
        if let Some(organization) = &aws.organization {
            let stack_set = Expected::Text(organization.stack_set_name.clone());
            let members: Members = &["organizationalData", "stacksetName"];
            self.environment("aws.organization.stackSetName", members, stack_set);
            if let Some(excluded) = &organization.excluded_account_ids {
                let members: Members = &["organizationalData", "excludedAccountIds"];
                let excluded = Expected::Set(set(excluded), Empty::None);
                self.environment("aws.organization.excludedAccountIds", members, excluded);
            }
        }
    }

    fn gcp_environment(&mut self, gcp: &GcpProject) {
        self.gcp_connection(gcp, Offering::Cspm, "cspm");
        let number = Expected::Text(gcp.project_number.clone());
        self.environment("gcp.projectNumber", &["projectDetails", "projectNumber"], number);
        let id = Expected::Text(gcp.project_id.clone());
        self.environment("gcp.projectId", &["projectDetails", "projectId"], id);
        self.membership("gcp.organization", gcp.organization.is_some());
        if let Some(organization) = &gcp.organization {
            let account = Expected::Word(organization.service_account.clone());
            let members: Members = &["organizationalData", "serviceAccountEmailAddress"];
            self.environment("gcp.organization.serviceAccount", members, account);
            let provider = Expected::Text(organization.workload_identity_provider.clone());
            let members: Members = &["organizationalData", "workloadIdentityProviderId"];
            self.environment("gcp.organization.workloadIdentityProvider", members, provider);
            if let Some(excluded) = &organization.excluded_project_numbers {
                let members: Members = &["organizationalData", "excludedProjectNumbers"];
                let excluded = Expected::Set(set(excluded), Empty::None);
                self.environment("gcp.organization.excludedProjectNumbers", members, excluded);
            }
        }
    }

    fn membership(&mut self, path: &str, organization: bool) {
        let members: Members = &["organizationalData", "organizationMembershipType"];
        self.environment(path, members, Expected::Organization(organization));
    }

    fn gcp_connection(&mut self, gcp: &GcpProject, offering: Offering, which: &str) {
        let (accounts, providers) = (&gcp.service_accounts, &gcp.workload_identity_providers);
        let (account, provider, names, members): (_, _, _, [Members; 2]) = match offering {
            Offering::Cspm => (
                accounts.cspm.clone(),
                providers.cspm.clone(),
                ("microsoft-defender-cspm", "cspm"),
                [
                    &["nativeCloudConnection", "serviceAccountEmailAddress"],
                    &["nativeCloudConnection", "workloadIdentityProviderId"],
                ],
            ),
            Offering::Servers => (
                accounts.servers.clone(),
                providers.servers.clone(),
                ("microsoft-defender-for-servers", "defender-for-servers"),
                [
                    &["defenderForServers", "serviceAccountEmailAddress"],
                    &["defenderForServers", "workloadIdentityProviderId"],
                ],
            ),
        };
        let [email, id] = members;
        let default = service_account(&gcp.project_id, names.0);
        let path = format!("gcp.serviceAccounts.{which}");
        self.identity(&path, offering, email, account, default);
        let path = format!("gcp.workloadIdentityProviders.{which}");
        self.identity(&path, offering, id, provider, names.1.into());
    }

    /// The plan's own connection.
    fn connections(&mut self, spec: &SecurityConnectorSpec) {
        if let Some(aws) = &spec.aws {
            let named = aws.role_arns.servers.as_ref().map(|arn| arn.0.clone());
            let default = role_arn(&aws.account_id, "DefenderForCloud-DefenderForServers");
            let members: Members = &["defenderForServers", "cloudRoleArn"];
            self.identity("aws.roleArns.servers", Offering::Servers, members, named, default);
        }
        if let Some(gcp) = &spec.gcp {
            self.gcp_connection(gcp, Offering::Servers, "servers");
        }
    }

    fn provisioning(&mut self, spec: &SecurityConnectorSpec) {
        let provisioning = &spec.auto_provisioning;
        let arc = &provisioning.arc_agent;
        if let Some(on) = switch(arc.state) {
            let path = "autoProvisioning.arcAgent.state";
            self.servers(path, &["arcAutoProvisioning", "enabled"], Expected::Flag(on));
        }
        if arc.state == State::Enabled {
            if let Some(aws) = &spec.aws {
                let named = aws.role_arns.arc_provisioning.as_ref().map(|arn| arn.0.clone());
                let default = role_arn(&aws.account_id, "DefenderForCloud-ArcAutoProvisioning");
                let members: Members = &["arcAutoProvisioning", "cloudRoleArn"];
                let path = "aws.roleArns.arcProvisioning";
                self.identity(path, Offering::Servers, members, named, default);
            }
            if let Some(proxy) = &arc.proxy {
                let members: Members = &["arcAutoProvisioning", "configuration", "proxy"];
                let path = "autoProvisioning.arcAgent.proxy";
                self.servers(path, members, unless_empty(proxy, Expected::Text));
            }
            if let Some(scope) = &arc.private_link_scope {
                let members: Members = &["arcAutoProvisioning", "configuration", "privateLinkScope"];
                let path = "autoProvisioning.arcAgent.privateLinkScope";
                self.servers(path, members, unless_empty(scope, Expected::ResourceId));
            }
        }
        if let Some(on) = switch(provisioning.defender_for_endpoint.state) {
            let path = "autoProvisioning.defenderForEndpoint.state";
            self.servers(path, &["mdeAutoProvisioning", "enabled"], Expected::Flag(on));
            if on {
                let members: Members = &["mdeAutoProvisioning", "configuration"];
                self.servers(path, members, Expected::Default(json!({})));
            }
        }
        if let Some(on) = switch(provisioning.vulnerability_assessment.state) {
            let path = "autoProvisioning.vulnerabilityAssessment.state";
            self.servers(path, &["vaAutoProvisioning", "enabled"], Expected::Flag(on));
            if on {
                let path = "autoProvisioning.vulnerabilityAssessment.provider";
                let members: Members = &["vaAutoProvisioning", "configuration", "type"];
                self.servers(path, members, Expected::Word("TVM".into()));
            }
        }
    }

    /// Only P2 has agentless scanning: with P1 it is switched off (docs/azure-api.md 4.4).
    fn agentless(&mut self, spec: &SecurityConnectorSpec, tier: Tier) {
        let scanning = spec.agentless_scanning.as_ref();
        let on = match scanning.and_then(|scanning| switch(scanning.state)) {
            _ if tier != Tier::P2 => Some(false),
            on => on,
        };
        let Some(on) = on else { return };
        let path = "agentlessScanning.state";
        self.servers(path, &["vmScanners", "enabled"], Expected::Flag(on));
        if !on {
            return;
        }
        let members: Members = &["vmScanners", "configuration", "scanningMode"];
        self.servers(path, members, Expected::Default(json!("Default")));
        if let Some(aws) = &spec.aws {
            let named = aws.role_arns.agentless_scanner.as_ref().map(|arn| arn.0.clone());
            let default = role_arn(&aws.account_id, "DefenderForCloud-AgentlessScanner");
            let path = "aws.roleArns.agentlessScanner";
            self.identity(path, Offering::Servers, SCANNER_ROLE, named, default);
        }
        if let Some(tags) = scanning.and_then(|scanning| scanning.exclusion_tags.as_ref()) {
            let tags = tags
                .iter()
                .map(|tag| (tag.key.clone(), tag.value.clone()))
                .collect();
            let members: Members = &["vmScanners", "configuration", "exclusionTags"];
            self.servers("agentlessScanning.exclusionTags", members, Expected::Tags(tags));
        }
    }
}

fn unless_empty(text: &str, expected: impl Fn(String) -> Expected) -> Expected {
    if text.is_empty() {
        Expected::Cleared
    } else {
        expected(text.to_owned())
    }
}
