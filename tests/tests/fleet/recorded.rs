//! Machines with responses as recorded from the real services: extensions in transition, stuck extensions, names and
//! codes.

use std::sync::Arc;

use serde_json::json;
use serverprotection_tests::{Error, cases, env::Environment, harness::Case};

use super::{NAME, machines, p2, protected, shows, worst};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        an_extension_on_its_way_is_stuck_by_its_own_age,
        a_deletion_without_a_date_is_awaited,
        machines_that_need_the_extension_stay_in_the_count,
        an_agent_reports_whether_its_service_runs,
        systems_that_the_table_does_not_know_stay_in_the_count,
        only_a_false_setting_proves_the_retired_agent,
        a_message_that_names_the_cause_wins_over_the_code,
    ]
}

async fn an_extension_on_its_way_is_stuck_by_its_own_age(environment: Arc<Environment>) -> Result<(), Error> {
    // All of them are older than the grace period, by days, because the clock of the machines may be hours ahead.
    let seed = protected(&json!([
        {"name": "web-1"},
        {"name": "upgrade-1", "cloudProvider": "OnPremises",
         "mde": {"provisioningState": "Updating", "lastModifiedAt": "5m"}},
        {"name": "upgrade-2", "cloudProvider": "OnPremises", "os": "windows-2022",
         "mde": {"provisioningState": "Updating", "lastModifiedAt": "5m"}},
        {"name": "first-1", "cloudProvider": "AWS", "mde": {"provisioningState": "Creating", "lastModifiedAt": "5m"}},
        {"name": "first-2", "mde": {"provisioningState": "Creating", "lastModifiedAt": "5m"}},
        {"name": "stuck-1", "cloudProvider": "OnPremises",
         "mde": {"provisioningState": "Updating", "lastModifiedAt": "20d"}},
        {"name": "stuck-2", "cloudProvider": "GCP", "mde": {"provisioningState": "Creating", "lastModifiedAt": "20d"}},
        {"name": "stuck-3", "mde": {"provisioningState": "Creating", "lastModifiedAt": "20d"}},
        {"name": "stuck-4", "mde": {"provisioningState": "Deleting", "lastModifiedAt": "20d"}}]));
    let team = environment.team_with("onway", seed).await?;
    team.protect(NAME, p2()).await?;
    machines(&team, NAME, "False", "BelowMinimum").await?;
    let object = shows(&team, NAME, "1/9").await?;
    assert_eq!(
        object["status"]["machines"]["verdicts"],
        json!({"Protected": 1, "Provisioning": 4, "Failed": 4}),
        "{object:#}"
    );
    for name in ["stuck-1", "stuck-2", "stuck-3", "stuck-4"] {
        let machine = worst(&object, name);
        assert_eq!(machine["reason"], "Stuck", "{machine:#}");
        let remedy = machine["remedy"].as_str().unwrap();
        assert!(remedy.contains("remove the extension"), "{machine:#}");
    }
    Ok(())
}

async fn a_deletion_without_a_date_is_awaited(environment: Arc<Environment>) -> Result<(), Error> {
    // The last PUT of an Arc extension is old, but its deletion may have begun just now.
    let seed = protected(&json!([
        {"name": "srv-1", "cloudProvider": "OnPremises",
         "mde": {"provisioningState": "Deleting", "lastModifiedAt": "20d"}}]));
    let team = environment.team_with("deletion", seed).await?;
    team.protect(NAME, p2()).await?;
    let object = machines(&team, NAME, "False", "BelowMinimum").await?;
    let machine = worst(&object, "srv-1");
    assert_eq!(machine["verdict"], "Missing", "{machine:#}");
    assert_eq!(machine["reason"], "BeingRemoved", "{machine:#}");
    assert!(
        machine["remedy"].as_str().unwrap().contains("once more"),
        "{machine:#}"
    );
    Ok(())
}

async fn machines_that_need_the_extension_stay_in_the_count(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let seed = protected(&json!([
        {"name": "path-1", "mde": {"provisioningState": "Failed", "code": 51}},
        {"name": "path-2", "cloudProvider": "AWS", "os": "amazon-2023",
         "mde": {"provisioningState": "Failed", "code": 51}},
        {"name": "client-1", "cloudProvider": "OnPremises", "os": "windows-10",
         "mde": {"provisioningState": "Failed", "code": 51}},
        {"name": "avd-1", "os": "windows-10-avd", "customImage": true, "mde": "none", "neverProvisioned": true},
        {"name": "rhel-1", "os": "rhel-7", "powerState": "starting", "mde": "none", "neverProvisioned": true},
        {"name": "monitor-1", "cloudProvider": "OnPremises", "arc": {"configMode": "monitor"}},
        {"name": "azure-1", "type": "Microsoft.HybridCompute/machines", "cloudProvider": "Azure"}]));
    let team = environment.team_with("counted", seed).await?;
    team.protect(NAME, p2()).await?;
    let object = shows(&team, NAME, "2/6").await?;
    let status = &object["status"]["machines"];
    assert_eq!(
        status["verdicts"],
        json!({"Protected": 2, "Failed": 2, "Missing": 2, "UnsupportedOs": 1}),
        "{status:#}"
    );
    for (name, reason) in [
        ("path-1", "ERR_INSTALL_PATH_SETUP"),
        ("path-2", "ERR_INSTALL_PATH_SETUP"),
        ("avd-1", "NotDeployed"),
        ("rhel-1", "NotDeployed"),
    ] {
        assert_eq!(worst(&object, name)["reason"], reason, "{name}: {status:#}");
    }
    // An Azure virtual machine that is also connected through Arc belongs to Azure.
    for (environment, protected, eligible) in [("Azure", 1, 4), ("OnPremises", 1, 1)] {
        let found = &status["environments"][environment];
        assert!(
            found["protected"] == protected && found["eligible"] == eligible,
            "{environment}: {status:#}"
        );
    }
    Ok(())
}

