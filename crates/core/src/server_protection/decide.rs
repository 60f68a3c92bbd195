//! The decision of a reconcile: the situation, the changes, and the suppressed fields.

use std::{collections::BTreeSet, time::Duration};

use serverprotection_api::{Mode, OperationType, ServerProtectionSpec, ServerProtectionStatus, Tier};

pub use super::changes::{Change, Difference};
use super::{
    azure_rules,
    changes::{self, Action, Actual},
    connectors::Connectors,
    desired::{Desired, registers},
    field::{ExtensionName, ProtectionField, ProtectionValue},
    history::ReconcileHistory,
    observed::{Observed, OperationStatus, Plan, RegistrationState},
    proof::WRITE,
    provisioning::Provisioning,
    reductions,
    untouched::Untouched,
};
use crate::{
    Timestamp,
    azure_error::{AzureError, ErrorClass},
    change,
    claims::{Claim, Ownership, not_proven},
    conditions::{self, ConditionStatus, ConditionType, Reason},
    contested::{self, LastComparison},
    machines::reading::Scans,
    permissions::ASSIGN_ROLES,
    reductions::unapproved,
    request::Requested,
    timeouts::Timeouts,
};

/// Everything that a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The object's spec.
    pub spec: &'a ServerProtectionSpec,
    /// Its generation.
    pub generation: i64,
    /// The annotation that approves reductions.
    pub approval: Option<&'a str>,
    /// The annotations that request a reconcile, if this reconcile responds to one of them.
    pub requested: Option<Requested<'a>>,
    /// The status before this reconcile.
    pub previous: &'a ServerProtectionStatus,
    /// What this reconcile observed.
    pub observation: Observation<'a>,
    /// Whether the object may write to the subscription.
    pub claim: Claim<'a>,
    /// The results of the scans for the subscription; `None` before the first scan of this process.
    pub scans: Option<&'a Scans>,
    /// The object's connectors; `None` while they are not listed.
    pub connectors: Option<&'a Connectors>,
    /// What this process keeps in memory about the object; empty after a restart.
    pub history: &'a ReconcileHistory,
    /// The installation's intervals and deadlines.
    pub timeouts: &'a Timeouts,
    /// The correlation id of the writes of this reconcile.
    pub correlation_id: &'a str,
    /// The current time in whole seconds, the precision of Kubernetes.
    pub now: Timestamp,
}

/// What a reconcile observed.
#[derive(Clone, Copy, Debug)]
pub enum Observation<'a> {
    /// `spec.suspend`: nothing was read.
    Suspended,
    /// What was read from Azure.
    Azure(&'a Observed),
}

/// The situation.
#[derive(Clone, Debug, PartialEq)]
pub enum Situation {
    /// `spec.suspend`.
    Suspended,
    /// Another object owns the subscription.
    ClaimConflicted {
        /// Its name, if it is of the same namespace.
        holder: Option<String>,
    },
    /// The subscription is kept for the namespace of its last owner until this time.
    ClaimReserved(Timestamp),
    /// Azure could not be read.
    Failing(AzureError),
    /// Microsoft.Security is not registered, and the spec does not let the controller register it.
    RegistrationMissing,
    /// The registration is in progress.
    Registering {
        /// Whether it takes longer than the timeout.
        stuck: bool,
    },
    /// Mode Observe, and everything was read.
    Observing,
    /// The first changes would lower protection.
    NeedsApproval(Vec<Difference>),
    /// There are changes to write.
    Writing,
    /// A write was accepted but is not visible in a read yet; it is repeated after a pause.
    Settling,
    /// Only suppressed fields differ.
    Contested,
    /// The plan is managed outside of Azure Resource Manager. It is observed and never written.
    ManagedElsewhere {
        /// By whom, in Azure's words.
        by: String,
    },
    /// A managed extension failed; its retry is delayed.
    ExtensionFailed {
        /// The action that the identity lacks, if that explains the failure.
        missing_action: Option<String>,
    },
    /// Azure matches the spec.
    InSync,
}

/// The decision of one reconcile.
pub type Decision = change::Decision<Situation, Action, ProtectionField>;

/// The result of the changes. Only a plan write has a response with a result.
pub type Outcome = change::Outcome<Action, ProtectionField, PlanResponse>;

