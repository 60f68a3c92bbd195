//! Control of the safety monitor.

use axum::{extract::State, http::StatusCode};
use serde_json::{Value, json};

use super::{Reply, Shared, good, parsed, problem};

pub(super) async fn breaches(State(emulator): Shared) -> Reply {
    let monitor = emulator.monitor.lock();
    let breaches = monitor.breaches();
    let late = monitor.identical_late_writes();
    good(json!({"count": breaches.len(), "breaches": breaches, "identicalLateWrites": late}))
}

pub(super) async fn clear(State(emulator): Shared) -> StatusCode {
    emulator.monitor.lock().clear();
    StatusCode::NO_CONTENT
}

pub(super) async fn allowances(State(emulator): Shared) -> Reply {
    good(json!(emulator.monitor.lock().allowances))
}

/// Members that are given replace the current ones.
pub(super) async fn allow(State(emulator): Shared, body: String) -> Result<Reply, Reply> {
    let given: Value = parsed(&body)?;
    let mut monitor = emulator.monitor.lock();
    let mut all = json!(monitor.allowances);
    if let (Some(all), Value::Object(given)) = (all.as_object_mut(), given) {
        all.extend(given);
    }
    monitor.allowances =
        serde_json::from_value(all).map_err(|error| problem(StatusCode::BAD_REQUEST, error.to_string()))?;
    Ok(good(json!(monitor.allowances)))
}
