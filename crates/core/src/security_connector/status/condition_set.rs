//! The conditions that are about one subject each.

use serverprotection_api::{ConnectorDeletionPolicy, ConnectorIssue, Mode, State};

use super::Phase;
use crate::{
    conditions::{ConditionStatus, ConditionType, Conditions, Reason},
    drift::drifted,
    message::Message,
    permissions::{Required, credential, permitted, reason_of},
    reason::ReasonText,
    security_connector::{
        arc_providers, cloud,
        decide::{Decision, Input, Situation, target},
        health::Health,
        observed::{HealthReport, Observed},
        value::ConnectorPath,
    },
};

/// Present from the first patch on.
pub(super) const ALWAYS: [ConditionType; 9] = [
    ConditionType::Ready,
    ConditionType::Claimed,
    ConditionType::CredentialReady,
    ConditionType::ProviderRegistered,
    ConditionType::ConnectorConfigured,
    ConditionType::CloudAuthenticated,
    ConditionType::Healthy,
    ConditionType::PermissionsSufficient,
    ConditionType::Drifted,
];

/// Sets the conditions from what this reconcile observed; conditions about what it did not read stay unchanged.
pub(super) fn set(
    conditions: &mut Conditions,
    input: &Input<'_>,
    decision: &Decision,
    phase: Phase<'_>,
    observed: &Observed,
) {
    credential(conditions, &observed.credential, observed.failure());
    configured(conditions, decision, phase);
    arc_providers::registered(conditions, input, decision, phase, observed);
    authenticated(conditions, input, phase, observed);
    healthy(conditions, input, observed);
    let failure = phase.failed().or_else(|| observed.failure());
    permitted(
        conditions,
        failure,
        observed.permissions.as_ref(),
        &required_actions(input),
        &[],
    );
    if decision.compared {
        drifted(conditions, &decision.differences, None);
    }
}

fn configured(conditions: &mut Conditions, decision: &Decision, phase: Phase<'_>) {
    let missing = decision
        .differences
        .iter()
        .any(|field| field.field == ConnectorPath::Connector);
    let ours = |status, reason: Reason, text: &str| (status, ReasonText::from(reason), Message::new(text));
    let (status, reason, message) = match phase.failed() {
        Some(failure) if missing && failure.effect_unknown => {
            let (unknown, creating) = (ConditionStatus::Unknown, Reason::Creating);
            (unknown, creating.into(), failure.to_message())
        }
        Some(failure) => (ConditionStatus::False, reason_of(failure), failure.to_message()),
        None if !decision.compared => return,
        None if phase.wrote_connector() => ours(
            ConditionStatus::Unknown,
            Reason::Written,
            "Azure accepted the connector; the controller reads it back",
        ),
        None if decision.differences.is_empty() => ours(
            ConditionStatus::True,
            Reason::Configured,
            "The connector matches the spec",
        ),
        None if missing && matches!(phase, Phase::BeforeWrite) => ours(
            ConditionStatus::Unknown,
            Reason::Creating,
            "The connector is being created",
        ),
        None if missing => ours(
            ConditionStatus::False,
            Reason::NotCreated,
            "The account has no connector yet",
        ),
        None => ours(
            ConditionStatus::False,
            Reason::Differs,
            "The connector differs from the spec; see status.drift",
        ),
    };
    conditions.set(ConditionType::ConnectorConfigured, status, reason, &message);
}

/// Azure signs in to the account when the connector is written, and tests the connection from time to time.
fn authenticated(conditions: &mut Conditions, input: &Input<'_>, phase: Phase<'_>, observed: &Observed) {
    let refused = phase.failed().zip(target(input));
    let refused = refused.and_then(|(failure, target)| cloud::message(failure, &target));
    let (status, reason, message) = if let Some(message) = refused {
        (ConditionStatus::False, Reason::CloudAuthenticationFailed, message)
    } else if phase.wrote_connector() {
        let message = Message::new("Azure signed in to the account when the connector was written");
        (ConditionStatus::True, Reason::SignedIn, message)
    } else if reported(observed) == Some(true) {
        (ConditionStatus::True, Reason::Connected, connected())
    } else {
        return;
    };
    conditions.set(ConditionType::CloudAuthenticated, status, reason, &message);
}

fn connected() -> Message {
    Message::new("Azure reports the connection as healthy")
}

/// The health reports about the connection itself.
fn connectivity(reports: &[HealthReport]) -> impl Iterator<Item = &HealthReport> {
    reports
        .iter()
        .filter(|report| report.component.eq_ignore_ascii_case("Connectivity"))
}

/// Whether Azure reports the connection as healthy; `None` if there is no report.
fn reported(observed: &Observed) -> Option<bool> {
    let Some(Ok(reports)) = &observed.health else {
        return None;
    };
    let says = |health: Health| {
        connectivity(reports).any(|report| report.code.eq_ignore_ascii_case(health.as_str()))
    };
    if says(Health::NotHealthy) {
        Some(false)
    } else {
        says(Health::Healthy).then_some(true)
    }
}

