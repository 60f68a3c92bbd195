//! The processes of `make quickstart`. They are stopped in an order in which no process loses a server that it uses.

use crate::{
    apply::Kubectl,
    binaries,
    control_plane::ControlPlane,
    controller_process::{ControllerOptions, ControllerProcess},
    emulator::{Emulator, SUBSCRIPTION},
    error::{Error, io},
    users::{CONTROLLER, CONTROLLER_ACCOUNT, CONTROLLER_NAMESPACE},
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The machine of the quickstart that cannot reach its package repository.
pub const UNLUCKY: &str = "db-1";
/// The AWS account of the sample connector.
pub const ACCOUNT: &str = "123456789012";

/// The cluster of the quickstart.
pub enum Cluster {
    /// A control plane of its own, stopped at the end.
    Own(Box<ControlPlane>),
    /// An existing cluster. Nothing in it is started or stopped.
    Theirs {
        /// kubectl with the kubeconfig of the cluster.
        kubectl: Kubectl,
        /// Folder for the controller's kubeconfig and log.
        folder: TempDir,
    },
}

impl Cluster {
    /// Starts a control plane.
    pub async fn own() -> Result<Self, Error> {
        Ok(Self::Own(Box::new(ControlPlane::start().await?)))
    }

    /// Uses the cluster of a kubeconfig.
    pub fn theirs(kubeconfig: &Path) -> Result<Self, Error> {
        let kubeconfig = kubeconfig
            .canonicalize()
            .map_err(io(format!("KUBECONFIG_QUICKSTART={}", kubeconfig.display())))?;
        let folder = TempDir::with_prefix("quickstart-").map_err(io("create a temporary folder"))?;
        Ok(Self::Theirs {
            kubectl: Kubectl::new(kubectl_of_path()?, kubeconfig, folder.path()),
            folder,
        })
    }

    /// kubectl of the user.
    pub fn kubectl(&self) -> Kubectl {
        match self {
            Self::Own(plane) => plane.kubectl_command(),
            Self::Theirs { kubectl, .. } => kubectl.clone(),
        }
    }

    /// Folder of the logs.
    pub fn folder(&self) -> &Path {
        match self {
            Self::Own(plane) => plane.folder(),
            Self::Theirs { folder, .. } => folder.path(),
        }
    }

    /// Runs kubectl as the user.
    pub async fn run(&self, args: &[&str]) -> Result<String, Error> {
        self.kubectl().run(args).await
    }

    /// Installs CRDs, namespace, RBAC, policies and Deployment of `deploy/base`.
    pub async fn install(&self) -> Result<(), Error> {
        self.kubectl().install().await?;
        if matches!(self, Self::Theirs { .. }) {
            // The controller runs as a process here; a pod would be a second one.
            let deployment = format!("deployment/{CONTROLLER_ACCOUNT}");
            self.run(&["scale", "-n", CONTROLLER_NAMESPACE, &deployment, "--replicas=0"])
                .await?;
        }
        Ok(())
    }

    /// Writes a kubeconfig with the permissions of the controller's service account, never the administrator's.
    async fn controller_kubeconfig(&self) -> Result<PathBuf, Error> {
        let folder = match self {
            Self::Own(plane) => return plane.kubeconfig(CONTROLLER),
            Self::Theirs { folder, .. } => folder.path(),
        };
        let args = [
            "create",
            "token",
            CONTROLLER_ACCOUNT,
            "-n",
            CONTROLLER_NAMESPACE,
            "--duration=8h",
        ];
        let token = self.run(&args).await?;
        let view = self
            .run(&["config", "view", "--raw", "--minify", "--flatten", "-o", "json"])
            .await?;
        let mut config: Value = serde_json::from_str(&view)?;
        for user in config
            .get_mut("users")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if let Some(user) = user.get_mut("user") {
                *user = json!({"token": token.trim()});
            }
        }
        let path = folder.join("controller.kubeconfig");
        std::fs::write(&path, config.to_string()).map_err(io("write the controller's kubeconfig"))?;
        Ok(path)
    }
}

fn kubectl_of_path() -> Result<PathBuf, Error> {
    let found = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path)
            .map(|f| f.join("kubectl"))
            .find(|p| p.is_file())
    });
    found
        .or_else(|| binaries::control_plane().ok().map(|f| f.join("kubectl")))
        .ok_or_else(|| Error::Missing {
            what: "kubectl".into(),
            why: "it is not on PATH".into(),
            command: "make control-plane".into(),
        })
}

