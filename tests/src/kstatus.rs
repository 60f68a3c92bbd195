//! Checks recorded statuses against the rules of kstatus (as cli-utils computes it) and of Flux's condition checker.
//! [`crate::gitops`] compares this fast copy with Flux's own code.
//!
//! [`kstatus`] is the result that tools like `kubectl wait` and `GitOps` engines compute for one object. [`judge`]
//! checks every version of every object that a [`crate::recorder::Recorder`] recorded.

use crate::recorder::Version;
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// The result of kstatus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Status {
    /// The object is in the desired state.
    Current,
    /// The object is progressing, or was not observed yet.
    InProgress,
    /// The object is stalled.
    Failed,
    /// The object is being deleted.
    Terminating,
}

/// Computes kstatus of an object like its library does for a kind that it does not know.
pub fn kstatus(object: &Value) -> Status {
    let meta = object.get("metadata");
    let number = |v: Option<&Value>, name: &str| v.and_then(|v| v.get(name)).and_then(Value::as_i64);
    let deleting = meta
        .and_then(|m| m.get("deletionTimestamp"))
        .is_some_and(|t| !t.is_null());
    let status = object.get("status").unwrap_or(&Value::Null);
    compute(deleting, number(meta, "generation").unwrap_or_default(), status)
}

/// Computes kstatus of a recorded version.
pub fn kstatus_of(version: &Version) -> Status {
    compute(version.deleting, version.generation, &version.status)
}

fn compute(deleting: bool, generation: i64, status: &Value) -> Status {
    if deleting {
        return Status::Terminating;
    }
    // The check is skipped if the field is absent, so an object without status would be Current. The default -1
    // prevents that.
    if observed_generation(status).is_some_and(|observed| observed != generation) {
        return Status::InProgress;
    }
    for condition in conditions(status) {
        match (text(condition, "type"), text(condition, "status")) {
            ("Reconciling", "True") => return Status::InProgress,
            ("Stalled", "True") => return Status::Failed,
            _ => {}
        }
    }
    match conditions(status).find(|c| text(c, "type") == "Ready") {
        Some(ready) if text(ready, "status") != "True" => Status::InProgress,
        _ => Status::Current,
    }
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Kind, namespace and name.
    pub object: String,
    /// Resource version of the object.
    pub resource_version: String,
    /// What is wrong.
    pub rule: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at resourceVersion {}: {}",
            self.object, self.resource_version, self.rule
        )
    }
}

/// All breaches in these versions, of any number of objects in any order of arrival.
pub fn judge(versions: &[Version]) -> Vec<Breach> {
    let mut objects: BTreeMap<&str, Vec<&Version>> = BTreeMap::new();
    for version in versions {
        objects.entry(&version.uid).or_default().push(version);
    }
    let mut breaches = Vec::new();
    for history in objects.values() {
        let mut before: Option<&Version> = None;
        let mut reconciled = false;
        for version in history {
            let mut report = |rule: String| {
                breaches.push(Breach {
                    object: format!("{} {}/{}", version.kind, version.namespace, version.name),
                    resource_version: version.resource_version.clone(),
                    rule,
                });
            };
            reconciled |= conditions(&version.status).next().is_some();
            alone(version, reconciled, &mut report);
            if let Some(before) = before {
                follows(before, version, &mut report);
            }
            before = Some(version);
        }
    }
    breaches
}

/// Fails with all breaches. Call this at the end of a test.
///
/// # Panics
///
/// If a rule is violated.
#[allow(clippy::panic, reason = "an assertion")]
pub fn assert_lawful(versions: &[Version]) {
    let breaches = judge(versions);
    if !breaches.is_empty() {
        let lines: Vec<String> = breaches.iter().map(Breach::to_string).collect();
        panic!("status violates {} rules:\n{}", lines.len(), lines.join("\n"));
    }
}

