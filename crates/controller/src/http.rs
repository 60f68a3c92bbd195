//! Serves `/metrics`, `/healthz` and `/readyz`.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{metrics::Format, metrics_page::MetricsPage, watch::Listed};

#[derive(Clone)]
struct Shared {
    page: MetricsPage,
    ready: [Listed; 2],
}

/// Serves until `stop`. `/healthz` answers while the process runs, because the process ends with the controller.
///
/// # Errors
///
/// Fails if the address cannot be bound.
pub(crate) async fn serve(
    listen: SocketAddr,
    page: MetricsPage,
    ready: [Listed; 2],
    stop: CancellationToken,
) -> std::io::Result<tokio::task::JoinHandle<()>> {
    let listener = TcpListener::bind(listen).await?;
    tracing::info!("serving health and metrics on http://{}", listener.local_addr()?);
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Shared { page, ready });
    Ok(tokio::spawn(async move {
        let served = axum::serve(listener, router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::error!(%error, "HTTP server for health and metrics ended unexpectedly");
        }
    }))
}

async fn readyz(State(shared): State<Shared>) -> impl IntoResponse {
    if shared.ready.iter().all(Listed::is_set) {
        (StatusCode::OK, "ok")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "waiting for the first list of all objects",
        )
    }
}

async fn metrics(State(shared): State<Shared>, headers: HeaderMap) -> impl IntoResponse {
    let accept = headers.get_all(header::ACCEPT).iter();
    let format = Format::negotiate(accept.filter_map(|value| value.to_str().ok()));
    let headers = [
        (header::CONTENT_TYPE, format.content_type()),
        (header::VARY, "Accept"),
    ];
    (headers, shared.page.text(format))
}
