//! One visit of a `ServerProtection`: the picture of design.md section 3, with its details by name.

use std::{sync::Arc, time::Duration};

use kube::{Resource, ResourceExt, runtime::controller::Action};
use serverprotection_api::ServerProtection;
use serverprotection_core::{
    claims::Claim,
    conditions::{self, is_true},
    server_protection::{
        changes::{self},
        decide::{self, Decision, Input, Outcome, Seen},
        events,
        observed::Observed,
        pace, reads,
        status::{self, Progress},
    },
};

use super::{feed::claimant_of, news};
use crate::{
    context::Context,
    guarded::Unreadable,
    metrics::ChangeLabel,
    remembered::Remembered,
    saving::{Error, Visit, approval, begin, finish, now, report_unreadable, requested, save_note},
};

pub(crate) async fn visit(object: &ServerProtection, context: &Context) -> Result<Action, Error> {
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    if let Some(told) = news::tell(object, context).await {
        return told;
    }
    let Some(Visit {
        object,
        mut remembered,
    }) = begin(object, context).await?
    else {
        return Ok(Action::requeue(Duration::from_secs(2)));
    };
    let requested = requested(&object, &remembered);
    let seen = look(&object, &remembered, requested.is_some(), context).await;
    news::enrol(&object, &seen, requested.is_some(), context);
    let scans = context.fleet.scans(&object.uid().unwrap_or_default());
    let connectors = news::connectors(&object, context);
    let before = remembered.clone();
    let input = Input {
        scans: scans.as_ref(),
        connectors: connectors.as_ref(),
        ..input(&object, &before, &seen, requested.as_deref(), context)
    };

    let interval = interval(&object, context);
    let decision = decide::decide(&input);
    let mut noted = None;
    let outcome = match context.gate.permit(object.spec.mode, object.spec.suspend) {
        Some(permit) if !decision.changes.is_empty() => {
            if decision.writes_plan() {
                let note = status::status(
                    &input,
                    &decision,
                    Progress::About,
                    before.memory.failures,
                    interval,
                );
                noted = Some(note.clone());
                if !save_note(&object, &mut remembered, note, context).await? {
                    return Ok(Action::await_change());
                }
            }
            seen.apply(&object.spec.subscription_id, &decision, &permit).await
        }
        _ => Outcome::default(),
    };

    remembered.memory = pace::remember(&input, &decision, &outcome);
    let failures = remembered.memory.failures;
    let mut after = status::status(&input, &decision, Progress::Over(&outcome), failures, interval);
    if let Some(note) = &noted {
        // The note stood while Azure was writing: what differs now has changed now, not when the visit began.
        conditions::after_note(&mut after.conditions, &note.conditions, now());
    }
    let told = events::events(&before.status, &after, &decision, &outcome, failures);
    let next = pace::next_visit(
        &input,
        &decision,
        &outcome,
        &remembered.memory,
        interval,
        fastrand::f64(),
    );
    count(&outcome, context);
    finish(&object, remembered, after, told, next, context).await
}

/// What a visit saw, with the client to act on it.
pub(crate) enum Look {
    Suspended,
    Conflicted(String),
    Azure {
        observed: Box<Observed>,
        arm: Option<Arc<serverprotection_azure::Arm>>,
    },
}

impl Look {
    fn seen(&self) -> Seen<'_> {
        match self {
            Self::Suspended => Seen::Suspended,
            Self::Conflicted(holder) => Seen::Conflicted(holder),
            Self::Azure { observed, .. } => Seen::Azure(observed),
        }
    }

    async fn apply(
        &self,
        subscription: &str,
        decision: &Decision,
        permit: &serverprotection_core::gate::WritePermit,
    ) -> Outcome {
        match self {
            Self::Azure { arm: Some(arm), .. } => arm.apply(subscription, &decision.changes, permit).await,
            _ => Outcome::default(),
        }
    }
}

async fn look(
    object: &ServerProtection,
    remembered: &Remembered<ServerProtection>,
    requested: bool,
    context: &Context,
) -> Look {
    if let Some(Claim::Conflicted { holder }) = claim(object, remembered, context) {
        return if object.spec.suspend {
            Look::Suspended
        } else {
            Look::Conflicted(holder)
        };
    }
    if object.spec.suspend {
        return Look::Suspended;
    }
    let namespace = object.namespace().unwrap_or_default();
    let reference = object
        .spec
        .credential_ref
        .as_ref()
        .map(|reference| &reference.name);
    let doubtful = !is_true(&remembered.status.conditions, "CredentialReady");
    match context
        .credentials
        .arm_for(&namespace, reference.map(String::as_str), doubtful)
        .await
    {
        Err(failure) => Look::Azure {
            observed: Box::new(Observed::without_credential(failure)),
            arm: None,
        },
        Ok(arm) => {
            let generation = object.meta().generation.unwrap_or_default();
            let reads = reads::reads(
                &object.spec,
                generation,
                &remembered.status,
                &remembered.memory,
                requested,
            );
            let observed = arm.observe(&object.spec.subscription_id, &reads).await;
            Look::Azure {
                observed: Box::new(observed),
                arm: Some(arm),
            }
        }
    }
}

fn claim(
    object: &ServerProtection,
    remembered: &Remembered<ServerProtection>,
    context: &Context,
) -> Option<Claim> {
    let held = remembered
        .status
        .claim
        .as_ref()
        .is_some_and(|claim| claim.state == "Held");
    let claimant = claimant_of(object.meta(), object.spec.subscription_id.clone(), held)?;
    Some(context.claims.index().claim(&claimant))
}

fn input<'a>(
    object: &'a ServerProtection,
    before: &'a Remembered<ServerProtection>,
    look: &'a Look,
    requested: Option<&'a str>,
    context: &'a Context,
) -> Input<'a> {
    Input {
        spec: &object.spec,
        generation: object.meta().generation.unwrap_or_default(),
        approval: approval(object),
        requested,
        previous: &before.status,
        seen: look.seen(),
        scans: None,
        connectors: None,
        memory: &before.memory,
        clocks: &context.clocks,
        now: now(),
    }
}

fn interval(object: &ServerProtection, context: &Context) -> Duration {
    context
        .visit_every
        .unwrap_or_else(|| super::feed::interval(&object.spec))
}

fn count(outcome: &Outcome, context: &Context) {
    for change in &outcome.done {
        let change = match change.action {
            changes::Action::Register => "register",
            changes::Action::PutPlan(_) => "plan",
            changes::Action::PutSetting { .. } => "setting",
            changes::Action::PutAssessment | changes::Action::DeleteAssessment => "assessment",
        };
        context
            .metrics
            .changes
            .get_or_create(&ChangeLabel { change })
            .inc();
    }
}

/// An object of a newer version: its machines are not looked at, and it is told.
pub(crate) async fn unreadable(object: &Unreadable, context: &Context) -> Result<Action, Error> {
    if object.metadata.deletion_timestamp.is_none() {
        context
            .fleet
            .leave(&object.metadata.uid.clone().unwrap_or_default());
        report_unreadable::<ServerProtection>(object, context).await?;
    }
    Ok(Action::await_change())
}
