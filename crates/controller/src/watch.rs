//! Watches of all kinds, each with its own predicate and backoff.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use futures::{Stream, StreamExt, future::ready};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        Predicate, PredicateConfig, WatchStreamExt, predicates,
        reflector::{self, Store},
        watcher::{self, Event, watcher},
    },
};
use serverprotection_api::annotations;

use crate::{kind::Kind, kube_error::described, metrics::Metrics, panics::Panics, parsed::Parsed};

/// Longest delay before a watch is retried. Shorter than kube's, so that the controller recovers soon after the API
/// server does.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Backoff(watcher::DefaultBackoff);

impl Iterator for Backoff {
    type Item = Duration;
    fn next(&mut self) -> Option<Duration> {
        Some(self.0.next()?.min(LONGEST_BACKOFF))
    }
}

impl kube::runtime::utils::Backoff for Backoff {
    fn reset(&mut self) {
        self.0.reset();
    }
}

/// Annotations whose change starts a reconcile.
const EXPECTED: [&str; 4] = [
    annotations::RECONCILE_REQUESTED_AT,
    annotations::FLUX_REQUESTED_AT,
    annotations::APPROVE_REDUCTION,
    annotations::FORCE_REMOVE,
];

#[allow(clippy::unnecessary_wraps, reason = "a predicate's signature")]
fn kept_annotations<K: Resource>(object: &K) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    for name in EXPECTED {
        object.annotations().get(name).hash(&mut hasher);
    }
    Some(hasher.finish())
}

/// Set once when all objects of a kind are listed. `Store::wait_until_ready` does not work here: kube 5.0 wakes only
/// one of several waiters, and the Controller is one of them.
#[derive(Clone, Debug)]
pub(crate) struct Listed(Arc<tokio::sync::watch::Sender<bool>>);

impl Default for Listed {
    fn default() -> Self {
        Self(Arc::new(tokio::sync::watch::Sender::new(false)))
    }
}

impl Listed {
    /// Returns whether it was not set before.
    pub(crate) fn set(&self) -> bool {
        !self.0.send_replace(true)
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    pub(crate) async fn wait(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.subscribe().wait_for(|set| *set).await;
    }
}

/// All objects of a kind, in one namespace or everywhere.
pub(crate) fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// The objects of a kind. Only a change by a user starts a reconcile, never the controller's own status write.
/// `on_event` gets every event with the whole object before the cache does.
pub(crate) fn objects<K: Kind>(
    api: Api<Parsed<K>>,
    metrics: Arc<Metrics>,
    on_event: impl FnMut(&Event<Parsed<K>>) + Send + 'static,
) -> (
    Store<Parsed<K>>,
    impl Stream<Item = Result<Parsed<K>, watcher::Error>>,
) {
    let (store, events) = cached(api, metrics.panics.clone(), on_event);
    (store, changes(events, metrics))
}

/// The cache of a kind, and the events that it has taken in. `on_event` gets every event with the whole object before
/// the cache does.
pub(crate) fn cached<K: Kind>(
    api: Api<Parsed<K>>,
    panics: Panics,
    mut on_event: impl FnMut(&Event<Parsed<K>>) + Send + 'static,
) -> (
    Store<Parsed<K>>,
    impl Stream<Item = watcher::Result<Event<Parsed<K>>>>,
) {
    let (store, writer) = reflector::store();
    // A consistent list: the status of an object may contain an intent that must not be missed.
    let stream = watcher(api, watcher::Config::default())
        .backoff(Backoff::default())
        .inspect(move |event| {
            if let Ok(event) = event {
                panics.event(&object_span(K::NAME, event), || on_event(event));
            }
        })
        .modify(|object: &mut Parsed<K>| {
            object.managed_fields_mut().clear();
            if let Parsed::Valid(object) = object {
                object.forget_status();
            }
        })
        .reflect(writer);
    (store, stream)
}

/// The objects that a user changed. Logs and drops errors.
pub(crate) fn changes<K: Kind>(
    events: impl Stream<Item = watcher::Result<Event<Parsed<K>>>>,
    metrics: Arc<Metrics>,
) -> impl Stream<Item = Result<Parsed<K>, watcher::Error>> {
    let predicate = predicates::generation
        .combine(predicates::finalizers)
        .combine(kept_annotations);
    events
        .applied_objects()
        .predicate_filter(predicate, PredicateConfig::default())
        .filter_map(move |object| ready(logged(object, K::NAME, &metrics)))
}

/// Logs and drops errors. The watch already backs off; an error must not delay the other triggers
/// (docs/architecture.md 3.6).
fn logged<T>(
    object: Result<T, watcher::Error>,
    kind: &'static str,
    metrics: &Metrics,
) -> Option<Result<T, watcher::Error>> {
    match object {
        Ok(object) => Some(Ok(object)),
        Err(error) => {
            metrics.watch_failed(kind);
            tracing::warn!(error = described(&error), kind, "watch error; retrying");
            None
        }
    }
}

/// A span that names the object of an event, if the event has one.
pub(crate) fn object_span<K: Resource>(kind: &str, event: &Event<K>) -> tracing::Span {
    let meta = match event {
        Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) => Some(object.meta()),
        Event::Init | Event::InitDone => None,
    };
    let namespace = meta.and_then(|meta| meta.namespace.as_deref());
    let name = meta.and_then(|meta| meta.name.as_deref());
    tracing::error_span!("watch_event", kind, namespace, name)
}
