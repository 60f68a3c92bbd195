//! What a reconcile of a `ServerProtection` observes: its owner, and its state in Azure.

use std::sync::Arc;

use kube::{Resource, ResourceExt};
use serverprotection_api::ServerProtection;
use serverprotection_azure::Client;
use serverprotection_core::{
    claims::{Claim, HELD},
    conditions::{ConditionType, is_true},
    gate::WritePermit,
    server_protection::{
        decide::{Decision, Observation, Outcome},
        observed::Observed,
        reads,
    },
};

use super::watch_events::claimant_of;
use crate::{context::Context, state::ObjectState};

/// The observation of a reconcile, with the client for its writes.
pub(super) enum LiveObservation {
    Suspended,
    Conflicted(String),
    Azure {
        observed: Box<Observed>,
        client: Option<Arc<Client>>,
    },
}

impl LiveObservation {
    pub(super) fn observation(&self) -> Observation<'_> {
        match self {
            Self::Suspended => Observation::Suspended,
            Self::Conflicted(holder) => Observation::Conflicted(holder),
            Self::Azure { observed, .. } => Observation::Azure(observed),
        }
    }

    pub(super) async fn apply(
        &self,
        subscription: &str,
        decision: &Decision,
        permit: &WritePermit,
    ) -> Outcome {
        match self {
            Self::Azure {
                client: Some(client), ..
            } => client.apply(subscription, &decision.changes, permit).await,
            _ => Outcome::default(),
        }
    }
}

/// Reads Azure, if the object owns its subscription and is not suspended.
pub(super) async fn observe(
    object: &ServerProtection,
    state: &ObjectState<ServerProtection>,
    requested: bool,
    context: &Context,
) -> LiveObservation {
    if let Some(Claim::Conflicted { holder }) = claim(object, state, context) {
        return if object.spec.suspend {
            LiveObservation::Suspended
        } else {
            LiveObservation::Conflicted(holder)
        };
    }
    if object.spec.suspend {
        return LiveObservation::Suspended;
    }
    let namespace = object.namespace().unwrap_or_default();
    let reference = object
        .spec
        .credential_ref
        .as_ref()
        .map(|reference| &reference.name);
    let force_refresh = !is_true(&state.status.conditions, ConditionType::CredentialReady);
    match context
        .credentials
        .client_for(&namespace, reference.map(String::as_str), force_refresh)
        .await
    {
        Err(failure) => LiveObservation::Azure {
            observed: Box::new(Observed::without_credential(failure)),
            client: None,
        },
        Ok(client) => {
            let generation = object.meta().generation.unwrap_or_default();
            let reads = reads::reads(&object.spec, generation, &state.status, &state.history, requested);
            let observed = client.observe(&object.spec.subscription_id, &reads).await;
            LiveObservation::Azure {
                observed: Box::new(observed),
                client: Some(client),
            }
        }
    }
}

fn claim(
    object: &ServerProtection,
    state: &ObjectState<ServerProtection>,
    context: &Context,
) -> Option<Claim> {
    let held = state
        .status
        .claim
        .as_ref()
        .is_some_and(|claim| claim.state == HELD);
    let claimant = claimant_of(object.meta(), object.spec.subscription_id.clone(), held)?;
    Some(context.protections.claims.index().claim(&claimant))
}
