//! The status after a reconcile, from the previous status, the observation and the outcome. Pure, and without values
//! that change by themselves over time.

mod condition_set;
mod connectors;
mod display;
mod extensions;
mod machines;
mod permissions;
mod summary;

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::SignedDuration};
use serverprotection_api::{
    ContestedField, OperationType, OtherPlansStatus, PendingOperation, PlanStatus, ServerProtectionSpec,
    ServerProtectionStatus, Tier, WorkspaceStatus,
};

use super::{
    changes::Action,
    connectors::Connectors,
    decide::{Decision, Input, Observation, Outcome, Situation, leaves_plan, write_is_open},
    desired::Desired,
    observed::{Observed, OtherPlans, Plan},
};
use crate::{
    Timestamp, change,
    claims::{Established, claim_status, set_claimed},
    conditions::{ConditionStatus, ConditionType, Conditions},
    contested,
    drift::{HEARTBEAT, drift, drift_count},
    machines::reading::Scans,
    printable,
    switch::{DISABLED, ENABLED, switch_name},
    tier::tier_name,
};

/// The phase of a reconcile for which a status is computed.
pub type Phase<'a> = change::Phase<'a, Outcome>;

/// The status after a reconcile.
pub fn status(
    input: &Input<'_>,
    decision: &Decision,
    phase: Phase<'_>,
    failures: u32,
    interval: Duration,
) -> ServerProtectionStatus {
    let mut status = input.previous.clone();
    if matches!(phase, Phase::AfterWrite(_))
        && let Some(requested) = input.requested
    {
        requested.record(
            &mut status.last_handled_request,
            &mut status.last_handled_reconcile_at,
        );
    }
    // The first transient errors of a drift check do not change status; an event and a metric report them. A claim that
    // changes is recorded all the same.
    if summary::is_passing_failure(input, decision, failures) {
        let previous = input.previous.claim.as_ref();
        status.claim = claim_status(previous, input.claim, Established::No, input.now);
        return status;
    }

    status.observed_generation = Some(input.generation);
    status.pending_operation = pending_operation(input, decision, phase);
    let mut conditions = Conditions::new(&input.previous.conditions, input.generation, input.now);
    conditions.start(&condition_set::ALWAYS);
    if let Observation::Azure(observed) = input.observation {
        let plan = latest_plan(observed, phase);
        if let Some(plan) = plan {
            status.plan = Some(plan_status(input, plan, phase));
        }
        if let Some(Ok(other_plans)) = &observed.other_plans {
            status.other_plans = Some(other_plans_status(other_plans));
        }
        let missing = condition_set::set(&mut conditions, input, decision, phase, observed, &status);
        if let Some(missing) = missing {
            status.missing_actions = missing;
        }
        if let Some(Ok(subscription)) = &observed.subscription {
            status.subscription_name = Some(printable::short(&subscription.display_name));
        }
        status.workspaces = workspaces(input, observed);
        if decision.compared {
            status.drift_count = Some(drift_count(&decision.differences));
            status.drift = drift(&input.previous.drift, &decision.differences, input.now);
        }
    }
    if let (Observation::Azure(_), Some(scans)) = (input.observation, input.scans) {
        let machines = machines::Input {
            spec: input.spec,
            previous: input.previous,
            scans,
            now: input.now,
        };
        machines::set(&mut conditions, &mut status, &machines);
    }
    // Between scans, status shows the results of the last one; a changed rule triggers the next one within seconds.
    conditions.stamp_one(ConditionType::MachinesProtected);
    if let Some(connectors) = input.connectors {
        connectors::set(&mut conditions, &mut status, connectors);
    }
    conditions.stamp_one(ConditionType::ConnectorsReady);
    status.contested = contested_history(input, decision, phase, interval);
    let previous_claim = input.previous.claim.as_ref();
    let established = established(input, decision, phase);
    status.claim = claim_status(previous_claim, input.claim, established, input.now);
    // While the object is suspended, nothing is decided about its claim, unless it loses it.
    if decision.situation != Situation::Suspended || input.claim.verdict.lost {
        set_claimed(&mut conditions, input.claim.verdict, "the subscription");
    }
    summary::set(&mut conditions, input, decision, phase, &status, failures);
    status.conditions = conditions.finish();
    display::set(&mut status, input.spec);
    set_last_observed_time(&mut status, input, decision);
    status
}

