//! A tenant of the cluster for a test case: a namespace, an Azure application and a subscription.

pub use crate::objects::condition;
use crate::{
    emulator::TENANT,
    env::Environment,
    error::Error,
    grants,
    objects::{Objects, as_user},
    recorder::{Version, connector_resource, credential_resource, resource},
    wait::eventually,
};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{Api, api::Patch, core::DynamicObject};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// The field manager of what a team applies.
pub const FIELD_MANAGER: &str = "a-user";
/// Name of the team's AzureCredential.
pub const CREDENTIAL: &str = "platform";
/// Name of the Secret of the credential. Its key is `client-secret`.
pub const SECRET: &str = "platform-azure";

/// A namespace with everything that a ServerProtection needs. No other case uses any of it.
#[derive(Clone)]
pub struct Team<'a> {
    /// Its environment.
    pub environment: &'a Environment,
    /// Its namespace, which is also the prefix of other names.
    pub namespace: String,
    /// Its Azure application. No other team is affected if its credential is refused or throttled.
    pub client_id: String,
    /// Its subscription, Free and unprotected unless seeded otherwise.
    pub subscription: String,
    /// An AWS account id or GCP project number that no other case uses.
    pub account: String,
}

impl<'a> Team<'a> {
    pub(crate) async fn create(
        environment: &'a Environment,
        name: &str,
        subscription: Value,
    ) -> Result<Self, Error> {
        let short = Uuid::new_v4().simple().to_string();
        let namespace = format!("{name}-{}", short.get(..8).unwrap_or(&short));
        let client_id = Uuid::new_v4().to_string();
        let account = format!("{:012}", Uuid::new_v4().as_u128() % 1_000_000_000_000);
        let mut team = Self {
            environment,
            namespace,
            client_id,
            subscription: String::new(),
            account,
        };
        let principal = json!({"clientId": team.client_id, "tenantId": TENANT,
            "secrets": [format!("{}-secret", team.namespace)]});
        environment
            .emulator
            .seed(json!({"principals": [principal]}))
            .await?;
        team.subscription = team.another_subscription(subscription).await?;
        team.create_namespace().await?;
        team.set_secret(&format!("{}-secret", team.namespace)).await?;
        team.apply_client_secret().await?;
        Ok(team)
    }

    /// Creates another subscription that the team's application owns. Returns its id.
    pub async fn another_subscription(&self, more: Value) -> Result<String, Error> {
        let id = Uuid::new_v4().to_string();
        let mut seed = json!({"subscriptionId": id, "tenantId": TENANT,
            "displayName": format!("Subscription of {}", self.namespace),
            "roleAssignments": {self.client_id.clone(): ["Owner"]}});
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
        grants::secrets(&self.environment.client, &self.namespace).await
    }

