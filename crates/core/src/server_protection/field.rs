//! The managed fields of a `ServerProtection`, and their values as users see them. Their places in Azure's APIs are
//! known to `azure` only.

use std::{borrow::Cow, cmp::Ordering, collections::BTreeSet, fmt};

use serverprotection_api::Tier;

use crate::{difference::FieldPath, switch::switch_name, tier::tier_name};

/// A managed field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProtectionField {
    /// The registration of Microsoft.Security.
    Registration,
    /// The tier of the plan.
    Tier,
    /// Whether single machines may differ from the plan.
    Inheritance,
    /// Whether an extension of the plan is on.
    ExtensionState(ExtensionName),
    /// A property of an extension that is on.
    ExtensionProperty(ExtensionName, Property),
    /// A setting of Defender for Endpoint.
    Setting(Setting),
    /// Vulnerability assessment.
    Assessment,
}

impl ProtectionField {
    /// The extension that the field belongs to.
    pub const fn extension(&self) -> Option<&ExtensionName> {
        match self {
            Self::ExtensionState(name) | Self::ExtensionProperty(name, _) => Some(name),
            Self::Registration | Self::Tier | Self::Inheritance | Self::Setting(_) | Self::Assessment => None,
        }
    }

    /// Whether a write of the plan carries the field.
    pub const fn is_of_plan(&self) -> bool {
        match self {
            Self::Tier | Self::Inheritance | Self::ExtensionState(_) | Self::ExtensionProperty(..) => true,
            Self::Registration | Self::Setting(_) | Self::Assessment => false,
        }
    }
}

impl FieldPath for ProtectionField {
    type Value = ProtectionValue;
}

impl fmt::Display for ProtectionField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registration => f.write_str("resourceProviders.registration"),
            Self::Tier => f.write_str("plan.tier"),
            Self::Inheritance => f.write_str("plan.inheritance"),
            Self::ExtensionState(extension) => write!(f, "{}.state", extension.path()),
            Self::ExtensionProperty(extension, property) => write!(f, "{}.{property}", extension.path()),
            Self::Setting(setting) => f.write_str(setting.path()),
            Self::Assessment => f.write_str("vulnerabilityAssessment.state"),
        }
    }
}

/// The extensions that have a field of their own, with Azure's name and the path in the spec.
macro_rules! extensions {
    ($($name:ident: $azure:literal, $path:literal;)*) => {
        /// An extension of the plan. Azure's names compare without case.
        #[derive(Clone, Debug)]
        pub enum ExtensionName {
            $(#[doc = concat!("`", $path, "`.")] $name,)*
            /// An extension without a field of its own, by Azure's name.
            Other(String),
        }

        impl ExtensionName {
            const KNOWN: &[Self] = &[$(Self::$name),*];

            /// Azure's name, which status shows too.
            pub fn azure_name(&self) -> &str {
                match self {
                    $(Self::$name => $azure,)*
                    Self::Other(name) => name,
                }
            }

            /// Its field in the spec, which messages show.
            pub fn path(&self) -> Cow<'static, str> {
                match self {
                    $(Self::$name => Cow::Borrowed($path),)*
                    Self::Other(name) => Cow::Owned(format!("plan.otherExtensions[{name}]")),
                }
            }
        }
    };
}

extensions! {
    AgentlessScanning: "AgentlessVmScanning", "plan.agentlessScanning";
    FileIntegrityMonitoring: "FileIntegrityMonitoring", "plan.fileIntegrityMonitoring";
    DirectOnboarding: "MdeDesignatedSubscription", "plan.directOnboarding";
}

impl ExtensionName {
    /// The name in a sentence for users.
    pub fn title(&self) -> &str {
        match self {
            Self::AgentlessScanning => "agentless scanning",
            Self::FileIntegrityMonitoring => "file integrity monitoring",
            Self::DirectOnboarding => "direct onboarding",
            Self::Other(name) => name,
        }
    }

    /// The extension with this name in Azure.
    pub fn from_azure(name: &str) -> Self {
        let known = Self::KNOWN.iter().find(|known| known.is_named(name));
        known.cloned().unwrap_or_else(|| Self::Other(name.to_owned()))
    }

    /// Whether this is the extension's name in Azure.
    pub fn is_named(&self, name: &str) -> bool {
        self.azure_name().eq_ignore_ascii_case(name)
    }
}

impl PartialEq for ExtensionName {
    fn eq(&self, other: &Self) -> bool {
        self.is_named(other.azure_name())
    }
}

impl Eq for ExtensionName {}

impl PartialOrd for ExtensionName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ExtensionName {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |name: &Self| name.azure_name().to_ascii_lowercase();
        key(self).cmp(&key(other))
    }
}

/// A property of an extension.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// Agentless scanning: the tags of excluded machines.
    ExclusionTags,
    /// File integrity monitoring: the workspace's resource id.
    WorkspaceId,
    /// File integrity monitoring: the files and registry keys to monitor.
    Rules,
    /// A property without a field of its own, by Azure's name.
    Other(String),
}

impl Property {
    /// The properties of an extension that have a field of their own.
    pub const fn of(extension: &ExtensionName) -> &'static [Self] {
        match extension {
            ExtensionName::AgentlessScanning => &[Self::ExclusionTags],
            ExtensionName::FileIntegrityMonitoring => &[Self::WorkspaceId, Self::Rules],
            ExtensionName::DirectOnboarding | ExtensionName::Other(_) => &[],
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExclusionTags => f.write_str("exclusionTags"),
            Self::WorkspaceId => f.write_str("workspaceId"),
            Self::Rules => f.write_str("rules"),
            Self::Other(name) => write!(f, "properties.{name}"),
        }
    }
}

