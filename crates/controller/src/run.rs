//! Starts and stops the controller.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use kube::{
    Client,
    runtime::{events::Reporter, reflector::Store},
};
use serverprotection_api::{AzureCredential, ClusterAzureCredential, SecurityConnector, ServerProtection};
use serverprotection_azure::{Cloud, Principals, fleet};
use serverprotection_core::{claims::Rules, gate::Gate, timeouts::Timeouts};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    ancestors::AncestorCache,
    args::Args,
    azure_credential::{CredentialUsers, Watching},
    cluster_credentials::ClusterCredentials,
    connector_index::ConnectorIndex,
    context::{Context, Controlled, Settings},
    control_loops::{Kinds, Triggered, Watched},
    credentials::Credentials,
    event_recorder::EventRecorder,
    fleet::Fleet,
    http,
    kind::Kind,
    kube_error, kube_proxy,
    leadership::{self, Leader},
    lease::Signals,
    metrics::Metrics,
    metrics_page::MetricsPage,
    namespaces::Namespaces,
    panics::Task,
    parsed::Parsed,
    restrictions::{Restrictions, Unrestricted},
    security_connector, server_protection,
    shutdown::{finished, signal, until_stopped},
    telemetry, watch,
};

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
    #[error("--lease-duration, --lease-renew-deadline and --lease-retry-period: {0}")]
    LeaseTimes(&'static str),
    #[error("the lease is lost; another replica is the leader, or the API server did not answer in time")]
    LeaseLost,
    #[error("the control loop ended unexpectedly; see the log above")]
    Ended,
}

/// Runs the controller until SIGTERM or SIGINT. `http` is the client for the endpoints of `cloud`.
///
/// # Errors
///
/// Fails if no cluster is configured, the address of `--listen` cannot be bound, the lease is lost, or a control loop
/// ends unexpectedly.
pub async fn run(args: Args, cloud: Cloud, http: reqwest::Client) -> Result<(), Error> {
    let times = leadership::times(&args).map_err(Error::LeaseTimes)?;
    telemetry::start(args.log_format);
    let config = kube_proxy::apply(kube::Config::infer().await?);
    if !kube_proxy::is_supported(&config) {
        return Err(Error::Proxy);
    }
    let own_namespace = config.default_namespace.clone();
    let client = Client::try_from(config.clone())?;
    let gate = leadership::gate(&args);
    let signals = Signals::default();
    let election = leadership::election(&args, config, times, gate.clone())?;
    let namespace = args.watch_namespace.as_deref();
    let metrics = Arc::new(Metrics::new(args.per_object_metrics));
    let restrictions = Arc::new(Restrictions::new(
        client.clone(),
        namespace,
        args.allow_unrestricted_tokens,
        metrics.policies.clone(),
    ));
    let (protections, triggered_protections) = Controlled::new(rules(&args), signals.elected.clone());
    let (connectors, triggered_connectors) = Controlled::new(rules(&args), signals.elected.clone());
    let azure_credentials = Watching::new(&client, namespace, &metrics, rules(&args), &signals);
    let cluster_azure_credentials = Watching::new(&client, None, &metrics, rules(&args), &signals);
    // Who watches one namespace has no right to see the cluster.
    let cluster = namespace.is_none().then(|| ClusterCredentials {
        store: cluster_azure_credentials.store.clone(),
        namespaces: Arc::new(Namespaces::new()),
        ancestors: AncestorCache::default(),
        operator_namespace: operator_namespace(&args, own_namespace),
    });
    let store = azure_credentials.store.clone();
    let clients = credentials(&args, (cloud, http), &restrictions, (store, cluster), &metrics);
    let known = Known {
        protections,
        connectors,
        azure_credentials: azure_credentials.own.clone(),
        cluster_azure_credentials: cluster_azure_credentials.own.clone(),
    };
    let context = Arc::new(context(
        &args,
        (&client, gate),
        metrics,
        restrictions,
        clients,
        known,
    ));

    let stop = context.stop.clone();
    let address = args.listen;
    let watches = [
        (ServerProtection::NAME, context.protections.listed.clone()),
        (SecurityConnector::NAME, context.connectors.listed.clone()),
    ];
    let watches = context.credential_lists().into_iter().chain(watches).collect();
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
    let has_cluster = context.credentials.cluster.is_some();
    let mut kinds = Kinds {
        azure_credentials: azure_credentials.start(&context),
        cluster_azure_credentials: has_cluster.then(|| cluster_azure_credentials.start(&context)),
        protections: protections_of(&context, &client, namespace, &signals, triggered_protections),
        connectors: connectors_of(&context, &client, namespace, &signals, triggered_connectors),
    };
    let mut background = JoinSet::new();
    background.spawn(keep_verifying(Arc::clone(&context)));
    background.spawn(watch_namespaces(Arc::clone(&context)));
    let mut leader = Leader::start(&args, election, signals.clone());
    let ended = tokio::select! {
        () = kinds.stand_by(&signals.elected, &context) => {
            lead(kinds, &args, &mut leader, &context).await
        }
        () = signal() => {
            stop.cancel();
            leader.resign().await;
            Ok(())
        }
    };
    // A former leader ends at once.
    if !matches!(ended, Err(Error::LeaseLost)) {
        let _ = tokio::time::timeout(Duration::from_secs(2), server).await;
    }
    ended
}

