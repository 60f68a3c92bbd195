//! Control of the request log and of faults.

use axum::{
    extract::{Path, RawQuery, State},
    http::StatusCode,
};
use serde_json::{Value, json};

use super::{Reply, Shared, good, parameter, parsed, problem};

struct Selection {
    subscription: Option<String>,
    since: u64,
    kind: String,
}

impl Selection {
    fn of(query: Option<&str>) -> Self {
        Self {
            subscription: parameter(query, "subscription").map(|id| id.to_ascii_lowercase()),
            since: parameter(query, "since")
                .and_then(|since| since.parse().ok())
                .unwrap_or_default(),
            kind: parameter(query, "kind").unwrap_or_else(|| "all".into()),
        }
    }
}

pub(super) async fn list(State(emulator): Shared, RawQuery(query): RawQuery) -> Reply {
    let selection = Selection::of(query.as_deref());
    let log = emulator.log.lock();
    let entries: Vec<_> = log
        .select(
            selection.subscription.as_deref(),
            selection.since,
            &selection.kind,
        )
        .collect();
    good(json!({"requests": entries, "lastSequence": log.last()}))
}

pub(super) async fn summary(State(emulator): Shared, RawQuery(query): RawQuery) -> Reply {
    let selection = Selection::of(query.as_deref());
    let log = emulator.log.lock();
    good(log.summary(
        selection.subscription.as_deref(),
        selection.since,
        &selection.kind,
    ))
}

pub(super) async fn clear(State(emulator): Shared) -> StatusCode {
    emulator.log.lock().clear();
    StatusCode::NO_CONTENT
}

pub(super) async fn faults(State(emulator): Shared) -> Reply {
    good(emulator.faults.lock().list())
}

pub(super) async fn add_fault(State(emulator): Shared, body: String) -> Result<Reply, Reply> {
    let document: Value = parsed(&body)?;
    let id = emulator
        .faults
        .lock()
        .add(document)
        .map_err(|problem_| problem(StatusCode::BAD_REQUEST, problem_))?;
    Ok((StatusCode::CREATED, axum::Json(json!({"id": id}))))
}

pub(super) async fn clear_faults(State(emulator): Shared) -> StatusCode {
    emulator.faults.lock().clear();
    StatusCode::NO_CONTENT
}

pub(super) async fn remove_fault(State(emulator): Shared, Path(id): Path<String>) -> StatusCode {
    let removed = emulator.faults.lock().remove(&id);
    if removed {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}
