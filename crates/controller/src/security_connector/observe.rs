//! What a reconcile of a connector observes: its owner, and its state in Azure.

use std::sync::Arc;

use kube::{Resource, ResourceExt};
use serverprotection_api::{ConnectorTarget, Mode, SecurityConnector};
use serverprotection_azure::Client;
use serverprotection_core::{
    claims::{Evidence, Rights, Stage},
    conditions::{ConditionType, is_true},
    gate::WritePermit,
    security_connector::{
        decide::{Decision, Observation, Outcome, WithoutSubscription},
        desired::Target,
        observed::Observed,
        reads,
        subject::Subject,
    },
};

use super::links::interval;
use crate::{
    azure_credential, claims,
    clock::now,
    connector_index::{Holding, ProtectionEntry},
    context::Context,
    credential_use::CredentialUse,
    state::ObjectState,
};

/// The observation of a reconcile, with the client for its writes.
pub(super) enum LiveObservation {
    Suspended,
    NotAvailable(&'static str),
    AwaitingProtection(WithoutSubscription),
    Azure {
        observed: Box<Observed>,
        client: Option<Arc<Client>>,
        usage: Option<CredentialUse>,
    },
}

impl LiveObservation {
    pub(super) fn observation(&self) -> Observation<'_> {
        match self {
            Self::Suspended => Observation::Suspended,
            Self::NotAvailable(azure) => Observation::NotAvailable(azure),
            Self::AwaitingProtection(why) => Observation::AwaitingProtection(why),
            Self::Azure { observed, .. } => Observation::Azure(observed),
        }
    }

    /// What was learned about the access of the object; `None` if nothing was tried.
    pub(super) fn evidence(&self, subject: &Subject<'_>, stage: Stage) -> Option<Evidence> {
        match self {
            Self::Suspended | Self::NotAvailable(_) => None,
            Self::AwaitingProtection(_) => Some(subject.evidence(stage, None)),
            Self::Azure { observed, .. } => Some(subject.evidence(stage, Some(observed))),
        }
    }

    /// Whether there is no connector, so that one may have to be created.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Azure { observed, .. } if matches!(observed.connector, Some(Ok(None))))
    }

    pub(super) async fn apply(
        &self,
        target: &Target,
        decision: &Decision,
        permit: &WritePermit,
        context: &Context,
    ) -> Outcome {
        let (
            Self::Azure {
                client: Some(client),
                usage: Some(usage),
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
        client.apply_connector(target, &decision.changes, permit).await
    }

    fn without_client(observed: Observed) -> Self {
        Self::Azure {
            observed: Box::new(observed),
            client: None,
            usage: None,
        }
    }
}

pub(super) async fn observe(
    object: &SecurityConnector,
    state: &ObjectState<SecurityConnector>,
    known: Option<&ProtectionEntry>,
    subject: &Subject<'_>,
    requested: bool,
    context: &Context,
) -> LiveObservation {
    if object.spec.suspend {
        return LiveObservation::Suspended;
    }
    if let Some(azure) = context.settings.without_connectors {
        return LiveObservation::NotAvailable(azure);
    }
    let (Some(known), Some(target)) = (known, subject.present()) else {
        return LiveObservation::without_client(Observed::nothing());
    };
    if known.protection.mode == Mode::Enforce
        && let Some(why) = known.holding.missing()
    {
        return LiveObservation::AwaitingProtection(why);
    }
    let credential = known.protection.credential.as_ref();
    let force_refresh = !is_true(&state.status.conditions, ConditionType::CredentialReady);
    let namespace = object.namespace().unwrap_or_default();
    let usage = CredentialUse::of_connector(&namespace, credential, &target.subscription, &object.spec);
    let (observed, client) = match context.credentials.client_for(&usage, force_refresh).await {
        Err(failure) => (Observed::without_credential(failure), None),
        Ok(client) => {
            let reads = reads::reads(
                &object.spec,
                object.meta().generation.unwrap_or_default(),
                &state.status,
                &state.history,
                requested,
                interval(Some(known), context),
            );
            let observed = Box::pin(client.observe_connector(target, &reads)).await;
            (observed, Some(client))
        }
    };
    azure_credential::used(context, usage.key(), &observed.credential);
    LiveObservation::Azure {
        observed: Box::new(observed),
        client,
        usage: Some(usage),
    }
}

/// What the object wants, with what its `ServerProtection` says. Makes it a candidate for its connector, whose id may
/// not have been known before.
pub(super) fn stage(
    object: &SecurityConnector,
    known: Option<&ProtectionEntry>,
    subject: &Subject<'_>,
    context: &Context,
) -> Stage {
    let own = super::watch_events::stage(object);
    let wants = match (own, known) {
        (Stage::Enforces | Stage::Suspended, Some(known)) if known.protection.mode == Mode::Observe => {
            Stage::Observes
        }
        (Stage::Enforces, Some(known)) if known.holding == Holding::Holds => Stage::Enforces,
        (Stage::Enforces, _) => Stage::Blocked,
        (own, _) => own,
    };
    let wants = subject.stage(wants);
    let key = subject.key();
    if let Some(seen) = key.and_then(|key| claims::seen(object.meta(), key, wants, subject.claim())) {
        let freed = context.connectors.claims.index().observe(seen, now());
        for names in freed {
            context
                .connectors
                .trigger
                .reconcile(&names.namespace, &names.name);
        }
    }
    wants
}

/// R10: asks a suspended object for its proof with one read of the recorded target.
pub(super) async fn prove(
    object: &SecurityConnector,
    target: &ConnectorTarget,
    context: &Context,
) -> Evidence {
    let namespace = object.namespace().unwrap_or_default();
    let usage = CredentialUse::of_target(&namespace, target.credential.as_ref(), &target.id);
    prove_with(&usage, &target.id, context).await
}

/// The same for an object of which only this is known.
pub(super) async fn prove_with(usage: &CredentialUse, id: &str, context: &Context) -> Evidence {
    match context.credentials.client_for(usage, true).await {
        Err(failure) => Evidence::of_failure(&failure),
        Ok(client) => match client.read_connector(id).await {
            Ok(_) => Evidence::Read(Rights::NotRead),
            Err(failure) => Evidence::of_failure(&failure),
        },
    }
}
