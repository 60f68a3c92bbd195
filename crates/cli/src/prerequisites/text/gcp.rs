//! The checklist for a GCP project.

use serverprotection_core::security_connector::prerequisites::{
    ISSUER, Prerequisites,
    gcp::{
        CustomRole, FEDERATED_ROLE, Gcp, Grant, KEY_ROLE, KEY_USER, ONBOARDING_ROLE, POOL_NAME,
        SUBJECT_MAPPING, ServiceAccount, TOKEN_CREATOR_ROLE,
    },
};

use super::Page;

pub(super) fn list(page: &mut Page, found: &Prerequisites, project: &Gcp) {
    page.section("APIs");
    for api in &project.apis {
        page.item(api);
    }
    if project.organization {
        page.note("Enable them in the management project and in the projects of the organization; Defender for Cloud may enable them itself.");
    }
    page.section("Workload identity pool");
    pool(page, project);
    page.section(&format!("Custom roles, in the {}", scope(project)));
    for role in &project.custom_roles {
        role_item(page, role);
    }
    page.section(&format!(
        "Service accounts of the project, with their roles in the {}",
        scope(project)
    ));
    for account in &project.service_accounts {
        account_item(page, project, account);
    }
    for (email, grant) in &project.foreign_grants {
        page.item(email);
        page.detail(
            "Purpose",
            ["service account of Microsoft that takes the snapshots of agentless scanning"],
        );
        page.detail("Roles", [grant_name(*grant)]);
    }
    if found.parts.agentless.is_served() {
        keys(page);
    }
    if !project.excluded_project_numbers.is_empty() {
        page.note(&format!(
            "Excluded projects ({}) are not connected, but inherit the roles that are granted on the organization.",
            project.excluded_project_numbers.join(", ")
        ));
    }
    page.section("Possible obstacles");
    obstacles(page, found);
    if found.parts.arc.is_served() {
        page.section("Machines (Compute Engine), for the Azure Arc agent");
        machines(page, project);
    }
    page.section("Templates");
    page.note("--output gcloud and --output terraform print APIs, pool, providers, custom roles, service accounts and role grants.");
}

fn scope(project: &Gcp) -> &'static str {
    if project.organization {
        "organization"
    } else {
        "project"
    }
}

fn pool(page: &mut Page, project: &Gcp) {
    let (google, assertion) = SUBJECT_MAPPING;
    page.item(&format!("Pool {}", project.pool_name()));
    page.detail("Name", [POOL_NAME]);
    page.note("Its ID is the ID of the Entra tenant without hyphens, because Defender for Cloud finds the pool by this ID.");
    for provider in &project.providers {
        page.item(&format!("Provider {} in this pool (OpenID Connect)", provider.id));
        page.detail("Spec", &provider.fields);
        page.detail("Issuer", [ISSUER]);
        page.detail("Audiences", &provider.audiences);
        page.detail("Mapping", [format!("{google} = {assertion}")]);
    }
}

fn role_item(page: &mut Page, role: &CustomRole) {
    page.item(role.id);
    page.detail("Purpose", [role.purpose]);
    page.detail("Permissions", &role.permissions);
}

fn account_item(page: &mut Page, project: &Gcp, account: &ServiceAccount) {
    page.item(&account.email);
    page.detail("Spec", &account.fields);
    page.detail("Name", [account.display_name]);
    page.detail("Purpose", &account.purposes);
    page.detail("Roles", account.grants.iter().map(|grant| grant_name(*grant)));
    let mut users = Vec::new();
    if account.federated {
        users.push(format!("{FEDERATED_ROLE} for {}", project.pool_member()));
    }
    if let Some(user) = &account.used_by {
        users.push(format!("{TOKEN_CREATOR_ROLE} for serviceAccount:{user}"));
    }
    page.detail("Can be used by", users);
    if account.grants.contains(&Grant::Custom(ONBOARDING_ROLE)) {
        page.note("Microsoft's script also grants iam.roles.create, iam.roles.list, iam.serviceAccounts.actAs, compute.projects.get and");
        page.note("compute.projects.setCommonInstanceMetadata, so that Defender for Cloud can prepare the projects itself. Without them,");
        page.note("set the metadata enable-osconfig yourself.");
    }
}

fn grant_name(grant: Grant) -> String {
    match grant {
        Grant::Predefined(role) => role.into(),
        Grant::Custom(id) => format!("{id} (custom, above)"),
    }
}

fn keys(page: &mut Page) {
    page.note("Disks with a customer-managed key (CMEK) are scanned only if the service agent of Microsoft can use the key. For each key:");
    page.command(
        "gcloud kms keys add-iam-policy-binding KEY --keyring=RING --location=LOCATION --project=KEY_PROJECT \\",
    );
    page.command(&format!("  --member=serviceAccount:{KEY_USER} --role={KEY_ROLE}"));
    page.note("Disks with a customer-supplied key (CSEK) cannot be scanned.");
}

fn obstacles(page: &mut Page, found: &Prerequisites) {
    page.item("Organization policy iam.workloadIdentityPoolProviders allows the issuer");
    page.command(ISSUER);
    if found.parts.agentless.is_served() {
        page.item("Organization policy iam.allowedPolicyMemberDomains (domain-restricted sharing) allows the service account of");
        page.note("Microsoft as a member");
    } else {
        page.item("Organization policy iam.allowedPolicyMemberDomains (domain-restricted sharing) allows the members above");
    }
    page.item("Organization policy iam.disableServiceAccountCreation is not enforced while the service accounts are created");
    page.item("VPC Service Controls: no perimeter blocks the identities of the pool from the APIs above");
}

fn machines(page: &mut Page, project: &Gcp) {
    page.item("OS Config agent (google-osconfig-agent), running; included in most images of Google");
    page.item(
        "Metadata enable-osconfig=TRUE on the machine or on its project (VM Manager may incur charges):",
    );
    let which = if project.organization {
        "PROJECT"
    } else {
        &project.project_id
    };
    page.command(&format!(
        "gcloud compute project-info add-metadata --project={which} --metadata=enable-osconfig=TRUE"
    ));
    page.item("A service account on the machine; it needs no role, because OS Config only signs its requests with it");
    page.item("Outgoing HTTPS to osconfig, compute and containeranalysis (.googleapis.com), to gbl.his.arc.azure.com,");
    page.note(
        "agentonboarding.defenderforservers.security.azure.com, and to the endpoints of the Azure Arc agent",
    );
    page.item("An operating system that the Azure Arc agent supports");
}
