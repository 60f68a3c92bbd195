//! What the emulated Azure has, and what was written to it.

use crate::steps::ensure;
use serde_json::{Value, json};
use serverprotection_tests::{Error, team::Team};

/// The plan in the state of a subscription.
const PLAN: &str = "/pricings/VirtualMachines/subPlan";

/// Fails unless the subscription has this plan (`P1`, `P2`).
pub(crate) async fn has_plan(team: &Team<'_>, plan: &str) -> Result<(), Error> {
    let azure = team.environment.emulator.get(&team.subscription).await?;
    has(&azure, PLAN, &json!(plan))
}

/// Fails unless a setting of the subscription has this value.
pub(crate) async fn has_setting(team: &Team<'_>, setting: &str, value: bool) -> Result<(), Error> {
    let azure = team.environment.emulator.get(&team.subscription).await?;
    has(&azure, &format!("/settings/{setting}"), &json!(value))
}

/// The team's connector; `None` if there is none.
async fn connector(team: &Team<'_>, name: &str) -> Result<Option<Value>, Error> {
    let azure = team.environment.emulator.get(&team.subscription).await?;
    let all = azure.get("securityConnectors");
    let found = all.and_then(|all| all.get(format!("rg-connectors/{name}")));
    Ok(found.filter(|found| !found.is_null()).cloned())
}

/// Fails unless the team's connector exists, or does not.
pub(crate) async fn is_connected(team: &Team<'_>, name: &str, expected: bool) -> Result<(), Error> {
    let found = connector(team, name).await?;
    ensure(found.is_some() == expected, || format!("Azure has {found:?}"))
}

/// Locks the subscription; `null` unlocks it.
pub(crate) async fn lock(team: &Team<'_>, level: Value) -> Result<(), Error> {
    let change = json!({"lockLevel": level});
    team.environment.emulator.set(&team.subscription, change).await?;
    Ok(())
}

/// Creates so many subscriptions that the team's application owns, and returns their ids.
pub(crate) async fn subscriptions(team: &Team<'_>, number: usize) -> Result<Vec<String>, Error> {
    let mut ids = Vec::new();
    for _ in 0..number {
        ids.push(team.another_subscription(Value::Null).await?);
    }
    Ok(ids)
}

/// Fails unless all these subscriptions have this plan.
pub(crate) async fn all_have_plan(team: &Team<'_>, ids: &[String], plan: &str) -> Result<(), Error> {
    for id in ids {
        let azure = team.environment.emulator.get(id).await?;
        has(&azure, PLAN, &json!(plan)).map_err(|error| Error::Other(format!("{id}: {error}")))?;
    }
    Ok(())
}

/// The write requests to the subscription.
pub(crate) async fn writes(team: &Team<'_>) -> Result<Vec<Value>, Error> {
    let requests = team.environment.emulator.requests(&team.subscription).await?;
    let is_write = |request: &Value| request.get("method").is_some_and(|method| method != "GET");
    Ok(requests.into_iter().filter(is_write).collect())
}

fn has(azure: &Value, pointer: &str, expected: &Value) -> Result<(), Error> {
    let found = azure.pointer(pointer);
    ensure(found == Some(expected), || {
        format!("{pointer} is {found:?}, not {expected}")
    })
}
