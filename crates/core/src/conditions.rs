//! Conditions as Kubernetes and kstatus want them (docs/architecture.md 2.5).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::Timestamp;

/// Condition types that are present only while they are True.
const ONLY_WHILE_TRUE: [&str; 4] = ["Reconciling", "Stalled", "Contested", "Suspended"];

/// The three answers of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

impl ConditionStatus {
    /// As Kubernetes spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// The conditions of one object while they are worked on: what stood before, and what this visit says.
#[derive(Clone, Debug)]
pub struct Conditions {
    all: Vec<Condition>,
    generation: i64,
    now: Timestamp,
}

impl Conditions {
    /// Starts from what stood before.
    pub fn new(previous: &[Condition], generation: i64, now: Timestamp) -> Self {
        Self {
            all: previous.to_vec(),
            generation,
            now,
        }
    }

    /// Sets a condition. The transition time moves only when the status flips; a message that differs in nothing but
    /// Azure's request id stays, so that a repeated failure does not change the object.
    pub fn set(&mut self, type_: &str, answer: ConditionStatus, reason: &str, message: impl Into<String>) {
        let mut message = shortened(message.into());
        let mut since = Time(self.now);
        let known = self.all.iter().position(|condition| condition.type_ == type_);
        if let Some(before) = known.and_then(|at| self.all.get(at)) {
            if before.status == answer.as_str() {
                since = before.last_transition_time.clone();
            }
            if before.reason == reason && without_request_id(&before.message) == without_request_id(&message)
            {
                message.clone_from(&before.message);
            }
        }
        let condition = Condition {
            type_: type_.to_owned(),
            status: answer.as_str().to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: Some(self.generation),
            last_transition_time: since,
        };
        match known.and_then(|at| self.all.get_mut(at)) {
            Some(slot) => *slot = condition,
            None => self.all.push(condition),
        }
    }

    /// Sets a condition to Unknown unless something is known about it already.
    pub fn unknown_unless_set(&mut self, type_: &str, reason: &str, message: &str) {
        if get(&self.all, type_).is_none() {
            self.set(type_, ConditionStatus::Unknown, reason, message);
        }
    }

    /// Every one of these is there, Unknown until something is known.
    pub fn start(&mut self, types: &[&str]) {
        for type_ in types {
            self.unknown_unless_set(type_, "NotObserved", "not looked at yet");
        }
    }

    /// Says of all of them that they speak about the generation of this visit.
    pub fn stamp(&mut self) {
        for condition in &mut self.all {
            condition.observed_generation = Some(self.generation);
        }
    }

    /// Says of one of them that it speaks about the generation of this visit.
    pub fn stamp_one(&mut self, type_: &str) {
        if let Some(condition) = self.all.iter_mut().find(|condition| condition.type_ == type_) {
            condition.observed_generation = Some(self.generation);
        }
    }

    /// Takes a condition away (those that are present only while True).
    pub fn remove(&mut self, type_: &str) {
        self.all.retain(|condition| condition.type_ != type_);
    }

    /// What stands now.
    pub fn get(&self, type_: &str) -> Option<&Condition> {
        get(&self.all, type_)
    }

    /// The finished list, in a stable order: Ready first, the passing ones last.
    pub fn finish(mut self) -> Vec<Condition> {
        self.all.sort_by_key(|condition| {
            let passing = ONLY_WHILE_TRUE.contains(&condition.type_.as_str());
            (condition.type_ != "Ready", passing)
        });
        self.all
    }
}

/// The condition of this type.
pub fn get<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of this type is True.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    get(conditions, type_).is_some_and(|condition| condition.status == "True")
}

/// What an object says after a mistake of the controller.
pub const INTERNAL_ERROR: &str = "the controller could not reconcile the object because of an internal error of its own; it is tried again, less and less often: report it with the lines \"internal error\" of the controller's log";

