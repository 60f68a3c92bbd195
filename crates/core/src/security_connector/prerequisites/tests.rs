//! What each kind of account needs: one row for each kind of connector.

use serde_json::{Value, json};
use serverprotection_api::{SecurityConnectorSpec, Tier};

use super::{
    Account, Invalid, Need, Prerequisites,
    aws::{self, Aws},
    gcp::{Gcp, Grant},
};
use crate::security_connector::samples::{aws, gcp, protection};

const TENANT: &str = "8EFA1C55-953C-42DF-A19D-D4599E4C64D4";

fn of(spec: &SecurityConnectorSpec, tier: Tier) -> Result<Prerequisites, Invalid> {
    Prerequisites::of("prod", spec, &protection(tier), TENANT)
}

fn in_aws(over: Value, tier: Tier) -> Aws {
    match of(&aws(over), tier).unwrap().account {
        Account::Aws(account) => account,
        Account::Gcp(_) => panic!("not AWS"),
    }
}

fn in_gcp(over: Value, tier: Tier) -> Gcp {
    match of(&gcp(over), tier).unwrap().account {
        Account::Gcp(account) => account,
        Account::Aws(_) => panic!("not GCP"),
    }
}

fn arc(state: &str) -> Value {
    json!({"autoProvisioning": {"arcAgent": {"state": state}}})
}

fn scanning(state: &str) -> Value {
    json!({"agentlessScanning": {"state": state}})
}

#[test]
fn an_account_needs_the_roles_of_what_the_connector_asks_for_and_no_other() {
    let (cspm, servers) = ("CspmMonitorAws", "DefenderForCloud-DefenderForServers");
    let (installer, scanner) = (
        "DefenderForCloud-ArcAutoProvisioning",
        "DefenderForCloud-AgentlessScanner",
    );
    for (over, tier, expected) in [
        (json!({}), Tier::P2, vec![cspm, servers, installer]),
        (json!({}), Tier::P1, vec![cspm, servers, installer]),
        (json!({}), Tier::Free, vec![cspm]),
        (arc("Disabled"), Tier::P2, vec![cspm, servers]),
        (arc("Unmanaged"), Tier::P2, vec![cspm, servers, installer]),
        (arc("Unmanaged"), Tier::Free, vec![cspm]),
        (
            scanning("Enabled"),
            Tier::P2,
            vec![cspm, servers, installer, scanner],
        ),
        (
            scanning("Unmanaged"),
            Tier::P2,
            vec![cspm, servers, installer, scanner],
        ),
        (scanning("Unmanaged"), Tier::P1, vec![cspm, servers, installer]),
        (scanning("Disabled"), Tier::P2, vec![cspm, servers, installer]),
        // The connector's own plan overrides that of the ServerProtection.
        (json!({"plan": {"tier": "Free"}}), Tier::P2, vec![cspm]),
    ] {
        let account = in_aws(over.clone(), tier);
        let names: Vec<_> = account.roles.iter().map(|role| role.name.as_str()).collect();
        assert_eq!(names, expected, "{over} {tier:?}");
    }
}

#[test]
fn the_identity_provider_knows_the_audiences_of_the_roles_and_no_other() {
    let servers = "api://AzureSecurityCenter.MultiCloud.DefenderForServers";
    let scanner = "api://AzureSecurityCenter.MultiCloud.DefenderForServers.VmScanner";
    let cspm = "api://4d8bed1f-eee7-4d8e-b0dc-8462049a4479";
    assert_eq!(in_aws(json!({}), Tier::Free).audiences, [cspm]);
    assert_eq!(in_aws(json!({}), Tier::P1).audiences, [cspm, servers]);
    assert_eq!(
        in_aws(scanning("Enabled"), Tier::P2).audiences,
        [cspm, servers, scanner]
    );
    assert_eq!(
        in_aws(json!({}), Tier::P1).provider_arn(),
        "arn:aws:iam::123456789012:oidc-provider/sts.windows.net/33e01921-4d64-4f8c-a055-5bdaffd5e33d/"
    );
    assert_eq!(
        aws::audience_key(),
        "sts.windows.net/33e01921-4d64-4f8c-a055-5bdaffd5e33d/:aud"
    );
}

#[test]
fn unmanaged_parts_are_prepared_and_mentioned() {
    let spec = aws(arc("Unmanaged"));
    let found = of(&spec, Tier::P2).unwrap();
    assert_eq!(found.parts.arc, Need::Perhaps);
    assert_eq!(found.parts.agentless, Need::No);
    assert_eq!(found.tenant, TENANT.to_ascii_lowercase());
    assert_eq!(
        of(&aws(scanning("Unmanaged")), Tier::P2).unwrap().parts.agentless,
        Need::Perhaps
    );
}

