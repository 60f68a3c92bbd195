//! The whole system: control plane, emulator, recorder and, optionally, the controller.

use crate::{
    binaries,
    control_plane::ControlPlane,
    controller_process::{ControllerOptions, ControllerProcess},
    emulator::Emulator,
    error::Error,
    gitops,
    harness::Setting,
    helm::Release,
    kstatus,
    process::keep,
    recorder::Recorder,
    team::Team,
    users,
};
use kube::Client;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::{Mutex, MutexGuard};

/// Time limit until `/readyz` of the controller answers.
pub const CONTROLLER_READY_LIMIT: Duration = Duration::from_secs(30);

/// Options of an environment.
#[derive(Clone, Debug)]
pub struct Options {
    /// Starts the controller with these options. `None`: no controller until [`Environment::start_controller`].
    pub controller: Option<ControllerOptions>,
    /// Merged into the emulator's default seed.
    pub seed: Option<Value>,
    /// More arguments of `azure-emulator serve`.
    pub emulator: Vec<String>,
    /// Installs this release of the chart instead of `deploy/base`.
    pub release: Option<Release>,
    /// Whether a breach of the safety monitor or of the status rules fails the run at its end.
    pub judge: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            controller: None,
            seed: None,
            emulator: Vec::new(),
            release: None,
            judge: true,
        }
    }
}

impl Options {
    /// Options with a controller that has these additional flags.
    pub fn with_controller(flags: &[&str]) -> Self {
        Self {
            controller: Some(ControllerOptions::flags(flags)),
            ..Self::default()
        }
    }
}

/// The running system.
pub struct Environment {
    /// etcd and kube-apiserver, with `deploy/base` installed.
    pub plane: ControlPlane,
    /// The emulated Azure.
    pub emulator: Emulator,
    /// A client with all permissions.
    pub client: Client,
    /// Every version of every object.
    pub recorder: Recorder,
    controller: Mutex<Option<ControllerProcess>>,
    options: Options,
}

impl Environment {
    /// Starts everything and waits until it is ready.
    pub async fn start(options: Options) -> Result<Self, Error> {
        if options.judge {
            binaries::gitops_judge()?;
        }
        let plane = ControlPlane::start().await?;
        let arguments: Vec<&str> = options.emulator.iter().map(String::as_str).collect();
        let (installed, emulator) = tokio::join!(
            install(&plane, options.release.as_ref()),
            Emulator::start_with(options.seed.as_ref(), &arguments)
        );
        installed?;
        let client = plane.admin().await?;
        let recorder = Recorder::start(client.clone()).await?;
        let environment = Self {
            plane,
            emulator: emulator?,
            client,
            recorder,
            controller: Mutex::default(),
            options,
        };
        if let Some(controller) = environment.options.controller.clone() {
            environment.start_controller(&controller).await?;
        }
        Ok(environment)
    }

    /// Starts the controller with the permissions of its service account and waits until it is ready. Terminates a
    /// running controller first.
    pub async fn start_controller(&self, options: &ControllerOptions) -> Result<(), Error> {
        let mut fresh = self.another_controller("controller.log", options)?;
        let mut slot = self.controller.lock().await;
        if let Some(mut old) = slot.take() {
            old.terminate().await?;
        }
        fresh.wait_ready(CONTROLLER_READY_LIMIT).await?;
        *slot = Some(fresh);
        Ok(())
    }

    /// Starts one more controller, which the caller owns. Its log is in the folder of the control plane.
    pub fn another_controller(
        &self,
        log: &str,
        options: &ControllerOptions,
    ) -> Result<ControllerProcess, Error> {
        let kubeconfig = self.plane.kubeconfig(users::CONTROLLER)?;
        self.controller_of(&kubeconfig, log, options)
    }

    /// The same, with the kubeconfig of another user.
    pub fn controller_of(
        &self,
        kubeconfig: &Path,
        log: &str,
        options: &ControllerOptions,
    ) -> Result<ControllerProcess, Error> {
        let log = self.plane.folder().join(log);
        ControllerProcess::start(kubeconfig, &self.emulator, &log, options)
    }

    /// The controller; `None` before its first start.
    pub async fn controller(&self) -> MutexGuard<'_, Option<ControllerProcess>> {
        self.controller.lock().await
    }

    /// Kills the controller (SIGKILL), then starts it with these options.
    pub async fn crash_controller(&self, options: &ControllerOptions) -> Result<(), Error> {
        if let Some(controller) = self.controller.lock().await.as_mut() {
            controller.kill().await;
        }
        self.start_controller(options).await
    }

    /// Creates a namespace with its own application, which owns a new subscription.
    pub async fn team(&self, name: &str) -> Result<Team<'_>, Error> {
        Team::create(self, name, Value::Null).await
    }

    /// The same, with more about the subscription, as in a seed: `{"integrationProfile": "legacy"}`.
    pub async fn team_with(&self, name: &str, subscription: Value) -> Result<Team<'_>, Error> {
        Team::create(self, name, subscription).await
    }

    async fn verdict(&self) -> Result<(), Error> {
        let breaches: Vec<String> = self
            .emulator
            .breaches()
            .await?
            .iter()
            .map(Value::to_string)
            .collect();
        let versions = self.recorder.all();
        let unlawful: Vec<String> = kstatus::judge(&versions)
            .iter()
            .map(ToString::to_string)
            .collect();
        let misread = gitops::disagreements(&versions).await?;
        let all = [breaches, unlawful, misread].concat();
        if all.is_empty() {
            return Ok(());
        }
        Err(Error::Other(format!(
            "the run violated rules:\n{}",
            all.join("\n")
        )))
    }

    /// Keeps the logs if a test failed.
    fn keep_logs(&self) -> Vec<PathBuf> {
        let logs = [
            self.plane.folder().join("controller.log"),
            self.plane.folder().join("kube-apiserver.log"),
            self.emulator.folder().join("azure-emulator.log"),
        ];
        keep(&logs)
    }
}

async fn install(plane: &ControlPlane, release: Option<&Release>) -> Result<(), Error> {
    let Some(release) = release else {
        return plane.install().await;
    };
    let flags = ["--create-namespace"];
    plane
        .helm(users::ADMIN)?
        .with_chart("install", release, &flags)
        .await?;
    plane.kubectl_command().wait_for_kinds().await
}

impl Setting for Environment {
    /// Stops controller, emulator, kube-apiserver and etcd, in this order, so that no process loses a server that it
    /// uses.
    async fn stop(&self, failed: bool) -> Result<(), Error> {
        let verdict = if self.options.judge {
            self.verdict().await
        } else {
            Ok(())
        };
        let ended = match self.controller.lock().await.as_mut() {
            Some(controller) => controller.terminate_if_running().await,
            None => Ok(()),
        };
        self.emulator.stop().await;
        self.plane.stop().await;
        let result = verdict.and(ended);
        if failed || result.is_err() {
            for log in self.keep_logs() {
                eprintln!("log kept: {}", log.display());
            }
        }
        result
    }
}
