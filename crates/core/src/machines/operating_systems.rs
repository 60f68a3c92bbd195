//! Operating systems as data: what Defender for Endpoint and the Arc agent support (docs/azure-api.md 6.6, as of autumn
//! 2026).

use super::Machine;

/// Major and minor version: Windows Server 2012 R2 is (2012, 2), SLES 15 SP4 is (15, 4), Ubuntu 22.04 is (22, 4).
pub type Version = (u16, u16);

/// A range of versions, both ends included.
pub type Span = (Version, Version);

/// An operating system and its supported versions.
#[derive(Debug)]
pub struct System {
    /// The name of the product, as tables print it.
    pub name: &'static str,
    /// Lower-case words that identify the system in names, SKUs and images; one of them must occur.
    pub words: &'static [&'static str],
    /// Versions that Defender for Endpoint protects through Defender for Cloud.
    pub endpoint: &'static [Span],
    /// Versions that the Arc agent supports.
    pub arc: &'static [Span],
}

/// A version as found in a text: many images and some agents give the major version only.
type Found = (u16, Option<u16>);

const LAST: u16 = u16::MAX;
/// Index of the hosts of Azure Virtual Desktop in [`SYSTEMS`].
const MULTI_SESSION: usize = 1;
const EVERY: Span = ((0, 0), (LAST, LAST));

/// All known systems. The first one whose words occur in a text decides.
pub const SYSTEMS: [System; 13] = [
    System {
        name: "Windows Server",
        words: &["windows server", "windowsserver"],
        endpoint: &[((2008, 2), (2008, 2)), ((2012, 2), (2025, LAST))],
        arc: &[((2012, 0), (2025, LAST))],
    },
    System {
        name: "Windows 10 and 11 Enterprise multi-session",
        words: &["multi-session", "virtual desktops", "-avd", "-evd"],
        endpoint: &[EVERY],
        arc: &[],
    },
    System {
        name: "Windows client",
        words: &[
            "windows 1",
            "windows 7",
            "windows 8",
            "windowsdesktop",
            "windows-1",
            "windows-7",
        ],
        endpoint: &[],
        arc: &[((10, 0), (11, LAST))],
    },
    System {
        name: "Ubuntu",
        words: &["ubuntu"],
        endpoint: &[((16, 4), (LAST, LAST))],
        arc: &[((18, 4), (26, 4))],
    },
    System {
        name: "Red Hat Enterprise Linux",
        words: &["red hat", "redhat", "rhel"],
        endpoint: &[((7, 2), (10, LAST))],
        arc: &[((7, 0), (10, LAST))],
    },
    System {
        name: "Debian",
        words: &["debian"],
        endpoint: &[((9, 0), (LAST, LAST))],
        arc: &[((11, 0), (13, LAST))],
    },
    System {
        name: "SUSE Linux Enterprise Server",
        words: &["suse", "sles"],
        endpoint: &[((12, 0), (12, LAST)), ((15, 0), (15, LAST))],
        arc: &[((12, 5), (12, 5)), ((15, 4), (15, 7))],
    },
    System {
        name: "Oracle Linux",
        words: &["oracle"],
        endpoint: &[((7, 2), (9, LAST))],
        arc: &[((7, 0), (10, LAST))],
    },
    System {
        name: "Amazon Linux",
        words: &["amazon"],
        endpoint: &[((2, 0), (2, LAST)), ((2023, 0), (2023, LAST))],
        arc: &[((2, 0), (2, LAST)), ((2023, 0), (2023, LAST))],
    },
    System {
        name: "Fedora",
        words: &["fedora"],
        endpoint: &[((33, 0), (LAST, LAST))],
        arc: &[],
    },
    System {
        name: "Rocky Linux",
        words: &["rocky"],
        endpoint: &[((8, 7), (8, LAST)), ((9, 2), (9, LAST))],
        arc: &[((8, 0), (9, LAST))],
    },
    System {
        name: "AlmaLinux",
        words: &["alma"],
        endpoint: &[((8, 7), (8, LAST)), ((9, 2), (9, LAST))],
        arc: &[((8, 0), (9, LAST))],
    },
    System {
        name: "Azure Linux (CBL-Mariner)",
        words: &["mariner", "azure linux", "azurelinux", "azure-linux"],
        endpoint: &[((2, 0), (2, LAST))],
        arc: &[((3, 0), (3, LAST))],
    },
];