impl Decision {
    /// Whether a plan write is among the changes.
    pub fn writes_plan(&self) -> bool {
        self.changes
            .iter()
            .any(|change| matches!(change.action, Action::PutPlan(_)))
    }
}

/// The response to a plan write.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanResponse {
    /// The plan in the response.
    pub plan: Plan,
    /// The results of the extensions, which only this response contains.
    pub results: Vec<OperationStatus>,
}

/// Whether status records a plan write with an unknown result (I-6).
pub fn write_is_open(previous: &ServerProtectionStatus) -> bool {
    let pending = previous.pending_operation.as_ref();
    pending.is_some_and(|operation| operation.is(OperationType::PutPlan))
}

/// Whether this object does not write the plan that was read: in mode Observe, or because it is managed elsewhere.
pub(super) fn leaves_plan(input: &Input<'_>) -> bool {
    let Observation::Azure(Observed {
        plan: Some(Ok(plan)), ..
    }) = input.observation
    else {
        return false;
    };
    input.spec.mode == Mode::Observe || plan.managed_by.is_some()
}

/// Decides what to do. Pure, and defined for every input.
pub fn decide(input: &Input<'_>) -> Decision {
    let observed = match input.observation {
        Observation::Suspended => return Decision::only(Situation::Suspended),
        Observation::Azure(observed) => observed,
    };
    let desired = Desired::of(input.spec);
    let decision = registration_decision(input, observed).unwrap_or_else(|| match actual(observed) {
        Ok(actual) => field_decision(input, observed, &desired, &actual),
        Err(failure) => Decision::only(Situation::Failing(failure)),
    });
    by_claim(input, decision)
}

/// R1: an object that does not hold the claim only reads.
fn by_claim(input: &Input<'_>, decision: Decision) -> Decision {
    let verdict = input.claim.verdict;
    let failing = matches!(decision.situation, Situation::Failing(_));
    if input.spec.mode == Mode::Observe || verdict.may_write() || failing {
        return decision;
    }
    let situation = match &verdict.ownership {
        Ownership::HeldByAnother(holder) => Situation::ClaimConflicted {
            holder: holder.clone(),
        },
        Ownership::Reserved(until) => Situation::ClaimReserved(*until),
        _ if decision.changes.is_empty() => decision.situation.clone(),
        _ => Situation::Failing(not_proven(WRITE)),
    };
    decision.without_changes(situation)
}

fn actual(observed: &Observed) -> Result<Actual, AzureError> {
    if let Some(failure) = observed.failure() {
        return Err(failure.clone());
    }
    match (&observed.plan, &observed.settings, &observed.assessment) {
        (Some(Ok(plan)), Some(Ok(settings)), Some(Ok(assessment))) => Ok(Actual {
            plan: plan.clone(),
            settings: settings.clone(),
            assessment: *assessment,
        }),
        _ => Err(AzureError {
            class: ErrorClass::Transient,
            code: "NothingRead".into(),
            message: "The reconcile did not read everything".into(),
            operation: String::new(),
            request_id: None,
            effect_unknown: false,
        }),
    }
}

/// Without the registration nothing else can be read, so it is handled first.
fn registration_decision(input: &Input<'_>, observed: &Observed) -> Option<Decision> {
    match observed.registration_state()? {
        RegistrationState::Registered => None,
        RegistrationState::Registering => {
            let waited = input.now.duration_since(registering_since(input));
            let waited = Duration::try_from(waited).unwrap_or_default();
            let (type_, reason) = (ConditionType::ProviderRegistered, Reason::RegistrationStuck);
            let known_as_stuck = conditions::has_reason(&input.previous.conditions, type_, reason);
            let stuck = known_as_stuck || waited > input.timeouts.registration_timeout;
            Some(Decision::only(Situation::Registering { stuck }))
        }
        RegistrationState::NotRegistered if registers(input.spec) => {
            let fields = vec![Difference {
                field: ProtectionField::Registration,
                desired: ProtectionValue::Registered(true),
                observed: ProtectionValue::Registered(false),
            }];
            let change = Change {
                action: Action::Register,
                fields: fields.clone(),
            };
            // Azure may return the old state for a while after the request.
            if is_settling(input, &change) {
                return Some(Decision::only(Situation::Registering { stuck: false }));
            }
            Some(Decision {
                compared: true,
                differences: fields,
                changes: vec![change],
                ..Decision::only(Situation::Writing)
            })
        }
        RegistrationState::NotRegistered => Some(Decision::only(Situation::RegistrationMissing)),
    }
}

