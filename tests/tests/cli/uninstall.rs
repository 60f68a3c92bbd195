//! `serverprotection uninstall --check` and the commands that it prints, run as printed.

use std::{path::Path, sync::Arc};

use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    command::{Ran, run, serverprotection},
    env::Environment,
    harness::Case,
    team::Team,
    wait::eventually,
};
use tokio::process::Command;

use super::{TIMEOUT, kubeconfig, with_controller};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        a_deletion_without_a_controller_is_ended_by_the_printed_command,
        the_printed_steps_uninstall_without_a_change_in_azure,
        an_empty_cluster_can_be_uninstalled,
    ]
}

const FINALIZER: &str = "serverprotection.dev/azure";

async fn check(team: &Team<'_>) -> Result<Ran, Error> {
    let kubeconfig = kubeconfig(team.environment)?;
    let arguments = [
        "uninstall",
        "--check",
        "--namespace",
        &team.namespace,
        "-o",
        "json",
    ];
    serverprotection(&arguments, &[("KUBECONFIG", &kubeconfig)], None).await
}

/// The object of a kind in the result.
fn object<'a>(report: &'a Value, kind: &str) -> &'a Value {
    let objects = report["objects"].as_array().unwrap();
    objects
        .iter()
        .find(|object| object["kind"] == kind)
        .unwrap_or_else(|| panic!("no {kind} in {report:#}"))
}

/// Runs the printed commands that begin with a word and contain another, in a shell, as a user would paste them.
async fn paste(team: &Team<'_>, report: &Value, word: &str) -> Result<usize, Error> {
    let kubeconfig = kubeconfig(team.environment)?;
    let kubectl = team.environment.plane.kubectl_command();
    let folder = kubectl
        .program
        .parent()
        .unwrap_or(Path::new("/"))
        .display()
        .to_string();
    let path = format!("{folder}:/usr/bin:/bin");
    let steps = report["steps"].as_array().unwrap();
    let commands = steps.iter().flat_map(|step| step["commands"].as_array().unwrap());
    let mut count = 0;
    for line in commands
        .filter_map(Value::as_str)
        .filter(|line| line.contains(word))
    {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]);
        let environment = [
            ("PATH", path.as_str()),
            ("KUBECONFIG", &kubeconfig),
            ("HOME", "/tmp"),
        ];
        let ran = run(command, &environment, None).await?;
        assert_eq!(ran.code, Some(0), "{line}: {}{}", ran.out, ran.err);
        count += 1;
    }
    Ok(count)
}

async fn a_deletion_without_a_controller_is_ended_by_the_printed_command(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    if let Some(controller) = environment.controller().await.as_mut() {
        controller.terminate_if_running().await?;
    }
    let team = environment.team("stuck").await?;
    team.protect("prod", json!({"plan": {"tier": "P1"}})).await?;
    team.connect("aws", json!({"deletionPolicy": "Delete"})).await?;
    let connectors = team.connectors();
    let finalizers = json!({"metadata": {"finalizers": [FINALIZER]}});
    connectors.patch("aws", finalizers).await?;
    connectors.start_deletion("aws").await?;

    let ran = check(&team).await?;
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    let report = ran.json()?;
    let found = object(&report, "SecurityConnector");
    assert_eq!(found["deleting"], true, "{report:#}");
    assert!(
        found["waitsFor"].as_str().unwrap().contains("running controller"),
        "{report:#}"
    );
    assert_eq!(paste(&team, &report, "finalizers").await?, 1, "{report:#}");
    connectors.until_gone("aws", TIMEOUT).await?;
    let ran = check(&team).await?;
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    team.delete("prod", TIMEOUT).await
}

async fn the_printed_steps_uninstall_without_a_change_in_azure(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    with_controller(&environment).await?;
    let team = environment.team("leave").await?;
    team.protect("prod", json!({"plan": {"tier": "P2"}})).await?;
    team.until("prod", "Ready", "True", TIMEOUT).await?;
    team.connect("aws", json!({"deletionPolicy": "Delete"})).await?;
    let connectors = team.connectors();
    connectors.until("aws", "Ready", "True", TIMEOUT).await?;

    let ran = check(&team).await?;
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    let report = ran.json()?;
    let found = object(&report, "SecurityConnector");
    assert_eq!(found["azure"], "ConnectorDeleted", "{report:#}");
    assert_eq!(found["finalizers"], json!([FINALIZER]));
    assert_eq!(object(&report, "ServerProtection")["azure"], "Unchanged");
    let credential = object(&report, "AzureCredential")["explanation"]
        .as_str()
        .unwrap();
    assert!(credential.contains("delete it last"), "{credential}");

    // Step 1: keep the connector. The controller removes the finalizer.
    assert_eq!(paste(&team, &report, "deletionPolicy").await?, 1, "{report:#}");
    let report = eventually("a check without findings", TIMEOUT, || async {
        let ran = check(&team).await?;
        match ran.code {
            Some(0) => ran.json(),
            _ => Err(Error::Other(ran.out)),
        }
    })
    .await?;
    // Then the deletions, in the printed order.
    assert_eq!(paste(&team, &report, "kubectl delete").await?, 3, "{report:#}");
    connectors.until_gone("aws", TIMEOUT).await?;
    let requests = environment.emulator.requests(&team.subscription).await?;
    let deletions: Vec<_> = requests
        .iter()
        .filter(|request| request["method"] == "DELETE")
        .collect();
    assert!(deletions.is_empty(), "{deletions:#?}");
    let ran = check(&team).await?;
    assert_eq!((ran.code, ran.json()?["objects"].clone()), (Some(0), json!([])));
    Ok(())
}

async fn an_empty_cluster_can_be_uninstalled(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("empty").await?;
    let arguments = ["delete", "azurecredentials", "--all", "-n", &team.namespace];
    environment.plane.kubectl(&arguments).await?;
    let ran = check(&team).await?;
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    // Without a cluster, the command says what to do.
    let ran = serverprotection(&["uninstall", "--check"], &[("KUBECONFIG", "/nowhere")], None).await?;
    assert_eq!(ran.code, Some(2), "{}{}", ran.out, ran.err);
    assert!(
        ran.err.contains("/nowhere") && ran.err.contains("--kubeconfig"),
        "{}",
        ran.err
    );
    // A namespace with a typing error has nothing that would wait, but that is no answer.
    let kubeconfig = kubeconfig(&environment)?;
    let arguments = [
        "uninstall",
        "--check",
        "--kubeconfig",
        &kubeconfig,
        "--namespace",
        "nosuch",
    ];
    let ran = serverprotection(&arguments, &[], None).await?;
    assert_eq!(ran.code, Some(2), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("namespace nosuch does not exist"), "{}", ran.err);
    let ran = serverprotection(&["uninstall"], &[], None).await?;
    assert_eq!(ran.code, Some(2), "{}{}", ran.out, ran.err);
    Ok(())
}
