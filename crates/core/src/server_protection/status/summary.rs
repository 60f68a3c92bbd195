//! Ready and the conditions that are present only while they are True: the table of situations (docs/architecture.md 2.4).

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serverprotection_api::PlanStatus;

use super::{Phase, condition_set::reason_of};
use crate::{
    azure_error::{AzureError, ErrorClass},
    conditions::{ConditionStatus, Conditions, get},
    server_protection::{
        changes::{Difference, listed},
        decide::{Decision, Input, Outcome, Situation},
        events::describe,
        reductions,
    },
};

/// From this failure in a row on, what was read last counts as stale.
const STALE_AFTER: u32 = 3;

/// A failure that time mends, early in its row, on an object whose spec was already looked at.
pub(super) fn is_passing_failure(input: &Input<'_>, decision: &Decision, failures: u32) -> bool {
    let Situation::Failing(failure) = &decision.situation else {
        return false;
    };
    let observed_before = input.previous.observed_generation == Some(input.generation);
    observed_before && is_passing(failure, &input.previous.conditions, failures)
}

/// The same, by what stands in status.
pub(crate) fn is_passing(failure: &AzureError, conditions: &[Condition], failures: u32) -> bool {
    let known = get(conditions, "Ready").is_some_and(|ready| ready.reason != "NotObserved");
    failure.class.is_transient() && failures < STALE_AFTER && known
}

/// What the summary says.
pub(crate) struct Summary {
    pub(crate) ready: ConditionStatus,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) secondary: Secondary,
}

