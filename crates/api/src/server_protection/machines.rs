//! Verification of the machines: what is asked for, and what was found.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the machines of the subscription are verified.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Machines {
    /// Machines that are left out: they are counted as Excluded and do not lower the percentage. They stay as protected
    /// as they are; to switch the plan off for a machine is done in Azure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub exclude: Vec<MachineExclusion>,
    /// How long a machine may wait for its extension before it counts as Missing, and how long an Arc machine may be
    /// disconnected before it counts as ArcDisconnected: from 1m to 720h.
    #[serde(default = "a_day")]
    #[schemars(
        length(min = 2, max = 16),
        regex(pattern = r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$")
    )]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m') && duration(self) <= duration('720h')").message("machines.gracePeriod must lie between 1m and 720h"))]
    pub grace_period: String,
    /// The condition MachinesProtected is True while at least this percentage of the machines that should be protected
    /// is protected: 1 to 100.
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

/// Machines that are left out of the verification. A machine is selected when it matches every kind of selector given
/// here: all of the tags, one of the resource groups, one of the ids.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("(has(self.tags) && size(self.tags) > 0) || (has(self.resourceGroups) && size(self.resourceGroups) > 0) || (has(self.ids) && size(self.ids) > 0)")
    .message("a rule of machines.exclude without tags, resourceGroups or ids would select every machine: name at least one; to stop the verification, set machines.minimumProtectedPercent instead"))]
#[serde(rename_all = "camelCase")]
pub struct MachineExclusion {
    /// Name of the rule; status.machines.excluded counts what it leaves out.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// Tags that the machine must carry, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 15))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["key".into()]))]
    pub tags: Vec<MachineTag>,
    /// Names of resource groups, one of which the machine must lie in. There are no wildcards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 90), regex(pattern = r"^[-\p{L}\p{N}_.()]+$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub resource_groups: Vec<String>,
    /// Resource ids of virtual machines, Arc machines or scale sets, one of which the machine must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        inner(
            length(max = 512),
            regex(
                pattern = r"^/[sS]ubscriptions/[0-9a-fA-F-]{36}/[rR]esource[gG]roups/[^/]+/providers/[mM]icrosoft\.([cC]ompute/virtual[mM]achine([sS]cale[sS]et)?s|[hH]ybrid[cC]ompute/machines)/[^/]+$"
            )
        )
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
    /// Value of the tag, compared with case. Absent: any value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub value: Option<String>,
}

/// What the machines of the subscription come to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MachinesStatus {
    /// Protected machines of those that should be, as 4210/4290.
    pub summary: String,
    /// All machines of the subscription, whatever their verdict.
    pub total: i64,
    /// Machines that should be protected: all but PoweredOff, UnsupportedOs, Excluded, AgentlessOnly and DuplicateShell.
    pub eligible: i64,
    /// Machines by verdict; verdicts without a machine are left out. The sum is total.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub verdicts: BTreeMap<String, i64>,
    /// Machines by environment: Azure, OnPremises, AWS, GCP; environments without a machine are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub environments: BTreeMap<String, EnvironmentStatus>,
    /// The worst ten machines. serverprotection machines lists all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub worst: Vec<MachineStatus>,
    /// Machines that each rule of spec.machines.exclude leaves out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub excluded: Vec<ExcludedStatus>,
    /// NotVerifiable while plan.directOnboarding is on: machines that were onboarded without Azure Arc have no resource
    /// in Azure, and are in none of these numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct_onboarding: Option<String>,
    /// Why the newest scan failed; the numbers are those of lastScan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan_failure: Option<ScanFailure>,
    /// When the scan behind these numbers began; written with another change, or hourly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_scan: Option<Time>,
}

/// The machines of one environment.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentStatus {
    /// Protected machines of those that should be, as 4210/4290.
    pub summary: String,
    /// All machines of the environment.
    pub total: i64,
    /// Machines that should be protected.
    pub eligible: i64,
    /// Machines that are protected.
    pub protected: i64,
}

/// A machine that is not protected.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MachineStatus {
    /// Resource id.
    pub id: String,
    /// Name of the machine.
    pub name: String,
    /// Azure, OnPremises, AWS or GCP.
    pub environment: String,
    /// Failed, Missing, PlanOff, ArcDisconnected, Unknown or LegacyAgent.
    pub verdict: String,
    /// Why, as one word or the name of the extension's error.
    pub reason: String,
    /// Why, decoded.
    pub message: String,
    /// Since when Azure says so, or when it was first seen.
    pub since: Time,
    /// What to do.
    pub remedy: String,
}

/// What a rule of spec.machines.exclude leaves out.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ExcludedStatus {
    /// Name of the rule.
    pub name: String,
    /// Machines that it leaves out.
    pub machines: i64,
}

/// A scan that failed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ScanFailure {
    /// When the first scan of the row of failures failed.
    pub since: Time,
    /// Azure's words, and what to do.
    pub message: String,
}
