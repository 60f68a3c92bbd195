//! The connectors of the input, with what the objects beside them tell: plan and tenant.

use std::collections::BTreeMap;

use serverprotection_api::{AzureCredential, Mode, SecurityConnectorSpec, ServerProtection, Tier};
use serverprotection_core::security_connector::desired::Protection;

use super::{
    admission,
    args::{self, Args},
};
use crate::documents::{self, Object};

/// Namespace and name; the namespace is empty where the object has none.
type Key = (String, String);

/// What the input holds.
#[derive(Debug, Default)]
pub(super) struct Input {
    connectors: Vec<(Key, SecurityConnectorSpec)>,
    protections: BTreeMap<Key, Protection>,
    /// The tenants of credentials.
    tenants: BTreeMap<Key, String>,
}

/// A connector with everything that its prerequisites depend on.
#[derive(Debug)]
pub(super) struct Asked {
    /// NAMESPACE/NAME, or NAME.
    pub(super) shown: String,
    /// Name of the object.
    pub(super) name: String,
    pub(super) spec: SecurityConnectorSpec,
    pub(super) protection: Protection,
    pub(super) tenant: String,
}

impl Input {
    /// Reads texts with their names.
    pub(super) fn parse(texts: &[(String, String)]) -> Result<Self, String> {
        let mut input = Self::default();
        documents::for_each(texts, |object| input.add(object))?;
        if input.connectors.is_empty() {
            return Err("the input has no SecurityConnector".into());
        }
        Ok(input)
    }

    fn add(&mut self, object: Object) -> Result<(), String> {
        let key = (
            object.metadata("namespace").to_owned(),
            object.metadata("name").to_owned(),
        );
        let told = |error: serde_json::Error| format!("{} {}: {error}", object.kind, shown(&key));
        if !object.is_ours() {
            return Ok(());
        }
        match object.kind.as_str() {
            "SecurityConnector" => {
                let read = admission::admit(object.value.clone());
                let read = read.map_err(|wrong| refused(&key, &wrong))?;
                self.connectors.push((key, read.spec));
            }
            "ServerProtection" => {
                let read: ServerProtection = serde_json::from_value(object.value.clone()).map_err(told)?;
                self.protections.insert(key, Protection::of(&read.spec));
            }
            "AzureCredential" => {
                let read: AzureCredential = serde_json::from_value(object.value.clone()).map_err(told)?;
                let tenant = args::tenant(&read.spec.tenant_id)
                    .map_err(|error| format!("AzureCredential {}: spec.tenantId: {error}", shown(&key)))?;
                self.tenants.insert(key, tenant);
            }
            _ => {}
        }
        Ok(())
    }

    /// The connectors that are asked for. Everything that is missing is told at once.
    pub(super) fn asked(self, args: &Args) -> Result<Vec<Asked>, String> {
        let Self {
            connectors,
            protections,
            tenants,
        } = self;
        let all: Vec<_> = connectors.iter().map(|(key, _)| shown(key)).collect();
        let is_asked = |key: &Key| {
            args.name
                .as_ref()
                .is_none_or(|name| *name == key.1 || *name == shown(key))
        };
        let mut asked = Vec::new();
        let mut missing = Vec::new();
        for (key, spec) in connectors.into_iter().filter(|(key, _)| is_asked(key)) {
            let of = (key.0.clone(), spec.protection_ref.name.clone());
            let protection = protections.get(&of);
            let tier = args
                .tier
                .map(Tier::from)
                .or_else(|| protection.map(|protection| protection.tier));
            let tier = spec.plan.as_ref().map(|plan| plan.tier).or(tier);
            let credential = protection.and_then(|protection| protection.credential.as_ref());
            let tenant =
                credential.and_then(|credential| tenants.get(&(key.0.clone(), credential.name.clone())));
            let tenant = args.tenant_id.as_ref().or(tenant).cloned();
            match (tier, tenant) {
                (Some(tier), Some(tenant)) => asked.push(Asked {
                    shown: shown(&key),
                    name: key.1,
                    protection: protection
                        .cloned()
                        .map_or_else(|| by_flag(tier), |known| Protection { tier, ..known }),
                    spec,
                    tenant,
                }),
                (tier, tenant) => {
                    missing.push(needed(&key, &of.1, tier.is_none(), tenant.is_none(), protection))
                }
            }
        }
        if !missing.is_empty() {
            return Err(missing.join("\n"));
        }
        match &args.name {
            Some(name) if asked.is_empty() => Err(format!("--name {name}: the input has {}", all.join(", "))),
            _ => Ok(asked),
        }
    }
}

/// Nobody but the plan matters here.
fn by_flag(tier: Tier) -> Protection {
    Protection {
        subscription: String::new(),
        mode: Mode::Observe,
        tier,
        credential: None,
    }
}

fn refused(key: &Key, wrong: &[String]) -> String {
    format!(
        "SecurityConnector {} would be refused:\n  {}",
        shown(key),
        wrong.join("\n  ")
    )
}

/// What nothing tells, and what to do.
fn needed(key: &Key, protection: &str, tier: bool, tenant: bool, known: Option<&Protection>) -> String {
    let connector = shown(key);
    let mut lines = Vec::new();
    if tier {
        lines.push(format!(
            "SecurityConnector {connector} names no plan.tier, and its ServerProtection {protection} is not in the input: add the object to -f, or say --tier P1, P2 or Free"
        ));
    }
    if tenant {
        let whose = match known.and_then(|known| known.credential.as_ref()) {
            Some(credential) => format!(
                "the AzureCredential {} of its ServerProtection {protection} is not in the input",
                credential.name
            ),
            None if known.is_some() => format!("its ServerProtection {protection} has no credentialRef"),
            None => format!("its ServerProtection {protection} is not in the input"),
        };
        lines.push(format!(
            "SecurityConnector {connector}: the roles trust one Entra tenant, and nothing tells which: {whose}; say --tenant-id (az account show --query tenantId), or add the objects to -f"
        ));
    }
    lines.join("\n")
}

fn shown((namespace, name): &Key) -> String {
    if namespace.is_empty() {
        name.clone()
    } else {
        format!("{namespace}/{name}")
    }
}
