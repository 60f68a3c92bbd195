//! Objects of one kind in one namespace, with the operations of a user: apply, change, request a reconcile, wait,
//! delete.

use crate::{error::Error, team::FIELD_MANAGER, wait::eventually};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{
    fmt::Debug,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The objects of a kind in a namespace.
#[derive(Clone, Debug)]
pub struct Objects {
    /// The client, for all other operations.
    pub api: Api<DynamicObject>,
    kind: ApiResource,
    namespace: String,
}

impl Objects {
    /// The objects of this kind and namespace.
    pub fn new(client: Client, namespace: &str, kind: ApiResource) -> Self {
        Self {
            api: Api::namespaced_with(client, namespace, &kind),
            kind,
            namespace: namespace.to_owned(),
        }
    }

    /// The objects of this kind, which are in no namespace.
    pub fn of_cluster(client: Client, kind: ApiResource) -> Self {
        Self {
            api: Api::all_with(client, &kind),
            kind,
            namespace: String::new(),
        }
    }

    /// An object of the kind, as [`Self::apply`] sends it.
    pub fn object(&self, name: &str, spec: &Value) -> Value {
        json!({"apiVersion": self.kind.api_version, "kind": self.kind.kind,
            "metadata": {"name": name}, "spec": spec})
    }

    /// Applies an object.
    pub async fn apply(&self, name: &str, spec: Value) -> Result<Value, Error> {
        let body = self.object(name, &spec);
        plain(
            self.api
                .patch(name, &as_user().force(), &Patch::Apply(body))
                .await?,
        )
    }

    /// Applies a JSON merge patch to the object, such as `{"spec": {"suspend": true}}`.
    pub async fn patch(&self, name: &str, patch: Value) -> Result<Value, Error> {
        plain(self.api.patch(name, &as_user(), &Patch::Merge(patch)).await?)
    }

    /// Sets an annotation.
    pub async fn annotate(&self, name: &str, key: &str, value: &str) -> Result<Value, Error> {
        self.patch(name, json!({"metadata": {"annotations": {key: value}}}))
            .await
    }

    /// Requests a reconcile now. Returns the value that `status.lastHandledRequest` will have.
    pub async fn request(&self, name: &str) -> Result<String, Error> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos()
            .to_string();
        self.annotate(name, "serverprotection.dev/reconcile-requested-at", &now)
            .await?;
        Ok(now)
    }

    /// Requests a reconcile and waits for its end.
    pub async fn reconcile(&self, name: &str, limit: Duration) -> Result<Value, Error> {
        let request = self.request(name).await?;
        self.until_holds(name, "the reconcile", limit, |object| {
            object
                .pointer("/status/lastHandledRequest")
                .and_then(Value::as_str)
                == Some(&request)
        })
        .await
    }

    /// The object as JSON.
    pub async fn get(&self, name: &str) -> Result<Value, Error> {
        plain(self.api.get(name).await?)
    }

    /// Requests the deletion without waiting for it.
    pub async fn start_deletion(&self, name: &str) -> Result<(), Error> {
        self.api
            .delete(name, &DeleteParams::default())
            .await
            .map(drop)
            .map_err(Error::from)
    }

    /// Deletes the object and waits until it is gone.
    pub async fn delete(&self, name: &str, limit: Duration) -> Result<(), Error> {
        self.start_deletion(name).await?;
        self.until_gone(name, limit).await
    }

    /// Waits until the object is gone.
    pub async fn until_gone(&self, name: &str, limit: Duration) -> Result<(), Error> {
        let what = format!("the end of {}", self.of(name));
        eventually(&what, limit, || async {
            match self.api.get_opt(name).await {
                Ok(None) => Ok(()),
                Ok(Some(left)) => Err(format!(
                    "finalizers {:?}, status {}",
                    left.metadata.finalizers,
                    left.data.get("status").unwrap_or(&Value::Null)
                )),
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }

    /// Waits until a condition has a status (`True`, `False`, `Unknown`) for the current generation.
    pub async fn until(
        &self,
        name: &str,
        condition: &str,
        status: &str,
        limit: Duration,
    ) -> Result<Value, Error> {
        let what = format!("{condition}={status}");
        self.until_holds(name, &what, limit, |object| {
            let found = self::condition(object, condition);
            let current =
                object.pointer("/metadata/generation") == object.pointer("/status/observedGeneration");
            current && found.is_some_and(|c| c.get("status").is_some_and(|s| s == status))
        })
        .await
    }

    /// Waits until `holds` returns `true`. The error shows the status of the object.
    pub async fn until_holds(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<Value, Error> {
        let what = format!("{what} of {}", self.of(name));
        eventually(&what, limit, || async {
            let object = self.get(name).await.map_err(|e| e.to_string())?;
            if holds(&object) {
                return Ok(object);
            }
            let generation = object
                .pointer("/metadata/generation")
                .cloned()
                .unwrap_or_default();
            let status = object.get("status").cloned().unwrap_or_default();
            Err(format!("generation {generation}, status {status:#}"))
        })
        .await
    }

    fn of(&self, name: &str) -> String {
        format!("{} {}/{name}", self.kind.kind, self.namespace)
    }
}

/// Creates an object of a kind of Kubernetes from JSON.
pub async fn create<K>(api: &Api<K>, object: Value) -> Result<(), Error>
where
    K: Clone + Debug + DeserializeOwned + Serialize,
{
    let object: K = serde_json::from_value(object)?;
    api.create(&PostParams::default(), &object).await?;
    Ok(())
}

/// A condition of an object by its type.
pub fn condition<'v>(object: &'v Value, kind: &str) -> Option<&'v Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions
        .iter()
        .find(|c| c.get("type").is_some_and(|t| t == kind))
}

pub(crate) fn as_user() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PatchParams::default()
    }
}

fn plain(object: DynamicObject) -> Result<Value, Error> {
    Ok(serde_json::to_value(object)?)
}
