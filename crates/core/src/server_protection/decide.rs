//! The decision of a visit: what is the case, what is to be written, and when to come back.

use std::{collections::BTreeSet, time::Duration};

use serverprotection_api::{Mode, ServerProtectionSpec, ServerProtectionStatus, Tier};

use super::{
    azure_rules,
    changes::{self, Action, Actual, Change, Difference},
    connectors::Connectors,
    contested,
    desired::{Desired, registers},
    observed::{Observed, OperationStatus, Plan, RegistrationState},
    reductions,
    requeue::{ReconcileHistory, Timeouts, is_settling},
};
use crate::{
    Timestamp,
    azure_error::{AzureError, ErrorClass},
    conditions::{self, ConditionType, Reason},
    machines::reading::Scans,
};

/// Everything that a decision looks at.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The object's spec.
    pub spec: &'a ServerProtectionSpec,
    /// Its generation.
    pub generation: i64,
    /// The annotation that approves reductions.
    pub approval: Option<&'a str>,
    /// The "reconcile now" annotation, when this visit is the answer to it.
    pub requested: Option<&'a str>,
    /// The status that stands.
    pub previous: &'a ServerProtectionStatus,
    /// What was seen.
    pub observation: Observation<'a>,
    /// What the scans of the fleet say about the subscription; `None` before the first one of this process.
    pub scans: Option<&'a Scans>,
    /// The object's connectors; `None` while they are not listed.
    pub connectors: Option<&'a Connectors>,
    /// What this process remembers of the object; empty after a restart.
    pub history: &'a ReconcileHistory,
    /// The installation's clocks.
    pub timeouts: &'a Timeouts,
    /// Now, in whole seconds as Kubernetes writes them.
    pub now: Timestamp,
}

/// What a visit saw.
#[derive(Clone, Copy, Debug)]
pub enum Observation<'a> {
    /// `spec.suspend`: nothing was looked at.
    Suspended,
    /// Another object (`namespace/name`) owns the subscription.
    Conflicted(&'a str),
    /// Readings from Azure.
    Azure(&'a Observed),
}

/// What is the case.
#[derive(Clone, Debug, PartialEq)]
pub enum Situation {
    /// `spec.suspend`.
    Suspended,
    /// Another object owns the subscription.
    ClaimConflicted {
        /// `namespace/name`.
        holder: String,
    },
    /// Azure could not be read.
    Failing(AzureError),
    /// Microsoft.Security is not registered and it is not ours to mend.
    RegistrationMissing,
    /// The registration runs.
    Registering {
        /// For longer than it ever should.
        stuck: bool,
    },
    /// Mode Observe, and the reading is complete.
    Observing,
    /// The first thing to do would lower protection.
    NeedsApproval(Vec<Difference>),
    /// There are changes to write.
    Writing,
    /// A write was accepted but does not show; it is repeated later.
    Settling,
    /// Only fields that are left alone differ.
    Contested,
    /// A managed extension failed; its retry waits.
    ExtensionFailed {
        /// The action that the identity lacks, when that explains it.
        missing_action: Option<String>,
    },
    /// Azure answers with the whole spec.
    InSync,
}

/// The decision of one visit.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What is the case.
    pub situation: Situation,
    /// Every field in which Azure differs.
    pub differences: Vec<Difference>,
    /// What to write now, in order.
    pub changes: Vec<Change>,
    /// The fields among them that are repairs: they were in sync, or written before.
    pub repairs: Vec<Difference>,
    /// Fields that are left alone because they are contested.
    pub suppressed: BTreeSet<String>,
}

impl Decision {
    fn only(situation: Situation) -> Self {
        Self {
            situation,
            differences: Vec::new(),
            changes: Vec::new(),
            repairs: Vec::new(),
            suppressed: BTreeSet::new(),
        }
    }

    /// The plan write among the changes.
    pub fn writes_plan(&self) -> bool {
        self.changes
            .iter()
            .any(|change| matches!(change.action, Action::PutPlan(_)))
    }
}

