//! Ready and the conditions that are present only while they are True.

use super::{Phase, condition_set::waiting_message};
use crate::{
    azure_error::AzureError,
    claims::{held_by_another, reserved},
    conditions::{ConditionStatus, Conditions, Reason},
    message::Message,
    security_connector::{
        account::Conflict,
        changes::{Change, describe},
        cloud,
        decide::{Blocker, Decision, Input, Outcome, Situation, WithoutSubscription, target},
    },
    summary::{
        Secondary, Summary, about_to_write, approval_message, contested, contested_message, failing,
        failing_write, in_sync, is_passing, observed_message, progressing, reading_back, ready,
        settling_message, stalled, withheld,
    },
    suspension::{Demand, LastDrift, suspend},
};

/// Whether this is one of the first transient read errors of a spec that was observed before.
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
        let spec = (input.history.reconciled, Demand::from(input.spec));
        let drift = LastDrift::new(input.previous.drift_count, &input.previous.drift);
        suspend(
            conditions,
            &input.previous.conditions,
            input.generation,
            spec,
            drift,
        );
        return;
    }
    summary(input, decision, phase, failures).apply(conditions);
    contested(conditions, &decision.suppressed, &paused(input, decision));
}

/// While the object is deleted.
pub(super) fn deleting(message: Message) -> Summary {
    Summary {
        ready: ConditionStatus::False,
        reason: Reason::Deleting.into(),
        message,
        secondary: Secondary::Reconciling(Reason::Deleting),
    }
}

fn summary(input: &Input<'_>, decision: &Decision, phase: Phase<'_>, failures: u32) -> Summary {
    match &decision.situation {
        Situation::Suspended | Situation::InSync => ready(Reason::InSync, in_sync()),
        Situation::Observing => ready(Reason::Observed, observed_message(&decision.differences)),
        Situation::Blocked(blocker) => {
            let (reason, message) = blocked(input, blocker);
            stalled(reason, message)
        }
        Situation::Failing(failure) => failing(failure, failures),
        Situation::AwaitingRegistration => progressing(
            Reason::AwaitingRegistration,
            Message::new(format!(
                "ServerProtection {} is registering Microsoft.Security in the subscription",
                input.spec.protection_ref.name
            )),
        ),
        Situation::AwaitingProtection(why) => {
            progressing(Reason::AwaitingProtection, awaiting_protection(input, why))
        }
        Situation::ClaimReserved(until) => progressing(Reason::Reserved, reserved(*until, "the connector")),
        Situation::AwaitingAccount => progressing(
            Reason::AwaitingAccount,
            Message::new(format!(
                "Another object is creating a connector for account {}; this one waits",
                super::account(input.spec)
            )),
        ),
        Situation::NeedsApproval(reductions) => {
            let message = approval_message(reductions, &decision.differences, input.approval);
            stalled(Reason::ReductionNeedsApproval, message)
        }
        Situation::Writing => writing(input, decision, phase),
        Situation::WaitingForCloud => {
            let message = waiting_message(input, decision)
                .unwrap_or_else(|| Message::new("Azure could not sign in to the account"));
            waiting_for_cloud(message)
        }
        Situation::Settling => progressing(
            Reason::Settling,
            settling_message(&decision.differences, &input.history.writes),
        ),
        Situation::Contested => stalled(Reason::Contested, paused(input, decision)),
    }
}

/// The `ServerProtection` owns nothing, and why, as far as its conditions say it.
fn awaiting_protection(input: &Input<'_>, why: &WithoutSubscription) -> Message {
    let because = match why {
        WithoutSubscription::Stalled(reason) => format!(", because it is Stalled ({reason})"),
        WithoutSubscription::Suspended => ", because it is suspended".to_owned(),
        WithoutSubscription::Undecided => String::new(),
    };
    let name = &input.spec.protection_ref.name;
    let message = Message::new(format!(
        "ServerProtection {name} does not own its subscription{because}; until it does, the connector is neither read nor written"
    ));
    match why {
        WithoutSubscription::Suspended => message.action("Set spec.suspend of the ServerProtection to false"),
        WithoutSubscription::Stalled(_) | WithoutSubscription::Undecided => {
            message.action("Read the conditions of the ServerProtection")
        }
    }
}

fn paused(input: &Input<'_>, decision: &Decision) -> Message {
    contested_message(
        &decision.differences,
        &decision.suppressed,
        &input.previous.contested,
    )
}

