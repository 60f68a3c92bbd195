//! The connectors of the input, with plan and tenant from the related objects.

use std::collections::BTreeMap;

use serverprotection_api::{
    AzureCredential, ClusterAzureCredential, Mode, SecurityConnectorSpec, ServerProtection, Tier,
};
use serverprotection_core::security_connector::desired::Protection;

use super::{
    admission,
    args::{self, Args},
    certificates,
};
use crate::{
    cluster::CLUSTER_CREDENTIAL,
    documents::{self, Object, Text},
    error::CliError,
    printable, unquoted,
};

/// Namespace and name; the namespace is empty if the object has none.
type Key = (String, String);

/// The objects of the input.
#[derive(Debug, Default)]
pub(super) struct Input {
    connectors: Vec<(Key, SecurityConnectorSpec)>,
    protections: BTreeMap<Key, Protection>,
    /// The tenant of each credential.
    tenants: BTreeMap<Key, String>,
    /// What Entra needs for each credential with a client certificate.
    pub(super) certificates: BTreeMap<Key, String>,
}

/// A selected connector with everything that its prerequisites depend on.
#[derive(Debug)]
pub(super) struct Selected {
    /// NAMESPACE/NAME, or NAME.
    pub(super) shown: String,
    /// Name of the object.
    pub(super) name: String,
    pub(super) spec: SecurityConnectorSpec,
    pub(super) protection: Protection,
    pub(super) tenant: String,
}

impl Input {
    /// Parses named texts.
    ///
    /// # Errors
    ///
    /// Fails with one error for each text that is not YAML and each object of this operator that admission would refuse,
    /// or if there is neither a SecurityConnector nor an AzureCredential with a client certificate.
    pub(super) fn parse(texts: &[Text]) -> Result<Self, Vec<CliError>> {
        let mut input = Self::default();
        documents::for_each(texts, |object| input.add(object))?;
        if input.connectors.is_empty() && input.certificates.is_empty() {
            return Err(vec![no_connector()]);
        }
        Ok(input)
    }

    fn add(&mut self, object: Object) -> Result<(), CliError> {
        let key = (
            object.metadata("namespace").to_owned(),
            object.metadata("name").to_owned(),
        );
        if !object.is_ours() {
            return Ok(());
        }
        unquoted::check(&object)?;
        let Object { kind, value, .. } = object;
        let describe = |error: serde_json::Error| {
            CliError::new(format!("{kind} {} is not valid", shown(&key)))
                .because(printable::one_line(&error.to_string()))
        };
        match kind.as_str() {
            "SecurityConnector" => {
                let read = admission::admit(value).map_err(|wrong| refused(&kind, &key, &wrong))?;
                // The last one wins, as with kubectl apply.
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
                let tenant = args::tenant(&read.spec.tenant_id).map_err(|error| {
                    CliError::new(format!("AzureCredential {}: spec.tenantId", shown(&key))).because(error)
                })?;
                match certificates::render(&shown(&key), &key.0, &read.spec) {
                    Some(text) => self.certificates.insert(key.clone(), text),
                    None => self.certificates.remove(&key),
                };
                self.tenants.insert(key, tenant);
            }
            CLUSTER_CREDENTIAL => {
                admission::related(&value).map_err(|wrong| refused(&kind, &key, &wrong))?;
                let read: ClusterAzureCredential = serde_json::from_value(value).map_err(describe)?;
                let tenant = args::tenant(&read.spec.tenant_id).map_err(|error| {
                    CliError::new(format!("{CLUSTER_CREDENTIAL} {}: spec.tenantId", shown(&key)))
                        .because(error)
                })?;
                self.tenants.insert((kind, key.1), tenant);
            }
            _ => {}
        }
        Ok(())
    }

