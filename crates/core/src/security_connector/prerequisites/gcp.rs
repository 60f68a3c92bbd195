//! A GCP project: workload identity pool and providers, service accounts and their roles, APIs (docs/azure-api.md 4.6).

use serverprotection_api::GcpProject;

use super::{Invalid, Parts, SERVERS_AUDIENCE, named};
use crate::security_connector::desired::{Desired, service_account};

/// Display name of the pool.
pub const POOL_NAME: &str = "Microsoft Defender for Cloud";

/// Maps the subject of a token to the identity in the pool.
pub const SUBJECT_MAPPING: (&str, &str) = ("google.subject", "assertion.sub");

/// Microsoft's own service account that takes the snapshots of agentless scanning.
pub const SCANNER: &str = "mdc-agentless-scanning@guardians-prod-diskscanning.iam.gserviceaccount.com";

/// Microsoft's service agent that reads disks with customer-managed keys; each key must grant it access.
pub const KEY_USER: &str = "service-220551266886@compute-system.iam.gserviceaccount.com";

/// The role that [`KEY_USER`] needs on a key.
pub const KEY_ROLE: &str = "roles/cloudkms.cryptoKeyEncrypterDecrypter";

/// Lets the identities of the pool impersonate a service account.
pub const FEDERATED_ROLE: &str = "roles/iam.workloadIdentityUser";

/// Lets one service account impersonate another.
pub const TOKEN_CREATOR_ROLE: &str = "roles/iam.serviceAccountTokenCreator";

const CSPM_AUDIENCE: &str = "api://6e81e733-9e7f-474a-85f0-385c097f7f52";
const ONBOARDING_AUDIENCE: &str = "api://d17a7d74-7e73-4e7d-bd41-8d9525e86cab";
/// The name is fixed; the connector cannot choose another one.
const ARC_ACCOUNT: &str = "azure-arc-for-servers-onboard";

/// What a GCP project must have; for an organization, its management project and the organization.
#[derive(Clone, Debug, PartialEq)]
pub struct Gcp {
    /// Id of the project.
    pub project_id: String,
    /// Number of the project.
    pub project_number: String,
    /// Whether roles are granted on the organization, so that they reach its projects.
    pub organization: bool,
    /// Numbers of the excluded projects.
    pub excluded_project_numbers: Vec<String>,
    /// APIs that must be on, as `iam.googleapis.com`.
    pub apis: Vec<&'static str>,
    /// Id of the workload identity pool: the tenant's id without dashes.
    pub pool: String,
    /// Its providers, each once.
    pub providers: Vec<Provider>,
    /// Roles that have to be defined.
    pub custom_roles: Vec<CustomRole>,
    /// The service accounts, each once.
    pub service_accounts: Vec<ServiceAccount>,
    /// The grants of Microsoft's own service accounts.
    pub foreign_grants: Vec<(&'static str, Grant)>,
}

/// A provider of the workload identity pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// A short name, unique among the providers: letters and _.
    pub key: &'static str,
    /// Paths of its id in the spec.
    pub fields: Vec<&'static str>,
    /// Its id.
    pub id: String,
    /// The audiences that it accepts.
    pub audiences: Vec<&'static str>,
}

/// A role that has to be defined, in the organization or the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomRole {
    /// A short name, unique among the roles: letters and _.
    pub key: &'static str,
    /// Its id, which is its title too.
    pub id: &'static str,
    /// The purpose in words.
    pub purpose: &'static str,
    /// Its permissions.
    pub permissions: Vec<&'static str>,
}

/// A role that is granted, in the organization or the project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Google's role, as `roles/viewer`.
    Predefined(&'static str),
    /// The id of a [`CustomRole`].
    Custom(&'static str),
}

/// A service account of the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// A short name, unique among the accounts: letters and _.
    pub key: &'static str,
    /// Paths of its email address in the spec; none where the name is fixed.
    pub fields: Vec<&'static str>,
    /// The part before the @.
    pub id: String,
    /// Its email address.
    pub email: String,
    /// Its display name.
    pub display_name: &'static str,
    /// What it is for.
    pub purposes: Vec<&'static str>,
    /// Its roles.
    pub grants: Vec<Grant>,
    /// Whether the identities of the pool impersonate it.
    pub federated: bool,
    /// Email address of the service account that impersonates it.
    pub used_by: Option<String>,
}

