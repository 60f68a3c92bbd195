//! The life of machines.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use serverprotection_tests::{
    Error, cases,
    controller_process::{ControllerOptions, ControllerProcess},
    env::Environment,
    harness::Case,
    wait::eventually,
};

use super::{NAME, TIMEOUT, machines, p2, protected, shows, worst};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        machines_appear_and_become_protected,
        a_failing_machine_is_named_with_its_reason_until_it_is_repaired,
        disconnected_and_stopped_machines,
        a_health_report_refines_protected,
        a_free_plan_of_a_single_machine_is_reported,
        an_unchanged_fleet_causes_no_patch_and_no_reconcile,
        a_restart_keeps_the_numbers_and_finds_the_same,
    ]
}

async fn machines_appear_and_become_protected(environment: Arc<Environment>) -> Result<(), Error> {
    let seed = json!({"machines": [
        {"name": "web-1", "os": "ubuntu-22.04", "mde": "none"},
        {"name": "win-1", "os": "windows-2022", "mde": "none"},
        {"name": "srv-1", "cloudProvider": "OnPremises", "os": "rhel-8", "mde": "none"},
        {"name": "i-0abc", "cloudProvider": "AWS", "os": "amazon-2023", "mde": "none"},
    ]});
    let team = environment.team_with("appear", seed).await?;
    team.protect(NAME, p2()).await?;
    // Defender for Cloud takes time: machines are Provisioning, and nothing is wrong.
    let object = machines(&team, NAME, "False", "Provisioning").await?;
    assert_eq!(
        object["status"]["machines"]["verdicts"],
        json!({"Provisioning": 4})
    );
    assert!(object["status"]["machines"]["worst"].is_null(), "{object:#}");
    environment.emulator.advance("3h").await?;
    let object = machines(&team, NAME, "True", "Protected").await?;
    let status = &object["status"]["machines"];
    assert_eq!(object["status"]["display"]["machines"], "4/4");
    assert_eq!(status["verdicts"], json!({"Protected": 4}));
    let all_protected =
        |machines: u32| json!({"total": machines, "eligible": machines, "protected": machines});
    assert_eq!(
        status["environments"],
        json!({"Azure": all_protected(2), "AWS": all_protected(1), "OnPremises": all_protected(1)})
    );
    let table = environment
        .plane
        .kubectl(&["get", "serverprotection", "-n", &team.namespace])
        .await?;
    assert!(table.contains("PROTECTED") && table.contains("4/4"), "{table}");
    team.until_events(&["MachinesProtected"], TIMEOUT).await
}

async fn a_failing_machine_is_named_with_its_reason_until_it_is_repaired(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let seed = protected(
        &json!([{"name": "web-1"}, {"name": "db-1", "mde": {"provisioningState": "Failed", "code": 24}}]),
    );
    let team = environment.team_with("fail", seed).await?;
    team.protect(NAME, p2()).await?;
    let object = machines(&team, NAME, "False", "BelowMinimum").await?;
    assert_eq!(object["status"]["display"]["machines"], "1/2");
    let machine = worst(&object, "db-1");
    assert_eq!(machine["verdict"], "Failed");
    assert_eq!(machine["reason"], "ERR_FAILED_REPO_SETUP", "{machine:#}");
    assert!(
        machine["remedy"]
            .as_str()
            .unwrap()
            .contains("packages.microsoft.com"),
        "{machine:#}"
    );
    let described = environment
        .plane
        .kubectl(&["describe", "serverprotection", NAME, "-n", &team.namespace])
        .await?;
    for word in ["db-1", "ERR_FAILED_REPO_SETUP", "packages.microsoft.com"] {
        assert!(
            described.contains(word),
            "describe does not name {word}: {described}"
        );
    }
    // Ready reports the configuration of Azure; machines have a condition of their own.
    team.until(NAME, "Ready", "True", TIMEOUT).await?;

    environment
        .emulator
        .set_machine(
            &team.subscription,
            "db-1",
            json!({"mde.provisioningState": "Succeeded", "mde.code": null}),
        )
        .await?;
    let object = machines(&team, NAME, "True", "Protected").await?;
    assert!(object["status"]["machines"]["worst"].is_null(), "{object:#}");
    let crossings = ["MachinesBelowMinimum", "MachinesProtected"];
    team.until_events(&crossings, TIMEOUT).await
}

