//! Fields in which Azure differs from a spec.

use std::fmt;

/// A field in which Azure differs from the spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Path of the field in the spec.
    pub field: String,
    /// What the spec demands.
    pub desired: String,
    /// The value in Azure.
    pub observed: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.field, self.observed, self.desired)
    }
}

/// Describes differences for users, with both values.
pub fn listed<'a>(differences: impl IntoIterator<Item = &'a Difference>) -> String {
    let all: Vec<_> = differences.into_iter().map(ToString::to_string).collect();
    all.join(", ")
}

/// Describes differences for users by their fields alone.
pub(crate) fn fields(differences: &[Difference]) -> String {
    let all: Vec<_> = differences
        .iter()
        .map(|difference| difference.field.as_str())
        .collect();
    all.join(", ")
}
