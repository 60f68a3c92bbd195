//! Serves `/metrics`, `/healthz` and `/readyz`.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    connections::{self, Limits},
    metrics::Format,
    metrics_page::MetricsPage,
    restrictions::Restrictions,
    watch::{INSTALL_CRDS, Listed},
};

/// The kinds whose watches decide about `/readyz`, by their names.
pub(crate) type Watches = Vec<(&'static str, Listed)>;

#[derive(Clone)]
struct Shared {
    page: MetricsPage,
    restrictions: Arc<Restrictions>,
    watches: Watches,
}

/// Serves until `stop`. `/healthz` answers while the process runs, because the process ends with the controller.
///
/// # Errors
///
/// Fails if the address cannot be bound.
pub(crate) async fn serve(
    listen: SocketAddr,
    page: MetricsPage,
    restrictions: Arc<Restrictions>,
    watches: Watches,
    stop: CancellationToken,
) -> std::io::Result<tokio::task::JoinHandle<()>> {
    let listener = TcpListener::bind(listen).await?;
    tracing::info!("serving health and metrics on http://{}", listener.local_addr()?);
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Shared {
            page,
            restrictions,
            watches,
        });
    Ok(tokio::spawn(connections::serve(
        listener,
        router,
        Limits::default(),
        stop,
    )))
}

async fn readyz(State(shared): State<Shared>) -> impl IntoResponse {
    match not_ready(&shared.watches, shared.restrictions.refusal()) {
        None => (StatusCode::OK, "ok".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
    }
}

/// Why the process is not ready. `refusal` is why it waits for admission policies at the start.
fn not_ready(watches: &[(&'static str, Listed)], refusal: Option<&str>) -> Option<String> {
    if let Some((kind, _)) = watches.iter().find(|(_, watch)| watch.is_missing()) {
        return Some(format!(
            "the API server does not know the kind {kind}; {INSTALL_CRDS}"
        ));
    }
    let all = watches.iter().all(|(_, watch)| watch.is_set());
    (!all).then(|| {
        refusal
            .unwrap_or("waiting for the first list of all objects")
            .to_owned()
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_all_objects_are_known() {
        let watches = ["ServerProtection", "SecurityConnector"].map(|kind| (kind, Listed::default()));
        let reason = || not_ready(&watches, None).unwrap_or_default();
        assert!(reason().contains("first list"));
        assert_eq!(not_ready(&watches, Some("no policy")).unwrap(), "no policy");
        watches[0].1.set();
        assert!(reason().contains("first list"));
        watches[1].1.set();
        assert_eq!(
            not_ready(&watches, Some("no policy")),
            None,
            "after the start, tokens are closed"
        );
        watches[1].1.set_missing(true);
        assert!(reason().contains("the kind SecurityConnector"), "{}", reason());
        assert!(
            reason().contains("serverprotection crds | kubectl apply"),
            "{}",
            reason()
        );
        watches[1].1.set_missing(false);
        assert_eq!(not_ready(&watches, None), None);
    }
}
