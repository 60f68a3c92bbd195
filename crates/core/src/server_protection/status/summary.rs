//! Ready and the conditions that are present only while they are True: the table of docs/architecture.md 2.4.

use serverprotection_api::{PlanStatus, ServerProtectionStatus};

use super::Phase;
use crate::{
    claims::{held_by_another, reserved},
    conditions::{ConditionStatus, Conditions, Reason},
    difference::listed,
    message::Message,
    server_protection::{
        changes::Difference,
        decide::{Change, Decision, Input, Observation, Outcome, Situation, tries_everything},
        events::describe,
        field::{ExtensionName, ProtectionField, ProtectionValue},
        observed::{Observed, ScanningPlan},
        provisioning::Provisioning,
        reductions,
    },
    summary::{
        Secondary, Summary, about_to_write, approval_message, contested, contested_message, failing,
        failing_write, in_sync, is_passing, observed_message, progressing, reading_back, ready,
        settling_message, stalled, withheld,
    },
    suspension::{Demand, LastDrift, suspend},
};

/// Whether this is one of the first transient read errors of a spec that was observed before.
pub(super) fn is_passing_failure(input: &Input<'_>, decision: &Decision, failures: u32) -> bool {
    let Situation::Failing(failure) = &decision.situation else {
        return false;
    };
    let observed_before = input.previous.observed_generation == Some(input.generation);
    observed_before && is_passing(failure, &input.previous.conditions, failures)
}

/// Sets Ready, Reconciling, Stalled, Contested and Suspended.
pub(super) fn set(
    conditions: &mut Conditions,
    input: &Input<'_>,
    decision: &Decision,
    phase: Phase<'_>,
    status: &ServerProtectionStatus,
    failures: u32,
) {
    if decision.situation == Situation::Suspended {
        let spec = (input.history.reconciled, Demand::from(input.spec));
        let drift = LastDrift::new(input.previous.drift_count, &input.previous.drift);
        suspend(
            conditions,
            &input.previous.conditions,
            input.generation,
            spec,
            drift,
        );
        return;
    }
    let paused = paused(input, decision, status);
    summary(input, decision, phase, status, failures).apply(conditions);
    contested(conditions, &decision.suppressed, &paused);
}

fn summary(
    input: &Input<'_>,
    decision: &Decision,
    phase: Phase<'_>,
    status: &ServerProtectionStatus,
    failures: u32,
) -> Summary {
    let plan = status.plan.as_ref();
    match &decision.situation {
        Situation::Suspended | Situation::InSync => ready(Reason::InSync, in_sync_message(plan)),
        Situation::Observing => ready(Reason::Observed, observed_message(&decision.differences)),
        Situation::ClaimConflicted { holder } => stalled(
            Reason::ClaimConflicted,
            held_by_another(holder.as_deref(), &subscription(input)),
        ),
        Situation::ClaimReserved(until) => {
            progressing(Reason::Reserved, reserved(*until, &subscription(input)))
        }
        Situation::Failing(failure) => failing(failure, failures),
        Situation::RegistrationMissing => stalled(
            Reason::ProviderNotRegistered,
            Message::new("Microsoft.Security is not registered in the subscription").action(
                "Run az provider register -n Microsoft.Security, or set resourceProviders.registration to Register in mode Enforce",
            ),
        ),
        Situation::Registering { stuck: false } => progressing(
            Reason::Registering,
            Message::new("Azure is registering Microsoft.Security, which takes minutes"),
        ),
        Situation::Registering { stuck: true } => stalled(
            Reason::RegistrationStuck,
            Message::new("Azure has been registering Microsoft.Security for much longer than the usual minutes")
                .action("Run az provider register -n Microsoft.Security, or open a support case"),
        ),
        Situation::NeedsApproval(reductions) => {
            stalled(Reason::ReductionNeedsApproval, approval(input, decision, reductions))
        }
        Situation::Writing => writing(decision, phase),
        Situation::Settling => settling(input, decision),
        Situation::Contested => stalled(Reason::Contested, paused(input, decision, status)),
        Situation::ManagedElsewhere { by } => stalled(Reason::ManagedElsewhere, managed_elsewhere(by, decision)),
        Situation::ExtensionFailed { missing_action } => extension_failed(plan, missing_action.as_deref()),
    }
}

/// A field that settles must not hide what needs user action.
fn settling(input: &Input<'_>, decision: &Decision) -> Summary {
    let refused = &input.history.refused;
    let refusal = refused
        .refusal(&decision.differences)
        .filter(|_| !tries_everything(input));
    let managed_by = match input.observation {
        Observation::Azure(Observed {
            plan: Some(Ok(plan)), ..
        }) => plan.managed_by.as_deref(),
        _ => None,
    };
    match (refusal, managed_by) {
        (Some(refusal), _) => failing_write(refusal),
        (None, Some(by)) => stalled(Reason::ManagedElsewhere, managed_elsewhere(by, decision)),
        (None, None) => {
            let message = settling_message(&decision.differences, &input.history.writes);
            progressing(Reason::Settling, message)
        }
    }
}

