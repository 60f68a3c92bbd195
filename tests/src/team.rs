//! A tenant of the cluster, as cases use it: a namespace, an Azure application, a subscription.

use crate::{
    emulator::TENANT,
    env::Environment,
    error::Error,
    recorder::{Version, resource},
    wait::eventually,
};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// The field manager of what a team applies.
pub const FIELD_MANAGER: &str = "a-user";
/// Name of the team's AzureCredential.
pub const CREDENTIAL: &str = "platform";
/// Name of the Secret that the credential refers to; its key is `client-secret`.
pub const SECRET: &str = "platform-azure";

/// A namespace with everything that a ServerProtection needs, shared with no other case.
#[derive(Clone)]
pub struct Team<'a> {
    /// What it lives in.
    pub environment: &'a Environment,
    /// Its namespace, also the prefix of everything else.
    pub namespace: String,
    /// Its Azure application: a credential breaker that opens is this team's alone.
    pub client_id: String,
    /// Its subscription, Free and unprotected unless seeded otherwise.
    pub subscription: String,
}

impl<'a> Team<'a> {
    pub(crate) async fn found(
        environment: &'a Environment,
        name: &str,
        subscription: Value,
    ) -> Result<Self, Error> {
        let short = Uuid::new_v4().simple().to_string();
        let namespace = format!("{name}-{}", short.get(..8).unwrap_or(&short));
        let client_id = Uuid::new_v4().to_string();
        let mut team = Self {
            environment,
            namespace,
            client_id,
            subscription: String::new(),
        };
        let principal = json!({"clientId": team.client_id, "tenant": TENANT, "secrets": [format!("{}-secret", team.namespace)]});
        environment
            .emulator
            .seed(json!({"principals": [principal]}))
            .await?;
        team.subscription = team.another_subscription(subscription).await?;
        team.create_namespace().await?;
        team.set_secret(&format!("{}-secret", team.namespace)).await?;
        team.apply_credential(json!({
            "type": "ClientSecret",
            "clientSecret": {"secretRef": {"name": SECRET, "key": "client-secret"}},
        }))
        .await?;
        Ok(team)
    }

    /// One more subscription that the team's application owns; its id.
    pub async fn another_subscription(&self, more: Value) -> Result<String, Error> {
        let id = Uuid::new_v4().to_string();
        let mut seed = json!({"id": id, "tenant": TENANT, "displayName": format!("Subscription of {}", self.namespace),
            "roles": {self.client_id.clone(): ["Owner"]}});
        merge(&mut seed, more);
        self.environment
            .emulator
            .seed(json!({"subscriptions": [seed]}))
            .await?;
        Ok(id)
    }

