//! An Azure identity of the platform for a test case: a ClusterAzureCredential, whose Secret is in the namespace of the
//! controller.

use crate::{
    emulator::TENANT,
    env::Environment,
    error::Error,
    objects::{Objects, as_user},
    recorder::cluster_credential_resource,
    users::CONTROLLER_NAMESPACE,
};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// A ClusterAzureCredential that no other case uses.
#[derive(Clone)]
pub struct Platform<'a> {
    environment: &'a Environment,
    /// Name of the ClusterAzureCredential, and of its Secret.
    pub name: String,
    /// Its Azure application.
    pub client_id: String,
}

impl<'a> Platform<'a> {
    /// Creates an application, its Secret, and a ClusterAzureCredential without grants.
    pub async fn create(environment: &'a Environment, name: &str) -> Result<Self, Error> {
        let short = Uuid::new_v4().simple().to_string();
        let platform = Self {
            environment,
            name: format!("{name}-{}", short.get(..8).unwrap_or(&short)),
            client_id: Uuid::new_v4().to_string(),
        };
        let secret = format!("{}-secret", platform.name);
        let principal = json!({"clientId": platform.client_id, "tenantId": TENANT, "secrets": [secret]});
        environment
            .emulator
            .seed(json!({"principals": [principal]}))
            .await?;
        let secrets: Api<Secret> = Api::namespaced(environment.client.clone(), CONTROLLER_NAMESPACE);
        let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": platform.name},
            "stringData": {"client-secret": secret}});
        secrets
            .patch(&platform.name, &as_user().force(), &Patch::Apply(body))
            .await?;
        platform.grant(json!([])).await?;
        Ok(platform)
    }

    /// Applies the ClusterAzureCredential with these grants.
    pub async fn grant(&self, grants: Value) -> Result<(), Error> {
        let spec = json!({"tenantId": TENANT, "clientId": self.client_id, "type": "ClientSecret",
            "clientSecret": {"secretRef": {"name": self.name, "key": "client-secret"}}, "grants": grants});
        self.credentials().apply(&self.name, spec).await?;
        Ok(())
    }

    /// Deletes the ClusterAzureCredential and waits until it is gone.
    pub async fn delete(&self, limit: Duration) -> Result<(), Error> {
        self.credentials().delete(&self.name, limit).await
    }

    /// The objects.
    pub fn credentials(&self) -> Objects {
        Objects::of_cluster(self.environment.client.clone(), cluster_credential_resource())
    }

    /// A `credentialRef` that names it.
    pub fn reference(&self) -> Value {
        json!({"kind": "ClusterAzureCredential", "name": self.name})
    }

    /// A subscription on which it is Owner, as a part of a seed.
    pub fn owner(&self) -> Value {
        json!({"roleAssignments": {self.client_id.clone(): ["Owner"]}})
    }

    /// Sets (or with null removes) labels of a namespace.
    pub async fn label(&self, namespace: &str, labels: Value) -> Result<(), Error> {
        let namespaces: Api<Namespace> = Api::all(self.environment.client.clone());
        let patch = json!({"metadata": {"labels": labels}});
        let patch = Patch::Merge(patch);
        namespaces
            .patch(namespace, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }
}

/// The selector of a namespace by its name.
pub fn only(namespace: &str) -> Value {
    json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}})
}
