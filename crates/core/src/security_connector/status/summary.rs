//! Ready and the conditions that are present only while they are True.

use super::{Progress, aspects::waiting_message};
use crate::{
    conditions::{Answer, Conditions},
    failure::Failure,
    security_connector::{
        account::Conflict,
        changes::{Change, describe},
        cloud,
        decide::{Decision, Hold, Input, Outcome, Situation, target},
    },
    server_protection::status::summary::{
        Beside, Summary, approval_message, contested, contested_message, failing, failing_write, fields,
        is_passing, observed_message, progressing, reading_back, ready, stalled, suspend, withheld,
    },
};

/// A failure that time mends, early in its row, on an object whose spec was already looked at.
pub(super) fn is_passing_failure(input: &Input<'_>, decision: &Decision, failures: u32) -> bool {
    let Situation::Failing(failure) = &decision.situation else {
        return false;
    };
    let looked_at = input.previous.observed_generation == Some(input.generation);
    looked_at && is_passing(failure, &input.previous.conditions, failures)
}

/// Sets Ready, Reconciling, Stalled, Contested and Suspended.
pub(super) fn set(
    conditions: &mut Conditions,
    input: &Input<'_>,
    decision: &Decision,
    progress: Progress<'_>,
    failures: u32,
) {
    if decision.situation == Situation::Suspended {
        suspend(conditions);
        return;
    }
    summary(input, decision, progress, failures).tell(conditions);
    contested(conditions, &decision.differences, &decision.left_alone);
}

/// While the object is deleted.
pub(super) fn deleting(message: String) -> Summary {
    Summary {
        ready: Answer::False,
        reason: "Deleting".into(),
        message,
        beside: Beside::Reconciling("Deleting"),
    }
}

fn summary(input: &Input<'_>, decision: &Decision, progress: Progress<'_>, failures: u32) -> Summary {
    match &decision.situation {
        Situation::Suspended | Situation::InSync => {
            ready("InSync", "Azure stands as the spec demands".into())
        }
        Situation::Observing => ready("Observed", observed_message(&decision.differences)),
        Situation::Held(hold) => held(input, hold),
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
        Situation::Writing => writing(input, decision, progress),
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
            contested_message(&decision.differences, &decision.left_alone),
        ),
    }
}

/// It ends when somebody mends the account, and nobody here sees that: it goes on, slowly.
fn waiting_for_cloud(message: &str) -> Summary {
    Summary {
        ready: Answer::False,
        reason: cloud::AUTHENTICATION_FAILED.into(),
        message: format!("{message}; it is tried again every 5 to 15 minutes"),
        beside: Beside::Reconciling("WaitingForCloud"),
    }
}

fn held(input: &Input<'_>, hold: &Hold) -> Summary {
    let account = super::account(input.spec);
    match hold {
        Hold::ProtectionNotFound => stalled(
            "ProtectionNotFound",
            format!(
                "there is no ServerProtection {} in this namespace: create it; nothing is read or written until then",
                input.spec.protection_ref.name
            ),
        ),
        Hold::NotAvailable { azure } => stalled(
            "NotAvailableInCloud",
            format!(
                "{azure} has no connectors for AWS and GCP: Defender for Cloud offers them in public Azure only; delete this object"
            ),
        ),
        Hold::TargetChanged { stands } => stalled(
            "TargetChanged",
            format!(
                "protectionRef leads to another subscription now, and the connector stands as {stands}: nothing is written; create another SecurityConnector, or restore the ServerProtection"
            ),
        ),
        Hold::ClaimConflicted { holder } => stalled(
            "ClaimConflicted",
            format!(
                "account {account} or its connector is owned by SecurityConnector {holder}; delete one of the two"
            ),
        ),
        Hold::Account(Conflict::Elsewhere { id }) => stalled(
            "AccountConnectedElsewhere",
            format!(
                "account {account} is already connected by {id}: name that connector here (resourceGroup, connectorName, and its subscription's ServerProtection), or delete it"
            ),
        ),
        Hold::Account(Conflict::ManagedByOrganization { parent, id }) => stalled(
            "ManagedByOrganization",
            format!(
                "account {account} is a member of organization {parent}, whose connector manages it ({id}): exclude the account there (organization), or delete this object"
            ),
        ),
        Hold::NameTaken {
            environment,
            account: other,
        } => stalled(
            "NameTaken",
            format!(
                "the connector of this name connects {environment} {other}, not {account}; it is left as it is: choose another connectorName"
            ),
        ),
        Hold::LocationDiffers { location } => stalled(
            "LocationDiffers",
            format!(
                "the connector stands in {location}, and Azure cannot move it: create this object anew with location {location}"
            ),
        ),
        Hold::AgentlessNeedsP2 => stalled(
            "AgentlessScanningNeedsP2",
            "agentlessScanning needs plan P2, and the ServerProtection has a lower one: set plan.tier to P2, or agentlessScanning.state to Disabled".into(),
        ),
        Hold::ResourceGroupMissing => stalled(
            "ResourceGroupMissing",
            format!(
                "resource group {} does not exist: create it, or set createResourceGroup to true",
                input.spec.resource_group
            ),
        ),
    }
}

fn writing(input: &Input<'_>, decision: &Decision, progress: Progress<'_>) -> Summary {
    match progress {
        Progress::About => progressing("Writing", format!("writing {}", all(&decision.changes))),
        Progress::Over(Outcome {
            failed: Some((_, failure)),
            ..
        }) => failed(input, failure),
        Progress::Over(outcome) if outcome.done.is_empty() => withheld(&all(&decision.changes)),
        Progress::Over(outcome) => reading_back(&all(&outcome.done)),
    }
}

fn failed(input: &Input<'_>, failure: &Failure) -> Summary {
    match target(input).filter(|_| cloud::is_authentication(failure)) {
        Some(target) => waiting_for_cloud(&format!("{failure}; {}", cloud::remedy(failure, &target))),
        None => failing_write(failure),
    }
}

fn all(changes: &[Change]) -> String {
    changes.iter().map(describe).collect::<Vec<_>>().join(", ")
}
