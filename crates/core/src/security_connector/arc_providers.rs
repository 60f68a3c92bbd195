//! The resource providers that the Azure Arc agent needs in the subscription (docs/azure-api.md 6.5). A connector works
//! without them, but its machines do not appear.

use std::collections::BTreeMap;

use serverprotection_api::{Mode, SecurityConnectorSpec, State};

use super::{
    changes::{Action, Change},
    decide::{Decision, Input, Outcome, Situation},
    observed::Observed,
    status::Phase,
};
use crate::{
    azure_error::{AzureError, ErrorClass},
    conditions::{ConditionStatus, ConditionType, Conditions, Reason},
    message::Message,
    permissions::reason_of,
    server_protection::observed::RegistrationState,
};

/// A resource provider of Azure Arc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum ArcProvider {
    HybridCompute,
    GuestConfiguration,
    HybridConnectivity,
    /// For automatic upgrades of extensions.
    Compute,
}

impl ArcProvider {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::HybridCompute,
        Self::GuestConfiguration,
        Self::HybridConnectivity,
        Self::Compute,
    ];

    /// Its namespace.
    pub const fn namespace(self) -> &'static str {
        match self {
            Self::HybridCompute => "Microsoft.HybridCompute",
            Self::GuestConfiguration => "Microsoft.GuestConfiguration",
            Self::HybridConnectivity => "Microsoft.HybridConnectivity",
            Self::Compute => "Microsoft.Compute",
        }
    }
}

/// The registrations of all of them.
pub type ArcProviders = BTreeMap<ArcProvider, RegistrationState>;

/// Whether the spec installs the agent.
pub fn are_needed(spec: &SecurityConnectorSpec) -> bool {
    spec.auto_provisioning.arc_agent.state == State::Enabled
}

/// The providers that this reconcile or an earlier one found unregistered, and that were not requested since.
pub(super) fn unregistered(input: &Input<'_>, observed: &Observed) -> Vec<ArcProvider> {
    match &observed.arc_providers {
        Some(Ok(found)) => in_state(found, &RegistrationState::NotRegistered),
        _ => input.history.unregistered.clone(),
    }
}

/// The registrations to request, once nothing else is to be written.
pub(super) fn registrations(input: &Input<'_>, observed: &Observed) -> Vec<Change> {
    let registers = input
        .protection
        .is_some_and(|protection| protection.registers && protection.mode == Mode::Enforce);
    if !registers || !are_needed(input.spec) {
        return Vec::new();
    }
    let unregistered = unregistered(input, observed).into_iter();
    unregistered
        .map(|provider| Change {
            action: Action::RegisterProvider(provider),
            fields: Vec::new(),
        })
        .collect()
}

/// Those that still have to be requested after a reconcile.
pub(super) fn left(input: &Input<'_>, observed: &Observed, outcome: &Outcome) -> Vec<ArcProvider> {
    let failed = outcome.failed.iter().map(|(change, _)| change);
    let mut tried = outcome.done.iter().chain(failed);
    if tried.any(is_registration) {
        return Vec::new();
    }
    unregistered(input, observed)
}

/// Whether a change registers a provider.
pub(super) fn is_registration(change: &Change) -> bool {
    matches!(change.action, Action::RegisterProvider(_))
}

/// The error of a registration.
fn failure(phase: Phase<'_>) -> Option<(ArcProvider, &AzureError)> {
    let (change, failure) = phase.outcome()?.failed.as_ref()?;
    match change.action {
        Action::RegisterProvider(provider) => Some((provider, failure)),
        _ => None,
    }
}

