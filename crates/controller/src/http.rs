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

/// What decides about `/readyz`.
#[derive(Clone)]
pub(crate) struct Readiness {
    pub(crate) watches: Watches,
    pub(crate) restrictions: Arc<Restrictions>,
}

#[derive(Clone)]
struct Shared {
    page: MetricsPage,
    readiness: Readiness,
}

/// Serves until `stop`. `/healthz` answers while the process runs, because the process ends with the controller.
///
/// # Errors
///
/// Fails if the address cannot be bound.
pub(crate) async fn serve(
    listen: SocketAddr,
    page: MetricsPage,
    readiness: Readiness,
    stop: CancellationToken,
) -> std::io::Result<tokio::task::JoinHandle<()>> {
    let listener = TcpListener::bind(listen).await?;
    tracing::info!("serving health and metrics on http://{}", listener.local_addr()?);
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Shared { page, readiness });
    Ok(tokio::spawn(connections::serve(
        listener,
        router,
        Limits::default(),
        stop,
    )))
}

async fn readyz(State(shared): State<Shared>) -> impl IntoResponse {
    let Readiness {
        watches,
        restrictions,
    } = &shared.readiness;
    match not_ready(watches, restrictions.waits_for()) {
        None => (StatusCode::OK, "ok".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
    }
}

/// Why the process is not ready. `policies`: what the check of the admission policies waits for.
fn not_ready(watches: &[(&'static str, Listed)], policies: Option<&str>) -> Option<String> {
    if let Some((kind, _)) = watches.iter().find(|(_, watch)| watch.is_missing()) {
        return Some(format!(
            "the API server does not know the kind {kind}; {INSTALL_CRDS}"
        ));
    }
    if let Some(policies) = policies {
        return Some(policies.to_owned());
    }
    let unlisted = watches.iter().filter(|(_, watch)| !watch.is_set());
    let kinds: Vec<_> = unlisted.map(|(kind, _)| *kind).collect();
    (!kinds.is_empty()).then(|| format!("waiting for the first list of {}", kinds.join(", ")))
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
        assert_eq!(
            reason(),
            "waiting for the first list of ServerProtection, SecurityConnector"
        );
        watches[0].1.set();
        assert_eq!(reason(), "waiting for the first list of SecurityConnector");
        let policies = not_ready(&watches, Some("waiting for the check of the admission policies"));
        assert!(policies.is_some_and(|reason| reason.contains("admission policies")));
        watches[1].1.set();
        assert_eq!(not_ready(&watches, None), None);
        watches[1].1.set_missing(true);
        assert!(reason().contains("the kind SecurityConnector"), "{}", reason());
        assert!(
            reason().contains("serverprotection crds | kubectl apply"),
            "{}",
            reason()
        );
        watches[1].1.set_missing(false);
        assert_eq!(not_ready(&watches, None), None);
        watches[1].1.set_missing(true);
        let first = not_ready(&watches, Some("policies")).unwrap_or_default();
        assert!(first.contains("the kind SecurityConnector"), "{first}");
    }
}