/// All processes. Filled step by step, so that an interrupted start can be stopped.
#[derive(Default)]
pub struct Quickstart {
    /// The cluster.
    pub cluster: Option<Cluster>,
    /// The emulated Azure.
    pub emulator: Option<Emulator>,
    /// The controller.
    pub controller: Option<ControllerProcess>,
}

impl Quickstart {
    /// The cluster, if it was started.
    pub fn cluster(&self) -> Result<&Cluster, Error> {
        self.cluster
            .as_ref()
            .ok_or_else(|| Error::Other("the cluster was not started".into()))
    }

    /// The emulator, if it was started.
    pub fn emulator(&self) -> Result<&Emulator, Error> {
        self.emulator
            .as_ref()
            .ok_or_else(|| Error::Other("the emulator was not started".into()))
    }

    /// Path of the controller's log.
    pub fn controller_log(&self) -> Result<PathBuf, Error> {
        Ok(self.cluster()?.folder().join("controller.log"))
    }

    /// Starts the controller and waits until it is ready.
    pub async fn start_controller(&mut self) -> Result<(), Error> {
        let kubeconfig = self.cluster()?.controller_kubeconfig().await?;
        // A short interval to watch; the default is 15m.
        let options = ControllerOptions::flags(&["--machine-scan-interval", "2s"]);
        let controller =
            ControllerProcess::start(&kubeconfig, self.emulator()?, &self.controller_log()?, &options)?;
        self.controller
            .insert(controller)
            .wait_ready(crate::env::CONTROLLER_READY_LIMIT)
            .await
    }

    /// Adds a small fleet to the subscription and the AWS account of the samples. No machine has the extension yet,
    /// and one of them will fail.
    pub async fn add_machines(&self) -> Result<(), Error> {
        let emulator = self.emulator()?;
        let options =
            json!({"provisioningDelay": "8s", "provisioningTime": "3s", "connectorDiscoveryDelay": "5s"});
        emulator.options(options).await?;
        let instances = json!([
            {"name": "i-0971002a9c4e76ef4", "os": "amazon-2023"},
            {"name": "i-0b1c2d3e4f5a6b7c8", "os": "windows-2022"}]);
        let account = json!({"aws": {ACCOUNT: {"accountName": "contoso-shop", "instances": instances}}});
        emulator.cloud_accounts(account).await?;
        let machines = json!([
            {"name": "web-1", "os": "ubuntu-22.04", "resourceGroup": "rg-web"},
            {"name": "web-2", "os": "ubuntu-24.04", "resourceGroup": "rg-web"},
            {"name": "web-3", "os": "rhel-9", "resourceGroup": "rg-web"},
            {"name": "ad-1", "os": "windows-2022", "resourceGroup": "rg-core"},
            {"name": "files-1", "os": "windows-2016", "resourceGroup": "rg-core"},
            {"name": UNLUCKY, "os": "sles-15", "resourceGroup": "rg-core", "provisioningFailureCode": 24},
            {"name": "spare-1", "os": "windows-2019", "resourceGroup": "rg-core", "powerState": "deallocated"},
            {"name": "test-1", "os": "debian-12", "resourceGroup": "rg-lab", "tags": {"env": "sandbox"}},
            {"name": "srv-berlin-1", "cloudProvider": "OnPremises", "os": "rhel-8", "resourceGroup": "rg-arc"},
            {"name": "srv-berlin-2", "cloudProvider": "OnPremises", "os": "windows-2012r2", "resourceGroup": "rg-arc"},
            {"name": "gce-batch-1", "cloudProvider": "GCP", "os": "ubuntu-22.04", "resourceGroup": "rg-gcp"},
        ]);
        emulator.add_machine(SUBSCRIPTION, machines).await.map(drop)
    }

    /// Fails with the end of the log if the controller has ended.
    pub fn check(&mut self) -> Result<(), Error> {
        match self.controller.as_mut() {
            Some(controller) => controller.check(),
            None => Ok(()),
        }
    }

    /// Stops controller, emulator, kube-apiserver and etcd, in this order.
    pub async fn stop(&mut self) {
        if let Some(mut controller) = self.controller.take() {
            let _ = controller.terminate_if_running().await;
        }
        if let Some(emulator) = self.emulator.take() {
            emulator.stop().await;
        }
        if let Some(Cluster::Own(plane)) = self.cluster.take() {
            plane.stop().await;
        }
    }
}
