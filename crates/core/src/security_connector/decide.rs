//! The decision of a visit: what is the case, what is to be written, and what holds it back.

use std::collections::BTreeSet;

use serverprotection_api::{Mode, SecurityConnectorSpec, SecurityConnectorStatus};

use super::{
    account::{self, Conflict},
    changes::{self, Action, CONNECTOR, Change, Difference},
    desired::{Desired, Protection, Target},
    observed::{Connector, Observed},
    reductions,
    requeue::{ReconcileHistory, is_settling, waits_for_cloud},
};
pub use crate::machines::MachineCounts;
use crate::{
    Timestamp,
    azure_error::{AzureError, ErrorClass},
    conditions::{self, ConditionType},
    server_protection::{contested, requeue::Timeouts},
};

/// Everything that a decision looks at.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Name of the object.
    pub name: &'a str,
    /// The object's spec.
    pub spec: &'a SecurityConnectorSpec,
    /// Its generation.
    pub generation: i64,
    /// The annotation that approves reductions.
    pub approval: Option<&'a str>,
    /// The "reconcile now" annotation, when this visit is the answer to it.
    pub requested: Option<&'a str>,
    /// The `ServerProtection` that the spec refers to.
    pub protection: Option<&'a Protection>,
    /// The status that stands.
    pub previous: &'a SecurityConnectorStatus,
    /// What was seen.
    pub observation: Observation<'a>,
    /// The Arc machines of the account, where the scans of the fleet told them.
    pub machines: Option<MachineCounts>,
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
    /// Connectors do not exist in this Azure cloud (Government, 21Vianet): its name.
    NotAvailable(&'a str),
    /// Another object (`namespace/name`) owns the connector or the account.
    Conflicted(&'a str),
    /// Readings from Azure.
    Azure(&'a Observed),
}

/// What a human must mend before anything is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocker {
    /// The `ServerProtection` does not exist.
    ProtectionNotFound,
    /// Connectors do not exist in this Azure cloud.
    NotAvailable {
        /// Its name.
        azure: String,
    },
    /// The reference leads elsewhere than before: the `ServerProtection` was created anew for another subscription.
    TargetChanged {
        /// The connector's id so far.
        current: String,
    },
    /// Another object owns the connector or the account.
    ClaimConflicted {
        /// `namespace/name`.
        holder: String,
    },
    /// Another connector connects the account, or its organization does.
    Account(Conflict),
    /// The connector of this name connects something else.
    NameTaken {
        /// Azure's `environmentName`.
        environment: String,
        /// Its `hierarchyIdentifier`.
        account: String,
    },
    /// The connector stands in another region.
    LocationDiffers {
        /// The region.
        location: String,
    },
    /// Agentless scanning with the protection's P1 or Free.
    AgentlessNeedsP2,
    /// The resource group does not exist, and it is not ours to create.
    ResourceGroupMissing,
}

/// What is the case.
#[derive(Clone, Debug, PartialEq)]
pub enum Situation {
    /// `spec.suspend`.
    Suspended,
    /// A human must mend something first.
    Blocked(Blocker),
    /// Azure could not be read.
    Failing(AzureError),
    /// Microsoft.Security is not registered yet; the `ServerProtection` registers it.
    AwaitingRegistration,
    /// Mode Observe, and the reading is complete.
    Observing,
    /// The first thing to do would lower protection.
    NeedsApproval(Vec<Difference>),
    /// There are changes to write.
    Writing,
    /// Azure could not sign in to the account; the next try waits.
    WaitingForCloud,
    /// A write was accepted but does not show; it is repeated later.
    Settling,
    /// Only fields that are left alone differ.
    Contested,
    /// Azure answers with the whole spec.
    InSync,
}

/// The decision of one visit.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What is the case.
    pub situation: Situation,
    /// Whether Azure was compared with the spec: `differences` says something.
    pub compared: bool,
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
            compared: false,
            differences: Vec::new(),
            changes: Vec::new(),
            repairs: Vec::new(),
            suppressed: BTreeSet::new(),
        }
    }

    fn blocked(blocker: Blocker) -> Self {
        Self::only(Situation::Blocked(blocker))
    }
}

/// What became of the changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The writes that Azure accepted.
    pub done: Vec<Change>,
    /// What the PUT answered.
    pub connector: Option<Connector>,
    /// The write that failed; those after it were not tried.
    pub failed: Option<(Change, AzureError)>,
}

/// What the object works on, once its protection is known.
pub fn target(input: &Input<'_>) -> Option<Target> {
    let protection = input.protection?;
    Some(Target::of(input.name, input.spec, &protection.subscription))
}

/// Decides. Pure and total.
pub fn decide(input: &Input<'_>) -> Decision {
    let observed = match input.observation {
        Observation::Suspended => return Decision::only(Situation::Suspended),
        Observation::NotAvailable(azure) => {
            let azure = azure.to_owned();
            return Decision::blocked(Blocker::NotAvailable { azure });
        }
        Observation::Conflicted(holder) => {
            let holder = holder.to_owned();
            return Decision::blocked(Blocker::ClaimConflicted { holder });
        }
        Observation::Azure(observed) => observed,
    };
    let Some(protection) = input.protection else {
        return Decision::blocked(Blocker::ProtectionNotFound);
    };
    let desired = Desired::of(input.name, input.spec, protection);
    if let Some(current) = &input.previous.target
        && !desired.target.is(&current.id)
    {
        let current = current.id.clone();
        return Decision::blocked(Blocker::TargetChanged { current });
    }
    match actual(observed) {
        Ok(actual) => match blocker(&desired, observed, actual) {
            Some(blocker) => Decision::blocked(blocker),
            None => field_decision(input, observed, protection.mode, &desired, actual),
        },
        Err(failure) if failure.class == ErrorClass::NotRegistered && protection.registers => {
            Decision::only(Situation::AwaitingRegistration)
        }
        Err(failure) => Decision::only(Situation::Failing(failure)),
    }
}

