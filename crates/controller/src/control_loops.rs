//! The control loops of all kinds: caches while the process is a standby, reconciles when it is the leader.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, channel::mpsc::UnboundedReceiver, stream};
use kube::{
    Resource,
    runtime::{
        Controller,
        controller::{self, Action},
        reflector::{ObjectRef, Store},
        watcher::{self, Event},
    },
};
use serverprotection_api::{AzureCredential, ClusterAzureCredential, SecurityConnector, ServerProtection};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    context::Context,
    kind::Kind,
    parsed::Parsed,
    reconciler::{Reconcile, reconcile},
    slots::Slots,
    status_writer,
    watch::{self, Listed},
};

/// The objects that something other than their own watch queues.
pub(crate) type Triggered<K> = UnboundedReceiver<ObjectRef<Parsed<K>>>;

type Events<K> = Pin<Box<dyn Stream<Item = watcher::Result<Event<Parsed<K>>>> + Send>>;

/// The cache of a kind, the events that it takes in as they are polled, and the queue of its controller.
pub(crate) struct Watched<K: Kind> {
    store: Store<Parsed<K>>,
    events: Events<K>,
    triggered: Triggered<K>,
}

impl<K: Reconcile> Watched<K> {
    pub(crate) fn new(
        store: Store<Parsed<K>>,
        events: impl Stream<Item = watcher::Result<Event<Parsed<K>>>> + Send + 'static,
        triggered: Triggered<K>,
    ) -> Self {
        Self {
            store,
            events: Box::pin(events),
            triggered,
        }
    }

    async fn keep_warm(&mut self, context: &Context) {
        let listed = K::own(context).listed.clone();
        watch::keep_warm(&mut self.events, Arc::clone(&context.metrics), listed).await;
    }

    /// Reconciles the objects from when these lists are complete until the process stops.
    fn run(
        self,
        lists: Vec<Listed>,
        concurrency: u16,
        context: &Arc<Context>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let metrics = Arc::clone(&context.metrics);
        let listed = K::own(context).listed.clone();
        let objects = watch::changes(self.events, self.store.clone(), metrics, listed);
        control(
            after(lists, objects),
            self.store,
            self.triggered,
            concurrency,
            Arc::clone(context),
        )
    }
}

/// All kinds.
pub(crate) struct Kinds {
    pub(crate) azure_credentials: Watched<AzureCredential>,
    /// `None` with `--watch-namespace`.
    pub(crate) cluster_azure_credentials: Option<Watched<ClusterAzureCredential>>,
    pub(crate) protections: Watched<ServerProtection>,
    pub(crate) connectors: Watched<SecurityConnector>,
}

impl Kinds {
    /// Keeps the caches of all kinds up to date until this process is the leader.
    pub(crate) async fn stand_by(&mut self, elected: &CancellationToken, context: &Context) {
        let Self {
            azure_credentials,
            cluster_azure_credentials,
            protections,
            connectors,
        } = self;
        let cluster = async {
            match cluster_azure_credentials {
                Some(watched) => watched.keep_warm(context).await,
                None => std::future::pending().await,
            }
        };
        let caches = async {
            tokio::join!(
                cluster,
                azure_credentials.keep_warm(context),
                protections.keep_warm(context),
                connectors.keep_warm(context),
            )
        };
        tokio::select! {
            biased;
            () = elected.cancelled() => {}
            _ = caches => {}
        }
    }

    /// Starts to reconcile. No reconcile starts before the lists are complete: every object needs its credential, and a
    /// connector its `ServerProtection` (docs/architecture.md 3.6).
    pub(crate) fn run(self, concurrency: u16, context: &Arc<Context>) -> JoinSet<()> {
        let credentials = context.credential_lists().into_iter();
        let credentials: Vec<_> = credentials.map(|(_, listed)| listed).collect();
        let mut all = credentials.clone();
        all.push(context.protections.listed.clone());
        let mut loops = JoinSet::new();
        loops.spawn(self.protections.run(credentials, concurrency, context));
        loops.spawn(self.connectors.run(all, concurrency, context));
        loops.spawn(self.azure_credentials.run(Vec::new(), concurrency, context));
        if let Some(watched) = self.cluster_azure_credentials {
            loops.spawn(watched.run(Vec::new(), concurrency, context));
        }
        loops
    }
}

/// Returns a stream that starts when these lists are complete.
fn after<T>(lists: Vec<Listed>, objects: impl Stream<Item = T>) -> impl Stream<Item = T> {
    stream::once(async move {
        for list in lists {
            list.wait().await;
        }
        objects
    })
    .flatten()
}

/// Runs the controller of one kind until the process stops.
fn control<K: Reconcile>(
    objects: impl Stream<Item = Result<Parsed<K>, watcher::Error>> + Send + 'static,
    store: Store<Parsed<K>>,
    triggered: Triggered<K>,
    concurrency: u16,
    context: Arc<Context>,
) -> impl Future<Output = ()> + Send + 'static {
    let slots = Arc::new(Slots::new(concurrency, K::own(&context).trigger.clone()));
    let ended = Arc::clone(&slots);
    let reconcile = move |object, context| reconcile_in_turn::<K>(object, context, Arc::clone(&slots));
    // The slots limit the concurrency.
    Controller::for_stream(objects, store)
        .with_config(controller::Config::default().concurrency(0))
        .reconcile_on(triggered)
        .graceful_shutdown_on(context.stop.clone().cancelled_owned())
        .run(
            reconcile,
            |_: Arc<Parsed<K>>, _, _| Action::requeue(Duration::from_secs(5)),
            context,
        )
        .for_each(move |reconciled| {
            // Includes requeues of deleted objects, which are normal.
            if let Err(error) = reconciled {
                tracing::debug!(%error, kind = K::NAME, "object not reconciled");
                if let controller::Error::ObjectNotFound(object) = error {
                    ended.forget(&object.namespace.unwrap_or_default(), &object.name);
                }
            }
            futures::future::ready(())
        })
}

/// Reconciles an object when it has a slot. Without one, it is queued again when it has one.
async fn reconcile_in_turn<K: Reconcile>(
    object: Arc<Parsed<K>>,
    context: Arc<Context>,
    slots: Arc<Slots<K>>,
) -> Result<Action, status_writer::Error> {
    let credential = match &*object {
        Parsed::Valid(object) => object.credential(&context),
        Parsed::Invalid(_) => None,
    };
    let Some(_slot) = slots.enter(object.meta(), credential) else {
        return Ok(Action::await_change());
    };
    reconcile(object, context).await
}
