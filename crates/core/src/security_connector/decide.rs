//! The decision of a reconcile: the situation, the changes, and what blocks them.

use serverprotection_api::{Mode, SecurityConnectorSpec, SecurityConnectorStatus};

use super::{
    account::{self, Conflict},
    arc_providers,
    changes::{self, Action, Change, Difference},
    desired::{Desired, Protection, Target},
    history::ReconcileHistory,
    observed::{Connector, Observed},
    proof::WRITE,
    reductions,
    subject::Subject,
    value::{ConnectorPath, ConnectorValue},
};
pub use crate::machines::MachineCounts;
use crate::{
    Timestamp,
    azure_error::{AzureError, ErrorClass},
    change,
    claims::{Claim, Ownership, not_proven},
    contested::{self, LastComparison},
    request::Requested,
    timeouts::Timeouts,
};

/// Everything that a decision depends on.
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
    /// The annotations that request a reconcile, if this reconcile responds to one of them.
    pub requested: Option<Requested<'a>>,
    /// The `ServerProtection` that the spec refers to.
    pub protection: Option<&'a Protection>,
    /// The status before this reconcile.
    pub previous: &'a SecurityConnectorStatus,
    /// What this reconcile observed.
    pub observation: Observation<'a>,
    /// Whether the object may write the connector.
    pub claim: Claim<'a>,
    /// Whether another object is creating a connector for the account right now.
    pub account_busy: bool,
    /// The Azure Arc machines of the account, if a scan has counted them.
    pub machines: Option<MachineCounts>,
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
    /// The name of an Azure cloud that has no connectors (Government, 21Vianet).
    NotAvailable(&'a str),
    /// Its `ServerProtection` does not hold the subscription: nothing was read.
    AwaitingProtection(&'a WithoutSubscription),
    /// What was read from Azure.
    Azure(&'a Observed),
}

/// Why a `ServerProtection` does not hold its subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WithoutSubscription {
    /// It needs user action, with the reason of its condition `Stalled`.
    Stalled(String),
    /// `spec.suspend`: it takes nothing.
    Suspended,
    /// It has not been decided, or it waits for Azure.
    Undecided,
}

/// What needs user action before the controller writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocker {
    /// The `ServerProtection` does not exist.
    ProtectionNotFound,
    /// Connectors do not exist in this Azure cloud.
    NotAvailable {
        /// Its name.
        azure: String,
    },
    /// The reference now leads to another subscription, because the `ServerProtection` was recreated for another one.
    TargetChanged {
        /// The connector's id so far.
        current: String,
    },
    /// Another object owns the connector.
    ClaimConflicted {
        /// Its name, if it is of the same namespace.
        holder: Option<String>,
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
    /// The connector is in another region.
    LocationDiffers {
        /// The region.
        location: String,
    },
    /// The spec enables agentless scanning, but the plan of the `ServerProtection` is P1 or Free.
    AgentlessNeedsP2,
    /// The resource group does not exist, and the spec does not let the controller create it.
    ResourceGroupMissing,
}

/// The situation.
#[derive(Clone, Debug, PartialEq)]
pub enum Situation {
    /// `spec.suspend`.
    Suspended,
    /// User action is needed first.
    Blocked(Blocker),
    /// Azure could not be read.
    Failing(AzureError),
    /// Microsoft.Security is not registered yet; the `ServerProtection` registers it.
    AwaitingRegistration,
    /// The `ServerProtection` does not hold its subscription.
    AwaitingProtection(WithoutSubscription),
    /// The connector is kept for the namespace of its last owner until this time.
    ClaimReserved(Timestamp),
    /// Another object is creating a connector for the account.
    AwaitingAccount,
    /// Mode Observe, and everything was read.
    Observing,
    /// The first changes would lower protection.
    NeedsApproval(Vec<Difference>),
    /// There are changes to write.
    Writing,
    /// Azure could not sign in to the account; the next attempt is delayed.
    WaitingForCloud,
    /// A write was accepted but is not visible in a read yet; it is repeated after a pause.
    Settling,
    /// Only suppressed fields differ.
    Contested,
    /// Azure matches the spec.
    InSync,
}

/// The decision of one reconcile.
pub type Decision = change::Decision<Situation, Action, ConnectorPath>;

/// The result of the changes. The response to the PUT has the connector.
pub type Outcome = change::Outcome<Action, ConnectorPath, Connector>;

impl Decision {
    fn blocked(blocker: Blocker) -> Self {
        Self::only(Situation::Blocked(blocker))
    }
}

/// The connector that the object manages, once its `ServerProtection` is known.
pub fn target(input: &Input<'_>) -> Option<Target> {
    let protection = input.protection?;
    Some(Target::of(input.name, input.spec, &protection.subscription))
}

/// Decides what to do. Pure, and defined for every input.
pub fn decide(input: &Input<'_>) -> Decision {
    let observed = match input.observation {
        Observation::Suspended => return Decision::only(Situation::Suspended),
        Observation::NotAvailable(azure) => {
            let azure = azure.to_owned();
            return Decision::blocked(Blocker::NotAvailable { azure });
        }
        Observation::AwaitingProtection(why) => {
            return Decision::only(Situation::AwaitingProtection(why.clone()));
        }
        Observation::Azure(observed) => observed,
    };
    let Some(protection) = input.protection else {
        return Decision::blocked(Blocker::ProtectionNotFound);
    };
    let desired = Desired::of(input.name, input.spec, protection);
    let subject = Subject::of(input.name, input.spec, input.protection, input.previous);
    if let Some(current) = subject.recorded().filter(|_| subject.has_moved()) {
        let current = current.id.clone();
        return Decision::blocked(Blocker::TargetChanged { current });
    }
    let decision = match actual(observed) {
        Ok(actual) => match blocker(&desired, observed, actual) {
            Some(blocker) => Decision::blocked(blocker),
            None => field_decision(input, observed, protection.mode, &desired, actual),
        },
        Err(failure) if failure.class == ErrorClass::NotRegistered && protection.registers => {
            Decision::only(Situation::AwaitingRegistration)
        }
        Err(failure) => Decision::only(Situation::Failing(failure)),
    };
    by_claim(input, protection.mode, decision)
}

/// R1: an object that does not hold the claim only reads. R2: one creation for each account at a time.
fn by_claim(input: &Input<'_>, mode: Mode, decision: Decision) -> Decision {
    let verdict = input.claim.verdict;
    let failing = matches!(decision.situation, Situation::Failing(_));
    let creates = decision.differences.iter().any(is_creation) && !decision.changes.is_empty();
    if mode == Mode::Observe || failing || (verdict.may_write() && !(creates && input.account_busy)) {
        return decision;
    }
    let situation = match &verdict.ownership {
        Ownership::Held => Situation::AwaitingAccount,
        Ownership::HeldByAnother(holder) => Situation::Blocked(Blocker::ClaimConflicted {
            holder: holder.clone(),
        }),
        Ownership::Reserved(until) => Situation::ClaimReserved(*until),
        _ if decision.changes.is_empty() => decision.situation.clone(),
        _ => Situation::Failing(not_proven(WRITE)),
    };
    decision.without_changes(situation)
}

/// Whether the connector does not exist yet.
pub(super) fn is_creation(difference: &Difference) -> bool {
    difference.field == ConnectorPath::Connector
}

/// The connector, if there is one. If there is none, the list of all connectors must have been read, to know that no
/// other one connects the account.
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

/// What blocks the object, the most helpful explanation first.
fn blocker(desired: &Desired, observed: &Observed, actual: Option<&Connector>) -> Option<Blocker> {
    let target = &desired.target;
    if let Some(connector) = actual
        && (connector.cloud != Some(target.cloud) || connector.account != target.account)
    {
        return Some(Blocker::NameTaken {
            environment: connector.environment.clone(),
            account: connector.account.clone(),
        });
    }
    let others = observed.others.as_ref().and_then(|read| read.as_ref().ok());
    let mut known = others.cloned().unwrap_or_default();
    // The list may be older than the direct read.
    known.extend(actual.map(|connector| account::ListedConnector {
        id: target.id(),
        ..account::ListedConnector::from(connector)
    }));
    if let Some(conflict) = account::conflict(target, &known) {
        return Some(Blocker::Account(conflict));
    }
    let expected = desired.location.replace(' ', "").to_lowercase();
    let location = actual.and_then(|connector| connector.location.clone());
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
    if !input.claim.is_established(input.previous.claim.as_ref()) {
        // I-12a: an object that never had its connector in sync may not begin by lowering protection.
        let unapproved = reductions::unapproved(desired, actual, input.approval, input.generation);
        if !unapproved.is_empty() {
            decision.situation = Situation::NeedsApproval(unapproved);
            return decision;
        }
    }
    decision.ends_pause = contested::ends_pause(input.requested.is_some(), &input.previous.conditions);
    if !decision.ends_pause {
        decision.suppressed =
            contested::suppressed(&input.previous.contested, &decision.differences, input.now);
    }
    let mut changes = changes::changes(desired, actual, &decision.suppressed);
    if group_missing && !changes.is_empty() {
        changes.insert(0, create_resource_group(desired));
    }
    let puts = changes.iter().filter(|change| is_put(change));
    decision.situation = if changes.is_empty() {
        // The connector is as it should be. Registrations need no recorded intent, and none of their errors stalls it.
        decision.changes = arc_providers::registrations(input, observed);
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
        field: ConnectorPath::ResourceGroup,
        desired: ConnectorValue::Text(name.clone()),
        observed: ConnectorValue::Absent,
    };
    Change {
        action: Action::CreateResourceGroup {
            name,
            location: desired.location.clone(),
        },
        fields: vec![field],
    }
}

/// Whether the writes of a decision need a recorded intent.
pub fn needs_intent(decision: &Decision) -> bool {
    let mut changes = decision.changes.iter();
    changes.any(|change| !arc_providers::is_registration(change))
}

/// Whether a write was made, and the error of one. A registration proves nothing about the right to write the connector.
pub fn own_writes(outcome: &Outcome) -> (bool, Option<&AzureError>) {
    let any = outcome
        .done
        .iter()
        .any(|change| !arc_providers::is_registration(change));
    let failed = outcome.failed.as_ref();
    let failed = failed.filter(|(change, _)| !arc_providers::is_registration(change));
    (any, failed.map(|(_, failure)| failure))
}

/// Whether a change writes the connector.
pub(super) fn is_put(change: &Change) -> bool {
    matches!(change.action, Action::PutConnector(_))
}

/// Whether every value that a change would write was just written without a visible effect.
fn is_settling(input: &Input<'_>, change: &Change) -> bool {
    input.requested.is_none() && input.history.writes.is_settling(change, input.now)
}

/// Whether the pause after a failure to sign in to the account is not over yet.
fn waits_for_cloud(input: &Input<'_>) -> bool {
    let edited = input.previous.observed_generation != Some(input.generation);
    let waits = input.history.cloud_retry_at.is_some_and(|at| at > input.now);
    waits && !edited && input.requested.is_none()
}

/// The repairs among these changes.
fn repairs(input: &Input<'_>, changes: &[Change]) -> Vec<Difference> {
    let last = LastComparison {
        generation: input.generation,
        conditions: &input.previous.conditions,
        drift: &input.previous.drift,
        drift_count: input.previous.drift_count,
    };
    let changes = changes.iter().filter(|change| is_put(change));
    let writes = changes.flat_map(|change| &change.fields);
    contested::repairs(writes, last, &input.previous.contested, &input.history.writes)
}

/// Whether the spec still demands this value of this field.
pub(super) fn manages(desired: &Desired, field: &str, value: &str) -> bool {
    let mut rows = desired.fields.iter();
    (field == ConnectorPath::Connector.to_string() && value == desired.target.name)
        || rows.any(|row| row.field.path() == field && row.value.value().to_string() == value)
}