/// The connector, if there is one. Without one, it must be known that nobody else connects the account.
fn actual(observed: &Observed) -> Result<Option<&Connector>, AzureError> {
    if let Some(failure) = observed.failure() {
        return Err(failure.clone());
    }
    let complete = observed.others.is_some() && observed.resource_group.is_some();
    match &observed.connector {
        Some(Ok(Some(connector))) => Ok(Some(connector)),
        Some(Ok(None)) if complete => Ok(None),
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

/// What stands in the way, the most telling first.
fn blocker(desired: &Desired, observed: &Observed, actual: Option<&Connector>) -> Option<Blocker> {
    let target = &desired.target;
    if let Some(connector) = actual {
        let account = connector.account();
        if connector.cloud() != Some(target.cloud) || account != target.account {
            let environment = connector.environment().to_owned();
            return Some(Blocker::NameTaken { environment, account });
        }
    }
    let others = observed.others.as_ref().and_then(|reading| reading.as_ref().ok());
    let mut known = others.cloned().unwrap_or_default();
    // The list may be older than what was read directly.
    known.extend(actual.map(|connector| account::ListedConnector {
        id: target.id(),
        ..account::ListedConnector::from(connector)
    }));
    if let Some(conflict) = account::conflict(target, &known) {
        return Some(Blocker::Account(conflict));
    }
    let expected = desired.location.replace(' ', "").to_lowercase();
    let location = actual.and_then(Connector::location);
    match location.filter(|found| *found != expected) {
        Some(location) => Some(Blocker::LocationDiffers { location }),
        None => desired.agentless_needs_p2.then_some(Blocker::AgentlessNeedsP2),
    }
}

fn field_decision(
    input: &Input<'_>,
    observed: &Observed,
    mode: Mode,
    desired: &Desired,
    actual: Option<&Connector>,
) -> Decision {
    let mut decision = Decision {
        compared: true,
        differences: changes::differences(desired, actual),
        ..Decision::only(Situation::InSync)
    };
    if mode == Mode::Observe {
        decision.situation = Situation::Observing;
        return decision;
    }
    let group_missing = actual.is_none() && matches!(observed.resource_group, Some(Ok(false)));
    if group_missing && !input.spec.create_resource_group {
        decision.situation = Situation::Blocked(Blocker::ResourceGroupMissing);
        return decision;
    }
    let claim = input.previous.claim.as_ref();
    if claim.is_none_or(|claim| claim.established_since.is_none()) {
        // I-12a: an object that never held its connector in sync may not begin by lowering protection.
        let unapproved = reductions::unapproved(desired, actual, input.approval, input.generation);
        if !unapproved.is_empty() {
            decision.situation = Situation::NeedsApproval(unapproved);
            return decision;
        }
    }
    decision.suppressed = contested::suppressed(&input.previous.contested, &decision.differences, input.now);
    let mut changes = changes::changes(desired, actual, &decision.suppressed);
    if group_missing && !changes.is_empty() {
        changes.insert(0, create_resource_group(desired));
    }
    let puts = changes.iter().filter(|change| is_put(change));
    decision.situation = if changes.is_empty() {
        if decision.differences.is_empty() {
            Situation::InSync
        } else {
            Situation::Contested
        }
    } else if waits_for_cloud(input) {
        Situation::WaitingForCloud
    } else if puts.clone().all(|change| is_settling(input, change)) {
        Situation::Settling
    } else {
        decision.repairs = repairs(input, &changes);
        decision.changes = changes;
        Situation::Writing
    };
    decision
}

fn create_resource_group(desired: &Desired) -> Change {
    let name = desired.target.resource_group.clone();
    let field = Difference {
        field: "resourceGroup".into(),
        desired: name.clone(),
        observed: "none".into(),
    };
    Change {
        action: Action::CreateResourceGroup {
            name,
            location: desired.location.clone(),
        },
        fields: vec![field],
    }
}

/// Whether a change writes the connector.
pub(super) fn is_put(change: &Change) -> bool {
    matches!(change.action, Action::PutConnector(_))
}

/// The repairs among these changes.
fn repairs(input: &Input<'_>, changes: &[Change]) -> Vec<Difference> {
    let was_in_sync = input.previous.observed_generation == Some(input.generation)
        && conditions::is_true(&input.previous.conditions, ConditionType::Ready);
    let changes = changes.iter().filter(|change| is_put(change));
    let writes = changes.flat_map(|change| &change.fields);
    contested::repairs(
        writes,
        was_in_sync,
        &input.previous.contested,
        &input.history.written,
    )
}

/// Whether the spec still demands this value of this field.
pub(super) fn manages(desired: &Desired, field: &str, value: &str) -> bool {
    let mut rows = desired.fields.iter();
    (field == CONNECTOR && value == desired.target.name)
        || rows.any(|row| row.path == field && row.value.describe() == value)
}
