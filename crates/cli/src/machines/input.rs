//! Subscriptions and credentials of the input.

use std::{borrow::Cow, collections::BTreeMap, path::PathBuf, sync::Arc};

use azure_core::credentials::Secret as AzureSecret;
use k8s_openapi::api::core::v1::Secret;
use serde_json::Value;
use serverprotection_api::{
    AzureCredential, AzureCredentialSpec, CredentialKind, CredentialType, Machines, ServerProtection,
};
use serverprotection_azure::{ClientCertificate, Identity};

use super::args;
use crate::{
    cluster::CLUSTER_CREDENTIAL,
    documents::{self, Object, Text, Texts},
    error::CliError,
    printable, unquoted,
};

/// Namespace and name; the namespace is empty if the object has none. That of a ClusterAzureCredential is its kind, which
/// no namespace can be called.
pub(crate) type Key = (String, String);

/// The objects of the input.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// In the order of the input, each subscription once.
    pub(crate) protections: Vec<Protection>,
    /// An identity for each credential, or why this command cannot use it.
    pub(crate) credentials: BTreeMap<Key, Result<Identity, String>>,
    /// Notes for the user about ignored objects.
    pub(crate) notes: Vec<String>,
}

/// A subscription of the input.
#[derive(Debug)]
pub(crate) struct Protection {
    /// GUID, lower case.
    pub(crate) subscription: String,
    pub(crate) machines: Machines,
    pub(crate) credential: Option<Key>,
}

#[derive(Default)]
struct Found {
    input: Input,
    credentials: BTreeMap<Key, AzureCredential>,
    secrets: BTreeMap<Key, Secret>,
    skipped: BTreeMap<String, usize>,
}

impl Input {
    /// Reads files, folders and standard input; `is_recursive` also reads the folders below.
    ///
    /// # Errors
    ///
    /// Fails if a path cannot be read, or as [`Input::parse`] does.
    pub(crate) fn read(paths: &[PathBuf], is_recursive: bool) -> Result<Self, CliError> {
        let texts = Texts::read(paths, is_recursive);
        if !texts.failures.is_empty() {
            return Err(CliError::all(texts.failures));
        }
        let mut input = Self::parse(&texts.read)?;
        input.notes.extend(texts.note());
        Ok(input)
    }

    /// Parses named texts.
    ///
    /// # Errors
    ///
    /// Fails if a text is not YAML, or if a ServerProtection, AzureCredential or Secret in it is not valid.
    pub(crate) fn parse(texts: &[Text]) -> Result<Self, CliError> {
        let mut found = Found::default();
        documents::for_each(texts, |object| found.add(object)).map_err(CliError::all)?;
        Ok(found.finish())
    }
}

impl Found {
    fn add(&mut self, object: Object) -> Result<(), CliError> {
        let ours = object.is_ours();
        unquoted::check(&object)?;
        let Object {
            version, kind, value, ..
        } = object;
        match kind.as_str() {
            "ServerProtection" if ours => self.add_protection(value),
            "AzureCredential" if ours => {
                let named = format!("AzureCredential {}", object_name(&value));
                let object: AzureCredential = serde_json::from_value(value)
                    .map_err(|error| CliError::new(format!("{named} is not valid")).because(error))?;
                self.credentials.insert(
                    key(object.metadata.namespace.as_ref(), object.metadata.name.as_ref()),
                    object,
                );
                Ok(())
            }
            "Secret" if version == "v1" => {
                let named = format!("Secret {}", object_name(&value));
                // The error of serde could quote the secret.
                let object: Secret = serde_json::from_value(value).map_err(|_| {
                    CliError::new(format!("{named} is not valid"))
                        .because("data must be base64, stringData must be text")
                })?;
                self.secrets.insert(
                    key(object.metadata.namespace.as_ref(), object.metadata.name.as_ref()),
                    object,
                );
                Ok(())
            }
            // Only files of a folder may have no kind, such as values of Helm.
            "" => Ok(()),
            _ => {
                *self.skipped.entry(kind).or_default() += 1;
                Ok(())
            }
        }
    }

