//! Writes that Azure accepted but does not show yet: the same values are written again only after a pause.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::jiff::SignedDuration;

use crate::{
    Timestamp,
    azure_error::ErrorClass,
    change::{Change, Outcome},
    difference::{Difference, FieldPath},
    retry,
};

/// What a process wrote since Azure was last in sync.
#[derive(Clone, Debug, PartialEq)]
pub struct Writes<F: FieldPath> {
    /// The fields, with the demanded values.
    fields: BTreeMap<F, F::Value>,
    /// Rounds of writes.
    rounds: u32,
    /// The last write.
    last: Option<Timestamp>,
}

impl<F: FieldPath> Default for Writes<F> {
    fn default() -> Self {
        Self {
            fields: BTreeMap::new(),
            rounds: 0,
            last: None,
        }
    }
}

impl<F: FieldPath> Writes<F> {
    /// Whether every value that a change would write was just written without a visible effect.
    pub(crate) fn is_settling<A>(&self, change: &Change<A, F>, now: Timestamp) -> bool {
        let again = !change.fields.is_empty() && change.fields.iter().all(|field| self.has(field));
        let waited = self.last.map_or(SignedDuration::MAX, |at| now.duration_since(at));
        again && SignedDuration::try_from(self.pause()).is_ok_and(|pause| waited < pause)
    }

    /// Whether this value of this field was written.
    pub(crate) fn has(&self, difference: &Difference<F>) -> bool {
        self.fields.get(&difference.field) == Some(&difference.desired)
    }

    /// The pause before the same values are written again.
    pub(crate) fn pause(&self) -> Duration {
        retry::after(&ErrorClass::Conflict, self.rounds, Duration::ZERO, 0.5)
    }

    /// Adds the writes of a reconcile, if there were any.
    pub(crate) fn add<A, R>(&mut self, outcome: &Outcome<A, F, R>, now: Timestamp) {
        if outcome.done.is_empty() {
            return;
        }
        self.rounds = self.rounds.saturating_add(1);
        self.last = Some(now);
        let written = outcome.written();
        self.fields
            .extend(written.map(|found| (found.field.clone(), found.desired.clone())));
    }

    /// Azure shows what was written, or another writer changed it.
    pub(crate) fn clear(&mut self) {
        self.fields.clear();
        self.rounds = 0;
    }
}
