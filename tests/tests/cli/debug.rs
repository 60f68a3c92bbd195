//! `serverprotection debug` and `serverprotection check-azure`: complete, and without anything that identifies a customer.

use std::sync::Arc;

use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    command::{run, serverprotection},
    controller_process::ControllerProcess,
    emulator::TENANT,
    env::Environment,
    error::io,
    harness::Case,
    team::Team,
};
use tempfile::TempDir;
use tokio::process::Command;

use super::{TIMEOUT, kubeconfig, with_controller};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        the_archive_is_complete_and_identifies_no_customer,
        check_azure_reads_everything_and_writes_nothing,
        check_azure_names_what_the_identity_may_not_read,
        check_azure_names_the_actions_that_a_reader_lacks,
    ]
}

/// What must not be in a report.
fn private(team: &Team<'_>) -> Vec<String> {
    let subscription = format!("Subscription of {}", team.namespace);
    let secret = format!("{}-secret", team.namespace);
    vec![
        team.subscription.clone(),
        team.client_id.clone(),
        TENANT.into(),
        subscription,
        secret,
    ]
}

async fn the_archive_is_complete_and_identifies_no_customer(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    with_controller(&environment).await?;
    let team = environment.team("debug").await?;
    team.protect("prod", json!({"plan": {"tier": "P2"}})).await?;
    team.until("prod", "Ready", "True", TIMEOUT).await?;
    // An object that Azure refuses.
    let unknown = json!({"subscriptionId": "00000000-0000-4000-8000-0000000000ff", "plan": {"tier": "P1"}});
    team.protect("refused", unknown).await?;
    team.until("refused", "Stalled", "True", TIMEOUT).await?;

    let folder = TempDir::new().map_err(io("create a folder"))?;
    let archive = folder.path().join("problem.tar.gz").display().to_string();
    let address = environment
        .controller()
        .await
        .as_mut()
        .and_then(ControllerProcess::address);
    let metrics = format!("{}/metrics", address.unwrap_or_default());
    let kubeconfig = kubeconfig(&environment)?;
    let arguments = [
        "debug",
        "--namespace",
        &team.namespace,
        "--archive",
        &archive,
        "--metrics-url",
        &metrics,
    ];
    let ran = serverprotection(&arguments, &[("KUBECONFIG", &kubeconfig)], None).await?;
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert_eq!(ran.out.trim(), archive);

    let mut tar = Command::new("tar");
    tar.args(["-xzOf", &archive]);
    let content = run(tar, &[("PATH", "/usr/bin:/bin")], None).await?.out;
    for private in private(&team) {
        assert!(!content.contains(&private), "{private} is in the archive");
    }
    for expected in [
        "serverprotection_azure_requests_total",
        "serverprotection_resource_graph_quota_remaining",
        "Stalled=True",
        "\"subscriptionId\": \"<guid-",
        "serverprotection-controller",
        "\"apiServer\": \"v1.",
    ] {
        assert!(content.contains(expected), "no {expected} in {content}");
    }
    // An archive is not overwritten.
    let again = serverprotection(&arguments, &[("KUBECONFIG", &kubeconfig)], None).await?;
    assert_eq!(again.code, Some(2), "{}{}", again.out, again.err);
    Ok(())
}

async fn check_azure(team: &Team<'_>, output: &str) -> Result<serverprotection_tests::command::Ran, Error> {
    let emulator = &team.environment.emulator;
    let ca = emulator.ca().display().to_string();
    let endpoint = emulator.endpoint();
    let arguments = [
        "check-azure",
        "--subscription",
        &team.subscription,
        "--auth",
        "environment",
        "--resource-manager-endpoint",
        endpoint,
        "--authority-host",
        endpoint,
        "--audience",
        endpoint,
        "--extra-ca",
        &ca,
        "-o",
        output,
    ];
    let secret = format!("{}-secret", team.namespace);
    let environment = [
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_ID", &team.client_id),
        ("AZURE_CLIENT_SECRET", &secret),
    ];
    serverprotection(&arguments, &environment, None).await
}

fn read<'a>(report: &'a Value, name: &str) -> &'a Value {
    let reads = report["reads"].as_array().unwrap();
    reads
        .iter()
        .find(|read| read["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {report:#}"))
}

async fn check_azure_reads_everything_and_writes_nothing(environment: Arc<Environment>) -> Result<(), Error> {
    let seed = json!({"machines": [{"name": "contoso-web-1"}]});
    let team = environment.team_with("azure", seed).await?;
    let ran = check_azure(&team, "json").await?;
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    let report = ran.json()?;
    assert_eq!(report["complete"], true);
    assert_eq!(
        read(&report, "plan")["shape"]["properties"]["pricingTier"],
        "Free"
    );
    let points = report["points"].as_array().unwrap();
    let free = points
        .iter()
        .find(|point| point["name"] == "extensions with tier Free")
        .unwrap();
    assert_eq!(free["result"], "Seen", "{report:#}");
    for private in private(&team).into_iter().chain(["contoso-web-1".to_owned()]) {
        assert!(!ran.out.contains(&private), "{private} is in {}", ran.out);
    }
    let requests = environment.emulator.requests(&team.subscription).await?;
    assert!(!requests.is_empty());
    let is_query = |request: &Value| {
        request["path"]
            .as_str()
            .is_some_and(|path| path.contains("ResourceGraph"))
    };
    let writes: Vec<_> = requests
        .iter()
        .filter(|request| request["method"] != "GET" && !is_query(request))
        .collect();
    assert!(writes.is_empty(), "{writes:#?}");
    let text = check_azure(&team, "text").await?;
    assert!(text.out.contains("plan (2024-01-01): ok"), "{}", text.out);
    Ok(())
}

async fn check_azure_names_what_the_identity_may_not_read(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let mut team = environment.team("azure-denied").await?;
    team.subscription = "00000000-0000-4000-8000-0000000000fe".into();
    let ran = check_azure(&team, "json").await?;
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    let report = ran.json()?;
    assert_eq!(report["complete"], false);
    assert!(read(&report, "plan")["error"]["code"].is_string(), "{report:#}");
    assert!(!ran.out.contains(&team.subscription));
    Ok(())
}

async fn check_azure_names_the_actions_that_a_reader_lacks(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("azure-reader").await?;
    let reader = json!({"roleAssignments": {team.subscription.clone(): ["Reader"]}});
    let emulator = &environment.emulator;
    emulator.principal(&team.client_id, reader).await?;
    let ran = check_azure(&team, "json").await?;
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    let missing = ran.json()?["missingActions"].clone();
    let missing = missing.as_array().unwrap();
    assert!(
        missing.contains(&json!("Microsoft.Security/pricings/write")),
        "{missing:#?}"
    );
    let ran = check_azure(&team, "text").await?;
    assert!(ran.out.contains("Security Admin"), "{}", ran.out);
    Ok(())
}
