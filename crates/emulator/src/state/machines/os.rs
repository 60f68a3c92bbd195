//! Operating systems: image, names, and support by Defender. Data, not code.

use serde::{Deserialize, Serialize};

/// Support of the endpoint sensor on an operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    /// Deployed when the integration is on.
    Modern,
    /// Windows Server 2012 R2 and 2016: requires the unified solution.
    Legacy,
    /// Windows 10 and 11: not deployed by Defender for Cloud.
    Client,
    /// Public sources conflict or are silent; the switch `unconfirmedSystems` decides.
    Unconfirmed,
    /// Not supported: too old, uncommon, or an appliance.
    Never,
}

/// One operating system.
#[derive(Debug)]
pub(crate) struct Os {
    /// The name in seeds.
    pub(crate) word: &'static str,
    pub(crate) windows: bool,
    pub(crate) support: Support,
    /// Whether the Arc agent runs on it.
    pub(crate) arc: bool,
    /// Publisher, offer and sku of the image.
    pub(crate) image: [&'static str; 3],
    /// `osName` of the instance view and of Arc.
    pub(crate) name: &'static str,
    /// `osSku` of Arc.
    pub(crate) sku: &'static str,
    pub(crate) version: &'static str,
}

/// A row of the table; the state file stores the name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OsId(&'static Os);

macro_rules! table {
    ($($word:literal $windows:literal $support:ident $arc:literal [$publisher:literal $offer:literal $image:literal]
       $name:literal $sku:literal $version:literal;)+) => {
        &[$(Os {
            word: $word, windows: $windows, support: Support::$support, arc: $arc,
            image: [$publisher, $offer, $image], name: $name, sku: $sku, version: $version,
        },)+]
    };
}

#[rustfmt::skip]
const TABLE: &[Os] = table! {
    "windows-2022"    true  Modern true  ["MicrosoftWindowsServer" "WindowsServer" "2022-datacenter-azure-edition"] "Windows Server 2022 Datacenter" "Windows Server 2022 Datacenter" "10.0.20348.2227";
    "windows-2025"    true  Modern true  ["MicrosoftWindowsServer" "WindowsServer" "2025-datacenter-g2"] "Windows Server 2025 Datacenter" "Windows Server 2025 Datacenter" "10.0.26100.2894";
    "windows-2019"    true  Modern true  ["MicrosoftWindowsServer" "WindowsServer" "2019-datacenter-gensecond"] "Windows Server 2019 Datacenter" "Windows Server 2019 Datacenter" "10.0.17763.5329";
    "windows-2016"    true  Legacy true  ["MicrosoftWindowsServer" "WindowsServer" "2016-Datacenter"] "Windows Server 2016 Datacenter" "Windows Server 2016 Datacenter" "10.0.14393.6614";
    "windows-2012r2"  true  Legacy true  ["MicrosoftWindowsServer" "WindowsServer" "2012-R2-Datacenter"] "Windows Server 2012 R2 Datacenter" "Windows Server 2012 R2 Datacenter" "6.3.9600.21620";
    "windows-2008r2"  true  Unconfirmed false ["MicrosoftWindowsServer" "WindowsServer" "2008-R2-SP1"] "Windows Server 2008 R2 Datacenter" "Windows Server 2008 R2 Datacenter" "6.1.7601.24545";
    "windows-10"      true  Client true  ["MicrosoftWindowsDesktop" "Windows-10" "win10-22h2-pro"] "Windows 10 Pro" "Windows 10 Pro" "10.0.19045.3930";
    "windows-11"      true  Client true  ["MicrosoftWindowsDesktop" "Windows-11" "win11-23h2-pro"] "Windows 11 Pro" "Windows 11 Pro" "10.0.22631.3007";
    "windows-10-avd"  true  Modern true  ["MicrosoftWindowsDesktop" "office-365" "win10-22h2-avd-m365-g2"] "Windows 10 Enterprise for Virtual Desktops" "Windows 10 Enterprise for Virtual Desktops" "10.0.19045.3930";
    "windows-11-multi" true Modern true  ["MicrosoftWindowsDesktop" "Windows-11" "win11-23h2-evd"] "Windows 11 Enterprise multi-session" "Windows 11 Enterprise multi-session" "10.0.22631.3007";
    "ubuntu-26.04"    false Modern true  ["Canonical" "ubuntu-26_04-lts" "server"] "ubuntu" "Ubuntu 26.04 LTS" "26.04";
    "ubuntu-25.10"    false Never  true  ["Canonical" "ubuntu-25_10" "server"] "ubuntu" "Ubuntu 25.10" "25.10";
    "ubuntu-24.04"    false Modern true  ["Canonical" "ubuntu-24_04-lts" "server"] "ubuntu" "Ubuntu 24.04.1 LTS" "24.04";
    "ubuntu-22.04"    false Modern true  ["Canonical" "0001-com-ubuntu-server-jammy" "22_04-lts-gen2"] "ubuntu" "Ubuntu 22.04.4 LTS" "22.04";
    "ubuntu-20.04"    false Modern true  ["Canonical" "0001-com-ubuntu-server-focal" "20_04-lts-gen2"] "ubuntu" "Ubuntu 20.04.6 LTS" "20.04";
    "ubuntu-14.04"    false Never  false ["Canonical" "UbuntuServer" "14.04.5-LTS"] "ubuntu" "Ubuntu 14.04.6 LTS" "14.04";
    "debian-14"       false Never  false ["Debian" "debian-14" "14-gen2"] "debian" "Debian GNU/Linux 14 (forky)" "14.0";
    "debian-12"       false Modern true  ["Debian" "debian-12" "12-gen2"] "debian" "Debian GNU/Linux 12 (bookworm)" "12.5";
    "rhel-9"          false Modern true  ["RedHat" "RHEL" "9-lvm-gen2"] "redhat" "Red Hat Enterprise Linux 9.4 (Plow)" "9.4";
    "rhel-8"          false Modern true  ["RedHat" "RHEL" "8-lvm-gen2"] "redhat" "Red Hat Enterprise Linux 8.9 (Ootpa)" "8.9";
    "rhel-7"          false Modern true  ["RedHat" "RHEL" "7-LVM"] "redhat" "Red Hat Enterprise Linux Server 7.9 (Maipo)" "7.9";
    "rhel-6"          false Never  false ["RedHat" "RHEL" "6.10"] "redhat" "Red Hat Enterprise Linux Server release 6.10 (Santiago)" "6.10";
    "centos-7"        false Modern false ["OpenLogic" "CentOS" "7_9-gen2"] "centos" "CentOS Linux 7 (Core)" "7.9";
    "opensuse-15.6"   false Modern false ["SUSE" "opensuse-leap-15-6" "gen2"] "opensuse-leap" "openSUSE Leap 15.6" "15.6";
    "azure-linux-3"   false Unconfirmed true ["MicrosoftCBLMariner" "azure-linux-3" "azure-linux-3-gen2"] "azurelinux" "Microsoft Azure Linux 3.0" "3.0";
    "rocky-9"         false Modern true  ["resf" "rockylinux-x86_64" "9-base"] "rocky" "Rocky Linux 9.3 (Blue Onyx)" "9.3";
    "oracle-8"        false Modern true  ["Oracle" "Oracle-Linux" "ol89-lvm-gen2"] "ol" "Oracle Linux Server 8.9" "8.9";
    "sles-15"         false Modern true  ["SUSE" "sles-15-sp5" "gen2"] "sles" "SUSE Linux Enterprise Server 15 SP5" "15.5";
    "amazon-2023"     false Modern true  ["amazon" "amazon-linux" "2023"] "amzn" "Amazon Linux 2023" "2023";
    "fedora-38"       false Modern false ["community" "fedora" "38"] "fedora" "Fedora Linux 38 (Server Edition)" "38";
    "cisco-appliance" false Never  false ["cisco" "cisco-csr-1000v" "17_3_4a-byol"] "linux" "IOS XE" "17.3";
    "fortinet-appliance" false Never false ["fortinet" "fortinet_fortigate-vm_v5" "fortinet_fg-vm"] "linux" "FortiOS" "7.2";
    "databricks"      false Never  false ["AzureDatabricks" "Databricks" "DatabricksWorker"] "ubuntu" "Ubuntu 20.04.6 LTS" "20.04";
    "aks-node"        false Never  false ["microsoft-aks" "aks" "aks-ubuntu-2204-gen2"] "ubuntu" "Ubuntu 22.04.4 LTS" "22.04";
    "plan9"           false Never  true  ["contoso" "plan9" "fourth"] "plan9" "Plan 9 Fourth Edition" "4.0";
};

impl Os {
    /// The version of the kernel, as the Arc agent of Linux reports it.
    pub(crate) fn kernel(&self) -> &'static str {
        match self.word {
            "ubuntu-24.04" => "6.8.0-87-generic",
            "ubuntu-22.04" => "5.15.0-139-generic",
            "ubuntu-20.04" => "5.4.0-216-generic",
            "debian-12" => "6.1.0-35-amd64",
            "rhel-9" | "rocky-9" => "5.14.0-427.42.1.el9_4.x86_64",
            "rhel-8" | "oracle-8" => "4.18.0-553.34.1.el8_10.x86_64",
            "rhel-7" => "3.10.0-1160.119.1.el7.x86_64",
            "sles-15" => "5.14.21-150500.55.52-default",
            "azure-linux-3" => "6.6.96.2-1.azl3.x86_64",
            "amazon-2023" => "6.1.134-150.224.amzn2023.x86_64",
            _ => "4.4.0-210-generic",
        }
    }
}

impl OsId {
    /// Looks up the name of the seed.
    pub(crate) fn named(word: &str) -> Result<Self, String> {
        TABLE
            .iter()
            .find(|os| os.word.eq_ignore_ascii_case(word))
            .map(Self)
            .ok_or_else(|| {
                let words: Vec<_> = TABLE.iter().map(|os| os.word).collect();
                format!(
                    "unknown operating system '{word}'; known operating systems: {}",
                    words.join(", ")
                )
            })
    }

    /// Its row.
    pub(crate) const fn get(self) -> &'static Os {
        self.0
    }
}

impl Serialize for OsId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.get().word)
    }
}

impl<'de> Deserialize<'de> for OsId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Self::named(&word).map_err(serde::de::Error::custom)
    }
}

impl Default for OsId {
    fn default() -> Self {
        Self(&DEFAULT)
    }
}

/// A default for callers that need a row.
static DEFAULT: Os = Os {
    word: "ubuntu-22.04",
    windows: false,
    support: Support::Modern,
    arc: true,
    image: ["Canonical", "0001-com-ubuntu-server-jammy", "22_04-lts-gen2"],
    name: "ubuntu",
    sku: "Ubuntu 22.04.4 LTS",
    version: "22.04",
};