/// What became of the changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The writes that Azure accepted.
    pub done: Vec<Change>,
    /// What a plan write answered.
    pub plan: Option<PlanResponse>,
    /// The write that failed; those after it were not tried.
    pub failed: Option<(Change, AzureError)>,
}

/// The answer to a plan write.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanResponse {
    /// The plan as answered.
    pub plan: Plan,
    /// What only this answer tells.
    pub results: Vec<OperationStatus>,
}

/// Whether status records a plan write with an unknown result (I-6).
pub fn write_is_open(previous: &ServerProtectionStatus) -> bool {
    conditions::get(&previous.conditions, ConditionType::PlanEnabled).is_some_and(|condition| {
        condition.status == "Unknown" && condition.reason == Reason::Applying.as_str()
    })
}

/// Decides. Pure and total.
pub fn decide(input: &Input<'_>) -> Decision {
    let observed = match input.observation {
        Observation::Suspended => return Decision::only(Situation::Suspended),
        Observation::Conflicted(holder) => {
            return Decision::only(Situation::ClaimConflicted {
                holder: holder.to_owned(),
            });
        }
        Observation::Azure(observed) => observed,
    };
    let desired = Desired::of(input.spec);
    if let Some(decision) = registration_decision(input, observed) {
        return decision;
    }
    match actual(observed) {
        Ok(actual) => field_decision(input, observed, &desired, &actual),
        Err(failure) => Decision::only(Situation::Failing(failure)),
    }
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

/// Without the registration nothing else can be read, so it comes first.
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
                field: "resourceProviders.registration".into(),
                desired: "Registered".into(),
                observed: "NotRegistered".into(),
            }];
            let change = Change {
                action: Action::Register,
                fields: fields.clone(),
            };
            // Azure may show the state of before for a while after it was asked.
            if is_settling(input, &change) {
                return Some(Decision::only(Situation::Registering { stuck: false }));
            }
            Some(Decision {
                differences: fields,
                changes: vec![change],
                ..Decision::only(Situation::Writing)
            })
        }
        RegistrationState::NotRegistered => Some(Decision::only(Situation::RegistrationMissing)),
    }
}

/// Since when the registration can have been running. `NotRegistered` and Registering are both False, perhaps for days;
/// what began with the registration is Reconciling.
fn registering_since(input: &Input<'_>) -> Timestamp {
    let since = |type_: ConditionType, status: &str| {
        conditions::get(&input.previous.conditions, type_)
            .filter(|condition| condition.status == status)
            .map(|condition| condition.last_transition_time.0)
    };
    match (
        since(ConditionType::ProviderRegistered, "False"),
        since(ConditionType::Reconciling, "True"),
    ) {
        (Some(not_registered), Some(reconciling)) => not_registered.max(reconciling),
        _ => input.now,
    }
}

