//! What surrounds every reconcile: deadline, API server errors, objects that cannot be parsed, panics, and metrics.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use kube::{Resource, api::ObjectMeta, runtime::controller::Action};
use serverprotection_core::{azure_error::ErrorClass, retry};
use tracing::{Instrument, Span};

use crate::{
    context::{Context, InContext},
    metrics::Outcome,
    panics,
    parsed::{InvalidObject, Parsed},
    status_writer::{self, Error},
    unreadable,
};

/// Deadline for reporting a panic in status.
const REPORT_WITHIN: Duration = Duration::from_secs(10);

/// What a controller does with the objects of its kind.
pub(crate) trait Reconcile: InContext {
    /// The Azure subscription of the object, if it is known.
    fn subscription_id(&self, context: &Context) -> Option<String>;

    /// The credential of its namespace that the object acts with, if it is known. It shares slots (`slots.rs`).
    fn credential(&self, _: &Context) -> Option<String> {
        None
    }

    /// Reconciles an object, including one that is being deleted.
    fn reconcile(&self, context: &Context) -> impl Future<Output = Result<Action, Error>> + Send;

    /// Reconciles an object that this build cannot parse, as the API server has it.
    fn unreadable(
        object: &InvalidObject,
        context: &Context,
    ) -> impl Future<Output = Result<Action, Error>> + Send;
}

/// How a reconcile ended.
#[derive(Debug)]
enum Ended {
    Well(Action),
    KubernetesFailed(Error),
    TookTooLong,
    /// With the panic message.
    Panicked(String),
}

/// Reconciles an object, and returns when to reconcile it again. Never fails: an error only delays the next reconcile.
pub(crate) async fn reconcile<K: Reconcile>(
    object: Arc<Parsed<K>>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    let span = object_span(&object, &context);
    Ok(Box::pin(counted(object, context)).instrument(span).await)
}

/// The span whose fields are in every log line about the object. It has the level error, so that no filter drops it.
fn object_span<K: Reconcile>(object: &Parsed<K>, context: &Context) -> Span {
    let (meta, subscription_id) = match object {
        Parsed::Valid(object) => (object.meta(), object.subscription_id(context)),
        Parsed::Invalid(object) => (&object.metadata, None),
    };
    let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
    tracing::error_span!("reconcile", kind = K::NAME, namespace, name, subscription_id)
}

async fn counted<K: Reconcile>(object: Arc<Parsed<K>>, context: Arc<Context>) -> Action {
    let started = Instant::now();
    let ended = match &*object {
        Parsed::Valid(object) => ended(K::DEADLINE, Box::pin(object.reconcile(&context))).await,
        Parsed::Invalid(object) => {
            let reconcile = reconcile_unreadable::<K>(&object.metadata, &context);
            ended(K::DEADLINE, Box::pin(reconcile)).await
        }
    };
    if !matches!(ended, Ended::Panicked(_)) {
        K::states(&context).did_not_panic(object.meta());
    }
    let (outcome, action) = match ended {
        Ended::Well(action) => {
            K::states(&context).reconciled(object.meta());
            (Outcome::Success, action)
        }
        Ended::KubernetesFailed(error) => {
            let wait = status_writer::kube_retry::<K>(&context, object.meta());
            tracing::warn!(%error, retry_in_seconds = wait.as_secs_f64(), "reconcile failed; retrying");
            (Outcome::KubernetesError, Action::requeue(wait))
        }
        Ended::TookTooLong => {
            let timeout_seconds = K::DEADLINE.as_secs();
            tracing::warn!(timeout_seconds, "reconcile timed out; retrying");
            (Outcome::Timeout, Action::requeue(Duration::from_secs(10)))
        }
        Ended::Panicked(message) => (Outcome::Panic, after_panic(&object, &context, &message).await),
    };
    context.metrics.reconciled(K::NAME, outcome, started.elapsed());
    action
}

/// Only the API server has the whole object.
async fn reconcile_unreadable<K: Reconcile>(meta: &ObjectMeta, context: &Context) -> Result<Action, Error> {
    match unreadable::newest::<K>(meta, context).await? {
        Some(object) => K::unreadable(&object, context).await,
        None => Ok(Action::await_change()),
    }
}

/// Runs a reconcile. It is dropped if it takes too long or panics; the next reconcile handles a write that stays open.
async fn ended(deadline: Duration, reconcile: impl Future<Output = Result<Action, Error>>) -> Ended {
    let reconcile = tokio::time::timeout(deadline, reconcile);
    match panics::caught(reconcile).await {
        Ok(Ok(Ok(action))) => Ended::Well(action),
        Ok(Ok(Err(error))) => Ended::KubernetesFailed(error),
        Ok(Err(_)) => Ended::TookTooLong,
        Err(message) => Ended::Panicked(message),
    }
}