#[test]
fn a_role_keeps_the_name_and_path_of_the_spec() {
    let arn = "arn:aws:iam::123456789012:role/security/defender/Servers";
    let account = in_aws(json!({"aws": {"roleArns": {"servers": arn}}}), Tier::P2);
    let role = &account.roles[1];
    assert_eq!(
        (role.path.as_str(), role.name.as_str()),
        ("/security/defender/", "Servers")
    );
    assert_eq!(role.arn, arn);
}

#[test]
fn one_role_for_two_purposes_is_created_once_with_both_policies() {
    let arn = "arn:aws:iam::123456789012:role/Defender";
    let both = json!({"aws": {"roleArns": {"cspm": arn, "servers": arn, "arcProvisioning": arn}}});
    let account = in_aws(both, Tier::P2);
    assert_eq!(account.roles.len(), 1);
    let role = &account.roles[0];
    assert_eq!(role.uses.len(), 3);
    assert_eq!(role.audiences(), account.audiences);
    assert_eq!(role.audiences().len(), 2);
}

#[test]
fn an_organization_has_a_stack_set() {
    let organization = json!({"stackSetName": "defender", "excludedAccountIds": ["210987654321"]});
    let account = in_aws(json!({"aws": {"organization": organization}}), Tier::P2);
    let organization = account.organization.unwrap();
    assert_eq!(organization.stack_set_name, "defender");
    assert_eq!(organization.excluded_account_ids, ["210987654321"]);
    assert_eq!(in_aws(json!({}), Tier::P2).organization, None);
}

#[test]
fn only_deleting_is_bound_to_the_tag_and_no_statement_allows_all_actions() {
    let account = in_aws(scanning("Enabled"), Tier::P2);
    let policies = account.roles.iter().flat_map(|role| &role.uses);
    let statements = policies
        .filter_map(|used| used.policy)
        .flat_map(|policy| policy.statements);
    for statement in statements {
        assert!(!statement.actions.is_empty() && !statement.resources.is_empty());
        assert!(
            statement.actions.iter().all(|action| !action.contains('*')),
            "{statement:?}"
        );
        assert_eq!(
            statement.tagged.is_some(),
            statement.actions == ["ec2:DeleteSnapshot"],
            "{statement:?}"
        );
    }
}

fn emails(project: &Gcp) -> Vec<&str> {
    let accounts = project.service_accounts.iter();
    accounts.map(|account| account.email.as_str()).collect()
}

#[test]
fn a_project_needs_the_service_accounts_of_what_the_connector_asks_for_and_no_other() {
    let cspm = "microsoft-defender-cspm@my-project.iam.gserviceaccount.com";
    let servers = "microsoft-defender-for-servers@my-project.iam.gserviceaccount.com";
    let installer = "azure-arc-for-servers-onboard@my-project.iam.gserviceaccount.com";
    for (over, tier, expected) in [
        (json!({}), Tier::P2, vec![cspm, servers, installer]),
        (json!({}), Tier::Free, vec![cspm]),
        (arc("Disabled"), Tier::P1, vec![cspm, servers]),
        (arc("Unmanaged"), Tier::P1, vec![cspm, servers, installer]),
    ] {
        let project = in_gcp(over.clone(), tier);
        assert_eq!(emails(&project), expected, "{over} {tier:?}");
        let osconfig = project.apis.contains(&"osconfig.googleapis.com");
        assert_eq!(osconfig, expected.contains(&installer), "{over} {tier:?}");
        let admin = Grant::Predefined("roles/osconfig.osPolicyAssignmentAdmin");
        let grants = project
            .service_accounts
            .iter()
            .flat_map(|account| &account.grants);
        assert_eq!(
            grants.copied().any(|grant| grant == admin),
            expected.contains(&installer)
        );
    }
}

#[test]
fn a_project_has_a_pool_of_the_tenant_with_a_provider_for_each_connection() {
    let project = in_gcp(json!({}), Tier::P2);
    assert_eq!(project.pool, "8efa1c55953c42dfa19dd4599e4c64d4");
    assert_eq!(
        project.pool_member(),
        "principalSet://iam.googleapis.com/projects/843025268399/locations/global/workloadIdentityPools/8efa1c55953c42dfa19dd4599e4c64d4/*"
    );
    let providers: Vec<_> = project
        .providers
        .iter()
        .map(|provider| (provider.id.as_str(), provider.audiences.clone()))
        .collect();
    assert_eq!(
        providers,
        [
            ("cspm", vec!["api://6e81e733-9e7f-474a-85f0-385c097f7f52"]),
            (
                "defender-for-servers",
                vec!["api://AzureSecurityCenter.MultiCloud.DefenderForServers"]
            ),
        ]
    );
}

