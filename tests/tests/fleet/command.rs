//! `serverprotection machines` against the same Azure, without a cluster.

use std::{process::Stdio, sync::Arc};

use serde_json::{Value, json};
use serverprotection_tests::{
    Error, binaries, cases, emulator::TENANT, env::Environment, harness::Case, team::Team,
};
use tokio::process::Command;

use super::protected;

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        the_command_lists_every_machine_and_its_exit_code_fits,
        the_command_reports_errors,
        the_command_reads_objects_and_their_exclusions,
        the_migration_adds_up,
        the_managed_identity_of_the_node_uses_plain_http,
    ]
}

/// Exit code and output of the command.
pub(super) struct Ran {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

pub(super) async fn run(
    team: &Team<'_>,
    secret: &str,
    arguments: &[&str],
    input: Option<&str>,
) -> Result<Ran, Error> {
    let environment = [
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_ID", &team.client_id),
        ("AZURE_CLIENT_SECRET", secret),
    ];
    run_with(team, &environment, arguments, input).await
}

async fn run_with(
    team: &Team<'_>,
    environment: &[(&str, &str)],
    arguments: &[&str],
    input: Option<&str>,
) -> Result<Ran, Error> {
    let emulator = &team.environment.emulator;
    let mut command = Command::new(binaries::ours("serverprotection")?);
    command
        .arg("machines")
        .args(["--resource-manager-endpoint", emulator.endpoint()])
        .args(["--authority-host", emulator.endpoint()])
        .args(["--audience", emulator.endpoint(), "--extra-ca"])
        .arg(emulator.ca())
        .args(arguments)
        // Without a cluster and without the login of the user who runs the tests.
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| Error::Other(error.to_string()))?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        use tokio::io::AsyncWriteExt as _;
        stdin
            .write_all(input.as_bytes())
            .await
            .map_err(|error| Error::Other(error.to_string()))?;
    }
    let output = child
        .wait_with_output()
        .await
        .map_err(|error| Error::Other(error.to_string()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ran {
        code: output.status.code(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    })
}

pub(super) fn secret(team: &Team<'_>) -> String {
    format!("{}-secret", team.namespace)
}

pub(super) const ENVIRONMENT: [&str; 2] = ["--auth", "environment"];

pub(super) fn document(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", ran.out, ran.err))
}

async fn the_command_lists_every_machine_and_its_exit_code_fits(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let seed = protected(&json!([
        {"name": "web-1"}, {"name": "off-1", "powerState": "deallocated"},
        {"name": "db-1", "mde": {"provisioningState": "Failed", "code": 24}},
        {"name": "i-0abc", "cloudProvider": "AWS", "os": "amazon-2023"}]));
    let team = environment.team_with("command", seed).await?;
    let secret = secret(&team);
    let table = run(&team, &secret, &ENVIRONMENT, None).await?;
    assert_eq!(table.code, Some(1), "{}{}", table.out, table.err);
    for word in [
        "web-1",
        "db-1",
        "ERR_FAILED_REPO_SETUP",
        "i-0abc",
        "PoweredOff",
        "2 of 3 machines",
    ] {
        assert!(table.out.contains(word), "no {word} in {}", table.out);
    }

    let all = [&ENVIRONMENT[..], &["-o", "json"]].concat();
    let all = document(&run(&team, &secret, &all, None).await?);
    assert_eq!(all["items"].as_array().unwrap().len(), 4);
    let aws = [&ENVIRONMENT[..], &["-o", "json", "--environment", "aws"]].concat();
    let aws = document(&run(&team, &secret, &aws, None).await?);
    assert_eq!(aws["items"].as_array().unwrap().len(), 1);
    // A filter selects what is printed, and never what is counted.
    assert_eq!(all["summary"]["total"], aws["summary"]["total"]);

    let failed = [&ENVIRONMENT[..], &["-o", "csv", "--verdict", "failed"]].concat();
    let failed = run(&team, &secret, &failed, None).await?;
    assert_eq!(failed.out.lines().count(), 2, "{}", failed.out);
    assert!(failed.out.contains("packages.microsoft.com"), "{}", failed.out);

    environment
        .emulator
        .set_machine(
            &team.subscription,
            "db-1",
            json!({"mde.provisioningState": "Succeeded", "mde.code": null}),
        )
        .await?;
    let whole = run(&team, &secret, &ENVIRONMENT, None).await?;
    assert_eq!(whole.code, Some(0), "{}{}", whole.out, whole.err);
    Ok(())
}

async fn the_command_reports_errors(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment
        .team_with("wrong", protected(&json!([{"name": "web-1"}])))
        .await?;
    let good = secret(&team);
    let refused = run(&team, "not the secret", &ENVIRONMENT, None).await?;
    assert_eq!(refused.code, Some(2), "{}{}", refused.out, refused.err);
    assert!(refused.err.contains("AADSTS7000215"), "{}", refused.err);

    let stranger = [
        &ENVIRONMENT[..],
        &["--subscription", "00000000-0000-0000-0000-00000000dead"],
    ]
    .concat();
    let unseen = run(&team, &good, &stranger, None).await?;
    assert_eq!(unseen.code, Some(2), "{}{}", unseen.out, unseen.err);
    assert!(
        unseen.err.contains("SubscriptionNotFound") || unseen.out.contains("SubscriptionNotFound"),
        "{}{}",
        unseen.out,
        unseen.err
    );

    let verdict = [&ENVIRONMENT[..], &["--verdict", "Sleeping"]].concat();
    let verdict = run(&team, &good, &verdict, None).await?;
    assert_eq!(verdict.code, Some(2));
    assert!(
        verdict.err.contains("ArcDisconnected"),
        "the list of verdicts: {}",
        verdict.err
    );

    // Machines that may not be seen are never a success.
    let roles = json!({"roleAssignments": {team.subscription.clone(): ["Security Admin"]}});
    environment.emulator.principal(&team.client_id, roles).await?;
    let blind = run(&team, &good, &ENVIRONMENT, None).await?;
    assert_eq!(blind.code, Some(2), "{}{}", blind.out, blind.err);
    let all = format!("{}{}", blind.out, blind.err);
    assert!(all.contains("Microsoft.Compute/virtualMachines/read"), "{all}");
    Ok(())
}

async fn the_command_reads_objects_and_their_exclusions(environment: Arc<Environment>) -> Result<(), Error> {
    let seed = protected(&json!([
        {"name": "web-1"}, {"name": "lab-1", "resourceGroup": "rg-lab",
         "mde": {"provisioningState": "Failed", "code": 4}}]));
    let team = environment.team_with("objects", seed).await?;
    let input = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: other}}\n---\napiVersion: serverprotection.dev/v1alpha1\nkind: ServerProtection\nmetadata: {{name: prod}}\nspec:\n  subscriptionId: {}\n  plan: {{tier: P2}}\n  machines: {{exclude: [{{name: lab, resourceGroups: [rg-lab]}}]}}\n",
        team.subscription
    );
    let arguments = [&ENVIRONMENT[..], &["-f", "-", "-o", "json"]].concat();
    let ran = run(&team, &secret(&team), &arguments, Some(&input)).await?;
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    let verdicts: Vec<_> = document(&ran)["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["verdict"].as_str().unwrap().to_owned())
        .collect();
    assert!(verdicts.contains(&"Excluded".to_owned()), "{verdicts:?}");
    Ok(())
}

