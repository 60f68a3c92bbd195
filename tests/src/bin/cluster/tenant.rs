//! A tenant of the cluster with an Azure application and a subscription of its own.

use crate::setting::Cluster;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use serverprotection_tests::{
    Error,
    emulator::TENANT,
    objects::Objects,
    recorder::{cluster_credential_resource, credential_resource, resource},
    team::{CREDENTIAL, FIELD_MANAGER, merge},
};
use uuid::Uuid;

/// The tenant.
pub(crate) struct Tenant<'c> {
    pub(crate) cluster: &'c Cluster,
    pub(crate) namespace: String,
    /// Its application.
    pub(crate) client_id: String,
    /// Its subscription, Free and unprotected.
    pub(crate) subscription: String,
}

impl<'c> Tenant<'c> {
    /// Creates namespace, application and subscription. The application has no credential yet.
    pub(crate) async fn create(cluster: &'c Cluster, name: &str) -> Result<Self, Error> {
        let short = Uuid::new_v4().simple().to_string();
        let tenant = Self {
            cluster,
            namespace: format!("{name}-{}", short.get(..8).unwrap_or(&short)),
            client_id: Uuid::new_v4().to_string(),
            subscription: Uuid::new_v4().to_string(),
        };
        let principal = json!({"clientId": tenant.client_id, "tenantId": TENANT});
        let subscription = json!({"subscriptionId": tenant.subscription, "tenantId": TENANT,
            "displayName": tenant.namespace, "roleAssignments": {tenant.client_id.clone(): ["Owner"]}});
        let seed = json!({"principals": [principal], "subscriptions": [subscription]});
        cluster.emulator.seed(seed).await?;
        let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": tenant.namespace}});
        namespaces
            .patch(&tenant.namespace, &as_user(), &Patch::Apply(namespace))
            .await?;
        Ok(tenant)
    }

    /// Creates a service account of the namespace.
    pub(crate) async fn service_account(&self, name: &str) -> Result<(), Error> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.cluster.client.clone(), &self.namespace);
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name},
            "automountServiceAccountToken": false});
        accounts.patch(name, &as_user(), &Patch::Apply(account)).await?;
        Ok(())
    }

    /// Applies the `AzureCredential` `platform`; `proof` has its type.
    pub(crate) async fn credential(&self, proof: Value) -> Result<(), Error> {
        let mut spec = json!({"tenantId": TENANT, "clientId": self.client_id});
        merge(&mut spec, proof);
        let credentials = Objects::new(
            self.cluster.client.clone(),
            &self.namespace,
            credential_resource(),
        );
        credentials.apply(CREDENTIAL, spec).await.map(drop)
    }

    /// Number of requests of the subscription that are no GET.
    pub(crate) async fn writes(&self) -> Result<usize, Error> {
        let requests = self.cluster.emulator.requests(&self.subscription).await?;
        Ok(requests
            .iter()
            .filter(|request| request.get("method").is_some_and(|method| method != "GET"))
            .count())
    }

    /// Applies a `ClusterAzureCredential` for the namespace: the managed identity of the machine.
    pub(crate) async fn cluster_credential(&self) -> Result<(), Error> {
        let client = self.cluster.client.clone();
        let credentials = Objects::of_cluster(client, cluster_credential_resource());
        let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": self.namespace}});
        let grants = json!([{"namespaceSelector": selector, "subscriptions": [self.subscription]}]);
        let spec = json!({"tenantId": TENANT, "clientId": self.client_id, "type": "ManagedIdentity", "grants": grants});
        credentials.apply(&self.namespace, spec).await.map(drop)
    }

    /// What a `ServerProtection` has to use it.
    pub(crate) fn cluster_reference(&self) -> Value {
        json!({"credentialRef": {"kind": "ClusterAzureCredential", "name": self.namespace}})
    }

    /// Makes the application a managed identity of the machine.
    pub(crate) async fn assign_to_machine(&self) -> Result<(), Error> {
        let change = json!({"managedIdentity": "userAssigned"});
        self.cluster
            .emulator
            .principal(&self.client_id, change)
            .await
            .map(drop)
    }

    /// The `ServerProtections` of the namespace.
    pub(crate) fn protections(&self) -> Objects {
        Self::protections_of(self.cluster, &self.namespace)
    }

    /// The `ServerProtections` of a namespace.
    pub(crate) fn protections_of(cluster: &Cluster, namespace: &str) -> Objects {
        Objects::new(cluster.client.clone(), namespace, resource())
    }

    /// Applies a ServerProtection with plan P2 for the subscription.
    pub(crate) async fn protect(&self, name: &str, more: Value) -> Result<(), Error> {
        let mut spec = json!({"subscriptionId": self.subscription, "plan": {"tier": "P2"},
            "credentialRef": {"kind": "AzureCredential", "name": CREDENTIAL}});
        merge(&mut spec, more);
        self.protections().apply(name, spec).await.map(drop)
    }
}

fn as_user() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER)
}
