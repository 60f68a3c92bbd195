//! A machine as Azure tells it, by Resource Graph or by a direct GET: strings as found, empty where nothing was told.

use std::collections::BTreeMap;

use crate::Timestamp;

/// Publisher of the MDE extensions; together with the type it finds them, whatever they are called (docs/azure-api.md 6.1).
pub const MDE_PUBLISHER: &str = "Microsoft.Azure.AzureDefenderForServers";

/// What kind of resource it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `Microsoft.Compute/virtualMachines`.
    #[default]
    VirtualMachine,
    /// `Microsoft.HybridCompute/machines`.
    ArcMachine,
    /// `Microsoft.Compute/virtualMachineScaleSets` in mode Uniform: its instances are no resources of their own.
    UniformScaleSet,
}

/// Where a machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Environment {
    /// A virtual machine or scale set of Azure, also one that is connected through Azure Arc besides.
    Azure,
    /// Connected through Azure Arc, outside the three clouds.
    OnPremises,
    /// Amazon EC2, through Azure Arc.
    Aws,
    /// Google Compute Engine, through Azure Arc.
    Gcp,
}

impl Environment {
    /// All of them, in the order of every table.
    pub const ALL: [Self; 4] = [Self::Azure, Self::OnPremises, Self::Aws, Self::Gcp];

    /// As status, metrics and tables spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Azure => "Azure",
            Self::OnPremises => "OnPremises",
            Self::Aws => "AWS",
            Self::Gcp => "GCP",
        }
    }
}

/// What Resource Graph's row of the machine is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Listing {
    /// Everything in it could be read.
    #[default]
    Read,
    /// Something in it, perhaps its id, could not be read.
    Unreadable,
    /// There is no row any more, and nothing proves that the machine is deleted.
    NotListed,
}

/// One machine, with its MDE extensions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Machine {
    /// Resource id in the provider's casing; compare without case.
    pub id: String,
    /// Name of the resource.
    pub name: String,
    /// Subscription, lower case.
    pub subscription_id: String,
    /// Resource group; compare without case.
    pub resource_group: String,
    /// Region.
    pub location: String,
    /// What it is.
    pub kind: Kind,
    /// Machines that the resource stands for: 1, or the capacity of a scale set.
    pub instances: u32,
    /// Tags as found.
    pub tags: BTreeMap<String, String>,
    /// `Windows` or `Linux` in any casing, or empty.
    pub os_type: String,
    /// Name of the system as an agent told it (`Windows Server 2022 Datacenter`, `ubuntu`), or empty.
    pub os_name: String,
    /// `osSku` of an Arc machine (`Ubuntu 22.04.4 LTS`), or empty.
    pub os_sku: String,
    /// Version as an agent told it (`22.04`, `10.0.20348.2227`, of a Linux Arc machine the kernel's), or empty.
    pub os_version: String,
    /// The marketplace image of a virtual machine; `None` for a custom image and for Arc.
    pub image: Option<Image>,
    /// `PowerState/running` and so on; empty for Arc and where nobody told.
    pub power: String,
    /// The Arc agent; `None` for a virtual machine.
    pub arc: Option<ArcAgent>,
    /// Cloud of an Arc machine as its agent detected it: `AWS`, `GCP`, `Azure`, `N/A`, anything else.
    pub cloud: String,
    /// Created by a connector of Defender for Cloud (tag `MDFCSecurityConnector`).
    pub by_connector: bool,
    /// Created by the other multicloud connector (tag `PublicCloudConnectorsResourceId`).
    pub other_connector: bool,
    /// `identity.type` of the resource: `None` on a shell that no agent has ever used.
    pub identity: String,
    /// When the virtual machine was created.
    pub created: Option<Timestamp>,
    /// The MDE extensions on it: usually one or none.
    pub extensions: Vec<MdeExtension>,
    /// What its row is worth. Only of one that could be read the other fields are all that Azure says.
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

/// What an Arc machine tells about its agent (docs/azure-api.md 6.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ArcAgent {
    /// `Connected`, `Disconnected`, `Expired`, `Error`, …: an open list.
    pub status: String,
    /// `Cloned`, or empty.
    pub status_reason: String,
    /// When the status changed last.
    pub last_status_change: Option<Timestamp>,
    /// Version of the agent; empty for a shell without one.
    pub agent_version: String,
    /// `extensionsEnabled` of the agent's configuration: `true`, `false` or empty.
    pub extensions_enabled: String,
    /// `publisher/type` entries; empty: everything is allowed.
    pub allow_list: Vec<String>,
    /// `publisher/type` entries.
    pub block_list: Vec<String>,
    /// Whether the agent's extension service runs.
    pub extension_service: Service,
}

