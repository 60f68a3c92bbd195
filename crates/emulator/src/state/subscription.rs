//! A subscription and everything in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Clouds, Connector, Extension, FOUNDATIONAL_CSPM, Plan, Registration, RegistrationState, SCANNING_PLANS,
    Tier, machines::Fleet,
};

/// The five settings with their kinds, in the order of the service's list.
pub const SETTINGS: [(&str, &str); 5] = [
    ("MCAS", "DataExportSettings"),
    ("WDATP", "DataExportSettings"),
    ("WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW", "DataExportSettings"),
    ("WDATP_UNIFIED_SOLUTION", "DataExportSettings"),
    ("Sentinel", "AlertSyncSettings"),
];

/// Providers that a new subscription has registered: it is used for virtual machines and Azure Arc already.
const REGISTERED: [&str; 8] = [
    "Microsoft.Security",
    "Microsoft.PolicyInsights",
    "Microsoft.Compute",
    "Microsoft.OperationalInsights",
    "Microsoft.OperationsManagement",
    "Microsoft.HybridCompute",
    "Microsoft.GuestConfiguration",
    "Microsoft.HybridConnectivity",
];

/// The states of a subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SubscriptionState {
    /// Active.
    #[default]
    Enabled,
    /// Read only.
    Disabled,
    /// Works, but a payment is due.
    Warned,
}

/// A setting and whether a user turned it off on purpose.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Setting {
    /// Its value.
    pub enabled: bool,
    /// Turned off by a caller: enabling a plan does not turn it on again.
    pub turned_off: bool,
}

/// The vulnerability assessment setting.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assessment {
    /// `MdeTvm`.
    pub selected_provider: String,
    /// For `systemData`.
    pub created_by: String,
    /// For `systemData`.
    pub created_at: String,
    /// For `systemData`.
    pub last_modified_by: String,
    /// For `systemData`.
    pub last_modified_at: String,
}

/// A plan on a single resource.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourcePlan {
    /// Off or on.
    pub tier: Tier,
    /// Only P1 is possible here.
    pub sub_plan: Option<String>,
    /// The last move to Standard.
    pub enablement_time: Option<String>,
}

/// A resource group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResourceGroup {
    /// The name in its creator's spelling.
    pub name: String,
    /// Its region.
    pub location: String,
    /// Its tags.
    #[serde(default)]
    pub tags: Map<String, Value>,
}

/// A solution on a workspace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Solution {
    /// The id in its creator's spelling.
    pub id: String,
    /// The body as stored.
    pub body: Value,
}

/// A subscription.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// Its id, in lower case.
    pub id: String,
    /// Its tenant.
    pub tenant: String,
    /// Its name.
    pub display_name: String,
    /// Enabled, Disabled, Warned.
    #[serde(default)]
    pub state: SubscriptionState,
    /// Integrated before the opt-in buttons went away.
    #[serde(default)]
    pub legacy: bool,
    /// Registrations by namespace; absent means not registered.
    #[serde(default)]
    pub providers: BTreeMap<String, Registration>,
    /// Registrations never end.
    #[serde(default)]
    pub registration_stuck: bool,
    /// Plans that were ever changed; the others are Free.
    #[serde(default)]
    pub plans: BTreeMap<String, Plan>,
    /// Stored `additionalExtensionProperties`, see [`Subscription::properties_key`].
    #[serde(default)]
    pub extension_properties: BTreeMap<String, Map<String, Value>>,
    /// Plans of single resources by lower-case resource id.
    #[serde(default)]
    pub resource_plans: BTreeMap<String, ResourcePlan>,
    /// Settings by name.
    #[serde(default)]
    pub settings: BTreeMap<String, Setting>,
    /// `None` if never set.
    #[serde(default)]
    pub vulnerability_assessment: Option<Assessment>,
    /// Resource groups by lower-case name.
    #[serde(default)]
    pub resource_groups: BTreeMap<String, ResourceGroup>,
    /// Workspace ids with their location.
    #[serde(default)]
    pub workspaces: BTreeMap<String, String>,
    /// Solutions by lower-case id.
    #[serde(default)]
    pub solutions: BTreeMap<String, Solution>,
    /// `ReadOnly` or `CanNotDelete`.
    #[serde(default)]
    pub lock: Option<String>,
    /// The name of a policy that denies writes.
    #[serde(default)]
    pub deny_policy: Option<String>,
    /// Connectors by lower-case resource group and name.
    #[serde(default)]
    pub connectors: BTreeMap<String, Connector>,
    /// The world's accounts of other clouds.
    #[serde(skip)]
    pub(crate) clouds: Clouds,
    /// End of the current write of each connector, by key, in milliseconds since the epoch.
    #[serde(skip)]
    pub(crate) connector_locks: BTreeMap<String, i64>,
    /// Its machines.
    #[serde(default)]
    pub(crate) fleet: Fleet,
    /// End of the current plan write, in milliseconds since the epoch.
    #[serde(skip)]
    pub pricing_lock_until: i64,
}

