//! The shared environment: teams do not affect each other, the recorder misses no version, and faults are counted.

// Clippy does not recognize a test with its own main function as a test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    controller_process::{ControllerOptions, ControllerProcess},
    env::{Environment, Options},
    harness,
    kstatus::{self, Status},
    wait::eventually,
};
use std::{process::ExitCode, sync::Arc, time::Duration};

fn main() -> ExitCode {
    harness::run(
        || Environment::start(Options::default()),
        cases![
            a_team_has_a_subscription_and_a_credential_of_its_own,
            the_recorder_sees_every_version,
            the_recorder_survives_a_killed_api_server,
            a_controller_works_is_measured_crashes_and_ends,
            faults_are_added_listed_and_removed,
        ],
    )
}

async fn a_team_has_a_subscription_and_a_credential_of_its_own(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let (one, two) = tokio::try_join!(environment.team("one"), environment.team("two"))?;
    assert_ne!(one.subscription, two.subscription);
    assert_ne!(one.client_id, two.client_id);
    let fresh = environment.emulator.get(&one.subscription).await?;
    assert!(fresh.to_string().contains("Free"), "{fresh}");
    environment
        .emulator
        .set(
            &one.subscription,
            json!({"pricings.VirtualMachines.pricingTier": "Standard"}),
        )
        .await?;
    let changed = environment.emulator.get(&one.subscription).await?;
    assert!(changed.to_string().contains("Standard"), "{changed}");
    assert_eq!(
        environment.emulator.requests(&one.subscription).await?,
        Vec::<serde_json::Value>::new()
    );
    Ok(())
}

async fn the_recorder_sees_every_version(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("recorded").await?;
    let object = team.protect("prod", json!({"plan": {"tier": "P1"}})).await?;
    assert_eq!(kstatus::kstatus(&object), Status::InProgress, "not observed yet");
    for n in 0..20 {
        team.annotate("prod", "example.com/n", &n.to_string()).await?;
    }
    team.patch("prod", json!({"spec": {"interval": "20m"}})).await?;
    team.delete("prod", Duration::from_secs(10)).await?;
    let history = eventually("the deletion in the record", Duration::from_secs(10), || async {
        let history = team.history();
        if history.last().is_some_and(|v| v.deleted) {
            Ok(history)
        } else {
            Err(format!("{history:?}"))
        }
    })
    .await?;
    assert_eq!(history.len(), 23, "created, 20 annotations, an edit, gone");
    assert_eq!(history.iter().map(|v| v.generation).max(), Some(2));
    assert_eq!(kstatus::judge(&history), []);
    Ok(())
}

async fn the_recorder_survives_a_killed_api_server(_shared: Arc<Environment>) -> Result<(), Error> {
    // On its own control plane, because the other cases need theirs.
    let own = Environment::start(Options::default()).await?;
    let team = own.team("survivor").await?;
    team.protect("prod", json!({"plan": {"tier": "P1"}})).await?;
    own.plane.kill_api_server().await;
    own.plane.start_api_server().await?;
    team.patch("prod", json!({"spec": {"interval": "20m"}})).await?;
    eventually("the edit in the record", Duration::from_secs(30), || async {
        let history = team.history();
        if history.iter().any(|v| v.generation == 2) {
            Ok(())
        } else {
            Err(format!("{} versions", history.len()))
        }
    })
    .await?;
    harness::Setting::stop(&own, false).await
}

async fn a_controller_works_is_measured_crashes_and_ends(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("whole").await?;
    // Other cases use their namespaces alone.
    let options = ControllerOptions::flags(&["--watch-namespace", &team.namespace]);
    environment.start_controller(&options).await?;
    team.protect("prod", json!({"plan": {"tier": "P2"}})).await?;
    let object = team
        .until("prod", "Ready", "True", Duration::from_secs(30))
        .await?;
    assert_eq!(object["status"]["plan"]["tier"], "P2");
    let writes = environment.emulator.requests(&team.subscription).await?;
    assert!(writes.iter().any(|r| r["method"] == "PUT"), "{writes:?}");
    {
        let mut controller = environment.controller().await;
        let controller = controller.as_mut().unwrap();
        let usage = controller.usage()?;
        assert!(
            usage.resident > 1 << 20 && usage.peak >= usage.resident,
            "{usage:?}"
        );
        metrics_in_both_formats(controller).await?;
        object_in_log(&controller.log(), &team.namespace, &team.subscription);
    }

    environment.crash_controller(&options).await?;
    team.patch("prod", json!({"spec": {"plan": {"tier": "P1"}}}))
        .await?;
    team.until("prod", "Ready", "True", Duration::from_secs(30))
        .await?;
    kstatus::assert_lawful(&team.history());

    let mut controller = environment.controller().await;
    assert_eq!(
        controller.as_mut().unwrap().terminate().await?,
        Some(0),
        "exit code after SIGTERM"
    );
    Ok(())
}

async fn metrics_in_both_formats(controller: &mut ControllerProcess) -> Result<(), Error> {
    let (content_type, text) = controller.metrics_as("text/plain").await?;
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    assert!(
        text.contains("# TYPE serverprotection_reconciles_total counter\n"),
        "{text}"
    );
    assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{text}");
    let (content_type, text) = controller
        .metrics_as("application/openmetrics-text; version=1.0.0; q=0.8, text/plain; q=0.5")
        .await?;
    assert_eq!(
        content_type,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(
        text.contains("# TYPE serverprotection_reconciles counter\n"),
        "{text}"
    );
    assert!(text.ends_with("# EOF\n"), "{text}");
    Ok(())
}

/// The object of a line of the log is at the same place in every line.
fn object_in_log(log: &str, namespace: &str, subscription: &str) {
    let expected = json!({"kind": "ServerProtection", "namespace": namespace, "name": "prod",
        "subscription_id": subscription});
    let found = log.lines().any(|line| {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        let members = expected.as_object().unwrap().iter();
        let mut members = members.map(|(name, value)| line.get(name) == Some(value));
        line["reason"].is_string() && members.all(|is| is)
    });
    assert!(found, "no event of {expected} in\n{log}");
}

async fn faults_are_added_listed_and_removed(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("faulty").await?;
    let id = environment
        .emulator
        .add_fault(
            json!({"match": {"subscription": team.subscription}, "action": {"respond": {"status": 503}}}),
        )
        .await?;
    let listed = environment.emulator.faults().await?;
    assert!(
        listed.iter().any(|f| f.to_string().contains(&team.subscription)),
        "{listed:?}"
    );
    environment.emulator.delete_fault(&id).await?;
    let listed = environment.emulator.faults().await?;
    assert!(
        !listed.iter().any(|f| f.to_string().contains(&team.subscription)),
        "{listed:?}"
    );
    Ok(())
}