fn field_decision(input: &Input<'_>, observed: &Observed, desired: &Desired, actual: &Actual) -> Decision {
    let differences = changes::differences(desired, actual);
    let mut decision = Decision {
        differences,
        ..Decision::only(Situation::InSync)
    };
    if input.spec.mode == Mode::Observe {
        decision.situation = Situation::Observing;
        return decision;
    }
    let unapproved = unapproved_at_adoption(input, &decision.differences);
    if !unapproved.is_empty() {
        decision.situation = Situation::NeedsApproval(unapproved);
        return decision;
    }

    decision.suppressed = contested::suppressed(&input.previous.contested, &decision.differences, input.now);
    let failed = failed_extensions(input.previous, desired);
    let missing_action = failed_for_want_of(input, observed);
    let retry_failed = !failed.is_empty() && missing_action.is_none() && extension_retry_is_due(input);
    let mut untouched = decision.suppressed.clone();
    if !retry_failed {
        untouched.extend(failed.iter().map(|field| format!("{field}.state")));
    }

    let mut changes = changes::changes(desired, actual, &untouched);
    let plan_is_written = changes
        .iter()
        .any(|change| matches!(change.action, Action::PutPlan(_)));
    // An open write, or a failed extension, means one more write of the same plan: only its answer tells the result.
    if !plan_is_written && (write_is_open(input.previous) || retry_failed) {
        let write = changes::plan_write(desired, &actual.plan, &untouched);
        // Never Free on our own account: a tier that is left alone may just have been raised by its other writer.
        if write.tier == desired.tier || write.tier != Tier::Free {
            changes.insert(
                0,
                Change {
                    action: Action::PutPlan(write),
                    fields: Vec::new(),
                },
            );
        }
    }
    // What was just written in vain waits a little, without holding up the rest.
    let planned = changes.len();
    let retries = |change: &Change| retry_failed && matches!(change.action, Action::PutPlan(_));
    changes.retain(|change| retries(change) || !is_settling(input, change));
    let settling = planned > changes.len();
    let changes = changes::first_stage(changes);

    if changes.is_empty() && !settling {
        decision.situation = if !failed.is_empty() {
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
        // Switching a failed extension on once more is no repair: nobody else switched it off.
        decision.repairs.retain(|repair| {
            !failed
                .iter()
                .any(|field| repair.field == format!("{field}.state"))
        });
        decision.changes = changes;
    }
    decision
}

/// I-12a: an object that never held its subscription in sync may not begin by lowering protection.
fn unapproved_at_adoption(input: &Input<'_>, differences: &[Difference]) -> Vec<Difference> {
    let adopted = input
        .previous
        .claim
        .as_ref()
        .is_some_and(|claim| claim.established_since.is_some());
    if adopted {
        return Vec::new();
    }
    let reductions = reductions::of(differences);
    reductions::unapproved(&reductions, input.approval, input.generation)
        .into_iter()
        .cloned()
        .collect()
}

/// Fields of the managed extensions whose last result was a failure.
fn failed_extensions(previous: &ServerProtectionStatus, desired: &Desired) -> Vec<String> {
    let known = previous.plan.iter().flat_map(|plan| &plan.extensions);
    known
        .filter(|extension| extension.provisioning.as_deref() == Some("Failed"))
        .filter_map(|extension| desired.extension(&extension.name))
        .filter(|extension| extension.enabled)
        .map(|extension| extension.field.clone())
        .collect()
}

/// The action whose absence explains a failed extension: then another write would fail alike.
fn failed_for_want_of(input: &Input<'_>, observed: &Observed) -> Option<String> {
    let lacks = match &observed.permissions {
        Some(Ok(permissions)) => !permissions.allow(azure_rules::ASSIGN_ROLES),
        _ => lacked_role_assignment(input.previous),
    };
    lacks.then(|| azure_rules::ASSIGN_ROLES.to_owned())
}

/// Whether the identity lacked the right to assign roles when its permissions were last known.
fn lacked_role_assignment(previous: &ServerProtectionStatus) -> bool {
    let mut missing = previous.missing_actions.iter();
    missing.any(|action| action == azure_rules::ASSIGN_ROLES)
}

fn extension_retry_is_due(input: &Input<'_>) -> bool {
    let edited = input.previous.observed_generation != Some(input.generation);
    edited
        || lacked_role_assignment(input.previous)
        || input.requested.is_some()
        || input.history.extension_retry_at.is_some_and(|at| at <= input.now)
}

/// The repairs among these changes.
fn repairs(input: &Input<'_>, changes: &[Change]) -> Vec<Difference> {
    let was_in_sync = input.previous.observed_generation == Some(input.generation)
        && conditions::is_true(&input.previous.conditions, ConditionType::Ready);
    let changes = changes.iter().filter(|change| change.action != Action::Register);
    let writes = changes.flat_map(|change| &change.fields);
    contested::repairs(
        writes,
        was_in_sync,
        &input.previous.contested,
        &input.history.written,
    )
}
