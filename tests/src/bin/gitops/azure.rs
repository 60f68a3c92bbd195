//! What the emulated Azure has, and what was written to it.

use serde_json::{Value, json};
use serverprotection_tests::{Error, team::Team};

/// Fails unless the subscription has this plan (`P1`, `P2`).
pub(crate) async fn has_plan(team: &Team<'_>, plan: &str) -> Result<(), Error> {
    let azure = team.environment.emulator.get(&team.subscription).await?;
    has(&azure, "/pricings/VirtualMachines/subPlan", &json!(plan))
}

/// Fails unless a setting of the subscription has this value.
pub(crate) async fn has_setting(team: &Team<'_>, setting: &str, value: bool) -> Result<(), Error> {
    let azure = team.environment.emulator.get(&team.subscription).await?;
    has(&azure, &format!("/settings/{setting}"), &json!(value))
}

/// The team's connector; `None` if there is none.
pub(crate) async fn connector(team: &Team<'_>, name: &str) -> Result<Option<Value>, Error> {
    let azure = team.environment.emulator.get(&team.subscription).await?;
    let all = azure.get("securityConnectors");
    let found = all.and_then(|all| all.get(format!("rg-connectors/{name}")));
    Ok(found.filter(|found| !found.is_null()).cloned())
}

/// The write requests to the subscription.
pub(crate) async fn writes(team: &Team<'_>) -> Result<Vec<Value>, Error> {
    let requests = team.environment.emulator.requests(&team.subscription).await?;
    let is_write = |request: &Value| request.get("method").is_some_and(|method| method != "GET");
    Ok(requests.into_iter().filter(is_write).collect())
}

fn has(azure: &Value, pointer: &str, expected: &Value) -> Result<(), Error> {
    let found = azure.pointer(pointer);
    if found == Some(expected) {
        return Ok(());
    }
    Err(Error::Other(format!("{pointer} is {found:?}, not {expected}")))
}
