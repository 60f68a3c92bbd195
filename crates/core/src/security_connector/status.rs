//! The status after a reconcile, from the previous status, the observation and the outcome. Pure, and without values
//! that change by themselves over time.

mod condition_set;
mod display;
mod summary;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serverprotection_api::{
    ConnectorMachines, ConnectorTarget, ContestedField, OperationType, PendingOperation,
    SecurityConnectorStatus,
};

use super::{
    account,
    arc_providers::is_registration,
    decide::{
        Blocker, Decision, Input, MachineCounts, Observation, Outcome, Situation, is_creation, is_put,
        manages, target,
    },
    deletion::{Deletion, words},
    desired::{Desired, account, is_organization},
    events::deletion_failed,
    health::Health,
    observed::{Connector, Observed},
    subject::Subject,
};
use crate::{
    Timestamp,
    azure_error::AzureError,
    change,
    claims::{Established, claim_after_deletion_began, claim_status, set_claimed},
    conditions::{ConditionType, Conditions},
    contested,
    drift::{HEARTBEAT, drift, drift_count},
    message::Message,
    mode::mode_name,
    printable,
    tier::tier_name,
};

/// Maximum number of health issues in status.
const MOST_ISSUES: usize = 8;

/// The phase of a reconcile for which a status is computed.
pub type Phase<'a> = change::Phase<'a, Outcome>;

impl<'a> Phase<'a> {
    fn failed(self) -> Option<&'a AzureError> {
        let failed = self.outcome()?.failed.as_ref();
        let failed = failed.filter(|(change, _)| !is_registration(change));
        failed.map(|(_, failure)| failure)
    }

    fn wrote_connector(self) -> bool {
        self.outcome()
            .is_some_and(|outcome| outcome.done.iter().any(is_put))
    }
}

/// The status after a reconcile.
pub fn status(
    input: &Input<'_>,
    decision: &Decision,
    phase: Phase<'_>,
    failures: u32,
    interval: Duration,
) -> SecurityConnectorStatus {
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
    status.account = Some(account(input.spec));
    status.pending_operation = pending_operation(input, decision, phase);
    set_target(&mut status, input);
    let mut conditions = Conditions::new(&input.previous.conditions, input.generation, input.now);
    conditions.start(&condition_set::ALWAYS);
    if let Observation::Azure(observed) = input.observation
        && input.protection.is_some()
    {
        set_observed(&mut status, input, observed, phase);
        condition_set::set(&mut conditions, input, decision, phase, observed);
    }
    if decision.compared {
        status.drift_count = Some(drift_count(&decision.differences));
        status.drift = drift(&input.previous.drift, &decision.differences, input.now);
    }
    status.contested = contested_history(input, decision, phase, interval);
    set_claim(&mut conditions, &mut status, input, decision, phase);
    summary::set(&mut conditions, input, decision, phase, failures);
    status.conditions = conditions.finish();
    display::set(&mut status, input, decision);
    set_last_observed_time(&mut status, input, decision);
    status
}

/// The write of the connector whose result is unknown after this phase.
fn pending_operation(input: &Input<'_>, decision: &Decision, phase: Phase<'_>) -> Option<PendingOperation> {
    // A creation with an unknown result that had its effect: the connector is this object's own.
    let earlier = input.previous.pending_operation.as_ref().filter(|operation| {
        let found = matches!(input.observation, Observation::Azure(observed) if observed.found().is_some());
        found && operation.is(OperationType::CreateConnector)
    });
    let creates = earlier.is_some() || decision.differences.iter().any(is_creation);
    let started = || {
        let type_ = if creates {
            OperationType::CreateConnector
        } else {
            OperationType::PutConnector
        };
        started(type_, input.generation, input.correlation_id, input.now)
    };
    match phase {
        Phase::BeforeWrite => decision.changes.iter().any(is_put).then(started),
        Phase::AfterWrite(outcome) => match &outcome.failed {
            Some((change, failure)) if failure.effect_unknown && is_put(change) => Some(started()),
            _ if phase.wrote_connector() || decision.situation == Situation::InSync => None,
            // The connector was read since.
            _ if decision.compared => earlier.cloned(),
            _ => input.previous.pending_operation.clone(),
        },
    }
}

