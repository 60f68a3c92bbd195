//! Starts and stops the controller.

use std::{
    collections::HashSet,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{Stream, StreamExt, channel::mpsc::UnboundedReceiver};
use kube::{
    Client,
    runtime::{
        Controller,
        controller::{self, Action},
        events::{Recorder, Reporter},
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
    fleet::Fleet,
    http,
    kind::Kind,
    kube_error,
    metrics::Metrics,
    metrics_page::MetricsPage,
    parsed::Parsed,
    reconciler::{Reconcile, reconcile},
    security_connector, server_protection, telemetry,
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
    let client = Client::try_from(kube::Config::infer().await?)?;
    let namespace = args.watch_namespace.as_deref();
    let metrics = Arc::new(Metrics::new(args.per_object_metrics));
    let (protections, triggered_protections) = Controlled::new(rules(&args));
    let (connectors, triggered_connectors) = Controlled::new(rules(&args));
    let (azure_credentials, triggered_credentials) = Controlled::new(rules(&args));
    let mut handler = azure_credential::EventHandler {
        own: azure_credentials.clone(),
        seen: HashSet::new(),
    };
    let on_event = move |event: &_| handler.on_event(event);
    let (credential_store, credential_events) =
        watch::cached(watch::api(&client, namespace), metrics.panics.clone(), on_event);
    let clients = credentials(&args, (cloud, http), &client, credential_store.clone(), &metrics);
    let kinds = (protections, connectors, azure_credentials);
    let context = Arc::new(context(&args, &client, metrics, clients, kinds));

    let stop = context.stop.clone();
    let address = args.listen;
    let ready = [
        context.protections.listed.clone(),
        context.connectors.listed.clone(),
    ];
    let page = MetricsPage::new(Arc::clone(&context));
    let server = http::serve(address, page, ready, stop.clone()).await;
    let server = server.map_err(|source| Error::Listen { address, source })?;
    let fleet_task = tokio::spawn(Arc::clone(&context.fleet).run(stop.clone()));

    let mut handler = protection_events(&context);
    let on_event = move |event: &_| handler.on_event(event);
    let metrics = || Arc::clone(&context.metrics);
    let (store, protections) = watch::objects(watch::api(&client, namespace), metrics(), on_event);
    let mut handler = connector_events(&context);
    let on_event = move |event: &_| handler.on_event(event);
    let (connector_store, connectors) = watch::objects(watch::api(&client, namespace), metrics(), on_event);
    // No reconcile starts before the lists are complete: every object needs its credential, and a connector its
    // ServerProtection (docs/architecture.md 3.6).
    let credentials_listed = &context.azure_credentials.listed;
    let protections = after([credentials_listed.clone()], protections);
    let listed = [credentials_listed.clone(), context.protections.listed.clone()];
    let connectors = after(listed, connectors);
    let azure_credentials = watch::changes(
        credential_changes(credential_events, Arc::clone(&context)),
        metrics(),
    );

    let control = Control {
        concurrency: args.concurrency,
        stop: stop.clone(),
        context: Arc::clone(&context),
    };
    let mut loops = JoinSet::new();
    loops.spawn(control.run(protections, store, triggered_protections));
    loops.spawn(control.run(connectors, connector_store, triggered_connectors));
    loops.spawn(control.run(azure_credentials, credential_store, triggered_credentials));
    let loops = tokio::spawn(finished(loops, stop.clone()));
    let ended = until_stopped(loops, &stop, &context.gate).await;
    let _ = fleet_task.await;
    let _ = tokio::time::timeout(Duration::from_secs(2), server).await;
    ended
}

fn context(
    args: &Args,
    client: &Client,
    metrics: Arc<Metrics>,
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

fn recorder(client: Client) -> Recorder {
    let reporter = Reporter {
        controller: "serverprotection".into(),
        instance: None,
    };
    Recorder::new(client, reporter)
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
        Controller::for_stream(objects, store)
            .with_config(controller::Config::default().concurrency(self.concurrency))
            .reconcile_on(triggered)
            .graceful_shutdown_on(self.stop.clone().cancelled_owned())
            .run(
                reconcile::<K>,
                |_: Arc<Parsed<K>>, _, _| Action::requeue(Duration::from_secs(5)),
                Arc::clone(&self.context),
            )
            .for_each(|reconciled| {
                // Includes requeues of deleted objects, which are normal.
                if let Err(error) = reconciled {
                    tracing::debug!(%error, kind = K::NAME, "object not reconciled");
                }
                futures::future::ready(())
            })
    }
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
    client: &Client,
    store: Store<Parsed<AzureCredential>>,
    metrics: &Arc<Metrics>,
) -> Credentials {
    tracing::info!(
        resource_manager = %cloud.resource_manager,
        authority = %cloud.authority_host,
        "using Azure endpoints"
    );
    Credentials {
        client: client.clone(),
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
