//! What the writes of a reconcile leave as it is.

use std::collections::BTreeSet;

use super::field::{ExtensionName, ProtectionField};

/// The fields that no write changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Untouched {
    fields: BTreeSet<ProtectionField>,
    /// The extensions that Azure refused: it may not know their names.
    refused: BTreeSet<ExtensionName>,
}

impl Untouched {
    /// Leaves fields as they are.
    pub fn fields(fields: impl IntoIterator<Item = ProtectionField>) -> Self {
        Self {
            fields: fields.into_iter().collect(),
            refused: BTreeSet::new(),
        }
    }

    /// The same without fields that Azure refused.
    #[must_use]
    pub fn and_refused(mut self, fields: &BTreeSet<ProtectionField>) -> Self {
        self.fields.extend(fields.iter().cloned());
        self.refused
            .extend(fields.iter().filter_map(ProtectionField::extension).cloned());
        self
    }

    /// Whether no write changes the field.
    pub fn contains(&self, field: &ProtectionField) -> bool {
        self.fields.contains(field)
    }

    /// Whether Azure may not know the name of an extension that it does not show.
    pub fn may_be_unknown(&self, extension: &ExtensionName) -> bool {
        matches!(extension, ExtensionName::Other(_)) && self.refused.contains(extension)
    }
}