/// Reconciling and Stalled exclude each other.
pub(crate) enum Secondary {
    Nothing,
    Reconciling(&'static str),
    Stalled,
}

/// Sets Ready, Reconciling, Stalled, Contested and Suspended.
pub(super) fn set(
    conditions: &mut Conditions,
    input: &Input<'_>,
    decision: &Decision,
    phase: Phase<'_>,
    plan: Option<&PlanStatus>,
    failures: u32,
) {
    if decision.situation == Situation::Suspended {
        suspend(conditions);
        return;
    }
    summary(input, decision, phase, plan, failures).apply(conditions);
    contested(conditions, &decision.differences, &decision.suppressed);
}

/// `spec.suspend`: the conditions keep their values, and nobody shall wait for newer ones.
pub(crate) fn suspend(conditions: &mut Conditions) {
    conditions.set(
        "Suspended",
        ConditionStatus::True,
        "SuspendedBySpec",
        "spec.suspend is true: Azure is neither read nor written",
    );
    for type_ in ["Reconciling", "Stalled", "Contested"] {
        conditions.remove(type_);
    }
    conditions.stamp();
}

impl Summary {
    /// Sets Ready, and Reconciling or Stalled beside it.
    pub(crate) fn apply(self, conditions: &mut Conditions) {
        conditions.remove("Suspended");
        conditions.set("Ready", self.ready, &self.reason, self.message.clone());
        match self.secondary {
            Secondary::Nothing => {
                conditions.remove("Reconciling");
                conditions.remove("Stalled");
            }
            Secondary::Reconciling(reason) => {
                conditions.remove("Stalled");
                conditions.set("Reconciling", ConditionStatus::True, reason, self.message);
            }
            Secondary::Stalled => {
                conditions.remove("Reconciling");
                conditions.set("Stalled", ConditionStatus::True, &self.reason, self.message);
            }
        }
    }
}

/// Contested, while fields are left alone.
pub(crate) fn contested(
    conditions: &mut Conditions,
    differences: &[Difference],
    suppressed: &BTreeSet<String>,
) {
    if suppressed.is_empty() {
        conditions.remove("Contested");
    } else {
        let message = contested_message(differences, suppressed);
        conditions.set("Contested", ConditionStatus::True, "LeftAlone", message);
    }
}

pub(crate) fn contested_message(differences: &[Difference], suppressed: &BTreeSet<String>) -> String {
    let lost: Vec<_> = differences
        .iter()
        .filter(|difference| suppressed.contains(&difference.field))
        .map(|difference| {
            format!(
                "{} (spec: {}, Azure: {})",
                difference.field, difference.desired, difference.observed
            )
        })
        .collect();
    format!(
        "something else keeps setting {}; it is left alone for a while (status.contested): find the other writer (Azure Policy, another plan such as Defender CSPM, a person) or set the field to Unmanaged",
        lost.join(", ")
    )
}

pub(crate) fn ready(reason: &str, message: String) -> Summary {
    Summary {
        ready: ConditionStatus::True,
        reason: reason.into(),
        message,
        secondary: Secondary::Nothing,
    }
}

pub(crate) fn progressing(why: &'static str, message: String) -> Summary {
    Summary {
        ready: ConditionStatus::False,
        reason: "Progressing".into(),
        message,
        secondary: Secondary::Reconciling(why),
    }
}

pub(crate) fn stalled(reason: &str, message: String) -> Summary {
    Summary {
        ready: ConditionStatus::False,
        reason: reason.into(),
        message,
        secondary: Secondary::Stalled,
    }
}

fn summary(
    input: &Input<'_>,
    decision: &Decision,
    phase: Phase<'_>,
    plan: Option<&PlanStatus>,
    failures: u32,
) -> Summary {
    match &decision.situation {
        Situation::Suspended | Situation::InSync => ready("InSync", in_sync_message(plan)),
        Situation::Observing => ready("Observed", observed_message(&decision.differences)),
        Situation::ClaimConflicted { holder } => stalled(
            "ClaimConflicted",
            format!("subscription {} is owned by ServerProtection {holder}; delete one of the two", input.spec.subscription_id),
        ),
        Situation::Failing(failure) => failing(failure, failures),
        Situation::RegistrationMissing => stalled(
            "ProviderNotRegistered",
            "Microsoft.Security is not registered in the subscription; run az provider register -n Microsoft.Security, or set resourceProviders.registration to Register in mode Enforce".into(),
        ),
        Situation::Registering { stuck: false } => {
            progressing("Registering", "Azure registers Microsoft.Security; it takes minutes".into())
        }
        Situation::Registering { stuck: true } => stalled(
            "RegistrationStuck",
            "Azure has been registering Microsoft.Security for far longer than the usual minutes; try az provider register -n Microsoft.Security, or open a support case".into(),
        ),
        Situation::NeedsApproval(reductions) => stalled("ReductionNeedsApproval", approval_message(reductions)),
        Situation::Writing => writing(decision, phase),
        Situation::Settling => progressing(
            "Settling",
            format!("Azure accepted the write but answers otherwise: {}; it is tried again", fields(&decision.differences)),
        ),
        Situation::Contested => stalled("Contested", contested_message(&decision.differences, &decision.suppressed)),
        Situation::ExtensionFailed { missing_action } => extension_failed(plan, missing_action.as_deref()),
    }
}

fn in_sync_message(plan: Option<&PlanStatus>) -> String {
    match plan {
        Some(plan) => format!("Azure stands as the spec demands (plan {})", plan.tier),
        None => "Azure stands as the spec demands".into(),
    }
}

pub(crate) fn observed_message(differences: &[Difference]) -> String {
    match differences.len() {
        0 => "observed; Azure stands as the spec demands".into(),
        1 => format!("observed; 1 field differs: {}", fields(differences)),
        many => format!("observed; {many} fields differ: {}", fields(differences)),
    }
}

pub(crate) fn fields(differences: &[Difference]) -> String {
    let all: Vec<_> = differences
        .iter()
        .map(|difference| difference.field.as_str())
        .collect();
    all.join(", ")
}

pub(crate) fn approval_message(found: &[Difference]) -> String {
    let approvals: Vec<_> = found.iter().map(reductions::approval_for).collect();
    format!(
        "the first thing to do would lower the protection that stands ({}); nothing is written. Change the spec, or approve with the annotation serverprotection.dev/approve-reduction: \"{}\"",
        listed(found),
        approvals.join(",")
    )
}

fn extension_failed(plan: Option<&PlanStatus>, missing_action: Option<&str>) -> Summary {
    let failed: Vec<_> = plan
        .iter()
        .flat_map(|plan| &plan.extensions)
        .filter(|extension| extension.provisioning.as_deref() == Some("Failed"))
        .map(|extension| {
            format!(
                "{}: {}",
                extension.name,
                extension.message.as_deref().unwrap_or("no reason given")
            )
        })
        .collect();
    let failed = failed.join("; ");
    match missing_action {
        Some(action) => stalled(
            "ExtensionFailed",
            format!(
                "{failed}; the identity lacks {action}: grant Owner (or a role with it) on the subscription; it is tried again then"
            ),
        ),
        None => Summary {
            ready: ConditionStatus::False,
            reason: "ExtensionFailed".into(),
            message: format!("{failed}; it is tried again"),
            secondary: Secondary::Reconciling("RetryingExtension"),
        },
    }
}

fn writing(decision: &Decision, phase: Phase<'_>) -> Summary {
    let all = |changes: &[crate::server_protection::changes::Change]| {
        changes.iter().map(describe).collect::<Vec<_>>().join(", ")
    };
    match phase {
        Phase::BeforeWrite => progressing("Writing", format!("writing {}", all(&decision.changes))),
        Phase::AfterWrite(Outcome {
            failed: Some((_, failure)),
            ..
        }) => failing_write(failure),
        Phase::AfterWrite(outcome) if outcome.done.is_empty() => withheld(&all(&decision.changes)),
        Phase::AfterWrite(outcome) => reading_back(&all(&outcome.done)),
    }
}

pub(crate) fn withheld(changes: &str) -> Summary {
    progressing(
        "Withheld",
        format!("this process may not write now; to be written: {changes}"),
    )
}

pub(crate) fn reading_back(written: &str) -> Summary {
    progressing("Writing", format!("written: {written}; reading back"))
}

/// A failed write leaves the spec unfulfilled: never "unchanged".
pub(crate) fn failing_write(failure: &AzureError) -> Summary {
    match failure.class {
        ErrorClass::Throttled(_) => progressing(
            "Throttled",
            "Azure throttles writes; the next try waits as long as it asked".into(),
        ),
        ErrorClass::Conflict => progressing(
            "UpdateInProgress",
            "another update is in progress; tried again shortly".into(),
        ),
        ErrorClass::Transient | ErrorClass::Unavailable(_) => {
            progressing("Retrying", format!("{failure}; it is tried again"))
        }
        // The next reading shows whether a registration is running, and who has to start one.
        ErrorClass::NotRegistered => {
            progressing("Registering", format!("{failure}; the registration is read next"))
        }
        _ => failing(failure, 0),
    }
}

pub(crate) fn failing(failure: &AzureError, failures: u32) -> Summary {
    let message = format!("{failure}; {}", failure.hint());
    if !failure.class.is_transient() {
        return stalled(reason_of(failure), message);
    }
    let (reason, why) = if failures >= STALE_AFTER {
        ("ObservationStale", "cannot be read")
    } else {
        ("Progressing", "could not be read yet")
    };
    // Throttling messages count down; only what stays goes into a condition.
    let message = match failure.class {
        ErrorClass::Throttled(_) => format!("Azure {why}: it throttles {}", failure.operation),
        _ => format!("Azure {why}: {message}"),
    };
    Summary {
        ready: ConditionStatus::Unknown,
        reason: reason.into(),
        message,
        secondary: Secondary::Reconciling("Retrying"),
    }
}
