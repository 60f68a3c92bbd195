//! What is printed, as its readers take it: YAML parsed again, Terraform and shell by their statements.

use clap::Parser;
use serde_json::{Value, json};

use super::*;

const TENANT: &str = "8efa1c55-953c-42df-a19d-d4599e4c64d4";
const ISSUER_ARN: &str = "oidc-provider/sts.windows.net/33e01921-4d64-4f8c-a055-5bdaffd5e33d/";

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

/// Prints an input by flags.
fn printed(objects: &[Value], flags: &str) -> Result<String, String> {
    let words = ["prerequisites", "-f", "x.yaml"]
        .into_iter()
        .chain(flags.split_whitespace());
    let args = Command::try_parse_from(words)
        .map_err(|error| error.to_string())?
        .args;
    let text: Vec<_> = objects.iter().map(Value::to_string).collect();
    rendered(&args, &[("x.yaml".into(), text.join("\n---\n"))])
}

fn ours(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "serverprotection.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": "team"}, "spec": spec
    })
}

fn connector(name: &str, shape: &Value) -> Value {
    let mut spec =
        json!({"protectionRef": {"name": "prod"}, "resourceGroup": "rg", "location": "westeurope"});
    for (member, value) in shape.as_object().unwrap() {
        spec[member] = value.clone();
    }
    ours("SecurityConnector", name, &spec)
}

fn aws() -> Value {
    connector(
        "aws",
        &json!({"type": "AWS", "aws": {"accountId": "123456789012"}, "agentlessScanning": {"state": "Enabled"}}),
    )
}

fn aws_organization() -> Value {
    let organization = json!({"stackSetName": "defender", "excludedAccountIds": ["210987654321"]});
    connector(
        "org",
        &json!({"type": "AWS", "aws": {"accountId": "123456789012", "organization": organization}}),
    )
}

fn gcp() -> Value {
    let project = json!({"projectNumber": "843025268399", "projectId": "my-project"});
    connector(
        "gcp",
        &json!({"type": "GCP", "gcp": project, "agentlessScanning": {"state": "Enabled"}}),
    )
}

fn gcp_organization() -> Value {
    let organization = json!({
        "serviceAccount": "mdc-org@my-project.iam.gserviceaccount.com", "workloadIdentityProvider": "auto-provisioner"
    });
    let project =
        json!({"projectNumber": "843025268399", "projectId": "my-project", "organization": organization});
    connector("org", &json!({"type": "GCP", "gcp": project}))
}

fn beside() -> [Value; 2] {
    let reference = json!({"kind": "AzureCredential", "name": "azure"});
    [
        ours(
            "ServerProtection",
            "prod",
            &json!({"subscriptionId": "6f1c0d7e-0000-4000-8000-000000000001", "credentialRef": reference, "plan": {"tier": "P2"}}),
        ),
        ours(
            "AzureCredential",
            "azure",
            &json!({"tenantId": TENANT, "clientId": TENANT, "type": "WorkloadIdentity", "workloadIdentity": {"serviceAccountName": "x"}}),
        ),
    ]
}

fn whole(connector: Value, flags: &str) -> String {
    let [protection, credential] = beside();
    printed(&[protection, connector, credential], flags).unwrap()
}