/// The settings with their paths in the spec.
macro_rules! settings {
    ($($name:ident: $path:literal,)*) => {
        /// The settings of Defender for Endpoint (docs/azure-api.md 2).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Setting {
            $(#[doc = concat!("`", $path, "`.")] $name,)*
        }

        impl Setting {
            /// All of them in write order: the opt-ins need the integration.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The path in the spec.
            pub const fn path(self) -> &'static str {
                match self { $(Self::$name => $path,)* }
            }
        }
    };
}

settings! {
    Integration: "endpointIntegration.state",
    UnifiedSolution: "endpointIntegration.unifiedSolution",
    Linux: "endpointIntegration.linux",
}

/// Rules of file integrity monitoring in short: counts and a fingerprint, so that two lists of the same length look
/// different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesDigest {
    /// The number of files on Windows.
    pub windows_files: usize,
    /// The number of files on Linux.
    pub linux_files: usize,
    /// The number of registry keys.
    pub registry_keys: usize,
    /// Of all paths; stable across versions and machines.
    pub fingerprint: u32,
}

/// Without commas, because commas separate approvals.
impl fmt::Display for RulesDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "windowsFiles={} linuxFiles={} registryKeys={} fingerprint={:08x}",
            self.windows_files, self.linux_files, self.registry_keys, self.fingerprint
        )
    }
}

/// A value as users see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtectionValue {
    /// Azure has no value.
    Absent,
    /// Whether a resource provider is registered.
    Registered(bool),
    /// A tier.
    Tier(Tier),
    /// Whether the plan is enforced on single machines.
    Enforced(bool),
    /// On or off.
    Switch(bool),
    /// A set of tags.
    Tags(BTreeSet<(String, String)>),
    /// The recommended rules of file integrity monitoring.
    RecommendedRules,
    /// Rules of file integrity monitoring.
    Rules(RulesDigest),
    /// Rules that the controller cannot read.
    UnreadableRules,
    /// Any other value, as text.
    Text(String),
}

impl fmt::Display for ProtectionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "none",
            Self::Registered(true) => "Registered",
            Self::Registered(false) => "NotRegistered",
            Self::Tier(tier) => tier_name(*tier),
            Self::Enforced(true) => "Enforced",
            Self::Enforced(false) => "AllowOverrides",
            Self::Switch(on) => switch_name(*on),
            Self::Tags(tags) if tags.is_empty() => "none",
            Self::Tags(tags) => {
                let list: Vec<_> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
                return f.write_str(&list.join(","));
            }
            Self::RecommendedRules => "Recommended",
            Self::Rules(digest) => return digest.fmt(f),
            Self::UnreadableRules => "unreadable",
            Self::Text(text) => text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status, events and approvals of earlier versions have these texts.
    #[test]
    fn the_paths_are_those_of_the_spec() {
        let other = || ExtensionName::Other("New".into());
        for (field, path) in [
            (ProtectionField::Registration, "resourceProviders.registration"),
            (ProtectionField::Tier, "plan.tier"),
            (ProtectionField::Inheritance, "plan.inheritance"),
            (
                ProtectionField::ExtensionState(ExtensionName::AgentlessScanning),
                "plan.agentlessScanning.state",
            ),
            (
                ProtectionField::ExtensionProperty(ExtensionName::AgentlessScanning, Property::ExclusionTags),
                "plan.agentlessScanning.exclusionTags",
            ),
            (
                ProtectionField::ExtensionProperty(
                    ExtensionName::FileIntegrityMonitoring,
                    Property::WorkspaceId,
                ),
                "plan.fileIntegrityMonitoring.workspaceId",
            ),
            (
                ProtectionField::ExtensionProperty(ExtensionName::FileIntegrityMonitoring, Property::Rules),
                "plan.fileIntegrityMonitoring.rules",
            ),
            (
                ProtectionField::ExtensionState(ExtensionName::DirectOnboarding),
                "plan.directOnboarding.state",
            ),
            (
                ProtectionField::ExtensionState(other()),
                "plan.otherExtensions[New].state",
            ),
            (
                ProtectionField::ExtensionProperty(other(), Property::Other("a".into())),
                "plan.otherExtensions[New].properties.a",
            ),
            (
                ProtectionField::Setting(Setting::Integration),
                "endpointIntegration.state",
            ),
            (
                ProtectionField::Setting(Setting::UnifiedSolution),
                "endpointIntegration.unifiedSolution",
            ),
            (
                ProtectionField::Setting(Setting::Linux),
                "endpointIntegration.linux",
            ),
            (ProtectionField::Assessment, "vulnerabilityAssessment.state"),
        ] {
            assert_eq!(field.to_string(), path);
        }
    }

    #[test]
    fn names_of_extensions_compare_without_case() {
        let name = ExtensionName::from_azure("agentlessvmscanning");
        assert!(matches!(name, ExtensionName::AgentlessScanning));
        assert_eq!(
            ExtensionName::from_azure("new"),
            ExtensionName::Other("NEW".into())
        );
        assert_eq!(
            ExtensionName::from_azure("New").azure_name(),
            "New",
            "the spelling stays"
        );
    }
}