impl Subscription {
    /// A new subscription: providers registered, no protection.
    pub fn new(id: &str, tenant: &str, display_name: &str) -> Self {
        let registered = Registration {
            state: RegistrationState::Registered,
            since: 0,
        };
        Self {
            id: id.into(),
            tenant: tenant.into(),
            display_name: display_name.into(),
            state: SubscriptionState::Enabled,
            legacy: false,
            providers: REGISTERED
                .iter()
                .map(|name| ((*name).into(), registered.clone()))
                .collect(),
            registration_stuck: false,
            plans: BTreeMap::new(),
            extension_properties: BTreeMap::new(),
            resource_plans: BTreeMap::new(),
            settings: BTreeMap::new(),
            vulnerability_assessment: None,
            resource_groups: BTreeMap::new(),
            workspaces: BTreeMap::new(),
            solutions: BTreeMap::new(),
            lock: None,
            deny_policy: None,
            connectors: BTreeMap::new(),
            clouds: Clouds::default(),
            connector_locks: BTreeMap::new(),
            fleet: Fleet::default(),
            pricing_lock_until: 0,
        }
    }

    /// A plan, also one that was never changed: foundational CSPM is on, the others are off.
    pub fn plan(&self, name: &str) -> Plan {
        self.plans.get(name).cloned().unwrap_or_else(|| Plan {
            tier: if name == FOUNDATIONAL_CSPM {
                Tier::Standard
            } else {
                Tier::Free
            },
            ..Plan::default()
        })
    }

    /// The key of an extension's stored properties: agentless scanning is one machine setting
    /// that several plans share, every other extension belongs to its plan.
    pub fn properties_key(plan: &str, extension: &str) -> String {
        if extension == "AgentlessVmScanning" {
            extension.into()
        } else {
            format!("{plan}/{extension}")
        }
    }

    /// The stored properties of an extension; agentless scanning always has its exclusions.
    pub fn properties_of(&self, plan: &str, extension: &str) -> Map<String, Value> {
        let key = Self::properties_key(plan, extension);
        let mut properties = self.extension_properties.get(&key).cloned().unwrap_or_default();
        if extension == "AgentlessVmScanning" {
            properties
                .entry("ExclusionTags")
                .or_insert_with(|| Value::String("[]".into()));
        }
        properties
    }

    /// Whether an extension is in effect: machines of a P2 plan are still scanned while another plan scans them.
    pub fn effective(&self, plan_name: &str, extension: &Extension, failed_reads_enabled: bool) -> bool {
        let mut others = SCANNING_PLANS.iter().filter(|other| **other != plan_name);
        let scanned = |other: &str| {
            let plan = self.plans.get(other);
            plan.is_some_and(|plan| plan.has("AgentlessVmScanning"))
        };
        if SCANNING_PLANS.contains(&plan_name)
            && extension.name == "AgentlessVmScanning"
            && others.any(|other| scanned(other))
        {
            return true;
        }
        extension.enabled && (failed_reads_enabled || !extension.failed)
    }

    /// A setting's value.
    pub fn setting(&self, name: &str) -> bool {
        self.settings.get(name).is_some_and(|setting| setting.enabled)
    }

    /// Sets one setting. When the integration is turned on for the first time, a subscription that is
    /// not a legacy one also gets the unified solution.
    pub fn set_setting(&mut self, name: &str, enabled: bool) {
        let setting = self.settings.entry(name.into()).or_default();
        let turned_on = enabled && !setting.enabled;
        setting.turned_off = !enabled;
        setting.enabled = enabled;
        if name == "WDATP" && turned_on && !self.legacy {
            let unified = self.settings.entry("WDATP_UNIFIED_SOLUTION".into()).or_default();
            unified.enabled |= !unified.turned_off;
        }
    }

    /// The effect of enabling P1 or P2 on the integration: on, unless a user turned it off.
    pub fn enable_integration(&mut self) {
        if !self
            .settings
            .get("WDATP")
            .is_some_and(|setting| setting.turned_off)
        {
            self.set_setting("WDATP", true);
        }
    }

    /// The settings of a subscription that integrated before spring 2022 and never pressed the buttons.
    pub fn make_legacy(&mut self) {
        self.legacy = true;
        for (name, enabled) in [
            ("WDATP", true),
            ("WDATP_UNIFIED_SOLUTION", false),
            ("WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW", true),
        ] {
            self.settings.insert(
                name.into(),
                Setting {
                    enabled,
                    turned_off: false,
                },
            );
        }
    }

    /// The current state of a provider's registration.
    pub fn registration(&self, namespace: &str, now: i64, takes: i64) -> RegistrationState {
        self.providers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(namespace))
            .map_or(RegistrationState::NotRegistered, |(_, registration)| {
                registration.at(now, takes, self.registration_stuck)
            })
    }

    /// Sets the state of a provider's registration, as of now.
    pub fn register(&mut self, namespace: &str, state: RegistrationState, now: i64) {
        self.providers
            .retain(|name, _| !name.eq_ignore_ascii_case(namespace));
        self.providers
            .insert(namespace.into(), Registration { state, since: now });
    }

    /// A connector that exists at a moment of the fleet's clock.
    pub fn connector(&self, group: &str, name: &str, at: i64) -> Option<&Connector> {
        self.connectors
            .get(&Connector::key_of(group, name))
            .filter(|connector| connector.since <= at)
    }

    /// The connectors at a moment, by key.
    pub fn connectors_at(&self, at: i64) -> impl Iterator<Item = (&String, &Connector)> {
        self.connectors
            .iter()
            .filter(move |(_, connector)| connector.since <= at)
    }
}