fn template(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn cloudformation(connector: Value, flags: &str) -> Value {
    template(&whole(connector, &format!("--format cloudformation {flags}")))
}

#[test]
fn the_template_of_an_account_has_the_provider_and_the_roles() {
    let template = cloudformation(aws(), "");
    let resources = template["Resources"].as_object().unwrap();
    let kinds: Vec<_> = resources
        .iter()
        .map(|(id, resource)| (id.as_str(), resource["Type"].as_str().unwrap()))
        .collect();
    assert_eq!(
        kinds,
        [
            ("ASCDefendersOIDCIdentityProvider", "AWS::IAM::OIDCProvider"),
            ("AgentlessScannerRole", "AWS::IAM::Role"),
            ("ArcProvisioningRole", "AWS::IAM::Role"),
            ("CspmRole", "AWS::IAM::Role"),
            ("ServersRole", "AWS::IAM::Role"),
        ]
    );
    let scanner = &resources["AgentlessScannerRole"]["Properties"];
    let statement = &scanner["AssumeRolePolicyDocument"]["Statement"][0];
    assert_eq!(
        statement["Principal"]["Federated"],
        json!({"Ref": "ASCDefendersOIDCIdentityProvider"})
    );
    assert_eq!(
        statement["Condition"]["StringEquals"],
        json!({
            "sts.windows.net/33e01921-4d64-4f8c-a055-5bdaffd5e33d/:aud":
                ["api://AzureSecurityCenter.MultiCloud.DefenderForServers.VmScanner"],
            "sts:RoleSessionName": format!("MicrosoftDefenderForClouds_{TENANT}"),
        })
    );
    let deletion = scanner["Policies"][0]["PolicyDocument"]["Statement"]
        .as_array()
        .unwrap()
        .iter()
        .find(|statement| statement["Action"] == json!(["ec2:DeleteSnapshot"]))
        .unwrap();
    assert_eq!(
        deletion["Condition"]["StringEquals"]["aws:ResourceTag/CreatedBy"],
        "Microsoft Defender for Cloud"
    );
    assert_eq!(
        resources["CspmRole"]["Properties"]["ManagedPolicyArns"],
        json!(["arn:aws:iam::aws:policy/SecurityAudit"])
    );
}

#[test]
fn a_provider_that_is_there_is_not_made_and_its_audiences_are_named() {
    let text = whole(aws(), "--format cloudformation --existing-identity-provider");
    let template = template(&text);
    let resources = template["Resources"].as_object().unwrap();
    assert!(
        resources
            .values()
            .all(|resource| resource["Type"] == "AWS::IAM::Role")
    );
    let trust = &resources["CspmRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"][0];
    assert_eq!(
        trust["Principal"]["Federated"]["Fn::Sub"],
        format!("arn:aws:iam::${{AWS::AccountId}}:{ISSUER_ARN}")
    );
    let terraform = whole(aws(), "--format terraform --existing-identity-provider");
    assert!(terraform.contains("data \"aws_iam_openid_connect_provider\" \"defender\""));
    assert!(!terraform.contains("resource \"aws_iam_openid_connect_provider\""));
    assert!(terraform.contains("Federated = data.aws_iam_openid_connect_provider.defender.arn"));
    let list = whole(aws(), "--existing-identity-provider");
    for output in [text, terraform, list] {
        let added = output
            .matches("add-client-id-to-open-id-connect-provider")
            .count();
        assert_eq!(added, 3, "{output}");
        assert!(output.contains(&format!(
            "--open-id-connect-provider-arn arn:aws:iam::123456789012:{ISSUER_ARN} --client-id api://4d8bed1f-eee7-4d8e-b0dc-8462049a4479"
        )));
    }
}

#[test]
fn the_text_always_names_the_other_owner_of_the_provider() {
    for flags in ["", "--existing-identity-provider"] {
        let list = whole(aws(), flags);
        assert!(list.contains("Microsoft Sentinel"), "{list}");
        assert!(
            list.contains("add-client-id-to-open-id-connect-provider"),
            "{list}"
        );
    }
}

#[test]
fn the_template_of_an_organization_holds_the_stack_set_and_the_template_of_its_members() {
    let template = cloudformation(aws_organization(), "");
    let stack_set = &template["Resources"]["MemberAccounts"]["Properties"];
    assert_eq!(stack_set["StackSetName"], "defender");
    assert_eq!(stack_set["PermissionModel"], "SERVICE_MANAGED");
    let targets = &stack_set["StackInstancesGroup"][0]["DeploymentTargets"];
    assert_eq!(targets["Accounts"], json!(["210987654321"]));
    assert_eq!(targets["AccountFilterType"], "DIFFERENCE");
    let body: Value = serde_saphyr::from_str(stack_set["TemplateBody"].as_str().unwrap()).unwrap();
    let of = |template: &Value| {
        let resources = template["Resources"].as_object().unwrap();
        let names = resources
            .values()
            .filter_map(|resource| resource["Properties"]["RoleName"].as_str());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    // Azure expects the same names in every account.
    assert_eq!(of(&body), of(&template));
    assert_eq!(of(&body).len(), 3);
    assert_eq!(body["Parameters"]["IdentityProvider"]["Default"], "New");
    assert_eq!(
        body["Resources"]["ASCDefendersOIDCIdentityProvider"]["Condition"],
        "MakesIdentityProvider"
    );
    assert!(!body.to_string().contains("123456789012"), "of no account");
}

/// The blocks of a Terraform file: `resource aws_iam_role cspm`.
fn blocks(text: &str) -> Vec<String> {
    let heads = text
        .lines()
        .filter(|line| line.ends_with('{') && !line.starts_with(' '));
    heads
        .map(|line| line.trim_end_matches(" {").replace('"', ""))
        .collect()
}

#[test]
fn terraform_for_an_account_refuses_another_one_and_has_the_same_roles() {
    let text = whole(aws(), "--format terraform");
    assert!(text.contains("allowed_account_ids = [\"123456789012\"]"));
    let roles: Vec<_> = blocks(&text)
        .into_iter()
        .filter(|block| block.starts_with("resource aws_iam_role "))
        .collect();
    assert_eq!(
        roles,
        ["cspm", "servers", "arc_provisioning", "agentless_scanner"]
            .map(|key| format!("resource aws_iam_role {key}"))
    );
    assert!(text.contains("\"arn:aws:ec2:*:123456789012:instance/*\""));
    assert!(!text.contains("{account}"));
    let organization = whole(aws_organization(), "--format terraform");
    assert!(blocks(&organization).contains(&"resource aws_cloudformation_stack_set members".to_owned()));
    // The template inside is no template of Terraform.
    assert!(organization.contains("$${AWS::AccountId}"));
    assert!(
        organization.contains("accounts                = [\"210987654321\"]"),
        "{organization}"
    );
}

#[test]
fn terraform_for_a_project_has_pool_providers_accounts_and_grants() {
    let text = whole(gcp(), "--format terraform");
    let blocks = blocks(&text);
    for wanted in [
        "resource google_iam_workload_identity_pool defender",
        "resource google_iam_workload_identity_pool_provider cspm",
        "resource google_iam_workload_identity_pool_provider servers",
        "resource google_service_account cspm",
        "resource google_service_account servers",
        "resource google_service_account arc",
        "resource google_service_account_iam_member arc_used",
        "resource google_project_iam_custom_role agentless_scanning",
        "resource google_project_iam_member microsoft_1",
    ] {
        assert!(blocks.contains(&wanted.to_owned()), "{wanted}: {blocks:#?}");
    }
    assert!(!text.contains("organization_id"), "{text}");
    // A binding would throw out everybody else.
    assert!(!text.contains("iam_binding"));
    let organization = whole(gcp_organization(), "--format terraform");
    assert!(organization.contains("variable \"organization_id\""));
    assert!(organization.contains("resource \"google_organization_iam_member\" \"onboarding_1\""));
    assert!(!organization.contains("google_project_iam_member"));
}

#[test]
fn the_script_of_a_project_calls_for_everything_once() {
    let text = whole(gcp(), "--format gcloud");
    assert!(text.starts_with("#!/usr/bin/env bash\n"));
    let calls = |word: &str| text.lines().filter(|line| line.starts_with(word)).count();
    assert_eq!(calls("set -euo pipefail"), 1);
    assert_eq!(calls("provider "), 2);
    assert_eq!(calls("custom_role "), 2);
    assert_eq!(calls("service_account "), 3);
    assert_eq!(calls("grant "), 6);
    assert_eq!(calls("lets "), 3);
    assert!(!text.contains("--organization"));
    let organization = whole(gcp_organization(), "--format gcloud");
    assert!(organization.contains("provider auto-provisioner api://d17a7d74-7e73-4e7d-bd41-8d9525e86cab\n"));
    assert!(organization.contains("role_scope=(\"--organization=$organization\")"));
}

#[test]
fn what_the_connector_does_not_ask_for_is_in_no_format() {
    let account = connector(
        "aws",
        &json!({"type": "AWS", "aws": {"accountId": "123456789012"}, "plan": {"tier": "Free"}}),
    );
    for format in ["text", "cloudformation", "terraform"] {
        let text = whole(account.clone(), &format!("--format {format}"));
        assert!(text.contains("CspmMonitorAws"), "{text}");
        assert!(text.contains("The plan is Free"), "{text}");
        for absent in ["ssm:", "VmScanner", "kms:", "DefenderForCloud-"] {
            assert!(!text.contains(absent), "{format}: {absent} in {text}");
        }
    }
    let project = json!({"projectNumber": "843025268399", "projectId": "my-project"});
    let project = connector(
        "gcp",
        &json!({"type": "GCP", "gcp": project, "plan": {"tier": "Free"}}),
    );
    for format in ["text", "gcloud", "terraform"] {
        let text = whole(project.clone(), &format!("--format {format}"));
        for absent in ["osconfig", "azure-arc", "guardians", "MultiCloud"] {
            assert!(!text.contains(absent), "{format}: {absent} in {text}");
        }
    }
}

#[test]
fn without_the_azure_arc_agent_nothing_is_installed_and_machines_need_nothing() {
    let no_agent = json!({"arcAgent": {"state": "Disabled"}});
    let shape = json!({"type": "AWS", "aws": {"accountId": "123456789012"}, "autoProvisioning": no_agent});
    for format in ["text", "cloudformation", "terraform"] {
        let text = whole(connector("aws", &shape), &format!("--format {format}"));
        assert!(text.contains("DefenderForCloud-DefenderForServers"), "{text}");
        assert!(
            text.contains("autoProvisioning.arcAgent.state is Disabled"),
            "{text}"
        );
        for absent in [
            "ssm:",
            "DefenderForCloud-ArcAutoProvisioning",
            "VmScanner",
            "Machines (EC2)",
        ] {
            assert!(!text.contains(absent), "{format}: {absent} in {text}");
        }
    }
}

#[test]
fn what_is_unmanaged_is_included_and_said() {
    let unmanaged = json!({"arcAgent": {"state": "Unmanaged"}});
    let shape = json!({
        "type": "AWS", "aws": {"accountId": "123456789012"}, "autoProvisioning": unmanaged,
        "agentlessScanning": {"state": "Unmanaged"}
    });
    for format in ["text", "cloudformation", "terraform"] {
        let text = whole(connector("aws", &shape), &format!("--format {format}"));
        for wanted in [
            "autoProvisioning.arcAgent.state is Unmanaged",
            "agentlessScanning.state is Unmanaged",
            "DefenderForCloud-ArcAutoProvisioning",
            "DefenderForCloud-AgentlessScanner",
        ] {
            assert!(text.contains(wanted), "{format}: {wanted} in {text}");
        }
    }
}

#[test]
fn of_two_objects_with_one_name_the_last_one_counts() {
    let [protection, credential] = beside();
    let other = connector(
        "aws",
        &json!({"type": "AWS", "aws": {"accountId": "999999999999"}}),
    );
    let text = printed(&[protection, credential, other, aws()], "--format terraform").unwrap();
    assert!(text.contains("123456789012") && !text.contains("999999999999"));
}

#[test]
fn plan_and_tenant_come_from_the_objects_or_from_flags() {
    let [protection, credential] = beside();
    let error = printed(&[aws()], "").unwrap_err();
    assert!(
        error.contains("--tier") && error.contains("--tenant-id"),
        "{error}"
    );
    let error = printed(&[aws(), protection.clone()], "").unwrap_err();
    assert!(
        error.contains("AzureCredential azure") && !error.contains("--tier"),
        "{error}"
    );
    let error = printed(&[aws(), credential.clone()], "--tier P2").unwrap_err();
    assert!(
        error.contains("ServerProtection prod is not in the input"),
        "{error}"
    );
    let flags = format!("--tier p2 --tenant-id {{{}}}", TENANT.to_ascii_uppercase());
    let by_flags = printed(&[aws()], &flags).unwrap();
    assert_eq!(by_flags, whole(aws(), ""));
    // Another namespace is another team's.
    let mut elsewhere = protection;
    elsewhere["metadata"]["namespace"] = json!("other");
    assert!(printed(&[aws(), elsewhere, credential], "").is_err());
    // The protection's plan has no agentless scanning.
    let error = printed(&[aws()], &format!("--tier P1 --tenant-id {TENANT}")).unwrap_err();
    assert!(error.contains("spec.agentlessScanning: needs plan P2"), "{error}");
}

#[test]
fn a_format_that_does_not_fit_names_those_that_do() {
    let [protection, credential] = beside();
    for (object, flags, told) in [
        (aws(), "--format gcloud", "use text, cloudformation, terraform"),
        (gcp(), "--format cloudformation", "use text, gcloud, terraform"),
        (gcp(), "--existing-identity-provider", "is for AWS"),
        (aws(), "--name nobody", "the input has team/aws"),
    ] {
        let error = printed(&[protection.clone(), credential.clone(), object], flags).unwrap_err();
        assert!(error.contains(told), "{flags}: {error}");
    }
    let error = printed(&[protection], "").unwrap_err();
    assert!(error.contains("no SecurityConnector"), "{error}");
}

#[test]
fn of_several_connectors_text_prints_all_and_the_others_one() {
    let [protection, credential] = beside();
    let objects = [protection, credential, aws(), gcp()];
    let list = printed(&objects, "").unwrap();
    assert!(list.contains("SecurityConnector team/aws:") && list.contains("\n\nSecurityConnector team/gcp:"));
    let error = printed(&objects, "--format terraform").unwrap_err();
    assert!(
        error.contains("team/aws, team/gcp") && error.contains("--name"),
        "{error}"
    );
    for name in ["gcp", "team/gcp"] {
        let text = printed(&objects, &format!("--format terraform --name {name}")).unwrap();
        assert!(text.contains("google_project"));
    }
}

#[test]
fn a_list_of_kubectl_is_read() {
    let [protection, credential] = beside();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [aws(), protection, credential, {"apiVersion": "v1", "kind": "Secret"}]});
    assert_eq!(printed(&[list], "").unwrap(), whole(aws(), ""));
}