async fn an_agent_reports_whether_its_service_runs(environment: Arc<Environment>) -> Result<(), Error> {
    let mut all = vec![json!({"name": "web-1"})];
    for (at, (os, status)) in [
        ("ubuntu-22.04", "running"),
        ("rhel-8", "activating"),
        ("windows-2022", "running"),
        ("windows-2022", "StartPending"),
        ("ubuntu-22.04", "stopped"),
        ("rhel-8", "failed"),
        ("windows-2022", "stopped"),
    ]
    .iter()
    .enumerate()
    {
        all.push(json!({"name": format!("srv-{at}"), "cloudProvider": "OnPremises", "os": os, "mde": "none", "neverProvisioned": true,
            "arc": {"extensionService": status}}));
    }
    let team = environment.team_with("services", protected(&json!(all))).await?;
    team.protect(NAME, p2()).await?;
    let object = shows(&team, NAME, "1/8").await?;
    for at in 0..7 {
        let expected = if at < 4 {
            "NotDeployed"
        } else {
            "ExtensionServiceStopped"
        };
        let machine = worst(&object, &format!("srv-{at}"));
        assert_eq!(machine["reason"], expected, "{machine:#}");
    }
    Ok(())
}

async fn systems_that_the_table_does_not_know_stay_in_the_count(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let bare = |name: &str, os: &str, architecture: &str| json!({"name": name, "os": os, "architecture": architecture, "mde": "none", "neverProvisioned": true});
    let all = [
        ("newest-lts", "ubuntu-26.04", "x64", "NotDeployed"),
        ("clone", "centos-7", "x64", "NotDeployed"),
        ("leap", "opensuse-15.6", "x64", "NotDeployed"),
        ("arm-9", "rhel-9", "arm64", "NotDeployed"),
        ("future", "debian-14", "x64", "OsNotListed"),
        ("conflict-1", "windows-2008r2", "x64", "OsNotListed"),
        ("conflict-2", "azure-linux-3", "x64", "OsNotListed"),
    ];
    let mut seed: Vec<_> = all.iter().map(|(name, os, on, _)| bare(name, os, on)).collect();
    // Not supported: they leave the count.
    seed.push(bare("interim", "ubuntu-25.10", "x64"));
    seed.push(bare("arm-7", "rhel-7", "arm64"));
    seed.push(json!({"name": "web-1"}));
    let team = environment.team_with("systems", protected(&json!(seed))).await?;
    team.protect(NAME, p2()).await?;
    let object = shows(&team, NAME, "1/8").await?;
    assert_eq!(
        object["status"]["machines"]["verdicts"],
        json!({"Protected": 1, "Missing": 4, "Unknown": 3, "UnsupportedOs": 2}),
        "{object:#}"
    );
    for (name, _, _, reason) in all {
        let machine = worst(&object, name);
        assert_eq!(machine["reason"], reason, "{machine:#}");
    }
    Ok(())
}

async fn only_a_false_setting_proves_the_retired_agent(environment: Arc<Environment>) -> Result<(), Error> {
    let seed = protected(&json!([
        {"name": "new-1", "os": "windows-2016", "mde": {"vNextEnabled": true}},
        {"name": "new-2", "os": "windows-2012r2", "mde": {"vNextEnabled": "true"}},
        {"name": "hand-1", "os": "windows-2016", "mde": {"vNextEnabled": null}},
        {"name": "hand-2", "os": "windows-2012r2", "cloudProvider": "OnPremises", "mde": {"vNextEnabled": null}},
        {"name": "old-1", "os": "windows-2016", "mde": {"vNextEnabled": false}}]));
    let team = environment.team_with("unified", seed).await?;
    team.protect(NAME, p2()).await?;
    let object = shows(&team, NAME, "2/5").await?;
    assert_eq!(
        object["status"]["machines"]["verdicts"],
        json!({"Protected": 2, "Unknown": 2, "LegacyAgent": 1}),
        "{object:#}"
    );
    for name in ["hand-1", "hand-2"] {
        assert_eq!(
            worst(&object, name)["reason"],
            "UnifiedSolutionUnknown",
            "{object:#}"
        );
    }
    Ok(())
}

async fn a_message_that_names_the_cause_wins_over_the_code(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let proxy = "curl: (56) Received HTTP code 407 from proxy after CONNECT";
    let seed = protected(&json!([
        {"name": "proxy-1", "mde": {"provisioningState": "Failed", "code": 24, "message": proxy}},
        {"name": "proxy-2", "cloudProvider": "OnPremises",
         "mde": {"provisioningState": "Failed", "code": 1, "message": proxy}},
        {"name": "python-1", "mde": {"provisioningState": "Failed", "code": 1,
         "message": "/usr/bin/env: 'python3': No such file or directory"}},
        {"name": "plain-1", "mde": {"provisioningState": "Failed", "code": 24}}]));
    let team = environment.team_with("causes", seed).await?;
    team.protect(NAME, p2()).await?;
    let object = shows(&team, NAME, "0/4").await?;
    for (name, reason) in [
        ("proxy-1", "ProxyRefused"),
        ("proxy-2", "ProxyRefused"),
        ("python-1", "PythonMissing"),
        ("plain-1", "ERR_FAILED_REPO_SETUP"),
    ] {
        let machine = worst(&object, name);
        assert_eq!(machine["reason"], reason, "{machine:#}");
    }
    Ok(())
}
