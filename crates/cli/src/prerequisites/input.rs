//! The connectors of the input, with what the objects beside them tell: plan and tenant.

use std::collections::BTreeMap;

use serverprotection_api::{AzureCredential, Mode, SecurityConnectorSpec, ServerProtection, Tier};
use serverprotection_core::security_connector::desired::Protection;

use super::{
    admission,
    args::{self, Args},
};
use crate::{
    documents::{self, Object},
    printable,
};

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
        if !object.is_ours() {
            return Ok(());
        }
        let Object { kind, value, .. } = object;
        let describe =
            |error: serde_json::Error| printable::one_line(&format!("{kind} {}: {error}", shown(&key)));
        match kind.as_str() {
            "SecurityConnector" => {
                let read = admission::admit(value).map_err(|wrong| refused(&kind, &key, &wrong))?;
                // As for kubectl apply: the last one counts.
                self.connectors.retain(|(known, _)| *known != key);
                self.connectors.push((key, read.spec));
            }
            "ServerProtection" => {
                admission::related(&value).map_err(|wrong| refused(&kind, &key, &wrong))?;
                let read: ServerProtection = serde_json::from_value(value).map_err(describe)?;
                self.protections.insert(key, Protection::of(&read.spec));
            }
            "AzureCredential" => {
                admission::related(&value).map_err(|wrong| refused(&kind, &key, &wrong))?;
                let read: AzureCredential = serde_json::from_value(value).map_err(describe)?;
                let tenant = args::tenant(&read.spec.tenant_id)
                    .map_err(|error| format!("AzureCredential {}: spec.tenantId: {error}", shown(&key)))?;
                self.tenants.insert(key, tenant);
            }
            _ => {}
        }
        Ok(())
    }

    /// The connectors that are asked for. Everything that is missing is told at once.
    pub(super) fn asked(&self, args: &Args) -> Result<Vec<Asked>, String> {
        let is_asked = |key: &Key| {
            let name = args.name.as_ref();
            name.is_none_or(|name| *name == key.1 || *name == shown(key))
        };
        let mut asked = Vec::new();
        let mut missing = Vec::new();
        for (key, spec) in self.connectors.iter().filter(|(key, _)| is_asked(key)) {
            match self.resolved(args, key, spec) {
                Ok(one) => asked.push(one),
                Err(lines) => missing.extend(lines),
            }
        }
        if !missing.is_empty() {
            return Err(missing.join("\n"));
        }
        match &args.name {
            Some(name) if asked.is_empty() => {
                let all: Vec<_> = self.connectors.iter().map(|(key, _)| shown(key)).collect();
                Err(format!("--name {name}: the input has {}", all.join(", ")))
            }
            _ => Ok(asked),
        }
    }

    /// Flags are stronger than the objects beside the connector; the connector's own plan is stronger than both.
    fn resolved(&self, args: &Args, key: &Key, spec: &SecurityConnectorSpec) -> Result<Asked, Vec<String>> {
        let related = |name: &String| (key.0.clone(), name.clone());
        let protection = self.protections.get(&related(&spec.protection_ref.name));
        let credential = protection.and_then(|protection| protection.credential.as_ref());
        let tenant = credential.and_then(|credential| self.tenants.get(&related(&credential.name)));
        let tenant = args.tenant_id.as_ref().or(tenant);
        let own = spec.plan.as_ref().map(|plan| plan.tier);
        let tier = own
            .or(args.tier.map(Tier::from))
            .or(protection.map(|protection| protection.tier));
        match (tier, tenant) {
            (Some(tier), Some(tenant)) => Ok(Asked {
                shown: shown(key),
                name: key.1.clone(),
                spec: spec.clone(),
                protection: match protection {
                    Some(known) => Protection {
                        tier,
                        ..known.clone()
                    },
                    None => by_flag(tier),
                },
                tenant: tenant.clone(),
            }),
            (tier, tenant) => {
                let plan = tier.is_none().then(|| no_plan(key, spec));
                let trust = tenant.is_none().then(|| no_tenant(key, spec, protection));
                Err(plan.into_iter().chain(trust).collect())
            }
        }
    }
}

/// Nobody but the plan matters here.
fn by_flag(tier: Tier) -> Protection {
    Protection {
        subscription: String::new(),
        mode: Mode::Observe,
        tier,
        registers: false,
        credential: None,
    }
}

fn refused(kind: &str, key: &Key, wrong: &[String]) -> String {
    let wrong: Vec<_> = wrong.iter().map(|line| printable::one_line(line)).collect();
    format!(
        "{kind} {} would be refused:\n  {}",
        shown(key),
        wrong.join("\n  ")
    )
}

/// What to do where nothing tells the plan.
fn no_plan(key: &Key, spec: &SecurityConnectorSpec) -> String {
    format!(
        "SecurityConnector {} names no plan.tier, and its ServerProtection {} is not in the input: add the object to -f, or say --tier P1, P2 or Free",
        shown(key),
        spec.protection_ref.name
    )
}

/// What to do where nothing tells the tenant.
fn no_tenant(key: &Key, spec: &SecurityConnectorSpec, protection: Option<&Protection>) -> String {
    let name = &spec.protection_ref.name;
    let why = match protection.map(|protection| &protection.credential) {
        Some(Some(credential)) => format!(
            "the AzureCredential {} of its ServerProtection {name} is not in the input",
            credential.name
        ),
        Some(None) => format!("its ServerProtection {name} has no credentialRef"),
        None => format!("its ServerProtection {name} is not in the input"),
    };
    format!(
        "SecurityConnector {}: the account trusts one Entra tenant, and nothing tells which: {why}; say --tenant-id (az account show --query tenantId), or add the objects to -f",
        shown(key)
    )
}

/// Also of names that are refused for what they hold.
fn shown((namespace, name): &Key) -> String {
    let whole = if namespace.is_empty() {
        name.clone()
    } else {
        format!("{namespace}/{name}")
    };
    printable::one_line(&whole)
}
