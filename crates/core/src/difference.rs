//! Fields in which Azure differs from a spec.

use std::fmt;

/// The path of a managed field in the spec of one kind. Its text, and that of its values, is for users: status,
/// events, and the annotation that approves reductions. Texts are compared with texts, and never parsed.
pub trait FieldPath: Clone + Ord + fmt::Debug + fmt::Display {
    /// A value of such a field.
    type Value: Clone + PartialEq + fmt::Debug + fmt::Display;
}

/// A field in which Azure differs from the spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference<F: FieldPath> {
    /// The field.
    pub field: F,
    /// What the spec demands.
    pub desired: F::Value,
    /// The value in Azure.
    pub observed: F::Value,
}

impl<F: FieldPath> fmt::Display for Difference<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.field, self.observed, self.desired)
    }
}

impl<F: FieldPath> Difference<F> {
    /// Whether status means this field with this demand.
    pub(crate) fn is(&self, field: &str, desired: &str) -> bool {
        self.field.to_string() == field && self.desired.to_string() == desired
    }
}

#[cfg(test)]
impl FieldPath for String {
    type Value = Self;
}

/// Describes differences for users, with both values.
pub fn listed<'a, F: FieldPath + 'a>(differences: impl IntoIterator<Item = &'a Difference<F>>) -> String {
    let all: Vec<_> = differences.into_iter().map(ToString::to_string).collect();
    all.join(", ")
}