/// Reconciles objects until the process ends.
async fn lead(kinds: Kinds, args: &Args, leader: &mut Leader, context: &Arc<Context>) -> Result<(), Error> {
    let stop = context.stop.clone();
    let fleet = tokio::spawn(Arc::clone(&context.fleet).run(stop.clone()));
    let loops = tokio::spawn(finished(kinds.run(args.concurrency, context), stop.clone()));
    let ended = until_stopped(loops, leader, &stop, &context.gate).await;
    if !matches!(ended, Err(Error::LeaseLost)) {
        let _ = fleet.await;
    }
    ended
}

fn protections_of(
    context: &Context,
    client: &Client,
    namespace: Option<&str>,
    signals: &Signals,
    triggered: Triggered<ServerProtection>,
) -> Watched<ServerProtection> {
    let mut handler = protection_events(context);
    let (store, events) = watch::cached(
        watch::api(client, namespace),
        context.metrics.panics.clone(),
        leadership::succession(&context.protections, &signals.elected),
        context.protections.listed.clone(),
        move |event: &_| handler.on_event(event),
    );
    Watched::new(store, events, triggered)
}

fn connectors_of(
    context: &Context,
    client: &Client,
    namespace: Option<&str>,
    signals: &Signals,
    triggered: Triggered<SecurityConnector>,
) -> Watched<SecurityConnector> {
    let mut handler = connector_events(context);
    let (store, events) = watch::cached(
        watch::api(client, namespace),
        context.metrics.panics.clone(),
        leadership::succession(&context.connectors, &signals.elected),
        context.connectors.listed.clone(),
        move |event: &_| handler.on_event(event),
    );
    Watched::new(store, events, triggered)
}

/// What the controllers of all kinds know about their objects.
struct Known {
    protections: Controlled<ServerProtection>,
    connectors: Controlled<SecurityConnector>,
    azure_credentials: Controlled<AzureCredential>,
    cluster_azure_credentials: Controlled<ClusterAzureCredential>,
}

/// Where the Secrets and service accounts of `ClusterAzureCredential`s are.
fn operator_namespace(args: &Args, own: String) -> String {
    let given = args.operator_namespace.clone();
    given.filter(|namespace| !namespace.is_empty()).unwrap_or(own)
}

/// Watches the labels of namespaces until the process ends. A label may grant or withdraw a credential.
async fn watch_namespaces(context: Arc<Context>) {
    let Some(cluster) = &context.credentials.cluster else {
        return;
    };
    let users = Arc::clone(&context);
    let on_change = move |namespace: &str| users.trigger_cluster_users(namespace);
    let namespaces = Arc::clone(&cluster.namespaces);
    let changes = namespaces.watch(&context.client, Arc::clone(&context.metrics), on_change);
    let watch = changes.for_each(|()| futures::future::ready(()));
    let _ = context.stop.run_until_cancelled(watch).await;
}

/// Repeats the checks of the admission policies until the process ends.
async fn keep_verifying(context: Arc<Context>) {
    let check = || context.restrictions.keep_verifying(&context.stop);
    context.metrics.panics.restarted(Task::PolicyCheck, check).await;
}

fn context(
    args: &Args,
    (client, gate): (&Client, Gate),
    metrics: Arc<Metrics>,
    restrictions: Arc<Restrictions>,
    credentials: Credentials,
    known: Known,
) -> Context {
    let Known {
        protections,
        connectors,
        azure_credentials,
        cluster_azure_credentials,
    } = known;
    let credential_users = CredentialUsers::new(
        azure_credentials.trigger.clone(),
        cluster_azure_credentials.trigger.clone(),
    );
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
        cluster_azure_credentials,
        connector_index,
        credential_users: Arc::new(credential_users),
        credentials: Arc::new(credentials),
        restrictions,
        fleet,
        gate,
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

fn credentials(
    args: &Args,
    (cloud, http): (Cloud, reqwest::Client),
    restrictions: &Arc<Restrictions>,
    (store, cluster): (Store<Parsed<AzureCredential>>, Option<ClusterCredentials>),
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
        cluster,
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
