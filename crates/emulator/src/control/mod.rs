//! The control endpoint, `/_emulator/`: for tests, without authentication.

mod foreign;
mod machines;
mod monitor;
mod requests;
mod world;

use std::sync::Arc;

use axum::{
    Json, Router,
    http::StatusCode,
    routing::{delete, get, patch, post, put},
};
use serde_json::{Value, json};

use crate::emulator::Emulator;

type Shared = axum::extract::State<Arc<Emulator>>;
type Reply = (StatusCode, Json<Value>);

/// All control routes.
pub fn routes() -> Router<Arc<Emulator>> {
    Router::new()
        .route("/_emulator/healthz", get(|| async { "ok\n" }))
        .route("/_emulator/requests", get(requests::list).delete(requests::clear))
        .route("/_emulator/requests/summary", get(requests::summary))
        .route(
            "/_emulator/faults",
            get(requests::faults)
                .post(requests::add_fault)
                .delete(requests::clear_faults),
        )
        .route("/_emulator/faults/{id}", delete(requests::remove_fault))
        .route(
            "/_emulator/breaches",
            get(monitor::breaches).delete(monitor::clear),
        )
        .route("/_emulator/monitor", get(monitor::allowances).put(monitor::allow))
        .route("/_emulator/seed", post(world::seed))
        .route("/_emulator/reset", post(world::reset))
        .route("/_emulator/subscriptions", get(world::subscriptions))
        .route(
            "/_emulator/subscriptions/{id}",
            get(world::subscription).patch(world::change_subscription),
        )
        .route(
            "/_emulator/subscriptions/{id}/machines",
            get(machines::list).post(machines::add),
        )
        .route(
            "/_emulator/subscriptions/{id}/machines/{*name}",
            get(machines::one)
                .patch(machines::change)
                .delete(machines::remove),
        )
        .route("/_emulator/clock", get(machines::clock).put(machines::advance))
        .route("/_emulator/principals/{id}", patch(world::change_principal))
        .route(
            "/_emulator/management-groups",
            get(world::management_groups).patch(world::set_management_groups),
        )
        .route(
            "/_emulator/cloud-accounts",
            get(world::cloud_accounts).patch(world::change_cloud_accounts),
        )
        .route(
            "/_emulator/switches",
            get(world::switches).put(world::set_switches),
        )
        .route("/_emulator/options", get(world::knobs).put(world::set_knobs))
        .route(
            "/_emulator/foreign-writers",
            get(foreign::list).post(foreign::add).delete(foreign::clear),
        )
        .route("/_emulator/foreign-writers/{id}", delete(foreign::remove))
        .route(
            "/_emulator/{*rest}",
            put(unknown)
                .get(unknown)
                .post(unknown)
                .patch(unknown)
                .delete(unknown),
        )
}

async fn unknown() -> Reply {
    problem(
        StatusCode::NOT_FOUND,
        "unknown control route; docs/emulator.md lists all routes",
    )
}

fn good(body: Value) -> Reply {
    (StatusCode::OK, Json(body))
}

fn problem(status: StatusCode, message: impl Into<String>) -> Reply {
    (status, Json(json!({"error": message.into()})))
}

/// A JSON or YAML body; the content type does not matter.
fn parsed(body: &str) -> Result<Value, Reply> {
    serde_json::from_str(body)
        .or_else(|_| serde_saphyr::from_str(body))
        .map_err(|error| problem(StatusCode::BAD_REQUEST, error.to_string()))
}

fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .find(|(key, value)| key == name && !value.is_empty())
        .map(|(_, value)| value.into_owned())
}
