//! Operating systems from the texts of agents and images.

use super::*;
use crate::machines::{Image, Machine};

mod support;

fn arc(sku: &str, version: &str) -> Machine {
    Machine {
        os_sku: sku.into(),
        os_version: version.into(),
        ..Machine::default()
    }
}

fn image(publisher: &str, offer: &str, sku: &str) -> Machine {
    Machine {
        image: Some(Image {
            publisher: publisher.into(),
            offer: offer.into(),
            sku: sku.into(),
        }),
        ..Machine::default()
    }
}

#[test]
#[allow(clippy::too_many_lines, clippy::large_stack_arrays, reason = "a table")]
fn systems_are_identified_by_agents_and_images() {
    use Support::{NotListed, Supported, Unsupported};
    for (machine, name, endpoint, on_arc) in [
        (
            arc("Windows Server 2022 Datacenter", "10.0.20348.2227"),
            "Windows Server 2022",
            Supported,
            Supported,
        ),
        (
            arc("Windows Server 2012 R2 Standard", "6.3.9600"),
            "Windows Server 2012 R2",
            Supported,
            Supported,
        ),
        (
            arc("Windows Server 2012 Standard", "6.2.9200"),
            "Windows Server 2012",
            Unsupported,
            Supported,
        ),
        (
            arc("Windows Server 2008 R2 Enterprise", "6.1"),
            "Windows Server 2008 R2",
            NotListed,
            Unsupported,
        ),
        (
            arc("Windows 11 Pro", "10.0.22631"),
            "Windows 11",
            Unsupported,
            Supported,
        ),
        (
            arc("Ubuntu 22.04.4 LTS", "22.04"),
            "Ubuntu 22.04",
            Supported,
            Supported,
        ),
        (
            arc("Ubuntu 16.04 LTS", ""),
            "Ubuntu 16.04",
            Supported,
            Unsupported,
        ),
        (
            arc("Ubuntu 14.04 LTS", ""),
            "Ubuntu 14.04",
            Unsupported,
            Unsupported,
        ),
        (
            arc("Red Hat Enterprise Linux 8.6 (Ootpa)", ""),
            "Red Hat Enterprise Linux 8.6",
            Supported,
            Supported,
        ),
        (
            arc("Red Hat Enterprise Linux Server 7.1", ""),
            "Red Hat Enterprise Linux 7.1",
            Unsupported,
            Supported,
        ),
        (
            arc("SUSE Linux Enterprise Server 15 SP4", ""),
            "SUSE Linux Enterprise Server 15 SP4",
            Supported,
            Supported,
        ),
        (
            arc("SUSE Linux Enterprise Server 15 SP2", ""),
            "SUSE Linux Enterprise Server 15 SP2",
            Supported,
            Unsupported,
        ),
        (arc("Amazon Linux 2", ""), "Amazon Linux 2", Supported, Supported),
        (
            arc("Amazon Linux 2023", ""),
            "Amazon Linux 2023",
            Supported,
            Supported,
        ),
        (
            arc("Rocky Linux 9.1 (Blue Onyx)", ""),
            "Rocky Linux 9.1",
            Unsupported,
            Supported,
        ),
        (
            arc("Debian GNU/Linux 12 (bookworm)", ""),
            "Debian 12",
            Supported,
            Supported,
        ),
        (
            arc("Oracle Linux Server 10.0", ""),
            "Oracle Linux 10.0",
            Supported,
            Supported,
        ),
        (
            image(
                "MicrosoftWindowsServer",
                "WindowsServer",
                "2019-datacenter-gensecond",
            ),
            "Windows Server 2019",
            Supported,
            Supported,
        ),
        (
            image("MicrosoftWindowsServer", "WindowsServer", "2012-R2-Datacenter"),
            "Windows Server 2012 R2",
            Supported,
            Supported,
        ),
        (
            image("MicrosoftWindowsDesktop", "windows-11", "win11-23h2-pro"),
            "Windows 11",
            Unsupported,
            Supported,
        ),
        (
            image("canonical", "0001-com-ubuntu-server-jammy", "22_04-lts-gen2"),
            "Ubuntu 22.04",
            Supported,
            Supported,
        ),
        (
            image("canonical", "ubuntu-24_04-lts", "server"),
            "Ubuntu 24.04",
            Supported,
            Supported,
        ),
        (
            image("RedHat", "RHEL", "86-gen2"),
            "Red Hat Enterprise Linux 8.6",
            Supported,
            Supported,
        ),
        (
            image("RedHat", "RHEL", "9_4"),
            "Red Hat Enterprise Linux 9.4",
            Supported,
            Supported,
        ),
        (
            image("SUSE", "sles-15-sp5", "gen2"),
            "SUSE Linux Enterprise Server 15 SP5",
            Supported,
            Supported,
        ),
        (
            image("Oracle", "Oracle-Linux", "ol88-lvm-gen2"),
            "Oracle Linux 8.8",
            Supported,
            Supported,
        ),
        (
            image("Debian", "debian-12", "12-gen2"),
            "Debian 12",
            Supported,
            Supported,
        ),
    ] {
        let Identified::Known(known) = identify(&machine) else {
            panic!("{machine:?}: {:?}", identify(&machine));
        };
        assert_eq!(known.name(), name, "{machine:?}");
        assert_eq!(known.endpoint(), endpoint, "{name}, Defender for Endpoint");
        assert_eq!(known.arc(), on_arc, "{name}, Arc");
    }
}

