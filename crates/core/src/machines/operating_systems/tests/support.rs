//! Which versions are supported: the ends of the table, its gaps, and architectures.

use super::*;

fn known(machine: &Machine) -> Known {
    match identify(machine) {
        Identified::Known(known) => known,
        other => panic!("{machine:?}: {other:?}"),
    }
}

fn on(architecture: Architecture, name: &str, version: &str) -> Machine {
    Machine {
        architecture,
        ..named("Linux", name, version)
    }
}

#[test]
fn a_version_that_is_newer_than_the_table_is_unknown() {
    for (name, version) in [
        ("ubuntu", "26.10"),
        ("ubuntu", "28.04"),
        ("debian", "14"),
        ("rhel", "11.0"),
        ("fedora", "45"),
        ("sles", "17"),
        ("ol", "11.1"),
        ("rocky", "11.0"),
        ("almalinux", "11"),
        ("centos", "11"),
        ("amzn", "2027"),
        ("azurelinux", "3.0"),
        ("opensuse-leap", "15.7"),
        ("opensuse-leap", "17.0"),
        ("opensuse-tumbleweed", "20261101"),
    ] {
        let found = known(&on(Architecture::X64, name, version));
        assert_eq!(found.endpoint(), Support::NotListed, "{}", found.name());
    }
    for sku in ["Windows Server 2028 Datacenter", "Windows Server Datacenter"] {
        assert_eq!(known(&arc(sku, "")).endpoint(), Support::NotListed, "{sku}");
    }
}

#[test]
fn the_table_has_gaps_and_lower_ends() {
    use Support::{Supported, Unsupported};
    for (name, version, endpoint) in [
        ("ubuntu", "16.04", Supported),
        ("ubuntu", "26.04", Supported),
        // Only releases with long-term support.
        ("ubuntu", "23.10", Unsupported),
        ("ubuntu", "25.04", Unsupported),
        ("ubuntu", "16.10", Unsupported),
        ("debian", "8", Unsupported),
        ("debian", "13", Supported),
        ("almalinux", "8.4", Supported),
        ("almalinux", "8.3", Unsupported),
        ("almalinux", "9.1", Unsupported),
        ("almalinux", "10.1", Supported),
        ("rocky", "8.6", Unsupported),
        ("rocky", "10.0", Supported),
        ("ol", "10.0", Supported),
        ("ol", "6.10", Unsupported),
        ("sles", "16.0", Supported),
        ("sles", "11.4", Unsupported),
        ("fedora", "44", Supported),
        ("fedora", "32", Unsupported),
        ("centos", "7.9", Supported),
        ("centos", "7.1", Unsupported),
        ("centos", "6.10", Unsupported),
        ("centos", "8.5", Supported),
        ("centos", "9", Supported),
        ("centos", "10", Supported),
        ("opensuse-leap", "15.6", Supported),
        ("opensuse-leap", "15.5", Unsupported),
        ("opensuse-leap", "16.0", Supported),
        ("mariner", "2.0", Supported),
    ] {
        let found = known(&on(Architecture::X64, name, version));
        assert_eq!(found.endpoint(), endpoint, "{name} {version}");
    }
}

#[test]
fn arm64_has_its_own_versions() {
    use Support::{NotListed, Supported, Unsupported};
    for (name, version, arm64) in [
        ("rhel", "8.10", Supported),
        ("rhel", "7.9", Unsupported),
        ("ubuntu", "20.04", Supported),
        ("ubuntu", "18.04", Unsupported),
        ("ubuntu", "28.04", NotListed),
        ("debian", "11", Supported),
        ("debian", "10", Unsupported),
        ("sles", "15.5", Supported),
        ("sles", "15.4", Unsupported),
        // Newer than the table says.
        ("sles", "15.7", NotListed),
        ("ol", "8.9", Supported),
        ("ol", "7.9", Unsupported),
        ("amzn", "2023", Supported),
        ("amzn", "2", Unsupported),
        ("fedora", "40", Supported),
        ("fedora", "39", Unsupported),
        ("rocky", "9.4", Supported),
        ("almalinux", "8.3", Unsupported),
        ("centos", "9", Supported),
        // Agents report CentOS Stream 8 and CentOS Linux 8 with the same name.
        ("centos", "8", NotListed),
        ("opensuse-leap", "15.6", Unsupported),
        ("azurelinux", "3.0", NotListed),
    ] {
        let found = known(&on(Architecture::Arm64, name, version));
        assert_eq!(found.endpoint(), arm64, "{name} {version}");
        assert!(found.name().ends_with(" (ARM64)"), "{}", found.name());
    }
}

