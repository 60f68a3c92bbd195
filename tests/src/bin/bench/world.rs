//! What exists before the controller starts: subscriptions, applications, namespaces, credentials, objects.

use crate::{expected_writes, progress::Progress};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{Api, Client, core::DynamicObject};
use serde_json::{Map, Value, json};
use serverprotection_tests::{
    Error,
    emulator::{Emulator, TENANT},
    grants,
    objects::create,
    recorder::{connector_resource, credential_resource, resource},
    team::merge,
};
use std::{collections::HashMap, sync::atomic::Ordering};

/// Concurrent creates.
const AT_ONCE: usize = 32;
/// Name of each object that a namespace has once.
const PLATFORM: &str = "platform";

/// The numbers of a size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    pub(crate) objects: usize,
    pub(crate) namespaces: usize,
}

impl World {
    /// The subscription id of an object.
    pub(crate) fn subscription(number: usize) -> String {
        format!("00000000-0000-0000-0000-{:012x}", 0x1000 + number)
    }

    fn application(namespace: usize) -> String {
        format!("bbbbbbbb-0000-0000-0000-{namespace:012x}")
    }

    pub(crate) fn namespace(number: usize) -> String {
        format!("bench-{number:03}")
    }

    /// Free subscriptions: the first half as they are created today, the second half from before 2022 without the
    /// opt-ins for the unified solution and Linux.
    pub(crate) fn seed(self) -> Value {
        let legacy = self.objects / 2;
        let new = self.objects - legacy;
        let free = |count: usize, first: usize, profile: &str| {
            json!({"generate": generate(count, first), "integrationProfile": profile,
                "pricings": {"VirtualMachines": {"pricingTier": "Free"}}})
        };
        json!({"principals": self.principals(), "subscriptions": [free(new, 0, "new"), free(legacy, new, "legacy")]})
    }

    /// Subscriptions that are as the objects demand.
    pub(crate) fn seed_in_sync(self) -> Value {
        json!({
            "principals": self.separate_principals(),
            "subscriptions": [{
                "generate": generate(self.objects, 0),
                "pricings": {"VirtualMachines": {"pricingTier": "Standard", "subPlan": "P2",
                    "extensions": {"AgentlessVmScanning": {"isEnabled": "True"}}}},
                "settings": {"WDATP": true, "WDATP_UNIFIED_SOLUTION": true},
                "serverVulnerabilityAssessmentsSettings": {"azureServersSetting": "MdeTvm"},
            }],
        })
    }

    /// An application for each namespace, with rights on every subscription.
    fn principals(self) -> Vec<Value> {
        (0..self.namespaces)
            .map(|number| Self::principal(number, &json!({"*": ["Owner"]})))
            .collect()
    }

    /// An application for each namespace, with rights on the subscriptions of its objects. Each scan lists what the
    /// application may see: with thousands of namespaces' subscriptions, the emulator would do nothing else.
    fn separate_principals(self) -> Vec<Value> {
        let mut roles = vec![Map::new(); self.namespaces];
        for number in 0..self.objects {
            if let Some(roles) = roles.get_mut(number % self.namespaces) {
                roles.insert(Self::subscription(number), json!(["Owner"]));
            }
        }
        let roles = roles.into_iter().enumerate();
        roles
            .map(|(number, roles)| Self::principal(number, &Value::Object(roles)))
            .collect()
    }

    fn principal(number: usize, roles: &Value) -> Value {
        json!({"clientId": Self::application(number), "tenantId": TENANT, "secrets": ["bench-secret"],
            "roleAssignments": roles})
    }

    /// Subscriptions with plan P2 that share this number of machines, and one application that may read all of them.
    pub(crate) fn fleet_seed(self, seed: u64, machines: u64) -> Value {
        json!({
            "principals": self.principals(),
            "fleet": {"randomSeed": seed, "machineCount": machines, "subscriptionCount": self.objects,
                "firstSubscriptionId": Self::subscription(0), "displayNamePrefix": "Bench "},
        })
    }

