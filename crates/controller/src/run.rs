//! Starts and stops the controller.

use std::{
    collections::HashSet,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{Stream, StreamExt, channel::mpsc::UnboundedReceiver};
use kube::{
    Client, Resource,
    runtime::{
        Controller,
        controller::{self, Action},
        events::Reporter,
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use serverprotection_api::{AzureCredential, SecurityConnector, ServerProtection};
use serverprotection_azure::{Cloud, Principals, fleet};
use serverprotection_core::{claims::Rules, gate::Gate, timeouts::Timeouts};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    args::Args,
    azure_credential::{self, CredentialUsers},
    connector_index::ConnectorIndex,
    context::{Context, Controlled, Settings},
    credentials::Credentials,
    event_recorder::EventRecorder,
    fleet::Fleet,
    http,
    kind::Kind,
    kube_error, kube_proxy,
    metrics::Metrics,
    metrics_page::MetricsPage,
    panics::Task,
    parsed::Parsed,
    reconciler::{Reconcile, reconcile},
    restrictions::{Restrictions, Unrestricted},
    security_connector, server_protection,
    slots::Slots,
    status_writer, telemetry,
    watch::{self, Listed},
};

/// Time that running reconciles get to finish after a signal. Shorter than the pod's grace period of 30 s.
const DRAIN: Duration = Duration::from_secs(20);

/// The controller could not start, or ended unexpectedly.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("cannot find a cluster: {0}; set KUBECONFIG, or run in a pod with a service account")]
    Kubeconfig(#[from] kube::config::InferConfigError),
    #[error("cannot reach the cluster: {}; check KUBECONFIG and the network", kube_error::described(.0))]
    Cluster(#[from] kube::Error),
    #[error("--listen: cannot listen on {address}: {source}")]
    Listen {
        address: std::net::SocketAddr,
        source: std::io::Error,
    },
    #[error(
        "HTTPS_PROXY, or proxy-url of the kubeconfig, is not the URL of an HTTP proxy; set it to http://HOST:PORT or https://HOST:PORT"
    )]
    Proxy,
    #[error(transparent)]
    Unrestricted(#[from] Unrestricted),
    #[error("the control loop ended unexpectedly; see the log above")]
    Ended,
}

/// Runs the controller until SIGTERM or SIGINT. `http` is the client for the endpoints of `cloud`.
///
/// # Errors
///
/// Fails if no cluster is configured, the address of `--listen` cannot be bound, or a control loop ends unexpectedly.
pub async fn run(args: Args, cloud: Cloud, http: reqwest::Client) -> Result<(), Error> {
    telemetry::start(args.log_format);
    let config = kube_proxy::apply(kube::Config::infer().await?);
    if !kube_proxy::is_supported(&config) {
        return Err(Error::Proxy);
    }
    let client = Client::try_from(config)?;
    let namespace = args.watch_namespace.as_deref();
    let metrics = Arc::new(Metrics::new(args.per_object_metrics));
    let restrictions = Arc::new(Restrictions::new(
        client.clone(),
        namespace,
        args.allow_unrestricted_tokens,
        metrics.policies.clone(),
    ));
    let (protections, triggered_protections) = Controlled::new(rules(&args));
    let (connectors, triggered_connectors) = Controlled::new(rules(&args));
    let (azure_credentials, triggered_credentials) = Controlled::new(rules(&args));
    let mut handler = azure_credential::EventHandler {
        own: azure_credentials.clone(),
        seen: HashSet::new(),
    };
    let on_event = move |event: &_| handler.on_event(event);
    let (credential_store, credential_events) = watch::cached(
        watch::api(&client, namespace),
        metrics.panics.clone(),
        azure_credentials.listed.clone(),
        on_event,
    );
    let clients = credentials(
        &args,
        (cloud, http),
        &restrictions,
        credential_store.clone(),
        &metrics,
    );
    let kinds = (protections, connectors, azure_credentials);
    let context = Arc::new(context(&args, &client, metrics, restrictions, clients, kinds));

    let stop = context.stop.clone();
    let address = args.listen;
    let watches = vec![
        (AzureCredential::NAME, context.azure_credentials.listed.clone()),
        (ServerProtection::NAME, context.protections.listed.clone()),
        (SecurityConnector::NAME, context.connectors.listed.clone()),
    ];
    let page = MetricsPage::new(Arc::clone(&context));
    let readiness = http::Readiness {
        watches,
        restrictions: Arc::clone(&context.restrictions),
    };
    let server = http::serve(address, page, readiness, stop.clone()).await;
    let server = server.map_err(|source| Error::Listen { address, source })?;
    // No reconcile starts before it is known that the policies restrict this process.
    tokio::select! {
        verified = context.restrictions.verify_at_start() => verified?,
        () = signal() => return Ok(()),
    }
    let fleet_task = tokio::spawn(Arc::clone(&context.fleet).run(stop.clone()));

    let mut handler = protection_events(&context);
    let on_event = move |event: &_| handler.on_event(event);
    let metrics = || Arc::clone(&context.metrics);
    let listed = context.protections.listed.clone();
    let (store, protections) = watch::objects(watch::api(&client, namespace), metrics(), listed, on_event);
    let mut handler = connector_events(&context);
    let on_event = move |event: &_| handler.on_event(event);
    let listed = context.connectors.listed.clone();
    let (connector_store, connectors) =
        watch::objects(watch::api(&client, namespace), metrics(), listed, on_event);
    // No reconcile starts before the lists are complete: every object needs its credential, and a connector its
    // ServerProtection (docs/architecture.md 3.6).
    let credentials_listed = &context.azure_credentials.listed;
    let protections = after([credentials_listed.clone()], protections);
    let listed = [credentials_listed.clone(), context.protections.listed.clone()];
    let connectors = after(listed, connectors);
    let azure_credentials = watch::changes(
        credential_changes(credential_events, Arc::clone(&context)),
        credential_store.clone(),
        metrics(),
        context.azure_credentials.listed.clone(),
    );

    let control = Control {
        concurrency: args.concurrency,
        stop: stop.clone(),
        context: Arc::clone(&context),
    };
    let mut loops = JoinSet::new();
    loops.spawn(keep_verifying(Arc::clone(&context)));
    loops.spawn(control.run(protections, store, triggered_protections));
    loops.spawn(control.run(connectors, connector_store, triggered_connectors));
    loops.spawn(control.run(azure_credentials, credential_store, triggered_credentials));
    let loops = tokio::spawn(finished(loops, stop.clone()));
    let ended = until_stopped(loops, &stop, &context.gate).await;
    let _ = fleet_task.await;
    let _ = tokio::time::timeout(Duration::from_secs(2), server).await;
    ended
}

/// Repeats the checks of the admission policies until the process ends.
async fn keep_verifying(context: Arc<Context>) {
    let check = || context.restrictions.keep_verifying(&context.stop);
    context.metrics.panics.restarted(Task::PolicyCheck, check).await;
}

fn context(
    args: &Args,
    client: &Client,
    metrics: Arc<Metrics>,
    restrictions: Arc<Restrictions>,
    credentials: Credentials,
    (protections, connectors, azure_credentials): (
        Controlled<ServerProtection>,
        Controlled<SecurityConnector>,
        Controlled<AzureCredential>,
    ),
) -> Context {
    let credential_users = CredentialUsers::new(azure_credentials.trigger.clone());
    let connector_index = Arc::new(ConnectorIndex::default());
    let fleet = Arc::new(Fleet::new(
        args.machine_scan_interval,
        protections.trigger.clone(),
        connectors.trigger.clone(),
        Arc::clone(&connector_index),
        Arc::clone(&metrics.fleet),
    ));
    let without_connectors = credentials.principals.cloud().connectors_missing_in();
    Context {
        client: client.clone(),
        protections,
        connectors,
        azure_credentials,
        connector_index,
        credential_users: Arc::new(credential_users),
        credentials: Arc::new(credentials),
        restrictions,
        fleet,
        gate: Gate::open(),
        stop: CancellationToken::new(),
        settings: Settings {
            timeouts: timeouts(args),
            reconcile_every: args.reconcile_every,
            without_connectors,
        },
        recorder: recorder(client.clone()),
        metrics,
    }
}

fn timeouts(args: &Args) -> Timeouts {
    Timeouts {
        blocked_retry_interval: args.blocked_retry_interval,
        registration_timeout: args.registration_timeout,
        deletion_deadline: args.deletion_deadline,
    }
}

/// The times of the rules of claims. Retries of denied objects are as far apart as their proofs.
fn rules(args: &Args) -> Rules {
    Rules {
        lapse_after: args.claim_lapse_after,
        unknown_lapse_after: args.claim_unknown_lapse_after,
        reserve: args.claim_reserve,
        spacing: args.blocked_retry_interval,
    }
}

fn recorder(client: Client) -> EventRecorder {
    let reporter = Reporter {
        controller: "serverprotection".into(),
        instance: None,
    };
    EventRecorder::new(client, reporter)
}

fn protection_events(context: &Context) -> server_protection::EventHandler {
    server_protection::EventHandler {
        own: context.protections.clone(),
        fleet: Arc::clone(&context.fleet),
        connector_index: Arc::clone(&context.connector_index),
        credential_users: Arc::clone(&context.credential_users),
        trigger_connectors: context.connectors.trigger.clone(),
        seen: HashSet::new(),
    }
}

fn connector_events(context: &Context) -> security_connector::EventHandler {
    security_connector::EventHandler {
        own: context.connectors.clone(),
        connector_index: Arc::clone(&context.connector_index),
        trigger_protections: context.protections.trigger.clone(),
        seen: HashSet::new(),
    }
}

/// Returns a stream that starts when these lists are complete.
fn after<T>(lists: impl IntoIterator<Item = Listed>, stream: impl Stream<Item = T>) -> impl Stream<Item = T> {
    let lists: Vec<_> = lists.into_iter().collect();
    futures::stream::once(async move {
        for list in lists {
            list.wait().await;
        }
        stream
    })
    .flatten()
}

type CredentialEvent = watcher::Event<Parsed<AzureCredential>>;

/// What the controllers of all kinds run with.
struct Control {
    concurrency: u16,
    stop: CancellationToken,
    context: Arc<Context>,
}

impl Control {
    /// Runs the controller of one kind until `stop`.
    fn run<K: Reconcile>(
        &self,
        objects: impl Stream<Item = Result<Parsed<K>, watcher::Error>> + Send + 'static,
        store: Store<Parsed<K>>,
        triggered: UnboundedReceiver<ObjectRef<Parsed<K>>>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let slots = Arc::new(Slots::new(
            self.concurrency,
            K::own(&self.context).trigger.clone(),
        ));
        let ended = Arc::clone(&slots);
        let reconcile = move |object, context| reconcile_in_turn::<K>(object, context, Arc::clone(&slots));
        // The slots limit the concurrency.
        Controller::for_stream(objects, store)
            .with_config(controller::Config::default().concurrency(0))
            .reconcile_on(triggered)
            .graceful_shutdown_on(self.stop.clone().cancelled_owned())
            .run(
                reconcile,
                |_: Arc<Parsed<K>>, _, _| Action::requeue(Duration::from_secs(5)),
                Arc::clone(&self.context),
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

/// Waits until one control loop ends unexpectedly or, after the signal, until all have finished their reconciles.
async fn finished(mut controls: JoinSet<()>, stop: CancellationToken) {
    while let Some(ended) = controls.join_next().await {
        if let Err(error) = &ended {
            tracing::error!(%error, "control loop ended with an error");
        }
        if ended.is_err() || !stop.is_cancelled() {
            return;
        }
    }
}

/// Reconciles the objects that use a changed credential when the cache has taken in the change.
fn credential_changes(
    events: impl Stream<Item = watcher::Result<CredentialEvent>>,
    context: Arc<Context>,
) -> impl Stream<Item = watcher::Result<CredentialEvent>> {
    let panics = context.metrics.panics.clone();
    let mut updates = azure_credential::CacheUpdates::new(context);
    events.inspect(move |event| {
        if let Ok(event) = event {
            let span = watch::object_span(AzureCredential::NAME, event);
            panics.event(&span, || updates.on_event(event));
        }
    })
}

/// Waits for a signal, then lets running reconciles finish; a second signal skips the wait. If a control loop ends
/// unexpectedly, the process ends, so that Kubernetes restarts it. A panic of one reconcile does not end the loop.
async fn until_stopped(
    mut control: tokio::task::JoinHandle<()>,
    stop: &CancellationToken,
    gate: &Gate,
) -> Result<(), Error> {
    let ended = tokio::select! {
        () = signal() => {
            tracing::info!("shutting down; waiting for running reconciles");
            stop.cancel();
            tokio::select! {
                _ = &mut control => {}
                () = tokio::time::sleep(DRAIN) => {
                    tracing::warn!(
                        timeout_seconds = DRAIN.as_secs(),
                        "reconciles still running; unfinished writes are completed after the next start"
                    );
                }
                () = signal() => tracing::warn!("second signal; not waiting for running reconciles"),
            }
            Ok(())
        }
        ended = &mut control => {
            let error = ended.err().map(|error| error.to_string());
            tracing::error!(error, "control loop ended unexpectedly");
            Err(Error::Ended)
        }
    };
    // Reconciles that are still running may not write any more.
    gate.close();
    stop.cancel();
    ended
}

fn credentials(
    args: &Args,
    (cloud, http): (Cloud, reqwest::Client),
    restrictions: &Arc<Restrictions>,
    store: Store<Parsed<AzureCredential>>,
    metrics: &Arc<Metrics>,
) -> Credentials {
    tracing::info!(
        resource_manager = %cloud.resource_manager,
        authority = %cloud.authority_host,
        "using Azure endpoints"
    );
    Credentials {
        client: restrictions.client().clone(),
        restrictions: Arc::clone(restrictions),
        store,
        principals: Arc::new(Principals::new(
            cloud,
            http,
            Arc::<Metrics>::clone(metrics),
            fleet::Settings::default(),
        )),
        reread_after: args.blocked_retry_interval,
        cached: Mutex::default(),
        refresh_locks: Mutex::default(),
    }
}

/// SIGTERM or SIGINT.
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signal handlers cannot be installed; stop the process with SIGKILL");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
