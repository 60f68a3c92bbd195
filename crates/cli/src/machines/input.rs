//! Objects from files and standard input: no cluster is asked.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use azure_core::credentials::Secret as Secretly;
use k8s_openapi::api::core::v1::Secret;
use serde_json::Value;
use serverprotection_api::{AzureCredential, CredentialType, GROUP, Machines, ServerProtection};
use serverprotection_azure::Identity;

use super::args;

/// Namespace and name; the namespace is empty where the object has none.
pub(crate) type Key = (String, String);

/// What the input holds.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// In the order of the input, each subscription once.
    pub(crate) protections: Vec<Protection>,
    /// Credentials: an identity, or why it cannot be used here.
    pub(crate) credentials: BTreeMap<Key, Result<Identity, String>>,
    /// What was left out, for people.
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
    /// Reads files, folders and standard input.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<Self, String> {
        let mut texts = Vec::new();
        for path in paths {
            if path.as_os_str() == "-" {
                let mut text = String::new();
                let read = std::io::stdin().read_to_string(&mut text);
                read.map_err(|error| format!("-f -: standard input cannot be read: {error}"))?;
                texts.push(("standard input".to_owned(), text));
                continue;
            }
            for file in files(path)? {
                let name = file.display().to_string();
                let text = fs::read_to_string(&file).map_err(|error| format!("-f {name}: {error}"))?;
                texts.push((name, text));
            }
        }
        Self::parse(&texts)
    }

    /// Reads texts with their names.
    pub(crate) fn parse(texts: &[(String, String)]) -> Result<Self, String> {
        let mut found = Found::default();
        for (name, text) in texts {
            for (number, document) in documents(text)
                .map_err(|error| format!("-f {name}: no YAML: {error}"))?
                .into_iter()
                .enumerate()
            {
                let add = found.add(document);
                add.map_err(|error| format!("-f {name}, document {}: {error}", number + 1))?;
            }
        }
        Ok(found.finish())
    }
}

/// The file itself, or the YAML and JSON files of a folder.
fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    let told = |error: std::io::Error| format!("-f {}: {error}", path.display());
    if !fs::metadata(path).map_err(told)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(told)? {
        let file = entry.map_err(told)?.path();
        let extension = file.extension().and_then(|extension| extension.to_str());
        if file.is_file() && matches!(extension, Some("yaml" | "yml" | "json")) {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(format!(
            "-f {}: the folder has no *.yaml, *.yml or *.json",
            path.display()
        ));
    }
    files.sort();
    Ok(files)
}

/// The reader's limits are for untrusted input; a fleet may have thousands of objects. Errors quote nothing: there are
/// Secrets in the input.
fn documents(text: &str) -> Result<Vec<Value>, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 1_000_000,
            max_nodes: 50_000_000,
            max_events: 200_000_000,
        },
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| error.to_string())
}

impl Found {
    fn add(&mut self, document: Value) -> Result<(), String> {
        let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
        let (version, kind) = (text("apiVersion").to_owned(), text("kind").to_owned());
        let ours = version.split('/').next() == Some(GROUP);
        match kind.as_str() {
            _ if document.is_null() => Ok(()),
            "" => Err("no object of Kubernetes: it has no kind".into()),
            "List" => self.add_items(document),
            kind if ours && kind.ends_with("List") => self.add_items(document),
            "ServerProtection" if ours => self.add_protection(document),
            "AzureCredential" if ours => {
                let object: AzureCredential = serde_json::from_value(document)
                    .map_err(|error| format!("AzureCredential cannot be read: {error}"))?;
                self.credentials.insert(
                    key(object.metadata.namespace.as_ref(), object.metadata.name.as_ref()),
                    object,
                );
                Ok(())
            }
            "Secret" if version == "v1" => {
                // Its error could quote the secret.
                let object: Secret = serde_json::from_value(document)
                    .map_err(|_| "Secret cannot be read: data must be base64, stringData must be text")?;
                self.secrets.insert(
                    key(object.metadata.namespace.as_ref(), object.metadata.name.as_ref()),
                    object,
                );
                Ok(())
            }
            _ => {
                *self.skipped.entry(kind).or_default() += 1;
                Ok(())
            }
        }
    }