    /// The writes that each subscription needs, from its current state.
    pub(crate) async fn needed(self, emulator: &Emulator) -> Result<HashMap<String, u64>, Error> {
        stream::iter(0..self.objects)
            .map(|number| async move {
                let id = Self::subscription(number);
                let state = emulator.get(&id).await?;
                Ok::<_, Error>((id, expected_writes::writes(&state)))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Creates namespaces, credentials and objects.
    pub(crate) async fn create(self, client: &Client, progress: &Progress) -> Result<(), Error> {
        let namespaces =
            stream::iter(0..self.namespaces).map(|number| Self::create_namespace(client, number));
        namespaces.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        stream::iter(0..self.objects)
            .map(|number| async move {
                let namespace = Self::namespace(number % self.namespaces);
                let mut spec = json!({"subscriptionId": Self::subscription(number),
                    "credentialRef": {"kind": "AzureCredential", "name": PLATFORM}});
                merge(&mut spec, expected_writes::spec());
                let body = json!({"apiVersion": "serverprotection.dev/v1alpha1", "kind": "ServerProtection",
                    "metadata": {"name": Self::protection(number)}, "spec": spec});
                let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource());
                create(&api, body).await?;
                progress.done.fetch_add(1, Ordering::Relaxed);
                Ok::<_, Error>(())
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Creates connectors of the first subscription, each with its own AWS account.
    pub(crate) async fn connect(
        client: &Client,
        connectors: usize,
        progress: &Progress,
    ) -> Result<(), Error> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), &Self::namespace(0), &connector_resource());
        stream::iter(0..connectors)
            .map(|number| {
                let api = api.clone();
                async move {
                    let body = json!({"apiVersion": "serverprotection.dev/v1alpha1", "kind": "SecurityConnector",
                        "metadata": {"name": format!("account-{number:05}")},
                        "spec": {"protectionRef": {"name": Self::protection(0)}, "resourceGroup": "rg-connectors",
                            "createResourceGroup": true, "location": "westeurope",
                            "type": "AWS", "aws": {"accountId": Self::account(number)}}});
                    create(&api, body).await?;
                    progress.done.fetch_add(1, Ordering::Relaxed);
                    Ok::<_, Error>(())
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// The AWS account of a connector.
    pub(crate) fn account(number: usize) -> String {
        format!("{:012}", 100_000_000_000 + number)
    }

    /// Name of an object.
    pub(crate) fn protection(number: usize) -> String {
        format!("subscription-{number:05}")
    }

    /// Creates a namespace with its credential.
    async fn create_namespace(client: &Client, number: usize) -> Result<(), Error> {
        let name = Self::namespace(number);
        let namespaces: Api<Namespace> = Api::all(client.clone());
        create(&namespaces, json!({"metadata": {"name": name}})).await?;
        grants::secrets(client, &name).await?;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &name);
        let secret = json!({"metadata": {"name": PLATFORM}, "stringData": {"client-secret": "bench-secret"}});
        create(&secrets, secret).await?;
        let credentials: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), &name, &credential_resource());
        let credential = json!({"apiVersion": "serverprotection.dev/v1alpha1", "kind": "AzureCredential",
            "metadata": {"name": PLATFORM},
            "spec": {"tenantId": TENANT, "clientId": Self::application(number), "type": "ClientSecret",
                "clientSecret": {"secretRef": {"name": PLATFORM, "key": "client-secret"}}}});
        create(&credentials, credential).await
    }
}

/// This many subscriptions, from this one on.
fn generate(count: usize, first: usize) -> Value {
    json!({"count": count, "firstSubscriptionId": World::subscription(first), "displayNamePrefix": "Bench "})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_covers_every_object() {
        let world = World {
            objects: 5,
            namespaces: 2,
        };
        let seed = world.seed();
        assert_eq!(seed["subscriptions"][0]["generate"]["count"], 3);
        assert_eq!(seed["subscriptions"][1]["generate"]["count"], 2);
        assert_eq!(
            seed["subscriptions"][1]["generate"]["firstSubscriptionId"],
            World::subscription(3)
        );
        assert_eq!(seed["principals"].as_array().unwrap().len(), 2);
        assert_eq!(world.seed_in_sync()["subscriptions"][0]["generate"]["count"], 5);
    }
}
