//! Which connector an object claims. The key of the claim and its evidence must be about the same connector: evidence
//! about another one would let an object claim what its credential cannot read.

use serverprotection_api::{ClaimStatus, ConnectorTarget, SecurityConnectorSpec, SecurityConnectorStatus};

use super::{
    desired::{Protection, Target},
    observed::Observed,
    proof,
};
use crate::{
    claims::{Evidence, Stage},
    conditions::Reason,
};

/// The connector of an object, as it is recorded and as its spec and its `ServerProtection` name it now.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    recorded: Option<&'a ConnectorTarget>,
    claim: Option<&'a ClaimStatus>,
    present: Option<Target>,
}

impl<'a> Subject<'a> {
    /// The subject of the object `name`. `protection` is `None` if the `ServerProtection` does not exist.
    pub fn of(
        name: &str,
        spec: &SecurityConnectorSpec,
        protection: Option<&Protection>,
        status: &'a SecurityConnectorStatus,
    ) -> Self {
        Self {
            recorded: status.target.as_ref(),
            claim: status.claim.as_ref(),
            present: protection.map(|protection| Target::of(name, spec, &protection.subscription)),
        }
    }

    /// The connector that this reconcile reads.
    pub const fn present(&self) -> Option<&Target> {
        self.present.as_ref()
    }

    /// The recorded target: the connector that was read before, and that a deletion is about.
    pub const fn recorded(&self) -> Option<&'a ConnectorTarget> {
        self.recorded
    }

    /// Whether the `ServerProtection` now leads to another connector than the recorded one.
    pub fn has_moved(&self) -> bool {
        let both = self.recorded.zip(self.present.as_ref());
        both.is_some_and(|(recorded, present)| !present.is(&recorded.id))
    }

    /// The key of the claim; `None` if the connector is not known yet.
    pub fn key(&self) -> Option<String> {
        let recorded = self.recorded.map(|target| target.id.to_lowercase());
        recorded.or_else(|| self.present.as_ref().map(Target::key))
    }

    /// The claim in status. It is about the recorded target and never about another connector.
    pub fn claim(&self) -> Option<ClaimStatus> {
        self.recorded.and(self.claim).cloned()
    }

    /// What an object that wants this may do: one that leads elsewhere keeps what it holds, and takes nothing (R18).
    pub fn stage(&self, wants: Stage) -> Stage {
        match wants {
            Stage::Enforces if self.has_moved() => Stage::Blocked,
            wants => wants,
        }
    }

    /// What a reconcile learned about the access to the key. `read` is about the present target. Without a
    /// `ServerProtection` that holds its subscription, an object has no access (R18).
    pub fn evidence(&self, stage: Stage, read: Option<&Observed>) -> Evidence {
        if self.has_moved() {
            return Evidence::Denied(Reason::TargetChanged.as_str().into());
        }
        match read.filter(|_| stage != Stage::Blocked) {
            Some(observed) => proof::evidence(observed),
            None => Evidence::Denied(Reason::AwaitingProtection.as_str().into()),
        }
    }
}

#[cfg(test)]
mod tests;
