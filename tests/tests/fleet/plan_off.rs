//! Machines of a subscription whose plan is Free, and what happens when the plan is switched on.

use std::sync::Arc;

use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, env::Environment, harness::Case};

use super::{
    NAME,
    command::{ENVIRONMENT, document, run, secret},
    machines, p2, protected, worst,
};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        switching_the_plan_on_begins_the_grace_period,
        the_migration_names_what_is_off_and_what_is_billed,
    ]
}

/// A subscription whose plan is Free, with these machines.
fn free(machines: &Value) -> Value {
    let mut seed = protected(machines);
    seed["pricings"] = json!({"VirtualMachines": {"pricingTier": "Free"}});
    seed
}

async fn switching_the_plan_on_begins_the_grace_period(environment: Arc<Environment>) -> Result<(), Error> {
    let seed = free(&json!([
        {"name": "bare-1", "age": "90d", "mde": "none", "neverProvisioned": true},
        {"name": "bare-2", "age": "90d", "mde": "none", "neverProvisioned": true, "cloudProvider": "OnPremises"}]));
    let team = environment.team_with("switchon", seed).await?;
    let mut spec = p2();
    spec["mode"] = json!("Observe");
    team.protect(NAME, spec).await?;
    let object = machines(&team, NAME, "False", "BelowMinimum").await?;
    for name in ["bare-1", "bare-2"] {
        let machine = worst(&object, name);
        assert_eq!(machine["verdict"], "PlanOff", "{machine:#}");
        assert_eq!(machine["reason"], "SubscriptionPlanFree", "{machine:#}");
    }
    team.patch(NAME, json!({"spec": {"mode": "Enforce"}})).await?;
    let object = machines(&team, NAME, "False", "Provisioning").await?;
    assert_eq!(
        object["status"]["machines"]["verdicts"],
        json!({"Provisioning": 2}),
        "{object:#}"
    );
    // At no time were they Missing: their age says nothing about the time that Defender needs.
    let missing = team
        .history()
        .iter()
        .any(|version| version.status["machines"]["verdicts"]["Missing"].as_i64() > Some(0));
    assert!(!missing);
    Ok(())
}

async fn the_migration_names_what_is_off_and_what_is_billed(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let seed = free(&json!([
        {"name": "web-1", "mde": "none"},
        {"name": "new-1", "mde": "none", "age": "5m"},
        {"name": "off-1", "mde": "none", "powerState": "stopped"},
        {"name": "off-2", "mde": "none", "powerState": "deallocated"},
        {"name": "srv-1", "mde": "none", "cloudProvider": "OnPremises",
         "arc": {"status": "Disconnected", "lastStatusChange": "3d"}}]));
    let team = environment.team_with("planoff", seed).await?;
    let arguments = [&ENVIRONMENT[..], &["--migration", "-o", "json"]].concat();
    let report = document(&run(&team, &secret(&team), &arguments, None).await?);
    let found = &report["subscriptions"][0];
    assert_eq!(
        (&found["id"], &found["plan"], &found["total"]),
        (&json!(team.subscription), &json!("Free"), &json!(5)),
        "{found:#}"
    );
    assert_eq!(
        found["stages"],
        json!([{"stage": "PlanOff", "machines": 3}, {"stage": "NotAssessable", "machines": 2}]),
        "{found:#}"
    );
    assert_eq!(
        found["billing"],
        json!({"billed": 3, "stopped": 1, "deallocated": 1, "notConnected": 1, "ownPlanFree": 0, "unknown": 0})
    );
    let text = [&ENVIRONMENT[..], &["--migration"]].concat();
    let text = run(&team, &secret(&team), &text, None).await?.out;
    for words in [
        "Switch on the plan of these subscriptions",
        "of them stopped, still allocated",
        "antivirus in passive mode",
        team.subscription.as_str(),
    ] {
        assert!(text.contains(words), "no {words} in {text}");
    }
    Ok(())
}
