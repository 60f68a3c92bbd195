//! An Application like the published one, for a repository and a namespace.

use super::{ArgoCd, NAMESPACE, published, text};
use crate::{
    repository::{BRANCH, Repository},
    steps::ensure,
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};
use serverprotection_tests::{
    Error,
    team::{FIELD_MANAGER, merge},
    wait::eventually,
};

/// Asks for a comparison at once, as the button "Refresh" does.
const REFRESH: &str = "argocd.argoproj.io/refresh";

/// An Application in the cluster.
pub(crate) struct Application {
    pub(crate) name: String,
    api: Api<DynamicObject>,
}

impl Application {
    /// Creates the published Application for a repository and the namespace of the same name. `more` replaces parts of it.
    pub(crate) async fn create(
        argo: &ArgoCd,
        repository: &Repository,
        namespace: &str,
        more: Value,
    ) -> Result<Self, Error> {
        let mut changes = json!({
            "metadata": {"name": namespace},
            "spec": {
                "source": {"repoURL": repository.url, "targetRevision": BRANCH, "path": "."},
                "destination": {"namespace": namespace},
            },
        });
        merge(&mut changes, more);
        let file = published("example/application.yaml");
        let changes = changes.to_string();
        // kubectl reads the YAML.
        let arguments = [
            "patch",
            "--local",
            "-f",
            &file,
            "--type=merge",
            "-p",
            &changes,
            "-o",
            "json",
        ];
        let object: Value = serde_json::from_str(&argo.kubectl.run(&arguments).await?)?;
        let name = text(&object, "/metadata/name").to_owned();
        let api = applications(&argo.client);
        api.patch(&name, &PatchParams::apply(FIELD_MANAGER), &Patch::Apply(object))
            .await?;
        Ok(Self { name, api })
    }

    /// Commits the working copy, and tells Argo CD, as a webhook does. Returns the id of the commit.
    pub(crate) async fn commit(&self, repository: &Repository, message: &str) -> Result<String, Error> {
        let revision = repository.commit(message).await?;
        self.refresh().await?;
        Ok(revision)
    }

    /// Requests a comparison.
    pub(crate) async fn refresh(&self) -> Result<(), Error> {
        let request = json!({"metadata": {"annotations": {REFRESH: "normal"}}});
        self.patch(request).await
    }

    /// Requests a comparison, and waits for its end.
    pub(crate) async fn refreshed(&self) -> Result<Value, Error> {
        self.refresh().await?;
        let pointer = format!("/metadata/annotations/{}", REFRESH.replace('/', "~1"));
        self.until("a refresh", |object| object.pointer(&pointer).is_none())
            .await
    }

    pub(crate) async fn patch(&self, patch: Value) -> Result<(), Error> {
        self.api
            .patch(&self.name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    pub(crate) async fn get(&self) -> Result<Value, Error> {
        Ok(serde_json::to_value(self.api.get(&self.name).await?)?)
    }

    /// Waits until it holds. The error shows the status.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value, Error> {
        let what = format!("{what} of the Application {}", self.name);
        eventually(&what, crate::TIMEOUT, || async {
            let object = self.get().await.map_err(|error| error.to_string())?;
            if holds(&object) {
                Ok(object)
            } else {
                Err(summary(&object))
            }
        })
        .await
    }

    /// Waits until the objects are as in this commit, and all Healthy.
    pub(crate) async fn until_healthy(&self, revision: &str) -> Result<Value, Error> {
        self.until("Synced and Healthy", |object| {
            is_synced(object, revision) && health(object) == "Healthy"
        })
        .await
    }

    /// Waits for a health, whatever the other state is.
    pub(crate) async fn until_health(&self, expected: &str) -> Result<Value, Error> {
        self.until(expected, |object| health(object) == expected).await
    }

    /// Fails unless the objects are as in git.
    pub(crate) async fn is_synced(&self) -> Result<(), Error> {
        let object = self.get().await?;
        ensure(sync(&object) == "Synced", || {
            format!("not Synced: {}", summary(&object))
        })
    }

    /// Removes the Application, and leaves its objects.
    pub(crate) async fn forget(&self) -> Result<(), Error> {
        self.api.delete(&self.name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Removes the Application with its objects, and waits until they are gone.
    pub(crate) async fn delete(&self) -> Result<(), Error> {
        let cascade = json!({"metadata": {"finalizers": ["resources-finalizer.argocd.argoproj.io"]}});
        self.patch(cascade).await?;
        self.api.delete(&self.name, &DeleteParams::default()).await?;
        eventually("the end of the Application", crate::TIMEOUT, || async {
            match self.api.get_opt(&self.name).await {
                Ok(None) => Ok(()),
                Ok(Some(left)) => Err(format!("{:?}", left.data.get("status"))),
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }
}

pub(crate) fn sync(application: &Value) -> &str {
    text(application, "/status/sync/status")
}

pub(crate) fn health(application: &Value) -> &str {
    text(application, "/status/health/status")
}

/// Whether the objects are as in this commit.
pub(crate) fn is_synced(application: &Value, revision: &str) -> bool {
    sync(application) == "Synced" && text(application, "/status/sync/revision") == revision
}

/// Health and message of one object in an Application.
pub(crate) fn object_health<'v>(application: &'v Value, kind: &str, name: &str) -> (&'v str, &'v str) {
    let all = application.pointer("/status/resources").and_then(Value::as_array);
    let found = all
        .into_iter()
        .flatten()
        .find(|object| text(object, "/kind") == kind && text(object, "/name") == name);
    let of = |pointer| found.map(|object| text(object, pointer)).unwrap_or_default();
    (of("/health/status"), of("/health/message"))
}

/// The messages of the conditions of an Application.
pub(crate) fn conditions(application: &Value) -> String {
    let all = application
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let lines = all
        .into_iter()
        .flatten()
        .map(|condition| format!("{}: {}", text(condition, "/type"), text(condition, "/message")));
    lines.collect::<Vec<_>>().join("\n")
}

/// What the sync operation says.
pub(crate) fn operation(application: &Value) -> (&str, &str) {
    (
        text(application, "/status/operationState/phase"),
        text(application, "/status/operationState/message"),
    )
}

/// Fails if another sync began between these two states of an Application.
pub(crate) fn same_sync(before: &Value, after: &Value) -> Result<(), Error> {
    let started = "/status/operationState/startedAt";
    ensure(before.pointer(started) == after.pointer(started), || {
        "it synced again".into()
    })
}

fn summary(application: &Value) -> String {
    let (phase, message) = operation(application);
    let resources = application.pointer("/status/resources").unwrap_or(&Value::Null);
    let resources: String = resources.to_string().chars().take(1500).collect();
    format!(
        "{}, {}, operation {phase}: {message}\n{}\n{resources}",
        sync(application),
        health(application),
        conditions(application)
    )
}

fn applications(client: &Client) -> Api<DynamicObject> {
    api(client, "Application")
}

/// The projects.
pub(crate) fn projects(client: &Client) -> Api<DynamicObject> {
    api(client, "AppProject")
}

fn api(client: &Client, kind: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("argoproj.io", "v1alpha1", kind);
    Api::namespaced_with(client.clone(), NAMESPACE, &ApiResource::from_gvk(&kind))
}
