//! The watches: filtered, backed off each by itself, with the index of claims fed on the way.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt, channel::mpsc::UnboundedSender, future::ready};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        Predicate, PredicateConfig, WatchStreamExt, predicates,
        reflector::{self, ObjectRef, Store},
        watcher::{self, Event, watcher},
    },
};
use serverprotection_api::{AzureCredential, annotations};

use crate::{
    context::Claims, credentials::Credentials, fleet::Fleet, guarded::Guarded, metrics::Metrics,
    remembered::Memories,
};

/// Between tries of a watch: kube's, but never longer than this. An API server that comes back after a minute should not
/// wait another one for us.
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

/// Annotations whose change starts a visit.
const WANTED: [&str; 3] = [
    annotations::RECONCILE_REQUESTED_AT,
    annotations::FLUX_REQUESTED_AT,
    annotations::APPROVE_REDUCTION,
];

#[allow(clippy::unnecessary_wraps, reason = "a predicate's signature")]
fn wanted_annotations<K: Resource>(object: &K) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    for name in WANTED {
        object.annotations().get(name).hash(&mut hasher);
    }
    Some(hasher.finish())
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

/// What the watch of the objects feeds besides the queue.
pub(crate) struct Feeds {
    pub(crate) claims: Arc<Claims>,
    pub(crate) memories: Arc<Memories>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) metrics: Arc<Metrics>,
    /// Set when all objects are listed. Not `Store::wait_until_ready`: of several waiters kube 5.0 wakes one only, and
    /// the Controller is one.
    pub(crate) ready: Arc<AtomicBool>,
    /// Objects that may take over a claim.
    pub(crate) wake: UnboundedSender<ObjectRef<Guarded>>,
}

/// The objects: only what a user changed starts a visit, never our own status patch.
pub(crate) fn protections(
    api: Api<Guarded>,
    feeds: Feeds,
) -> (
    Store<Guarded>,
    impl Stream<Item = Result<Guarded, watcher::Error>>,
) {
    let (store, writer) = reflector::store();
    let metrics = Arc::clone(&feeds.metrics);
    let mut listed = HashSet::new();
    let predicate = predicates::generation
        .combine(predicates::finalizers)
        .combine(wanted_annotations);
    let stream = watcher(api, watcher::Config::default().any_semantic())
        .backoff(Backoff::default())
        .modify(|object: &mut Guarded| {
            object.managed_fields_mut().clear();
            object.forget_status();
        })
        .inspect(move |event| {
            if let Ok(event) = event {
                feed(event, &feeds, &mut listed);
            }
        })
        .reflect(writer)
        .applied_objects()
        .predicate_filter(predicate, PredicateConfig::default())
        .filter_map(move |object| ready(logged(object, "ServerProtection", &metrics)));
    (store, stream)
}

/// Errors were backed off already; they must not slow the other triggers down (controllers.md 1.4).
fn logged<K>(
    object: Result<K, watcher::Error>,
    kind: &str,
    metrics: &Metrics,
) -> Option<Result<K, watcher::Error>> {
    match object {
        Ok(object) => Some(Ok(object)),
        Err(error) => {
            metrics.watch_errors.inc();
            tracing::warn!(%error, kind, "watch failed; it goes on by itself");
            None
        }
    }
}

fn feed(event: &Event<Guarded>, feeds: &Feeds, listed: &mut HashSet<String>) {
    match event {
        Event::Init => listed.clear(),
        Event::InitApply(object) | Event::Apply(object) => {
            if let Some(claimant) = object.claimant() {
                listed.insert(claimant.uid.clone());
                feeds.claims.index().upsert(claimant);
            }
        }
        Event::InitDone => {
            if !feeds.ready.swap(true, Ordering::SeqCst) {
                tracing::info!(objects = listed.len(), "ready: all objects are listed");
            }
            let freed = feeds.claims.index().retain(|uid| listed.contains(uid));
            feeds.fleet.retain(|uid| listed.contains(uid));
            wake(feeds, freed);
        }
        Event::Delete(object) => {
            if let Some(claimant) = object.claimant() {
                feeds.memories.forget(&claimant.uid);
                feeds.fleet.leave(&claimant.uid);
                listed.remove(&claimant.uid);
                let waiting = feeds.claims.index().remove(&claimant.subscription, &claimant.uid);
                wake(feeds, waiting);
            }
        }
    }
}

fn wake(feeds: &Feeds, claimants: Vec<serverprotection_core::claims::Claimant>) {
    for claimant in claimants {
        feeds.memories.call(&claimant.namespace, &claimant.name);
        let object = ObjectRef::new(&claimant.name).within(&claimant.namespace);
        // The queue is gone only when the process ends.
        drop(feeds.wake.unbounded_send(object));
    }
}

/// The credentials: each change wakes the objects of its namespace that refer to it.
pub(crate) fn credentials(
    api: Api<AzureCredential>,
    metrics: Arc<Metrics>,
) -> (
    Store<AzureCredential>,
    impl Stream<Item = Result<Event<AzureCredential>, watcher::Error>>,
) {
    let (store, writer) = reflector::store();
    let stream = watcher(api, watcher::Config::default().any_semantic())
        .backoff(Backoff::default())
        .modify(|object: &mut AzureCredential| object.managed_fields_mut().clear())
        .reflect(writer)
        .filter_map(move |event| ready(logged(event, "AzureCredential", &metrics)));
    (store, stream)
}

/// Wakes the objects that refer to a changed credential.
pub(crate) fn on_credential(
    event: &Event<AzureCredential>,
    protections: &Store<Guarded>,
    credentials: &Credentials,
    memories: &Memories,
    queue: &UnboundedSender<ObjectRef<Guarded>>,
) {
    let credential = match event {
        Event::Apply(credential) => credential,
        Event::Delete(credential) => {
            credentials.forget(
                &credential.namespace().unwrap_or_default(),
                &credential.name_any(),
            );
            credential
        }
        _ => return,
    };
    let refers = |object: &Guarded| match object {
        Guarded::Readable(object) => {
            object.namespace() == credential.namespace()
                && object
                    .spec
                    .credential_ref
                    .as_ref()
                    .is_some_and(|to| to.name == credential.name_any())
        }
        Guarded::Unreadable(_) => false,
    };
    for object in protections.state_filter(|object| refers(object)) {
        memories.call(
            &object.meta().namespace.clone().unwrap_or_default(),
            &object.meta().name.clone().unwrap_or_default(),
        );
        drop(queue.unbounded_send(ObjectRef::from_obj(&*object)));
    }
}
