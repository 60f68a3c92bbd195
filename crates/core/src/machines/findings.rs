//! From a machine and its circumstances to a finding: the first rule that applies decides.

use std::borrow::Cow;

use k8s_openapi::jiff::SignedDuration;

use super::{
    Exclusions, Machine, Verdict,
    rules::{MessageSource, RULES, Subject, failure_texts},
};
use crate::Timestamp;

/// What else a verdict depends on.
#[derive(Clone, Copy, Debug)]
pub struct RuleContext<'a> {
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
    /// The machine has a plan of its own that cannot be read.
    pub plan_unreadable: bool,
    /// What Defender's health report says against the sensor.
    pub health: Option<&'a HealthIssue>,
    /// When a scan first saw the extension in its present transition: Azure does not date every one.
    pub transition_seen: Option<Timestamp>,
    /// The machine has a health report that cannot be read.
    pub health_unreadable: bool,
}

/// A health report of component MDE that is not Healthy (docs/azure-api.md 5.2).
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

impl Finding {
    /// Whether to ask the machine itself before this counts: when it is bad, and when an extension is on its way beyond
    /// the grace period and nothing dates that. Resource Graph has no instance view of a virtual machine's extension.
    pub fn needs_confirmation(&self, now: Timestamp) -> bool {
        let in_grace = self.until.is_some_and(|until| now < until);
        let undated = self.verdict == Verdict::Provisioning && self.since.is_none();
        self.verdict.is_bad() || (undated && !in_grace)
    }
}

/// The finding on a machine. Pure: the same machine and circumstances give the same finding.
pub fn finding(machine: &Machine, rule_context: &RuleContext<'_>) -> Finding {
    let case = Subject::new(machine, rule_context);
    let [.., last] = &RULES;
    let rule = RULES.iter().find(|rule| (rule.applies)(&case)).unwrap_or(last);
    let (reason, message, remedy) = match &rule.message_source {
        MessageSource::When => (
            Cow::from(rule.reason),
            Cow::from(rule.when),
            Cow::from(rule.remedy),
        ),
        MessageSource::Found(words) => (rule.reason.into(), words(&case).into(), rule.remedy.into()),
        MessageSource::Failure => {
            let (reason, message, remedy) = failure_texts(&case);
            (reason, message.into(), remedy)
        }
        MessageSource::Health => health_texts(rule.reason, rule.remedy, rule_context),
    };
    Finding {
        verdict: rule.verdict,
        reason,
        message,
        remedy,
        since: since(rule.verdict, &case),
        until: (rule.verdict == Verdict::Provisioning)
            .then_some(case.grace_until)
            .flatten(),
        exclusion: (rule.verdict == Verdict::Excluded)
            .then_some(case.excluded_by)
            .flatten()
            .map(|(at, _)| at),
    }
}

fn health_texts(
    reason: &'static str,
    remedy: &'static str,
    rule_context: &RuleContext<'_>,
) -> (Cow<'static, str>, Cow<'static, str>, Cow<'static, str>) {
    let Some(health) = rule_context.health else {
        return (reason.into(), "".into(), remedy.into());
    };
    let message = format!("health report {}: {}", health.status, health.issue);
    let remedy = if health.remedy.is_empty() {
        Cow::from(remedy)
    } else {
        Cow::from(health.remedy.clone())
    };
    (reason.into(), message.into(), remedy)
}

/// Since when, as far as Azure tells it: in whole seconds, as Kubernetes writes times.
fn since(verdict: Verdict, case: &Subject<'_>) -> Option<Timestamp> {
    let since = match verdict {
        Verdict::ArcDisconnected => case.machine.arc.as_ref()?.last_status_change,
        Verdict::Failed | Verdict::Provisioning => case.extension.and_then(|extension| {
            if extension.in_transition() {
                extension.transition_began()
            } else {
                // What Succeeded was last written long before its sensor fell ill.
                extension
                    .at
                    .or(extension.modified.filter(|_| !extension.is("Succeeded")))
            }
        }),
        Verdict::Missing => case.grace_until.filter(|until| *until <= case.rule_context.now),
        _ => None,
    };
    since.and_then(|since| Timestamp::from_second(since.as_second()).ok())
}

#[cfg(test)]
#[path = "findings_tests.rs"]
mod tests;
