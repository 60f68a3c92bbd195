//! Watches of all kinds, each with its own predicate and backoff.

use std::{
    fmt::Debug,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt, future::ready, stream};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        Predicate, PredicateConfig, WatchStreamExt, predicates,
        reflector::{self, Store},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::{
    kind::{Kind, Scoped},
    kube_error::described,
    metrics::Metrics,
    panics::Panics,
    parsed::{KEPT_ANNOTATIONS, Parsed},
};

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

/// Objects of a page of a list. A page is in memory as text and as objects, and objects can be large.
const PAGE: u32 = 50;

/// What to do if the API server does not know a kind.
pub(crate) const INSTALL_CRDS: &str =
    "install the CRDs: serverprotection crds | kubectl apply --server-side -f -";
/// How often a log line repeats that.
const REPEAT_MISSING: Duration = Duration::from_secs(60);

#[allow(clippy::unnecessary_wraps, reason = "a predicate's signature")]
fn kept_annotations<K: Resource>(object: &K) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    for (name, _) in KEPT_ANNOTATIONS {
        object.annotations().get(name).hash(&mut hasher);
    }
    Some(hasher.finish())
}

/// Set when all objects of a kind are listed: once by a standby, and once more by the leader. `Store::wait_until_ready` does not work here: kube 5.0 wakes only
/// one of several waiters, and the Controller is one of them. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    set: Arc<tokio::sync::watch::Sender<bool>>,
    /// Set by lists that began when this process was the leader.
    set_by_leader: Arc<tokio::sync::watch::Sender<bool>>,
    leads: Arc<AtomicBool>,
    /// The API server does not know the kind.
    missing: Arc<AtomicBool>,
}

impl Default for Listed {
    fn default() -> Self {
        Self {
            set: Arc::new(tokio::sync::watch::Sender::new(false)),
            set_by_leader: Arc::new(tokio::sync::watch::Sender::new(false)),
            leads: Arc::default(),
            missing: Arc::default(),
        }
    }
}

impl Listed {
    /// The lists that follow are those of a leader.
    pub(crate) fn begin_to_lead(&self) {
        self.leads.store(true, Ordering::SeqCst);
    }

    /// Returns whether it was not set before.
    pub(crate) fn set(&self) -> bool {
        if self.leads.load(Ordering::SeqCst) {
            self.set_by_leader.send_replace(true);
        }
        !self.set.send_replace(true)
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.set.borrow()
    }

    /// Waits for the list of the leader.
    pub(crate) async fn wait(&self) {
        // The sender lives as long as `self`.
        let _ = self.set_by_leader.subscribe().wait_for(|set| *set).await;
    }

    /// Whether the API server does not know the kind.
    pub(crate) fn is_missing(&self) -> bool {
        self.missing.load(Ordering::Relaxed)
    }

    pub(crate) fn set_missing(&self, missing: bool) {
        self.missing.store(missing, Ordering::Relaxed);
    }
}

