//! Argo CD as processes, with the settings that `deploy/gitops/argocd` publishes, and its cases.

mod actions;
mod application;
mod changes;
mod chart;
mod deletions;
mod drift;
mod fleet;
mod processes;
mod protected;
mod waves;

use crate::{repository::Repository, setting::Gitops};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use processes::{CONTROLLER, Processes};
use serde_json::{Value, json};
use serverprotection_tests::{
    Error, apply::Kubectl, binaries, env::Environment, error::io, harness::Case, team::FIELD_MANAGER,
    wait::eventually,
};
use std::path::{Path, PathBuf};
use tokio::sync::Mutex;

/// The namespace of Argo CD and its Applications.
pub(crate) const NAMESPACE: &str = "argocd";
/// What the project publishes for Argo CD.
const PUBLISHED: &str = "deploy/gitops/argocd";

pub(crate) fn cases() -> Vec<Case<Gitops>> {
    // The slowest cases first; the largest one last, because it slows down the others.
    let mut cases = drift::cases();
    cases.extend(changes::cases());
    cases.extend(waves::cases());
    cases.extend(deletions::cases());
    cases.extend(actions::cases());
    cases.extend(chart::cases());
    cases.extend(fleet::cases());
    cases
}

/// The programs.
pub(crate) struct Programs {
    argocd: PathBuf,
    controller_manager: PathBuf,
    /// Folders with the programs that the repo-server calls.
    path: Vec<PathBuf>,
    /// Folder with the definitions.
    crds: PathBuf,
}

impl Programs {
    fn find() -> Result<Self, Error> {
        let [argocd, controller_manager, kustomize] =
            ["argocd", "kube-controller-manager", "kustomize"].map(binaries::gitops_tool);
        let (argocd, helm) = (argocd?, binaries::helm()?);
        let helm = helm.parent().map(PathBuf::from).unwrap_or_default();
        Ok(Self {
            controller_manager: controller_manager?.join("kube-controller-manager"),
            path: vec![argocd.join("path"), kustomize?, helm],
            crds: argocd.join("crds"),
            argocd: argocd.join("argocd"),
        })
    }
}

/// A running Argo CD.
pub(crate) struct ArgoCd {
    pub(crate) client: Client,
    pub(crate) kubectl: Kubectl,
    folder: PathBuf,
    programs: Programs,
    processes: Mutex<Processes>,
}

impl ArgoCd {
    /// Installs the settings, and starts the programs.
    pub(crate) async fn start(environment: &Environment) -> Result<Self, Error> {
        let programs = Programs::find()?;
        let folder = environment.plane.folder().join("argocd");
        let kubectl = environment.plane.kubectl_command();
        install(&environment.client, &kubectl, &programs).await?;
        let processes = Processes::start(&environment.plane, &programs, &folder).await?;
        Ok(Self {
            client: environment.client.clone(),
            kubectl,
            folder,
            programs,
            processes: Mutex::new(processes),
        })
    }

    pub(crate) async fn stop(&self) {
        self.processes.lock().await.stop().await;
    }

    /// The logs of the programs.
    pub(crate) fn logs(&self) -> Vec<PathBuf> {
        let programs = [
            CONTROLLER,
            processes::REPO_SERVER,
            processes::REDIS,
            processes::COLLECTOR,
        ];
        programs.map(|program| self.log(program)).to_vec()
    }

    /// How often Argo CD has compared an Application. Its metrics do not name Applications, its log does.
    pub(crate) fn refreshes(&self, application: &str) -> Result<usize, Error> {
        let log = std::fs::read_to_string(self.log(CONTROLLER)).map_err(io("read the log of Argo CD"))?;
        let name = format!("\"application\":\"{application}\"");
        let lines = log
            .lines()
            .filter(|line| line.contains("\"Reconciliation completed\"") && line.contains(&name));
        Ok(lines.count())
    }

    fn log(&self, program: &str) -> PathBuf {
        self.folder.join(format!("{program}.log"))
    }
}

/// Creates what the manifests of an installation have, with the published `ConfigMap`.
async fn install(client: &Client, kubectl: &Kubectl, programs: &Programs) -> Result<(), Error> {
    let crds = programs.crds.display().to_string();
    kubectl.run(&["apply", "--server-side", "-f", &crds]).await?;
    // kubectl fails, instead of waiting, while a definition has no conditions yet.
    let established = [
        "wait",
        "--for=condition=Established",
        "--timeout=10s",
        "-f",
        &crds,
    ];
    eventually("the definitions of Argo CD", crate::TIMEOUT, || {
        kubectl.run(&established)
    })
    .await?;
    let user = PatchParams::apply(FIELD_MANAGER);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    Api::<Namespace>::all(client.clone())
        .patch(NAMESPACE, &user, &Patch::Apply(namespace))
        .await?;
    let labels = json!({"app.kubernetes.io/part-of": "argocd"});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "argocd-secret", "labels": labels},
        "stringData": {"server.secretkey": "only for tests"}});
    Api::<Secret>::namespaced(client.clone(), NAMESPACE)
        .patch("argocd-secret", &user, &Patch::Apply(secret))
        .await?;
    let empty =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm", "labels": labels}});
    Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE)
        .patch("argocd-cm", &user, &Patch::Apply(empty))
        .await?;
    let project = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject",
        "metadata": {"name": "default"},
        "spec": {"sourceRepos": ["*"], "destinations": [{"namespace": "*", "server": "*"}],
            "clusterResourceWhitelist": [{"group": "*", "kind": "*"}]}});
    application::projects(client)
        .patch("default", &user, &Patch::Apply(project))
        .await?;
    // The command of the README.
    let settings = published("argocd-cm.yaml");
    kubectl
        .run(&[
            "patch",
            "configmap",
            "argocd-cm",
            "-n",
            NAMESPACE,
            "--patch-file",
            &settings,
        ])
        .await?;
    Ok(())
}

/// Path of a published file.
fn published(file: &str) -> String {
    binaries::root().join(PUBLISHED).join(file).display().to_string()
}

/// Text in an object; empty if there is none.
fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Copies a folder of this repository into the working copy, with the same path.
fn copy(repository: &Repository, folder: &Path) -> Result<(), Error> {
    let root = binaries::root();
    let entries = std::fs::read_dir(root.join(folder)).map_err(io(format!("read {}", folder.display())))?;
    for entry in entries {
        let entry = entry.map_err(io("read a folder"))?;
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            copy(repository, &path)?;
        } else {
            let content = std::fs::read_to_string(entry.path()).map_err(io("read a file"))?;
            repository.write_text(&path.to_string_lossy(), &content)?;
        }
    }
    Ok(())
}