/// Rules for a single version. `reconciled`: an earlier version, or this one, had conditions.
fn alone(version: &Version, reconciled: bool, report: &mut dyn FnMut(String)) {
    let status = &version.status;
    let observed = observed_generation(status);
    match observed {
        None => report("status.observedGeneration is missing: a new object would count as Current".into()),
        Some(n) if n > version.generation => {
            report(format!(
                "status.observedGeneration {n} is ahead of generation {}",
                version.generation
            ));
        }
        Some(_) => {}
    }
    let is = |kind: &str| version.condition_status(kind);
    if reconciled && is("Ready").is_none() {
        report("Ready is missing".into());
    }
    if is("Reconciling").is_some() && is("Stalled").is_some() {
        report("Reconciling and Stalled are both present".into());
    }
    for kind in ["Reconciling", "Stalled"] {
        match is(kind) {
            Some("True") if is("Ready") == Some("True") => {
                report(format!("Ready is True together with {kind}"));
            }
            None | Some("True") => {}
            Some(other) => report(format!("{kind} is {other}: it must be absent unless it is True")),
        }
    }
    let lawful_current = is("Ready") == Some("True") && observed == Some(version.generation);
    if kstatus_of(version) == Status::Current && !lawful_current {
        report("kstatus computes Current although the object is not Ready at this generation".into());
    }
    let mut kinds = BTreeSet::new();
    for condition in conditions(status) {
        let kind = text(condition, "type");
        if !kinds.insert(kind) {
            report(format!("{kind} is present twice"));
        }
        lawful_condition(
            condition,
            observed,
            is("Ready") == Some("True"),
            version.generation,
            report,
        );
    }
}

/// Rules for a single condition.
fn lawful_condition(
    condition: &Value,
    observed: Option<i64>,
    ready: bool,
    generation: i64,
    report: &mut dyn FnMut(String),
) {
    let kind = text(condition, "type");
    let reason = text(condition, "reason");
    if !is_camel_case(reason) {
        report(format!(
            "{kind} has the reason {reason:?}, which is not CamelCase"
        ));
    }
    if !["True", "False", "Unknown"].contains(&text(condition, "status")) {
        report(format!("{kind} has the status {:?}", text(condition, "status")));
    }
    if since(condition).is_none() {
        report(format!("{kind} has no lastTransitionTime"));
    }
    match observed_generation(condition) {
        None => report(format!("{kind} has no observedGeneration")),
        Some(n) if n > generation => report(format!("{kind} observed generation {n} of {generation}")),
        Some(n) if ready && Some(n) != observed => {
            report(format!(
                "{kind} describes generation {n} while Ready is True at {observed:?}"
            ));
        }
        Some(_) => {}
    }
}

/// Rules for two consecutive versions of the same object.
fn follows(before: &Version, after: &Version, report: &mut dyn FnMut(String)) {
    if let (Some(a), Some(b)) = (
        observed_generation(&before.status),
        observed_generation(&after.status),
    ) && b < a
    {
        report(format!("status.observedGeneration went back from {a} to {b}"));
    }
    if after.after_gap {
        return; // versions in between may be missing, so a condition may have changed twice
    }
    for condition in conditions(&after.status) {
        let kind = text(condition, "type");
        let Some(old) = before.condition(kind) else {
            continue;
        };
        let (Some(was), Some(is)) = (since(old), since(condition)) else {
            continue;
        };
        let flipped = text(old, "status") != text(condition, "status");
        if !flipped && was != is {
            report(format!(
                "{kind}: lastTransitionTime changed from {was} to {is} without a change of status"
            ));
        }
        if flipped && is < was {
            report(format!("{kind}: lastTransitionTime went back from {was} to {is}"));
        }
        // Times have whole seconds: two changes within a second have the same time.
        if flipped && is == was && after.at.duration_since(is).as_secs() >= 3 {
            report(format!("{kind}: status changed, lastTransitionTime stayed {is}"));
        }
    }
}

fn conditions(status: &Value) -> impl Iterator<Item = &Value> {
    status
        .get("conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn observed_generation(value: &Value) -> Option<i64> {
    value.get("observedGeneration").and_then(Value::as_i64)
}

fn since(condition: &Value) -> Option<Timestamp> {
    text(condition, "lastTransitionTime").parse().ok()
}

fn is_camel_case(reason: &str) -> bool {
    reason.starts_with(|c: char| c.is_ascii_uppercase()) && reason.chars().all(|c| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests;