    /// Sets the client secret in the cluster. To change it in Entra, use [`crate::emulator::Emulator::principal`].
    pub async fn set_secret(&self, secret: &str) -> Result<(), Error> {
        let api: Api<Secret> = Api::namespaced(self.environment.client.clone(), &self.namespace);
        let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET},
            "stringData": {"client-secret": secret}});
        api.patch(SECRET, &as_user().force(), &Patch::Apply(body)).await?;
        Ok(())
    }

    /// Applies the team's AzureCredential with another type of authentication.
    pub async fn apply_credential(&self, mut proof: Value) -> Result<(), Error> {
        merge(
            &mut proof,
            json!({"tenantId": TENANT, "clientId": self.client_id}),
        );
        self.credentials().apply(CREDENTIAL, proof).await.map(drop)
    }

    /// Applies the team's AzureCredential with its client secret.
    pub async fn apply_client_secret(&self) -> Result<(), Error> {
        let secret = json!({"secretRef": {"name": SECRET, "key": "client-secret"}});
        self.apply_credential(json!({"type": "ClientSecret", "clientSecret": secret}))
            .await
    }

    /// Recreates the AzureCredential with another client secret. The controller tries each credential at once, and what
    /// it got with the former secret stays valid.
    pub async fn recreate_credential(&self, secret: &str) -> Result<(), Error> {
        self.credentials()
            .delete(CREDENTIAL, Duration::from_secs(40))
            .await?;
        self.set_secret(secret).await?;
        self.apply_client_secret().await
    }

    /// The team's AzureCredential objects.
    pub fn credentials(&self) -> Objects {
        let client = self.environment.client.clone();
        Objects::new(client, &self.namespace, credential_resource())
    }

    /// The team's ServerProtection objects.
    pub fn protections(&self) -> Objects {
        Objects::new(self.environment.client.clone(), &self.namespace, resource())
    }

    /// The team's SecurityConnector objects.
    pub fn connectors(&self) -> Objects {
        let client = self.environment.client.clone();
        Objects::new(client, &self.namespace, connector_resource())
    }

    /// The client of the team's ServerProtection objects, for all other operations.
    pub fn api(&self) -> Api<DynamicObject> {
        self.protections().api
    }

    /// Applies a ServerProtection for the team's subscription and credential. `spec` adds fields and may replace both.
    pub async fn protect(&self, name: &str, spec: Value) -> Result<Value, Error> {
        self.protections().apply(name, self.protection_spec(spec)).await
    }

    /// The spec that [`Self::protect`] applies.
    pub fn protection_spec(&self, spec: Value) -> Value {
        let mut whole = json!({"subscriptionId": self.subscription,
            "credentialRef": {"kind": "AzureCredential", "name": CREDENTIAL}});
        merge(&mut whole, spec);
        whole
    }

    /// Applies a SecurityConnector for the team's AWS account and the ServerProtection `prod`. `spec` adds fields and
    /// may replace all of them.
    pub async fn connect(&self, name: &str, spec: Value) -> Result<Value, Error> {
        self.connectors().apply(name, self.connector_spec(spec)).await
    }

    /// The spec that [`Self::connect`] applies.
    pub fn connector_spec(&self, spec: Value) -> Value {
        let mut whole = json!({"protectionRef": {"name": "prod"}, "resourceGroup": "rg-connectors",
            "createResourceGroup": true, "location": "westeurope"});
        if spec.get("gcp").is_none() {
            merge(
                &mut whole,
                json!({"type": "AWS", "aws": {"accountId": self.account}}),
            );
        }
        merge(&mut whole, spec);
        whole
    }

    /// Applies a JSON merge patch to a ServerProtection, such as `{"spec": {"suspend": true}}`.
    pub async fn patch(&self, name: &str, patch: Value) -> Result<Value, Error> {
        self.protections().patch(name, patch).await
    }

    /// Sets an annotation of a ServerProtection.
    pub async fn annotate(&self, name: &str, key: &str, value: &str) -> Result<Value, Error> {
        self.protections().annotate(name, key, value).await
    }

    /// Requests a reconcile of a ServerProtection now. Returns the value that `status.lastHandledRequest` will
    /// have.
    pub async fn request(&self, name: &str) -> Result<String, Error> {
        self.protections().request(name).await
    }

    /// A ServerProtection as JSON.
    pub async fn get(&self, name: &str) -> Result<Value, Error> {
        self.protections().get(name).await
    }

    /// Deletes a ServerProtection and waits until it is gone.
    pub async fn delete(&self, name: &str, limit: Duration) -> Result<(), Error> {
        self.protections().delete(name, limit).await
    }

    /// Waits until a condition of a ServerProtection has a status for the current generation.
    pub async fn until(
        &self,
        name: &str,
        condition: &str,
        status: &str,
        limit: Duration,
    ) -> Result<Value, Error> {
        self.protections().until(name, condition, status, limit).await
    }

    /// Waits until `holds` returns `true` for a ServerProtection.
    pub async fn until_holds(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<Value, Error> {
        self.protections().until_holds(name, what, limit, holds).await
    }

    /// Waits for the first scan of the machines. It ends shortly after Ready and refreshes the status.
    pub async fn scanned(&self, name: &str, limit: Duration) -> Result<Value, Error> {
        let what = format!("the first scan of {}/{name}", self.namespace);
        self.until_holds(name, &what, limit, |object| {
            self::condition(object, "MachinesProtected")
                .is_some_and(|found| found.get("reason").is_some_and(|reason| reason != "NotObserved"))
        })
        .await
    }

    /// The events of the namespace, as kubectl prints them.
    pub async fn events(&self) -> Result<String, Error> {
        let arguments = ["get", "events", "-n", &self.namespace];
        self.environment.plane.kubectl(&arguments).await
    }

    /// Waits for events with all these reasons. They follow the status write.
    pub async fn until_events(&self, reasons: &[&str], limit: Duration) -> Result<(), Error> {
        eventually(&format!("the events {}", reasons.join(", ")), limit, || async {
            let events = self.events().await.map_err(|error| error.to_string())?;
            let all = reasons.iter().all(|reason| events.contains(reason));
            all.then_some(()).ok_or(events)
        })
        .await
    }

    /// The recorded versions of the team's objects.
    pub fn history(&self) -> Vec<Version> {
        self.environment.recorder.of_namespace(&self.namespace)
    }
}

/// Merges `more` into `base`. Objects are merged, other values are replaced.
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