fn started(type_: OperationType, generation: i64, correlation_id: &str, now: Timestamp) -> PendingOperation {
    PendingOperation {
        type_: type_.as_str().into(),
        generation,
        start_time: Time(now),
        correlation_id: correlation_id.to_owned(),
    }
}

/// The status while the object is deleted. `failure` is the error of the DELETE or of the read before it.
pub fn deleting(
    previous: &SecurityConnectorStatus,
    generation: i64,
    decision: &Deletion,
    failure: Option<&AzureError>,
    deadline: Duration,
    correlation_id: &str,
    now: Timestamp,
) -> SecurityConnectorStatus {
    let mut status = previous.clone();
    status.observed_generation = Some(generation);
    let deletes = |operation: &PendingOperation| operation.is(OperationType::DeleteConnector);
    // Repeated until the object is gone: one operation.
    if matches!(decision, Deletion::Delete { .. }) && !status.pending_operation.as_ref().is_some_and(deletes)
    {
        let type_ = OperationType::DeleteConnector;
        status.pending_operation = Some(started(type_, generation, correlation_id, now));
    }
    status.claim = claim_after_deletion_began(status.claim.as_ref());
    let mut conditions = Conditions::new(&previous.conditions, generation, now);
    let message = match (decision, failure) {
        (Deletion::RemoveFinalizer(why), _) => why.describe(),
        (_, Some(failure)) => deletion_failed(failure).and(&format!(
            "After {}, or with the annotation serverprotection.dev/force-remove: \"true\", the object goes and the connector stays.",
            words(deadline)
        )),
        _ => Message::new("Deleting the connector in Azure"),
    };
    summary::deleting(message).apply(&mut conditions);
    conditions.remove(ConditionType::Contested);
    conditions.stamp();
    status.conditions = conditions.finish();
    status
}

/// Records the target once its connector was read: only then can there be a claim on it, or something to delete. It is
/// kept if the reference leads elsewhere, because it names where the connector exists.
fn set_target(status: &mut SecurityConnectorStatus, input: &Input<'_>) {
    let Some((target, protection)) = target(input).zip(input.protection) else {
        return;
    };
    let subject = Subject::of(input.name, input.spec, input.protection, input.previous);
    let was_read = matches!(input.observation, Observation::Azure(observed)
        if matches!(observed.connector, Some(Ok(_))));
    if subject.has_moved() || !(was_read || subject.recorded().is_some()) {
        return;
    }
    status.target = Some(ConnectorTarget {
        id: target.id(),
        subscription_id: target.subscription,
        credential: protection.credential.clone(),
        mode: mode_name(protection.mode).into(),
    });
}

fn set_observed(
    status: &mut SecurityConnectorStatus,
    input: &Input<'_>,
    observed: &Observed,
    phase: Phase<'_>,
) {
    if let Some(connector) = latest(observed, phase) {
        status.tier = connector.tier.map(|tier| tier_name(tier).into());
        status.account_name = connector.account_name.as_deref().map(printable::short);
        status.free_trial_end_time = connector
            .trial_end
            .filter(|end| *end > input.now)
            .and_then(|end| Timestamp::from_second(end.as_second()).ok())
            .map(Time);
    } else if matches!(observed.connector, Some(Ok(None))) {
        (status.tier, status.account_name, status.free_trial_end_time) = (None, None, None);
    }
    if let (Some(Ok(others)), Some(target)) = (&observed.others, target(input)) {
        let members = account::member_accounts(&target, others).len();
        let members = i32::try_from(members).unwrap_or(i32::MAX);
        status.members = is_organization(input.spec).then_some(members);
    }
    if let Some(machines) = input.machines {
        set_machines(status, machines);
    }
    if let Some((health, issues)) = condition_set::health(input, observed) {
        status.health = Some(health.as_str().into());
        status.issues = issues;
        status.issues.sort_by(|a, b| a.name.cmp(&b.name));
        status.issues.dedup_by(|a, b| a.name == b.name);
        status.issues.truncate(MOST_ISSUES);
    }
}

