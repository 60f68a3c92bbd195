//! Control of the machines and of their clock.

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Reply, Shared, good, parsed, problem};
use crate::{instant, state::machines};

pub(super) async fn list(State(emulator): Shared, Path(id): Path<String>) -> Result<Reply, Reply> {
    let world = emulator.world.lock();
    let found = world
        .subscriptions
        .get(&id.to_ascii_lowercase())
        .ok_or_else(missing)?;
    Ok(good(
        json!({"machines": machines::shown(found, None, Timestamp::now())}),
    ))
}

pub(super) async fn one(
    State(emulator): Shared,
    Path((id, name)): Path<(String, String)>,
) -> Result<Reply, Reply> {
    let world = emulator.world.lock();
    let found = world
        .subscriptions
        .get(&id.to_ascii_lowercase())
        .ok_or_else(missing)?;
    machines::shown(found, Some(&name), Timestamp::now())
        .map(good)
        .ok_or_else(missing)
}

/// Adds one machine or a list. They are new: Defender deploys the sensor after the usual delay.
pub(super) async fn add(
    State(emulator): Shared,
    Path(id): Path<String>,
    body: String,
) -> Result<Reply, Reply> {
    let body = parsed(&body)?;
    let all = match body {
        Value::Array(all) => all,
        one => vec![one],
    };
    let now = Timestamp::now();
    let mut world = emulator.world.lock();
    let found = world
        .subscriptions
        .get_mut(&id.to_ascii_lowercase())
        .ok_or_else(missing)?;
    let mut changed = found.clone();
    for machine in &all {
        machines::add(&mut changed, machine, false, now).map_err(bad)?;
    }
    changed.settle(now);
    *found = changed;
    emulator.changed();
    Ok((StatusCode::CREATED, axum::Json(json!({"added": all.len()}))))
}

/// `{"set": {path: value}}`
pub(super) async fn change(
    State(emulator): Shared,
    Path((id, name)): Path<(String, String)>,
    body: String,
) -> Result<Reply, Reply> {
    let body: Value = parsed(&body)?;
    let set = body
        .get("set")
        .and_then(Value::as_object)
        .ok_or_else(|| bad("expected {\"set\": {path: value}}".into()))?;
    let now = Timestamp::now();
    let mut world = emulator.world.lock();
    let found = world
        .subscriptions
        .get_mut(&id.to_ascii_lowercase())
        .ok_or_else(missing)?;
    machines::set(found, &name, set, now).map_err(bad)?;
    emulator.changed();
    machines::shown(found, Some(&name), now)
        .map(good)
        .ok_or_else(missing)
}

pub(super) async fn remove(
    State(emulator): Shared,
    Path((id, name)): Path<(String, String)>,
) -> Result<StatusCode, Reply> {
    let mut world = emulator.world.lock();
    let found = world
        .subscriptions
        .get_mut(&id.to_ascii_lowercase())
        .ok_or_else(missing)?;
    if !machines::remove(found, &name, Timestamp::now()) {
        return Err(missing());
    }
    emulator.changed();
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn clock(State(emulator): Shared) -> Reply {
    good(shown(emulator.world.lock().clock))
}

/// `{"advance": "2h"}`
pub(super) async fn advance(State(emulator): Shared, body: String) -> Result<Reply, Reply> {
    let body: Value = parsed(&body)?;
    let by = body
        .get("advance")
        .and_then(Value::as_str)
        .ok_or_else(|| bad("expected {\"advance\": \"2h\"}".into()))?;
    let by = humantime::parse_duration(by).map_err(|error| bad(error.to_string()))?;
    let mut world = emulator.world.lock();
    world.advance(by);
    emulator.changed();
    Ok(good(shown(world.clock)))
}

fn shown(clock: i64) -> Value {
    let ahead = std::time::Duration::from_millis(u64::try_from(clock).unwrap_or_default());
    let now = instant::epoch_milliseconds(Timestamp::now()).saturating_add(clock);
    json!({
        "ahead": humantime::format_duration(ahead).to_string(),
        "now": Timestamp::from_millisecond(now).map(instant::milliseconds).unwrap_or_default(),
    })
}

fn bad(message: String) -> Reply {
    problem(StatusCode::BAD_REQUEST, message)
}

fn missing() -> Reply {
    problem(StatusCode::NOT_FOUND, "unknown subscription or machine")
}
