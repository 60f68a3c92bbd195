//! Operating systems as data: what Defender for Endpoint and the Arc agent support (docs/azure-api.md 6.6, as of autumn 2026).

use super::Machine;

/// Major and minor version; Windows Server 2012 R2 is (2012, 2), SLES 15 SP4 is (15, 4).
pub type Version = (u16, u16);

/// Versions from the first through the last.
pub type Span = (Version, Version);

/// A line of the table.
#[derive(Debug)]
pub struct System {
    /// For people.
    pub name: &'static str,
    /// Lower-case words by which it is known in names, SKUs and images; one of them must occur.
    pub words: &'static [&'static str],
    /// Versions that Defender for Endpoint protects through Defender for Cloud.
    pub endpoint: &'static [Span],
    /// Versions that the Arc agent supports.
    pub arc: &'static [Span],
}

/// A version as found in a text: many images and some agents name the major version alone.
type Found = (u16, Option<u16>);

const LAST: u16 = u16::MAX;
/// Place of the hosts of Azure Virtual Desktop in the table.
const MULTI_SESSION: usize = 1;
const EVERY: Span = ((0, 0), (LAST, LAST));

/// The table. The first line whose words occur decides.
pub const SYSTEMS: [System; 13] = [
    System {
        name: "Windows Server",
        words: &["windows server", "windowsserver"],
        endpoint: &[((2008, 2), (2008, 2)), ((2012, 2), (2025, LAST))],
        arc: &[((2012, 0), (2025, LAST))],
    },
    System {
        name: "Windows 10, 11 Enterprise multi-session",
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
        name: "Azure Linux (Mariner)",
        words: &["mariner", "azure linux", "azurelinux", "azure-linux"],
        endpoint: &[((2, 0), (2, LAST))],
        arc: &[((3, 0), (3, LAST))],
    },
];

/// Publishers of images that are appliances or managed by another service: the built-in policies leave them out
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
    /// The table says yes.
    Supported,
    /// The table says no.
    Unsupported,
    /// Newer than the table, or a system that it does not list.
    NotListed,
}

/// What is known of a machine's system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identified {
    /// A line of the table and a version.
    Known(Known),
    /// An image of the appliances; its publisher.
    Appliance(String),
    /// A system with this name, which the table does not list.
    NotListed(String),
    /// Nobody told: a custom image whose agent is silent.
    NotReported,
}

/// A line of the table and a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    line: usize,
    version: Option<Found>,
}

impl Known {
    /// The line of the table.
    pub fn system(&self) -> &'static System {
        SYSTEMS.get(self.line).unwrap_or(&SYSTEMS[0])
    }

    /// For people: `Ubuntu 22.04`.
    pub fn name(&self) -> String {
        let name = self.system().name;
        match self.version {
            Some((2012 | 2008, Some(2))) if name == "Windows Server" => {
                format!("{name} {} R2", self.version.map_or(0, |version| version.0))
            }
            Some((major, _)) if name == "Windows Server" => format!("{name} {major}"),
            Some((major, _)) if self.line == MULTI_SESSION => {
                format!("Windows {major} Enterprise multi-session")
            }
            Some((major, None | Some(0))) => format!("{name} {major}"),
            Some((major, Some(minor))) if name == "Ubuntu" => format!("{name} {major}.{minor:02}"),
            Some((major, Some(minor))) if name.starts_with("SUSE") => format!("{name} {major} SP{minor}"),
            Some((major, Some(minor))) => format!("{name} {major}.{minor}"),
            None => name.to_owned(),
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

/// A major version alone stands for any of its minor ones, an image without one for the newest: it is out of the table
/// only when all of them are.
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

/// Finds the machine's system in the table: by what an agent told, else by its image.
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
    // The SKU is the most telling: an agent's name may be as short as `windows`. The version is no part of a name:
    // `windows` 10.0.20348 is no Windows 10.
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
    if let Some(line) = reported.iter().find_map(known) {
        // A host of Azure Virtual Desktop may call itself a client in one place and by its right name in another.
        let multi_session = || reported.iter().any(|text| known(text) == Some(MULTI_SESSION));
        let is_client = SYSTEMS
            .get(line)
            .is_some_and(|system| system.name == "Windows client");
        let line = if is_client && multi_session() {
            MULTI_SESSION
        } else {
            line
        };
        let version = reported
            .iter()
            .filter(|text| known(text).is_some())
            .find_map(|(name, number)| version(line, &format!("{name} {number}")));
        return Identified::Known(Known { line, version });
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

/// A machine's system for people, by the table of systems, else as its agent or image told it.
pub fn system_name(machine: &Machine) -> String {
    match identify(machine) {
        Identified::Known(known) => known.name(),
        Identified::Appliance(publisher) => format!("image of {publisher}"),
        Identified::NotListed(name) => name,
        Identified::NotReported if machine.os_type.is_empty() => "not told".into(),
        Identified::NotReported => format!("{} (version not told)", machine.os_type),
    }
}

/// Some distributions call themselves by a word that is too short to be searched for (`ID` of `/etc/os-release`).
fn spelled_out(name: &str) -> &str {
    match name.trim().to_ascii_lowercase().as_str() {
        "ol" => "Oracle Linux",
        "amzn" => "Amazon Linux",
        _ => name,
    }
}

/// The version that belongs to the name: a Linux Arc agent calls the system `linux` and reports the kernel's version.
fn distribution_version(machine: &Machine) -> &str {
    let version = machine.os_version.trim();
    let is_kernel = machine.os_name.trim().eq_ignore_ascii_case("linux") || version.contains('-');
    if is_kernel && !machine.is_windows() {
        ""
    } else {
        version
    }
}

fn version(line: usize, text: &str) -> Option<Found> {
    let system = SYSTEMS.get(line)?;
    if line == MULTI_SESSION {
        // Of the words that make it one, SKUs have the release before and tails behind (`win11-23h2-avd-m365`).
        return numbers(text)
            .find(|(major, _)| matches!(major, 10 | 11))
            .map(|(major, _)| (major, None));
    }
    // Digits before the system's own word belong to something else (`0001-com-ubuntu-server-jammy 22_04-lts`).
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
        // Without a service pack it is the first release of its version.
        "SUSE Linux Enterprise Server" => {
            let (major, minor) = numbers(text).next()?;
            let pack = text.split("sp").skip(1).find_map(|rest| numbers(rest).next());
            Some((major, pack.map(|(pack, _)| pack).or(minor).or(Some(0))))
        }
        "Ubuntu" => numbers(text).find(|(major, minor)| *major >= 10 && matches!(minor, Some(4 | 10))),
        _ => numbers(text).next().map(split_majors),
    }
}

/// Image SKUs leave the point out: `86-gen2` is 8.6.
fn split_majors((major, minor): Found) -> Found {
    if minor.is_some() || !(60..1000).contains(&major) {
        return (major, minor);
    }
    let digits = major.to_string();
    let (first, rest) = digits.split_at(1);
    let parsed = first.parse().ok().zip(rest.parse().ok());
    parsed.map_or((major, minor), |(major, minor)| (major, Some(minor)))
}

/// Parts of offers and SKUs whose digits are no version: architectures, generations, editions.
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
#[path = "operating_systems_tests.rs"]
mod tests;
