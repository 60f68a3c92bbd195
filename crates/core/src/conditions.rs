//! Conditions as Kubernetes and kstatus expect them (docs/architecture.md 2.5).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

pub use crate::reason::{ConditionType, Reason};
use crate::{
    Timestamp,
    message::{MAX_MESSAGE, Message},
    reason::ReasonText,
};

/// Condition types that are present only while they are True.
pub const ONLY_WHILE_TRUE: [ConditionType; 4] = [
    ConditionType::Reconciling,
    ConditionType::Stalled,
    ConditionType::Contested,
    ConditionType::Suspended,
];

/// The status of a condition.
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

    /// The status of a condition.
    pub(crate) fn of(condition: &Condition) -> Self {
        match condition.status.as_str() {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }
}

/// The conditions of one object while a reconcile works on them.
#[derive(Clone, Debug)]
pub struct Conditions {
    all: Vec<Condition>,
    generation: i64,
    now: Timestamp,
}

impl Conditions {
    /// Starts from the conditions in status.
    pub fn new(previous: &[Condition], generation: i64, now: Timestamp) -> Self {
        Self {
            all: previous.to_vec(),
            generation,
            now,
        }
    }

    /// Sets a condition. The transition time changes only when the status does. A message that differs only in Azure's
    /// request id is kept, so that a repeated error does not change the object.
    pub fn set(
        &mut self,
        type_: ConditionType,
        status: ConditionStatus,
        reason: impl Into<ReasonText>,
        message: &Message,
    ) {
        let (type_, reason) = (type_.as_str(), reason.into());
        let reason = reason.as_str();
        let mut message = message.to_text(MAX_MESSAGE);
        let mut since = Time(self.now);
        let known = self.all.iter().position(|condition| condition.type_ == type_);
        if let Some(before) = known.and_then(|at| self.all.get(at)) {
            if before.status == status.as_str() {
                since = before.last_transition_time.clone();
            }
            if before.reason == reason && without_request_id(&before.message) == without_request_id(&message)
            {
                message.clone_from(&before.message);
            }
        }
        let condition = Condition {
            type_: type_.to_owned(),
            status: status.as_str().to_owned(),
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

    /// Replaces the message of a condition that is not Unknown, and nothing else.
    pub(crate) fn reword(&mut self, type_: ConditionType, message: &Message) {
        let known = |condition: &&mut Condition| {
            condition.type_ == type_.as_str() && condition.status != ConditionStatus::Unknown.as_str()
        };
        if let Some(condition) = self.all.iter_mut().find(known) {
            condition.message = message.to_text(MAX_MESSAGE);
        }
    }

    /// Adds the conditions that are missing, as Unknown.
    pub fn start(&mut self, types: &[ConditionType]) {
        for type_ in types {
            if self.get(*type_).is_none() {
                let message = Message::new("Not yet observed");
                self.set(*type_, ConditionStatus::Unknown, Reason::NotObserved, &message);
            }
        }
    }

    /// Marks all conditions as about the generation of this reconcile.
    pub fn stamp(&mut self) {
        for condition in &mut self.all {
            condition.observed_generation = Some(self.generation);
        }
    }

    /// Marks the conditions about an earlier generation as about that of this reconcile.
    pub(crate) fn stamp_those_of(&mut self, earlier: Option<i64>) {
        for condition in &mut self.all {
            if condition.observed_generation == earlier {
                condition.observed_generation = Some(self.generation);
            }
        }
    }

    /// Marks one condition as about the generation of this reconcile.
    pub fn stamp_one(&mut self, type_: ConditionType) {
        let found = self
            .all
            .iter_mut()
            .find(|condition| condition.type_ == type_.as_str());
        if let Some(condition) = found {
            condition.observed_generation = Some(self.generation);
        }
    }

    /// Removes a condition that is present only while it is True.
    pub fn remove(&mut self, type_: ConditionType) {
        self.all.retain(|condition| condition.type_ != type_.as_str());
    }

    /// The condition as it is now.
    pub fn get(&self, type_: ConditionType) -> Option<&Condition> {
        get(&self.all, type_)
    }

    /// The finished list in a stable order: Ready first, those that are present only while True last.
    pub fn finish(mut self) -> Vec<Condition> {
        self.all.sort_by_key(|condition| {
            let passing = ONLY_WHILE_TRUE
                .iter()
                .any(|type_| type_.as_str() == condition.type_);
            (condition.type_ != ConditionType::Ready.as_str(), passing)
        });
        self.all
    }
}

/// The condition of this type.
pub fn get(conditions: &[Condition], type_: impl AsRef<str>) -> Option<&Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == type_.as_ref())
}

