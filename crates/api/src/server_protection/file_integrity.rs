//! The rules of file integrity monitoring: the files and registry keys to monitor.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::patterns::each;

/// What file integrity monitoring monitors: a preset or a custom list.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = Rule::new("has(self.preset) != has(self.custom)")
    .message("plan.fileIntegrityMonitoring.rules must contain exactly one of preset and custom"))]
#[serde(rename_all = "camelCase")]
pub struct FileIntegrityRules {
    /// Recommended: writes Microsoft's recommended files and registry keys if Azure stores no rules. Rules that Azure
    /// already stores, for example from the portal, are accepted and never changed. Set either preset or custom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<FileIntegrityPreset>,
    /// Monitors exactly these files and registry keys. Differences are repaired, including changes made in the portal.
    /// Rule ids in Azure are kept and not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomFileIntegrityRules>,
}

/// Rules that need no list.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FileIntegrityPreset {
    #[default]
    Recommended,
}

/// The files and registry keys to monitor. At least one list must have an entry.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = Rule::new("(has(self.windowsFiles) && size(self.windowsFiles) > 0) || (has(self.linuxFiles) && size(self.linuxFiles) > 0) || (has(self.registryKeys) && size(self.registryKeys) > 0)")
    .message("plan.fileIntegrityMonitoring.rules.custom must contain at least one entry in windowsFiles, linuxFiles or registryKeys; to monitor nothing, set plan.fileIntegrityMonitoring.state to Disabled"))]
#[x_kube(validation = Rule::new("(has(self.windowsFiles) ? size(self.windowsFiles) : 0) + (has(self.linuxFiles) ? size(self.linuxFiles) : 0) + (has(self.registryKeys) ? size(self.registryKeys) : 0) <= 200")
    .message("plan.fileIntegrityMonitoring.rules.custom must not contain more than 200 entries in windowsFiles, linuxFiles and registryKeys together: monitor folders instead of single files"))]
#[serde(rename_all = "camelCase")]
pub struct CustomFileIntegrityRules {
    /// Files and folders of Windows machines, compared without case, for example \Windows\win.ini.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 200),
        inner(length(max = 512)),
        transform = each(r#"^[^/<>"|\x00-\x1f]+$"#, r"plan.fileIntegrityMonitoring.rules.custom.windowsFiles must contain paths with backslashes, for example \Windows\win.ini")
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub windows_files: Vec<String>,
    /// Absolute paths of files and folders of Linux machines, compared with case, for example /etc/*.conf or
    /// /usr/bin/.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 200),
        inner(length(max = 512)),
        transform = each(r"^/[^\x00-\x1f]*$", "plan.fileIntegrityMonitoring.rules.custom.linuxFiles must contain absolute paths, for example /etc/*.conf")
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub linux_files: Vec<String>,
    /// Keys and values of the Windows registry, starting with the hive, compared without case, for example
    /// hklm\SOFTWARE\Microsoft\Windows\CurrentVersion\Run\.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 200),
        inner(length(max = 512)),
        transform = each(r"^[hH][kK][a-zA-Z_]+\\[^\x00-\x1f]+$", r"plan.fileIntegrityMonitoring.rules.custom.registryKeys must contain keys that start with a hive, for example hklm\SOFTWARE\Microsoft")
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub registry_keys: Vec<String>,
}
