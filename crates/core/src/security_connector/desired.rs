//! The spec with its defaults resolved, as rows: a managed field and its expected value.

use std::collections::BTreeSet;

use serverprotection_api::{
    AwsAccount, Cloud, GcpProject, Mode, SecurityConnectorSpec, ServerProtectionSpec, State,
    TargetCredential, Tier,
};

use super::{expected::Expected, field::ConnectorField, value::Empty};
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
            kind: reference.kind.as_str().into(),
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

    /// The key of its claim.
    pub fn key(&self) -> String {
        self.id().to_lowercase()
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

/// A managed field with its expected value.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The field.
    pub field: ConnectorField,
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
    pub fields: Vec<Row>,
    /// Whether the spec demands agentless scanning although the plan, inherited from the `ServerProtection`, does not
    /// have it.
    pub agentless_needs_p2: bool,
}

impl Desired {
    /// Resolves the defaults of a spec. Defined for every spec that passed admission.
    pub fn of(object: &str, spec: &SecurityConnectorSpec, protection: &Protection) -> Self {
        let tier = spec.plan.as_ref().map_or(protection.tier, |plan| plan.tier);
        let agentless = spec.agentless_scanning.as_ref().map(|scanning| scanning.state);
        let mut rows = Rows::default();
        for (key, value) in &spec.tags {
            rows.add(ConnectorField::Tag(key.clone()), Expected::Text(value.clone()));
        }
        if let Some(aws) = &spec.aws {
            rows.aws_environment(aws);
        }
        if let Some(gcp) = &spec.gcp {
            rows.gcp_environment(gcp);
        }
        let hours = spec.scan_interval.trim_end_matches('h').parse().unwrap_or(4);
        rows.add(ConnectorField::ScanInterval, Expected::Hours(hours));
        rows.add(ConnectorField::Tier, Expected::Tier(tier));
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
struct Rows(Vec<Row>);

impl Rows {
    fn add(&mut self, field: ConnectorField, value: Expected) {
        self.0.push(Row {
            field,
            value,
            defaulted: false,
        });
    }

    /// A role, service account or provider: the spec's, or Microsoft's.
    fn identity(&mut self, field: ConnectorField, named: Option<String>, default: String) {
        self.0.push(Row {
            field,
            defaulted: named.is_none(),
            value: Expected::Text(named.unwrap_or(default)),
        });
    }

    fn aws_environment(&mut self, aws: &AwsAccount) {
        let cspm = aws.role_arns.cspm.as_ref().map(|arn| arn.0.clone());
        let default = role_arn(&aws.account_id, "CspmMonitorAws");
        self.identity(ConnectorField::AwsCspmRole, cspm, default);
        if let Some(regions) = &aws.regions {
            let regions = Expected::Set(set(regions), Empty::All);
            self.add(ConnectorField::AwsRegions, regions);
        }
        let organization = Expected::Flag(aws.organization.is_some());
        self.add(ConnectorField::AwsOrganization, organization);
        if let Some(organization) = &aws.organization {
            let stack_set = Expected::Text(organization.stack_set_name.clone());
            self.add(ConnectorField::AwsStackSetName, stack_set);
            if let Some(excluded) = &organization.excluded_account_ids {
                let excluded = Expected::Set(set(excluded), Empty::None);
                self.add(ConnectorField::AwsExcludedAccountIds, excluded);
            }
        }
    }

    fn gcp_environment(&mut self, gcp: &GcpProject) {
        let (account, provider) = (&gcp.service_accounts.cspm, &gcp.workload_identity_providers.cspm);
        let default = service_account(&gcp.project_id, "microsoft-defender-cspm");
        self.identity(ConnectorField::GcpCspmServiceAccount, account.clone(), default);
        self.identity(ConnectorField::GcpCspmProvider, provider.clone(), "cspm".into());
        let number = Expected::Text(gcp.project_number.clone());
        self.add(ConnectorField::GcpProjectNumber, number);
        let id = Expected::Text(gcp.project_id.clone());
        self.add(ConnectorField::GcpProjectId, id);
        let organization = Expected::Flag(gcp.organization.is_some());
        self.add(ConnectorField::GcpOrganization, organization);
        if let Some(organization) = &gcp.organization {
            let account = Expected::Word(organization.service_account.clone());
            self.add(ConnectorField::GcpOrganizationServiceAccount, account);
            let provider = Expected::Text(organization.workload_identity_provider.clone());
            self.add(ConnectorField::GcpOrganizationProvider, provider);
            if let Some(excluded) = &organization.excluded_project_numbers {
                let excluded = Expected::Set(set(excluded), Empty::None);
                self.add(ConnectorField::GcpExcludedProjectNumbers, excluded);
            }
        }
    }

    /// The plan's own connection.
    fn connections(&mut self, spec: &SecurityConnectorSpec) {
        if let Some(aws) = &spec.aws {
            let named = aws.role_arns.servers.as_ref().map(|arn| arn.0.clone());
            let default = role_arn(&aws.account_id, "DefenderForCloud-DefenderForServers");
            self.identity(ConnectorField::AwsServersRole, named, default);
        }
        if let Some(gcp) = &spec.gcp {
            let account = gcp.service_accounts.servers.clone();
            let default = service_account(&gcp.project_id, "microsoft-defender-for-servers");
            self.identity(ConnectorField::GcpServersServiceAccount, account, default);
            let provider = gcp.workload_identity_providers.servers.clone();
            let default = "defender-for-servers".into();
            self.identity(ConnectorField::GcpServersProvider, provider, default);
        }
    }

    fn provisioning(&mut self, spec: &SecurityConnectorSpec) {
        let provisioning = &spec.auto_provisioning;
        let arc = &provisioning.arc_agent;
        if let Some(on) = switch(arc.state) {
            self.add(ConnectorField::ArcAgentState, Expected::Flag(on));
        }
        if arc.state == State::Enabled {
            if let Some(aws) = &spec.aws {
                let named = aws.role_arns.arc_provisioning.as_ref().map(|arn| arn.0.clone());
                let default = role_arn(&aws.account_id, "DefenderForCloud-ArcAutoProvisioning");
                self.identity(ConnectorField::AwsArcProvisioningRole, named, default);
            }
            if let Some(proxy) = &arc.proxy {
                let proxy = unless_empty(proxy, Expected::Text);
                self.add(ConnectorField::ArcAgentProxy, proxy);
            }
            if let Some(scope) = &arc.private_link_scope {
                let scope = unless_empty(scope, Expected::ResourceId);
                self.add(ConnectorField::ArcAgentPrivateLinkScope, scope);
            }
        }
        if let Some(on) = switch(provisioning.defender_for_endpoint.state) {
            self.add(ConnectorField::DefenderForEndpointState, Expected::Flag(on));
        }
        if let Some(on) = switch(provisioning.vulnerability_assessment.state) {
            self.add(ConnectorField::VulnerabilityAssessmentState, Expected::Flag(on));
            if on {
                let provider = Expected::Word("TVM".into());
                self.add(ConnectorField::VulnerabilityAssessmentProvider, provider);
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
        self.add(ConnectorField::AgentlessState, Expected::Flag(on));
        if !on {
            return;
        }
        if let Some(aws) = &spec.aws {
            let named = aws.role_arns.agentless_scanner.as_ref().map(|arn| arn.0.clone());
            let default = role_arn(&aws.account_id, "DefenderForCloud-AgentlessScanner");
            self.identity(ConnectorField::AwsAgentlessScannerRole, named, default);
        }
        if let Some(tags) = scanning.and_then(|scanning| scanning.exclusion_tags.as_ref()) {
            let tags = tags
                .iter()
                .map(|tag| (tag.key.clone(), tag.value.clone()))
                .collect();
            self.add(ConnectorField::AgentlessExclusionTags, Expected::Tags(tags));
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
