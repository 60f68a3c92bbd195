//! `status.display`: text for the columns of kubectl get. No decision reads it.

use serverprotection_api::{ConnectorDisplay, SecurityConnectorStatus};

use crate::{
    security_connector::decide::{Blocker, Decision, Input, Situation},
    tier::tier_name,
};

/// All columns. What was observed earlier is not shown while it may no longer be the case.
pub(super) fn set(status: &mut SecurityConnectorStatus, input: &Input<'_>, decision: &Decision) {
    let previous = input.previous.display.clone().unwrap_or_default();
    let of_spec = input.spec.plan.as_ref().map(|plan| plan.tier);
    let demanded = of_spec.or_else(|| input.protection.map(|protection| protection.tier));
    let tier = status
        .tier
        .clone()
        .or_else(|| demanded.map(|tier| tier_name(tier).into()));
    let shown = match is_observed(decision) {
        Some(true) => observed(status),
        Some(false) => ConnectorDisplay::default(),
        None => previous.clone(),
    };
    status.display = Some(ConnectorDisplay {
        tier: tier.or(previous.tier),
        ..shown
    });
}

/// The columns after a scan, unless the connector is not observed.
pub(super) fn refresh(status: &mut SecurityConnectorStatus) {
    let shown = observed(status);
    if let Some(display) = status.display.as_mut().filter(|display| display.health.is_some()) {
        display.health = shown.health;
        display.machines = shown.machines;
    }
}

fn observed(status: &SecurityConnectorStatus) -> ConnectorDisplay {
    let machines = status.machines.as_ref();
    ConnectorDisplay {
        tier: None,
        health: status.health.clone(),
        machines: machines.map(|machines| format!("{}/{}", machines.protected, machines.eligible)),
    }
}

/// Whether this reconcile read the connector that the object is about; `None` if it is suspended and read nothing.
const fn is_observed(decision: &Decision) -> Option<bool> {
    match &decision.situation {
        Situation::Suspended => None,
        Situation::Blocked(
            Blocker::ClaimConflicted { .. }
            | Blocker::LocationDiffers { .. }
            | Blocker::AgentlessNeedsP2
            | Blocker::ResourceGroupMissing,
        )
        | Situation::ClaimReserved(_)
        | Situation::AwaitingAccount
        | Situation::Observing
        | Situation::NeedsApproval(_)
        | Situation::Writing
        | Situation::WaitingForCloud
        | Situation::Settling
        | Situation::Contested
        | Situation::InSync => Some(true),
        Situation::Failing(_) => Some(decision.compared),
        Situation::Blocked(_) | Situation::AwaitingRegistration | Situation::AwaitingProtection(_) => {
            Some(false)
        }
    }
}
