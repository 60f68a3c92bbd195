//! The seed document, which describes the initial cloud of a test.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    FederatedCredential, KeyCredential, ManagedIdentity, Patch, Principal, RoleAssignment, Subscription,
    World, apply, connector_seed,
    machines::{self, Generator},
    patch::{Pricings, flatten_pricings},
    rbac,
};
use crate::knobs::SomeKnobs;

/// A seed, from a YAML or JSON file or the control endpoint. Absent members change nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Seed {
    /// `false` in a seed file: start with an empty cloud.
    pub defaults: Option<bool>,
    tenants: Vec<TenantSeed>,
    principals: Vec<PrincipalSeed>,
    subscriptions: Vec<SubscriptionSeed>,
    management_groups: BTreeMap<String, Option<Vec<String>>>,
    cloud_accounts: Option<Value>,
    fleet: Option<Generator>,
    switches: Option<SwitchSeed>,
    options: Option<SomeKnobs>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TenantSeed {
    tenant_id: String,
    display_name: Option<String>,
    default_domain: Option<String>,
}

/// An application; also the body of `PATCH /_emulator/principals/{clientId}`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct PrincipalSeed {
    client_id: String,
    object_id: Option<String>,
    tenant_id: Option<String>,
    display_name: Option<String>,
    secrets: Option<Vec<String>>,
    federated_identity_credentials: Option<Vec<FederatedCredential>>,
    key_credentials: Option<Vec<KeyCredential>>,
    managed_identity: Option<ManagedIdentity>,
    role_assignments: Option<BTreeMap<String, Vec<RoleAssignment>>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum SwitchSeed {
    All(String),
    Each(BTreeMap<String, String>),
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct SubscriptionSeed {
    subscription_id: Option<String>,
    generate: Option<Generate>,
    tenant_id: Option<String>,
    display_name: Option<String>,
    state: Option<String>,
    integration_profile: Option<String>,
    providers: BTreeMap<String, String>,
    registration_stuck: Option<bool>,
    pricings: Pricings,
    settings: Map<String, Value>,
    server_vulnerability_assessments_settings: Map<String, Value>,
    resource_pricings: Map<String, Value>,
    resource_groups: Vec<Group>,
    workspaces: Vec<Workspace>,
    solutions: Vec<String>,
    lock_level: Option<String>,
    deny_policy_assignment: Option<String>,
    role_assignments: BTreeMap<String, Vec<RoleAssignment>>,
    /// Number of generated subscriptions.
    fleet: Option<Generator>,
    machines: Vec<Value>,
    security_connectors: Vec<Map<String, Value>>,
    set: Patch,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Generate {
    count: u32,
    /// The last group of the id is incremented from here.
    first_subscription_id: Option<String>,
    display_name_prefix: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Group {
    Name(String),
    Whole { name: String, location: String },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Workspace {
    Id(String),
    Whole { id: String, location: String },
}

const LOCATION: &str = "westeurope";

impl Seed {
    /// Parses YAML or JSON.
    ///
    /// # Errors
    ///
    /// Returns a message with the position if the document is invalid or has unknown members.
    pub fn parse(document: &str) -> Result<Self, String> {
        serde_saphyr::from_str(document).map_err(|error| error.to_string())
    }

    /// Applies the seed to a world.
    ///
    /// # Errors
    ///
    /// Stops at the first invalid value and returns a message; what came before it is applied.
    pub fn populate(&self, world: &mut World, now: Timestamp) -> Result<(), String> {
        if let Some(switches) = &self.switches {
            match switches {
                SwitchSeed::All(answer) => world.switches.set_all(answer)?,
                SwitchSeed::Each(answers) => {
                    for (name, answer) in answers {
                        world.switches.set(name, answer)?;
                    }
                }
            }
            world.retime(now);
        }
        if let Some(options) = &self.options {
            world.knobs = options.over(&world.knobs)?;
            world.retime(now);
        }
        if let Some(accounts) = &self.cloud_accounts {
            world.patch_clouds(accounts, now)?;
        }
        for seed in &self.tenants {
            let tenant = world.tenant(&seed.tenant_id);
            replace(&mut tenant.display_name, seed.display_name.as_ref());
            replace(&mut tenant.default_domain, seed.default_domain.as_ref());
        }
        for seed in &self.principals {
            seed.populate(world)?;
        }
        if let Some(generator) = &self.fleet {
            machines::populate_fleet(generator, world, now)?;
        }
        for seed in &self.subscriptions {
            for (id, name) in seed.identities()? {
                seed.populate(world, &id, &name, now)
                    .map_err(|problem| format!("subscription {id}: {problem}"))?;
            }
        }
        for (name, members) in &self.management_groups {
            world.set_management_group(name, members.as_deref());
        }
        Ok(())
    }
}

/// Changes one application: given members replace the current ones.
pub(crate) fn change_principal(world: &mut World, client_id: &str, mut change: Value) -> Result<(), String> {
    if let Some(change) = change.as_object_mut() {
        change.insert("clientId".into(), json!(client_id));
    }
    let seed: PrincipalSeed = serde_json::from_value(change).map_err(|error| error.to_string())?;
    seed.populate(world)
}

impl PrincipalSeed {
    fn populate(&self, world: &mut World) -> Result<(), String> {
        if self.client_id.is_empty() {
            return Err("a principal without clientId".into());
        }
        let client_id = self.client_id.to_ascii_lowercase();
        let tenant = self
            .tenant_id
            .as_deref()
            .unwrap_or(super::DEFAULT_TENANT)
            .to_ascii_lowercase();
        if self.tenant_id.is_some() || !world.principals.contains_key(&client_id) {
            world.tenant(&tenant);
        }
        let principal = world
            .principals
            .entry(client_id.clone())
            .or_insert_with(|| Principal::new(&client_id, &tenant));
        if self.tenant_id.is_some() {
            principal.tenant = tenant;
        }
        replace(&mut principal.object_id, self.object_id.as_ref());
        replace(&mut principal.display_name, self.display_name.as_ref());
        if let Some(secrets) = &self.secrets {
            principal.secrets.clone_from(secrets);
        }
        if let Some(credentials) = &self.federated_identity_credentials {
            principal.federated_credentials.clone_from(credentials);
        }
        if let Some(certificates) = &self.key_credentials {
            principal.key_credentials.clone_from(certificates);
        }
        if self.managed_identity.is_some() {
            principal.managed_identity = self.managed_identity;
        }
        if let Some(roles) = &self.role_assignments {
            for assignment in roles.values().flatten() {
                rbac::check(assignment)?;
            }
            principal.roles = roles
                .iter()
                .map(|(id, roles)| (id.to_ascii_lowercase(), roles.clone()))
                .collect();
        }
        Ok(())
    }
}

impl SubscriptionSeed {
    /// The ids and names of the subscription, or of the generated ones.
    fn identities(&self) -> Result<Vec<(String, String)>, String> {
        let Some(generate) = &self.generate else {
            let id = self
                .subscription_id
                .as_ref()
                .ok_or("a subscription without subscriptionId or generate")?
                .to_ascii_lowercase();
            let name = self.display_name.clone().unwrap_or_default();
            return Ok(vec![(id, name)]);
        };
        let first = generate
            .first_subscription_id
            .as_deref()
            .unwrap_or("00000000-0000-0000-0000-000000001000");
        let (head, tail) = first
            .rsplit_once('-')
            .ok_or("generate.firstSubscriptionId is not a GUID")?;
        let start =
            u64::from_str_radix(tail, 16).map_err(|_| "generate.firstSubscriptionId is not a GUID")?;
        let prefix = generate.display_name_prefix.as_deref().unwrap_or("Contoso ");
        Ok((0..generate.count)
            .map(|index| {
                let id = format!("{}-{:012x}", head.to_ascii_lowercase(), start + u64::from(index));
                (id, format!("{prefix}{index}"))
            })
            .collect())
    }

    fn populate(&self, world: &mut World, id: &str, name: &str, now: Timestamp) -> Result<(), String> {
        let tenant = self
            .tenant_id
            .as_deref()
            .unwrap_or(super::DEFAULT_TENANT)
            .to_ascii_lowercase();
        world.tenant(&tenant);
        let (timing, clouds) = (world.timing(), world.cloud_accounts.clone());
        let subscription = world.subscriptions.entry(id.into()).or_insert_with(|| {
            Subscription::new(id, &tenant, if name.is_empty() { "Subscription" } else { name })
        });
        subscription.fleet.timing = timing;
        subscription.clouds = clouds;
        if !name.is_empty() {
            subscription.display_name = name.into();
        }
        if self.tenant_id.is_some() {
            subscription.tenant.clone_from(&tenant);
        }
        // First, because the settings of a seed override those of the profile.
        if let Some(profile) = &self.integration_profile {
            apply(subscription, &one("integrationProfile", json!(profile)), now)?;
        }
        apply(subscription, &self.patch()?, now)?;
        // A seeded `false` is an initial value, not a user's decision to turn the setting off.
        for setting in self.settings.keys() {
            if let Some(setting) = subscription.settings.get_mut(setting) {
                setting.turned_off = false;
            }
        }
        for connector in &self.security_connectors {
            connector_seed::add(subscription, connector, now)?;
        }
        let at = subscription.fleet_now(now);
        subscription.discover(at, true);
        apply(subscription, &self.set, now)?;
        for machine in &self.machines {
            machines::add(subscription, machine, true, now)?;
        }
        if let Some(generator) = &self.fleet {
            machines::fill(subscription, generator.random_seed, generator.machine_count, now);
        }
        subscription.settle(now);
        for (client_id, roles) in &self.role_assignments {
            let principal = world
                .principals
                .get_mut(&client_id.to_ascii_lowercase())
                .ok_or_else(|| format!("roleAssignments: unknown principal {client_id}"))?;
            for assignment in roles {
                rbac::check(assignment)?;
            }
            principal.roles.insert(id.into(), roles.clone());
        }
        Ok(())
    }

    /// The members that are dotted paths.
    fn patch(&self) -> Result<Patch, String> {
        let mut patch = Patch::new();
        for (member, text) in [
            ("state", &self.state),
            ("lockLevel", &self.lock_level),
            ("denyPolicyAssignment", &self.deny_policy_assignment),
        ] {
            patch.extend(text.iter().map(|text| (member.to_owned(), json!(text))));
        }
        if let Some(stuck) = self.registration_stuck {
            patch.insert("registrationStuck".into(), json!(stuck));
        }
        flatten_pricings(&mut patch, &self.pricings)?;
        for (head, values) in [
            ("settings", &self.settings),
            (
                "serverVulnerabilityAssessmentsSettings",
                &self.server_vulnerability_assessments_settings,
            ),
            ("resourcePricings", &self.resource_pricings),
        ] {
            for (name, value) in values {
                patch.insert(format!("{head}.{name}"), value.clone());
            }
        }
        for (name, state) in &self.providers {
            patch.insert(format!("providers.{name}"), json!(state));
        }
        for group in &self.resource_groups {
            let (name, location) = match group {
                Group::Name(name) => (name, LOCATION),
                Group::Whole { name, location } => (name, location.as_str()),
            };
            patch.insert(format!("resourceGroups.{name}"), json!(location));
        }
        for workspace in &self.workspaces {
            let (id, location) = match workspace {
                Workspace::Id(id) => (id, LOCATION),
                Workspace::Whole { id, location } => (id, location.as_str()),
            };
            patch.insert(format!("workspaces.{id}"), json!(location));
        }
        for id in &self.solutions {
            let body = json!({"properties": {"provisioningState": "Succeeded"}});
            patch.insert(format!("solutions.{id}"), body);
        }
        Ok(patch)
    }
}

fn replace<T: Clone>(old: &mut T, new: Option<&T>) {
    if let Some(new) = new {
        old.clone_from(new);
    }
}

fn one(path: &str, value: Value) -> Patch {
    Patch::from_iter([(path.to_owned(), value)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_generates_a_thousand_subscriptions_with_an_owner_of_all() {
        let seed = Seed::parse(
            "principals: [{clientId: AAAAAAAA-0000-0000-0000-000000000001, secrets: [x], roleAssignments: {'*': [Owner]}}]\n\
             subscriptions:\n\
             - generate: {count: 1000, firstSubscriptionId: 00000000-0000-0000-0000-0000000000ff, displayNamePrefix: Team-}\n\
             \u{20} pricings: {VirtualMachines: {pricingTier: Standard, subPlan: P2, extensions: {AgentlessVmScanning: {isEnabled: 'False'}}}}\n\
             \u{20} settings: {WDATP: false}\n\
             switches: alternate\n",
        )
        .unwrap();
        let mut world = World::with_defaults();
        seed.populate(&mut world, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(world.subscriptions.len(), 1001);
        let second = &world.subscriptions["00000000-0000-0000-0000-000000000100"];
        assert_eq!(second.display_name, "Team-1");
        assert!(
            !second
                .plan("VirtualMachines")
                .extension("AgentlessVmScanning")
                .unwrap()
                .enabled
        );
        assert!(!second.settings["WDATP"].turned_off);
    }

    #[test]
    fn unknown_members_and_roles_are_refused() {
        assert!(Seed::parse("subscription: []").is_err());
        for member in ["id: s", "plan: {}", "locks: []", "tenant: t", "connectors: []"] {
            assert!(
                Seed::parse(&format!("subscriptions: [{{{member}}}]")).is_err(),
                "{member}"
            );
        }
        let seed = Seed::parse("principals: [{clientId: a, roleAssignments: {s: [Emperor]}}]").unwrap();
        assert!(
            seed.populate(&mut World::default(), Timestamp::UNIX_EPOCH)
                .unwrap_err()
                .contains("Emperor")
        );
    }
}
