//! Parts of a spec that Azure refuses as invalid. They are left out until the rest is written, so that one of them does
//! not keep the rest from being applied; then they are tried again.

use std::collections::BTreeSet;

use super::{
    changes::{Action, Difference},
    decide::Outcome,
    field::{ExtensionName, ProtectionField},
};
use crate::azure_error::{AzureError, ErrorClass};

/// What Azure refused of the current spec. Losing it costs a refused write.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Refused {
    /// The fields that are left out of other writes.
    fields: BTreeSet<ProtectionField>,
    /// The extensions that were refused in a write that changed nothing else.
    alone: BTreeSet<ExtensionName>,
    /// The last refusal, for status while something else is not finished.
    last: Option<AzureError>,
}

impl Refused {
    /// What to leave out of the writes, in the order of the attempts: everything that was refused; everything but one
    /// extension that was not refused by itself; and at last nothing.
    pub(super) fn attempts(&self, differences: &[Difference]) -> Vec<BTreeSet<ProtectionField>> {
        let mut attempts = Vec::new();
        if !self.fields.is_empty() {
            attempts.push(self.fields.clone());
        }
        let found = self.extensions(differences);
        if found.len() > 1 {
            attempts.extend(found.difference(&self.alone).map(|chosen| {
                let mut others = self.fields.clone();
                others.retain(|field| field.extension() != Some(chosen));
                others
            }));
        }
        attempts.push(BTreeSet::new());
        attempts
    }

    /// The refused extensions that still differ.
    fn extensions(&self, differences: &[Difference]) -> BTreeSet<ExtensionName> {
        let differing = differences.iter().map(|difference| &difference.field);
        let refused = differing.filter(|field| self.fields.contains(field));
        refused.filter_map(ProtectionField::extension).cloned().collect()
    }

    /// The last refusal, while a refused field still differs.
    pub(super) fn refusal(&self, differences: &[Difference]) -> Option<&AzureError> {
        let refused = |difference: &Difference| self.fields.contains(&difference.field);
        self.last.as_ref().filter(|_| differences.iter().any(refused))
    }

    /// The same after the writes of a reconcile, and whether another attempt may succeed at once.
    pub(super) fn after(&self, outcome: &Outcome, differences: &[Difference]) -> (Self, bool) {
        let Some((change, failure)) = outcome
            .failed
            .as_ref()
            .filter(|(_, failure)| is_about_a_part(failure))
        else {
            return (self.clone(), false);
        };
        let mut refused = self.clone();
        let fields = || change.fields.iter().map(|difference| &difference.field);
        let extensions: BTreeSet<_> = fields().filter_map(ProtectionField::extension).collect();
        let only_extensions = fields().all(|field| field.extension().is_some());
        if let (Action::PutPlan(_), false) = (&change.action, extensions.is_empty()) {
            if let (true, Some(single), 1) = (only_extensions, extensions.first(), extensions.len()) {
                refused.alone.insert((*single).clone());
            }
            let of_extensions = fields().filter(|field| field.extension().is_some());
            refused.fields.extend(of_extensions.cloned());
        } else {
            refused.fields.extend(fields().cloned());
        }
        let others = differences
            .iter()
            .any(|found| !refused.fields.contains(&found.field));
        let more = others || refused.extensions(differences).len() > 1;
        // Before the refusal is stored: each one has another request id.
        let again = more && refused != *self;
        refused.last = Some(failure.clone());
        (refused, again)
    }
}

/// Whether Azure refused the contents of a write. A lock and a disabled subscription refuse every other write too.
fn is_about_a_part(failure: &AzureError) -> bool {
    failure.class == ErrorClass::Refused
        && !failure.effect_unknown
        && !["ScopeLocked", "ReadOnlyDisabledSubscription"].contains(&failure.code.as_str())
}
