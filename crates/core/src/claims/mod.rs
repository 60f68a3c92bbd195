//! Which object may write to a subscription or a connector (I-3). An object must prove that it may write before it
//! holds anything, so that nobody without access can block, displace or unprotect anybody (docs/claims.md).
//!
//! `rules` decides for one object among the candidates of its key; it is pure. `index` keeps the candidates of all keys.
//! `record` turns a verdict into `status.claim` and the condition `Claimed`.

mod candidate;
mod evidence;
mod index;
mod record;
mod rules;

#[cfg(test)]
mod model;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub(crate) use self::record::{
    Established, claim_status, held_by_another, not_proven, reserved, set_claimed, until,
};
pub use self::{
    candidate::{Candidate, Names, Stage, State},
    evidence::{Evidence, Proof, Rights},
    index::{Acknowledged, ClaimIndex, OwnerChange, Seen},
    record::{Claim, belongs_to, claim_after_deletion_began, events},
    rules::{DecisionContext, Ownership, Rules, Verdict, verdict},
};
