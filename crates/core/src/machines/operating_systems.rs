//! Operating systems as data: what Defender for Endpoint and the Arc agent support (docs/azure-api.md 6.6, as of autumn
//! 2026). [`SYSTEMS`] has the data, [`identify()`] finds the system of a machine in it.

mod identify;
mod table;

pub use self::{
    identify::{Identified, identify, system_name},
    table::{APPLIANCE_PUBLISHERS, SYSTEMS},
};
use super::Architecture;

/// Major and minor version: Windows Server 2012 R2 is (2012, 2), SLES 15 SP4 is (15, 4), Ubuntu 22.04 is (22, 4).
pub type Version = (u16, u16);

/// A range of versions, both ends included.
pub type Span = (Version, Version);

/// A version as found in a text: many images and some agents give the major version only.
type Found = (u16, Option<u16>);

/// The end of a range that contains all minor versions of its last major version.
const LAST: u16 = u16::MAX;

/// The versions of a system that are supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// Every version.
    All,
    /// No version.
    Nothing,
    /// The versions in these ranges, in ascending order. A version above all of them is newer than the table.
    Spans(&'static [Span]),
    /// Unknown: no source says it.
    Unknown,
}

/// An operating system and its supported versions.
#[derive(Debug, PartialEq, Eq)]
pub struct System {
    /// The name of the product, as tables print it.
    pub name: &'static str,
    /// Lower-case words that identify the system in names, SKUs and images; one of them must occur.
    words: &'static [&'static str],
    /// Versions that Defender for Endpoint protects on x64 through Defender for Cloud.
    pub endpoint: Versions,
    /// The same on ARM64.
    pub arm64: Versions,
    /// Versions that the Arc agent supports.
    pub arc: Versions,
    /// Versions about which the sources conflict. Whether Defender for Endpoint supports them is unknown.
    pub unconfirmed: &'static [Span],
}

/// Whether a version is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It is.
    Supported,
    /// It is not.
    Unsupported,
    /// Unknown: the version is newer than [`SYSTEMS`] or was not reported, or the sources do not say it.
    NotListed,
}

/// One of [`SYSTEMS`], and a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    system: &'static System,
    version: Option<Found>,
    architecture: Architecture,
}

impl System {
    /// Versions as the maker of the system writes them, e.g. `8.7 to 8.x, 9.2 to 9.x`.
    pub fn versions(&self, versions: Versions) -> String {
        match versions {
            Versions::All => "all".into(),
            Versions::Nothing => "none".into(),
            Versions::Unknown => "unknown".into(),
            Versions::Spans(spans) => {
                let all: Vec<_> = spans.iter().map(|span| self.span(*span)).collect();
                all.join(", ")
            }
        }
    }

    fn span(&self, (from, through): Span) -> String {
        // A range that begins with the minor version 0 and ends with the last one covers whole major versions.
        let first = match from {
            (major, 0) => self.version((major, None)),
            (major, minor) => self.version((major, Some(minor))),
        };
        let last = match through {
            (major, LAST) if from.1 != 0 && self.has_minor_versions() => format!("{major}.x"),
            (major, LAST) => self.version((major, None)),
            (major, minor) => self.version((major, Some(minor))),
        };
        if first == last {
            first
        } else {
            format!("{first} to {last}")
        }
    }

    /// Whether versions have the form `major.minor`.
    fn has_minor_versions(&self) -> bool {
        !matches!(
            self.name,
            "Windows Server" | "Windows client" | "SUSE Linux Enterprise Server" | "Amazon Linux" | "Fedora"
        )
    }

    /// Whether the minor version is the month of a release, so that a later one is not an update of an earlier one.
    fn is_dated(&self) -> bool {
        self.name == table::UBUNTU
    }

