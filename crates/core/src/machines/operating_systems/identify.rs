//! Finds the operating system of a machine in the table, by what an agent reported or else by the image.

use super::{Found, Known, System, table};
use crate::machines::Machine;

/// The operating system of a machine, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identified {
    /// One of [`super::SYSTEMS`], perhaps with a version.
    Known(Known),
    /// The image of an appliance, with its publisher.
    Appliance(String),
    /// A system with this name that is not one of [`super::SYSTEMS`].
    NotListed(String),
    /// Neither an agent nor an image names the system: a custom image whose agent reports nothing.
    NotReported,
}

/// The operating system of a machine, by what an agent reported or else by the image.
pub fn identify(machine: &Machine) -> Identified {
    let image = machine.image.as_ref();
    if let Some(image) = image {
        // A part of the name does not suffice: `sanfrancisco` contains `cisco`.
        let is_appliance = table::APPLIANCE_PUBLISHERS
            .iter()
            .any(|known| image.publisher.trim().eq_ignore_ascii_case(known));
        if is_appliance || image.offer.to_ascii_lowercase().contains("firewall") {
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
    let known = |(name, _): &(String, &str)| of_text(name);
    if let Some(system) = reported.iter().find_map(known) {
        // A host of Azure Virtual Desktop may be called a client in one field and multi-session in another.
        let multi_session = reported
            .iter()
            .filter_map(known)
            .find(|system| system.name == table::MULTI_SESSION);
        let system = match multi_session {
            Some(host) if system.name == table::WINDOWS_CLIENT => host,
            _ => system,
        };
        let version = reported
            .iter()
            .filter(|text| known(text).is_some())
            .find_map(|(name, number)| version(system, &format!("{name} {number}")));
        return Identified::Known(Known {
            system: stream_or(system, version),
            version,
            architecture: machine.architecture,
        });
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

/// The first system of the table that a text in lower case names.
fn of_text(text: &str) -> Option<&'static System> {
    table::SYSTEMS
        .iter()
        .find(|system| system.words.iter().any(|word| text.contains(word)))
}

/// `CentOS` 9 and later exists as Stream only; agents report both as `centos`.
fn stream_or(system: &'static System, version: Option<Found>) -> &'static System {
    let is_stream = system.name == table::CENTOS && version.is_some_and(|(major, _)| major >= 9);
    let mut all = table::SYSTEMS.iter();
    let stream = all.find(|system| is_stream && system.name == table::CENTOS_STREAM);
    stream.unwrap_or(system)
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

fn version(system: &System, text: &str) -> Option<Found> {
    if system.name == table::MULTI_SESSION {
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
        // Offers separate the parts of the version by a hyphen (`opensuse-leap-15-6`).
        "openSUSE Leap" => {
            let mut numbers = numbers(text);
            let (major, minor) = numbers.next()?;
            let next = numbers.next().map(|(next, _)| next).filter(|next| *next < 10);
            Some((major, minor.or(next)))
        }
        table::UBUNTU => numbers(text).find(|(major, minor)| *major >= 10 && matches!(minor, Some(4 | 10))),
        table::SEMI_ANNUAL => release(text),
        table::AZURE_LOCAL => release(text).or_else(|| release_of_build(text)),
        _ => numbers(text).next().map(split_digits),
    }
}

/// A release that is named by year and month, or by year and half: `1809` is (18, 9), `23H2` is (23, 10).
fn release(text: &str) -> Option<Found> {
    let words = text.split(|at: char| !at.is_ascii_alphanumeric());
    words
        .filter_map(|word| {
            let (year, rest) = word.split_at_checked(2)?;
            let month: u16 = match rest {
                "h1" => 4,
                "h2" => 10,
                month if month.len() == 2 => month.parse().ok()?,
                _ => return None,
            };
            let year: u16 = year.parse().ok()?;
            Some((year, month))
        })
        .find(|(year, month)| (18..40).contains(year) && (1..13).contains(month))
        .map(|(year, month)| (year, Some(month)))
}

/// The release of Azure Local with a build of Windows (`10.0.25398.1128`).
fn release_of_build(text: &str) -> Option<Found> {
    let mut builds = text.split_whitespace().filter_map(|word| word.split('.').nth(2));
    builds.find_map(|build| match build {
        "17784" => Some((20, Some(10))),
        "20348" => Some((21, Some(10))),
        "20349" => Some((22, Some(10))),
        "25398" => Some((23, Some(10))),
        "26100" => Some((24, Some(10))),
        _ => None,
    })
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