fn set_machines(status: &mut SecurityConnectorStatus, machines: MachineCounts) {
    let count = |machines: u64| i64::try_from(machines).unwrap_or(i64::MAX);
    status.machines = Some(ConnectorMachines {
        total: count(machines.total),
        eligible: count(machines.eligible),
        protected: count(machines.protected),
    });
}

/// The status with the results of a scan and otherwise unchanged, without a reconcile. Machines that appear also count
/// as a sign of health if Azure has not reported any.
pub fn with_machines(
    previous: &SecurityConnectorStatus,
    machines: MachineCounts,
    now: Timestamp,
) -> SecurityConnectorStatus {
    let mut status = previous.clone();
    set_machines(&mut status, machines);
    let generation = previous.observed_generation.unwrap_or_default();
    let mut conditions = Conditions::new(&previous.conditions, generation, now);
    if machines.total > 0 && Health::Unknown.is_in(previous) {
        status.health = Some(Health::Healthy.as_str().into());
        condition_set::machines_have_appeared(&mut conditions);
    }
    status.conditions = conditions.finish();
    display::refresh(&mut status);
    status
}

/// The newest response about the connector: that of the write, if there was one.
fn latest<'a>(observed: &'a Observed, phase: Phase<'a>) -> Option<&'a Connector> {
    let answered = phase.outcome().and_then(|outcome| outcome.response.as_ref());
    let ours = observed.found().filter(|_| answered.is_none());
    answered.or(ours)
}

fn contested_history(
    input: &Input<'_>,
    decision: &Decision,
    phase: Phase<'_>,
    interval: Duration,
) -> Vec<ContestedField> {
    let Some(protection) = input.protection else {
        return input.previous.contested.clone();
    };
    let desired = Desired::of(input.name, input.spec, protection);
    let demanded = |entry: &ContestedField| manages(&desired, &entry.field, &entry.desired);
    let mut history = contested::still_relevant(&input.previous.contested, demanded, interval, input.now);
    if decision.ends_pause {
        history = contested::without_pause(history, input.now);
    }
    contested::after_reconcile(history, &decision.repairs, phase.outcome(), interval, input.now)
}

fn set_claim(
    conditions: &mut Conditions,
    status: &mut SecurityConnectorStatus,
    input: &Input<'_>,
    decision: &Decision,
    phase: Phase<'_>,
) {
    let verdict = input.claim.verdict;
    // Nothing is decided about the claim of a suspended object, unless it loses it.
    let unclear = matches!(
        decision.situation,
        Situation::Suspended | Situation::Blocked(Blocker::NotAvailable { .. })
    );
    if !unclear || verdict.lost {
        set_claimed(conditions, verdict, "the connector");
    }
    let established = match phase {
        Phase::AfterWrite(_) if phase.wrote_connector() => Established::Written,
        Phase::AfterWrite(_) if decision.situation == Situation::InSync => Established::InSync,
        _ => Established::No,
    };
    let previous = input.previous.claim.as_ref();
    status.claim = claim_status(previous, input.claim, established, input.now);
}

fn set_last_observed_time(status: &mut SecurityConnectorStatus, input: &Input<'_>, decision: &Decision) {
    let last = input.previous.last_observed_time.as_ref();
    let old = last.is_none_or(|last| input.now.duration_since(last.0) >= HEARTBEAT);
    if decision.compared && (old || *status != *input.previous) {
        status.last_observed_time = Some(Time(input.now));
    }
}