async fn the_migration_adds_up(environment: Arc<Environment>) -> Result<(), Error> {
    let mut seed = protected(&Value::Null);
    seed.as_object_mut().unwrap().remove("machines");
    seed["fleet"] = json!({"randomSeed": 11, "machineCount": 400});
    let team = environment.team_with("migration", seed).await?;
    let arguments = [&ENVIRONMENT[..], &["--migration", "-o", "json"]].concat();
    let ran = run(&team, &secret(&team), &arguments, None).await?;
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    let report = document(&ran);
    let mut machines = 0;
    for one in report["environments"].as_array().unwrap() {
        let stages = one["stages"].as_array().unwrap();
        let sum: u64 = stages.iter().filter_map(|stage| stage["machines"].as_u64()).sum();
        assert_eq!(
            Some(sum),
            one["total"].as_u64().or_else(|| one["machines"].as_u64()),
            "{one:#}"
        );
        machines += sum;
    }
    assert!(machines >= 400, "{machines}");
    let subscriptions = report["subscriptions"].as_array().unwrap();
    let of_subscriptions: u64 = subscriptions.iter().filter_map(|one| one["total"].as_u64()).sum();
    assert_eq!(of_subscriptions, machines);
    let text = [&ENVIRONMENT[..], &["--migration"]].concat();
    let text = run(&team, &secret(&team), &text, None).await?.out;
    for word in ["Onboarded", "LegacyAgent", "antivirus"] {
        assert!(text.contains(word), "no {word} in {text}");
    }
    Ok(())
}

async fn the_managed_identity_of_the_node_uses_plain_http(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment
        .team_with("node", protected(&json!([{"name": "web-1"}])))
        .await?;
    let emulator = &environment.emulator;
    let app_service = emulator.app_service();
    let of = |client_id| {
        let [endpoint, header] = &app_service;
        [
            (endpoint.0, endpoint.1.as_str()),
            (header.0, header.1.as_str()),
            ("AZURE_CLIENT_ID", client_id),
        ]
    };
    let arguments = ["--auth", "managed-identity"];
    // An application that is not assigned to the machine.
    let ran = run_with(&team, &of(&team.client_id), &arguments, None).await?;
    assert_eq!(ran.code, Some(2), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("Managed Identity found"), "{}", ran.err);
    let assigned = json!({"managedIdentity": "userAssigned"});
    emulator.principal(&team.client_id, assigned).await?;
    let ran = run_with(&team, &of(&team.client_id), &arguments, None).await?;
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("web-1"), "{}", ran.out);
    Ok(())
}
