//! Verification of the machines: its spec and its result.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::patterns::{LABEL, RESOURCE_GROUP, duration, each, each_by_rule, text};

/// The rule for the resource id of a machine. Not a regular expression: the API server would estimate the cost of one for
/// each of the ids to be more than it allows for all.
const MACHINE_ID: &str = "self.startsWith('/') && !self.endsWith('/') && self.split('/').size() == 9 && self.split('/')[7] in ['virtualMachines', 'virtualmachines', 'virtualMachineScaleSets', 'virtualmachinescalesets', 'machines']";

/// How the machines of the subscription are verified.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(validation = Rule::new("!has(self.exclude) || (self.exclude.map(rule, has(rule.ids) ? size(rule.ids) : 0).sum() <= 512 && self.exclude.map(rule, has(rule.resourceGroups) ? size(rule.resourceGroups) : 0).sum() <= 128 && self.exclude.map(rule, has(rule.tags) ? size(rule.tags) : 0).sum() <= 64)")
    .message("machines.exclude must not contain more than 512 ids, 128 resourceGroups and 64 tags, counted over all rules: exclude many machines by a tag or a resource group instead of their ids")
    .reason(Reason::FieldValueInvalid).field_path(".exclude"))]
#[serde(rename_all = "camelCase")]
pub struct Machines {
    /// Rules for machines that are not verified. They count as Excluded and do not lower the percentage. Exclusion
    /// does not change protection; to disable the plan for one machine, do so in Azure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub exclude: Vec<MachineExclusion>,
    /// How long a machine may lack its extension before it counts as Missing, and how long an Azure Arc machine may be
    /// disconnected before it counts as ArcDisconnected: from 1m to 720h. The default is 24h.
    #[serde(default = "a_day")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new(duration("1m", "720h")).message("machines.gracePeriod must be from 1m to 720h, in hours (h), minutes (m) and seconds (s), for example 24h; write 30 days as 720h"))]
    pub grace_period: String,
    /// The percentage of eligible machines, from 1 to 100, that must be protected for the condition MachinesProtected
    /// to be True. The default is 100.
    #[serde(default = "all")]
    #[schemars(range(min = 1, max = 100))]
    pub minimum_protected_percent: i32,
}

impl Default for Machines {
    fn default() -> Self {
        Self {
            exclude: Vec::new(),
            grace_period: a_day(),
            minimum_protected_percent: all(),
        }
    }
}

fn a_day() -> String {
    "24h".into()
}

const fn all() -> i32 {
    100
}

/// Machines that are not verified. A machine is excluded if it matches all selectors that are set: all of the tags,
/// one of the resource groups, and one of the ids.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("(has(self.tags) && size(self.tags) > 0) || (has(self.resourceGroups) && size(self.resourceGroups) > 0) || (has(self.ids) && size(self.ids) > 0)")
    .message("machines.exclude must not contain a rule without tags, resourceGroups and ids, which would exclude every machine: set at least one of them; to accept unprotected machines, lower machines.minimumProtectedPercent"))]
#[serde(rename_all = "camelCase")]
pub struct MachineExclusion {
    /// Name of the rule. status.machines.excluded counts machines by this name.
    #[schemars(
        length(max = 256),
        transform = text(LABEL, "machines.exclude must contain rules whose names have at most 63 lower-case letters, digits and -, for example lab-machines")
    )]
    pub name: String,
    /// Tags that the machine must have, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 15))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["key".into()]))]
    pub tags: Vec<MachineTag>,
    /// Names of resource groups. The machine must be in one of them. Wildcards are not supported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(max = 90)),
        transform = each(RESOURCE_GROUP, "machines.exclude.resourceGroups must contain names of resource groups, without wildcards, for example rg-lab")
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub resource_groups: Vec<String>,
    /// Resource ids of virtual machines, Azure Arc machines or scale sets. The id of the machine must be one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        inner(length(max = 320)),
        transform = each_by_rule(MACHINE_ID, "machines.exclude.ids must contain resource ids of virtual machines, scale sets or Azure Arc machines: /subscriptions/ID/resourceGroups/NAME/providers/Microsoft.HybridCompute/machines/NAME")
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub ids: Vec<String>,
}

/// A tag of machines.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MachineTag {
    /// Name of the tag, compared without case.
    #[schemars(length(min = 1, max = 512))]
    pub key: String,
    /// Value of the tag, compared with case. When absent, any value matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub value: Option<String>,
}

/// Result of the newest scan of the subscription's machines.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MachinesStatus {
    /// Number of machines of the subscription, with any verdict.
    pub total: i64,
    /// Number of machines that should be protected: all except PoweredOff, UnsupportedOs, Excluded, AgentlessOnly and
    /// DuplicateShell.
    pub eligible: i64,
    /// Number of machines by verdict. Verdicts without machines are omitted. The sum is total.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub verdicts: BTreeMap<String, i64>,
    /// Machines by environment: Azure, OnPremises, AWS or GCP. Environments without machines are omitted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub environments: BTreeMap<String, EnvironmentStatus>,
    /// The ten machines that need attention most. The command serverprotection machines lists all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub worst: Vec<MachineStatus>,
    /// Number of machines that each rule of spec.machines.exclude excludes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub excluded: Vec<ExcludedStatus>,
    /// NotVerifiable while plan.directOnboarding is enabled: machines that were onboarded without Azure Arc have no
    /// resource in Azure and are not counted here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct_onboarding: Option<String>,
    /// Why the newest scan failed. The numbers are those of lastScanTime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan_failure: Option<ScanFailure>,
    /// When the scan of these numbers started. Updated together with other changes, otherwise hourly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_scan_time: Option<Time>,
}

/// The machines of one environment.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentStatus {
    /// Number of machines of the environment.
    pub total: i64,
    /// Number of machines that should be protected.
    pub eligible: i64,
    /// Number of machines that are protected.
    pub protected: i64,
}

/// A machine that is not protected.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MachineStatus {
    /// Resource id of the machine.
    pub id: String,
    /// Name of the machine.
    pub name: String,
    /// Azure, OnPremises, AWS or GCP.
    pub environment: String,
    /// Failed, Missing, PlanOff, ArcDisconnected, Unknown or LegacyAgent.
    pub verdict: String,
    /// Reason of the verdict in CamelCase. For Failed, the name of the extension's error.
    pub reason: String,
    /// Human-readable explanation.
    pub message: String,
    /// When the problem began according to Azure, or when it was first observed.
    pub start_time: Time,
    /// What to do.
    pub remedy: String,
}

/// The machines that a rule of spec.machines.exclude excludes.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ExcludedStatus {
    /// Name of the rule.
    pub name: String,
    /// Number of machines that the rule excludes.
    pub machines: i64,
}

/// A failed scan.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ScanFailure {
    /// When the first of the consecutive scans failed.
    pub start_time: Time,
    /// Azure's error, and what to do.
    pub message: String,
}
