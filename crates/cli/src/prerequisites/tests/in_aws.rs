//! An AWS account.

use super::*;

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
    // Another product may use it by the time the stack is deleted.
    assert_eq!(
        resources["ASCDefendersOIDCIdentityProvider"]["DeletionPolicy"],
        "Retain"
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
fn an_existing_provider_is_not_created_and_its_audiences_are_listed() {
    let text = whole(aws(), "--output cloudformation --existing-identity-provider");
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
    let terraform = whole(aws(), "--output terraform --existing-identity-provider");
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
fn the_text_always_warns_of_another_owner_of_the_provider() {
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

#[test]
fn terraform_for_an_account_refuses_another_one_and_has_the_same_roles() {
    let text = whole(aws(), "--output terraform");
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
    let organization = whole(aws_organization(), "--output terraform");
    assert!(blocks(&organization).contains(&"resource aws_cloudformation_stack_set members".to_owned()));
    // Terraform must not evaluate the template inside.
    assert!(organization.contains("$${AWS::AccountId}"));
    assert!(
        organization.contains("accounts                = [\"210987654321\"]"),
        "{organization}"
    );
}