/// All objects of a kind, in one namespace or everywhere.
pub(crate) fn api<K: Kind>(client: &Client, namespace: Option<&str>) -> Api<Parsed<K>> {
    match namespace {
        Some(namespace) => K::Scope::api(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// The change from standby to leader, for the watch of one kind.
pub(crate) struct Succession {
    pub(crate) elected: CancellationToken,
    /// Called before the leader's own list begins.
    pub(crate) begin: Box<dyn FnOnce() + Send>,
}

/// The cache of a kind, and the events that it has taken in. `on_event` gets every event with the whole object before
/// the cache does. When this process becomes the leader, all objects are listed once more (R6).
pub(crate) fn cached<K: Kind>(
    api: Api<Parsed<K>>,
    panics: Panics,
    succession: Succession,
    listed: Listed,
    mut on_event: impl FnMut(&Event<Parsed<K>>) + Send + 'static,
) -> (
    Store<Parsed<K>>,
    impl Stream<Item = watcher::Result<Event<Parsed<K>>>> + Send + 'static,
) {
    let (store, writer) = reflector::store();
    let stream = succeeding(api, succession)
        .inspect(move |event| {
            if let Ok(event) = event {
                listed.set_missing(false);
                panics.event(&object_span(K::NAME, event), || on_event(event));
            }
        })
        .modify(Parsed::forget_the_rest)
        .reflect(writer);
    (store, stream)
}

/// The events of a standby, then those of a leader from its own list on.
fn succeeding<K>(
    api: Api<K>,
    Succession { elected, begin }: Succession,
) -> impl Stream<Item = watcher::Result<Event<K>>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let standby = events(api.clone()).take_until(elected.cancelled_owned());
    let leader = stream::once(async move {
        begin();
        events(api)
    });
    standby.chain(leader.flatten())
}

/// Takes in the events of a standby. Logs and drops errors. Ends only with the watch.
pub(crate) async fn keep_warm<K: Kind>(
    events: &mut (impl Stream<Item = watcher::Result<Event<Parsed<K>>>> + Unpin),
    metrics: Arc<Metrics>,
    listed: Listed,
) {
    let mut errors = Errors::new(K::NAME, listed, metrics);
    while let Some(event) = events.next().await {
        errors.logged(event);
    }
}

/// The objects that a user changed: only they start a reconcile, never the controller's own status write. Logs and drops
/// errors.
pub(crate) fn changes<K: Kind>(
    events: impl Stream<Item = watcher::Result<Event<Parsed<K>>>>,
    store: Store<Parsed<K>>,
    metrics: Arc<Metrics>,
    listed: Listed,
) -> impl Stream<Item = Result<Parsed<K>, watcher::Error>> {
    let predicate = predicates::generation
        .combine(predicates::finalizers)
        .combine(kept_annotations);
    let mut errors = Errors::new(K::NAME, listed, metrics);
    in_cache(events, store)
        .predicate_filter(predicate, PredicateConfig::default())
        .filter_map(move |object| ready(errors.logged(object)))
}

/// The objects of events, once the cache has them. A list comes into effect as a whole, and its pages may be far apart:
/// kube drops the reconcile of an object that is not in the cache yet, and an edit would meet the object as it was.
fn in_cache<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    store: Store<K>,
) -> impl Stream<Item = watcher::Result<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    events.flat_map(move |event| {
        let (one, listed) = match event {
            Ok(Event::Apply(object)) => (Some(Ok(object)), Vec::new()),
            Ok(Event::InitDone) => (None, store.state()),
            Ok(Event::Init | Event::InitApply(_) | Event::Delete(_)) => (None, Vec::new()),
            Err(error) => (Some(Err(error)), Vec::new()),
        };
        let listed = listed.into_iter().map(|object| Ok((*object).clone()));
        stream::iter(one.into_iter().chain(listed))
    })
}

/// The events of a watch with its backoff. The list is consistent: the status of an object may contain an intent that
/// must not be missed.
pub(crate) fn events<K>(api: Api<K>) -> impl Stream<Item = watcher::Result<Event<K>>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    held_back(watcher(api, watcher::Config::default().page_size(PAGE))).backoff(Backoff::default())
}

/// Holds `Init` back until the first page is there. kube sends it before it asks for a page, and `backoff` would start
/// from the beginning each time.
fn held_back<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
) -> impl Stream<Item = watcher::Result<Event<K>>> {
    let mut begun = false;
    events.flat_map(move |event| {
        let held = match event {
            Ok(Event::Init) => {
                begun = true;
                return stream::iter([None, None].into_iter().flatten());
            }
            Ok(_) => begun.then_some(Ok(Event::Init)),
            Err(_) => None,
        };
        begun = false;
        stream::iter([held, Some(event)].into_iter().flatten())
    })
}

/// The errors of a watch.
pub(crate) struct Errors {
    kind: &'static str,
    listed: Listed,
    metrics: Arc<Metrics>,
    /// When the missing kind was logged last.
    logged_missing: Option<Instant>,
}

impl Errors {
    pub(crate) fn new(kind: &'static str, listed: Listed, metrics: Arc<Metrics>) -> Self {
        Self {
            kind,
            listed,
            metrics,
            logged_missing: None,
        }
    }

    /// Logs and drops errors. The watch already backs off; an error must not delay the other triggers
    /// (docs/architecture.md 3.6).
    pub(crate) fn logged<T>(&mut self, event: watcher::Result<T>) -> Option<watcher::Result<T>> {
        let error = match event {
            Ok(event) => return Some(Ok(event)),
            Err(error) => error,
        };
        let kind = self.kind;
        // Routine: the API server keeps changes for minutes, and none across a change of the definition.
        if code(&error) == Some(410) {
            tracing::info!(
                error = described(&error),
                kind,
                "the watch expired; listing again"
            );
            return None;
        }
        self.metrics.watch_failed(kind);
        // Without the definition, the API server has no such resource.
        if code(&error) != Some(404) {
            tracing::warn!(error = described(&error), kind, "watch error; retrying");
            return None;
        }
        self.listed.set_missing(true);
        if self
            .logged_missing
            .is_none_or(|at| at.elapsed() >= REPEAT_MISSING)
        {
            self.logged_missing = Some(Instant::now());
            tracing::error!(kind, "the API server does not know this kind; {INSTALL_CRDS}");
        }
        None
    }
}

