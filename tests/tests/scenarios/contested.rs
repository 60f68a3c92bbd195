//! Contested fields.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use serverprotection_tests::{
    Error, cases,
    env::Environment,
    harness::Case,
    team::{Team, condition},
};

use super::{TIMEOUT, condition_values, of, p2, plan_writes, ready, reconcile, requests, writes};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        a_foreign_writer_wins_after_three_repairs_and_is_reported,
        agentless_scanning_that_another_plan_keeps_on_is_contested,
    ]
}

async fn a_foreign_writer_wins_after_three_repairs_and_is_reported(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("foreign").await?;
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    let before = of(writes(&team).await?, "/settings/WDATP").len();
    let mut contested = None;
    for _ in 0..8 {
        environment
            .emulator
            .set(&team.subscription, json!({"settings.WDATP": false}))
            .await?;
        let object = reconcile(&team, "prod").await?;
        if condition(&object, "Contested").is_some() {
            contested = Some(object);
            break;
        }
        ready(&team, "prod").await?;
    }
    let object = contested.unwrap_or_else(|| panic!("it never became Contested"));
    let (status, reason, message) = condition_values(&object, "Stalled");
    assert_eq!((status, reason), ("True", "Contested"));
    assert!(message.contains("endpointIntegration.state"), "{message}");
    assert_eq!(object["status"]["contested"][0]["repairs"], 3);
    let repairs = |all: Vec<serde_json::Value>| {
        all.iter()
            .filter(|it| it["path"].as_str().is_some_and(|path| path.ends_with("/WDATP")))
            .count()
    };
    let made = repairs(of(writes(&team).await?, "/settings/"));
    assert!(message.contains(" until 20"), "the end of the pause: {message}");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(
        repairs(of(writes(&team).await?, "/settings/")),
        made,
        "enforcement is paused"
    );
    assert!(made - before.min(made) <= 4, "{made} writes");

    // A user ends the pause; the next one is longer.
    reconcile(&team, "prod").await?;
    let object = ready(&team, "prod").await?;
    assert_eq!(repairs(of(writes(&team).await?, "/settings/")), made + 1);
    assert_eq!(
        object["status"]["contested"][0]["suppressionHours"], 2,
        "{object:#}"
    );
    environment
        .emulator
        .set(&team.subscription, json!({"settings.WDATP": false}))
        .await?;
    let object = reconcile(&team, "prod").await?;
    assert!(condition(&object, "Contested").is_some(), "{object:#}");

    // The other writer stops: the object is Ready again without a write.
    environment
        .emulator
        .set(&team.subscription, json!({"settings.WDATP": true}))
        .await?;
    team.request("prod").await?;
    let object = ready(&team, "prod").await?;
    assert!(condition(&object, "Contested").is_none());
    Ok(())
}

async fn agentless_scanning_that_another_plan_keeps_on_is_contested(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let posture = scanned_by(&environment, "CloudPosture").await?;
    let containers = scanned_by(&environment, "Containers").await?;
    // Azure accepts the write and changes nothing, so only a write can find out.
    let allow = json!({"allowUseless": [posture.subscription, containers.subscription]});
    environment.emulator.allow(allow).await?;
    let posture = stays_on(&posture, "Defender CSPM (CloudPosture)");
    let containers = stays_on(&containers, "Defender for Containers (Containers)");
    tokio::try_join!(posture, containers).map(drop)
}

async fn scanned_by<'a>(environment: &'a Environment, plan: &str) -> Result<Team<'a>, Error> {
    let on = json!({"pricings": {plan: {"pricingTier": "Standard",
        "extensions.AgentlessVmScanning.isEnabled": "True"}}});
    environment.team_with(&plan.to_lowercase(), on).await
}

async fn stays_on(team: &Team<'_>, named: &str) -> Result<(), Error> {
    team.protect(
        "prod",
        json!({"plan": {"tier": "P2", "agentlessScanning": {"state": "Disabled"}}}),
    )
    .await?;
    let settled = |object: &serde_json::Value| {
        condition(object, "Reconciling").is_some_and(|it| it["reason"] == "Settling")
            || condition(object, "Contested").is_some()
    };
    team.until_holds("prod", "Settling", TIMEOUT, settled).await?;
    let puts = plan_writes(team).await?.len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(plan_writes(team).await?.len() <= puts, "no loop while it settles");
    // Each requested reconcile writes once more, until the field is contested.
    for _ in 0..6 {
        let object = reconcile(team, "prod").await?;
        if condition(&object, "Contested").is_some() {
            break;
        }
    }
    // The plan that keeps it on is known at the latest when the object is read again.
    let object = team
        .until_holds("prod", "Contested, with the other plan", TIMEOUT, |object| {
            let found = condition(object, "Contested").and_then(|it| it["message"].as_str());
            found.is_some_and(|message| message.contains(named))
        })
        .await?;
    let (_, _, message) = condition_values(&object, "Contested");
    assert!(message.contains("plan.agentlessScanning.state"), "{message}");
    assert!(plan_writes(team).await?.len() <= 5);
    let (all, made) = (requests(team).await?.len(), plan_writes(team).await?.len());
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(requests(team).await?.len() <= all + 8, "no hot loop");
    assert_eq!(plan_writes(team).await?.len(), made);
    Ok(())
}
