//! A Defender plan of a subscription: tier, sub-plan and extensions.

use serde::{Deserialize, Serialize};

/// The plans, in the order of the service's list.
pub const PLAN_NAMES: [&str; 16] = [
    "VirtualMachines",
    "SqlServers",
    "AppServices",
    "StorageAccounts",
    "SqlServerVirtualMachines",
    "KubernetesService",
    "ContainerRegistry",
    "KeyVaults",
    "Dns",
    "Arm",
    "OpenSourceRelationalDatabases",
    "CosmosDbs",
    "Containers",
    "CloudPosture",
    "Api",
    "AI",
];

/// Foundational CSPM. Whether the service lists it like the other plans is not confirmed.
pub const FOUNDATIONAL_CSPM: &str = "FoundationalCspm";

/// The plans that share agentless scanning, which is one setting of a subscription.
pub const SCANNING_PLANS: [&str; 3] = ["VirtualMachines", "CloudPosture", "Containers"];

/// The service's own spelling of a plan's name.
pub fn canonical_plan(name: &str) -> Option<&'static str> {
    PLAN_NAMES
        .into_iter()
        .chain([FOUNDATIONAL_CSPM])
        .find(|known| known.eq_ignore_ascii_case(name))
}

/// Whether a plan can no longer be enabled: its successor has replaced it.
pub fn is_legacy(plan: &str, sub_plan: Option<&str>) -> bool {
    let classic = |name: &str| sub_plan.is_some_and(|sub_plan| sub_plan.eq_ignore_ascii_case(name));
    match plan {
        "Dns" | "KubernetesService" | "ContainerRegistry" => true,
        "KeyVaults" => classic("PerTransaction"),
        "Arm" => classic("PerApiCall"),
        _ => false,
    }
}

/// The plan that replaced a deprecated one.
pub fn replaced_by(plan: &str) -> Option<&'static str> {
    match plan {
        "KubernetesService" | "ContainerRegistry" => Some("Containers"),
        "Dns" => Some("VirtualMachines"),
        _ => None,
    }
}

/// The extensions of a plan with this sub-plan, with their defaults.
pub fn known_extensions(plan: &str, sub_plan: Option<&str>) -> &'static [(&'static str, bool)] {
    match (plan, sub_plan) {
        ("VirtualMachines", Some("P1")) => &[("MdeDesignatedSubscription", false)],
        ("VirtualMachines", _) => &[
            ("MdeDesignatedSubscription", false),
            ("AgentlessVmScanning", true),
            ("FileIntegrityMonitoring", false),
        ],
        ("StorageAccounts", _) => &[
            ("OnUploadMalwareScanning", true),
            ("SensitiveDataDiscovery", true),
        ],
        ("Containers", _) => &[
            ("ContainerRegistriesVulnerabilityAssessments", true),
            ("AgentlessDiscoveryForKubernetes", true),
            ("AgentlessVmScanning", true),
            ("ContainerSensor", true),
        ],
        ("CloudPosture", _) => &[
            ("SensitiveDataDiscovery", true),
            ("ContainerRegistriesVulnerabilityAssessments", true),
            ("AgentlessDiscoveryForKubernetes", true),
            ("AgentlessVmScanning", true),
            ("EntraPermissionsManagement", false),
        ],
        ("AI", _) => &[("AIPromptEvidence", true)],
        _ => &[],
    }
}

/// The pricing tier: off or on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tier {
    /// Off.
    #[default]
    Free,
    /// On.
    Standard,
}

impl Tier {
    /// Parses a tier, case-insensitive.
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "free" => Some(Self::Free),
            "standard" => Some(Self::Standard),
            _ => None,
        }
    }

    /// The service's spelling.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Free => "Free",
            Self::Standard => "Standard",
        }
    }
}

/// An extension of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Extension {
    /// Its name in the service's spelling.
    pub name: String,
    /// The requested value.
    pub enabled: bool,
    /// Its provisioning failed, because the right to assign roles was missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
}

/// A plan of a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Plan {
    /// Off or on.
    pub tier: Tier,
    /// P1 or P2 for machines; other plans have their own.
    pub sub_plan: Option<String>,
    /// Forbids overrides on resources.
    pub enforce: bool,
    /// The last move to Standard.
    pub enablement_time: Option<String>,
    /// Remaining time of the trial.
    pub free_trial_remaining_time: Option<String>,
    /// A coverage to report instead of the computed one.
    pub resources_coverage_status: Option<String>,
    /// Set when the Microsoft 365 portal owns the plan.
    pub managed_by: Option<String>,
    /// The extensions of a Standard plan.
    pub extensions: Vec<Extension>,
}

impl Plan {
    /// The extension with this name.
    pub fn extension(&self, name: &str) -> Option<&Extension> {
        self.extensions
            .iter()
            .find(|extension| extension.name.eq_ignore_ascii_case(name))
    }

    /// The extension with this name, mutable.
    pub fn extension_mut(&mut self, name: &str) -> Option<&mut Extension> {
        self.extensions
            .iter_mut()
            .find(|extension| extension.name.eq_ignore_ascii_case(name))
    }

    /// Whether this plan itself has the extension enabled and working.
    pub fn has(&self, name: &str) -> bool {
        self.tier == Tier::Standard
            && self
                .extension(name)
                .is_some_and(|extension| extension.enabled && !extension.failed)
    }

    /// The default extensions of the plan's current sub-plan.
    pub fn default_extensions(plan: &str, sub_plan: Option<&str>) -> Vec<Extension> {
        known_extensions(plan, sub_plan)
            .iter()
            .map(|(name, enabled)| Extension {
                name: (*name).into(),
                enabled: *enabled,
                failed: false,
            })
            .collect()
    }

    /// The sub-plan of a `Standard` without one.
    pub fn full_sub_plan(plan: &str) -> Option<&'static str> {
        match plan {
            "VirtualMachines" => Some("P2"),
            "StorageAccounts" => Some("DefenderForStorageV2"),
            _ => None,
        }
    }
}
