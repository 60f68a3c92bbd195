//! The tables.

use super::{
    LAST, System,
    Versions::{self, All, Nothing, Spans, Unknown},
};

pub(super) const UBUNTU: &str = "Ubuntu";
/// Hosts of Azure Virtual Desktop.
pub(super) const MULTI_SESSION: &str = "Windows 10 and 11 Enterprise multi-session";
pub(super) const WINDOWS_CLIENT: &str = "Windows client";
pub(super) const SEMI_ANNUAL: &str = "Windows Server, semi-annual channel";
pub(super) const AZURE_LOCAL: &str = "Azure Local";
pub(super) const CENTOS: &str = "CentOS Linux";
pub(super) const CENTOS_STREAM: &str = "CentOS Stream";

/// A row: Defender for Endpoint on x64 and on ARM64, then the Arc agent.
const fn row(
    name: &'static str,
    words: &'static [&'static str],
    [endpoint, arm64, arc]: [Versions; 3],
) -> System {
    System {
        name,
        words,
        endpoint,
        arm64,
        arc,
        unconfirmed: &[],
    }
}

/// All known systems. The first one whose words occur in a text decides.
pub static SYSTEMS: [System; 19] = [
    row(
        SEMI_ANNUAL,
        &["windowsserversemiannual", "windows server, version"],
        [Spans(&[((18, 3), (23, 10))]), Unknown, Unknown],
    ),
    row(
        AZURE_LOCAL,
        &["azure stack hci", "azurestackhci", "azure local"],
        [Spans(&[((23, 10), (24, 10))]), Unknown, Unknown],
    ),
    System {
        unconfirmed: &[((2008, 2), (2008, 2))],
        ..row(
            "Windows Server",
            &["windows server", "windowsserver"],
            [
                Spans(&[((2012, 2), (2025, LAST))]),
                Unknown,
                Spans(&[((2012, 0), (2025, LAST))]),
            ],
        )
    },
    row(
        MULTI_SESSION,
        &[
            "multi-session",
            "multi session",
            "multisession",
            "virtual desktops",
            "-avd",
            "-evd",
        ],
        [All, Unknown, Nothing],
    ),
    row(
        WINDOWS_CLIENT,
        &[
            "windows 1",
            "windows 7",
            "windows 8",
            "windowsdesktop",
            "windows-1",
            "windows-7",
        ],
        [Nothing, Nothing, Spans(&[((10, 0), (11, LAST))])],
    ),
    row(
        UBUNTU,
        &["ubuntu"],
        [
            Spans(&[
                ((16, 4), (16, 4)),
                ((18, 4), (18, 4)),
                ((20, 4), (20, 4)),
                ((22, 4), (22, 4)),
                ((24, 4), (24, 4)),
                ((26, 4), (26, 4)),
            ]),
            Spans(&[
                ((20, 4), (20, 4)),
                ((22, 4), (22, 4)),
                ((24, 4), (24, 4)),
                ((26, 4), (26, 4)),
            ]),
            Spans(&[((18, 4), (26, 4))]),
        ],
    ),
    row(
        "Red Hat Enterprise Linux",
        &["red hat", "redhat", "rhel"],
        [
            Spans(&[((7, 2), (10, LAST))]),
            Spans(&[((8, 0), (10, LAST))]),
            Spans(&[((7, 0), (10, LAST))]),
        ],
    ),
    row(
        CENTOS_STREAM,
        &["centos stream", "centos-stream"],
        [
            Spans(&[((8, 0), (10, LAST))]),
            Spans(&[((8, 0), (10, LAST))]),
            Nothing,
        ],
    ),
    // On ARM64 unknown: CentOS Stream 8 has this name, too.
    row(
        CENTOS,
        &["centos"],
        [Spans(&[((7, 2), (8, LAST))]), Unknown, Nothing],
    ),
    row(
        "Debian",
        &["debian"],
        [
            Spans(&[((9, 0), (13, LAST))]),
            Spans(&[((11, 0), (13, LAST))]),
            Spans(&[((11, 0), (13, LAST))]),
        ],
    ),
    row(
        "openSUSE Leap",
        &["opensuse leap", "opensuse-leap"],
        [
            Spans(&[((15, 6), (15, 6)), ((16, 0), (16, LAST))]),
            Nothing,
            Nothing,
        ],
    ),
    row(
        "openSUSE other than Leap",
        &["opensuse"],
        [Unknown, Unknown, Nothing],
    ),
    row(
        "SUSE Linux Enterprise Server",
        &["suse", "sles"],
        [
            Spans(&[
                ((12, 0), (12, LAST)),
                ((15, 0), (15, LAST)),
                ((16, 0), (16, LAST)),
            ]),
            Spans(&[((15, 5), (15, 6)), ((16, 0), (16, LAST))]),
            Spans(&[((12, 5), (12, 5)), ((15, 4), (15, 7))]),
        ],
    ),
    row(
        "Oracle Linux",
        &["oracle"],
        [
            Spans(&[((7, 2), (10, LAST))]),
            Spans(&[((8, 0), (10, LAST))]),
            Spans(&[((7, 0), (10, LAST))]),
        ],
    ),
    row(
        "Amazon Linux",
        &["amazon"],
        [
            Spans(&[((2, 0), (2, LAST)), ((2023, 0), (2023, LAST))]),
            Spans(&[((2023, 0), (2023, LAST))]),
            Spans(&[((2, 0), (2, LAST)), ((2023, 0), (2023, LAST))]),
        ],
    ),
    row(
        "Fedora",
        &["fedora"],
        [
            Spans(&[((33, 0), (44, LAST))]),
            Spans(&[((40, 0), (44, LAST))]),
            Nothing,
        ],
    ),
    row(
        "Rocky Linux",
        &["rocky"],
        [
            Spans(&[((8, 7), (8, LAST)), ((9, 2), (9, LAST)), ((10, 0), (10, LAST))]),
            Spans(&[((8, 7), (8, LAST)), ((9, 2), (9, LAST)), ((10, 0), (10, LAST))]),
            Spans(&[((8, 0), (9, LAST))]),
        ],
    ),
    row(
        "AlmaLinux",
        &["alma"],
        [
            Spans(&[((8, 4), (8, LAST)), ((9, 2), (9, LAST)), ((10, 0), (10, LAST))]),
            Spans(&[((8, 4), (8, LAST)), ((9, 2), (9, LAST)), ((10, 0), (10, LAST))]),
            Spans(&[((8, 0), (9, LAST))]),
        ],
    ),
    row(
        "Azure Linux (CBL-Mariner)",
        &["mariner", "azure linux", "azurelinux", "azure-linux"],
        [
            Spans(&[((2, 0), (2, LAST))]),
            Unknown,
            Spans(&[((3, 0), (3, LAST))]),
        ],
    ),
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
