//! Ready and the conditions that are present only while they are True.

use super::{Phase, condition_set::waiting_message};
use crate::{
    azure_error::AzureError,
    conditions::{ConditionStatus, Conditions},
    security_connector::{
        account::Conflict,
        changes::{Change, describe},
        cloud,
        decide::{Blocker, Decision, Input, Outcome, Situation, target},
    },
    server_protection::status::summary::{
        Secondary, Summary, approval_message, contested, contested_message, failing, failing_write, fields,
        is_passing, observed_message, progressing, reading_back, ready, stalled, suspend, withheld,
    },
};

/// A failure that time mends, early in its row, on an object whose spec was already looked at.
pub(super) fn is_passing_failure(input: &Input<'_>, decision: &Decision, failures: u32) -> bool {
    let Situation::Failing(failure) = &decision.situation else {
        return false;
    };
    let observed_before = input.previous.observed_generation == Some(input.generation);
    observed_before && is_passing(failure, &input.previous.conditions, failures)
}

/// Sets Ready, Reconciling, Stalled, Contested and Suspended.
pub(super) fn set(
    conditions: &mut Conditions,
    input: &Input<'_>,
    decision: &Decision,
    phase: Phase<'_>,
    failures: u32,
) {
    if decision.situation == Situation::Suspended {
        suspend(conditions);
        return;
    }
    summary(input, decision, phase, failures).apply(conditions);
    contested(conditions, &decision.differences, &decision.suppressed);
}

/// While the object is deleted.
pub(super) fn deleting(message: String) -> Summary {
    Summary {
        ready: ConditionStatus::False,
        reason: "Deleting".into(),
        message,
        secondary: Secondary::Reconciling("Deleting"),
    }
}

fn summary(input: &Input<'_>, decision: &Decision, phase: Phase<'_>, failures: u32) -> Summary {
    match &decision.situation {
        Situation::Suspended | Situation::InSync => {
            ready("InSync", "Azure stands as the spec demands".into())
        }
        Situation::Observing => ready("Observed", observed_message(&decision.differences)),
        Situation::Blocked(blocker) => blocked(input, blocker),
        Situation::Failing(failure) => failing(failure, failures),
        Situation::AwaitingRegistration => progressing(
            "AwaitingRegistration",
            format!(
                "Microsoft.Security is not registered in the subscription yet; ServerProtection {} registers it",
                input.spec.protection_ref.name
            ),
        ),
        Situation::NeedsApproval(reductions) => {
            stalled("ReductionNeedsApproval", approval_message(reductions))
        }
        Situation::Writing => writing(input, decision, phase),
        Situation::WaitingForCloud => {
            let message = waiting_message(input, decision)
                .unwrap_or_else(|| "Azure could not sign in to the account".into());
            waiting_for_cloud(&message)
        }
        Situation::Settling => progressing(
            "Settling",
            format!(
                "Azure accepted the write but answers otherwise: {}; it is tried again",
                fields(&decision.differences)
            ),
        ),
        Situation::Contested => stalled(
            "Contested",
            contested_message(&decision.differences, &decision.suppressed),
        ),
    }
}

/// It ends when somebody mends the account, and nobody here sees that: it goes on, slowly.
fn waiting_for_cloud(message: &str) -> Summary {
    Summary {
        ready: ConditionStatus::False,
        reason: cloud::AUTHENTICATION_FAILED.into(),
        message: format!("{message}; it is tried again every 5 to 15 minutes"),
        secondary: Secondary::Reconciling("WaitingForCloud"),
    }
}

fn blocked(input: &Input<'_>, blocker: &Blocker) -> Summary {
    let account = super::account(input.spec);
    match blocker {
        Blocker::ProtectionNotFound => stalled(
            "ProtectionNotFound",
            format!(
                "there is no ServerProtection {} in this namespace: create it; nothing is read or written until then",
                input.spec.protection_ref.name
            ),
        ),
        Blocker::NotAvailable { azure } => stalled(
            "NotAvailableInCloud",
            format!(
                "{azure} has no connectors for AWS and GCP: Defender for Cloud offers them in public Azure only; delete this object"
            ),
        ),
        Blocker::TargetChanged { current } => stalled(
            "TargetChanged",
            format!(
                "protectionRef leads to another subscription now, and the connector stands as {current}: nothing is written; create another SecurityConnector, or restore the ServerProtection"
            ),
        ),
        Blocker::ClaimConflicted { holder } => stalled(
            "ClaimConflicted",
            format!(
                "account {account} or its connector is owned by SecurityConnector {holder}; delete one of the two"
            ),
        ),
        Blocker::Account(Conflict::Elsewhere { id }) => stalled(
            "AccountConnectedElsewhere",
            format!(
                "account {account} is already connected by {id}: name that connector here (resourceGroup, connectorName, and its subscription's ServerProtection), or delete it"
            ),
        ),
        Blocker::Account(Conflict::ManagedByOrganization { parent, id }) => stalled(
            "ManagedByOrganization",
            format!(
                "account {account} is a member of organization {parent}, whose connector manages it ({id}): exclude the account there (organization), or delete this object"
            ),
        ),
        Blocker::NameTaken {
            environment,
            account: other,
        } => stalled(
            "NameTaken",
            format!(
                "the connector of this name connects {environment} {other}, not {account}; it is left as it is: choose another connectorName"
            ),
        ),
        Blocker::LocationDiffers { location } => stalled(
            "LocationDiffers",
            format!(
                "the connector stands in {location}, and Azure cannot move it: create this object anew with location {location}"
            ),
        ),
        Blocker::AgentlessNeedsP2 => stalled(
            "AgentlessScanningNeedsP2",
            "agentlessScanning needs plan P2, and the ServerProtection has a lower one: set plan.tier to P2, or agentlessScanning.state to Disabled".into(),
        ),
        Blocker::ResourceGroupMissing => stalled(
            "ResourceGroupMissing",
            format!(
                "resource group {} does not exist: create it, or set createResourceGroup to true",
                input.spec.resource_group
            ),
        ),
    }
}

fn writing(input: &Input<'_>, decision: &Decision, phase: Phase<'_>) -> Summary {
    match phase {
        Phase::BeforeWrite => progressing("Writing", format!("writing {}", all(&decision.changes))),
        Phase::AfterWrite(Outcome {
            failed: Some((_, failure)),
            ..
        }) => failed(input, failure),
        Phase::AfterWrite(outcome) if outcome.done.is_empty() => withheld(&all(&decision.changes)),
        Phase::AfterWrite(outcome) => reading_back(&all(&outcome.done)),
    }
}

fn failed(input: &Input<'_>, failure: &AzureError) -> Summary {
    match target(input).filter(|_| cloud::is_authentication(failure)) {
        Some(target) => waiting_for_cloud(&format!("{failure}; {}", cloud::remedy(failure, &target))),
        None => failing_write(failure),
    }
}

fn all(changes: &[Change]) -> String {
    changes.iter().map(describe).collect::<Vec<_>>().join(", ")
}
