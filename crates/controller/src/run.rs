//! Start and stop.

use std::{
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use futures::{StreamExt, channel::mpsc};
use kube::{
    Client,
    runtime::{
        Controller,
        controller::{self, Action},
        events::{Recorder, Reporter},
    },
};
use serverprotection_azure::{Identity, locks::Locks};
use serverprotection_core::{gate::Gate, server_protection::pace::Clocks};
use tokio_util::sync::CancellationToken;

use crate::{
    args::{Args, ControllerIdentity},
    context::{Claims, Context},
    credentials::Credentials,
    endpoints::EndpointsError,
    fleet::Fleet,
    guarded::Guarded,
    http,
    metrics::Metrics,
    reconcile::reconcile,
    remembered::Memories,
    telemetry,
    watch::{self, Feeds},
};

/// Running visits get this long to finish after a signal; below the pod's 30 s of grace.
const DRAIN: Duration = Duration::from_secs(20);

/// The controller could not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("no cluster: {0}; set KUBECONFIG, or run in a pod with a service account")]
    Kubeconfig(#[from] kube::config::InferConfigError),
    #[error("the cluster cannot be reached: {0}")]
    Cluster(#[from] kube::Error),
    #[error(transparent)]
    Endpoints(#[from] EndpointsError),
    #[error("--listen {address}: {source}")]
    Listen {
        address: std::net::SocketAddr,
        source: std::io::Error,
    },
    #[error("the control loop ended by itself; see the log above")]
    Ended,
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: Args) -> Result<(), Error> {
    telemetry::start(args.log_format);
    let client = Client::try_from(kube::Config::infer().await?)?;
    let memories = Arc::new(Memories::default());
    let metrics = Arc::new(Metrics::new(Arc::clone(&memories), args.per_object_metrics));
    let claims = Arc::new(Claims::default());
    let namespace = args.watch_namespace.as_deref();

    let (credential_store, credential_events) =
        watch::credentials(watch::api(&client, namespace), Arc::clone(&metrics));
    let credentials = Arc::new(credentials(&args, &client, credential_store, &metrics)?);
    let (wake, woken) = mpsc::unbounded();
    let ready = Arc::new(AtomicBool::new(false));
    let fleet = Arc::new(Fleet::new(
        args.machine_scan_interval,
        wake.clone(),
        Arc::clone(&metrics.fleet),
    ));
    let feeds = Feeds {
        fleet: Arc::clone(&fleet),
        claims: Arc::clone(&claims),
        memories: Arc::clone(&memories),
        metrics: Arc::clone(&metrics),
        ready: Arc::clone(&ready),
        wake: wake.clone(),
    };
    let (store, objects) = watch::protections(watch::api(&client, namespace), feeds);

    let stop = CancellationToken::new();
    let gate = Gate::open();
    let address = args.listen;
    let server = http::serve(
        address,
        Arc::clone(&metrics),
        Arc::clone(&fleet),
        ready,
        stop.clone(),
    )
    .await;
    let server = server.map_err(|source| Error::Listen { address, source })?;

    let reporter = Reporter {
        controller: "serverprotection".into(),
        instance: None,
    };
    let context = Arc::new(Context {
        client: client.clone(),
        claims,
        credentials: Arc::clone(&credentials),
        fleet: Arc::clone(&fleet),
        memories,
        gate: gate.clone(),
        clocks: Clocks {
            slow_retry: args.slow_retry,
            registration_timeout: args.registration_timeout,
        },
        visit_every: args.visit_every,
        recorder: Recorder::new(client, reporter),
        metrics,
    });

    let fleet_task = tokio::spawn(fleet.run(stop.clone()));
    let objects_store = store.clone();
    let memories = Arc::clone(&context.memories);
    let credential_task = tokio::spawn(async move {
        let mut credential_events = std::pin::pin!(credential_events);
        while let Some(event) = credential_events.next().await {
            if let Ok(event) = event {
                watch::on_credential(&event, &objects_store, &credentials, &memories, &wake);
            }
        }
    });
    // Every object needs its credential: no visit before both lists are complete.
    let credential_store = context.credentials.store.clone();
    let objects = futures::stream::once(async move {
        let _ = credential_store.wait_until_ready().await;
        objects
    })
    .flatten();
    let control = Controller::for_stream(objects, store)
        .with_config(controller::Config::default().concurrency(args.concurrency))
        .reconcile_on(woken)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(
            reconcile,
            |_: Arc<Guarded>, _, _| Action::requeue(Duration::from_secs(5)),
            context,
        )
        .for_each(|visited| {
            // Also a requeue for an object that is gone, which is normal.
            if let Err(error) = visited {
                tracing::debug!(%error, "visit not made");
            }
            futures::future::ready(())
        });
    let ended = until_stopped(tokio::spawn(control), &stop, &gate).await;
    credential_task.abort();
    let _ = fleet_task.await;
    let _ = tokio::time::timeout(Duration::from_secs(2), server).await;
    ended
}

/// Waits for a signal and lets running visits finish; a second signal ends at once. A control loop that ends by itself
/// (a panic) ends the process, so that it is started anew.
async fn until_stopped(
    mut control: tokio::task::JoinHandle<()>,
    stop: &CancellationToken,
    gate: &Gate,
) -> Result<(), Error> {
    let ended = tokio::select! {
        () = signal() => {
            tracing::info!("stopping: running visits finish, no new ones start");
            stop.cancel();
            tokio::select! {
                _ = &mut control => {}
                () = tokio::time::sleep(DRAIN) => {
                    tracing::warn!("visits were still running after {DRAIN:?}; an open write is closed after the next start");
                }
                () = signal() => tracing::warn!("second signal: not waiting for running visits"),
            }
            Ok(())
        }
        ended = &mut control => {
            tracing::error!(?ended, "the control loop ended by itself");
            Err(Error::Ended)
        }
    };
    // What is still under way may not write any more.
    gate.close();
    stop.cancel();
    ended
}

fn credentials(
    args: &Args,
    client: &Client,
    store: kube::runtime::reflector::Store<serverprotection_api::AzureCredential>,
    metrics: &Arc<Metrics>,
) -> Result<Credentials, Error> {
    let (cloud, http) = args.endpoints.open()?;
    tracing::info!(resource_manager = %cloud.resource_manager, authority = %cloud.authority_host, "working with Azure");
    Ok(Credentials {
        client: client.clone(),
        store,
        http,
        cloud: Arc::new(cloud),
        meter: Arc::<Metrics>::clone(metrics),
        locks: Arc::new(Locks::default()),
        own: match args.controller_identity {
            ControllerIdentity::None => None,
            ControllerIdentity::WorkloadIdentity => Some(Identity::PodWorkloadIdentity),
            ControllerIdentity::ManagedIdentity => Some(Identity::ManagedIdentity),
        },
        reread_after: args.slow_retry,
        known: Mutex::default(),
        turns: Mutex::default(),
    })
}

/// SIGTERM or SIGINT.
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be listened to; stop the process with SIGKILL");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