#[test]
fn short_names_of_agents_are_spelled_out() {
    for (name, version, known) in [
        ("ol", "8.8", "Oracle Linux 8.8"),
        ("amzn", "2023", "Amazon Linux 2023"),
        ("sles", "15.5", "SUSE Linux Enterprise Server 15 SP5"),
        ("rhel", "9.4", "Red Hat Enterprise Linux 9.4"),
        ("almalinux", "9.3", "AlmaLinux 9.3"),
        ("azurelinux", "3.0", "Azure Linux 3.0"),
        ("mariner", "2.0", "CBL-Mariner 2.0"),
        ("sles", "12.5", "SUSE Linux Enterprise Server 12 SP5"),
        ("sles", "15.0", "SUSE Linux Enterprise Server 15"),
        ("ubuntu", "16.04", "Ubuntu 16.04"),
        ("debian", "12.0", "Debian 12"),
        ("rocky", "9.0", "Rocky Linux 9.0"),
        ("amzn", "2", "Amazon Linux 2"),
        ("fedora", "33", "Fedora 33"),
    ] {
        let machine = Machine {
            os_name: name.into(),
            os_version: version.into(),
            ..Machine::default()
        };
        let Identified::Known(found) = identify(&machine) else {
            panic!("{name}")
        };
        assert_eq!(found.name(), known);
    }
}

#[test]
fn versions_are_printed_as_their_makers_write_them() {
    let (x64, arm64) = (
        "16.04, 18.04, 20.04, 22.04, 24.04, 26.04",
        "20.04, 22.04, 24.04, 26.04",
    );
    for (name, endpoint, arm64, arc) in [
        ("Windows Server", "2012 R2 to 2025", "unknown", "2012 to 2025"),
        (table::SEMI_ANNUAL, "1803 to 23H2", "unknown", "unknown"),
        (table::AZURE_LOCAL, "23H2 to 24H2", "unknown", "unknown"),
        (table::MULTI_SESSION, "all", "unknown", "none"),
        ("Windows client", "none", "none", "10 to 11"),
        ("Ubuntu", x64, arm64, "18.04 to 26.04"),
        ("Red Hat Enterprise Linux", "7.2 to 10.x", "8 to 10", "7 to 10"),
        ("CentOS Linux", "7.2 to 8.x", "unknown", "none"),
        ("CentOS Stream", "8 to 10", "8 to 10", "none"),
        ("Debian", "9 to 13", "11 to 13", "11 to 13"),
        ("openSUSE Leap", "15.6, 16", "none", "none"),
        (
            "SUSE Linux Enterprise Server",
            "12, 15, 16",
            "15 SP5 to 15 SP6, 16",
            "12 SP5, 15 SP4 to 15 SP7",
        ),
        ("Oracle Linux", "7.2 to 10.x", "8 to 10", "7 to 10"),
        ("Amazon Linux", "2, 2023", "2023", "2, 2023"),
        ("Fedora", "33 to 44", "40 to 44", "none"),
        (
            "Rocky Linux",
            "8.7 to 8.x, 9.2 to 9.x, 10",
            "8.7 to 8.x, 9.2 to 9.x, 10",
            "8 to 9",
        ),
        (
            "AlmaLinux",
            "8.4 to 8.x, 9.2 to 9.x, 10",
            "8.4 to 8.x, 9.2 to 9.x, 10",
            "8 to 9",
        ),
        ("Azure Linux (CBL-Mariner)", "2", "unknown", "3"),
    ] {
        let system = SYSTEMS.iter().find(|system| system.name == name).unwrap();
        let printed = [system.endpoint, system.arm64, system.arc].map(|versions| system.versions(versions));
        assert_eq!(printed, [endpoint, arm64, arc], "{name}");
    }
}

#[test]
fn unlisted_systems_are_not_guessed() {
    assert_eq!(identify(&Machine::default()), Identified::NotReported);
    assert_eq!(
        identify(&Machine {
            os_name: "linux".into(),
            ..Machine::default()
        }),
        Identified::NotReported
    );
    assert_eq!(
        identify(&arc("Plan 9 Fourth Edition", "")),
        Identified::NotListed("Plan 9 Fourth Edition".into())
    );
    assert_eq!(
        identify(&image("fortinet", "fortinet_fortigate-vm_v5", "x")),
        Identified::Appliance("fortinet".into())
    );
    assert_eq!(
        identify(&image("Microsoft-AKS", "aks", "x")),
        Identified::Appliance("Microsoft-AKS".into())
    );
    assert_eq!(
        identify(&image("sanfrancisco", "servers", "x")),
        Identified::NotListed("sanfrancisco servers".into())
    );
    let multi = identify(&image("MicrosoftWindowsDesktop", "windows-11", "win11-23h2-avd"));
    let Identified::Known(multi) = multi else { panic!() };
    assert_eq!(multi.endpoint(), Support::Supported);
}

