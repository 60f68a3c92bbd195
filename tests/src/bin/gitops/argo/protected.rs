//! A subscription that Argo CD keeps protected from a repository.

use super::{ArgoCd, application::Application};
use crate::{repository::Repository, setting::Gitops};
use serde_json::{Value, json};
use serverprotection_tests::{Error, team::Team};

/// Name of the `ServerProtection` of a case.
pub(super) const NAME: &str = "prod";

/// A team, its repository with the object `prod`, and its Application, which is Healthy.
pub(super) struct Protected<'g> {
    pub(super) argo: &'g ArgoCd,
    pub(super) team: Team<'g>,
    pub(super) repository: Repository,
    pub(super) application: Application,
    /// The commit that is applied.
    pub(super) revision: String,
}

impl<'g> Protected<'g> {
    /// Commits `prod` with this spec, and waits until the Application is Healthy.
    pub(super) async fn start(gitops: &'g Gitops, name: &str, spec: Value) -> Result<Self, Error> {
        let argo = gitops.argo().await?;
        let (team, repository) = gitops.team(name).await?;
        repository.write(NAME, &protection(&team, NAME, spec))?;
        let revision = repository.commit("protect the subscription").await?;
        let application = Application::create(argo, &repository, &team.namespace, json!({})).await?;
        application.until_healthy(&revision).await?;
        Ok(Self {
            argo,
            team,
            repository,
            application,
            revision,
        })
    }

    /// Writes `prod` with this spec into the working copy.
    pub(super) fn write(&self, spec: Value) -> Result<(), Error> {
        self.repository.write(NAME, &protection(&self.team, NAME, spec))
    }

    /// Commits the working copy, and waits until the Application is Healthy.
    pub(super) async fn applied(&self, message: &str) -> Result<Value, Error> {
        let revision = self.commit(message).await?;
        self.application.until_healthy(&revision).await
    }

    /// Commits the working copy, and tells Argo CD. Returns the id of the commit.
    pub(super) async fn commit(&self, message: &str) -> Result<String, Error> {
        self.application.commit(&self.repository, message).await
    }
}

/// The spec of most cases.
pub(super) fn p2() -> Value {
    json!({"plan": {"tier": "P2"}})
}

/// A `ServerProtection` for the team's subscription.
pub(super) fn protection(team: &Team<'_>, name: &str, spec: Value) -> Value {
    team.protections().object(name, &team.protection_spec(spec))
}
