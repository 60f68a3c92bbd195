//! Drift in status: the differences, and the condition `Drifted`.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::SignedDuration};
use serverprotection_api::Drift;

use crate::{
    Timestamp,
    conditions::{ConditionStatus, ConditionType, Conditions, Reason},
    difference::{Difference, FieldPath, listed},
    message::Message,
};

/// Maximum number of drift entries in status.
const MAX_DRIFT_ENTRIES: usize = 16;
/// The heartbeat: how often `lastObservedTime` is updated if nothing else changes.
pub(crate) const HEARTBEAT: SignedDuration = SignedDuration::from_hours(1);

/// The differences as status shows them, each with the time when it was first observed.
pub(crate) fn drift<F: FieldPath>(
    previous: &[Drift],
    differences: &[Difference<F>],
    now: Timestamp,
) -> Vec<Drift> {
    let entry = |difference: &Difference<F>| {
        let known = previous
            .iter()
            .find(|known| difference.is(&known.field, &known.desired));
        Drift {
            field: difference.field.to_string(),
            desired: difference.desired.to_string(),
            observed: difference.observed.to_string(),
            first_observed_time: known.map_or(Time(now), |known| known.first_observed_time.clone()),
        }
    };
    differences.iter().take(MAX_DRIFT_ENTRIES).map(entry).collect()
}

/// The number of differences as status shows it.
pub(crate) fn drift_count<F: FieldPath>(differences: &[Difference<F>]) -> i32 {
    i32::try_from(differences.len()).unwrap_or(i32::MAX)
}

/// Sets `Drifted`. `consequence` is a sentence about what else the repair changes.
pub(crate) fn drifted<F: FieldPath>(
    conditions: &mut Conditions,
    differences: &[Difference<F>],
    consequence: Option<&str>,
) {
    let (status, reason, message) = if differences.is_empty() {
        let message = Message::new("Azure matches the spec");
        (ConditionStatus::False, Reason::NoDrift, message)
    } else {
        // With the direction of the repair: Azure's value, then that of the spec.
        let message = Message::new("Azure differs from the spec").cause(listed(differences));
        let message = match consequence {
            Some(consequence) => message.and(consequence),
            None => message,
        };
        (ConditionStatus::True, Reason::Differs, message)
    };
    conditions.set(ConditionType::Drifted, status, reason, &message);
}
