//! The conditions that tell about one aspect each.

use serverprotection_api::{ConnectorDeletionPolicy, ConnectorIssue, Mode, State};

use super::{Phase, failed};
use crate::{
    conditions::{ConditionStatus, Conditions},
    security_connector::{
        changes::CONNECTOR,
        cloud,
        decide::{Decision, Input, Situation, target},
        deletion::CREATING,
        observed::{HealthReport, Observed},
    },
    server_protection::{
        azure_rules,
        status::condition_set::{credential, drifted, permitted, reason_of},
    },
};

/// Present from the first patch on.
pub(super) const ALWAYS: [&str; 7] = [
    "Ready",
    "CredentialReady",
    "ConnectorConfigured",
    "CloudAuthenticated",
    "Healthy",
    "PermissionsSufficient",
    "Drifted",
];

/// Sets them from what this visit saw. What it could not read keeps what was known.
pub(super) fn set(
    conditions: &mut Conditions,
    input: &Input<'_>,
    decision: &Decision,
    phase: Phase<'_>,
    observed: &Observed,
) {
    credential(conditions, &observed.credential, observed.failure());
    configured(conditions, decision, phase);
    authenticated(conditions, input, phase, observed);
    healthy(conditions, input, observed);
    let failure = phase.failed().or_else(|| observed.failure());
    permitted(
        conditions,
        failure,
        observed.permissions.as_ref(),
        &required_actions(input),
    );
    if decision.compared {
        drifted(conditions, &decision.differences);
    }
}

fn configured(conditions: &mut Conditions, decision: &Decision, phase: Phase<'_>) {
    const TYPE: &str = "ConnectorConfigured";
    let missing = decision.differences.iter().any(|field| field.field == CONNECTOR);
    match phase.failed() {
        Some(failure) if missing && failure.effect_unknown => {
            failed(conditions, TYPE, ConditionStatus::Unknown, CREATING, failure);
        }
        Some(failure) => failed(
            conditions,
            TYPE,
            ConditionStatus::False,
            reason_of(failure),
            failure,
        ),
        None if !decision.compared => {}
        None if phase.wrote_connector() => conditions.set(
            TYPE,
            ConditionStatus::Unknown,
            "Written",
            "Azure accepted the connector; it is read back",
        ),
        None if decision.differences.is_empty() => conditions.set(
            TYPE,
            ConditionStatus::True,
            "Configured",
            "the connector has the offerings that the spec declares",
        ),
        None if missing && matches!(phase, Phase::BeforeWrite) => {
            conditions.set(
                TYPE,
                ConditionStatus::Unknown,
                CREATING,
                "the connector is being created",
            );
        }
        None if missing => conditions.set(
            TYPE,
            ConditionStatus::False,
            "NotCreated",
            "there is no connector for the account yet",
        ),
        None => conditions.set(
            TYPE,
            ConditionStatus::False,
            "Differs",
            "the connector differs from the spec; see status.drift",
        ),
    }
}

/// Azure signs in to the account when the connector is written, and tests the connection now and then.
fn authenticated(conditions: &mut Conditions, input: &Input<'_>, phase: Phase<'_>, observed: &Observed) {
    const TYPE: &str = "CloudAuthenticated";
    let refused = phase.failed().filter(|failure| cloud::is_authentication(failure));
    if let Some((failure, target)) = refused.zip(target(input)) {
        let message = format!("{failure}; {}", cloud::remedy(failure, &target));
        conditions.set(
            TYPE,
            ConditionStatus::False,
            cloud::AUTHENTICATION_FAILED,
            message,
        );
    } else if phase.wrote_connector() {
        conditions.set(
            TYPE,
            ConditionStatus::True,
            "SignedIn",
            "Azure signed in to the account when the connector was written",
        );
    } else if reported(observed) == Some(true) {
        conditions.set(
            TYPE,
            ConditionStatus::True,
            "Connected",
            "Azure reports the connection as healthy",
        );
    }
}

/// The reports about the connection itself.
fn connectivity(reports: &[HealthReport]) -> impl Iterator<Item = &HealthReport> {
    reports
        .iter()
        .filter(|report| report.component.eq_ignore_ascii_case("Connectivity"))
}

