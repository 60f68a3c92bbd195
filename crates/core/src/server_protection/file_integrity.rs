//! The rules of file integrity monitoring. Azure stores them as a JSON text: a list of objects with a `RuleId` and
//! `MonitoredEntities`, whose three lists contain objects with a `Path` (docs/azure-api.md 1.10).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use serverprotection_api::{CustomFileIntegrityRules, FileIntegrityRules};

use super::field::{ProtectionValue, RulesDigest};

/// The rule id of the recommended set. Written only if Azure stores no rule id.
const RULE_ID: &str = "1c18eca2-7d3b-4367-3397-097a1ef2edb1";
const MONITORED: &str = "MonitoredEntities";

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
    windows_files: BTreeSet<String>,
    linux_files: BTreeSet<String>,
    registry_keys: BTreeSet<String>,
}

/// What Azure stores.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stored {
    Nothing,
    Unreadable,
    Monitored(Monitored),
}

impl Rules {
    /// The rules of a spec; absent means the preset.
    pub fn of(spec: Option<&FileIntegrityRules>) -> Self {
        spec.and_then(|rules| rules.custom.as_ref())
            .map_or(Self::Recommended, |custom| {
                Self::Custom(Monitored::from_spec(custom))
            })
    }

    /// Whether Azure's value means the same. The preset matches all stored rules, readable or not.
    pub fn matches(&self, observed: Option<&Value>) -> bool {
        match (self, stored(observed)) {
            (_, Stored::Nothing) | (Self::Custom(_), Stored::Unreadable) => false,
            (Self::Recommended, _) => true,
            (Self::Custom(expected), Stored::Monitored(found)) => expected.folded() == found.folded(),
        }
    }

    /// The value as it is sent. A matching value is sent as it was read; otherwise the first stored rule keeps its id
    /// and its unknown members.
    pub fn wire(&self, observed: Option<&Value>) -> Value {
        match (observed, self) {
            (Some(found), rules) if rules.matches(observed) => found.clone(),
            (_, Self::Recommended) => text(observed, &Monitored::recommended()),
            (_, Self::Custom(expected)) => text(observed, expected),
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

/// Whether Azure stores any rules.
pub fn is_stored(observed: Option<&Value>) -> bool {
    stored(observed) != Stored::Nothing
}

/// Azure's value as users see it.
pub fn observed_value(observed: Option<&Value>) -> ProtectionValue {
    match stored(observed) {
        Stored::Nothing => ProtectionValue::Absent,
        Stored::Unreadable => ProtectionValue::UnreadableRules,
        Stored::Monitored(found) => ProtectionValue::Rules(found.digest()),
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

    /// Azure's names of the three lists, each with its paths and whether these compare without case.
    const fn lists(&self) -> [(&'static str, &BTreeSet<String>, bool); 3] {
        [
            ("WindowsFiles", &self.windows_files, true),
            ("LinuxFiles", &self.linux_files, false),
            ("Registries", &self.registry_keys, true),
        ]
    }

    fn folded(&self) -> [BTreeSet<String>; 3] {
        self.lists()
            .map(|(_, paths, ignore_case)| paths.iter().map(|path| folded(path, ignore_case)).collect())
    }

    fn digest(&self) -> RulesDigest {
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

fn folded(path: &str, ignore_case: bool) -> String {
    if ignore_case {
        path.to_lowercase()
    } else {
        path.to_owned()
    }
}

/// The JSON in Azure's value; `None` if the value is not valid JSON.
fn parsed(observed: Option<&Value>) -> Option<Value> {
    match observed {
        None => Some(Value::Null),
        Some(Value::String(text)) if text.trim().is_empty() => Some(Value::Null),
        Some(Value::String(text)) => serde_json::from_str(text).ok(),
        Some(other) => Some(other.clone()),
    }
}

fn stored(observed: Option<&Value>) -> Stored {
    match parsed(observed) {
        Some(Value::Null) => Stored::Nothing,
        Some(Value::Array(rules)) if rules.is_empty() => Stored::Nothing,
        Some(Value::Array(rules)) => monitored(&rules).map_or(Stored::Unreadable, Stored::Monitored),
        _ => Stored::Unreadable,
    }
}

/// The paths of all rules together; `None` if a part has an unexpected shape.
fn monitored(rules: &[Value]) -> Option<Monitored> {
    let mut all = Monitored::default();
    for rule in rules {
        let entities = match member(rule.as_object()?, MONITORED) {
            None | Some(Value::Null) => continue,
            Some(entities) => entities.as_object()?,
        };
        all.windows_files.extend(paths(entities, "WindowsFiles")?);
        all.linux_files.extend(paths(entities, "LinuxFiles")?);
        all.registry_keys.extend(paths(entities, "Registries")?);
    }
    Some(all)
}

fn paths(entities: &Map<String, Value>, list: &str) -> Option<Vec<String>> {
    match member(entities, list) {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(list) => {
            let entries = list.as_array()?.iter();
            entries.map(|entry| path(entry).map(str::to_owned)).collect()
        }
    }
}

fn path(entry: &Value) -> Option<&str> {
    member(entry.as_object()?, "Path")?.as_str()
}

/// The member of this name, compared without case.
fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let found = object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value)
}

fn set(object: &mut Map<String, Value>, name: &str, value: Value) {
    let known = object.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
    object.insert(known.unwrap_or_else(|| name.to_owned()), value);
}

/// One rule with these paths, merged into the first stored rule.
fn text(observed: Option<&Value>, expected: &Monitored) -> Value {
    let mut rule = match parsed(observed) {
        Some(Value::Array(rules)) => rules.first().and_then(Value::as_object).cloned(),
        _ => None,
    }
    .unwrap_or_default();
    let has_id = member(&rule, "RuleId")
        .and_then(Value::as_str)
        .is_some_and(|id| !id.is_empty());
    if !has_id {
        set(&mut rule, "RuleId", RULE_ID.into());
    }
    let mut entities = member(&rule, MONITORED)
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    for (list, paths, ignore_case) in expected.lists() {
        let entries = entries(member(&entities, list), paths, ignore_case);
        set(&mut entities, list, entries);
    }
    set(&mut rule, MONITORED, Value::Object(entities));
    Value::String(Value::Array(vec![Value::Object(rule)]).to_string())
}

/// An entry for each path; existing entries are kept unchanged.
fn entries(found: Option<&Value>, expected: &BTreeSet<String>, ignore_case: bool) -> Value {
    let found = found.and_then(Value::as_array);
    let known = |expected: &str| {
        let mut entries = found.into_iter().flatten();
        entries.find(|entry| {
            path(entry).is_some_and(|path| folded(path, ignore_case) == folded(expected, ignore_case))
        })
    };
    expected
        .iter()
        .map(|path| known(path).cloned().unwrap_or_else(|| json!({ "Path": path })))
        .collect()
}

#[cfg(test)]
#[path = "file_integrity_tests.rs"]
mod tests;
