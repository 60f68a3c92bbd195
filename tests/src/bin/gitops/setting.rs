//! What the cases share: control plane, emulated Azure, controller, a git server, and the tools, each from the first
//! case that uses it.

use crate::{argo::ArgoCd, flux::Flux, git_server::GitServer, repository::Repository};
use serde_json::Value;
use serverprotection_tests::{
    Error,
    env::{Environment, Options},
    harness::Setting,
    process::keep,
    team::Team,
    users::CONTROLLER_NAMESPACE,
};
use tokio::sync::OnceCell;

/// The running system.
pub(crate) struct Gitops {
    pub(crate) environment: Environment,
    git: GitServer,
    flux: OnceCell<Flux>,
    argo: OnceCell<ArgoCd>,
}

impl Gitops {
    pub(crate) async fn start() -> Result<Self, Error> {
        let options = Options::with_controller(&[
            "--blocked-retry-interval",
            "3s",
            "--machine-scan-interval",
            "2s",
            "--operator-namespace",
            CONTROLLER_NAMESPACE,
        ]);
        let environment = Environment::start(options).await?;
        let git = GitServer::start(&environment.plane.folder().join("git")).await?;
        Ok(Self {
            environment,
            git,
            flux: OnceCell::new(),
            argo: OnceCell::new(),
        })
    }

    /// Flux, which the first call starts.
    pub(crate) async fn flux(&self) -> Result<&Flux, Error> {
        self.flux.get_or_try_init(|| Flux::start(&self.environment)).await
    }

    /// Argo CD, likewise.
    pub(crate) async fn argo(&self) -> Result<&ArgoCd, Error> {
        self.argo
            .get_or_try_init(|| ArgoCd::start(&self.environment))
            .await
    }

    /// A namespace with a subscription, and an empty repository of the same name.
    pub(crate) async fn team(&self, name: &str) -> Result<(Team<'_>, Repository), Error> {
        self.team_with(name, Value::Null).await
    }

    /// The same, with more about the subscription, as in a seed.
    pub(crate) async fn team_with(&self, name: &str, more: Value) -> Result<(Team<'_>, Repository), Error> {
        let team = self.environment.team_with(name, more).await?;
        let repository = self.repository(&team.namespace).await?;
        Ok((team, repository))
    }

    /// An empty repository.
    pub(crate) async fn repository(&self, name: &str) -> Result<Repository, Error> {
        Repository::create(&self.git, name).await
    }
}

impl Setting for Gitops {
    /// Stops the tools first: they use the servers of the environment.
    async fn stop(&self, failed: bool) -> Result<(), Error> {
        let mut logs = Vec::new();
        if let Some(flux) = self.flux.get() {
            flux.stop().await;
            logs.extend(flux.logs());
        }
        if let Some(argo) = self.argo.get() {
            argo.stop().await;
            logs.extend(argo.logs());
        }
        if failed {
            for log in keep(&logs) {
                eprintln!("log kept: {}", log.display());
            }
        }
        self.environment.stop(failed).await
    }
}
