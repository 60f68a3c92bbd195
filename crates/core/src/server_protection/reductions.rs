//! Reductions (I-12): the changes that lower protection.

use crate::{difference::Difference, reductions::lowers};

/// The differences whose repair would lower protection: a lower tier, or the integration, the assessment or an
/// extension switched off.
pub fn of(differences: &[Difference]) -> Vec<&Difference> {
    differences
        .iter()
        .filter(|difference| lowers(difference))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reductions::unapproved;

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