/// After a mistake of the controller: what Ready said is not known any more, and it is tried again. The same each time,
/// so that a repeated one does not change the object.
pub fn after_internal_error(previous: &[Condition], generation: i64, now: Timestamp) -> Vec<Condition> {
    let mut conditions = Conditions::new(previous, generation, now);
    conditions.remove("Stalled");
    conditions.set("Ready", ConditionStatus::Unknown, "InternalError", INTERNAL_ERROR);
    conditions.set(
        "Reconciling",
        ConditionStatus::True,
        "InternalError",
        INTERNAL_ERROR,
    );
    conditions.finish()
}

/// After a visit that wrote a note on the way: what counts for the transition times is the note, because it is what
/// stood.
pub fn after_intent(conditions: &mut [Condition], note: &[Condition], now: Timestamp) {
    for condition in conditions {
        if let Some(stood) = get(note, &condition.type_) {
            let same = stood.status == condition.status;
            condition.last_transition_time = if same {
                stood.last_transition_time.clone()
            } else {
                Time(now)
            };
        }
    }
}

/// After some that never arrived: a condition that says what it said where it can be read has not flipped.
pub fn after_unsaved(conditions: &mut [Condition], stood: &[Condition]) {
    for condition in conditions {
        let same = get(stood, &condition.type_).filter(|stood| stood.status == condition.status);
        if let Some(stood) = same {
            condition.last_transition_time = stood.last_transition_time.clone();
        }
    }
}

fn without_request_id(message: &str) -> String {
    let mut rest = message;
    let mut kept = String::with_capacity(message.len());
    while let Some((before, after)) = rest.split_once(" (request id ") {
        kept.push_str(before);
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    kept.push_str(rest);
    kept
}

/// The schema allows 32768 characters; nobody reads more than a few lines.
pub(crate) fn shortened(message: String) -> String {
    const MOST: usize = 1024;
    if message.chars().count() <= MOST {
        return message;
    }
    let mut short: String = message.chars().take(MOST - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn transition_time_moves_only_when_the_status_flips() {
        let mut first = Conditions::new(&[], 1, at(1));
        first.set("Ready", ConditionStatus::False, "Progressing", "a");
        let mut second = Conditions::new(&first.finish(), 2, at(2));
        second.set("Ready", ConditionStatus::False, "Other", "b");
        assert_eq!(second.get("Ready").unwrap().last_transition_time.0, at(1));
        second.set("Ready", ConditionStatus::True, "InSync", "c");
        assert_eq!(second.get("Ready").unwrap().last_transition_time.0, at(2));
        assert_eq!(second.get("Ready").unwrap().observed_generation, Some(2));
    }

    #[test]
    fn after_an_internal_error_nothing_is_taken_for_ready() {
        let mut before = Conditions::new(&[], 1, at(1));
        before.set("Ready", ConditionStatus::True, "InSync", "all is well");
        before.set("PlanEnabled", ConditionStatus::True, "PlanEnabled", "P2");
        before.set("Stalled", ConditionStatus::True, "X", "somebody must act");
        let after = after_internal_error(&before.finish(), 2, at(2));
        let reported: Vec<_> = after
            .iter()
            .map(|one| (one.type_.as_str(), one.status.as_str()))
            .collect();
        assert_eq!(
            reported,
            [
                ("Ready", "Unknown"),
                ("PlanEnabled", "True"),
                ("Reconciling", "True")
            ]
        );
        assert_eq!(get(&after, "Ready").unwrap().observed_generation, Some(2));
        assert_eq!(get(&after, "PlanEnabled").unwrap().observed_generation, Some(1));
        assert_eq!(
            after_internal_error(&after, 2, at(3)),
            after,
            "a repeated one is no change"
        );
    }

    #[test]
    fn another_request_id_is_no_change() {
        let mut first = Conditions::new(&[], 1, at(1));
        first.set(
            "Ready",
            ConditionStatus::False,
            "X",
            "PUT x: No: no (request id 1): do that",
        );
        let before = first.finish();
        let mut second = Conditions::new(&before, 1, at(2));
        second.set(
            "Ready",
            ConditionStatus::False,
            "X",
            "PUT x: No: no (request id 2): do that",
        );
        assert_eq!(second.finish(), before);
    }
}
