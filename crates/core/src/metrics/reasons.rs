//! Reasons as values of a label. Error codes of Azure and Entra appear as reasons of conditions, and their number has no
//! limit: a reason that `docs/status.md` does not describe counts as [`OTHER`].

use crate::{
    reason::ConditionType,
    status_reference::{CODES, CONDITIONS},
};

/// Every reason that is not described.
pub const OTHER: &str = "Other";

/// The reason of `Stalled` if it is described, else [`OTHER`].
pub fn bounded_stalled_reason(reason: &str) -> &'static str {
    let ours = CONDITIONS
        .iter()
        .filter(|entry| entry.condition == ConditionType::Stalled)
        .map(|entry| entry.reason.as_str());
    let codes = CODES.iter().map(|entry| entry.code);
    ours.chain(codes).find(|known| *known == reason).unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_azure_that_are_not_described_count_as_other() {
        for reason in ["ClaimConflicted", "ScopeLocked", "SecretNotFound"] {
            assert_eq!(bounded_stalled_reason(reason), reason);
        }
        for code in ["", "SomeNewCode", "scopelocked", "ScopeLocked ", "InSync"] {
            assert_eq!(bounded_stalled_reason(code), OTHER, "{code:?}");
        }
    }
}