/// Whether a service of the Arc agent runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Service {
    /// It runs.
    Running,
    /// It does not run.
    Stopped,
    /// Azure gives no status, or one that has no meaning here: it is not held against the machine.
    #[default]
    Unknown,
}

impl Service {
    /// Reads a status: Windows agents report the states of the service manager, Linux agents those of systemd.
    pub fn of(status: &str) -> Self {
        let status = status.trim().to_ascii_lowercase();
        match status.as_str() {
            "running" | "active" => Self::Running,
            "stopped" | "paused" | "inactive" | "failed" | "dead" | "disabled" | "masked" => Self::Stopped,
            _ => Self::Unknown,
        }
    }
}

/// An MDE extension resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MdeExtension {
    /// Name of the resource: anything.
    pub name: String,
    /// `MDE.Windows` or `MDE.Linux`.
    pub type_: String,
    /// `provisioningState`: `Succeeded`, `Failed`, `Creating`, …: an open list.
    pub state: String,
    /// Version of the handler.
    pub version: String,
    /// The setting `vNextEnabled`: the unified solution on Windows Server 2012 R2 and 2016.
    pub unified: bool,
    /// Code of the instance view (`0`, `ProvisioningState/failed/24`), or empty.
    pub code: String,
    /// Level of the instance view (`Info`, `Information`, `Warning`, `Error`), or empty.
    pub level: String,
    /// Message of the instance view, shortened by the reader, or empty.
    pub message: String,
    /// Time of the instance view; Arc has none.
    pub at: Option<Timestamp>,
    /// `systemData.lastModifiedAt` of the resource: when it was last created or updated.
    pub modified: Option<Timestamp>,
}

impl MdeExtension {
    /// Whether it is on its way to another state: by its provisioning state, or half-way by its instance view.
    pub fn in_transition(&self) -> bool {
        let has_ended = ["Succeeded", "Failed", "Canceled"]
            .iter()
            .any(|state| self.is(state));
        self.is_working() || self.is("Deleting") || (has_ended && self.is_half_way())
    }

    /// It is being installed or updated.
    pub(super) fn is_working(&self) -> bool {
        self.is("Creating") || self.is("Updating")
    }

    /// An instance view that is half-way is no result, whatever the provisioning state says.
    pub(super) fn is_half_way(&self) -> bool {
        self.code.to_ascii_lowercase().contains("transitioning")
            || self
                .message
                .to_ascii_lowercase()
                .contains("configuration in progress")
    }

    pub(super) fn is(&self, state: &str) -> bool {
        self.state.eq_ignore_ascii_case(state)
    }

    /// When its transition began, where Azure dates it. The time of an instance view dates its own status only: during
    /// an update that may be the result of the last run. The resource's date is that of the last PUT: it dates neither
    /// a deletion nor what an agent does by itself.
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
    /// Where it runs. `kind` of the Arc resource is not asked: it is empty for most EC2 and GCE instances. A connector
    /// makes the resource before an agent is there to tell the cloud; then the connector's own tag tells it.
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

    /// The value of a tag, whose name compares without case; `None` also for an empty one.
    pub fn tag(&self, name: &str) -> Option<&str> {
        let found = self.tags.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// A second resource for a machine that has another one, made by the other multicloud connector without an agent.
    pub fn is_foreign_shell(&self) -> bool {
        let without_agent =
            |arc: &ArcAgent| arc.agent_version.is_empty() || self.identity.eq_ignore_ascii_case("None");
        self.other_connector && self.arc.as_ref().is_some_and(without_agent)
    }

    /// Windows, when Azure says so.
    pub fn is_windows(&self) -> bool {
        self.os_type.eq_ignore_ascii_case("Windows")
    }

    /// Linux, when Azure says so.
    pub fn is_linux(&self) -> bool {
        self.os_type.eq_ignore_ascii_case("Linux")
    }

    /// The type of extension that belongs on it; `None` while the system is unknown.
    pub fn expected_extension(&self) -> Option<&'static str> {
        match () {
            () if self.is_windows() => Some("MDE.Windows"),
            () if self.is_linux() => Some("MDE.Linux"),
            () => None,
        }
    }

    /// Takes the extensions of another row of the same machine: a machine with two comes as two rows. It
    /// counts as read only when all of them are.
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

/// Whether an agent reports no cloud: `N/A` comes from machines on premises.
pub fn is_no_cloud(cloud: &str) -> bool {
    cloud.is_empty() || cloud.eq_ignore_ascii_case("N/A")
}