/// Whether Azure reports the connection as healthy; `None`: it says nothing.
fn reported(observed: &Observed) -> Option<bool> {
    let Some(Ok(reports)) = &observed.health else {
        return None;
    };
    let says = |code: &str| connectivity(reports).any(|report| report.code.eq_ignore_ascii_case(code));
    if says("NotHealthy") {
        Some(false)
    } else {
        says("Healthy").then_some(true)
    }
}

/// Health as status shows it, with what is wrong. `None`: nothing was read about it on this visit.
pub(super) fn health(input: &Input<'_>, observed: &Observed) -> Option<(&'static str, Vec<ConnectorIssue>)> {
    let Some(Ok(reports)) = &observed.health else {
        let unknown = input.previous.health.is_none() || matches!(observed.connector, Some(Ok(None)));
        return unknown.then(|| ("Unknown", Vec::new()));
    };
    let bad = connectivity(reports).filter(|report| report.code.eq_ignore_ascii_case("NotHealthy"));
    let issues = bad.flat_map(|report| report.issues.clone()).collect();
    Some(match reported(observed) {
        Some(false) => ("NotHealthy", issues),
        Some(true) => ("Healthy", Vec::new()),
        None if machines_appear(input) => ("Healthy", Vec::new()),
        None => ("Unknown", Vec::new()),
    })
}

/// After a restart the scans have not spoken yet; what stands in status was true.
fn machines_appear(input: &Input<'_>) -> bool {
    let known = || {
        let machines = input.previous.machines.as_ref();
        machines.is_some_and(|machines| machines.total > 0)
    };
    input.machines.map_or_else(known, |machines| machines.total > 0)
}

fn healthy(conditions: &mut Conditions, input: &Input<'_>, observed: &Observed) {
    const TYPE: &str = "Healthy";
    if let Some(Err(failure)) = &observed.health {
        if !failure.class.is_transient() {
            failed(
                conditions,
                TYPE,
                ConditionStatus::Unknown,
                reason_of(failure),
                failure,
            );
        }
        return;
    }
    let Some((health, issues)) = health(input, observed) else {
        return;
    };
    let described: Vec<_> = issues
        .iter()
        .map(|issue| match &issue.remedy {
            Some(remedy) => format!("{}: {}; {remedy}", issue.name, issue.message),
            None => format!("{}: {}", issue.name, issue.message),
        })
        .collect();
    match (health, reported(observed)) {
        ("NotHealthy", _) if described.is_empty() => conditions.set(
            TYPE,
            ConditionStatus::False,
            "NotConnected",
            "Azure reports the connection as not healthy, without a reason",
        ),
        ("NotHealthy", _) => conditions.set(TYPE, ConditionStatus::False, "NotConnected", described.join("; ")),
        ("Healthy", Some(true)) => conditions.set(
            TYPE,
            ConditionStatus::True,
            "Connected",
            "Azure reports the connection as healthy",
        ),
        ("Healthy", _) => machines_have_appeared(conditions),
        _ => conditions.set(
            TYPE,
            ConditionStatus::Unknown,
            "NotReported",
            "Azure has not reported about the connection, and no Azure Arc machine of the account has appeared; after a connector is created that takes hours",
        ),
    }
}

pub(super) fn machines_have_appeared(conditions: &mut Conditions) {
    conditions.set(
        "Healthy",
        ConditionStatus::True,
        "MachinesAppear",
        "Azure does not report about the connection, but Azure Arc machines of the account appear",
    );
}

fn required_actions(input: &Input<'_>) -> Vec<&'static str> {
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
        if input.spec.create_resource_group {
            actions.push("Microsoft.Resources/subscriptions/resourceGroups/write");
        }
        if input.spec.auto_provisioning.arc_agent.state == State::Enabled {
            actions.push(azure_rules::ASSIGN_ROLES);
        }
    }
    actions
}

/// What to do about the account, as the failed write left it.
pub(super) fn waiting_message(input: &Input<'_>, decision: &Decision) -> Option<String> {
    let condition = crate::conditions::get(&input.previous.conditions, "CloudAuthenticated")?;
    let reported = decision.situation == Situation::WaitingForCloud && condition.status == "False";
    reported.then(|| condition.message.clone())
}
