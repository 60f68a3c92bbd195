//! The rules of file integrity monitoring: which files and registry keys are monitored.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What file integrity monitoring watches: a preset, or a list of your own.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = Rule::new("has(self.preset) != has(self.custom)")
    .message("plan.fileIntegrityMonitoring.rules needs exactly one of preset and custom"))]
#[serde(rename_all = "camelCase")]
pub struct FileIntegrityRules {
    /// Recommended: Microsoft's recommended files and registry keys are written when Azure stores no rules. Rules that
    /// Azure stores already, for example those edited in the portal, count as correct and are never changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<FileIntegrityPreset>,
    /// Exactly these files and registry keys are monitored: differences are repaired, also those made in the portal.
    /// The rule ids in Azure are kept and not compared.
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

/// The files and registry keys to monitor.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = Rule::new("(has(self.windowsFiles) && size(self.windowsFiles) > 0) || (has(self.linuxFiles) && size(self.linuxFiles) > 0) || (has(self.registryKeys) && size(self.registryKeys) > 0)")
    .message("plan.fileIntegrityMonitoring.rules.custom needs at least one entry in windowsFiles, linuxFiles or registryKeys; to monitor nothing, set plan.fileIntegrityMonitoring.state to Disabled"))]
#[serde(rename_all = "camelCase")]
pub struct CustomFileIntegrityRules {
    /// Files and folders of Windows machines, compared without case, for example \Windows\win.ini.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 200),
        inner(length(min = 1, max = 512), regex(pattern = r#"^[^/<>"|\x00-\x1f]+$"#))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub windows_files: Vec<String>,
    /// Files and folders of Linux machines from the root, compared with case, for example /etc/*.conf or /usr/bin/.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 200),
        inner(length(min = 1, max = 512), regex(pattern = r"^/[^\x00-\x1f]*$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub linux_files: Vec<String>,
    /// Keys and values of the Windows registry from their hive, compared without case, for example
    /// hklm\SOFTWARE\Microsoft\Windows\CurrentVersion\Run\.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 200),
        inner(
            length(min = 1, max = 512),
            regex(pattern = r"^[hH][kK][a-zA-Z_]+\\[^\x00-\x1f]+$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub registry_keys: Vec<String>,
}
