//! The frame of every visit: deadline, failures of the API server, objects that cannot be read, and what is counted.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kube::{Resource, runtime::controller::Action};

use crate::{
    context::Context,
    guarded::Guarded,
    kind::Kind,
    metrics::OutcomeLabel,
    saving::{self, Error},
};

/// Visits an object and says when to come back. Never fails: what went wrong paces the next visit.
pub(crate) async fn reconcile<K: Kind>(
    object: Arc<Guarded<K>>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    let started = Instant::now();
    let uid = object.meta().uid.clone().unwrap_or_default();
    let visited = match &*object {
        Guarded::Readable(object) => {
            tokio::time::timeout(K::DEADLINE, Box::pin(object.visit(&context))).await
        }
        Guarded::Unreadable(object) => Ok(K::unreadable(object, &context).await),
    };
    let (outcome, action) = match visited {
        Ok(Ok(action)) => ("ok", action),
        Ok(Err(error)) => {
            context.metrics.kube_failures.inc();
            let wait = saving::kube_retry::<K>(&context, &uid);
            tracing::warn!(%error, retry_in = ?wait, "visit could not be finished");
            ("kubernetes_failure", Action::requeue(wait))
        }
        Err(_) => {
            tracing::warn!("visit took longer than {:?} and was ended", K::DEADLINE);
            ("deadline", Action::requeue(Duration::from_secs(10)))
        }
    };
    context
        .metrics
        .visits
        .get_or_create(&OutcomeLabel { outcome })
        .inc();
    context
        .metrics
        .visit_seconds
        .observe(started.elapsed().as_secs_f64());
    Ok(action)
}
