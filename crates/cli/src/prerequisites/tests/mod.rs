//! The output of every format: YAML parsed again, Terraform and shell by their statements.

mod hostile;
mod in_aws;
mod in_gcp;
mod input;

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

/// Runs the command with an input and flags.
fn printed(objects: &[Value], flags: &str) -> Result<String, Vec<CliError>> {
    let words = ["prerequisites", "-f", "x.yaml"]
        .into_iter()
        .chain(flags.split_whitespace());
    let args = Command::try_parse_from(words).unwrap().args;
    let text: Vec<_> = objects.iter().map(Value::to_string).collect();
    rendered(&args, &[Text::new("x.yaml", text.join("\n---\n"))])
}

/// The only error of the command.
fn refused(objects: &[Value], flags: &str) -> CliError {
    let mut errors = printed(objects, flags).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    errors.remove(0)
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

fn related() -> [Value; 2] {
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
    let [protection, credential] = related();
    printed(&[protection, connector, credential], flags).unwrap()
}

fn template(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn cloudformation(connector: Value, flags: &str) -> Value {
    template(&whole(connector, &format!("--output cloudformation {flags}")))
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
