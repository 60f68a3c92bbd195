//! Reductions (I-12): changes that lower protection, and which of them a user approved. Each kind says which of its
//! changes are reductions.

use crate::difference::{Difference, FieldPath};

/// The reductions that the annotation does not approve. The annotation contains `field=value` pairs, each valid while
/// the spec demands exactly that value, or a generation.
pub fn unapproved<'a, F: FieldPath>(
    reductions: &[&'a Difference<F>],
    annotation: Option<&str>,
    generation: i64,
) -> Vec<&'a Difference<F>> {
    if entries(annotation).any(|approval| approval.parse() == Ok(generation)) {
        return Vec::new();
    }
    reductions
        .iter()
        .filter(|reduction| !is_approved(reduction, annotation))
        .copied()
        .collect()
}

/// Whether an entry of the annotation approves this reduction.
pub(crate) fn is_approved<F: FieldPath>(reduction: &Difference<F>, annotation: Option<&str>) -> bool {
    let approval = approval_for(reduction);
    entries(annotation).any(|entry| entry == approval)
}

fn entries(annotation: Option<&str>) -> impl Iterator<Item = &str> {
    annotation.unwrap_or_default().split(',').map(str::trim)
}

/// The entry of the annotation that approves one reduction.
pub fn approval_for<F: FieldPath>(reduction: &Difference<F>) -> String {
    format!("{}={}", reduction.field, reduction.desired)
}
