//! Input, and which parts of it affect the output.

use super::*;

#[test]
fn what_the_connector_does_not_ask_for_is_in_no_format() {
    let account = connector(
        "aws",
        &json!({"type": "AWS", "aws": {"accountId": "123456789012"}, "plan": {"tier": "Free"}}),
    );
    for format in ["text", "cloudformation", "terraform"] {
        let text = whole(account.clone(), &format!("--output {format}"));
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
        let text = whole(project.clone(), &format!("--output {format}"));
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
        let text = whole(connector("aws", &shape), &format!("--output {format}"));
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
        let text = whole(connector("aws", &shape), &format!("--output {format}"));
        for expected in [
            "autoProvisioning.arcAgent.state is Unmanaged",
            "agentlessScanning.state is Unmanaged",
            "DefenderForCloud-ArcAutoProvisioning",
            "DefenderForCloud-AgentlessScanner",
        ] {
            assert!(text.contains(expected), "{format}: {expected} in {text}");
        }
    }
}

#[test]
fn of_two_objects_with_one_name_the_last_one_counts() {
    let [protection, credential] = related();
    let other = connector(
        "aws",
        &json!({"type": "AWS", "aws": {"accountId": "999999999999"}}),
    );
    let text = printed(&[protection, credential, other, aws()], "--output terraform").unwrap();
    assert!(text.contains("123456789012") && !text.contains("999999999999"));
}

#[test]
fn plan_and_tenant_come_from_the_objects_or_from_flags() {
    let [protection, credential] = related();
    let has_action = |error: &CliError, part: &str| {
        let action = error.action.as_ref();
        action.is_some_and(|action| action.contains(part))
    };
    let errors = printed(&[aws()], "").unwrap_err();
    assert_eq!(errors.len(), 2, "{errors:#?}");
    for (error, flag) in errors.iter().zip(["--tier", "--tenant-id"]) {
        assert!(error.problem.contains("SecurityConnector team/aws"), "{error}");
        assert!(has_action(error, flag), "{error}");
        assert!(has_action(error, "ServerProtection prod"), "{error}");
    }
    let error = refused(&[aws(), protection.clone()], "");
    assert!(has_action(&error, "AzureCredential azure"), "{error}");
    assert!(has_action(&error, "--tenant-id"), "{error}");
    let error = refused(&[aws(), credential.clone()], "--tier P2");
    assert!(has_action(&error, "ServerProtection prod"), "{error}");
    let flags = format!("--tier p2 --tenant-id {{{}}}", TENANT.to_ascii_uppercase());
    let by_flags = printed(&[aws()], &flags).unwrap();
    assert_eq!(by_flags, whole(aws(), ""));
    // Another namespace is another team's.
    let mut elsewhere = protection;
    elsewhere["metadata"]["namespace"] = json!("other");
    assert!(printed(&[aws(), elsewhere, credential], "").is_err());
    // Agentless scanning needs plan P2.
    let error = refused(&[aws()], &format!("--tier P1 --tenant-id {TENANT}"));
    assert!(error.problem.contains("spec.agentlessScanning"), "{error}");
}

#[test]
fn the_tenant_may_come_from_a_credential_of_the_cluster() {
    let [mut protection, credential] = related();
    protection["spec"]["credentialRef"]["kind"] = json!("ClusterAzureCredential");
    let mut cluster = credential.clone();
    cluster["kind"] = json!("ClusterAzureCredential");
    cluster["metadata"].as_object_mut().unwrap().remove("namespace");
    let text = printed(&[protection.clone(), aws(), cluster], "").unwrap();
    assert_eq!(text, whole(aws(), ""));
    // The AzureCredential of this name is another one.
    let error = refused(&[aws(), protection, credential], "");
    let action = error.action.clone().unwrap_or_default();
    assert!(action.contains("ClusterAzureCredential azure"), "{error}");
}

#[test]
fn an_error_in_flags_names_the_valid_values() {
    let [protection, credential] = related();
    for (object, flags, expected_problem, expected_action) in [
        (
            aws(),
            "--output gcloud",
            "--output gcloud",
            "text, cloudformation, terraform",
        ),
        (
            gcp(),
            "--output cloudformation",
            "--output cloudformation",
            "text, gcloud, terraform",
        ),
        (
            gcp(),
            "--existing-identity-provider",
            "--existing-identity-provider",
            "omit",
        ),
        (aws(), "--name other", "--name other", "team/aws"),
    ] {
        let error = refused(&[protection.clone(), credential.clone(), object], flags);
        assert!(error.problem.contains(expected_problem), "{flags}: {error}");
        assert!(
            error
                .action
                .as_ref()
                .is_some_and(|action| action.contains(expected_action)),
            "{flags}: {error}"
        );
    }
    let error = refused(&[protection], "");
    assert!(error.problem.contains("no SecurityConnector"), "{error}");
}

#[test]
fn of_several_connectors_text_prints_all_and_the_others_one() {
    let [protection, credential] = related();
    let objects = [protection, credential, aws(), gcp()];
    let list = printed(&objects, "").unwrap();
    assert!(list.contains("SecurityConnector team/aws:") && list.contains("\n\nSecurityConnector team/gcp:"));
    let error = refused(&objects, "--output terraform");
    assert!(error.problem.contains("team/aws, team/gcp"), "{error}");
    assert!(
        error
            .action
            .as_ref()
            .is_some_and(|action| action.contains("--name")),
        "{error}"
    );
    for name in ["gcp", "team/gcp"] {
        let text = printed(&objects, &format!("-o terraform --name {name}")).unwrap();
        assert!(text.contains("google_project"));
    }
}

#[test]
fn a_list_of_kubectl_is_read() {
    let [protection, credential] = related();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [aws(), protection, credential, {"apiVersion": "v1", "kind": "Secret"}]});
    assert_eq!(printed(&[list], "").unwrap(), whole(aws(), ""));
}

#[test]
fn a_client_certificate_is_registered_with_the_application() {
    let credential = ours(
        "AzureCredential",
        "platform",
        &json!({"tenantId": TENANT, "clientId": TENANT, "type": "ClientCertificate",
            "clientCertificate": {"secretRef": {"name": "platform-tls"}}}),
    );
    let text = printed(std::slice::from_ref(&credential), "").unwrap();
    for part in [
        "AzureCredential team/platform: prerequisites of the application",
        "kubectl get secret -n team platform-tls -o jsonpath='{.data.tls\\.crt}' | base64 -d > tls.crt\n",
        &format!("az ad app credential reset --id {TENANT} --cert @tls.crt --append\n"),
    ] {
        assert!(text.contains(part), "{text}");
    }
    // Beside a connector in the list, and in no template.
    let both = [aws(), credential.clone()];
    let flags = format!("--tier P2 --tenant-id {TENANT}");
    let text = printed(&both, &flags).unwrap();
    assert!(
        text.contains("SecurityConnector team/aws") && text.contains("az ad app"),
        "{text}"
    );
    let template = printed(&both, &format!("{flags} --output cloudformation")).unwrap();
    assert!(!template.contains("az ad app"), "{template}");
    let error = refused(&[credential], "--output terraform");
    assert!(error.problem.contains("no SecurityConnector"), "{error}");
}