    /// A version as the maker of the system writes it: `2012 R2`, `16.04`, `12 SP5`, `8.7`, `1809`, `23H2`.
    fn version(&self, version: Found) -> String {
        match (self.name, version) {
            ("Windows Server", (year, Some(2))) => format!("{year} R2"),
            ("Ubuntu", (year, Some(month))) => format!("{year}.{month:02}"),
            (table::SEMI_ANNUAL | table::AZURE_LOCAL, (year, Some(10))) => format!("{year}H2"),
            (table::SEMI_ANNUAL | table::AZURE_LOCAL, (year, Some(month))) => format!("{year}{month:02}"),
            ("SUSE Linux Enterprise Server", (major @ ..16, Some(pack @ 1..))) => format!("{major} SP{pack}"),
            ("Windows Server" | "Fedora" | "Amazon Linux", (major, _))
            | ("SUSE Linux Enterprise Server", (major @ ..16, Some(0)))
            | ("Windows client" | "Debian", (major, Some(0)))
            | (_, (major, None)) => major.to_string(),
            (_, (major, Some(minor))) => format!("{major}.{minor}"),
        }
    }

    /// Whether a version is among `versions`. A major version without a minor one may be any of them: it is unsupported
    /// only if all of them are.
    fn support(&self, versions: Versions, version: Option<Found>) -> Support {
        let spans = match versions {
            Versions::All => return Support::Supported,
            Versions::Nothing => return Support::Unsupported,
            Versions::Unknown => return Support::NotListed,
            Versions::Spans(spans) => spans,
        };
        let (lowest, highest) = match version {
            Some((major, Some(minor))) => ((major, minor), (major, minor)),
            Some((major, None)) => ((major, 0), (major, LAST)),
            None => return Support::NotListed,
        };
        let covers = |(from, through): &Span| *from <= highest && lowest <= *through;
        if spans.iter().any(covers) {
            return Support::Supported;
        }
        let is_newest = spans.iter().all(|(_, through)| lowest > *through);
        // SP7 where the table ends with SP6.
        let is_update = spans
            .iter()
            .any(|(_, through)| through.0 == lowest.0 && lowest > *through);
        if is_newest || (is_update && !self.is_dated()) {
            Support::NotListed
        } else {
            Support::Unsupported
        }
    }
}

impl Known {
    /// The system without its version.
    pub const fn system(&self) -> &'static System {
        self.system
    }

    /// Name and version as the maker writes them, e.g. `Ubuntu 22.04`.
    pub fn name(&self) -> String {
        let name = self.name_and_version();
        match self.architecture {
            Architecture::X64 => name,
            Architecture::Arm64 => format!("{name} (ARM64)"),
        }
    }

    fn name_and_version(&self) -> String {
        let system = self.system;
        let Some(found) = self.version else {
            return system.name.to_owned();
        };
        let version = system.version(found);
        match system.name {
            table::MULTI_SESSION => format!("Windows {} Enterprise multi-session", found.0),
            "Windows client" => format!("Windows {version}"),
            "Azure Linux (CBL-Mariner)" if found.0 < 3 => format!("CBL-Mariner {version}"),
            "Azure Linux (CBL-Mariner)" => format!("Azure Linux {version}"),
            name => format!("{name} {version}"),
        }
    }

    /// Whether Defender for Endpoint protects it through Defender for Cloud.
    pub fn endpoint(&self) -> Support {
        let system = self.system;
        let versions = match self.architecture {
            Architecture::X64 => system.endpoint,
            Architecture::Arm64 => system.arm64,
        };
        let is_unconfirmed = self.version.is_some()
            && system.support(Versions::Spans(system.unconfirmed), self.version) == Support::Supported;
        if is_unconfirmed {
            Support::NotListed
        } else {
            system.support(versions, self.version)
        }
    }

    /// Whether the Arc agent supports it.
    pub fn arc(&self) -> Support {
        self.system.support(self.system.arc, self.version)
    }

    /// Windows Server 2012 R2 and 2016, where the unified solution replaces the retired agent.
    pub fn needs_unified_solution(&self) -> bool {
        self.system.name == "Windows Server" && matches!(self.version, Some((2012, Some(2)) | (2016, _)))
    }
}

#[cfg(test)]
mod tests;