/// The code with which the API server refused to list or to watch.
fn code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
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
#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::Status;

    use super::*;

    fn failure(code: u16) -> watcher::Error {
        let status = Status {
            code,
            ..Status::default()
        };
        watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
    }

    #[tokio::test]
    async fn a_list_begins_when_its_first_page_is_there() {
        let name = |event: watcher::Result<Event<ConfigMap>>| match event {
            Ok(Event::Init) => "Init",
            Ok(Event::InitApply(_)) => "InitApply",
            Ok(Event::InitDone) => "InitDone",
            Ok(_) => "other",
            Err(_) => "error",
        };
        let events = [
            Ok(Event::Init),
            Err(failure(404)),
            Ok(Event::Init),
            Ok(Event::InitApply(ConfigMap::default())),
            Ok(Event::InitApply(ConfigMap::default())),
            Err(failure(500)),
            Ok(Event::Init),
            Ok(Event::InitDone),
            Ok(Event::Apply(ConfigMap::default())),
        ];
        let found: Vec<_> = held_back(stream::iter(events)).map(name).collect().await;
        assert_eq!(
            found,
            [
                "error",
                "Init",
                "InitApply",
                "InitApply",
                "error",
                "Init",
                "InitDone",
                "other"
            ]
        );
    }

    #[tokio::test]
    async fn objects_of_a_list_are_changed_when_the_cache_has_all_of_them() {
        let object = |name: &str| {
            let mut object = ConfigMap::default();
            (object.metadata.namespace, object.metadata.name) = (Some("n".into()), Some(name.into()));
            object
        };
        let (store, writer) = reflector::store();
        let (send, receive) = futures::channel::mpsc::unbounded();
        let mut changed = std::pin::pin!(in_cache(receive.reflect(writer), store.clone()));
        let mut next = async |events: Vec<Event<ConfigMap>>| {
            for event in events {
                send.unbounded_send(Ok(event)).unwrap();
            }
            let mut names = Vec::new();
            while let Some(Some(object)) = futures::FutureExt::now_or_never(changed.next()) {
                let object: ConfigMap = object.unwrap();
                assert!(store.get(&reflector::ObjectRef::from_obj(&object)).is_some());
                names.push(object.metadata.name.unwrap());
            }
            names.sort();
            names
        };
        let nothing: [String; 0] = [];
        assert_eq!(
            next(vec![Event::Init, Event::InitApply(object("a"))]).await,
            nothing
        );
        assert_eq!(
            next(vec![Event::InitDone, Event::Apply(object("b"))]).await,
            ["a", "b"]
        );
        // Another list: an object that was created in between is not in the cache before its end.
        let list = vec![
            Event::Init,
            Event::InitApply(object("a")),
            Event::InitApply(object("c")),
        ];
        assert_eq!(next(list).await, nothing);
        assert_eq!(next(vec![Event::InitDone]).await, ["a", "c"]);
    }

    struct Counting(Arc<AtomicUsize>);

    impl Iterator for Counting {
        type Item = Duration;
        fn next(&mut self) -> Option<Duration> {
            Some(Duration::from_millis(1))
        }
    }

    impl kube::runtime::utils::Backoff for Counting {
        fn reset(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn the_backoff_of_failing_lists_does_not_start_from_the_beginning() {
        let resets = Arc::new(AtomicUsize::new(0));
        let lists = (0..6).map(|n| {
            if n % 2 == 0 {
                Ok(Event::<ConfigMap>::Init)
            } else {
                Err(failure(404))
            }
        });
        let events = held_back(stream::iter(lists)).backoff(Counting(Arc::clone(&resets)));
        let mut events = std::pin::pin!(events);
        for _ in 0..3 {
            assert!(events.next().await.unwrap().is_err());
        }
        assert_eq!(resets.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_watch_that_expired_is_no_error() {
        let metrics = Arc::new(Metrics::new(false));
        let mut errors = Errors::new("ServerProtection", Listed::default(), Arc::clone(&metrics));
        for (error, counted) in [(410, 0), (500, 1), (410, 1), (404, 2)] {
            assert!(errors.logged::<()>(Err(failure(error))).is_none());
            assert_eq!(metrics.watch_errors("ServerProtection"), counted, "{error}");
        }
    }

    #[test]
    fn a_missing_kind_is_noticed() {
        let listed = Listed::default();
        let mut errors = Errors::new("ServerProtection", listed.clone(), Arc::new(Metrics::new(false)));
        assert!(errors.logged::<()>(Err(failure(500))).is_none());
        assert!(!listed.is_missing());
        assert!(errors.logged::<()>(Err(failure(404))).is_none());
        assert!(listed.is_missing());
        let status = Status {
            code: 404,
            ..Status::default()
        };
        assert_eq!(code(&watcher::Error::WatchError(Box::new(status))), Some(404));
    }
}
