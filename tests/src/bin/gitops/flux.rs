//! Flux as two processes: source-controller, which fetches repositories, and kustomize-controller, which applies them.

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use serverprotection_tests::{
    Error, binaries, env::Environment, error::io, process::Process, team::FIELD_MANAGER, users::ADMIN,
    wait::eventually,
};
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{process::Command, sync::Mutex};

/// Time limit until a program works.
const STARTED: Duration = Duration::from_secs(60);
/// Time limit of the end of a program before it is killed.
const ENDED: Duration = Duration::from_secs(20);
/// The namespace of Flux.
const NAMESPACE: &str = "flux-system";
const SOURCE: &str = "source-controller";
const KUSTOMIZE: &str = "kustomize-controller";

/// The running programs.
pub(crate) struct Flux {
    /// First the one that uses the other.
    processes: Mutex<[Process; 2]>,
    logs: [PathBuf; 2],
    /// Address of the metrics of kustomize-controller.
    metrics: String,
    /// The Kustomizations of a team in `deploy/gitops/flux`.
    pub(crate) published: Vec<Value>,
}

impl Flux {
    /// Installs the CRDs and starts both.
    pub(crate) async fn start(environment: &Environment) -> Result<Self, Error> {
        let programs = [SOURCE, KUSTOMIZE].map(binaries::gitops_tool);
        let [source, kustomize] = programs;
        let (source, kustomize) = (source?, kustomize?);
        let plane = &environment.plane;
        for folder in [&source, &kustomize] {
            let crds = folder.join("crds").display().to_string();
            plane.kubectl(&["apply", "--server-side", "-f", &crds]).await?;
            let established = [
                "wait",
                "--for=condition=Established",
                "--timeout=30s",
                "-f",
                &crds,
            ];
            plane.kubectl(&established).await?;
        }
        // A start that failed before may have created it.
        let namespaces: Api<Namespace> = Api::all(environment.client.clone());
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        let apply = PatchParams::apply(FIELD_MANAGER);
        namespaces
            .patch(NAMESPACE, &apply, &Patch::Apply(namespace))
            .await?;
        let folder = plane.folder().join("flux");
        std::fs::create_dir_all(folder.join("artifacts")).map_err(io("create the folder of Flux"))?;
        let storage = free_address()?;
        let metrics = free_address()?;
        let mut command = program(&source.join(SOURCE), environment, &folder)?;
        command
            .arg(format!("--storage-path={}", folder.join("artifacts").display()))
            .arg(format!("--storage-addr={storage}"))
            .arg(format!("--storage-adv-addr={storage}"))
            .args(["--metrics-addr=127.0.0.1:0", "--health-addr=127.0.0.1:0"]);
        let logs = [KUSTOMIZE, SOURCE].map(|name| plane.folder().join(format!("{name}.log")));
        let [kustomize_log, source_log] = &logs;
        let source_process = Process::spawn(SOURCE, command, source_log, false)?;
        let mut command = program(&kustomize.join(KUSTOMIZE), environment, &folder)?;
        command
            .arg(format!("--metrics-addr={metrics}"))
            .args(["--health-addr=127.0.0.1:0", "--interval-jitter-percentage=0"])
            // The default is 30 s.
            .arg("--requeue-dependency=5s")
            // As docs/gitops.md recommends.
            .arg("--feature-gates=CancelHealthCheckOnNewRevision=true");
        let kustomize_process = Process::spawn(KUSTOMIZE, command, kustomize_log, false)?;
        let mut processes = [kustomize_process, source_process];
        for process in &mut processes {
            works(process).await?;
        }
        Ok(Self {
            processes: Mutex::new(processes),
            logs,
            metrics: format!("http://{metrics}/metrics"),
            published: published(environment).await?,
        })
    }

    /// The logs of both programs.
    pub(crate) fn logs(&self) -> [PathBuf; 2] {
        self.logs.clone()
    }

    /// Stops both.
    pub(crate) async fn stop(&self) {
        for process in self.processes.lock().await.iter_mut() {
            process.stop(ENDED).await;
        }
    }

    /// A Kustomization of `deploy/gitops/flux/team-payments.yaml`, whose name is `payments-` and this word.
    pub(crate) fn published(&self, word: &str) -> Result<Value, Error> {
        let name = json!(format!("payments-{word}"));
        let mut all = self.published.iter();
        all.find(|object| object.pointer("/metadata/name") == Some(&name))
            .cloned()
            .ok_or_else(|| Error::Other(format!("no Kustomization {name} in {:?}", self.published)))
    }

    /// How often kustomize-controller has reconciled the Kustomizations of a namespace.
    pub(crate) async fn reconciles(&self, namespace: &str) -> Result<u64, Error> {
        let page = reqwest::get(&self.metrics).await?.text().await?;
        let label = format!("namespace=\"{namespace}\"");
        let counts = page.lines().filter_map(|line| {
            let series = line.strip_prefix("gotk_reconcile_duration_seconds_count")?;
            let (labels, count) = series.rsplit_once(' ')?;
            labels.contains(&label).then(|| count.parse::<u64>().ok())?
        });
        Ok(counts.sum())
    }
}

/// A program of Flux with its environment.
fn program(path: &Path, environment: &Environment, folder: &Path) -> Result<Command, Error> {
    let mut command = Command::new(path);
    command
        .env("KUBECONFIG", environment.plane.kubeconfig(ADMIN)?)
        .env("RUNTIME_NAMESPACE", NAMESPACE)
        .env("HOME", folder)
        .env("TMPDIR", folder);
    Ok(command)
}

/// Waits until a program reconciles. Fails early if it has ended.
async fn works(process: &mut Process) -> Result<(), Error> {
    let started = eventually("the start of Flux", STARTED, || {
        let ended = process.exited();
        let works = process.log_text().contains("Starting workers");
        std::future::ready(match (ended, works) {
            (Some(status), _) => Ok(Err(process.failure(format!("ended with {status}")))),
            (None, true) => Ok(Ok(())),
            (None, false) => Err("no workers yet"),
        })
    })
    .await;
    started.unwrap_or_else(|_| Err(process.failure(format!("did not work after {STARTED:?}"))))
}

/// What `deploy/gitops/flux` has for a team, as JSON.
async fn published(environment: &Environment) -> Result<Vec<Value>, Error> {
    let file = binaries::root().join("deploy/gitops/flux/team-payments.yaml");
    let file = file.display().to_string();
    let arguments = ["create", "--dry-run=client", "--output=json", "--filename", &file];
    let printed = environment.plane.kubectl(&arguments).await?;
    let objects = serde_json::Deserializer::from_str(&printed).into_iter::<Value>();
    Ok(objects.collect::<Result<_, _>>()?)
}

/// An address that is free now. Another process may still take it.
fn free_address() -> Result<String, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(io("find a free port"))?;
    let address = listener.local_addr().map_err(io("find a free port"))?;
    Ok(address.to_string())
}