/// The earliest time at which the registration can have started. `NotRegistered` and Registering are both False,
/// perhaps for days; Reconciling became True with the registration.
fn registering_since(input: &Input<'_>) -> Timestamp {
    let since = |type_: ConditionType, status: ConditionStatus| {
        conditions::get(&input.previous.conditions, type_)
            .filter(|condition| condition.status == status.as_str())
            .map(|condition| condition.last_transition_time.0)
    };
    match (
        since(ConditionType::ProviderRegistered, ConditionStatus::False),
        since(ConditionType::Reconciling, ConditionStatus::True),
    ) {
        (Some(not_registered), Some(reconciling)) => not_registered.max(reconciling),
        _ => input.now,
    }
}

fn field_decision(input: &Input<'_>, observed: &Observed, desired: &Desired, actual: &Actual) -> Decision {
    let differences = changes::differences(desired, actual);
    let mut decision = Decision {
        compared: true,
        differences,
        ..Decision::only(Situation::InSync)
    };
    if input.spec.mode == Mode::Observe {
        decision.situation = Situation::Observing;
        return decision;
    }
    let managed_by = actual.plan.managed_by.as_ref();
    let is_written = |difference: &&Difference| managed_by.is_none() || !difference.field.is_of_plan();
    let written: Vec<_> = decision.differences.iter().filter(is_written).cloned().collect();
    let unapproved = unapproved_at_adoption(input, &written);
    if !unapproved.is_empty() {
        decision.situation = Situation::NeedsApproval(unapproved);
        return decision;
    }

    decision.ends_pause = contested::ends_pause(input.requested.is_some(), &input.previous.conditions);
    if !decision.ends_pause {
        decision.suppressed =
            contested::suppressed(&input.previous.contested, &decision.differences, input.now);
    }
    let failed = failed_extensions(input.previous, desired);
    let missing_action = missing_role_assignment(input, observed, &failed);
    let retries = !failed.is_empty() && missing_action.is_none() && extension_retry_is_due(input);
    let retry_failed = retries && managed_by.is_none();
    let left_failed = failed.iter().filter(|_| !retry_failed);
    let untouched = Untouched::fields(decision.suppressed.iter().chain(left_failed).cloned());

    let repeats_plan = write_is_open(input.previous) || retry_failed;
    let mut changes = Vec::new();
    for refused in attempts(input, &decision.differences) {
        let untouched = untouched.clone().and_refused(&refused);
        changes = planned(desired, actual, &untouched, repeats_plan);
        if !changes.is_empty() {
            break;
        }
    }
    // A change that was just written without a visible effect waits; the other changes do not.
    let planned = changes.len();
    let retries = |change: &Change| retry_failed && matches!(change.action, Action::PutPlan(_));
    changes.retain(|change| retries(change) || !is_settling(input, change));
    let settling = planned > changes.len();
    let changes = changes::first_stage(changes);

    if changes.is_empty() && !settling {
        decision.situation = if let Some(by) = managed_by {
            Situation::ManagedElsewhere { by: by.clone() }
        } else if !failed.is_empty() {
            Situation::ExtensionFailed { missing_action }
        } else if decision.suppressed.is_empty() {
            Situation::InSync
        } else {
            Situation::Contested
        };
    } else if changes.is_empty() {
        decision.situation = Situation::Settling;
    } else {
        decision.situation = Situation::Writing;
        decision.repairs = repairs(input, &changes);
        // Switching on a failed extension again is not a repair, because no other writer switched it off.
        decision.repairs.retain(|repair| !failed.contains(&repair.field));
        decision.changes = changes;
    }
    decision
}