    fn add_items(&mut self, mut document: Value) -> Result<(), String> {
        let items = document.get_mut("items").and_then(Value::as_array_mut);
        for (number, item) in items
            .map(std::mem::take)
            .unwrap_or_default()
            .into_iter()
            .enumerate()
        {
            self.add(item)
                .map_err(|error| format!("item {}: {error}", number + 1))?;
        }
        Ok(())
    }

    fn add_protection(&mut self, document: Value) -> Result<(), String> {
        let name = document.pointer("/metadata/name").and_then(Value::as_str);
        let name = name.unwrap_or_default().to_owned();
        let told = |error: String| format!("ServerProtection {name}: {error}");
        let object: ServerProtection =
            serde_json::from_value(document).map_err(|error| told(error.to_string()))?;
        let spec = object.spec;
        let subscription = args::subscription(&spec.subscription_id)
            .map_err(|error| told(format!("subscriptionId: {error}")))?;
        args::grace(&spec.machines.grace_period)
            .map_err(|error| told(format!("machines.gracePeriod: {error}")))?;
        if !(1..=100).contains(&spec.machines.minimum_protected_percent) {
            return Err(told(
                "machines.minimumProtectedPercent must lie between 1 and 100".into(),
            ));
        }
        if self
            .input
            .protections
            .iter()
            .any(|known| known.subscription == subscription)
        {
            self.input.notes.push(format!(
                "ServerProtection {name} is left out: another one of the input has its subscription {subscription}"
            ));
            return Ok(());
        }
        self.input.protections.push(Protection {
            subscription,
            machines: spec.machines,
            credential: spec
                .credential_ref
                .map(|reference| (object.metadata.namespace.unwrap_or_default(), reference.name)),
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
                .map(|(kind, count)| format!("{count} {kind}"))
                .collect();
            self.input.notes.push(format!(
                "objects of the input that do not matter here: {}",
                kinds.join(", ")
            ));
        }
        self.input
    }

    fn identity(&self, (namespace, _): &Key, credential: &AzureCredential) -> Result<Identity, String> {
        let spec = &credential.spec;
        let reference = match (spec.type_, &spec.client_secret) {
            (CredentialType::ClientSecret, Some(secret)) => &secret.secret_ref,
            (CredentialType::ClientSecret, None) => return Err("clientSecret is missing".into()),
            (CredentialType::WorkloadIdentity, _) => {
                return Err("workload identity exists in its cluster only".into());
            }
        };
        let name = &reference.name;
        let secret = self
            .secrets
            .get(&(namespace.clone(), name.clone()))
            .ok_or_else(|| format!("its Secret {name} is not in the input"))?;
        let text = secret
            .string_data
            .as_ref()
            .and_then(|data| data.get(&reference.key));
        let bytes = secret.data.as_ref().and_then(|data| data.get(&reference.key));
        let value = match (text, bytes) {
            (Some(text), _) => text.clone(),
            (None, Some(bytes)) => String::from_utf8(bytes.0.clone())
                .map_err(|_| format!("key {} of its Secret {name} is no text", reference.key))?,
            (None, None) => return Err(format!("its Secret {name} has no key {}", reference.key)),
        };
        Ok(Identity::ClientSecret {
            tenant_id: spec.tenant_id.clone(),
            client_id: spec.client_id.clone(),
            secret: Secretly::new(value.trim().to_owned()),
        })
    }
}

fn key(namespace: Option<&String>, name: Option<&String>) -> Key {
    (
        namespace.cloned().unwrap_or_default(),
        name.cloned().unwrap_or_default(),
    )
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