async fn disconnected_and_stopped_machines(environment: Arc<Environment>) -> Result<(), Error> {
    let seed = protected(&json!([
        {"name": "web-1"}, {"name": "web-2"}, {"name": "srv-1", "cloudProvider": "OnPremises"}]));
    let team = environment.team_with("dark", seed).await?;
    let mut spec = p2();
    spec["machines"] = json!({"gracePeriod": "1h"});
    team.protect(NAME, spec).await?;
    shows(&team, NAME, "3/3").await?;
    // A stopped machine is not a failure: it is no longer eligible.
    let set = |name: &'static str, fields| environment.emulator.set_machine(&team.subscription, name, fields);
    set("web-2", json!({"powerState": "deallocated"})).await?;
    let object = shows(&team, NAME, "2/2").await?;
    assert_eq!(object["status"]["machines"]["verdicts"]["PoweredOff"], 1);
    assert_eq!(object["status"]["machines"]["total"], 3);
    set("srv-1", json!({"arc.status": "Expired"})).await?;
    let object = machines(&team, NAME, "False", "BelowMinimum").await?;
    assert_eq!(worst(&object, "srv-1")["verdict"], "ArcDisconnected");
    set("srv-1", json!({"arc.status": "Connected"})).await?;
    set("web-2", json!({"powerState": "running"})).await?;
    shows(&team, NAME, "3/3").await?;
    // A deleted machine is not counted any more.
    environment
        .emulator
        .delete_machine(&team.subscription, "web-1")
        .await?;
    shows(&team, NAME, "2/2").await?;
    Ok(())
}

async fn a_health_report_refines_protected(environment: Arc<Environment>) -> Result<(), Error> {
    let seed = protected(&json!([{"name": "web-1"}, {"name": "ill-1", "healthReport": "NotHealthy"}]));
    let team = environment.team_with("health", seed).await?;
    team.protect(NAME, p2()).await?;
    // Health reports require P2, but the first scan may have run while the subscription was P1.
    let object = shows(&team, NAME, "1/2").await?;
    let machine = worst(&object, "ill-1");
    assert_eq!(
        (&machine["verdict"], &machine["reason"]),
        (&json!("Failed"), &json!("SensorUnhealthy"))
    );
    Ok(())
}

async fn a_free_plan_of_a_single_machine_is_reported(environment: Arc<Environment>) -> Result<(), Error> {
    let seed = protected(&json!([{"name": "web-1"}, {"name": "stray-1"}]));
    let team = environment.team_with("stray", seed).await?;
    let machine = environment
        .emulator
        .machine(&team.subscription, "stray-1")
        .await?;
    let id = machine["id"].as_str().unwrap().to_owned();
    environment
        .emulator
        .set(
            &team.subscription,
            json!({format!("resourcePricings.{id}"): "Free"}),
        )
        .await?;
    team.protect(NAME, p2()).await?;
    let object = shows(&team, NAME, "1/2").await?;
    assert_eq!(worst(&object, "stray-1")["verdict"], "PlanOff");
    Ok(())
}

async fn an_unchanged_fleet_causes_no_patch_and_no_reconcile(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let seed = protected(&json!([
        {"name": "web-1"}, {"name": "db-1", "mde": {"provisioningState": "Failed", "code": 24}},
        {"name": "odd-1", "neverProvisioned": true, "mde": "none", "age": "30d"}]));
    let team = environment.team_with("still", seed).await?;
    team.protect(NAME, p2()).await?;
    machines(&team, NAME, "False", "BelowMinimum").await?;
    team.until(NAME, "Ready", "True", TIMEOUT).await?;
    let requests = || environment.emulator.requests(&team.subscription);
    // The last reconciles of the creation, and the first confirmations.
    let count = eventually("an object at rest", TIMEOUT, || async {
        let before = requests().await.map_err(|error| error.to_string())?.len();
        tokio::time::sleep(Duration::from_secs(3)).await;
        let after = requests().await.map_err(|error| error.to_string())?.len();
        if before == after {
            Ok(after)
        } else {
            Err(format!("{before} requests, then {after}"))
        }
    })
    .await?;
    let before = team.get(NAME).await?;
    tokio::time::sleep(Duration::from_secs(9)).await;
    let after = team.get(NAME).await?;
    assert_eq!(
        before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"],
        "{after:#}"
    );
    // Confirmations are cached, and a scan causes no reconcile.
    let all = requests().await?;
    assert_eq!(all.len(), count, "{:#?}", all.get(count..));
    Ok(())
}

