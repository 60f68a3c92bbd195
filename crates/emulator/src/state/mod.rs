//! The state of the emulated cloud. Everything here is saved to the state file.

mod cloud;
mod connector;
mod connector_seed;
mod login;
pub(crate) mod machines;
mod patch;
mod plan;
mod principal;
mod provider;
pub mod rbac;
mod seed;
mod subscription;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    cloud::{CloudAccounts, Clouds, Instance},
    connector::{Cloud, Connector},
    login::problems,
    patch::{Patch, apply},
    plan::{
        Extension, FOUNDATIONAL_CSPM, PLAN_NAMES, Plan, SCANNING_PLANS, Tier, canonical_plan, is_legacy,
        known_extensions, replaced_by,
    },
    principal::{FederatedCredential, KeyCredential, ManagedIdentity, Principal},
    provider::{Registration, RegistrationState},
    rbac::RoleAssignment,
    seed::Seed,
    subscription::{
        Assessment, ResourceGroup, ResourcePlan, SETTINGS, Solution, Subscription, SubscriptionState,
    },
};
pub(crate) use self::{
    connector::kind as offering_kind, connector_seed::shown as connectors_shown, seed::change_principal,
};
use crate::{knobs::Knobs, switches::Switches};

/// The default tenant.
pub const DEFAULT_TENANT: &str = "11111111-1111-1111-1111-111111111111";
/// The default application.
pub const DEFAULT_CLIENT: &str = "33333333-3333-3333-3333-333333333333";
/// Its secret.
pub const DEFAULT_SECRET: &str = "s3cret";
/// The default subscription.
pub const DEFAULT_SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";

/// An Entra tenant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tenant {
    /// Shown in `/tenants`.
    pub display_name: String,
    /// Shown in `/tenants`; also accepted in place of the id in Entra's paths.
    pub default_domain: String,
}

/// The whole emulated cloud.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct World {
    /// By tenant id.
    pub tenants: BTreeMap<String, Tenant>,
    /// By client id.
    pub principals: BTreeMap<String, Principal>,
    /// The ids of client assertions that were used, with the second in which each of them expires.
    pub used_assertions: BTreeMap<String, i64>,
    /// By subscription id.
    pub subscriptions: BTreeMap<String, Subscription>,
    /// The subscriptions of management groups, by group name.
    pub management_groups: BTreeMap<String, Vec<String>>,
    /// Answers of the switches.
    pub switches: Switches,
    /// Options of the emulator.
    pub knobs: Knobs,
    /// The accounts of other clouds.
    pub cloud_accounts: Clouds,
    /// How far the clock of the machines is ahead, in milliseconds.
    pub clock: i64,
}

impl World {
    /// The default cloud: one tenant and one application that owns one subscription.
    pub fn with_defaults() -> Self {
        let mut world = Self::default();
        world.tenant(DEFAULT_TENANT);
        let mut principal = Principal::new(DEFAULT_CLIENT, DEFAULT_TENANT);
        principal.secrets.push(DEFAULT_SECRET.into());
        principal.roles.insert(
            DEFAULT_SUBSCRIPTION.into(),
            vec![RoleAssignment::Named("Owner".into())],
        );
        world.principals.insert(DEFAULT_CLIENT.into(), principal);
        let subscription = Subscription::new(DEFAULT_SUBSCRIPTION, DEFAULT_TENANT, "Contoso Production");
        world
            .subscriptions
            .insert(DEFAULT_SUBSCRIPTION.into(), subscription);
        world.retime(Timestamp::UNIX_EPOCH);
        world
    }

    /// The tenant with this id, created if missing.
    pub fn tenant(&mut self, id: &str) -> &mut Tenant {
        self.tenants
            .entry(id.to_ascii_lowercase())
            .or_insert_with(|| Tenant {
                display_name: "Contoso".into(),
                default_domain: "contoso.onmicrosoft.com".into(),
            })
    }

    /// The tenant id that a path segment names: an id or a domain.
    pub fn tenant_named(&self, segment: &str) -> Option<String> {
        let expected = segment.to_ascii_lowercase();
        if self.tenants.contains_key(&expected) {
            return Some(expected);
        }
        self.tenants
            .iter()
            .find(|(_, tenant)| tenant.default_domain.eq_ignore_ascii_case(segment))
            .map(|(id, _)| id.clone())
    }

    /// A management group with its name as stored; names are case-insensitive.
    pub fn management_group(&self, name: &str) -> Option<(&str, &[String])> {
        self.management_groups
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(known, members)| (known.as_str(), members.as_slice()))
    }

    /// Creates, replaces or (with `None`) removes a management group.
    pub fn set_management_group(&mut self, name: &str, members: Option<&[String]>) {
        self.management_groups
            .retain(|known, _| !known.eq_ignore_ascii_case(name));
        if let Some(members) = members {
            let members = members.iter().map(|id| id.to_ascii_lowercase()).collect();
            self.management_groups.insert(name.into(), members);
        }
    }

    /// Direct onboarding belongs to one subscription of a tenant: turns it off in all others.
    pub fn take_direct_onboarding(&mut self, holder: &str) {
        let Some(tenant) = self
            .subscriptions
            .get(holder)
            .map(|subscription| subscription.tenant.clone())
        else {
            return;
        };
        for (id, subscription) in &mut self.subscriptions {
            if id != holder
                && subscription.tenant == tenant
                && let Some(plan) = subscription.plans.get_mut("VirtualMachines")
                && let Some(extension) = plan.extension_mut("MdeDesignatedSubscription")
            {
                extension.enabled = false;
            }
        }
    }

    /// Another subscription of the tenant that already has direct onboarding.
    pub fn direct_onboarding_elsewhere(&self, than: &str) -> Option<&str> {
        let tenant = &self.subscriptions.get(than)?.tenant;
        self.subscriptions
            .iter()
            .find(|(id, subscription)| {
                id.as_str() != than
                    && subscription.tenant == *tenant
                    && subscription
                        .plans
                        .get("VirtualMachines")
                        .and_then(|plan| plan.extension("MdeDesignatedSubscription"))
                        .is_some_and(|extension| extension.enabled)
            })
            .map(|(id, _)| id.as_str())
    }
}
