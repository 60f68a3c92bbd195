//! What a reconcile decides to write, and what became of it. Both kinds have their own situations, writes and
//! responses.

use std::collections::BTreeSet;

use crate::{
    azure_error::AzureError,
    difference::{Difference, FieldPath},
};

/// One write to Azure, with the fields that it repairs.
#[derive(Clone, Debug, PartialEq)]
pub struct Change<A, F: FieldPath> {
    /// The write.
    pub action: A,
    /// The differences that the write repairs.
    pub fields: Vec<Difference<F>>,
}

/// The decision of one reconcile.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<S, A, F: FieldPath> {
    /// The situation.
    pub situation: S,
    /// Whether Azure was compared with the spec; otherwise `differences` is empty because it is unknown.
    pub compared: bool,
    /// Every managed field in which Azure differs from the spec.
    pub differences: Vec<Difference<F>>,
    /// The changes to make now, in order.
    pub changes: Vec<Change<A, F>>,
    /// The fields of the changes that are repairs: they were in sync before, or were written before.
    pub repairs: Vec<Difference<F>>,
    /// The contested fields that are suppressed now.
    pub suppressed: BTreeSet<F>,
    /// Whether a user's request ends the pause of contested fields.
    pub ends_pause: bool,
}

impl<S, A, F: FieldPath> Decision<S, A, F> {
    /// A situation in which nothing was compared and nothing is written.
    pub(crate) fn only(situation: S) -> Self {
        Self {
            situation,
            compared: false,
            differences: Vec::new(),
            changes: Vec::new(),
            repairs: Vec::new(),
            suppressed: BTreeSet::new(),
            ends_pause: false,
        }
    }

    /// The same comparison in another situation, in which nothing is written.
    pub(crate) fn without_changes(self, situation: S) -> Self {
        Self {
            compared: self.compared,
            differences: self.differences,
            ..Self::only(situation)
        }
    }
}

/// The result of the changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome<A, F: FieldPath, R> {
    /// The writes that Azure accepted.
    pub done: Vec<Change<A, F>>,
    /// The last response with a result.
    pub response: Option<R>,
    /// The write that failed; later writes were not attempted.
    pub failed: Option<(Change<A, F>, AzureError)>,
}

impl<A, F: FieldPath, R> Default for Outcome<A, F, R> {
    fn default() -> Self {
        Self {
            done: Vec::new(),
            response: None,
            failed: None,
        }
    }
}

impl<A, F: FieldPath, R> Outcome<A, F, R> {
    /// The error of the write that failed.
    pub fn failure(&self) -> Option<&AzureError> {
        self.failed.as_ref().map(|(_, failure)| failure)
    }

    /// The differences that the accepted writes repaired.
    pub(crate) fn written(&self) -> impl Iterator<Item = &Difference<F>> {
        self.done.iter().flat_map(|change| &change.fields)
    }
}

/// The phase of a reconcile for which a status is computed.
#[derive(Debug)]
pub enum Phase<'a, O> {
    /// The changes are about to be written: this status is the recorded intent (I-6). For an adoption, it shows the
    /// differences before they are repaired.
    BeforeWrite,
    /// The reconcile is complete.
    AfterWrite(&'a O),
}

// Not derived, because that would demand an outcome that is `Copy`.
impl<O> Clone for Phase<'_, O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for Phase<'_, O> {}

impl<'a, O> Phase<'a, O> {
    pub(crate) fn outcome(self) -> Option<&'a O> {
        match self {
            Self::AfterWrite(outcome) => Some(outcome),
            Self::BeforeWrite => None,
        }
    }
}