    async fn create_namespace(&self) -> Result<(), Error> {
        let api: Api<Namespace> = Api::all(self.environment.client.clone());
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}});
        api.patch(&self.namespace, &as_user(), &Patch::Apply(namespace))
            .await?;
        Ok(())
    }

    /// Sets the client secret in the cluster (not at Entra: see [`crate::emulator::Emulator::principal`]).
    pub async fn set_secret(&self, secret: &str) -> Result<(), Error> {
        let api: Api<Secret> = Api::namespaced(self.environment.client.clone(), &self.namespace);
        let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET},
            "stringData": {"client-secret": secret}});
        api.patch(SECRET, &as_user().force(), &Patch::Apply(body)).await?;
        Ok(())
    }

    /// Applies the team's AzureCredential with another way to prove its identity.
    pub async fn apply_credential(&self, mut proof: Value) -> Result<(), Error> {
        merge(
            &mut proof,
            json!({"tenantId": TENANT, "clientId": self.client_id}),
        );
        let body = json!({"apiVersion": "serverprotection.dev/v1alpha1", "kind": "AzureCredential",
            "metadata": {"name": CREDENTIAL}, "spec": proof});
        let kind = GroupVersionKind::gvk("serverprotection.dev", "v1alpha1", "AzureCredential");
        let kind = ApiResource::from_gvk_with_plural(&kind, "azurecredentials");
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.environment.client.clone(), &self.namespace, &kind);
        api.patch(CREDENTIAL, &as_user().force(), &Patch::Apply(body))
            .await?;
        Ok(())
    }

    /// The team's ServerProtection objects.
    pub fn api(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.environment.client.clone(), &self.namespace, &resource())
    }

    /// Applies a ServerProtection for the team's subscription and credential; `spec` says the rest and may replace both.
    pub async fn protect(&self, name: &str, spec: Value) -> Result<Value, Error> {
        let mut whole = json!({"subscriptionId": self.subscription,
            "credentialRef": {"kind": "AzureCredential", "name": CREDENTIAL}});
        merge(&mut whole, spec);
        let body = json!({"apiVersion": "serverprotection.dev/v1alpha1", "kind": "ServerProtection",
            "metadata": {"name": name}, "spec": whole});
        plain(
            self.api()
                .patch(name, &as_user().force(), &Patch::Apply(body))
                .await?,
        )
    }

    /// A JSON merge patch of the object, such as `{"spec": {"suspend": true}}`.
    pub async fn patch(&self, name: &str, patch: Value) -> Result<Value, Error> {
        plain(self.api().patch(name, &as_user(), &Patch::Merge(patch)).await?)
    }

    /// Sets an annotation.
    pub async fn annotate(&self, name: &str, key: &str, value: &str) -> Result<Value, Error> {
        self.patch(name, json!({"metadata": {"annotations": {key: value}}}))
            .await
    }

    /// Asks for a visit now; returns the value that `status.lastHandledReconcileAt` will show.
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

    /// The object as JSON.
    pub async fn get(&self, name: &str) -> Result<Value, Error> {
        plain(self.api().get(name).await?)
    }

    /// Deletes the object and waits until it is gone.
    pub async fn delete(&self, name: &str, limit: Duration) -> Result<(), Error> {
        self.api().delete(name, &DeleteParams::default()).await?;
        eventually(
            &format!("the end of {}/{name}", self.namespace),
            limit,
            || async {
                match self.api().get_opt(name).await {
                    Ok(None) => Ok(()),
                    Ok(Some(left)) => Err(format!("finalizers {:?}", left.metadata.finalizers)),
                    Err(error) => Err(error.to_string()),
                }
            },
        )
        .await
    }

    /// Waits until a condition has a status (`True`, `False`, `Unknown`) for the present generation.
    pub async fn until(
        &self,
        name: &str,
        condition: &str,
        status: &str,
        limit: Duration,
    ) -> Result<Value, Error> {
        let what = format!("{condition}={status} of {}/{name}", self.namespace);
        self.until_holds(name, &what, limit, |object| {
            let found = self::condition(object, condition);
            let current =
                object.pointer("/metadata/generation") == object.pointer("/status/observedGeneration");
            current && found.is_some_and(|c| c.get("status").is_some_and(|s| s == status))
        })
        .await
    }

    /// Waits until the machines were scanned once: the first scan comes a moment after Ready, and is news.
    pub async fn scanned(&self, name: &str, limit: Duration) -> Result<Value, Error> {
        let what = format!("the first scan of {}/{name}", self.namespace);
        self.until_holds(name, &what, limit, |object| {
            self::condition(object, "MachinesProtected")
                .is_some_and(|found| found.get("reason").is_some_and(|reason| reason != "NotObserved"))
        })
        .await
    }

    /// Waits until the object is as `holds` wants it; the failure shows its status.
    pub async fn until_holds(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<Value, Error> {
        eventually(what, limit, || async {
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

    /// What the recorder saw of the team's objects.
    pub fn history(&self) -> Vec<Version> {
        self.environment.recorder.of_namespace(&self.namespace)
    }
}

/// A condition of an object by its type.
pub fn condition<'v>(object: &'v Value, kind: &str) -> Option<&'v Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions
        .iter()
        .find(|c| c.get("type").is_some_and(|t| t == kind))
}

/// Lays `more` over `base`: objects are merged, everything else is replaced.
pub fn merge(base: &mut Value, more: Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (key, value) in more {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (_, Value::Null) => {}
        (base, more) => *base = more,
    }
}

fn as_user() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PatchParams::default()
    }
}

fn plain(object: DynamicObject) -> Result<Value, Error> {
    Ok(serde_json::to_value(object)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_lays_one_over_the_other() {
        let mut base = json!({"a": {"b": 1, "c": [1]}, "d": 1});
        merge(&mut base, json!({"a": {"c": [2], "e": 3}, "d": null}));
        assert_eq!(base, json!({"a": {"b": 1, "c": [2], "e": 3}, "d": 1}));
    }
}
