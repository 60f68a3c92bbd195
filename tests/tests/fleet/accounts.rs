//! AWS accounts and GCP projects in `serverprotection machines`: which machines their connectors found, and which not.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, env::Environment, harness::Case, team::Team, wait::eventually};

use super::{
    TIMEOUT,
    command::{ENVIRONMENT, Ran, document, run, secret},
    protected,
};

const AWS: &str = "700000000001";
const MEMBER: &str = "700000000002";
const UNCONNECTED: &str = "700000000003";
const GCP: &str = "700000000004";

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![the_command_lists_machines_of_connected_accounts]
}

/// The account's line in the summary.
fn account<'v>(document: &'v Value, id: &str) -> &'v Value {
    let all = document["summary"]["accounts"].as_array();
    let found = all.into_iter().flatten().find(|line| line["account"] == id);
    found.unwrap_or_else(|| panic!("no account {id}: {:#}", document["summary"]))
}

fn counts(line: &Value) -> [u64; 3] {
    ["total", "eligible", "protected"].map(|name| line[name].as_u64().unwrap())
}

async fn machines(team: &Team<'_>, more: &[&str]) -> Result<Ran, Error> {
    let arguments = [&ENVIRONMENT[..], more].concat();
    run(team, &secret(team), &arguments, None).await
}

/// An AWS organization with a member, a GCP project without instances, and a machine of an account that is not
/// connected any more.
async fn team(environment: &Environment) -> Result<Team<'_>, Error> {
    let clouds = json!({
        "aws": {
            AWS: {"instances": [{"name": "i-71"}, {"name": "i-72", "provisioningFailureCode": 25}],
                "organization": {"accountIds": [MEMBER]}},
            MEMBER: {"instances": [{"name": "i-73"}]}},
        "gcp": {GCP: {"projectId": "prod"}}});
    let emulator = &environment.emulator;
    emulator
        .call(Method::PATCH, "cloud-accounts", Some(clouds))
        .await?;
    let mut seed = protected(&json!([
        {"name": "web-1"}, {"name": "i-79", "cloudProvider": "AWS", "hierarchyIdentifier": UNCONNECTED},
        {"name": "i-71", "cloudProvider": "AWS", "hierarchyIdentifier": AWS, "createdByPublicCloudConnector": true}]));
    seed["securityConnectors"] = json!([
        {"name": "aws-prod", "resourceGroup": "rg-aws", "hierarchyIdentifier": AWS, "serversSubPlan": "P2",
         "organizationalData": {"stacksetName": "defender"}},
        {"name": "gcp-prod", "resourceGroup": "rg-gcp", "environmentName": "GCP", "hierarchyIdentifier": GCP,
         "projectId": "prod", "serversSubPlan": "P2"}]);
    environment.team_with("accounts", seed).await
}

async fn the_command_lists_machines_of_connected_accounts(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = team(&environment).await?;
    let ran = machines(&team, &["-o", "json"]).await?;
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    let reported = document(&ran);
    // The second resource of i-71 is a duplicate without an agent.
    assert_eq!(
        counts(account(&reported, AWS)),
        [2, 2, 1],
        "{:#}",
        reported["summary"]
    );
    assert_eq!(counts(account(&reported, MEMBER)), [1, 1, 1]);
    assert_eq!(
        counts(account(&reported, GCP)),
        [0, 0, 0],
        "a connector that found nothing"
    );
    assert_eq!(counts(account(&reported, UNCONNECTED)), [1, 1, 1]);
    assert_eq!(account(&reported, AWS)["connectors"][0]["name"], "aws-prod");
    let member = &account(&reported, MEMBER)["connectors"][0];
    assert_eq!(
        (&member["membership"], &member["parent"]),
        (&json!("Member"), &json!(AWS))
    );
    assert_eq!(account(&reported, UNCONNECTED)["connectors"], json!([]));
    assert_eq!(reported["summary"]["environments"]["AWS"]["total"], 5);

    let table = machines(&team, &["--account", MEMBER]).await?;
    let lines: Vec<_> = table.out.lines().collect();
    assert!(
        lines[1].starts_with("i-73 ") && lines[2].is_empty(),
        "{}",
        table.out
    );
    let line = |id: &str| {
        let of = |line: &&&str| line.split_whitespace().nth(1) == Some(id);
        let found = lines.iter().find(of);
        found
            .unwrap_or_else(|| panic!("no line of {id}: {}", table.out))
            .to_owned()
    };
    assert!(
        line(UNCONNECTED).contains("no connector visible"),
        "{}",
        table.out
    );
    assert!(
        line(MEMBER).contains(&format!("member of {AWS}")),
        "{}",
        table.out
    );
    assert!(
        line(GCP).contains("gcp-prod") && line(GCP).ends_with("0/0"),
        "{}",
        table.out
    );

    found_later(&team).await?;
    without_right_to_read(&team).await
}

/// An instance starts, and the connector finds it.
async fn found_later(team: &Team<'_>) -> Result<(), Error> {
    let emulator = &team.environment.emulator;
    emulator.options(json!({"connectorDiscoveryDelay": "0s"})).await?;
    let instance = json!({"gcp": {GCP: {"instances": [{"name": "vm-74"}]}}});
    emulator
        .call(Method::PATCH, "cloud-accounts", Some(instance))
        .await?;
    eventually("the machine of a connector", TIMEOUT, || async {
        let ran = machines(team, &["-o", "json"])
            .await
            .map_err(|error| error.to_string())?;
        let line = account(&document(&ran), GCP).clone();
        if counts(&line)[..2] == [1, 1] {
            Ok(())
        } else {
            Err(line.to_string())
        }
    })
    .await
}

/// An identity that may not read connectors still gets all results about machines.
async fn without_right_to_read(team: &Team<'_>) -> Result<(), Error> {
    let actions = json!([
        "Microsoft.Resources/subscriptions/read",
        "Microsoft.Resources/subscriptions/resourceGroups/read",
        "Microsoft.Compute/*/read",
        "Microsoft.HybridCompute/*/read",
        "Microsoft.Security/pricings/read",
        "Microsoft.Security/healthReports/read",
        "Microsoft.Authorization/permissions/read"
    ]);
    let roles = json!({"roleAssignments": {team.subscription.clone(): [{"actions": actions}]}});
    let emulator = &team.environment.emulator;
    emulator.principal(&team.client_id, roles).await?;
    let ran = machines(team, &["-o", "json"]).await?;
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    let reported = document(&ran);
    assert_eq!(counts(account(&reported, AWS)), [2, 2, 1]);
    assert_eq!(account(&reported, AWS)["connectors"], json!([]));
    Ok(())
}