/// This state ends when the account is fixed, which Azure does not show, so the controller retries slowly.
fn waiting_for_cloud(message: Message) -> Summary {
    Summary {
        ready: ConditionStatus::False,
        reason: Reason::CloudAuthenticationFailed.into(),
        message: message.and("The controller retries every 5 to 15 minutes."),
        secondary: Secondary::Reconciling(Reason::WaitingForCloud),
    }
}

fn blocked(input: &Input<'_>, blocker: &Blocker) -> (Reason, Message) {
    let account = super::account(input.spec);
    match blocker {
        Blocker::ProtectionNotFound => {
            let name = &input.spec.protection_ref.name;
            let problem = format!("ServerProtection {name} does not exist in this namespace");
            let message = Message::new(problem).action("Create it, or fix protectionRef");
            (Reason::ProtectionNotFound, message)
        }
        Blocker::NotAvailable { azure } => {
            let problem = format!("{azure} has no connectors for AWS and GCP; only public Azure has them");
            let message = Message::new(problem).action("Delete this object");
            (Reason::NotAvailableInCloud, message)
        }
        Blocker::TargetChanged { current } => {
            let problem = format!(
                "protectionRef refers to another subscription now, but the connector is {current}; nothing is written"
            );
            let action = "Create another SecurityConnector, or restore the ServerProtection";
            (Reason::TargetChanged, Message::new(problem).action(action))
        }
        Blocker::ClaimConflicted { holder } => {
            let message = held_by_another(holder.as_deref(), "the connector");
            (Reason::ClaimConflicted, message)
        }
        Blocker::Account(Conflict::Elsewhere { id }) => {
            let problem = format!("Account {account} is already connected by {id}");
            let action = "Name that connector here (resourceGroup, connectorName, and the ServerProtection of its subscription), or delete it";
            (
                Reason::AccountConnectedElsewhere,
                Message::new(problem).action(action),
            )
        }
        Blocker::Account(Conflict::ManagedByOrganization { parent, id }) => {
            let problem = format!(
                "Account {account} is a member of organization {parent}, whose connector {id} manages it"
            );
            let action = "Exclude the account in the organization's connector, or delete this object";
            (
                Reason::ManagedByOrganization,
                Message::new(problem).action(action),
            )
        }
        Blocker::NameTaken {
            environment,
            account: other,
        } => {
            let problem = format!("The connector of this name connects {environment} {other}, not {account}");
            let message = Message::new(problem).action("Choose another connectorName");
            (Reason::NameTaken, message)
        }
        Blocker::LocationDiffers { location } => {
            let problem = format!("The connector is in {location}, and Azure cannot move it");
            let action = format!("Recreate this object with location {location}");
            (Reason::LocationDiffers, Message::new(problem).action(action))
        }
        Blocker::AgentlessNeedsP2 => {
            let problem = "Agentless scanning needs plan P2, but the ServerProtection has a lower plan";
            let action = "Set plan.tier to P2, or agentlessScanning.state to Disabled";
            (
                Reason::AgentlessScanningNeedsP2,
                Message::new(problem).action(action),
            )
        }
        Blocker::ResourceGroupMissing => {
            let problem = format!("Resource group {} does not exist", input.spec.resource_group);
            let message = Message::new(problem).action("Create it, or set createResourceGroup to true");
            (Reason::ResourceGroupMissing, message)
        }
    }
}

fn writing(input: &Input<'_>, decision: &Decision, phase: Phase<'_>) -> Summary {
    match phase {
        Phase::BeforeWrite => about_to_write(&all(&decision.changes)),
        Phase::AfterWrite(Outcome {
            failed: Some((_, failure)),
            ..
        }) => failed(input, failure),
        Phase::AfterWrite(outcome) if outcome.done.is_empty() => withheld(&all(&decision.changes)),
        Phase::AfterWrite(outcome) => reading_back(&all(&outcome.done)),
    }
}

fn failed(input: &Input<'_>, failure: &AzureError) -> Summary {
    match target(input).and_then(|target| cloud::message(failure, &target)) {
        Some(message) => waiting_for_cloud(message),
        None => failing_write(failure),
    }
}

fn all(changes: &[Change]) -> String {
    changes.iter().map(describe).collect::<Vec<_>>().join(", ")
}