/// Handles a bug that must not affect other objects: reports it, and makes this object back off.
async fn after_panic<K: Reconcile>(object: &Parsed<K>, context: &Context, message: &str) -> Action {
    let meta = object.meta();
    let in_a_row = K::states(context).panicked(meta);
    let wait = after_panics(in_a_row, fastrand::f64());
    context.metrics.panics.count_reconcile(K::NAME);
    tracing::error!(
        panic = message,
        in_a_row,
        retry_in_seconds = wait.as_secs_f64(),
        "internal error: reconcile panicked; retrying; please report"
    );
    if let Parsed::Valid(object) = object {
        let report = status_writer::report_panic(&**object, in_a_row, context);
        let reported = tokio::time::timeout(REPORT_WITHIN, Box::pin(report));
        let error = match panics::caught(reported).await {
            Ok(Ok(Ok(()))) => None,
            Ok(Ok(Err(error))) => Some(error.to_string()),
            Ok(Err(elapsed)) => Some(elapsed.to_string()),
            Err(panic) => Some(panic),
        };
        if let Some(error) = error {
            tracing::warn!(error, "cannot report the internal error in status");
        }
    }
    Action::requeue(wait)
}

/// The same backoff as for transient errors: from one second to five minutes.
fn after_panics(in_a_row: u32, jitter: f64) -> Duration {
    retry::after(
        &ErrorClass::Transient,
        in_a_row,
        retry::LONGEST_RETRY_AFTER,
        jitter,
    )
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{Mutex, PoisonError},
    };

    use futures::StreamExt;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{
        api::ObjectMeta,
        runtime::{Controller, reflector, watcher::Event},
    };
    use serverprotection_api::{ServerProtection, ServerProtectionStatus};

    use super::*;
    use crate::state::StateStore;

    const TIMEOUT: Duration = Duration::from_millis(500);

    #[tokio::test]
    async fn every_way_to_end_a_reconcile_is_distinguished() {
        let well = ended(TIMEOUT, async { Ok(Action::await_change()) }).await;
        assert!(matches!(well, Ended::Well(_)), "{well:?}");
        let late = ended(TIMEOUT, async {
            tokio::time::sleep(2 * TIMEOUT).await;
            Ok(Action::await_change())
        });
        let late = late.await;
        assert!(matches!(late, Ended::TookTooLong), "{late:?}");
        let failed = ended(TIMEOUT, async {
            Err(Error::Kube(kube::Error::LinesCodecMaxLineLengthExceeded))
        });
        let failed = failed.await;
        assert!(matches!(failed, Ended::KubernetesFailed(_)), "{failed:?}");
        let panicked = ended(TIMEOUT, async {
            tokio::time::sleep(TIMEOUT / 2).await;
            panic!("overflow in {}", "a reading")
        });
        let panicked = panicked.await;
        assert!(
            matches!(&panicked, Ended::Panicked(message) if message == "overflow in a reading"),
            "{panicked:?}"
        );
    }

    #[test]
    fn panics_in_a_row_back_off_until_one_reconcile_succeeds() {
        let states = StateStore::<ServerProtection>::default();
        let meta = |name: &str| ObjectMeta {
            namespace: Some("n".into()),
            name: Some(name.into()),
            uid: Some(name.into()),
            ..ObjectMeta::default()
        };
        for name in ["u", "other"] {
            states.observe(&meta(name), Some(&ServerProtectionStatus::default()), true);
        }
        let panicked = |name: &str| states.panicked(&meta(name));
        let waits: Vec<_> = (0..10)
            .map(|_| after_panics(panicked("u"), 0.5).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!(panicked("other"), 1, "each object for itself");
        states.did_not_panic(&meta("u"));
        assert_eq!(panicked("u"), 1);
    }

    /// Runs kube's own loop over two objects. One of them panics each time while it holds a lock that both use.
    #[tokio::test]
    async fn one_object_that_panics_leaves_the_loop_and_the_other_objects_alone() {
        let object = |name: &str| {
            let mut object = ConfigMap::default();
            object.metadata.name = Some(name.into());
            object.metadata.namespace = Some("n".into());
            object
        };
        let (store, mut writer) = reflector::store();
        let objects = [object("bad"), object("good")];
        writer.apply_watcher_event(&Event::Init);
        for object in &objects {
            writer.apply_watcher_event(&Event::InitApply(object.clone()));
        }
        writer.apply_watcher_event(&Event::InitDone);
        let stream = futures::stream::iter(objects.map(Ok)).chain(futures::stream::pending());
        let counts_by_name: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
        let reconcile = |object: Arc<ConfigMap>, counts_by_name: Arc<Mutex<BTreeMap<String, u32>>>| async move {
            let name = object.metadata.name.clone().unwrap();
            let reconcile = async {
                let mut counts = counts_by_name.lock().unwrap_or_else(PoisonError::into_inner);
                *counts.entry(name.clone()).or_default() += 1;
                assert_ne!(name, "bad", "with the lock held");
                Ok(Action::requeue(Duration::from_millis(20)))
            };
            let action = match ended(TIMEOUT, reconcile).await {
                Ended::Well(action) => action,
                _ => Action::requeue(Duration::from_millis(20)),
            };
            Ok::<_, Error>(action)
        };
        let control = Controller::for_stream(stream, store)
            .run(
                reconcile,
                |_, _, _| Action::await_change(),
                Arc::clone(&counts_by_name),
            )
            .take(12)
            .collect::<Vec<_>>();
        let reconciled = tokio::time::timeout(Duration::from_secs(20), control)
            .await
            .unwrap();
        assert!(reconciled.iter().all(Result::is_ok), "{reconciled:?}");
        let counts = counts_by_name.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(counts["bad"] >= 2 && counts["good"] >= 2, "{counts:?}");
    }
}