/// The writes that repair what differs, except in some fields.
fn planned(desired: &Desired, actual: &Actual, untouched: &Untouched, repeats_plan: bool) -> Vec<Change> {
    let mut changes = changes::changes(desired, actual, untouched);
    let is_plan = |change: &Change| matches!(change.action, Action::PutPlan(_));
    if actual.plan.managed_by.is_some() {
        changes.retain(|change| !is_plan(change));
    } else if repeats_plan && !changes.iter().any(is_plan) {
        // A plan write with an unknown result or a failed extension requires another write of the same plan, because
        // only the response contains the result.
        let write = changes::plan_write(desired, &actual.plan, untouched);
        // Never write Free unless the spec demands it: another writer may just have raised the suppressed tier.
        if write.tier == desired.tier || write.tier != Tier::Free {
            let change = Change {
                action: Action::PutPlan(write),
                fields: Vec::new(),
            };
            changes.insert(0, change);
        }
    }
    changes
}

/// Whether an edit or a user's request makes this reconcile try again what Azure refused before.
pub(super) fn tries_everything(input: &Input<'_>) -> bool {
    let edited = input.previous.observed_generation != Some(input.generation);
    edited || input.requested.is_some()
}

/// What to leave out of the writes, attempt by attempt.
fn attempts(input: &Input<'_>, differences: &[Difference]) -> Vec<BTreeSet<ProtectionField>> {
    if tries_everything(input) {
        return vec![BTreeSet::new()];
    }
    input.history.refused.attempts(differences)
}

/// I-12a: an object that never had its subscription in sync may not begin by lowering protection.
fn unapproved_at_adoption(input: &Input<'_>, differences: &[Difference]) -> Vec<Difference> {
    if input.claim.is_established(input.previous.claim.as_ref()) {
        return Vec::new();
    }
    let reductions = reductions::of(differences);
    unapproved(&reductions, input.approval, input.generation)
        .into_iter()
        .cloned()
        .collect()
}

/// The states of the managed extensions whose last result was a failure.
fn failed_extensions(previous: &ServerProtectionStatus, desired: &Desired) -> Vec<ProtectionField> {
    let known = previous.plan.iter().flat_map(|plan| &plan.extensions);
    known
        .filter(|extension| Provisioning::Failed.is_of(extension))
        .map(|extension| ExtensionName::from_azure(&extension.name))
        .filter(|name| desired.extension(name) == Some(true))
        .map(ProtectionField::ExtensionState)
        .collect()
}

/// The missing action that explains a failed extension; another write would fail in the same way.
fn missing_role_assignment(
    input: &Input<'_>,
    observed: &Observed,
    failed: &[ProtectionField],
) -> Option<String> {
    let needs_owner = |field: &ProtectionField| match field {
        ProtectionField::ExtensionState(name) => azure_rules::needs_owner(name).is_some(),
        _ => false,
    };
    if !failed.iter().any(needs_owner) {
        return None;
    }
    let lacks = match &observed.permissions {
        Some(Ok(permissions)) => !permissions.allow(ASSIGN_ROLES),
        _ => lacked_role_assignment(input.previous),
    };
    lacks.then(|| ASSIGN_ROLES.to_owned())
}

/// Whether the identity lacked the right to assign roles when its permissions were last known.
fn lacked_role_assignment(previous: &ServerProtectionStatus) -> bool {
    let mut missing = previous.missing_actions.iter();
    missing.any(|action| action == ASSIGN_ROLES)
}

fn extension_retry_is_due(input: &Input<'_>) -> bool {
    let edited = input.previous.observed_generation != Some(input.generation);
    edited
        || lacked_role_assignment(input.previous)
        || input.requested.is_some()
        || input.history.extension_retry_at.is_some_and(|at| at <= input.now)
}

/// Whether every value that a change would write was just written without a visible effect.
fn is_settling(input: &Input<'_>, change: &Change) -> bool {
    input.requested.is_none() && input.history.writes.is_settling(change, input.now)
}

/// The repairs among these changes.
fn repairs(input: &Input<'_>, changes: &[Change]) -> Vec<Difference> {
    let last = LastComparison {
        generation: input.generation,
        conditions: &input.previous.conditions,
        drift: &input.previous.drift,
        drift_count: input.previous.drift_count,
    };
    let changes = changes.iter().filter(|change| change.action != Action::Register);
    let writes = changes.flat_map(|change| &change.fields);
    contested::repairs(writes, last, &input.previous.contested, &input.history.writes)
}
