//! Observe writes nothing; suspend does not even read.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use serverprotection_tests::{
    Error, cases,
    env::Environment,
    harness::Case,
    kstatus::{Status, kstatus},
    team::condition,
};

use super::{TIMEOUT, condition_values, in_azure, p2, ready, reconcile, requests, writes};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        observe_writes_nothing_is_ready_and_reports_the_drift,
        suspend_stops_everything_and_resume_repairs,
        suspended_from_the_start_is_not_ready_and_sends_no_request,
    ]
}

async fn observe_writes_nothing_is_ready_and_reports_the_drift(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("observe").await?;
    let mut spec = p2();
    spec["mode"] = json!("Observe");
    team.protect("lab", spec).await?;
    let object = ready(&team, "lab").await?;
    assert_eq!(condition_values(&object, "Ready").1, "Observed");
    assert_eq!(condition_values(&object, "Drifted").0, "True");
    assert!(
        object["status"]["driftCount"].as_i64().unwrap() >= 2,
        "{object:#}"
    );
    assert_eq!(object["status"]["drift"][0]["field"], "plan.tier");
    assert_eq!(object["status"]["drift"][0]["observed"], "Free");
    reconcile(&team, "lab").await?;
    assert!(writes(&team).await?.is_empty());

    team.patch("lab", json!({"spec": {"mode": "Enforce"}})).await?;
    let object = ready(&team, "lab").await?;
    assert_eq!(condition_values(&object, "Ready").1, "InSync");
    Ok(())
}

async fn suspend_stops_everything_and_resume_repairs(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("suspend").await?;
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    team.patch("prod", json!({"spec": {"suspend": true}})).await?;
    let object = team.until("prod", "Suspended", "True", TIMEOUT).await?;
    let (status, reason, _) = condition_values(&object, "Ready");
    assert_eq!(
        (status, reason),
        ("True", "Suspended"),
        "it keeps its last status"
    );
    assert_eq!(kstatus(&object), Status::Current, "{object:#}");

    environment
        .emulator
        .set(&team.subscription, json!({"settings.WDATP": false}))
        .await?;
    let before = requests(&team).await?.len();
    reconcile(&team, "prod").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    team.patch(
        "prod",
        json!({"spec": {"machines": {"minimumProtectedPercent": 90}}}),
    )
    .await?;
    let object = team.until("prod", "Ready", "Unknown", TIMEOUT).await?;
    assert_eq!(condition_values(&object, "Ready").1, "Suspended");
    assert_eq!(kstatus(&object), Status::InProgress, "{object:#}");
    assert_eq!(requests(&team).await?.len(), before, "no call while suspended");

    team.patch("prod", json!({"spec": {"suspend": false}})).await?;
    let what = "the end of the suspension, repaired";
    team.until_holds("prod", what, TIMEOUT, |object| {
        condition(object, "Suspended").is_none()
            && condition(object, "Ready").is_some_and(|ready| ready["status"] == "True")
    })
    .await?;
    assert_eq!(in_azure(&team).await?["settings"]["WDATP"], true);
    team.until_events(&["Suspended", "Resumed"], TIMEOUT).await
}

async fn suspended_from_the_start_is_not_ready_and_sends_no_request(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("asleep").await?;
    let mut spec = p2();
    spec["suspend"] = json!(true);
    team.protect("prod", spec).await?;
    let object = team.until("prod", "Suspended", "True", TIMEOUT).await?;
    let (status, reason, _) = condition_values(&object, "Ready");
    assert_eq!((status, reason), ("Unknown", "Suspended"));
    assert!(requests(&team).await?.is_empty());
    Ok(())
}