/// The plan write whose result is unknown after this phase.
fn pending_operation(input: &Input<'_>, decision: &Decision, phase: Phase<'_>) -> Option<PendingOperation> {
    let started = || PendingOperation {
        type_: OperationType::PutPlan.as_str().into(),
        generation: input.generation,
        start_time: Time(input.now),
        correlation_id: input.correlation_id.to_owned(),
    };
    match phase {
        // An intent without a plan write records the claim.
        Phase::BeforeWrite if !decision.writes_plan() => input.previous.pending_operation.clone(),
        Phase::BeforeWrite => Some(started()),
        Phase::AfterWrite(outcome) => {
            let lost = outcome.failed.as_ref().is_some_and(|(change, failure)| {
                failure.effect_unknown && matches!(change.action, Action::PutPlan(_))
            });
            if lost {
                return (!repeat_is_lost(input, phase)).then(started);
            }
            // The result of a write stays unknown until a response, or until a plan is read that this object no
            // longer writes.
            let earlier = input.previous.pending_operation.clone();
            earlier.filter(|_| !leaves_plan(input) && outcome.response.is_none())
        }
    }
}

/// Whether the response to a write that only repeated what Azure already shows was lost as well. Another repeat would be
/// as likely to be lost, and keeps the rest of the spec from being written (docs/architecture.md 3.5).
fn repeat_is_lost(input: &Input<'_>, phase: Phase<'_>) -> bool {
    let failed = phase.outcome().and_then(|outcome| outcome.failed.as_ref());
    let lost = failed.is_some_and(|(change, failure)| {
        matches!(change.action, Action::PutPlan(_)) && change.fields.is_empty() && failure.effect_unknown
    });
    lost && write_is_open(input.previous)
}

/// The facts of a status refresh.
#[derive(Clone, Copy, Debug)]
pub struct Refresh<'a> {
    /// The results of the scans.
    pub scans: Option<&'a Scans>,
    /// The object's connectors.
    pub connectors: Option<&'a Connectors>,
}

/// The status with the results of the scans and the state of the connectors, and otherwise unchanged.
pub fn refreshed(
    previous: &ServerProtectionStatus,
    spec: &ServerProtectionSpec,
    refresh: Refresh<'_>,
    now: Timestamp,
) -> ServerProtectionStatus {
    let mut status = previous.clone();
    let generation = previous.observed_generation.unwrap_or_default();
    let mut conditions = Conditions::new(&previous.conditions, generation, now);
    if let Some(scans) = refresh.scans {
        let input = machines::Input {
            spec,
            previous,
            scans,
            now,
        };
        machines::set(&mut conditions, &mut status, &input);
    }
    if let Some(connectors) = refresh.connectors {
        connectors::set(&mut conditions, &mut status, connectors);
    }
    status.conditions = conditions.finish();
    display::set_counts(&mut status);
    status
}

/// The newest response about the plan: that of the write, if there was one.
fn latest_plan<'a>(observed: &'a Observed, phase: Phase<'a>) -> Option<&'a Plan> {
    let response = phase.outcome().and_then(|outcome| outcome.response.as_ref());
    let answered = response.map(|answer| &answer.plan);
    answered.or_else(|| observed.plan.as_ref().and_then(|read| read.as_ref().ok()))
}