    fn add_protection(&mut self, document: Value) -> Result<(), CliError> {
        let name = object_name(&document).into_owned();
        let invalid = |field: &str, error: String| {
            CliError::new(format!("ServerProtection {name}: {field}")).because(error)
        };
        let object: ServerProtection = serde_json::from_value(document)
            .map_err(|error| CliError::new(format!("ServerProtection {name} is not valid")).because(error))?;
        let spec = object.spec;
        let subscription = args::subscription(&spec.subscription_id)
            .map_err(|error| invalid("spec.subscriptionId", error))?;
        args::grace(&spec.machines.grace_period)
            .map_err(|error| invalid("spec.machines.gracePeriod", error))?;
        if !(1..=100).contains(&spec.machines.minimum_protected_percent) {
            return Err(invalid(
                "spec.machines.minimumProtectedPercent",
                "must be between 1 and 100".into(),
            ));
        }
        if self
            .input
            .protections
            .iter()
            .any(|known| known.subscription == subscription)
        {
            self.input.notes.push(format!(
                "ServerProtection {name} is ignored: another object in the input has the same subscription {subscription}"
            ));
            return Ok(());
        }
        self.input.protections.push(Protection {
            subscription,
            machines: spec.machines,
            credential: spec.credential_ref.map(|reference| match reference.kind {
                CredentialKind::AzureCredential => {
                    (object.metadata.namespace.unwrap_or_default(), reference.name)
                }
                CredentialKind::ClusterAzureCredential => (CLUSTER_CREDENTIAL.into(), reference.name),
            }),
        });
        Ok(())
    }

    fn finish(mut self) -> Input {
        for (key, credential) in std::mem::take(&mut self.credentials) {
            let identity = self.identity(&key, &credential);
            self.input.credentials.insert(key, identity);
        }
        if !self.skipped.is_empty() {
            let kinds: Vec<_> = self
                .skipped
                .iter()
                .map(|(kind, count)| format!("{count} {}", printable::one_line(kind)))
                .collect();
            self.input
                .notes
                .push(format!("ignored objects of other kinds: {}", kinds.join(", ")));
        }
        self.input
    }

    fn identity(&self, (namespace, _): &Key, credential: &AzureCredential) -> Result<Identity, String> {
        let spec = &credential.spec;
        let reference = match (spec.type_, &spec.client_secret) {
            (CredentialType::ClientSecret, Some(secret)) => &secret.secret_ref,
            (CredentialType::ClientSecret, None) => return Err("spec.clientSecret is missing".into()),
            (CredentialType::ClientCertificate, _) => return self.certificate(namespace, spec),
            (CredentialType::WorkloadIdentity, _) => {
                return Err("workload identity works only in the cluster".into());
            }
        };
        let name = &reference.name;
        let value = value(self.secret(namespace, name)?, &reference.key)
            .ok_or_else(|| format!("its Secret {name} has no key {}", reference.key))?;
        let value = String::from_utf8(value)
            .map_err(|_| format!("key {} of its Secret {name} is not UTF-8 text", reference.key))?;
        Ok(Identity::ClientSecret {
            tenant_id: spec.tenant_id.clone(),
            client_id: spec.client_id.clone(),
            secret: AzureSecret::new(value.trim().to_owned()),
        })
    }

    fn certificate(&self, namespace: &str, spec: &AzureCredentialSpec) -> Result<Identity, String> {
        let reference = spec
            .client_certificate
            .as_ref()
            .map(|certificate| &certificate.secret_ref)
            .ok_or("spec.clientCertificate is missing")?;
        let name = &reference.name;
        let secret = self.secret(namespace, name)?;
        let [certificate, key] = ["tls.crt", "tls.key"].map(|key| value(secret, key).unwrap_or_default());
        let origin = format!("Secret {name}");
        let certificate = ClientCertificate::from_pem(&origin, &certificate, &key)
            .map_err(|error| error.of(&origin, "tls.crt", "tls.key").message)?;
        Ok(Identity::ClientCertificate {
            tenant_id: spec.tenant_id.clone(),
            client_id: spec.client_id.clone(),
            certificate: Arc::new(certificate),
        })
    }

    fn secret(&self, namespace: &str, name: &str) -> Result<&Secret, String> {
        let secret = self.secrets.get(&(namespace.to_owned(), name.to_owned()));
        secret.ok_or_else(|| format!("its Secret {name} is not in the input"))
    }
}

/// The bytes of a key of a Secret of the input.
fn value(secret: &Secret, key: &str) -> Option<Vec<u8>> {
    let text = secret.string_data.as_ref().and_then(|data| data.get(key));
    let bytes = secret.data.as_ref().and_then(|data| data.get(key));
    text.map(|text| text.clone().into_bytes())
        .or_else(|| bytes.map(|bytes| bytes.0.clone()))
}

/// The name, safe to print.
fn object_name(object: &Value) -> Cow<'_, str> {
    let name = object.pointer("/metadata/name").and_then(Value::as_str);
    printable::one_line(name.unwrap_or_default())
}

fn key(namespace: Option<&String>, name: Option<&String>) -> Key {
    (
        namespace.cloned().unwrap_or_default(),
        name.cloned().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests;