fn subscription(input: &Input<'_>) -> String {
    format!("subscription {}", input.spec.subscription_id)
}

/// The contested fields, and which other plan keeps agentless scanning on.
fn paused(input: &Input<'_>, decision: &Decision, status: &ServerProtectionStatus) -> Message {
    let message = contested_message(
        &decision.differences,
        &decision.suppressed,
        &input.previous.contested,
    );
    let scanning = ProtectionField::ExtensionState(ExtensionName::AgentlessScanning);
    let stays_on = decision.differences.iter().any(|difference| {
        difference.field == scanning
            && difference.desired == ProtectionValue::Switch(false)
            && decision.suppressed.contains(&scanning)
    });
    let others = status
        .other_plans
        .iter()
        .flat_map(|plans| &plans.agentless_scanning);
    let others: Vec<_> = others.map(|name| ScanningPlan::describe(name)).collect();
    if !stays_on || others.is_empty() {
        return message;
    }
    message.and(&format!(
        "Agentless scanning is one setting of several plans, and it is also on in {}.",
        others.join(" and ")
    ))
}

/// What needs approval, and what else would end.
fn approval(input: &Input<'_>, decision: &Decision, reductions: &[Difference]) -> Message {
    let message = approval_message(reductions, &decision.differences, input.approval);
    let tier = reductions
        .iter()
        .any(|reduction| reduction.field == ProtectionField::Tier);
    match ended_with_the_tier(input).filter(|_| tier) {
        Some(sentence) => message.and(&sentence),
        None => message,
    }
}

/// What the tier of the spec would end, if the plan could be read.
pub(super) fn ended_with_the_tier(input: &Input<'_>) -> Option<String> {
    match input.observation {
        Observation::Azure(Observed {
            plan: Some(Ok(plan)), ..
        }) => reductions::ended_with_the_tier(input.spec.plan.tier, plan),
        _ => None,
    }
}

fn managed_elsewhere(by: &str, decision: &Decision) -> Message {
    let problem =
        "The plan is managed outside of Azure Resource Manager, so the controller does not write it";
    let of_plan = |difference: &&Difference| difference.field.is_of_plan();
    let differing: Vec<_> = decision.differences.iter().filter(of_plan).collect();
    let message = Message::new(problem).cause(by);
    let message = if differing.is_empty() {
        message.and("It matches the spec now.")
    } else {
        message.and(&format!("It differs from the spec: {}.", listed(differing)))
    };
    message.action(
        "Set mode to Observe, or end the management of the subscription there (Microsoft Defender portal)",
    )
}

fn in_sync_message(plan: Option<&PlanStatus>) -> Message {
    match plan {
        Some(plan) => Message::new(format!("Azure matches the spec (plan {})", plan.tier)),
        None => in_sync(),
    }
}

fn extension_failed(plan: Option<&PlanStatus>, missing_action: Option<&str>) -> Summary {
    let failed: Vec<_> = plan
        .iter()
        .flat_map(|plan| &plan.extensions)
        .filter(|extension| Provisioning::Failed.is_of(extension))
        .map(|extension| {
            format!(
                "{}: {}",
                ExtensionName::from_azure(&extension.name).path(),
                extension.message.as_deref().unwrap_or("no reason given")
            )
        })
        .collect();
    let message = Message::new("Azure could not provision an extension").cause(failed.join("; "));
    match missing_action {
        Some(action) => stalled(
            Reason::ExtensionFailed,
            message.action(format!(
                "Grant the identity Owner on the subscription, or a role with {action}; the controller then writes again"
            )),
        ),
        None => Summary {
            ready: ConditionStatus::False,
            reason: Reason::ExtensionFailed.into(),
            message: message.and("The controller writes again."),
            secondary: Secondary::Reconciling(Reason::RetryingExtension),
        },
    }
}

fn writing(decision: &Decision, phase: Phase<'_>) -> Summary {
    let all = |changes: &[Change]| changes.iter().map(describe).collect::<Vec<_>>().join(", ");
    match phase {
        Phase::BeforeWrite => about_to_write(&all(&decision.changes)),
        Phase::AfterWrite(Outcome {
            failed: Some((_, failure)),
            ..
        }) => failing_write(failure),
        Phase::AfterWrite(outcome) if outcome.done.is_empty() => withheld(&all(&decision.changes)),
        Phase::AfterWrite(outcome) => reading_back(&all(&outcome.done)),
    }
}
