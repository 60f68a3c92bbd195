//! Contested fields (I-13): a field that was repaired three times within six intervals is suppressed for an hour, then
//! for twice as long each time, up to a day. The history is in status, so that a restart does not lose it.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::SignedDuration,
};
use serverprotection_api::{ContestedField, Drift};

use crate::{
    Timestamp,
    change::Outcome,
    conditions::{ConditionStatus, ConditionType, get, is_true},
    difference::{Difference, FieldPath},
    settling::Writes,
};

const REPAIRS: i32 = 3;
const LONGEST_SUPPRESSION_HOURS: i32 = 24;
const MOST_FIELDS: usize = 16;

/// The fields that are suppressed now.
pub fn suppressed<F: FieldPath>(
    history: &[ContestedField],
    differences: &[Difference<F>],
    now: Timestamp,
) -> BTreeSet<F> {
    let held = |difference: &&Difference<F>| {
        history.iter().any(|entry| {
            same(entry, difference)
                && entry
                    .suppressed_until_time
                    .as_ref()
                    .is_some_and(|until| until.0 > now)
        })
    };
    differences
        .iter()
        .filter(held)
        .map(|difference| difference.field.clone())
        .collect()
}

/// Whether a reconcile ends the pause of contested fields: a user who saw them requested it.
pub(crate) fn ends_pause(requested: bool, conditions: &[Condition]) -> bool {
    requested && is_true(conditions, ConditionType::Contested)
}

/// The history after a user ended the pause. Status keeps it, because one reconcile may decide several times.
pub(crate) fn without_pause(history: Vec<ContestedField>, now: Timestamp) -> Vec<ContestedField> {
    let ended = |mut entry: ContestedField| {
        if let Some(until) = &mut entry.suppressed_until_time {
            until.0 = until.0.min(now);
        }
        entry
    };
    history.into_iter().map(ended).collect()
}

/// What the last reconcile found when it compared Azure with the spec.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastComparison<'a> {
    /// The generation of the spec now.
    pub(crate) generation: i64,
    /// The conditions in status.
    pub(crate) conditions: &'a [Condition],
    /// The differences in status.
    pub(crate) drift: &'a [Drift],
    /// The number of all differences.
    pub(crate) drift_count: Option<i32>,
}

impl LastComparison<'_> {
    /// Whether the field was as the same spec demands, whatever else was wrong with the object.
    fn was_in_sync<F: FieldPath>(&self, difference: &Difference<F>) -> bool {
        let drifted = get(self.conditions, ConditionType::Drifted)
            .filter(|drifted| drifted.observed_generation == Some(self.generation));
        let Some(drifted) = drifted else { return false };
        if drifted.status == ConditionStatus::False.as_str() {
            return true;
        }
        let listed = i32::try_from(self.drift.len()).ok();
        drifted.status == ConditionStatus::True.as_str()
            && self.drift_count == listed
            && !self
                .drift
                .iter()
                .any(|drift| difference.is(&drift.field, &drift.desired))
    }
}

fn same<F: FieldPath>(entry: &ContestedField, difference: &Difference<F>) -> bool {
    difference.is(&entry.field, &entry.desired)
}

/// Whether a write of this field continues a series of repairs in the history.
pub fn in_series<F: FieldPath>(history: &[ContestedField], difference: &Difference<F>) -> bool {
    history.iter().any(|entry| same(entry, difference))
}

/// The writes that are repairs: the field was in sync before under the same demand, or was written before.
pub(crate) fn repairs<'a, F: FieldPath + 'a>(
    writes: impl Iterator<Item = &'a Difference<F>>,
    last: LastComparison<'_>,
    history: &[ContestedField],
    written: &Writes<F>,
) -> Vec<Difference<F>> {
    let is_repair = |difference: &&Difference<F>| {
        last.was_in_sync(difference) || in_series(history, difference) || written.has(difference)
    };
    writes.filter(is_repair).cloned().collect()
}