/// Publishers of images that are appliances or managed by another service. The built-in policies exclude them
/// (docs/azure-api.md 6.1).
pub const APPLIANCE_PUBLISHERS: [&str; 10] = [
    "azuredatabricks",
    "azureopenshift",
    "barracudanetworks",
    "checkpoint",
    "cisco",
    "databricks",
    "f5-networks",
    "fortinet",
    "microsoft-aks",
    "paloaltonetworks",
];

/// Whether a version is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It is.
    Supported,
    /// It is not.
    Unsupported,
    /// Unknown: the version is newer than [`SYSTEMS`], or was not reported.
    NotListed,
}

/// The operating system of a machine, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identified {
    /// One of [`SYSTEMS`], perhaps with a version.
    Known(Known),
    /// The image of an appliance, with its publisher.
    Appliance(String),
    /// A system with this name that is not one of [`SYSTEMS`].
    NotListed(String),
    /// Neither an agent nor an image names the system: a custom image whose agent reports nothing.
    NotReported,
}

/// One of [`SYSTEMS`], and a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    index: usize,
    version: Option<Found>,
}

impl System {
    /// Ranges of versions as the maker of the system writes them, e.g. `16.04 and later` or `8.7 to 8.x, 9.2 to 9.x`.
    pub fn versions(&self, spans: &[Span]) -> String {
        if spans.is_empty() {
            return "none".into();
        }
        let all: Vec<_> = spans.iter().map(|span| self.span(*span)).collect();
        all.join(", ")
    }