fn plan_status(input: &Input<'_>, plan: &Plan, phase: Phase<'_>) -> PlanStatus {
    let previous = input.previous.plan.as_ref();
    PlanStatus {
        tier: tier_name(plan.tier).into(),
        coverage: plan.coverage.as_deref().map(printable::short),
        managed_by: plan.managed_by.clone(),
        free_trial_end_time: free_trial_end_time(previous, plan, input.now),
        enablement_time: plan
            .enabled_since
            .and_then(|since| Timestamp::from_second(since.as_second()).ok())
            .map(Time),
        extensions: extensions::statuses(input, plan, phase),
    }
}

/// Azure reports the remaining time, which changes constantly; the end does not. Ignore a difference of a day, which
/// is due to rounding.
fn free_trial_end_time(previous: Option<&PlanStatus>, plan: &Plan, now: Timestamp) -> Option<Time> {
    // A plan that is off has not used its trial, so none runs.
    let left = plan
        .free_trial_remaining
        .filter(|left| !left.is_zero() && plan.tier != Tier::Free)?;
    let ends = contested::later(now, SignedDuration::try_from(left).ok()?);
    let known = previous.and_then(|plan| plan.free_trial_end_time.clone());
    known
        .filter(|known| ends.duration_since(known.0).abs() <= SignedDuration::from_hours(24))
        .or(Some(Time(ends)))
}

fn other_plans_status(plans: &OtherPlans) -> OtherPlansStatus {
    OtherPlansStatus {
        foundational_cspm: plans.foundational_cspm.map(|on| switch_name(on).into()),
        agentless_scanning: plans
            .scanning
            .iter()
            .map(|plan| plan.azure_name().into())
            .collect(),
    }
}

fn workspaces(input: &Input<'_>, observed: &Observed) -> Vec<WorkspaceStatus> {
    let of = |id: &String| {
        let read = observed.workspaces.iter().find(|(read, _)| read == id);
        let known = || {
            input
                .previous
                .workspaces
                .iter()
                .find(|known| known.resource_id == *id)
                .cloned()
        };
        let (solution, message) = match read {
            Some((_, Ok(Some(state)))) => (ENABLED, Some(state.clone())),
            Some((_, Ok(None))) => (DISABLED, None),
            Some((_, Err(failure))) => (
                ConditionStatus::Unknown.as_str(),
                Some(format!("{}: {}", failure.code, failure.message)),
            ),
            None => return known(),
        };
        Some(WorkspaceStatus {
            resource_id: id.clone(),
            solution: solution.into(),
            message,
        })
    };
    input
        .spec
        .workspaces
        .iter()
        .filter_map(|workspace| of(&workspace.resource_id))
        .collect()
}

fn contested_history(
    input: &Input<'_>,
    decision: &Decision,
    phase: Phase<'_>,
    interval: Duration,
) -> Vec<ContestedField> {
    let desired = Desired::of(input.spec);
    let demanded = |entry: &ContestedField| desired.manages(&entry.field, &entry.desired);
    let mut history = contested::still_relevant(&input.previous.contested, demanded, interval, input.now);
    if decision.ends_pause {
        history = contested::without_pause(history, input.now);
    }
    contested::after_reconcile(history, &decision.repairs, phase.outcome(), interval, input.now)
}

fn established(input: &Input<'_>, decision: &Decision, phase: Phase<'_>) -> Established {
    let Phase::AfterWrite(outcome) = phase else {
        return Established::No;
    };
    // A registration in progress says nothing about the configuration, and a write of a setting nothing about a plan that
    // others manage.
    let mut written = outcome.done.iter();
    if written.any(|change| change.action != Action::Register) && !leaves_plan(input) {
        Established::Written
    } else if decision.situation == Situation::InSync {
        Established::InSync
    } else {
        Established::No
    }
}

fn set_last_observed_time(status: &mut ServerProtectionStatus, input: &Input<'_>, decision: &Decision) {
    let old = input
        .previous
        .last_observed_time
        .as_ref()
        .is_none_or(|last| input.now.duration_since(last.0) >= HEARTBEAT);
    if decision.compared && (old || *status != *input.previous) {
        status.last_observed_time = Some(Time(input.now));
    }
}