/// The history after a reconcile that decided on these repairs. Without an outcome, nothing is written yet.
pub(crate) fn after_reconcile<A, F: FieldPath, R>(
    history: Vec<ContestedField>,
    repairs: &[Difference<F>],
    outcome: Option<&Outcome<A, F, R>>,
    interval: Duration,
    now: Timestamp,
) -> Vec<ContestedField> {
    let Some(outcome) = outcome else {
        return history;
    };
    let done: Vec<_> = outcome.written().collect();
    let repaired: Vec<_> = repairs.iter().filter(|repair| done.contains(repair)).collect();
    after_repairs(history, &repaired, interval, now)
}

/// The history after these repairs.
pub fn after_repairs<F: FieldPath>(
    mut history: Vec<ContestedField>,
    repaired: &[&Difference<F>],
    interval: Duration,
    now: Timestamp,
) -> Vec<ContestedField> {
    let window = window(interval);
    for difference in repaired {
        let field = difference.field.to_string();
        let known = history.iter().position(|entry| entry.field == field);
        let previous = known
            .map(|at| history.remove(at))
            .filter(|entry| same(entry, difference));
        if history.len() < MOST_FIELDS {
            history.push(repaired_once_more(previous, difference, window, now));
        }
    }
    history.sort_by(|a, b| a.field.cmp(&b.field));
    history
}

fn repaired_once_more<F: FieldPath>(
    previous: Option<ContestedField>,
    difference: &Difference<F>,
    window: SignedDuration,
    now: Timestamp,
) -> ContestedField {
    // A field that was suppressed before is suppressed again at once; otherwise a repair long after the first one
    // starts a new series.
    let continues = |entry: &ContestedField| {
        entry.suppression_hours.is_some() || now.duration_since(entry.first_repair_time.0) <= window
    };
    let mut entry = previous.filter(continues).unwrap_or_else(|| ContestedField {
        field: difference.field.to_string(),
        desired: difference.desired.to_string(),
        observed: difference.observed.to_string(),
        repairs: 0,
        first_repair_time: Time(now),
        last_repair_time: Time(now),
        suppressed_until_time: None,
        suppression_hours: None,
    });
    entry.repairs = entry.repairs.saturating_add(1);
    entry.observed = difference.observed.to_string();
    entry.last_repair_time = Time(now);
    if entry.repairs >= REPAIRS {
        let hours = entry
            .suppression_hours
            .map_or(1, |hours| hours.saturating_mul(2).min(LONGEST_SUPPRESSION_HOURS));
        entry.suppression_hours = Some(hours);
        entry.suppressed_until_time = Some(Time(later(now, SignedDuration::from_hours(i64::from(hours)))));
    }
    entry
}

/// The history without outdated entries: those that are no longer suppressed and had no repair for six intervals, and
/// those for which the spec now demands another value.
pub fn still_relevant(
    history: &[ContestedField],
    demanded: impl Fn(&ContestedField) -> bool,
    interval: Duration,
    now: Timestamp,
) -> Vec<ContestedField> {
    let window = window(interval);
    let relevant = |entry: &&ContestedField| {
        let last = entry
            .suppressed_until_time
            .as_ref()
            .map_or(entry.last_repair_time.0, |until| until.0);
        now.duration_since(last) <= window && demanded(entry)
    };
    history.iter().filter(relevant).cloned().collect()
}

fn window(interval: Duration) -> SignedDuration {
    SignedDuration::try_from(interval.saturating_mul(6)).unwrap_or(SignedDuration::MAX)
}

