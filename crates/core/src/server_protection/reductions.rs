//! Reductions (I-12): the changes that lower protection.

use serverprotection_api::Tier;

use super::{
    azure_rules,
    changes::Difference,
    field::{ExtensionName, ProtectionValue},
    observed::Plan,
};
use crate::tier::{protection, tier_name};

/// The differences whose repair would lower protection: a lower tier, or the integration, the assessment or an
/// extension switched off.
pub fn of(differences: &[Difference]) -> Vec<&Difference> {
    differences
        .iter()
        .filter(|difference| lowers(difference))
        .collect()
}

fn lowers(difference: &Difference) -> bool {
    match (&difference.observed, &difference.desired) {
        (ProtectionValue::Tier(from), ProtectionValue::Tier(to)) => protection(*to) < protection(*from),
        (ProtectionValue::Switch(true), ProtectionValue::Switch(false)) => true,
        _ => false,
    }
}

/// What is on in Azure and ends with the change to another tier, although the spec may not manage it, as a sentence.
pub fn ended_with_the_tier(desired: Tier, plan: &Plan) -> Option<String> {
    let ends = |name: &ExtensionName| !azure_rules::offered(name, desired, true);
    let mut ended: Vec<&str> = plan
        .extensions
        .iter()
        .filter(|extension| extension.enabled && desired != plan.tier && ends(&extension.name))
        .map(|extension| extension.name.title())
        .collect();
    ended.sort_unstable();
    let tier = tier_name(desired);
    (!ended.is_empty()).then(|| format!("With plan {tier} this ends, too: {}.", ended.join(", ")))
}

#[cfg(test)]
mod tests {
    use serverprotection_api::Tier;

    use super::*;
    use crate::{
        reductions::unapproved,
        server_protection::field::{ProtectionField, Setting},
    };

    fn tier(desired: Tier, observed: Tier) -> Difference {
        Difference {
            field: ProtectionField::Tier,
            desired: ProtectionValue::Tier(desired),
            observed: ProtectionValue::Tier(observed),
        }
    }

    fn integration(desired: bool) -> Difference {
        Difference {
            field: ProtectionField::Setting(Setting::Integration),
            desired: ProtectionValue::Switch(desired),
            observed: ProtectionValue::Switch(!desired),
        }
    }

    #[test]
    fn only_lower_protection_is_a_reduction() {
        let down = tier(Tier::P1, Tier::P2);
        let up = tier(Tier::P2, Tier::P1);
        let off = integration(false);
        let on = integration(true);
        let all = [down.clone(), up, off.clone(), on];
        assert_eq!(of(&all), [&down, &off]);
    }

    #[test]
    fn an_approval_names_exactly_what_the_spec_demands() {
        let down = tier(Tier::P1, Tier::P2);
        let off = integration(false);
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