async fn a_restart_keeps_the_numbers_and_finds_the_same(environment: Arc<Environment>) -> Result<(), Error> {
    let seed = protected(
        &json!([{"name": "web-1"}, {"name": "db-1", "mde": {"provisioningState": "Failed", "code": 4}}]),
    );
    let team = environment.team_with("restart", seed).await?;
    team.protect(NAME, p2()).await?;
    machines(&team, NAME, "False", "BelowMinimum").await?;
    team.until(NAME, "Ready", "True", TIMEOUT).await?;
    let before = team.get(NAME).await?;
    let flags = [
        "--watch-namespace",
        &team.namespace,
        "--machine-scan-interval",
        "1s",
        "--per-object-metrics",
    ];
    let options = ControllerOptions::flags(&flags);
    // A second process reads the status of the first one, and changes nothing.
    let mut another = environment.another_controller(&format!("{}.log", team.namespace), &options)?;
    another.wait_ready(TIMEOUT).await?;
    let began = Instant::now();
    while another
        .metric("serverprotection_fleet_scans_total", &["outcome=\"complete\""])
        .await?
        < Some(3.0)
    {
        assert!(
            began.elapsed() < TIMEOUT,
            "no three scans: {}",
            another.metrics().await?
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    figures(&mut another, &team.namespace).await?;
    another.terminate().await?;
    let after = team.get(NAME).await?;
    assert_eq!(before["status"]["machines"], after["status"]["machines"]);
    // Series of single objects exist only on request.
    let mut first = environment.controller().await;
    let series = first
        .as_mut()
        .unwrap()
        .metric("serverprotection_object_machines", &[])
        .await?;
    assert_eq!(series, None);
    Ok(())
}

/// The metrics of a fleet with one protected machine and one failed machine.
async fn figures(controller: &mut ControllerProcess, namespace: &str) -> Result<(), Error> {
    let namespace = format!("namespace=\"{namespace}\"");
    for (name, labels, least, most) in [
        (
            "serverprotection_machines",
            vec!["environment=\"Azure\"", "verdict=\"Failed\""],
            1.0,
            1.0,
        ),
        (
            "serverprotection_machines",
            vec!["environment=\"Azure\"", "verdict=\"Protected\""],
            1.0,
            1.0,
        ),
        ("serverprotection_machines", vec!["environment=\"AWS\""], 0.0, 0.0),
        (
            "serverprotection_object_machines",
            vec![&namespace, "verdict=\"Failed\""],
            1.0,
            1.0,
        ),
        ("serverprotection_fleet_scan_age_seconds", vec![], 0.0, 60.0),
        (
            "serverprotection_fleet_scan_duration_seconds_count",
            vec![],
            3.0,
            1000.0,
        ),
        ("serverprotection_fleet_scan_pages_total", vec![], 3.0, 1000.0),
        ("serverprotection_fleet_scan_rows_total", vec![], 6.0, 2000.0),
        (
            "serverprotection_fleet_scan_confirmations_total",
            vec![],
            1.0,
            1.0,
        ),
        (
            "serverprotection_resource_graph_quota_remaining",
            vec![],
            0.0,
            15.0,
        ),
        (
            "serverprotection_machines_eligible",
            vec!["environment=\"Azure\""],
            2.0,
            2.0,
        ),
        ("serverprotection_machines_protected_ratio", vec![], 0.5, 0.5),
        (
            "serverprotection_machines_protected_objects",
            vec!["reason=\"BelowMinimum\""],
            1.0,
            1.0,
        ),
        ("serverprotection_overdue_objects", vec![], 0.0, 0.0),
        (
            "serverprotection_machines_by_reason",
            vec!["verdict=\"Failed\""],
            1.0,
            1.0,
        ),
    ] {
        let found = controller.metric(name, &labels).await?.unwrap_or(-2.0);
        assert!((least..=most).contains(&found), "{name} {labels:?} is {found}");
    }
    Ok(())
}
