//! `spec.machines`, and requested scans.

use std::sync::Arc;

use serde_json::json;
use serverprotection_tests::{Error, cases, env::Environment, harness::Case};

use super::{NAME, machines, p2, protected, shows};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        exclusions_are_edited_and_counted,
        a_rule_that_selects_everything_is_rejected,
        the_minimum_percentage_decides_about_the_condition,
        the_grace_period_decides_between_waiting_and_missing,
        other_shells_and_names_of_extensions_do_not_confuse,
    ]
}

async fn exclusions_are_edited_and_counted(environment: Arc<Environment>) -> Result<(), Error> {
    let seed = protected(&json!([
        {"name": "web-1"},
        {"name": "lab-1", "resourceGroup": "rg-lab", "mde": {"provisioningState": "Failed", "code": 4}},
        {"name": "lab-2", "tags": {"env": "sandbox"}, "mde": {"provisioningState": "Failed", "code": 4}}]));
    let team = environment.team_with("exclude", seed).await?;
    team.protect(NAME, p2()).await?;
    shows(&team, NAME, "1/3").await?;
    let rule = json!({"name": "lab", "resourceGroups": ["RG-LAB"]});
    team.patch(NAME, json!({"spec": {"machines": {"exclude": [rule]}}}))
        .await?;
    let object = shows(&team, NAME, "1/2").await?;
    assert_eq!(
        object["status"]["machines"]["excluded"],
        json!([{"name": "lab", "machines": 1}])
    );
    let tag = json!({"name": "sandboxes", "tags": [{"key": "ENV", "value": "sandbox"}]});
    team.patch(NAME, json!({"spec": {"machines": {"exclude": [rule, tag]}}}))
        .await?;
    let object = machines(&team, NAME, "True", "Protected").await?;
    assert_eq!(object["status"]["machines"]["verdicts"]["Excluded"], 2);
    team.patch(NAME, json!({"spec": {"machines": {"exclude": []}}}))
        .await?;
    shows(&team, NAME, "1/3").await?;
    Ok(())
}

async fn a_rule_that_selects_everything_is_rejected(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("refused").await?;
    for (rule, says) in [
        (json!({"name": "all"}), "would exclude every machine"),
        (
            json!({"name": "all", "tags": [], "ids": []}),
            "would exclude every machine",
        ),
        (json!({"name": "all", "resourceGroups": ["*"]}), "resourceGroups"),
        (json!({"name": "all", "ids": ["/subscriptions"]}), "ids"),
    ] {
        let mut spec = p2();
        spec["machines"] = json!({"exclude": [rule]});
        let error = team.protect(NAME, spec).await.unwrap_err().to_string();
        assert!(
            error.contains("spec.machines.exclude[0]") && error.contains(says),
            "{error}"
        );
    }
    for (machines, says) in [
        (
            json!({"gracePeriod": "1s"}),
            "machines.gracePeriod must be from 1m to 720h, in hours (h), minutes (m) and seconds (s), for example 24h",
        ),
        (
            json!({"minimumProtectedPercent": 0}),
            "spec.machines.minimumProtectedPercent",
        ),
        (
            json!({"minimumProtectedPercent": 101}),
            "spec.machines.minimumProtectedPercent",
        ),
    ] {
        let mut spec = p2();
        spec["machines"] = machines;
        let error = team.protect(NAME, spec).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    Ok(())
}

async fn the_minimum_percentage_decides_about_the_condition(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let seed = protected(&json!([
        {"name": "web-1"}, {"name": "web-2"}, {"name": "web-3"},
        {"name": "db-1", "mde": {"provisioningState": "Failed", "code": 4}}]));
    let team = environment.team_with("minimum", seed).await?;
    team.protect(NAME, p2()).await?;
    machines(&team, NAME, "False", "BelowMinimum").await?;
    team.patch(
        NAME,
        json!({"spec": {"machines": {"minimumProtectedPercent": 75}}}),
    )
    .await?;
    machines(&team, NAME, "True", "Protected").await?;
    team.patch(
        NAME,
        json!({"spec": {"machines": {"minimumProtectedPercent": 76}}}),
    )
    .await?;
    machines(&team, NAME, "False", "BelowMinimum").await?;
    Ok(())
}

async fn the_grace_period_decides_between_waiting_and_missing(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let seed = protected(&json!([
        {"name": "web-1"}, {"name": "odd-1", "neverProvisioned": true, "mde": "none", "age": "30h"}]));
    let team = environment.team_with("grace", seed).await?;
    let mut spec = p2();
    spec["machines"] = json!({"gracePeriod": "100h"});
    team.protect(NAME, spec).await?;
    machines(&team, NAME, "False", "Provisioning").await?;
    Ok(())
}

async fn other_shells_and_names_of_extensions_do_not_confuse(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let seed = protected(&json!([
        {"name": "i-0abc", "cloudProvider": "AWS", "os": "amazon-2023", "hierarchyIdentifier": "123456789012"},
        {"name": "i-0abc", "cloudProvider": "AWS", "createdByPublicCloudConnector": true,
         "hierarchyIdentifier": "123456789012"},
        {"name": "named-1", "mde": {"name": "AzureDefenderForServers"}},
        {"name": "two-1", "mde": [{"name": "AzureDefenderForServers"},
         {"name": "MDE.Linux", "code": 25, "provisioningState": "Failed"}]},
        {"name": "other-1", "mde": "none", "neverProvisioned": true, "otherExtensions": ["AzureMonitorAgent"],
         "age": "30d"},
        {"name": "set-1", "type": "Microsoft.Compute/virtualMachineScaleSets", "capacity": 3}]));
    let team = environment.team_with("shells", seed).await?;
    team.protect(NAME, p2()).await?;
    let object = team
        .until_holds(NAME, "nine machines", super::TIMEOUT, |object| {
            object["status"]["machines"]["total"] == 8
        })
        .await?;
    let verdicts = &object["status"]["machines"]["verdicts"];
    assert_eq!(verdicts["DuplicateShell"], 1, "{verdicts}");
    assert_eq!(verdicts["AgentlessOnly"], 3, "{verdicts}");
    assert_eq!(verdicts["Protected"], 3, "{verdicts}");
    Ok(())
}
