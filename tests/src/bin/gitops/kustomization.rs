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
    /// A team with an empty repository, which is a source of Flux. No Kustomization follows it yet.
    pub(crate) async fn team(gitops: &'g Gitops, name: &str) -> Result<Self, Error> {
        let flux = gitops.flux().await?;
        let (team, repository) = gitops.team(name).await?;
        let [kustomizations, sources] = flux_objects(gitops, &team.namespace);
        let source = json!({"url": repository.url, "ref": {"branch": BRANCH}, "interval": "1h"});
        sources.apply(&team.namespace, source).await?;
        Ok(Self {
            team,
            repository,
            flux,
            kustomizations,
            sources,
        })
    }

    /// Lets Flux follow the repository with one Kustomization, `all`.
    pub(crate) async fn follow(&self) -> Result<(), Error> {
        self.follow_with(self.spec()?).await
    }

    /// The same, with this spec of the Kustomization.
    pub(crate) async fn follow_with(&self, spec: Value) -> Result<(), Error> {
        self.kustomizations.apply("all", spec).await.map(drop)
    }

    /// The spec of the Kustomizations of `deploy/gitops/flux` for all kinds of objects. It waits less long.
    pub(crate) fn spec(&self) -> Result<Value, Error> {
        let checks = |published: &Value| {
            let checks = published.pointer("/spec/healthCheckExprs");
            checks.and_then(Value::as_array).cloned().unwrap_or_default()
        };
        let published = self.flux.published("protections")?;
        let connectors = self.flux.published("connectors")?;
        let mut spec = published.get("spec").cloned().unwrap_or_default();
        if let Some(fields) = spec.as_object_mut() {
            fields.remove("dependsOn");
        }
        let checks = [checks(&published), checks(&connectors)].concat();
        let ours = json!({"sourceRef": {"name": self.team.namespace}, "path": "./",
            "targetNamespace": self.team.namespace, "timeout": "30s", "retryInterval": "5s",
            "healthCheckExprs": checks});
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
    let ready = condition(object, "Ready").cloned().unwrap_or_default();
    // status.observedGeneration follows only a success.
    let current = object.pointer("/metadata/generation") == ready.get("observedGeneration");
    let is = |name: &str, value: &str| ready.get(name) == Some(&json!(value));
    if current && attempted.ends_with(commit) && is("status", status) && is("reason", reason) {
        return Ok(object.clone());
    }
    Err(object.get("status").map(Value::to_string).unwrap_or_default())
}

/// The message of the condition Ready of an object.
pub(crate) fn message(object: &Value) -> &str {
    let ready = condition(object, "Ready");
    let message = ready.and_then(|ready| ready.get("message"));
    message.and_then(Value::as_str).unwrap_or_default()
}

/// The Kustomizations and the sources of a namespace.
pub(crate) fn flux_objects(gitops: &Gitops, namespace: &str) -> [Objects; 2] {
    let objects = |kind| Objects::new(gitops.environment.client.clone(), namespace, kind);
    [
        objects(kind(
            "kustomize.toolkit.fluxcd.io",
            "Kustomization",
            "kustomizations",
        )),
        objects(kind(
            "source.toolkit.fluxcd.io",
            "GitRepository",
            "gitrepositories",
        )),
    ]
}

fn kind(group: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural)
}

/// A value that is new in each request.
fn now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_nanos().to_string()
}