    fn span(&self, (from, through): Span) -> String {
        if (from, through) == EVERY {
            return "all".into();
        }
        // A range that begins with the minor version 0 and ends with the last one covers whole major versions.
        let first = match from {
            (major, 0) => self.version((major, None)),
            (major, minor) => self.version((major, Some(minor))),
        };
        let last = match through {
            (LAST, _) => return format!("{first} and later"),
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

    /// A version as the maker of the system writes it: `2012 R2`, `16.04`, `12 SP5`, `8.7`.
    fn version(&self, version: Found) -> String {
        match (self.name, version) {
            ("Windows Server", (year, Some(2))) => format!("{year} R2"),
            ("Ubuntu", (year, Some(month))) => format!("{year}.{month:02}"),
            ("SUSE Linux Enterprise Server", (major, Some(pack @ 1..))) => format!("{major} SP{pack}"),
            ("Windows Server" | "Fedora" | "Amazon Linux", (major, _))
            | ("SUSE Linux Enterprise Server" | "Windows client" | "Debian", (major, Some(0)))
            | (_, (major, None)) => major.to_string(),
            (_, (major, Some(minor))) => format!("{major}.{minor}"),
        }
    }
}

impl Known {
    /// The system without its version.
    pub fn system(&self) -> &'static System {
        SYSTEMS.get(self.index).unwrap_or(&SYSTEMS[0])
    }

    /// Name and version as the maker writes them, e.g. `Ubuntu 22.04`.
    pub fn name(&self) -> String {
        let system = self.system();
        let Some(found) = self.version else {
            return system.name.to_owned();
        };
        let version = system.version(found);
        match system.name {
            _ if self.index == MULTI_SESSION => format!("Windows {} Enterprise multi-session", found.0),
            "Windows client" => format!("Windows {version}"),
            "Azure Linux (CBL-Mariner)" if found.0 < 3 => format!("CBL-Mariner {version}"),
            "Azure Linux (CBL-Mariner)" => format!("Azure Linux {version}"),
            name => format!("{name} {version}"),
        }
    }

    /// Whether Defender for Endpoint protects it through Defender for Cloud.
    pub fn endpoint(&self) -> Support {
        support(self.system().endpoint, self.version)
    }

    /// Whether the Arc agent supports it.
    pub fn arc(&self) -> Support {
        support(self.system().arc, self.version)
    }

    /// Windows Server 2012 R2 and 2016, where the unified solution replaces the retired agent.
    pub fn needs_unified_solution(&self) -> bool {
        self.system().name == "Windows Server" && matches!(self.version, Some((2012, Some(2)) | (2016, _)))
    }
}

/// A major version without a minor one may be any of them: it is unsupported only if all of them are.
fn support(spans: &[Span], version: Option<Found>) -> Support {
    let Some(last) = spans.last() else {
        return Support::Unsupported;
    };
    let version = match version {
        Some((major, Some(minor))) => Some(((major, minor), (major, minor))),
        Some((major, None)) => Some(((major, 0), (major, LAST))),
        None => None,
    };
    let Some((lowest, highest)) = version else {
        let all = spans == [EVERY];
        return if all {
            Support::Supported
        } else {
            Support::NotListed
        };
    };
    if spans
        .iter()
        .any(|(from, through)| *from <= highest && lowest <= *through)
    {
        return Support::Supported;
    }
    if lowest > last.1 {
        return Support::NotListed;
    }
    Support::Unsupported
}

/// The operating system of a machine, by what an agent reported or else by the image.
pub fn identify(machine: &Machine) -> Identified {
    let image = machine.image.as_ref();
    if let Some(image) = image {
        let publisher = image.publisher.to_ascii_lowercase();
        if APPLIANCE_PUBLISHERS.iter().any(|known| publisher.contains(known))
            || image.offer.to_ascii_lowercase().contains("firewall")
        {
            return Identified::Appliance(image.publisher.clone());
        }
    }
    // The SKU says most: an agent's name may be just `windows`. The version is kept apart from the name, because
    // `windows` with the version 10.0.20348 is not Windows 10.
    let version_of_name = distribution_version(machine);
    let mut reported = vec![
        (machine.os_sku.clone(), version_of_name),
        (spelled_out(&machine.os_name).to_owned(), version_of_name),
    ];
    reported.extend(image.map(|image| (format!("{} {} {}", image.publisher, image.offer, image.sku), "")));
    reported.retain(|(name, _)| !name.trim().is_empty());
    for (name, _) in &mut reported {
        name.make_ascii_lowercase();
    }
    let known = |(name, _): &(String, &str)| {
        let occurs = |system: &System| system.words.iter().any(|word| name.contains(word));
        SYSTEMS.iter().position(occurs)
    };
    if let Some(index) = reported.iter().find_map(known) {
        // A host of Azure Virtual Desktop may be called a client in one field and multi-session in another.
        let multi_session = || reported.iter().any(|text| known(text) == Some(MULTI_SESSION));
        let is_client = SYSTEMS
            .get(index)
            .is_some_and(|system| system.name == "Windows client");
        let index = if is_client && multi_session() {
            MULTI_SESSION
        } else {
            index
        };
        let version = reported
            .iter()
            .filter(|text| known(text).is_some())
            .find_map(|(name, number)| version(index, &format!("{name} {number}")));
        return Identified::Known(Known { index, version });
    }
    let named = [&machine.os_sku, &machine.os_name].into_iter().find(|text| {
        let text = text.trim().to_ascii_lowercase();
        !matches!(text.as_str(), "" | "windows" | "linux" | "unknown" | "n/a")
    });
    match (named, image) {
        (Some(name), _) => Identified::NotListed(name.trim().to_owned()),
        (None, Some(image)) => Identified::NotListed(format!("{} {}", image.publisher, image.offer)),
        (None, None) => Identified::NotReported,
    }
}

/// The operating system of a machine as messages and tables print it.
pub fn system_name(machine: &Machine) -> String {
    match identify(machine) {
        Identified::Known(known) => known.name(),
        Identified::Appliance(publisher) => format!("image of {publisher}"),
        Identified::NotListed(name) => name,
        Identified::NotReported if machine.os_type.is_empty() => "unknown".into(),
        Identified::NotReported => format!("{} (unknown version)", machine.os_type),
    }
}

/// Replaces ids of distributions (`ID` in `/etc/os-release`) that are too short to be searched for in a text.
fn spelled_out(name: &str) -> &str {
    match name.trim().to_ascii_lowercase().as_str() {
        "ol" => "Oracle Linux",
        "amzn" => "Amazon Linux",
        _ => name,
    }
}

/// The version of the distribution, or nothing: a Linux Arc agent reports the name `linux` and the kernel's version.
fn distribution_version(machine: &Machine) -> &str {
    let version = machine.os_version.trim();
    let is_kernel = machine.os_name.trim().eq_ignore_ascii_case("linux") || version.contains('-');
    if is_kernel && !machine.is_windows() {
        ""
    } else {
        version
    }
}

fn version(index: usize, text: &str) -> Option<Found> {
    let system = SYSTEMS.get(index)?;
    if index == MULTI_SESSION {
        // SKUs have other numbers too (`win11-23h2-avd-m365`).
        return numbers(text)
            .find(|(major, _)| matches!(major, 10 | 11))
            .map(|(major, _)| (major, None));
    }
    // Digits before the name of the system are not its version (`0001-com-ubuntu-server-jammy 22_04-lts`).
    let at = system
        .words
        .iter()
        .filter_map(|word| {
            text.find(word)
                .map(|at| at + word.trim_end_matches(|end: char| end.is_ascii_digit()).len())
        })
        .min();
    let text = text.get(at.unwrap_or(0)..).unwrap_or(text);
    match system.name {
        "Windows Server" => {
            let year = numbers(text).find(|(major, _)| (2008..2100).contains(major))?.0;
            let second = text.contains("r2");
            Some((year, Some(if second && year < 2016 { 2 } else { 0 })))
        }
        // Without a service pack it is the first release of the major version.
        "SUSE Linux Enterprise Server" => {
            let (major, minor) = numbers(text).next()?;
            let pack = text.split("sp").skip(1).find_map(|rest| numbers(rest).next());
            Some((major, pack.map(|(pack, _)| pack).or(minor).or(Some(0))))
        }
        "Ubuntu" => numbers(text).find(|(major, minor)| *major >= 10 && matches!(minor, Some(4 | 10))),
        _ => numbers(text).next().map(split_digits),
    }
}

/// Image SKUs omit the dot: `86-gen2` is 8.6.
fn split_digits((major, minor): Found) -> Found {
    if minor.is_some() || !(60..1000).contains(&major) {
        return (major, minor);
    }
    let digits = major.to_string();
    let (first, rest) = digits.split_at(1);
    let parsed = first.parse().ok().zip(rest.parse().ok());
    parsed.map_or((major, minor), |(major, minor)| (major, Some(minor)))
}

/// Parts of offers and SKUs whose digits are not a version: architectures, generations, editions.
const NO_VERSIONS: [&str; 9] = [
    "x86", "x64", "amd64", "arm64", "aarch64", "gen", "g2", "m365", "o365",
];

/// Numbers in a text as pairs: `22.04` and `22_04` are (22, 4), `12` is (12, none).
fn numbers(text: &str) -> impl Iterator<Item = Found> {
    text.split(|at: char| !(at.is_ascii_alphanumeric() || matches!(at, '.' | '_')))
        .filter(|part| !NO_VERSIONS.iter().any(|tail| part.starts_with(tail)))
        .flat_map(|part| part.split(|at: char| !(at.is_ascii_digit() || matches!(at, '.' | '_'))))
        .filter_map(|run| {
            let mut parts = run.split(['.', '_']).filter(|part| !part.is_empty());
            let major = parts.next()?.parse().ok()?;
            let minor = parts.next().and_then(|part| part.parse().ok());
            Some((major, minor))
        })
}

#[cfg(test)]
mod tests;
