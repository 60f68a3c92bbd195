//! The rules of file integrity monitoring: paths in three lists (docs/azure-api.md 1.10).

use std::{borrow::Cow, collections::BTreeSet};

use serverprotection_api::{CustomFileIntegrityRules, FileIntegrityRules};

use super::field::{ProtectionValue, RulesDigest};

const RECOMMENDED_WINDOWS_FILES: [&str; 8] = [
    r"\Windows\system.ini",
    r"\Windows\win.ini",
    r"\Windows\regedit.exe",
    r"\Windows\explorer.exe",
    r"\Windows\System32\userinit.exe",
    "autoexec.bat",
    "boot.ini",
    "config.sys",
];

const RECOMMENDED_LINUX_FILES: [&str; 18] = [
    "/bin/login",
    "/bin/passwd",
    "/etc/crontab",
    "/etc/*.conf",
    "/usr/bin/",
    "/usr/sbin/",
    "/bin/",
    "/sbin/",
    "/boot/",
    "/usr/local/bin/",
    "/usr/local/sbin/",
    "/opt/bin/",
    "/opt/sbin/",
    "/etc/init.d/",
    "/etc/cron.hourly/",
    "/etc/cron.daily/",
    "/etc/cron.weekly/",
    "/etc/cron.monthly/",
];

/// Keys below `hklm\SOFTWARE\Microsoft\`. True: also in the 32-bit view, below `hklm\SOFTWARE\WOW6432Node\Microsoft\`.
const RECOMMENDED_MICROSOFT_KEYS: [(&str, bool); 11] = [
    (r"Windows NT\CurrentVersion\Windows\loadappinit_dlls", true),
    (r"Windows NT\CurrentVersion\Windows\appinit_dlls", true),
    (r"Windows NT\CurrentVersion\Windows\iconservicelib", false),
    (
        r"Windows\CurrentVersion\Explorer\Shell Folders\common startup",
        true,
    ),
    (r"Windows\CurrentVersion\Explorer\Shell Folders\startup", true),
    (
        r"Windows\CurrentVersion\Explorer\User Shell Folders\common startup",
        true,
    ),
    (
        r"Windows\CurrentVersion\Explorer\User Shell Folders\startup",
        true,
    ),
    (r"Windows\CurrentVersion\Run\", true),
    (r"Windows\CurrentVersion\RunOnce\", true),
    (r"Windows\CurrentVersion\RunServicesOnce\", false),
    (r"Cryptography\OID\", true),
];

const RECOMMENDED_SECURITY_KEY: &str = r"hklm\SECURITY\POLICY\SECRETS\";

/// The rules that the spec demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rules {
    /// The recommended set if Azure stores no rules; any stored rules match.
    Recommended,
    /// Exactly these paths.
    Custom(Monitored),
}

/// Monitored paths, in the spelling in which they are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Monitored {
    /// Files on Windows.
    pub windows_files: BTreeSet<String>,
    /// Files on Linux.
    pub linux_files: BTreeSet<String>,
    /// Registry keys.
    pub registry_keys: BTreeSet<String>,
}

/// One of the three lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum PathList {
    WindowsFiles,
    LinuxFiles,
    RegistryKeys,
}

impl PathList {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::WindowsFiles, Self::LinuxFiles, Self::RegistryKeys];

    /// The path as it compares: only on Linux with case.
    pub fn folded(self, path: &str) -> String {
        match self {
            Self::WindowsFiles | Self::RegistryKeys => path.to_lowercase(),
            Self::LinuxFiles => path.to_owned(),
        }
    }
}

impl Rules {
    /// The rules of a spec; absent means the preset.
    pub fn of(spec: Option<&FileIntegrityRules>) -> Self {
        spec.and_then(|rules| rules.custom.as_ref())
            .map_or(Self::Recommended, |custom| {
                Self::Custom(Monitored::from_spec(custom))
            })
    }

    /// Whether the stored rules mean the same. The preset is met by any rules.
    pub fn are_met_by(&self, stored: &Monitored) -> bool {
        match self {
            Self::Recommended => true,
            Self::Custom(expected) => expected.folded() == stored.folded(),
        }
    }

    /// The paths that a write contains.
    pub fn monitored(&self) -> Cow<'_, Monitored> {
        match self {
            Self::Recommended => Cow::Owned(Monitored::recommended()),
            Self::Custom(expected) => Cow::Borrowed(expected),
        }
    }

    /// The value as users see it.
    pub fn value(&self) -> ProtectionValue {
        match self {
            Self::Recommended => ProtectionValue::RecommendedRules,
            Self::Custom(expected) => ProtectionValue::Rules(expected.digest()),
        }
    }
}

impl Monitored {
    fn from_spec(custom: &CustomFileIntegrityRules) -> Self {
        let set = |paths: &[String]| paths.iter().cloned().collect();
        Self {
            windows_files: set(&custom.windows_files),
            linux_files: set(&custom.linux_files),
            registry_keys: set(&custom.registry_keys),
        }
    }

    /// Microsoft's recommended set, as the portal fills it in.
    pub fn recommended() -> Self {
        let set = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        let mut registry_keys = BTreeSet::from([RECOMMENDED_SECURITY_KEY.to_owned()]);
        for (key, both_views) in RECOMMENDED_MICROSOFT_KEYS {
            registry_keys.insert(format!(r"hklm\SOFTWARE\Microsoft\{key}"));
            if both_views {
                registry_keys.insert(format!(r"hklm\SOFTWARE\WOW6432Node\Microsoft\{key}"));
            }
        }
        Self {
            windows_files: set(&RECOMMENDED_WINDOWS_FILES),
            linux_files: set(&RECOMMENDED_LINUX_FILES),
            registry_keys,
        }
    }

    /// The paths of one list.
    pub const fn paths(&self, list: PathList) -> &BTreeSet<String> {
        match list {
            PathList::WindowsFiles => &self.windows_files,
            PathList::LinuxFiles => &self.linux_files,
            PathList::RegistryKeys => &self.registry_keys,
        }
    }

    fn folded(&self) -> [BTreeSet<String>; 3] {
        PathList::ALL.map(|list| self.paths(list).iter().map(|path| list.folded(path)).collect())
    }

    /// The paths in short.
    pub(super) fn digest(&self) -> RulesDigest {
        RulesDigest {
            windows_files: self.windows_files.len(),
            linux_files: self.linux_files.len(),
            registry_keys: self.registry_keys.len(),
            fingerprint: self.fingerprint(),
        }
    }

    /// FNV-1a over the folded paths: stable across versions and machines.
    fn fingerprint(&self) -> u32 {
        let mut hash = 0x811c_9dc5_u32;
        let mut add = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
            }
        };
        for list in self.folded() {
            for path in list {
                add(path.as_bytes());
                add(&[0]);
            }
            add(&[1]);
        }
        hash
    }
}

#[cfg(test)]
#[path = "file_integrity_tests.rs"]
mod tests;
