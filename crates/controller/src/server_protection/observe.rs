//! What a reconcile of a `ServerProtection` observes: its owner, and its state in Azure.

use std::sync::Arc;

use kube::{Resource, ResourceExt};
use serverprotection_api::ServerProtection;
use serverprotection_azure::Client;
use serverprotection_core::{
    claims::{Evidence, Rights},
    conditions::{ConditionType, is_true},
    gate::WritePermit,
    server_protection::{
        decide::{Decision, Observation, Outcome},
        observed::Observed,
        proof, reads,
    },
};

use crate::{azure_credential, context::Context, credential_use::CredentialUse, state::ObjectState};

/// The observation of a reconcile, with the client for its writes.
pub(super) enum LiveObservation {
    Suspended,
    Azure {
        observed: Box<Observed>,
        client: Option<Arc<Client>>,
        usage: CredentialUse,
    },
}

impl LiveObservation {
    pub(super) fn observation(&self) -> Observation<'_> {
        match self {
            Self::Suspended => Observation::Suspended,
            Self::Azure { observed, .. } => Observation::Azure(observed),
        }
    }

    /// What was learned about the access of the object.
    pub(super) fn evidence(&self) -> Option<Evidence> {
        match self {
            Self::Suspended => None,
            Self::Azure { observed, .. } => Some(proof::evidence(observed)),
        }
    }

    pub(super) async fn apply(
        &self,
        subscription: &str,
        decision: &Decision,
        permit: &WritePermit,
        context: &Context,
    ) -> Outcome {
        let (
            Self::Azure {
                client: Some(client),
                usage,
                ..
            },
            Some(first),
        ) = (self, decision.changes.first())
        else {
            return Outcome::default();
        };
        // A grant may have been withdrawn since the read.
        if let Err(failure) = context.credentials.still_granted(usage) {
            return Outcome {
                failed: Some((first.clone(), failure)),
                ..Outcome::default()
            };
        }
        client.apply(subscription, &decision.changes, permit).await
    }
}

/// Reads Azure, unless the object is suspended.
pub(super) async fn observe(
    object: &ServerProtection,
    state: &ObjectState<ServerProtection>,
    requested: bool,
    context: &Context,
) -> LiveObservation {
    if object.spec.suspend {
        return LiveObservation::Suspended;
    }
    let namespace = object.namespace().unwrap_or_default();
    let usage = CredentialUse::of_protection(&namespace, &object.spec);
    let force_refresh = !is_true(&state.status.conditions, ConditionType::CredentialReady);
    let client = context.credentials.client_for(&usage, force_refresh).await;
    let (observed, client) = match client {
        Err(failure) => (Observed::without_credential(failure), None),
        Ok(client) => {
            let generation = object.meta().generation.unwrap_or_default();
            let reads = reads::reads(&object.spec, generation, &state.status, &state.history, requested);
            let observed = client.observe(&object.spec.subscription_id, &reads).await;
            (observed, Some(client))
        }
    };
    azure_credential::used(context, usage.key(), &observed.credential);
    LiveObservation::Azure {
        observed: Box::new(observed),
        client,
        usage,
    }
}

/// R10: asks a suspended object for its proof with one read.
pub(super) async fn prove(object: &ServerProtection, context: &Context) -> Evidence {
    let namespace = object.namespace().unwrap_or_default();
    prove_with(&CredentialUse::of_protection(&namespace, &object.spec), context).await
}

/// The same for an object of which only this is known.
pub(super) async fn prove_with(usage: &CredentialUse, context: &Context) -> Evidence {
    match context.credentials.client_for(usage, true).await {
        Err(failure) => Evidence::of_failure(&failure),
        Ok(client) => match client.read_plan(&usage.subscription).await {
            Ok(()) => Evidence::Read(Rights::NotRead),
            Err(failure) => Evidence::of_failure(&failure),
        },
    }
}
