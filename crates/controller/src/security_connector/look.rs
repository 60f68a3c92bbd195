//! What a visit of a connector sees: who owns it, and what stands in Azure.

use std::sync::Arc;

use kube::{Resource, ResourceExt};
use serverprotection_api::{SecurityConnector, SecurityConnectorStatus};
use serverprotection_azure::Arm;
use serverprotection_core::{
    claims::{Claim, Claimant},
    conditions::is_true,
    failure::Failure,
    gate::WritePermit,
    security_connector::{
        account,
        decide::{Decision, Outcome, Seen},
        desired::Target,
        observed::Observed,
        reads,
    },
};

use super::visit::interval;
use crate::{context::Context, remembered::Remembered, roster::Known, server_protection::claimant_of};

/// What a visit saw, with the client to act on it.
pub(super) enum Look {
    Suspended,
    NotAvailable(&'static str),
    Conflicted(String),
    Azure {
        observed: Box<Observed>,
        arm: Option<Arc<Arm>>,
    },
}

impl Look {
    pub(super) fn seen(&self) -> Seen<'_> {
        match self {
            Self::Suspended => Seen::Suspended,
            Self::NotAvailable(azure) => Seen::NotAvailable(azure),
            Self::Conflicted(holder) => Seen::Conflicted(holder),
            Self::Azure { observed, .. } => Seen::Azure(observed),
        }
    }

    pub(super) async fn apply(&self, target: &Target, decision: &Decision, permit: &WritePermit) -> Outcome {
        match self {
            Self::Azure { arm: Some(arm), .. } => {
                arm.apply_connector(target, &decision.changes, permit).await
            }
            _ => Outcome::default(),
        }
    }

    fn without_arm(observed: Observed) -> Self {
        Self::Azure {
            observed: Box::new(observed),
            arm: None,
        }
    }
}

pub(super) async fn look(
    object: &SecurityConnector,
    remembered: &Remembered<SecurityConnector>,
    known: Option<&Known>,
    requested: bool,
    context: &Context,
) -> Look {
    let target =
        known.map(|known| Target::of(&object.name_any(), &object.spec, &known.protection.subscription));
    let claim = target
        .as_ref()
        .map(|target| claim(object, &remembered.status, target, context));
    if object.spec.suspend {
        return Look::Suspended;
    }
    if let Some(azure) = context.without_connectors {
        return Look::NotAvailable(azure);
    }
    if let Some(Claim::Conflicted { holder }) = claim {
        return Look::Conflicted(holder);
    }
    let (Some(known), Some(target)) = (known, target) else {
        return Look::without_arm(Observed::nothing());
    };
    let credential = known.protection.credential.as_ref();
    let doubtful = !is_true(&remembered.status.conditions, "CredentialReady");
    let name = credential.map(|credential| credential.name.as_str());
    match arm(object, name, doubtful, context).await {
        Err(failure) => Look::without_arm(Observed::without_credential(failure)),
        Ok(arm) => {
            let reads = reads::reads(
                &object.spec,
                object.meta().generation.unwrap_or_default(),
                &remembered.status,
                &remembered.memory,
                requested,
                interval(Some(known), context),
            );
            Look::Azure {
                observed: Box::new(Box::pin(arm.observe_connector(&target, &reads)).await),
                arm: Some(arm),
            }
        }
    }
}

/// The client for the object's namespace and this credential.
pub(super) async fn arm(
    object: &SecurityConnector,
    credential: Option<&str>,
    doubtful: bool,
    context: &Context,
) -> Result<Arc<Arm>, Failure> {
    let namespace = object.namespace().unwrap_or_default();
    context
        .credentials
        .arm_for(&namespace, credential, doubtful)
        .await
}

/// It must own both its connector and the account.
fn claim(
    object: &SecurityConnector,
    status: &SecurityConnectorStatus,
    target: &Target,
    context: &Context,
) -> Claim {
    let held = status.claim.as_ref().is_some_and(|claim| claim.state == "Held");
    let keys = account::claims(target).into_iter();
    let claimants: Vec<Claimant> = keys
        .filter_map(|key| claimant_of(object.meta(), key, held))
        .collect();
    context.connector_claims.index().claim_all(&claimants)
}
