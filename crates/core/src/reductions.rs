//! Reductions (I-12): changes that lower protection, and which of them a user approved. Each kind says which of its
//! changes are reductions.

use serverprotection_api::Tier;

use crate::{
    difference::Difference,
    switch::{DISABLED, ENABLED},
    tier::protection,
};

/// Whether a repair would lower the tier, or switch something off.
pub(crate) fn lowers(difference: &Difference) -> bool {
    if difference.field == "plan.tier" {
        let rank = |name: &str| match name {
            "P1" => protection(Tier::P1),
            "P2" => protection(Tier::P2),
            _ => protection(Tier::Free),
        };
        return rank(&difference.desired) < rank(&difference.observed);
    }
    difference.desired == DISABLED && difference.observed == ENABLED
}

/// The reductions that the annotation does not approve. The annotation contains `field=value` pairs, each valid while
/// the spec demands exactly that value, or a generation.
pub fn unapproved<'a>(
    reductions: &[&'a Difference],
    annotation: Option<&str>,
    generation: i64,
) -> Vec<&'a Difference> {
    let approvals: Vec<_> = annotation.unwrap_or_default().split(',').map(str::trim).collect();
    if approvals
        .iter()
        .any(|approval| approval.parse() == Ok(generation))
    {
        return Vec::new();
    }
    reductions
        .iter()
        .filter(|reduction| {
            !approvals
                .iter()
                .any(|approval| *approval == approval_for(reduction))
        })
        .copied()
        .collect()
}

/// The entry of the annotation that approves one reduction.
pub fn approval_for(reduction: &Difference) -> String {
    format!("{}={}", reduction.field, reduction.desired)
}
