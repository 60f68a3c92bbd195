//! Reasons as values of a label. Error codes of Azure and Entra appear as reasons of conditions, and their number has no
//! limit: a reason that `docs/status.md` does not describe counts as [`OTHER`].

use crate::{
    reason::ConditionType,
    status_reference::{CODES, CONDITIONS},
};

/// Every reason that is not described.
pub const OTHER: &str = "Other";

/// The reason of this condition if it is described, else [`OTHER`].
pub fn bounded_reason(condition: ConditionType, reason: &str) -> &'static str {
    reasons(condition).find(|known| *known == reason).unwrap_or(OTHER)
}

/// The described reasons of a condition. Error codes are reasons of `Stalled`.
pub fn reasons(condition: ConditionType) -> impl Iterator<Item = &'static str> {
    let ours = CONDITIONS
        .iter()
        .filter(move |entry| entry.condition == condition)
        .map(|entry| entry.reason.as_str());
    let codes = CODES
        .iter()
        .filter(move |_| condition == ConditionType::Stalled)
        .map(|entry| entry.code);
    ours.chain(codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_azure_that_are_not_described_count_as_other() {
        for reason in ["ClaimConflicted", "ScopeLocked", "SecretNotFound"] {
            assert_eq!(bounded_reason(ConditionType::Stalled, reason), reason);
        }
        for code in ["", "SomeNewCode", "scopelocked", "ScopeLocked ", "InSync"] {
            assert_eq!(bounded_reason(ConditionType::Stalled, code), OTHER, "{code:?}");
        }
    }

    #[test]
    fn each_condition_has_its_own_reasons() {
        let machines = ConditionType::MachinesProtected;
        assert_eq!(bounded_reason(machines, "BelowMinimum"), "BelowMinimum");
        for other in ["Throttled", "ScopeLocked"] {
            assert_eq!(bounded_reason(machines, other), OTHER);
        }
        assert_eq!(
            bounded_reason(ConditionType::Reconciling, "Throttled"),
            "Throttled"
        );
    }
}
