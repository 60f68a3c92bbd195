//! A machine as Azure tells it, by Resource Graph or by a direct GET: strings as found, empty where nothing was told.

use std::collections::BTreeMap;

use crate::Timestamp;

/// Publisher of the MDE extensions; together with the type it finds them, whatever they are called (contract.md 6.1).
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
    /// A virtual machine or scale set of Azure.
    Azure,
    /// Connected through Azure Arc, outside the two clouds.
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
    /// Version as an agent told it (`22.04`, `10.0.20348.2227`), or empty.
    pub os_version: String,
    /// The marketplace image of a virtual machine; `None` for a custom image and for Arc.
    pub image: Option<Image>,
    /// `PowerState/running` and so on; empty for Arc and where nobody told.
    pub power: String,
    /// The Arc agent; `None` for a virtual machine.
    pub arc: Option<ArcAgent>,
    /// Cloud of an Arc machine as its agent detected it: `AWS`, `GCP`, anything else.
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
}

/// A marketplace image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Image {
    pub publisher: String,
    pub offer: String,
    pub sku: String,
}

/// What an Arc machine tells about its agent (contract.md 6.3).
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
    /// `full`, `monitor` or empty.
    pub config_mode: String,
    /// `publisher/type` entries; empty: everything is allowed.
    pub allow_list: Vec<String>,
    /// `publisher/type` entries.
    pub block_list: Vec<String>,
    /// Status of the agent's extension service: `running`, or empty where nobody told.
    pub extension_service: String,
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
    /// Time of the instance view.
    pub at: Option<Timestamp>,
}

impl Machine {
    /// Where it runs. `kind` of the Arc resource is not asked: it is empty for most EC2 and GCE instances. A connector
    /// makes the resource before an agent is there to tell the cloud; then the connector's own tag tells it.
    pub fn environment(&self) -> Environment {
        if self.kind != Kind::ArcMachine {
            return Environment::Azure;
        }
        let cloud = if self.cloud.is_empty() && self.by_connector {
            self.tag("Cloud").unwrap_or_default()
        } else {
            &self.cloud
        };
        match () {
            () if cloud.eq_ignore_ascii_case("AWS") => Environment::Aws,
            () if cloud.eq_ignore_ascii_case("GCP") => Environment::Gcp,
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
    pub fn wanted_extension(&self) -> Option<&'static str> {
        match () {
            () if self.is_windows() => Some("MDE.Windows"),
            () if self.is_linux() => Some("MDE.Linux"),
            () => None,
        }
    }

    /// Takes the extensions of another row of the same machine: a machine with two comes as two rows.
    pub fn merge(&mut self, other: Self) {
        for extension in other.extensions {
            if !self.extensions.contains(&extension) {
                self.extensions.push(extension);
            }
        }
    }
}