#[test]
fn releases_that_are_named_by_year_and_half_or_month() {
    use Support::{NotListed, Supported, Unsupported};
    let semi_annual = |sku: &str| image("MicrosoftWindowsServer", "WindowsServerSemiAnnual", sku);
    for (machine, name, endpoint) in [
        (
            semi_annual("Datacenter-Core-1803-with-Containers-smalldisk"),
            "Windows Server, semi-annual channel 1803",
            Supported,
        ),
        (
            semi_annual("datacenter-core-20h2-with-containers-smalldisk-gs"),
            "Windows Server, semi-annual channel 20H2",
            Supported,
        ),
        (
            semi_annual("Datacenter-Core-1709-smalldisk"),
            "Windows Server, semi-annual channel",
            NotListed,
        ),
        (
            arc("Windows Server, version 2004 Datacenter", "10.0.19041.1"),
            "Windows Server, semi-annual channel 2004",
            Supported,
        ),
        (
            arc("Azure Stack HCI", "10.0.25398.1128"),
            "Azure Local 23H2",
            Supported,
        ),
        (
            arc("Azure Stack HCI", "10.0.20349.2700"),
            "Azure Local 22H2",
            Unsupported,
        ),
        (
            arc("Azure Local 26H2", "10.0.29000.1"),
            "Azure Local 26H2",
            NotListed,
        ),
        (arc("Azure Stack HCI", ""), "Azure Local", NotListed),
    ] {
        let found = known(&machine);
        assert_eq!((found.name().as_str(), found.endpoint()), (name, endpoint));
    }
}

#[test]
fn relatives_of_a_system_have_their_own_rows() {
    for (machine, name) in [
        (image("OpenLogic", "CentOS", "7_9-gen2"), "CentOS Linux 7.9"),
        (arc("CentOS Stream 9", ""), "CentOS Stream 9"),
        (named("Linux", "centos", "9"), "CentOS Stream 9"),
        (named("Linux", "centos", "8"), "CentOS Linux 8"),
        (image("SUSE", "opensuse-leap-15-6", "gen2"), "openSUSE Leap 15.6"),
        (arc("openSUSE Leap 16.0", ""), "openSUSE Leap 16.0"),
        (arc("openSUSE Tumbleweed", ""), "openSUSE other than Leap"),
        (
            image("SUSE", "sles-sap-15-sp6", "gen2"),
            "SUSE Linux Enterprise Server 15 SP6",
        ),
        (
            arc("SUSE Linux Enterprise Server 16.0", ""),
            "SUSE Linux Enterprise Server 16.0",
        ),
    ] {
        assert_eq!(known(&machine).name(), name, "{machine:?}");
    }
}

#[test]
fn no_system_of_the_table_hides_a_later_one() {
    for (index, system) in SYSTEMS.iter().enumerate() {
        assert!(!system.words.is_empty(), "{}", system.name);
        let earlier = SYSTEMS.get(..index).unwrap();
        for word in system.words {
            let hidden = earlier
                .iter()
                .find(|other| other.words.iter().any(|other| word.contains(other)));
            assert!(
                hidden.is_none(),
                "{word} of {} is found in {hidden:?}",
                system.name
            );
        }
        for versions in [system.endpoint, system.arm64, system.arc] {
            if let Versions::Spans(spans) = versions {
                assert!(spans.is_sorted(), "{}: {spans:?}", system.name);
                assert!(
                    spans
                        .iter()
                        .all(|(from, through)| from <= through && through.0 < LAST),
                    "{}: {spans:?} has an open end",
                    system.name
                );
            }
        }
    }
}