/// Whether the condition of this type is True.
pub fn is_true(conditions: &[Condition], type_: impl AsRef<str>) -> bool {
    get(conditions, type_).is_some_and(|condition| condition.status == ConditionStatus::True.as_str())
}

/// Whether the condition of this type has this reason.
pub fn has_reason(conditions: &[Condition], type_: ConditionType, reason: Reason) -> bool {
    get(conditions, type_).is_some_and(|condition| condition.reason == reason.as_str())
}

/// The message of an object whose reconcile panicked.
pub fn internal_error() -> Message {
    Message::new("The controller failed to reconcile the object because of a bug in the controller. It retries, with increasing pauses")
        .action("Report the bug with the lines \"internal error\" of the controller's log")
}

/// The conditions after a panic: Ready is Unknown. The result is the same for repeated panics, so that they do not
/// change the object.
pub fn after_internal_error(previous: &[Condition], generation: i64, now: Timestamp) -> Vec<Condition> {
    let mut conditions = Conditions::new(previous, generation, now);
    conditions.remove(ConditionType::Stalled);
    let (reason, message) = (Reason::InternalError, internal_error());
    conditions.set(ConditionType::Ready, ConditionStatus::Unknown, reason, &message);
    conditions.set(
        ConditionType::Reconciling,
        ConditionStatus::True,
        reason,
        &message,
    );
    conditions.finish()
}

/// Computes transition times against the recorded intent, which was the status in the meantime.
pub fn after_intent(conditions: &mut [Condition], intent: &[Condition], now: Timestamp) {
    for condition in conditions {
        if let Some(before) = get(intent, &condition.type_) {
            let same = before.status == condition.status;
            condition.last_transition_time = if same {
                before.last_transition_time.clone()
            } else {
                Time(now)
            };
        }
    }
}

/// If earlier patches failed, computes transition times against the last status that the API server acknowledged.
pub fn after_unsaved(conditions: &mut [Condition], acknowledged: &[Condition], now: Timestamp) {
    for condition in conditions {
        let Some(before) = get(acknowledged, &condition.type_) else {
            continue;
        };
        if before.status == condition.status {
            condition.last_transition_time = before.last_transition_time.clone();
        } else if condition.last_transition_time.0 <= before.last_transition_time.0 {
            // Both changes happened within a second, and only now the second one becomes visible.
            condition.last_transition_time = Time(now);
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

#[cfg(test)]
mod tests {
    use super::{ConditionType::Ready, *};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn transition_time_moves_only_when_the_status_flips() {
        let mut first = Conditions::new(&[], 1, at(1));
        first.set(
            Ready,
            ConditionStatus::False,
            Reason::Progressing,
            &Message::new("a"),
        );
        let mut second = Conditions::new(&first.finish(), 2, at(2));
        second.set(Ready, ConditionStatus::False, Reason::Writing, &Message::new("b"));
        assert_eq!(second.get(Ready).unwrap().last_transition_time.0, at(1));
        second.set(Ready, ConditionStatus::True, Reason::InSync, &Message::new("c"));
        assert_eq!(second.get(Ready).unwrap().last_transition_time.0, at(2));
        assert_eq!(second.get(Ready).unwrap().observed_generation, Some(2));
    }

    #[test]
    fn after_an_internal_error_ready_is_unknown() {
        let mut before = Conditions::new(&[], 1, at(1));
        let text = Message::new("x");
        before.set(Ready, ConditionStatus::True, Reason::InSync, &text);
        before.set(
            ConditionType::PlanEnabled,
            ConditionStatus::True,
            Reason::PlanEnabled,
            &text,
        );
        before.set(
            ConditionType::Stalled,
            ConditionStatus::True,
            Reason::Contested,
            &text,
        );
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
            Ready,
            ConditionStatus::False,
            Reason::NotFound,
            &Message::new("PUT x: No: no (request id 1): do that"),
        );
        let before = first.finish();
        let mut second = Conditions::new(&before, 1, at(2));
        second.set(
            Ready,
            ConditionStatus::False,
            Reason::NotFound,
            &Message::new("PUT x: No: no (request id 2): do that"),
        );
        assert_eq!(second.finish(), before);
    }
}
