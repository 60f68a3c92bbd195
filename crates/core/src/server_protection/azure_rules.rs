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

use serverprotection_api::Tier;

use super::field::{ExtensionName, Property};

/// Whether a subplan offers an extension. Unknown extensions count as offered if Azure already shows them or the spec
/// names them; `known_there` is true in these cases.
pub fn offered(extension: &ExtensionName, tier: Tier, known_there: bool) -> bool {
    match tier {
        Tier::Free => false,
        Tier::P1 if p2_only(extension) => false,
        Tier::P1 | Tier::P2 => {
            p2_only(extension) || *extension == ExtensionName::DirectOnboarding || known_there
        }
    }
}

/// Whether only P2 has this extension.
pub const fn p2_only(extension: &ExtensionName) -> bool {
    match extension {
        ExtensionName::AgentlessScanning | ExtensionName::FileIntegrityMonitoring => true,
        ExtensionName::DirectOnboarding | ExtensionName::Other(_) => false,
    }
}

/// The properties without which the service refuses an extension, and with it the whole plan write. According to one
/// report, it requires them for a disabled extension too, which must not carry any. Such an extension is therefore
/// omitted while it stays off, which is also its default.
pub const fn required_properties(extension: &ExtensionName) -> &'static [Property] {
    match extension {
        ExtensionName::FileIntegrityMonitoring => &[Property::WorkspaceId, Property::Rules],
        ExtensionName::AgentlessScanning | ExtensionName::DirectOnboarding | ExtensionName::Other(_) => &[],
    }
}

/// The field of an extension that only Owner of the subscription can switch on: Security Admin is not enough
/// (docs/azure-api.md 8.7). For agentless scanning a right to assign roles is enough.
pub const fn needs_owner(extension: &ExtensionName) -> Option<&'static str> {
    match extension {
        ExtensionName::AgentlessScanning => Some("plan.agentlessScanning"),
        ExtensionName::DirectOnboarding => Some("plan.directOnboarding"),
        ExtensionName::FileIntegrityMonitoring | ExtensionName::Other(_) => None,
    }
}

/// What switching this extension on needs besides rights on the subscription. The permissions that Azure Resource
/// Manager reports for the subscription do not show it (docs/azure-api.md 8.7).
pub const fn needs_elsewhere(extension: &ExtensionName) -> Option<&'static str> {
    match extension {
        ExtensionName::FileIntegrityMonitoring => {
            Some("plan.fileIntegrityMonitoring needs Workspace Owner on its workspace")
        }
        ExtensionName::DirectOnboarding => {
            Some("plan.directOnboarding needs the Entra role Security Administrator")
        }
        ExtensionName::AgentlessScanning | ExtensionName::Other(_) => None,
    }
}
