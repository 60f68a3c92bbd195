//! From a machine and its circumstances to a finding: the first rule that applies decides.

use std::borrow::Cow;

use k8s_openapi::jiff::SignedDuration;

use super::{Exclusions, Machine, Verdict};
use crate::Timestamp;

/// What else a verdict depends on.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// Now.
    pub now: Timestamp,
    /// `spec.machines.gracePeriod`: how long a machine may wait for its extension.
    pub grace: SignedDuration,
    /// When the plan of the subscription was switched on.
    pub plan_enabled_since: Option<Timestamp>,
    /// `spec.machines.exclude`.
    pub exclusions: &'a Exclusions,
    /// The machine has a plan of its own, and it is Free.
    pub plan_off: bool,
    /// What Defender's health report says against the sensor.
    pub health: Option<&'a HealthIssue>,
}

/// A health report of component MDE that is not Healthy (contract.md 5.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthIssue {
    /// `status.code`.
    pub status: String,
    /// Name of the first issue, or the reason.
    pub issue: String,
    /// Its remediation steps.
    pub remedy: String,
}

/// The verdict on one machine, and what there is to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it was found to be.
    pub verdict: Verdict,
    /// Why, as one CamelCase word or an error name: for machines to compare.
    pub reason: Cow<'static, str>,
    /// Why, for people.
    pub message: Cow<'static, str>,
    /// What to do; empty where nothing is to be done.
    pub remedy: Cow<'static, str>,
    /// Since when, where Azure tells it.
    pub since: Option<Timestamp>,
    /// Until when it may stay so: the end of the grace period.
    pub until: Option<Timestamp>,
    /// The rule of `spec.machines.exclude` that left it out.
    pub exclusion: Option<usize>,
}

/// The finding on a machine. Pure: the same machine and circumstances give the same finding.
pub fn finding(machine: &Machine, circumstances: &Circumstances<'_>) -> Finding {
    let _ = (machine, circumstances);
    Finding {
        verdict: Verdict::Unknown,
        reason: "NotBuilt".into(),
        message: "".into(),
        remedy: "".into(),
        since: None,
        until: None,
        exclusion: None,
    }
}
