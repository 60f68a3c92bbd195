//! From a machine and its context to a finding: the first rule that applies decides.

use std::borrow::Cow;

use k8s_openapi::jiff::SignedDuration;

use super::{
    Exclusions, Machine, Verdict, failures,
    rules::{MessageSource, RULES},
    subject::Subject,
};
use crate::Timestamp;

/// What a verdict depends on besides the machine.
#[derive(Clone, Copy, Debug)]
pub struct RuleContext<'a> {
    /// The time of the scan.
    pub now: Timestamp,
    /// `spec.machines.gracePeriod`: how long a machine may be without its extension.
    pub grace: SignedDuration,
    /// When the plan of the subscription was enabled.
    pub plan_enabled_since: Option<Timestamp>,
    /// `spec.machines.exclude`.
    pub exclusions: &'a Exclusions,
    /// The plan of the machine, if it is Free.
    pub plan_off: Option<PlanOff>,
    /// The machine has its own plan, which cannot be read.
    pub plan_unreadable: bool,
    /// The problem that a health report of Defender for Cloud names, if there is one.
    pub health: Option<&'a HealthIssue>,
    /// When a scan first saw the extension in its current transition: Azure does not date every transition.
    pub transition_seen: Option<Timestamp>,
    /// The machine has a health report that cannot be read.
    pub health_unreadable: bool,
}

/// Which plan leaves a machine without Defender for Servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanOff {
    /// The machine has its own plan, and it is Free.
    OfMachine,
    /// The plan of the subscription is Free, and the machine has no own one.
    OfSubscription,
}

/// A health report of component MDE that is not Healthy (docs/azure-api.md 5.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthIssue {
    /// `status.code`.
    pub status: String,
    /// Name of the first issue, or else the reason of the status.
    pub issue: String,
    /// Remediation steps of the issue.
    pub remedy: String,
}

/// The verdict on one machine, with its reason, message, remedy and times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The verdict.
    pub verdict: Verdict,
    /// A CamelCase word or the name of an error, for programs.
    pub reason: Cow<'static, str>,
    /// The cause, for users.
    pub message: Cow<'static, str>,
    /// What the user should do; empty if no action is needed.
    pub remedy: Cow<'static, str>,
    /// When the state of the machine began, if Azure says so.
    pub since: Option<Timestamp>,
    /// The end of the grace period of a machine that is Provisioning.
    pub until: Option<Timestamp>,
    /// Index of the rule of `spec.machines.exclude` that excludes the machine.
    pub exclusion: Option<usize>,
    /// The plan of the machine, if it is Free, with any verdict.
    pub plan_off: Option<PlanOff>,
}

impl Finding {
    /// Whether to confirm the finding with a direct GET of the machine: if it is bad, or if an extension is in
    /// transition after the grace period without a date. Resource Graph has no instance view of a virtual machine's
    /// extension. A GET of the machine says nothing about its plan.
    pub fn needs_confirmation(&self, now: Timestamp) -> bool {
        let in_grace = self.until.is_some_and(|until| now < until);
        let undated = self.verdict == Verdict::Provisioning && self.since.is_none();
        let is_bad = self.verdict.is_bad() && self.verdict != Verdict::PlanOff;
        is_bad || (undated && !in_grace)
    }
}

/// The finding on a machine. A pure function of the machine and its context.
pub fn finding(machine: &Machine, rule_context: &RuleContext<'_>) -> Finding {
    let subject = Subject::new(machine, rule_context);
    let [.., last] = &RULES;
    let rule = RULES.iter().find(|rule| (rule.applies)(&subject)).unwrap_or(last);
    let (reason, message, remedy) = match &rule.message_source {
        MessageSource::When => (
            Cow::from(rule.reason),
            Cow::from(rule.when),
            Cow::from(rule.remedy),
        ),
        MessageSource::Found(message) => (rule.reason.into(), message(&subject).into(), rule.remedy.into()),
        MessageSource::Failure => {
            let (reason, message, remedy) = failure_texts(&subject);
            (reason, message.into(), remedy)
        }
        MessageSource::Health => health_texts(rule.reason, rule.remedy, rule_context),
    };
    Finding {
        verdict: rule.verdict,
        reason,
        message,
        remedy,
        since: since(rule.verdict, &subject),
        until: (rule.verdict == Verdict::Provisioning)
            .then_some(subject.grace_until)
            .flatten(),
        exclusion: (rule.verdict == Verdict::Excluded)
            .then_some(subject.excluded_by)
            .flatten()
            .map(|(at, _)| at),
        plan_off: rule_context.plan_off,
    }
}

/// Reason, message and remedy of a failed extension, from the table of failure codes.
fn failure_texts(subject: &Subject<'_>) -> (Cow<'static, str>, String, Cow<'static, str>) {
    let Some(extension) = subject.extension else {
        return (
            "ExtensionFailed".into(),
            String::new(),
            failures::UNDECODED_REMEDY.into(),
        );
    };
    let azure = match extension.message.trim() {
        "" => ".".to_owned(),
        message => format!(": {message}"),
    };
    match subject.decoded() {
        (code, Some(failure)) => {
            let code = code.map_or(String::new(), |code| format!(" (code {code})"));
            (
                failure.name.into(),
                format!("{}{code}{azure}", failure.meaning),
                failure.remedy.into(),
            )
        }
        (Some(code), None) => (
            format!("Code{code}").into(),
            format!("The extension failed with code {code}, which this version does not recognize{azure}"),
            failures::UNDECODED_REMEDY.into(),
        ),
        (None, None) => (
            "ExtensionFailed".into(),
            format!("The extension is {}{azure}", extension.state),
            failures::UNDECODED_REMEDY.into(),
        ),
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
    let message = format!(
        "The health report has the status {}: {}",
        health.status, health.issue
    );
    let remedy = if health.remedy.is_empty() {
        Cow::from(remedy)
    } else {
        Cow::from(health.remedy.clone())
    };
    (reason.into(), message.into(), remedy)
}

/// When the state began, if Azure says so; truncated to whole seconds, the precision of Kubernetes.
fn since(verdict: Verdict, subject: &Subject<'_>) -> Option<Timestamp> {
    let since = match verdict {
        Verdict::ArcDisconnected => subject.machine.arc.as_ref()?.last_status_change,
        Verdict::Failed | Verdict::Provisioning => subject.extension.and_then(|extension| {
            if extension.in_transition() {
                extension.transition_began()
            } else {
                // A sensor may fail long after the extension was last written and succeeded.
                extension
                    .at
                    .or(extension.modified.filter(|_| !extension.is("Succeeded")))
            }
        }),
        Verdict::Missing => subject
            .grace_until
            .filter(|until| *until <= subject.rule_context.now),
        _ => None,
    };
    since.and_then(|since| Timestamp::from_second(since.as_second()).ok())
}

#[cfg(test)]
mod tests;
