//! The account: whether Azure can sign in to it, whether it stays connected, and the machines that it contains.

use std::{sync::Arc, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, env::Environment, harness::Case, objects::condition, team::Team};

use super::{PROTECTION, TIMEOUT, condition_values, event, fault, life::shape, protected, ready, requests};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        a_missing_identity_provider_is_reported_and_retried_slowly,
        a_gcp_project_without_trust_is_reported,
        an_edit_retries_the_sign_in_at_once,
        a_role_that_breaks_later_is_reported_from_the_health_report,
        the_machines_of_an_aws_account_are_counted,
        the_machines_of_a_gcp_project_are_counted,
        machines_that_appear_prove_a_healthy_connection,
    ]
}

/// Changes the team's account as its owner would.
async fn account(team: &Team<'_>, cloud: &str, change: Value) -> Result<(), Error> {
    let patch = json!({cloud: {team.account.clone(): change}});
    let emulator = &team.environment.emulator;
    emulator
        .call(Method::PATCH, "cloud-accounts", Some(patch))
        .await?;
    Ok(())
}

/// Waits until Azure cannot sign in, and checks what is reported. It may be temporary, so the object is not Stalled.
async fn waits_for_account(team: &Team<'_>, remedy: &str) -> Result<Value, Error> {
    let object = team
        .connectors()
        .until_holds("account", "Reconciling/WaitingForCloud", TIMEOUT, |object| {
            condition(object, "Reconciling").is_some_and(|it| it["reason"] == "WaitingForCloud")
        })
        .await?;
    let (status, reason, message) = condition_values(&object, "CloudAuthenticated");
    assert_eq!((status, reason), ("False", "CloudAuthenticationFailed"));
    assert!(
        message.contains(remedy) && message.contains(&team.account),
        "{message}"
    );
    let (status, reason, message) = condition_values(&object, "Ready");
    assert_eq!((status, reason), ("False", "CloudAuthenticationFailed"));
    assert!(message.contains(remedy), "{message}");
    assert!(condition(&object, "Stalled").is_none());
    Ok(object)
}

async fn a_missing_identity_provider_is_reported_and_retried_slowly(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = protected(&environment, "noprovider").await?;
    account(&team, "aws", json!({"identityProvider": "missing"})).await?;
    team.connect("account", json!({})).await?;
    let object = waits_for_account(&team, "IAM OIDC identity provider").await?;
    assert_eq!(condition_values(&object, "ConnectorConfigured").0, "False");
    event(&team, "account", "CloudAuthenticationFailed").await?;

    // Longer than the retry interval of errors that need user action.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(
        requests(&team, "PUT").await?.len(),
        1,
        "repeated sign-ins to the account"
    );
    let object = team.connectors().reconcile("account", TIMEOUT).await?;
    assert_eq!(condition_values(&object, "CloudAuthenticated").0, "False");
    assert_eq!(requests(&team, "PUT").await?.len(), 2, "a request is a try");

    account(&team, "aws", json!({"identityProvider": "ok"})).await?;
    team.connectors().request("account").await?;
    let object = ready(&team, "account").await?;
    assert_eq!(condition_values(&object, "CloudAuthenticated").0, "True");
    assert_eq!(requests(&team, "PUT").await?.len(), 3);
    Ok(())
}

async fn a_gcp_project_without_trust_is_reported(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "nopool").await?;
    account(&team, "gcp", json!({"workloadIdentityPool": "missing"})).await?;
    team.connect("account", shape(&team, "gcp")).await?;
    waits_for_account(&team, "workload identity pool").await?;
    account(&team, "gcp", json!({"workloadIdentityPool": "ok"})).await?;
    team.connectors().request("account").await?;
    ready(&team, "account").await?;
    assert_eq!(requests(&team, "PUT").await?.len(), 2);
    Ok(())
}

async fn an_edit_retries_the_sign_in_at_once(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "roles").await?;
    account(&team, "aws", json!({"roles": {"CspmMonitorAws": "missing"}})).await?;
    team.connect("account", json!({})).await?;
    waits_for_account(&team, "aws.roleArns").await?;
    let arn = format!("arn:aws:iam::{}:role/OurMonitor", team.account);
    let own = json!({"spec": {"aws": {"roleArns": {"cspm": arn}}}});
    team.connectors().patch("account", own).await?;
    ready(&team, "account").await?;
    assert_eq!(requests(&team, "PUT").await?.len(), 2);
    Ok(())
}