    /// The connectors that `--name` selects, or all.
    ///
    /// # Errors
    ///
    /// Fails if there is no such connector, and with one error for each unknown plan and tenant.
    pub(super) fn selected(&self, args: &Args) -> Result<Vec<Selected>, Vec<CliError>> {
        let is_selected = |key: &Key| {
            let name = args.name.as_ref();
            name.is_none_or(|name| *name == key.1 || *name == shown(key))
        };
        let mut selected = Vec::new();
        let mut missing = Vec::new();
        for (key, spec) in self.connectors.iter().filter(|(key, _)| is_selected(key)) {
            match self.resolved(args, key, spec) {
                Ok(one) => selected.push(one),
                Err(errors) => missing.extend(errors),
            }
        }
        if !missing.is_empty() {
            return Err(missing);
        }
        match &args.name {
            Some(name) if selected.is_empty() => {
                let all: Vec<_> = self.connectors.iter().map(|(key, _)| shown(key)).collect();
                let error = CliError::new(format!("--name {name}: the input has no such SecurityConnector"));
                Err(vec![error.action(format!("use one of {}", all.join(", ")))])
            }
            _ => Ok(selected),
        }
    }

    /// Flags override the related objects; the connector's own plan overrides both.
    fn resolved(
        &self,
        args: &Args,
        key: &Key,
        spec: &SecurityConnectorSpec,
    ) -> Result<Selected, Vec<CliError>> {
        let related = |name: &String| (key.0.clone(), name.clone());
        let protection = self.protections.get(&related(&spec.protection_ref.name));
        let credential = protection.and_then(|protection| protection.credential.as_ref());
        let tenant = credential.and_then(|credential| match credential.kind.as_str() {
            CLUSTER_CREDENTIAL => self
                .tenants
                .get(&(CLUSTER_CREDENTIAL.into(), credential.name.clone())),
            _ => self.tenants.get(&related(&credential.name)),
        });
        let tenant = args.tenant_id.as_ref().or(tenant);
        let own = spec.plan.as_ref().map(|plan| plan.tier);
        let tier = own
            .or(args.tier.map(Tier::from))
            .or(protection.map(|protection| protection.tier));
        match (tier, tenant) {
            (Some(tier), Some(tenant)) => Ok(Selected {
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

/// The error for an input without a connector.
pub(super) fn no_connector() -> CliError {
    CliError::new("-f: the input has no SecurityConnector")
        .action("add a SecurityConnector object to the input")
}

/// A protection of which only the plan matters.
fn by_flag(tier: Tier) -> Protection {
    Protection {
        subscription: String::new(),
        mode: Mode::Observe,
        tier,
        registers: false,
        credential: None,
    }
}

fn refused(kind: &str, key: &Key, wrong: &[String]) -> CliError {
    let wrong: Vec<_> = wrong.iter().map(|line| printable::one_line(line)).collect();
    CliError::new(format!(
        "the API server would refuse {kind} {}:\n  {}",
        shown(key),
        wrong.join("\n  ")
    ))
}

/// The error for a connector without a plan.
fn no_plan(key: &Key, spec: &SecurityConnectorSpec) -> CliError {
    let protection = &spec.protection_ref.name;
    CliError::new(format!("SecurityConnector {}: the plan is unknown", shown(key)))
        .because(format!(
            "it has no spec.plan.tier, and its ServerProtection {protection} is not in the input"
        ))
        .action(format!(
            "add ServerProtection {protection} to -f, or set --tier to P1, P2 or Free"
        ))
}

/// The error for a connector without a tenant.
fn no_tenant(key: &Key, spec: &SecurityConnectorSpec, protection: Option<&Protection>) -> CliError {
    let name = &spec.protection_ref.name;
    let (cause, addition) = match protection.map(|protection| &protection.credential) {
        Some(Some(credential)) => (
            format!(
                "the {} {} of its ServerProtection {name} is not in the input",
                credential.kind, credential.name
            ),
            format!("add {} {} to -f", credential.kind, credential.name),
        ),
        Some(None) => (
            format!("its ServerProtection {name} has no spec.credentialRef"),
            format!("add spec.credentialRef to ServerProtection {name}"),
        ),
        None => (
            format!("its ServerProtection {name} is not in the input"),
            format!("add ServerProtection {name} and its AzureCredential to -f"),
        ),
    };
    CliError::new(format!(
        "SecurityConnector {}: the Entra tenant is unknown",
        shown(key)
    ))
    .because(cause)
    .action(format!(
        "{addition}, or set --tenant-id (az account show --query tenantId prints it)"
    ))
}

/// NAMESPACE/NAME or NAME, safe to print even if admission refuses the name.
fn shown((namespace, name): &Key) -> String {
    let whole = if namespace.is_empty() {
        name.clone()
    } else {
        format!("{namespace}/{name}")
    };
    printable::one_line(&whole).into_owned()
}
