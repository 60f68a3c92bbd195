//! Records every version of every object of our kinds that has a status, so that a test can check the way to the end
//! state too.

use crate::error::Error;
use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt,
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::Value;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, task::JoinHandle};

/// One version of an object as the API server delivered it.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact about the version")]
pub struct Version {
    /// Kind.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid. An object that was deleted and created again is another object.
    pub uid: String,
    /// Resource version.
    pub resource_version: String,
    /// Generation of the spec.
    pub generation: i64,
    /// `spec.suspend`.
    pub suspended: bool,
    /// Finalizers.
    pub finalizers: Vec<String>,
    /// Whether deletion was requested.
    pub deleting: bool,
    /// Whether the object is gone; this is its last version.
    pub deleted: bool,
    /// The status; `Null` if there is none.
    pub status: Value,
    /// When the recorder received it.
    pub at: Timestamp,
    /// Whether the watch was interrupted before: versions between this one and the previous one may be missing.
    pub after_gap: bool,
}

impl Version {
    /// A condition by its type.
    pub fn condition(&self, kind: &str) -> Option<&Value> {
        self.status
            .get("conditions")?
            .as_array()?
            .iter()
            .find(|c| c.get("type").is_some_and(|t| t == kind))
    }

    /// Status (`True`, `False` or `Unknown`) of a condition, if it exists.
    pub fn condition_status(&self, kind: &str) -> Option<&str> {
        self.condition(kind)?.get("status")?.as_str()
    }
}

/// A running recorder. It stops on drop.
#[derive(Debug)]
pub struct Recorder {
    versions: Arc<Mutex<Vec<Version>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Recorder {
    /// Watches all namespaces, and returns when the watches are open, so that no later version is missed.
    pub async fn start(client: Client) -> Result<Self, Error> {
        let versions: Arc<Mutex<Vec<Version>>> = Arc::default();
        let mut recorder = Self {
            versions: versions.clone(),
            tasks: Vec::new(),
        };
        let kinds = [
            resource(),
            connector_resource(),
            credential_resource(),
            cluster_credential_resource(),
        ];
        for kind in kinds {
            let open = Arc::new(Notify::new());
            let api = Api::all_with(client.clone(), &kind);
            let name = kind.kind.clone();
            recorder.tasks.push(tokio::spawn(record(
                api,
                kind.kind,
                versions.clone(),
                open.clone(),
            )));
            tokio::time::timeout(Duration::from_secs(20), open.notified())
                .await
                .map_err(|_| Error::Other(format!("{name} objects cannot be watched (CRDs installed?)")))?;
        }
        Ok(recorder)
    }

    /// All versions so far, in the order of arrival.
    pub fn all(&self) -> Vec<Version> {
        lock(&self.versions).clone()
    }

    /// The versions of each `ServerProtection` of a namespace.
    pub fn of_namespace(&self, namespace: &str) -> Vec<Version> {
        self.select(|v| v.kind == "ServerProtection" && v.namespace == namespace)
    }

    /// The versions of one object.
    pub fn of(&self, kind: &str, namespace: &str, name: &str) -> Vec<Version> {
        self.select(|v| v.kind == kind && v.namespace == namespace && v.name == name)
    }

    fn select(&self, expected: impl Fn(&Version) -> bool) -> Vec<Version> {
        let versions = lock(&self.versions);
        versions
            .iter()
            .filter(|version| expected(version))
            .cloned()
            .collect()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// `ServerProtection` without its Rust type, so that a status which the type cannot parse is recorded too.
pub fn resource() -> ApiResource {
    ours("ServerProtection", "serverprotections")
}

/// `SecurityConnector`, likewise.
pub fn connector_resource() -> ApiResource {
    ours("SecurityConnector", "securityconnectors")
}

/// `AzureCredential`, likewise.
pub fn credential_resource() -> ApiResource {
    ours("AzureCredential", "azurecredentials")
}

/// `ClusterAzureCredential`, likewise.
pub fn cluster_credential_resource() -> ApiResource {
    ours("ClusterAzureCredential", "clusterazurecredentials")
}

fn ours(kind: &str, plural: &str) -> ApiResource {
    let kind = GroupVersionKind::gvk("serverprotection.dev", "v1alpha1", kind);
    ApiResource::from_gvk_with_plural(&kind, plural)
}

fn lock(versions: &Mutex<Vec<Version>>) -> MutexGuard<'_, Vec<Version>> {
    versions.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn record(
    api: Api<DynamicObject>,
    kind: String,
    versions: Arc<Mutex<Vec<Version>>>,
    open: Arc<Notify>,
) {
    // The default semantics: the list is the current state, followed by every change.
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::InitApply(object)) => push(&versions, &kind, &object, false, true),
            Ok(watcher::Event::Apply(object)) => push(&versions, &kind, &object, false, false),
            Ok(watcher::Event::Delete(object)) => push(&versions, &kind, &object, true, false),
            Ok(watcher::Event::InitDone) => open.notify_one(),
            Ok(watcher::Event::Init) | Err(_) => {}
        }
    }
}

fn push(versions: &Mutex<Vec<Version>>, kind: &str, object: &DynamicObject, deleted: bool, listed: bool) {
    let version = Version {
        kind: kind.to_owned(),
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        resource_version: object.resource_version().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        suspended: object.data.pointer("/spec/suspend") == Some(&Value::Bool(true)),
        finalizers: object.finalizers().to_vec(),
        deleting: object.metadata.deletion_timestamp.is_some(),
        deleted,
        status: object.data.get("status").cloned().unwrap_or_default(),
        at: Timestamp::now(),
        after_gap: listed,
    };
    let mut versions = lock(versions);
    let known = listed
        && versions
            .iter()
            .rev()
            .any(|v| v.uid == version.uid && v.resource_version == version.resource_version);
    if !known {
        versions.push(version);
    }
}