impl Gcp {
    pub(super) fn of(
        project: &GcpProject,
        desired: &Desired,
        parts: Parts,
        tenant: &str,
    ) -> Result<Self, Invalid> {
        let organization = project.organization.is_some();
        let mut gcp = Self {
            project_id: project.project_id.clone(),
            project_number: project.project_number.clone(),
            organization,
            excluded_project_numbers: excluded(project),
            apis: apis(parts),
            pool: tenant.replace('-', "").to_ascii_lowercase(),
            providers: Vec::new(),
            custom_roles: custom_roles(organization, parts),
            service_accounts: Vec::new(),
            foreign_grants: Vec::new(),
        };
        for connection in connections(organization, parts) {
            gcp.add(&connection, desired)?;
        }
        if parts.arc.is_served() {
            let servers = named(desired, "gcp.serviceAccounts.servers")?;
            let account = arc_account(&gcp.project_id, servers);
            let mut accounts = gcp.service_accounts.iter_mut();
            match accounts.find(|known| known.email == account.email) {
                Some(known) => known.used_by = account.used_by,
                None => gcp.service_accounts.push(account),
            }
        }
        if parts.agentless.is_served() {
            gcp.foreign_grants.push((SCANNER, Grant::Custom(SCANNING_ROLE)));
        }
        Ok(gcp)
    }

    /// Adds a service account and the provider through which it is used. If the spec gives one name to two purposes,
    /// it serves both.
    fn add(&mut self, connection: &Connection, desired: &Desired) -> Result<(), Invalid> {
        let Connection {
            account,
            provider,
            audience,
            ..
        } = *connection;
        let email = named(desired, account)?;
        let id = account_id(account, email, &self.project_id)?;
        let known = self
            .service_accounts
            .iter_mut()
            .find(|known| known.email == email);
        if let Some(known) = known {
            known.fields.push(account);
            known.purposes.push(connection.purpose);
            known.grants.extend(&connection.grants);
        } else {
            self.service_accounts.push(ServiceAccount {
                key: connection.key,
                fields: vec![account],
                id: id.into(),
                email: email.into(),
                display_name: connection.display_name,
                purposes: vec![connection.purpose],
                grants: connection.grants.clone(),
                federated: true,
                used_by: None,
            });
        }
        let id = provider_id(provider, named(desired, provider)?)?;
        let known = self.providers.iter_mut().find(|known| known.id == id);
        if let Some(known) = known {
            known.fields.push(provider);
            known.audiences.push(audience);
        } else {
            self.providers.push(Provider {
                key: connection.key,
                fields: vec![provider],
                id: id.into(),
                audiences: vec![audience],
            });
        }
        Ok(())
    }

    /// The pool's full name.
    pub fn pool_name(&self) -> String {
        format!(
            "projects/{}/locations/global/workloadIdentityPools/{}",
            self.project_number, self.pool
        )
    }

    /// All identities of the pool, as a member of a policy.
    pub fn pool_member(&self) -> String {
        format!("principalSet://iam.googleapis.com/{}/*", self.pool_name())
    }
}

/// How Defender for Cloud reaches the project for one purpose.
struct Connection {
    key: &'static str,
    account: &'static str,
    provider: &'static str,
    audience: &'static str,
    display_name: &'static str,
    purpose: &'static str,
    grants: Vec<Grant>,
}

/// In the order of the offerings.
fn connections(organization: bool, parts: Parts) -> Vec<Connection> {
    let mut all = Vec::new();
    if organization {
        all.push(Connection {
            key: "onboarding",
            account: "gcp.organization.serviceAccount",
            provider: "gcp.organization.workloadIdentityProvider",
            audience: ONBOARDING_AUDIENCE,
            display_name: "Microsoft Defender onboarding",
            purpose: "discovers the projects of the organization and connects them",
            grants: vec![Grant::Custom(ONBOARDING_ROLE)],
        });
    }
    all.push(Connection {
        key: "cspm",
        account: "gcp.serviceAccounts.cspm",
        provider: "gcp.workloadIdentityProviders.cspm",
        audience: CSPM_AUDIENCE,
        display_name: "Microsoft Defender CSPM",
        purpose: "discovers the resources of the project and reads their configuration",
        grants: vec![Grant::Predefined("roles/viewer"), Grant::Custom(CSPM_ROLE)],
    });
    if parts.servers.is_served() {
        let mut grants = vec![Grant::Predefined("roles/compute.viewer")];
        if parts.arc.is_served() {
            grants.push(Grant::Predefined("roles/osconfig.osPolicyAssignmentAdmin"));
            grants.push(Grant::Predefined("roles/osconfig.osPolicyAssignmentReportViewer"));
        }
        all.push(Connection {
            key: "servers",
            account: "gcp.serviceAccounts.servers",
            provider: "gcp.workloadIdentityProviders.servers",
            audience: SERVERS_AUDIENCE,
            display_name: "Microsoft Defender for Servers",
            purpose: if parts.arc.is_served() {
                "reads the machines and installs the Azure Arc agent with OS policies"
            } else {
                "reads the machines"
            },
            grants,
        });
    }
    all
}

