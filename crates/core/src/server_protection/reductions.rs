//! Reductions (I-12): the changes that lower protection, and which of them are approved.

use super::{azure_rules, changes::Difference};
use serverprotection_api::Tier;

/// The differences whose repair would lower protection: a lower tier, or the integration, the assessment or an
/// extension switched off.
pub fn of(differences: &[Difference]) -> Vec<&Difference> {
    differences
        .iter()
        .filter(|difference| lowers(difference))
        .collect()
}

pub(crate) fn lowers(difference: &Difference) -> bool {
    if difference.field == "plan.tier" {
        let rank = |name: &str| match name {
            "P1" => azure_rules::protection(Tier::P1),
            "P2" => azure_rules::protection(Tier::P2),
            _ => azure_rules::protection(Tier::Free),
        };
        return rank(&difference.desired) < rank(&difference.observed);
    }
    difference.desired == "Disabled" && difference.observed == "Enabled"
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

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(field: &str, desired: &str, observed: &str) -> Difference {
        Difference {
            field: field.into(),
            desired: desired.into(),
            observed: observed.into(),
        }
    }

    #[test]
    fn only_lower_protection_is_a_reduction() {
        let down = difference("plan.tier", "P1", "P2");
        let up = difference("plan.tier", "P2", "P1");
        let off = difference("endpointIntegration.state", "Disabled", "Enabled");
        let on = difference("endpointIntegration.state", "Enabled", "Disabled");
        let all = [down.clone(), up, off.clone(), on];
        assert_eq!(of(&all), [&down, &off]);
    }

    #[test]
    fn an_approval_names_exactly_what_the_spec_demands() {
        let down = difference("plan.tier", "P1", "P2");
        let off = difference("endpointIntegration.state", "Disabled", "Enabled");
        let both = [&down, &off];
        assert_eq!(unapproved(&both, None, 3), both);
        assert_eq!(unapproved(&both, Some("plan.tier=P1"), 3), [&off]);
        assert_eq!(
            unapproved(
                &both,
                Some("plan.tier=Free, endpointIntegration.state=Disabled"),
                3
            ),
            [&down]
        );
        assert!(unapproved(&both, Some("plan.tier=P1, endpointIntegration.state=Disabled"), 3).is_empty());
        assert!(unapproved(&both, Some("3"), 3).is_empty());
        assert_eq!(unapproved(&both, Some("2"), 3), both);
    }
}
