//! What the cases share: control plane, emulated Azure, controller, a git server, and the tools, each from the first
//! case that uses it.

use crate::{flux::Flux, git_server::GitServer, repository::Repository};
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
        })
    }

    /// Flux, which the first call starts.
    pub(crate) async fn flux(&self) -> Result<&Flux, Error> {
        self.flux.get_or_try_init(|| Flux::start(&self.environment)).await
    }

    /// A namespace with a subscription, and an empty repository of the same name.
    pub(crate) async fn team(&self, name: &str) -> Result<(Team<'_>, Repository), Error> {
        let team = self.environment.team(name).await?;
        let repository = Repository::create(&self.git, &team.namespace).await?;
        Ok((team, repository))
    }
}

impl Setting for Gitops {
    /// Stops the tools first: they use the servers of the environment.
    async fn stop(&self, failed: bool) -> Result<(), Error> {
        if let Some(flux) = self.flux.get() {
            flux.stop().await;
            if failed {
                for log in keep(&flux.logs()) {
                    eprintln!("log kept: {}", log.display());
                }
            }
        }
        self.environment.stop(failed).await
    }
}