fn named(os_type: &str, name: &str, version: &str) -> Machine {
    Machine {
        os_type: os_type.into(),
        os_name: name.into(),
        os_version: version.into(),
        ..Machine::default()
    }
}

#[test]
fn hosts_of_azure_virtual_desktop_are_supported() {
    let desktop = |offer: &str, sku: &str| image("MicrosoftWindowsDesktop", offer, sku);
    for (machine, name) in [
        (
            named(
                "Windows",
                "Windows 10 Enterprise for Virtual Desktops",
                "10.0.19045.3930",
            ),
            "Windows 10 Enterprise multi-session",
        ),
        (
            arc("Windows 11 Enterprise multi-session", "10.0.22631.3007"),
            "Windows 11 Enterprise multi-session",
        ),
        (
            desktop("windows-11", "win11-23h2-avd"),
            "Windows 11 Enterprise multi-session",
        ),
        (
            desktop("windows-10", "win10-22h2-avd-g2"),
            "Windows 10 Enterprise multi-session",
        ),
        (
            desktop("office-365", "win11-24h2-avd-m365"),
            "Windows 11 Enterprise multi-session",
        ),
        (
            desktop("office-365", "20h2-evd-o365pp-g2"),
            "Windows 10 and 11 Enterprise multi-session",
        ),
    ] {
        let Identified::Known(known) = identify(&machine) else {
            panic!("{machine:?}")
        };
        assert_eq!(
            (known.name().as_str(), known.endpoint()),
            (name, Support::Supported)
        );
    }
    let pro = identify(&named("Windows", "Windows 10 Pro", "10.0.19045"));
    let Identified::Known(pro) = pro else { panic!() };
    assert_eq!(
        (pro.name().as_str(), pro.endpoint()),
        ("Windows 10", Support::Unsupported)
    );
}

#[test]
fn a_major_version_without_a_minor_one_is_supported_if_one_of_them_is() {
    for (machine, name) in [
        (image("RedHat", "RHEL", "7-LVM"), "Red Hat Enterprise Linux 7"),
        (image("RedHat", "RHEL", "7-RAW"), "Red Hat Enterprise Linux 7"),
        (
            image("RedHat", "RHEL", "9-lvm-gen2"),
            "Red Hat Enterprise Linux 9",
        ),
        (
            image("RedHat", "rhel-arm64", "9_4-arm64"),
            "Red Hat Enterprise Linux 9.4",
        ),
        (image("resf", "rockylinux-x86_64", "9-base"), "Rocky Linux 9"),
        (image("almalinux", "almalinux-x86_64", "8-gen2"), "AlmaLinux 8"),
    ] {
        let Identified::Known(known) = identify(&machine) else {
            panic!("{machine:?}")
        };
        assert_eq!(
            (known.name().as_str(), known.endpoint()),
            (name, Support::Supported),
            "{machine:?}"
        );
    }
    for (machine, name) in [
        (image("RedHat", "RHEL", "7.1"), "Red Hat Enterprise Linux 7.1"),
        (image("RedHat", "RHEL", "6-LVM"), "Red Hat Enterprise Linux 6"),
        (named("Linux", "redhat", "7.1"), "Red Hat Enterprise Linux 7.1"),
    ] {
        let Identified::Known(known) = identify(&machine) else {
            panic!("{machine:?}")
        };
        assert_eq!(
            (known.name().as_str(), known.endpoint()),
            (name, Support::Unsupported),
            "{machine:?}"
        );
    }
}

#[test]
fn the_version_is_not_matched_as_part_of_the_name() {
    // 10.0.20348 is the build of a server; appended to the name it would match "windows 1".
    assert_eq!(
        identify(&named("Windows", "windows", "10.0.20348.2227")),
        Identified::NotReported
    );
    let arc_linux = |sku: &str, kernel: &str| Machine {
        os_sku: sku.into(),
        ..named("linux", "linux", kernel)
    };
    for (sku, kernel, name) in [
        ("Ubuntu 24.04.3 LTS", "6.8.0-87-generic", "Ubuntu 24.04"),
        ("Debian GNU/Linux 12 (bookworm)", "6.1.0-35-amd64", "Debian 12"),
        (
            "SUSE Linux Enterprise Server 15 SP5",
            "5.14.21-150500.55.52-default",
            "SUSE Linux Enterprise Server 15 SP5",
        ),
        (
            "SUSE Linux Enterprise Server 15",
            "5.3.18-22-default",
            "SUSE Linux Enterprise Server 15",
        ),
        (
            "Red Hat Enterprise Linux",
            "5.14.0-427.el9.x86_64",
            "Red Hat Enterprise Linux",
        ),
    ] {
        let Identified::Known(known) = identify(&arc_linux(sku, kernel)) else {
            panic!("{sku}")
        };
        assert_eq!(known.name(), name);
    }
}
