//! A machine as Resource Graph or a direct GET reports it: strings as found, empty if nothing was reported.

use std::collections::BTreeMap;

use super::{Architecture, failures::Evidence};
use crate::Timestamp;

/// Publisher of the MDE extensions. Publisher and type identify them; their names vary (docs/azure-api.md 6.1).
pub const MDE_PUBLISHER: &str = "Microsoft.Azure.AzureDefenderForServers";

/// The type of resource that represents a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `Microsoft.Compute/virtualMachines`.
    #[default]
    VirtualMachine,
    /// `Microsoft.HybridCompute/machines`.
    ArcMachine,
    /// `Microsoft.Compute/virtualMachineScaleSets` in mode Uniform. Its instances have no resources of their own.
    UniformScaleSet,
}

/// Where a machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Environment {
    /// A virtual machine or scale set of Azure, even if it is also connected through Azure Arc.
    Azure,
    /// Connected through Azure Arc, outside the three clouds.
    OnPremises,
    /// Amazon EC2, through Azure Arc.
    Aws,
    /// Google Compute Engine, through Azure Arc.
    Gcp,
}

impl Environment {
    /// All environments, in the order of every table.
    pub const ALL: [Self; 4] = [Self::Azure, Self::OnPremises, Self::Aws, Self::Gcp];

    /// The name in status, metrics and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Azure => "Azure",
            Self::OnPremises => "OnPremises",
            Self::Aws => "AWS",
            Self::Gcp => "GCP",
        }
    }
}

/// Whether Resource Graph lists the machine, and whether its row could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Listing {
    /// The whole row could be read.
    #[default]
    Read,
    /// A part of the row, perhaps its id, could not be read.
    Unreadable,
    /// The row has disappeared, and nothing proves that the machine is deleted.
    NotListed,
}

/// One machine, with its MDE extensions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Machine {
    /// Resource id in the provider's casing. Compare case-insensitively.
    pub id: String,
    /// Name of the resource.
    pub name: String,
    /// Subscription, lower case.
    pub subscription_id: String,
    /// Resource group. Compare case-insensitively.
    pub resource_group: String,
    /// Region.
    pub location: String,
    /// Type of the resource.
    pub kind: Kind,
    /// Number of machines behind the resource: 1, or the capacity of a scale set.
    pub instances: u32,
    /// Tags as found.
    pub tags: BTreeMap<String, String>,
    /// `Windows` or `Linux` in any casing, or empty.
    pub os_type: String,
    /// Name of the system as an agent reports it (`Windows Server 2022 Datacenter`, `ubuntu`), or empty.
    pub os_name: String,
    /// `osSku` of an Arc machine (`Ubuntu 22.04.4 LTS`), or empty.
    pub os_sku: String,
    /// Version as an agent reports it (`22.04`, `10.0.20348.2227`; the kernel's for a Linux Arc machine), or empty.
    pub os_version: String,
    /// The marketplace image of a virtual machine; `None` for a custom image and for Arc.
    pub image: Option<Image>,
    /// The processor architecture, as far as anything indicates it.
    pub architecture: Architecture,
    /// `PowerState/running` and so on; empty for Arc machines and if it was not reported.
    pub power: String,
    /// The Arc agent; `None` for a virtual machine.
    pub arc: Option<ArcAgent>,
    /// Cloud of an Arc machine as its agent detected it: `AWS`, `GCP`, `Azure`, `N/A` or any other text.
    pub cloud: String,
    /// Created by a connector of Defender for Cloud (tag `MDFCSecurityConnector`).
    pub by_connector: bool,
    /// Created by the multicloud connector of Azure Arc (tag `PublicCloudConnectorsResourceId`).
    pub other_connector: bool,
    /// `identity.type` of the resource; `None` if no agent has ever connected.
    pub identity: String,
    /// When the virtual machine was created.
    pub created: Option<Timestamp>,
    /// The MDE extensions on the machine: usually one or none.
    pub extensions: Vec<MdeExtension>,
    /// Whether the row could be read. If not, the other fields may lack something that Azure reports.
    pub listing: Listing,
}

/// A marketplace image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Image {
    pub publisher: String,
    pub offer: String,
    pub sku: String,
}

/// What an Arc machine reports about its agent (docs/azure-api.md 6.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ArcAgent {
    /// `Connected`, `Disconnected`, `Expired`, `Error` or another text: the list is open.
    pub status: String,
    /// `Cloned`, or empty.
    pub status_reason: String,
    /// When the status last changed.
    pub last_status_change: Option<Timestamp>,
    /// Version of the agent; empty if there is none.
    pub agent_version: String,
    /// `extensionsEnabled` in the agent's configuration: `true`, `false` or empty.
    pub extensions_enabled: String,
    /// Entries `publisher/type`. If the list is empty, every extension is allowed.
    pub allow_list: Vec<String>,
    /// Entries `publisher/type`.
    pub block_list: Vec<String>,
    /// Whether the agent's extension service runs.
    pub extension_service: Service,
}

/// Whether a service of the Arc agent runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Service {
    /// It is running.
    Running,
    /// It is not running.
    Stopped,
    /// Azure reports no status, or an unknown one. It does not affect the verdict.
    #[default]
    Unknown,
}

impl Service {
    /// Parses a status. Windows agents report states of the service manager, Linux agents those of systemd.
    pub fn of(status: &str) -> Self {
        let status = status.trim().to_ascii_lowercase();
        match status.as_str() {
            "running" | "active" => Self::Running,
            "stopped" | "paused" | "inactive" | "failed" | "dead" | "disabled" | "masked" => Self::Stopped,
            _ => Self::Unknown,
        }
    }
}

