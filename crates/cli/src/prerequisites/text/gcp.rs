//! The list for a GCP project.

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
        page.note("In the management project, and in the projects of the organization (Defender for Cloud may switch them on itself).");
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
            ["Microsoft's own service account: takes the snapshots of agentless scanning"],
        );
        page.detail("Roles", [grant_name(*grant)]);
    }
    if found.parts.agentless.is_served() {
        keys(page);
    }
    if !project.excluded_project_numbers.is_empty() {
        page.note(&format!(
            "Projects that are left out ({}) are not connected, but inherit what is granted on the organization.",
            project.excluded_project_numbers.join(", ")
        ));
    }
    page.section("What can stand in the way");
    obstacles(page, found);
    if found.parts.arc.is_served() {
        page.section("Machines (Compute Engine), for the Azure Arc agent");
        machines(page, project);
    }
    page.section("Templates");
    page.note("--output gcloud and --output terraform print APIs, pool, providers, custom roles, service accounts and grants.");
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
    page.note("The id is the Entra tenant's without dashes: Defender for Cloud looks for it by that.");
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
    page.detail("Who acts as it", users);
    if account.grants.contains(&Grant::Custom(ONBOARDING_ROLE)) {
        page.note("Microsoft's script also grants iam.roles.create, iam.roles.list, iam.serviceAccounts.actAs, compute.projects.get and");
        page.note("compute.projects.setCommonInstanceMetadata, with which Defender for Cloud prepares the projects itself. Without");
        page.note("them, metadata enable-osconfig is for you to set.");
    }
}

fn grant_name(grant: Grant) -> String {
    match grant {
        Grant::Predefined(role) => role.into(),
        Grant::Custom(id) => format!("{id} (custom, above)"),
    }
}

fn keys(page: &mut Page) {
    page.note("Disks with a key of your own (CMEK) are scanned only if Microsoft's service agent may use the key; for each key:");
    page.command(
        "gcloud kms keys add-iam-policy-binding KEY --keyring=RING --location=LOCATION --project=KEY_PROJECT \\",
    );
    page.command(&format!("  --member=serviceAccount:{KEY_USER} --role={KEY_ROLE}"));
    page.note("Disks with customer-supplied keys (CSEK) cannot be scanned.");
}

fn obstacles(page: &mut Page, found: &Prerequisites) {
    page.item("Organization policy iam.workloadIdentityPoolProviders allows the issuer");
    page.command(ISSUER);
    if found.parts.agentless.is_served() {
        page.item("Organization policy iam.allowedPolicyMemberDomains (domain-restricted sharing) lets Microsoft's service account");
        page.note("be a member of policies");
    } else {
        page.item("Organization policy iam.allowedPolicyMemberDomains (domain-restricted sharing) allows the members above");
    }
    page.item("Organization policy iam.disableServiceAccountCreation is not enforced while the service accounts are made");
    page.item("VPC service controls: no perimeter keeps the pool's identities from the APIs above");
}

fn machines(page: &mut Page, project: &Gcp) {
    page.item("OS Config agent (google-osconfig-agent), running: most images of Google have it");
    page.item("Metadata enable-osconfig=TRUE, of the machine or of its project (VM Manager may cost; see its price list):");
    let which = if project.organization {
        "PROJECT"
    } else {
        &project.project_id
    };
    page.command(&format!(
        "gcloud compute project-info add-metadata --project={which} --metadata=enable-osconfig=TRUE"
    ));
    page.item("A service account on the machine, without any role: OS Config signs its requests as it");
    page.item("Outgoing HTTPS to osconfig, compute and containeranalysis (.googleapis.com), to gbl.his.arc.azure.com,");
    page.note(
        "agentonboarding.defenderforservers.security.azure.com, and to the endpoints of the Azure Arc agent",
    );
    page.item("An operating system that the Azure Arc agent supports");
}