/// Sets `ProviderRegistered` of a connector. A right that is missing here stalls nothing.
pub(super) fn registered(
    conditions: &mut Conditions,
    input: &Input<'_>,
    decision: &Decision,
    phase: Phase<'_>,
    observed: &Observed,
) {
    const TYPE: ConditionType = ConditionType::ProviderRegistered;
    if !are_needed(input.spec) {
        let message =
            Message::new("The spec does not install the Azure Arc agent, which needs resource providers");
        conditions.set(TYPE, ConditionStatus::True, Reason::NotNeeded, &message);
        return;
    }
    if let Some((provider, failure)) = failure(phase) {
        let (reason, message) = refused(provider, failure);
        conditions.set(TYPE, ConditionStatus::False, reason, &message);
        return;
    }
    let requested: Vec<_> = phase
        .outcome()
        .into_iter()
        .flat_map(|outcome| &outcome.done)
        .filter_map(|change| match change.action {
            Action::RegisterProvider(provider) => Some(provider),
            _ => None,
        })
        .collect();
    if !requested.is_empty() {
        let (reason, message) = registering(&requested);
        conditions.set(TYPE, ConditionStatus::False, reason, &message);
        return;
    }
    let found = match &observed.arc_providers {
        Some(Ok(found)) => found,
        Some(Err(failure)) if !failure.class.is_transient() => {
            let message = Message::new("The registration of Azure Arc's resource providers cannot be read")
                .caused_by(&failure.to_message());
            conditions.set(TYPE, ConditionStatus::Unknown, Reason::NotReadable, &message);
            return;
        }
        _ => return,
    };
    let missing = in_state(found, &RegistrationState::NotRegistered);
    let underway = in_state(found, &RegistrationState::Registering);
    let (status, reason, message) = match (missing.as_slice(), underway.as_slice()) {
        ([], []) => {
            let message = Message::new("The resource providers of Azure Arc are registered");
            (ConditionStatus::True, Reason::Registered, message)
        }
        ([], underway) => {
            let (reason, message) = registering(underway);
            (ConditionStatus::False, reason, message)
        }
        (missing, _) => {
            let names = namespaces(missing);
            let problem = Message::new(format!(
                "{names} are not registered in the subscription; the Azure Arc agent needs them"
            ));
            let next = decision.situation == Situation::InSync || !decision.changes.is_empty();
            let message = if next && !registrations(input, observed).is_empty() {
                problem.and("The controller registers them next.")
            } else {
                problem.action(by_hand(missing))
            };
            (ConditionStatus::False, Reason::NotRegistered, message)
        }
    };
    conditions.set(TYPE, status, reason, &message);
}

fn refused(provider: ArcProvider, failure: &AzureError) -> (crate::reason::ReasonText, Message) {
    let namespace = provider.namespace();
    let problem =
        format!("{namespace} is not registered in the subscription, and the Azure Arc agent needs it");
    let message = Message::new(problem);
    match &failure.class {
        ErrorClass::Permission(_) => {
            let action = format!(
                "Run az provider register -n {namespace}, or grant the identity a role with {namespace}/register/action, such as Contributor"
            );
            let cause = format!("the identity lacks {namespace}/register/action");
            (
                Reason::MissingPermission.into(),
                message.cause(cause).action(action),
            )
        }
        _ => (reason_of(failure), message.caused_by(&failure.to_message())),
    }
}

fn registering(providers: &[ArcProvider]) -> (Reason, Message) {
    let message = format!(
        "Azure is registering {}, which takes minutes",
        namespaces(providers)
    );
    (Reason::Registering, Message::new(message))
}

fn by_hand(missing: &[ArcProvider]) -> String {
    let commands: Vec<_> = missing
        .iter()
        .map(|provider| format!("az provider register -n {}", provider.namespace()))
        .collect();
    format!(
        "Run {}, or set resourceProviders.registration of the ServerProtection to Register in mode Enforce",
        commands.join(" and ")
    )
}

fn in_state(found: &ArcProviders, state: &RegistrationState) -> Vec<ArcProvider> {
    let same = found.iter().filter(|(_, found)| *found == state);
    same.map(|(provider, _)| *provider).collect()
}

fn namespaces(providers: &[ArcProvider]) -> String {
    let names: Vec<_> = providers.iter().map(|provider| provider.namespace()).collect();
    names.join(", ")
}