#[test]
fn scanning_in_a_project_is_a_grant_to_a_service_account_of_microsoft() {
    assert!(in_gcp(json!({}), Tier::P2).foreign_grants.is_empty());
    let project = in_gcp(scanning("Enabled"), Tier::P2);
    assert_eq!(project.foreign_grants.len(), 1);
    let (_, grant) = project.foreign_grants[0];
    let role = project
        .custom_roles
        .iter()
        .find(|role| grant == Grant::Custom(role.id));
    assert_eq!(
        role.unwrap().permissions,
        ["compute.disks.createSnapshot", "compute.instances.get"]
    );
}

#[test]
fn an_organization_has_a_service_account_that_connects_projects() {
    let organization = json!({
        "serviceAccount": "mdc-org@my-project.iam.gserviceaccount.com",
        "workloadIdentityProvider": "auto-provisioner", "excludedProjectNumbers": ["1"]
    });
    let project = in_gcp(json!({"gcp": {"organization": organization}}), Tier::Free);
    assert!(project.organization);
    assert_eq!(project.excluded_project_numbers, ["1"]);
    assert_eq!(project.service_accounts[0].id, "mdc-org");
    assert_eq!(project.providers[0].id, "auto-provisioner");
    let cspm = project
        .custom_roles
        .iter()
        .find(|role| role.id == "MDCCspmCustomRole");
    assert!(
        cspm.unwrap()
            .permissions
            .contains(&"resourcemanager.organizations.get")
    );
    // A role of a project cannot have permissions on folders and organizations.
    let alone = in_gcp(json!({}), Tier::Free);
    assert_eq!(
        alone.custom_roles[0].permissions,
        ["storage.buckets.getIamPolicy"]
    );
}

#[test]
fn one_name_for_two_purposes_serves_both() {
    let same = json!({"gcp": {
        "serviceAccounts": {"cspm": "defender@my-project.iam.gserviceaccount.com", "servers": "defender@my-project.iam.gserviceaccount.com"},
        "workloadIdentityProviders": {"cspm": "defender", "servers": "defender"}
    }});
    let project = in_gcp(same, Tier::P2);
    assert_eq!(project.providers.len(), 1);
    assert_eq!(project.providers[0].audiences.len(), 2);
    assert_eq!(project.service_accounts[0].grants.len(), 5);
    assert_eq!(emails(&project).len(), 2);
}

#[test]
fn a_domain_scoped_project_is_swapped_in_email_addresses() {
    let project = in_gcp(
        json!({"gcp": {"projectId": "example.com:my-project"}}),
        Tier::Free,
    );
    assert_eq!(
        emails(&project),
        ["microsoft-defender-cspm@my-project.example.com.iam.gserviceaccount.com"]
    );
}

#[test]
fn names_that_the_cloud_refuses_are_reported_with_their_field() {
    let role = |arn: &str| aws(json!({"aws": {"roleArns": {"servers": arn}}}));
    let account = |email: &str| gcp(json!({"gcp": {"serviceAccounts": {"cspm": email}}}));
    let provider = |id: &str| gcp(json!({"gcp": {"workloadIdentityProviders": {"cspm": id}}}));
    let long = format!("arn:aws:iam::123456789012:role/{}", "x".repeat(65));
    for (spec, field, reported) in [
        (
            role("arn:aws:iam::210987654321:role/Servers"),
            "aws.roleArns.servers",
            "another account",
        ),
        (role("Servers"), "aws.roleArns.servers", "not the ARN"),
        (role(&long), "aws.roleArns.servers", "at most 64"),
        (
            role("arn:aws:iam::123456789012:role/a\"b"),
            "aws.roleArns.servers",
            "not a valid role name",
        ),
        (
            account("microsoft-defender-cspm@other.iam.gserviceaccount.com"),
            "gcp.serviceAccounts.cspm",
            "not a service account of the project my-project",
        ),
        (
            account("short@my-project.iam.gserviceaccount.com"),
            "gcp.serviceAccounts.cspm",
            "6 to 30",
        ),
        (
            provider("gcp-x"),
            "gcp.workloadIdentityProviders.cspm",
            "not beginning with gcp-",
        ),
        (
            aws(json!({"plan": {"tier": "P1"}, "agentlessScanning": {"state": "Enabled"}})),
            "agentlessScanning",
            "P2",
        ),
    ] {
        let error = of(&spec, Tier::P2).unwrap_err();
        assert_eq!(error.field, field);
        assert!(error.to_string().contains(reported), "{error}");
    }
}
