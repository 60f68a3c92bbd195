//! The rules of Azure's pricings and settings, in one table (docs/azure-api.md 1.2 to 1.7, 2). All decisions about plan
//! writes use them.
//!
//! | rule | implemented in |
//! | --- | --- |
//! | a Standard plan always carries its subplan | `Tier` has no "Standard" |
//! | an extension that the subplan does not offer is never sent, not even disabled | [`offered`] |
//! | a Free plan carries no extensions | [`offered`] |
//! | a disabled extension carries no properties | [`ExtensionWrite`](super::changes::ExtensionWrite) |
//! | an enabled extension carries the properties in Azure and those of the spec | [`plan_write`](super::changes::plan_write) |
//! | enabling file integrity monitoring needs a workspace and rules; it is not sent while it stays off | [`required_properties`] |
//! | a subscription plan is never deleted; Free switches it off | no such change exists |
//! | one write changes P1 to P2 or back | no other change exists |
//! | a plan write contains every field | [`plan_write`](super::changes::plan_write) |
//! | Linux is on if `WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW` is false | [`Setting::wire`] |

use serverprotection_api::Tier;

/// Azure's name of agentless scanning.
pub const AGENTLESS_SCANNING: &str = "AgentlessVmScanning";
/// Azure's name of file integrity monitoring.
pub const FILE_INTEGRITY_MONITORING: &str = "FileIntegrityMonitoring";
/// Azure's name of direct onboarding.
pub const DIRECT_ONBOARDING: &str = "MdeDesignatedSubscription";
/// Property of agentless scanning: a JSON string with the tags of excluded machines.
pub const EXCLUSION_TAGS: &str = "ExclusionTags";
/// Property of file integrity monitoring: the workspace's resource id.
pub const WORKSPACE: &str = "DefinedWorkspaceId";
/// Property of file integrity monitoring: a JSON string with the files and registry keys to monitor.
pub const RULES: &str = "Rules";
/// The resource provider that everything here belongs to.
pub const PROVIDER: &str = "Microsoft.Security";

/// Whether a subplan offers an extension. Unknown extensions count as offered if Azure already shows them or the spec
/// names them; `known_there` is true in these cases.
pub fn offered(extension: &str, tier: Tier, known_there: bool) -> bool {
    match tier {
        Tier::Free => false,
        Tier::P1 if p2_only(extension) => false,
        Tier::P1 | Tier::P2 => {
            p2_only(extension) || extension.eq_ignore_ascii_case(DIRECT_ONBOARDING) || known_there
        }
    }
}

/// Whether only P2 has this extension.
pub fn p2_only(extension: &str) -> bool {
    [AGENTLESS_SCANNING, FILE_INTEGRITY_MONITORING]
        .iter()
        .any(|name| extension.eq_ignore_ascii_case(name))
}

/// The properties without which the service refuses an extension, and with it the whole plan write. According to one
/// report, it requires them for a disabled extension too, which must not carry any. Such an extension is therefore
/// omitted while it stays off, which is also its default.
pub fn required_properties(extension: &str) -> &'static [&'static str] {
    if extension.eq_ignore_ascii_case(FILE_INTEGRITY_MONITORING) {
        &[WORKSPACE, RULES]
    } else {
        &[]
    }
}

/// Whether the service assigns roles when it switches this extension on, so that Security Admin alone is not enough.
pub fn assigns_roles(extension: &str) -> bool {
    p2_only(extension)
}

/// The three MDE settings (docs/azure-api.md 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Setting {
    Integration,
    UnifiedSolution,
    Linux,
}

impl Setting {
    /// All three in write order: the opt-ins need the integration.
    pub const ALL: [Self; 3] = [Self::Integration, Self::UnifiedSolution, Self::Linux];

    /// Azure's name.
    pub const fn azure_name(self) -> &'static str {
        match self {
            Self::Integration => "WDATP",
            Self::UnifiedSolution => "WDATP_UNIFIED_SOLUTION",
            Self::Linux => "WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW",
        }
    }

    /// The field of the spec.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Integration => "endpointIntegration.state",
            Self::UnifiedSolution => "endpointIntegration.unifiedSolution",
            Self::Linux => "endpointIntegration.linux",
        }
    }

    /// Converts between the spec's value and `enabled` on the wire, in both directions: the setting for Linux is
    /// inverted.
    pub const fn wire(self, on: bool) -> bool {
        match self {
            Self::Linux => !on,
            Self::Integration | Self::UnifiedSolution => on,
        }
    }
}