async fn a_role_that_breaks_later_is_reported_from_the_health_report(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = protected(&environment, "breaks").await?;
    team.connect("account", json!({})).await?;
    let object = ready(&team, "account").await?;
    assert_eq!(object["status"]["health"], "Healthy");
    account(&team, "aws", json!({"roles": {"CspmMonitorAws": "wrongTrust"}})).await?;
    let object = team.connectors().reconcile("account", TIMEOUT).await?;
    let status = &object["status"];
    assert_eq!(status["health"], "NotHealthy", "{object:#}");
    let issue = &status["issues"][0];
    assert_eq!(issue["name"], "Role trusts somebody else");
    assert!(issue["message"].as_str().unwrap().contains("role/CspmMonitorAws"));
    assert!(issue["remedy"].as_str().unwrap().contains("CloudFormation"));
    let (status_of_condition, reason, message) = condition_values(&object, "Healthy");
    assert_eq!((status_of_condition, reason), ("False", "NotConnected"));
    assert!(message.contains("role/CspmMonitorAws"), "{message}");
    // The connector itself is in sync, so no write could help.
    assert_eq!(condition_values(&object, "Ready").1, "InSync");
    event(&team, "account", "ConnectionNotHealthy").await?;
    assert_eq!(requests(&team, "PUT").await?.len(), 1);

    account(&team, "aws", json!({"roles": {"CspmMonitorAws": "ok"}})).await?;
    let object = team.connectors().reconcile("account", TIMEOUT).await?;
    assert_eq!(object["status"]["health"], "Healthy");
    assert!(object["status"]["issues"].is_null());
    assert_eq!(condition_values(&object, "Healthy").1, "Connected");
    event(&team, "account", "ConnectionHealthy").await?;
    Ok(())
}

async fn counts(team: &Team<'_>, summary: &str) -> Result<Value, Error> {
    let what = format!("machines {summary}");
    team.connectors()
        .until_holds("account", &what, TIMEOUT, |object| {
            object["status"]["display"]["machines"] == summary
        })
        .await
}

async fn the_machines_of_an_aws_account_are_counted(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "ec2").await?;
    team.connect("account", json!({})).await?;
    ready(&team, "account").await?;
    counts(&team, "0/0").await?;
    let instances =
        json!([{"name": "i-0abc", "os": "windows-2022"}, {"name": "i-0def", "provisioningFailureCode": 25}]);
    account(&team, "aws", json!({"instances": instances})).await?;
    environment.emulator.advance("12h").await?;
    let object = counts(&team, "1/2").await?;
    let machines = json!({"total": 2, "eligible": 2, "protected": 1});
    assert_eq!(object["status"]["machines"], machines);
    team.until_holds(PROTECTION, "the machines of AWS", TIMEOUT, |object| {
        object["status"]["machines"]["environments"]["AWS"] == machines
    })
    .await?;
    let table = environment
        .plane
        .kubectl(&["get", "securityconnector", "-n", &team.namespace])
        .await?;
    assert!(table.contains("MACHINES") && table.contains("1/2"), "{table}");
    Ok(())
}

async fn the_machines_of_a_gcp_project_are_counted(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "gce").await?;
    let instances = json!([{"name": "vm-1", "os": "rhel-9"}, {"name": "vm-2", "os": "windows-2019"}]);
    account(&team, "gcp", json!({"instances": instances})).await?;
    team.connect("account", shape(&team, "gcp")).await?;
    ready(&team, "account").await?;
    environment.emulator.advance("12h").await?;
    counts(&team, "2/2").await?;
    team.until_holds(PROTECTION, "the machines of GCP", TIMEOUT, |object| {
        object["status"]["machines"]["environments"]["GCP"]["protected"] == 2
    })
    .await?;
    Ok(())
}

async fn machines_that_appear_prove_a_healthy_connection(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "silent").await?;
    let silent = json!({"match": {"method": "GET", "path": "/securityConnectors/account/.*healthReports"},
        "action": {"respond": {"status": 200, "body": {"value": []}}}});
    let silent = fault(&team, silent).await?;
    team.connect("account", json!({})).await?;
    let object = ready(&team, "account").await?;
    let (status, reason, _) = condition_values(&object, "Healthy");
    assert_eq!((status, reason), ("Unknown", "NotReported"));
    assert_eq!(object["status"]["health"], "Unknown");

    account(&team, "aws", json!({"instances": [{"name": "i-0abc"}]})).await?;
    environment.emulator.advance("12h").await?;
    counts(&team, "1/1").await?;
    let object = team
        .connectors()
        .until("account", "Healthy", "True", TIMEOUT)
        .await?;
    assert_eq!(condition_values(&object, "Healthy").1, "MachinesAppear");
    assert_eq!(object["status"]["health"], "Healthy");

    // A health report takes precedence.
    environment.emulator.delete_fault(&silent).await?;
    let object = team.connectors().reconcile("account", TIMEOUT).await?;
    assert_eq!(condition_values(&object, "Healthy").1, "Connected");
    Ok(())
}
