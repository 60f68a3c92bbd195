//! What a reconcile of a connector observes: its owner, and its state in Azure.

use std::sync::Arc;

use kube::{Resource, ResourceExt};
use serverprotection_api::{SecurityConnector, SecurityConnectorStatus};
use serverprotection_azure::Client;
use serverprotection_core::{
    claims::{Claim, Claimant, HELD},
    conditions::{ConditionType, is_true},
    gate::WritePermit,
    security_connector::{
        account,
        decide::{Decision, Observation, Outcome},
        desired::Target,
        observed::Observed,
        reads,
    },
};

use super::links::{client, interval};
use crate::{
    connector_index::ProtectionEntry, context::Context, server_protection::claimant_of, state::ObjectState,
};

/// The observation of a reconcile, with the client for its writes.
pub(super) enum LiveObservation {
    Suspended,
    NotAvailable(&'static str),
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
            Self::NotAvailable(azure) => Observation::NotAvailable(azure),
            Self::Conflicted(holder) => Observation::Conflicted(holder),
            Self::Azure { observed, .. } => Observation::Azure(observed),
        }
    }

    pub(super) async fn apply(&self, target: &Target, decision: &Decision, permit: &WritePermit) -> Outcome {
        match self {
            Self::Azure {
                client: Some(client), ..
            } => client.apply_connector(target, &decision.changes, permit).await,
            _ => Outcome::default(),
        }
    }

    fn without_client(observed: Observed) -> Self {
        Self::Azure {
            observed: Box::new(observed),
            client: None,
        }
    }
}

pub(super) async fn observe(
    object: &SecurityConnector,
    state: &ObjectState<SecurityConnector>,
    known: Option<&ProtectionEntry>,
    requested: bool,
    context: &Context,
) -> LiveObservation {
    let target =
        known.map(|known| Target::of(&object.name_any(), &object.spec, &known.protection.subscription));
    let claim = target
        .as_ref()
        .map(|target| claim(object, &state.status, target, context));
    if object.spec.suspend {
        return LiveObservation::Suspended;
    }
    if let Some(azure) = context.settings.without_connectors {
        return LiveObservation::NotAvailable(azure);
    }
    if let Some(Claim::Conflicted { holder }) = claim {
        return LiveObservation::Conflicted(holder);
    }
    let (Some(known), Some(target)) = (known, target) else {
        return LiveObservation::without_client(Observed::nothing());
    };
    let credential = known.protection.credential.as_ref();
    let force_refresh = !is_true(&state.status.conditions, ConditionType::CredentialReady);
    let name = credential.map(|credential| credential.name.as_str());
    match client(object, name, force_refresh, context).await {
        Err(failure) => LiveObservation::without_client(Observed::without_credential(failure)),
        Ok(client) => {
            let reads = reads::reads(
                &object.spec,
                object.meta().generation.unwrap_or_default(),
                &state.status,
                &state.history,
                requested,
                interval(Some(known), context),
            );
            LiveObservation::Azure {
                observed: Box::new(Box::pin(client.observe_connector(&target, &reads)).await),
                client: Some(client),
            }
        }
    }
}

/// The object must own both its connector and the account.
fn claim(
    object: &SecurityConnector,
    status: &SecurityConnectorStatus,
    target: &Target,
    context: &Context,
) -> Claim {
    let held = status.claim.as_ref().is_some_and(|claim| claim.state == HELD);
    let keys = account::claims(target).into_iter();
    let claimants: Vec<Claimant> = keys
        .filter_map(|key| claimant_of(object.meta(), key, held))
        .collect();
    context.connectors.claims.index().claim_all(&claimants)
}
