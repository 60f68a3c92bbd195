//! A Kustomization that follows the repository of a team.

use crate::{
    flux::Flux,
    repository::{BRANCH, Repository},
    setting::Gitops,
    steps::Steps,
};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use serverprotection_tests::{
    Error,
    objects::{Objects, condition},
    team::{Team, merge},
    wait::eventually,
};
use std::time::{SystemTime, UNIX_EPOCH};

/// The annotation with which `flux reconcile` and the webhook receiver request a reconcile.
const REQUEST: &str = "reconcile.fluxcd.io/requestedAt";

/// A namespace, its repository, and the Flux objects that follow it.
pub(crate) struct Followed<'g> {
    pub(crate) team: Team<'g>,
    pub(crate) repository: Repository,
    pub(crate) flux: &'g Flux,
    /// Its Kustomizations.
    pub(crate) kustomizations: Objects,
    sources: Objects,
}

impl<'g> Followed<'g> {
    /// A team whose repository is empty, and not followed yet.
    pub(crate) async fn team(gitops: &'g Gitops, name: &str) -> Result<Self, Error> {
        let flux = gitops.flux().await?;
        let (team, repository) = gitops.team(name).await?;
        let objects = |kind| Objects::new(gitops.environment.client.clone(), &team.namespace, kind);
        Ok(Self {
            kustomizations: objects(kind(
                "kustomize.toolkit.fluxcd.io",
                "Kustomization",
                "kustomizations",
            )),
            sources: objects(kind(
                "source.toolkit.fluxcd.io",
                "GitRepository",
                "gitrepositories",
            )),
            team,
            repository,
            flux,
        })
    }

    /// Lets Flux follow the repository with one Kustomization, `all`.
    pub(crate) async fn follow(&self) -> Result<(), Error> {
        self.follow_with(json!({})).await
    }

    /// The same, with another spec of the Kustomization.
    pub(crate) async fn follow_with(&self, spec: Value) -> Result<(), Error> {
        self.source().await?;
        let mut whole = self.published("protections", "./")?;
        let connectors = self.published("connectors", "./")?;
        let checks = |spec: &Value| {
            let checks = spec.get("healthCheckExprs").and_then(Value::as_array);
            checks.cloned().unwrap_or_default()
        };
        let all = [checks(&whole), checks(&connectors)].concat();
        merge(
            &mut whole,
            json!({"healthCheckExprs": all, "targetNamespace": self.team.namespace}),
        );
        merge(&mut whole, spec);
        self.kustomizations.apply("all", whole).await.map(drop)
    }

    /// The repository as a source of Flux.
    pub(crate) async fn source(&self) -> Result<(), Error> {
        let spec = json!({"url": self.repository.url, "ref": {"branch": BRANCH}, "interval": "1h"});
        self.sources.apply(&self.team.namespace, spec).await.map(drop)
    }

    /// The spec of a Kustomization of `deploy/gitops/flux` for this repository. It waits less long.
    pub(crate) fn published(&self, word: &str, path: &str) -> Result<Value, Error> {
        let published = self.flux.published(word)?;
        let mut spec = published.get("spec").cloned().unwrap_or_default();
        if let Some(fields) = spec.as_object_mut() {
            fields.remove("dependsOn");
        }
        let ours = json!({"sourceRef": {"name": self.team.namespace}, "path": path,
            "timeout": "30s", "retryInterval": "5s"});
        merge(&mut spec, ours);
        Ok(spec)
    }

    /// Writes a `ServerProtection` for the team's subscription into the repository.
    pub(crate) fn write_protection(&self, name: &str, spec: Value) -> Result<(), Error> {
        let spec = self.team.protection_spec(spec);
        let object = self.team.protections().object(name, &spec);
        self.repository.write(name, &object)
    }

    /// Writes a `SecurityConnector` for the team's account into the repository.
    pub(crate) fn write_connector(&self, name: &str, spec: Value) -> Result<(), Error> {
        let spec = self.team.connector_spec(spec);
        let object = self.team.connectors().object(name, &spec);
        self.repository.write(name, &object)
    }

    /// Commits, and lets Flux know as its webhook receiver does. The times of `steps` begin now.
    pub(crate) async fn push(&self, steps: &mut Steps, message: &str) -> Result<String, Error> {
        let commit = self.repository.commit(message).await?;
        steps.begin(&format!("commit: {message}"));
        self.sources
            .annotate(&self.team.namespace, REQUEST, &now())
            .await?;
        Ok(commit)
    }

    /// Whether the Kustomization `all` says this about a commit.
    pub(crate) async fn says(&self, commit: &str, status: &str, reason: &str) -> Result<Value, String> {
        let object = self.kustomizations.get("all").await;
        let object = object.map_err(|error| error.to_string())?;
        says(&object, commit, status, reason)
    }

    /// Waits until the Kustomization has applied a commit and all its objects are Ready.
    pub(crate) async fn ready(&self, steps: &mut Steps, commit: &str) -> Result<Value, Error> {
        let attempt = || self.says(commit, "True", "ReconciliationSucceeded");
        steps.until("the Kustomization is Ready", attempt).await
    }

    /// Reconciles the Kustomization as `flux reconcile` does, and waits for the end.
    pub(crate) async fn reconcile(&self) -> Result<Value, Error> {
        let request = now();
        self.kustomizations.annotate("all", REQUEST, &request).await?;
        eventually("a reconcile of the Kustomization", crate::TIMEOUT, || async {
            let object = self.kustomizations.get("all").await;
            let object = object.map_err(|error| error.to_string())?;
            let handled = object.pointer("/status/lastHandledReconcileAt") == Some(&json!(request));
            let ended = condition(&object, "Reconciling").is_none();
            if handled && ended {
                return Ok(object);
            }
            Err(object.get("status").map(Value::to_string).unwrap_or_default())
        })
        .await
    }

    /// Reconciles the `ServerProtection` as `flux reconcile` would, and waits for the end.
    pub(crate) async fn request(&self, name: &str) -> Result<Value, Error> {
        let request = now();
        self.team.annotate(name, REQUEST, &request).await?;
        let handled =
            |object: &Value| object.pointer("/status/lastHandledReconcileAt") == Some(&json!(request));
        self.team
            .until_holds(name, "the reconcile", crate::TIMEOUT, handled)
            .await
    }
}

/// Whether a Kustomization says this about a commit.
pub(crate) fn says(object: &Value, commit: &str, status: &str, reason: &str) -> Result<Value, String> {
    let attempted = object.pointer("/status/lastAttemptedRevision");
    let attempted = attempted.and_then(Value::as_str).unwrap_or_default();
    let current = object.pointer("/metadata/generation") == object.pointer("/status/observedGeneration");
    let is = |name: &str, value: &str| {
        condition(object, "Ready").is_some_and(|ready| ready.get(name) == Some(&json!(value)))
    };
    if current && attempted.ends_with(commit) && is("status", status) && is("reason", reason) {
        return Ok(object.clone());
    }
    Err(object.get("status").map(Value::to_string).unwrap_or_default())
}

/// The message of the condition Ready.
pub(crate) fn message(object: &Value) -> &str {
    let ready = condition(object, "Ready");
    let message = ready.and_then(|ready| ready.get("message"));
    message.and_then(Value::as_str).unwrap_or_default()
}

fn kind(group: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural)
}

/// A value that is new in each request.
fn now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_nanos().to_string()
}