/// Adds a duration; saturates at the latest representable time.
pub(crate) fn later(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{conditions::Conditions, message::Message};

    const INTERVAL: Duration = Duration::from_secs(600);

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn flipped() -> Difference<String> {
        Difference {
            field: "endpointIntegration.state".into(),
            desired: "Enabled".into(),
            observed: "Disabled".into(),
        }
    }

    #[test]
    fn three_repairs_within_six_intervals_hold_the_field_off_for_an_hour() {
        let difference = flipped();
        let mut history = Vec::new();
        for minute in [0, 10, 20] {
            assert!(suppressed(&history, std::slice::from_ref(&difference), at(minute)).is_empty());
            history = after_repairs(history, &[&difference], INTERVAL, at(minute));
        }
        assert_eq!(
            suppressed(&history, std::slice::from_ref(&difference), at(21)).len(),
            1
        );
        assert_eq!(
            suppressed(&history, std::slice::from_ref(&difference), at(79)).len(),
            1
        );
        assert!(suppressed(&history, std::slice::from_ref(&difference), at(80)).is_empty());
    }

    #[test]
    fn the_next_holds_double_to_a_day() {
        let difference = flipped();
        let mut history = Vec::new();
        let mut hours = Vec::new();
        for repair in 0..9 {
            history = after_repairs(history, &[&difference], INTERVAL, at(repair));
            hours.extend(history[0].suppression_hours);
        }
        assert_eq!(hours, [1, 2, 4, 8, 16, 24, 24]);
    }

    #[test]
    fn slow_repairs_are_not_contested() {
        let difference = flipped();
        let mut history = Vec::new();
        for hour in 0..10 {
            history = after_repairs(history, &[&difference], INTERVAL, at(hour * 61));
        }
        assert_eq!(history[0].repairs, 1);
        assert!(history[0].suppressed_until_time.is_none());
    }

    #[test]
    fn each_field_was_in_sync_or_not_whatever_else_was_wrong() {
        let entry = |field: &str| Drift {
            field: field.into(),
            desired: "Enabled".into(),
            observed: "Disabled".into(),
            first_observed_time: Time(at(0)),
        };
        let drifted = |status: ConditionStatus, generation| {
            let mut conditions = Conditions::new(&[], generation, at(0));
            let reason = crate::conditions::Reason::Differs;
            conditions.set(ConditionType::Drifted, status, reason, &Message::new("m"));
            conditions.finish()
        };
        let (other, same) = ([entry("plan.tier")], [entry("endpointIntegration.state")]);
        let (yes, no, unknown) = (
            ConditionStatus::True,
            ConditionStatus::False,
            ConditionStatus::Unknown,
        );
        for (status, generation, drift, count, expected) in [
            (no, 1, &[][..], 0, true),
            (yes, 1, &other, 1, true),
            (yes, 1, &same, 1, false),
            // The list is cut.
            (yes, 1, &other, 17, false),
            (unknown, 1, &[][..], 0, false),
            // Another spec.
            (no, 0, &[][..], 0, false),
        ] {
            let last = LastComparison {
                generation: 1,
                conditions: &drifted(status, generation),
                drift,
                drift_count: Some(count),
            };
            assert_eq!(last.was_in_sync(&flipped()), expected, "{last:?}");
        }
    }

    #[test]
    fn a_user_ends_the_pause_and_the_next_one_is_longer() {
        let difference = flipped();
        let mut history = Vec::new();
        for minute in [0, 10, 20] {
            history = after_repairs(history, &[&difference], INTERVAL, at(minute));
        }
        history = without_pause(history, at(30));
        assert!(suppressed(&history, std::slice::from_ref(&difference), at(30)).is_empty());
        history = still_relevant(&history, |_| true, INTERVAL, at(31));
        history = after_repairs(history, &[&difference], INTERVAL, at(31));
        assert_eq!(history[0].suppression_hours, Some(2));
    }

    #[test]
    fn another_demand_starts_a_new_series() {
        let mut history = after_repairs(Vec::new(), &[&flipped()], INTERVAL, at(0));
        let other = Difference {
            desired: "Disabled".into(),
            observed: "Enabled".into(),
            ..flipped()
        };
        history = after_repairs(history, &[&other], INTERVAL, at(1));
        assert_eq!((history.len(), history[0].repairs), (1, 1));
    }
}
