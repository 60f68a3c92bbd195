//! Control of foreign writers.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Reply, Shared, good, parsed, problem};
use crate::{emulator::Emulator, foreign::ForeignWriter, state::apply};

pub(super) async fn list(State(emulator): Shared) -> Reply {
    good(json!({"foreignWriters": emulator.foreign.lock().list()}))
}

pub(super) async fn add(State(emulator): Shared, body: String) -> Result<Reply, Reply> {
    let id = start(&emulator, parsed(&body)?).map_err(|text| problem(StatusCode::BAD_REQUEST, text))?;
    Ok((StatusCode::CREATED, axum::Json(json!({"id": id}))))
}

pub(super) async fn clear(State(emulator): Shared) -> StatusCode {
    emulator.foreign.lock().clear();
    StatusCode::NO_CONTENT
}

pub(super) async fn remove(State(emulator): Shared, Path(id): Path<String>) -> StatusCode {
    let removed = emulator.foreign.lock().remove(&id);
    if removed {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

/// Adds a writer, starts it, and returns its id.
fn start(emulator: &Arc<Emulator>, order: Value) -> Result<String, String> {
    let mut writer: ForeignWriter = serde_json::from_value(order).map_err(|error| error.to_string())?;
    writer.subscription = writer.subscription.to_ascii_lowercase();
    let every = writer
        .every
        .as_ref()
        .map(|every| humantime::parse_duration(every).map_err(|error| format!("every: {error}")))
        .transpose()?;
    // Try the changes on a copy, so that a wrong path is reported now.
    let trial = emulator
        .world
        .lock()
        .subscriptions
        .get(&writer.subscription)
        .cloned();
    apply(
        &mut trial.ok_or("unknown subscription")?,
        &writer.set,
        Timestamp::now(),
    )?;
    let id = emulator.foreign.lock().add(writer);
    if let Some(every) = every {
        tokio::spawn(write_periodically(Arc::clone(emulator), id.clone(), every));
    }
    Ok(id)
}

async fn write_periodically(emulator: Arc<Emulator>, id: String, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let mut world = emulator.world.lock();
        if !emulator.foreign.lock().write(&id, &mut world) {
            return;
        }
        emulator.changed();
    }
}