/// An MDE extension of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MdeExtension {
    /// Name of the resource, which may be anything.
    pub name: String,
    /// `MDE.Windows` or `MDE.Linux`.
    pub type_: String,
    /// `provisioningState`: `Succeeded`, `Failed`, `Creating` or another text: the list is open.
    pub state: String,
    /// Version of the handler.
    pub version: String,
    /// The setting `vNextEnabled`, which selects the unified solution on Windows Server 2012 R2 and 2016. `None` if it is
    /// absent: deployments by hand often lack it (docs/azure-api.md 6.1).
    pub unified: Option<bool>,
    /// Code of the instance view (`0`, `ProvisioningState/failed/24`), or empty.
    pub code: String,
    /// Level of the instance view (`Info`, `Information`, `Warning`, `Error`), or empty.
    pub level: String,
    /// Message of the instance view, shortened, or empty.
    pub message: String,
    /// What the whole message says about a failure.
    pub evidence: Evidence,
    /// Time of the instance view; `None` for Arc machines.
    pub at: Option<Timestamp>,
    /// `systemData.lastModifiedAt` of the resource: when it was last created or updated.
    pub modified: Option<Timestamp>,
}

impl MdeExtension {
    /// Whether the extension is changing to another state, by its provisioning state or its instance view.
    pub fn in_transition(&self) -> bool {
        let has_ended = ["Succeeded", "Failed", "Canceled"]
            .iter()
            .any(|state| self.is(state));
        self.is_working() || self.is("Deleting") || (has_ended && self.is_in_progress())
    }

    /// Whether it is being installed or updated.
    pub(super) fn is_working(&self) -> bool {
        self.is("Creating") || self.is("Updating")
    }

    /// Whether the instance view reports progress. Then the provisioning state is not a result, even if it looks final.
    pub(super) fn is_in_progress(&self) -> bool {
        self.code.to_ascii_lowercase().contains("transitioning")
            || self
                .message
                .to_ascii_lowercase()
                .contains("configuration in progress")
    }

    pub(super) fn is(&self, state: &str) -> bool {
        self.state.eq_ignore_ascii_case(state)
    }

    /// When the transition began, if Azure dates it. The time of an instance view belongs to the status in it, which
    /// during an update may still be the result of the previous run. The date of the resource is that of its last PUT:
    /// it dates neither a deletion nor an action of the agent.
    pub fn transition_began(&self) -> Option<Timestamp> {
        let code = self.code.to_ascii_lowercase();
        let of_transition = code.is_empty()
            || ["transitioning", "creating", "updating", "deleting"]
                .iter()
                .any(|state| code.contains(state));
        let viewed = self.at.filter(|_| of_transition);
        viewed.or(self.modified.filter(|_| self.is_working()))
    }
}

impl Machine {
    /// Where the machine runs. The field `kind` of the Arc resource does not help: it is empty for most EC2 and GCE
    /// instances. A connector creates the resource before an agent can report the cloud; until then its tag is used.
    pub fn environment(&self) -> Environment {
        if self.kind != Kind::ArcMachine {
            return Environment::Azure;
        }
        let cloud = if is_no_cloud(&self.cloud) && self.by_connector {
            self.tag("Cloud").unwrap_or_default()
        } else {
            &self.cloud
        };
        match () {
            () if cloud.eq_ignore_ascii_case("AWS") => Environment::Aws,
            () if cloud.eq_ignore_ascii_case("GCP") => Environment::Gcp,
            () if cloud.eq_ignore_ascii_case("Azure") => Environment::Azure,
            () => Environment::OnPremises,
        }
    }

    /// The value of a tag; `None` if it is missing or empty. The name is not case-sensitive.
    pub fn tag(&self, name: &str) -> Option<&str> {
        let found = self.tags.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// Whether this is a second resource of a machine, created by the multicloud connector of Azure Arc without an
    /// agent.
    pub fn is_foreign_shell(&self) -> bool {
        let without_agent =
            |arc: &ArcAgent| arc.agent_version.is_empty() || self.identity.eq_ignore_ascii_case("None");
        self.other_connector && self.arc.as_ref().is_some_and(without_agent)
    }

    /// The power state without its prefix: `running`; empty if it was not reported.
    pub fn power_state(&self) -> &str {
        self.power.rsplit('/').next().unwrap_or_default()
    }

    /// Whether Azure reports the type Windows.
    pub fn is_windows(&self) -> bool {
        self.os_type.eq_ignore_ascii_case("Windows")
    }

    /// Whether Azure reports the type Linux.
    pub fn is_linux(&self) -> bool {
        self.os_type.eq_ignore_ascii_case("Linux")
    }

    /// The type of extension that belongs on the machine; `None` if its operating system is unknown.
    pub fn expected_extension(&self) -> Option<&'static str> {
        match () {
            () if self.is_windows() => Some("MDE.Windows"),
            () if self.is_linux() => Some("MDE.Linux"),
            () => None,
        }
    }

    /// Adds the extensions of another row of the same machine: a machine with two extensions has two rows. The machine
    /// counts as read only if all its rows do.
    pub fn merge(&mut self, other: Self) {
        if other.listing != Listing::Read {
            self.listing = other.listing;
        }
        for extension in other.extensions {
            if !self.extensions.contains(&extension) {
                self.extensions.push(extension);
            }
        }
    }
}

/// Whether an agent reports no cloud; machines on premises report `N/A`.
pub fn is_no_cloud(cloud: &str) -> bool {
    cloud.is_empty() || cloud.eq_ignore_ascii_case("N/A")
}