fn arc_account(project: &str, servers: &str) -> ServiceAccount {
    ServiceAccount {
        key: "arc",
        fields: Vec::new(),
        id: ARC_ACCOUNT.into(),
        email: service_account(project, ARC_ACCOUNT),
        display_name: "Azure Arc for servers onboarding",
        purposes: vec!["is used while the Azure Arc agent is installed"],
        grants: Vec::new(),
        federated: false,
        used_by: Some(servers.into()),
    }
}

const CSPM_ROLE: &str = "MDCCspmCustomRole";
/// The custom role of the service account that connects the projects of an organization.
pub const ONBOARDING_ROLE: &str = "MDCCustomRole";
const SCANNING_ROLE: &str = "MDCAgentlessScanningRole";

fn custom_roles(organization: bool, parts: Parts) -> Vec<CustomRole> {
    // Folders and organizations exist above a project only.
    let above: &[&str] = &[
        "resourcemanager.folders.getIamPolicy",
        "resourcemanager.folders.list",
        "resourcemanager.organizations.get",
        "resourcemanager.organizations.getIamPolicy",
    ];
    let mut permissions = if organization { above.to_vec() } else { Vec::new() };
    permissions.push("storage.buckets.getIamPolicy");
    let mut roles = vec![CustomRole {
        key: "cspm",
        id: CSPM_ROLE,
        purpose: "reads the policies that the role Viewer does not show",
        permissions,
    }];
    if organization {
        roles.push(CustomRole {
            key: "onboarding",
            id: ONBOARDING_ROLE,
            purpose: "lists folders and projects, and switches on APIs in the projects that are connected",
            permissions: vec![
                "resourcemanager.folders.get",
                "resourcemanager.folders.list",
                "resourcemanager.projects.get",
                "resourcemanager.projects.list",
                "serviceusage.services.enable",
            ],
        });
    }
    if parts.agentless.is_served() {
        roles.push(CustomRole {
            key: "agentless_scanning",
            id: SCANNING_ROLE,
            purpose: "takes the snapshots of agentless scanning",
            permissions: vec!["compute.disks.createSnapshot", "compute.instances.get"],
        });
    }
    roles
}

fn apis(parts: Parts) -> Vec<&'static str> {
    let mut apis = vec![
        "cloudresourcemanager.googleapis.com",
        "compute.googleapis.com",
        "iam.googleapis.com",
        "iamcredentials.googleapis.com",
        "sts.googleapis.com",
    ];
    if parts.arc.is_served() {
        apis.push("osconfig.googleapis.com");
    }
    apis
}

fn excluded(project: &GcpProject) -> Vec<String> {
    let organization = project.organization.as_ref();
    organization
        .and_then(|organization| organization.excluded_project_numbers.clone())
        .unwrap_or_default()
}

/// The part before the @ of a service account of the project.
fn account_id<'a>(field: &str, email: &'a str, project: &str) -> Result<&'a str, Invalid> {
    let (id, _) = email.split_once('@').unwrap_or((email, ""));
    if service_account(project, id) != email {
        let message = format!(
            "{email} is not a service account of the project {project}; use a service account of this project"
        );
        return Err(Invalid::new(field, message));
    }
    let is_id = (6..=30).contains(&id.len())
        && id.starts_with(|first: char| first.is_ascii_lowercase())
        && !id.ends_with('-')
        && id
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
    if is_id {
        Ok(id)
    } else {
        let message = format!(
            "{id:?} is not a valid service account name; use 6 to 30 lower-case letters, digits and dashes, beginning with a letter"
        );
        Err(Invalid::new(field, message))
    }
}

fn provider_id<'a>(field: &str, id: &'a str) -> Result<&'a str, Invalid> {
    let is_id = (4..=32).contains(&id.len())
        && id
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
    if is_id && !id.starts_with("gcp-") {
        Ok(id)
    } else {
        let message = format!(
            "{id:?} is not a valid id of a workload identity provider; use 4 to 32 lower-case letters, digits and dashes, not beginning with gcp-"
        );
        Err(Invalid::new(field, message))
    }
}