/// The health in status, with its issues. `None` if this reconcile did not read it.
pub(super) fn health(input: &Input<'_>, observed: &Observed) -> Option<(Health, Vec<ConnectorIssue>)> {
    let Some(Ok(reports)) = &observed.health else {
        let unknown = input.previous.health.is_none() || matches!(observed.connector, Some(Ok(None)));
        return unknown.then(|| (Health::Unknown, Vec::new()));
    };
    let is_bad = |report: &&HealthReport| report.code.eq_ignore_ascii_case(Health::NotHealthy.as_str());
    let bad = connectivity(reports).filter(is_bad);
    let issues = bad.flat_map(|report| report.issues.clone()).collect();
    Some(match reported(observed) {
        Some(false) => (Health::NotHealthy, issues),
        Some(true) => (Health::Healthy, Vec::new()),
        None if machines_appear(input) => (Health::Healthy, Vec::new()),
        None => (Health::Unknown, Vec::new()),
    })
}

/// Before the first scan after a restart, the number in status applies.
fn machines_appear(input: &Input<'_>) -> bool {
    let known = || {
        let machines = input.previous.machines.as_ref();
        machines.is_some_and(|machines| machines.total > 0)
    };
    input.machines.map_or_else(known, |machines| machines.total > 0)
}

fn healthy(conditions: &mut Conditions, input: &Input<'_>, observed: &Observed) {
    const TYPE: ConditionType = ConditionType::Healthy;
    if let Some(Err(failure)) = &observed.health {
        if !failure.class.is_transient() {
            let message = failure.to_message();
            conditions.set(TYPE, ConditionStatus::Unknown, reason_of(failure), &message);
        }
        return;
    }
    let Some((health, issues)) = health(input, observed) else {
        return;
    };
    match (health, reported(observed)) {
        (Health::NotHealthy, _) => {
            let (status, reason) = (ConditionStatus::False, Reason::NotConnected);
            conditions.set(TYPE, status, reason, &not_connected(&issues));
        }
        (Health::Healthy, Some(true)) => {
            conditions.set(TYPE, ConditionStatus::True, Reason::Connected, &connected());
        }
        (Health::Healthy, _) => machines_have_appeared(conditions),
        (Health::Unknown, _) => {
            let message = Message::new(
                "Azure has not reported about the connection, and no Azure Arc machine of the account has appeared. After a connector is created, this takes hours",
            );
            conditions.set(TYPE, ConditionStatus::Unknown, Reason::NotReported, &message);
        }
    }
}

/// Characters of a remedy that fits into a message.
const LONGEST_ACTION: usize = 500;

/// Azure's issues, and the remedy of the first one: one message, one action. `status.issues` has all of them.
fn not_connected(issues: &[ConnectorIssue]) -> Message {
    let message = Message::new("Azure reports the connection as not healthy");
    let described: Vec<_> = issues
        .iter()
        .map(|issue| format!("{}: {}", issue.name, issue.message))
        .collect();
    if described.is_empty() {
        return message;
    }
    let message = message.cause(described.join("; "));
    match issues.iter().find_map(|issue| issue.remedy.as_deref()) {
        // Its end matters, and a message has no room for all of it.
        Some(remedy) if remedy.chars().count() > LONGEST_ACTION => {
            message.action("Follow the remedy in status.issues")
        }
        Some(remedy) => message.action(remedy),
        None => message,
    }
}

pub(super) fn machines_have_appeared(conditions: &mut Conditions) {
    let message = Message::new(
        "Azure does not report about the connection, but Azure Arc machines of the account have appeared",
    );
    let (status, reason) = (ConditionStatus::True, Reason::MachinesAppear);
    conditions.set(ConditionType::Healthy, status, reason, &message);
}

fn required_actions(input: &Input<'_>) -> Vec<Required> {
    let mut actions = vec![
        "Microsoft.Security/securityConnectors/read",
        "Microsoft.Security/healthReports/read",
    ];
    let enforces = input
        .protection
        .is_some_and(|protection| protection.mode == Mode::Enforce);
    if enforces {
        actions.push("Microsoft.Security/securityConnectors/write");
        if input.spec.deletion_policy == ConnectorDeletionPolicy::Delete {
            actions.push("Microsoft.Security/securityConnectors/delete");
        }
    }
    let mut required: Vec<_> = actions.into_iter().map(Required::of_security_admin).collect();
    if enforces && input.spec.create_resource_group {
        required.push(Required {
            action: "Microsoft.Resources/subscriptions/resourceGroups/write",
            field: Some("createResourceGroup"),
        });
    }
    if enforces && input.spec.auto_provisioning.arc_agent.state == State::Enabled {
        required.push(Required::owner("autoProvisioning.arcAgent"));
    }
    required
}

/// Why Azure could not sign in, as the failed write stored it in status.
pub(super) fn waiting_message(input: &Input<'_>, decision: &Decision) -> Option<Message> {
    let type_ = ConditionType::CloudAuthenticated;
    let condition = crate::conditions::get(&input.previous.conditions, type_)?;
    let reported = decision.situation == Situation::WaitingForCloud
        && condition.status == ConditionStatus::False.as_str();
    reported.then(|| Message::stored(&condition.message))
}
