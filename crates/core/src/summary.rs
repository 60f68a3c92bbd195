//! Ready and the conditions that are present only while they are True, as far as both kinds share them
//! (docs/architecture.md 2.4).

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serverprotection_api::ContestedField;

use crate::{
    azure_error::{AzureError, ErrorClass},
    conditions::{ConditionStatus, ConditionType, Conditions, Reason, get},
    difference::{Difference, FieldPath, listed},
    message::{Message, shortened},
    permissions::reason_of,
    reason::ReasonText,
    reductions,
    settling::Writes,
};

/// From this consecutive read error on, the last observation counts as stale.
const STALE_AFTER: u32 = 3;

/// Whether a read error is one of the first transient ones of an object that was observed before, by its conditions in
/// status.
pub(crate) fn is_passing(failure: &AzureError, conditions: &[Condition], failures: u32) -> bool {
    let known = get(conditions, ConditionType::Ready)
        .is_some_and(|ready| ready.reason != Reason::NotObserved.as_str());
    failure.class.is_transient() && failures < STALE_AFTER && known
}

/// Ready, and the condition beside it.
pub(crate) struct Summary {
    pub(crate) ready: ConditionStatus,
    pub(crate) reason: ReasonText,
    pub(crate) message: Message,
    pub(crate) secondary: Secondary,
}

/// Reconciling and Stalled exclude each other.
pub(crate) enum Secondary {
    Nothing,
    Reconciling(Reason),
    Stalled,
}

impl Summary {
    /// Sets Ready, and Reconciling or Stalled with it.
    pub(crate) fn apply(self, conditions: &mut Conditions) {
        let (reason, message) = (self.reason, self.message);
        conditions.remove(ConditionType::Suspended);
        conditions.set(ConditionType::Ready, self.ready, reason.clone(), &message);
        match self.secondary {
            Secondary::Nothing => {
                conditions.remove(ConditionType::Reconciling);
                conditions.remove(ConditionType::Stalled);
            }
            Secondary::Reconciling(reason) => {
                conditions.remove(ConditionType::Stalled);
                conditions.set(
                    ConditionType::Reconciling,
                    ConditionStatus::True,
                    reason,
                    &message,
                );
            }
            Secondary::Stalled => {
                conditions.remove(ConditionType::Reconciling);
                conditions.set(ConditionType::Stalled, ConditionStatus::True, reason, &message);
            }
        }
    }
}

/// Contested, while fields are suppressed.
pub(crate) fn contested<F: FieldPath>(
    conditions: &mut Conditions,
    suppressed: &BTreeSet<F>,
    message: &Message,
) {
    if suppressed.is_empty() {
        conditions.remove(ConditionType::Contested);
    } else {
        let (status, reason) = (ConditionStatus::True, Reason::Suppressed);
        conditions.set(ConditionType::Contested, status, reason, message);
    }
}

/// Which fields are contested, and until when. `history` is that of the status that decided about them.
pub(crate) fn contested_message<F: FieldPath>(
    differences: &[Difference<F>],
    suppressed: &BTreeSet<F>,
    history: &[ContestedField],
) -> Message {
    let until = |difference: &Difference<F>| {
        let mut entries = history.iter();
        let entry = entries.find(|entry| difference.is(&entry.field, &entry.desired));
        let end = entry.and_then(|entry| entry.suppressed_until_time.as_ref());
        end.map_or_else(String::new, |end| format!(" until {}", end.0))
    };
    let field = |difference: &Difference<F>| {
        format!(
            "{} (spec: {}, Azure: {})",
            difference.field, difference.desired, difference.observed
        )
    };
    let paused: Vec<_> = differences
        .iter()
        .filter(|difference| suppressed.contains(&difference.field))
        .collect();
    let problem = if let [single] = paused.as_slice() {
        format!(
            "Enforcement of {} is paused{}, because another writer keeps changing it",
            field(single),
            until(single)
        )
    } else {
        let all = paused
            .iter()
            .map(|paused| format!("{}{}", field(paused), until(paused)));
        format!(
            "Enforcement of {} fields is paused, because another writer keeps changing them: {}",
            paused.len(),
            all.collect::<Vec<_>>().join(", ")
        )
    };
    Message::new(problem).action(
        "Find the other writer (Azure Policy, another plan such as Defender CSPM, a person), or set the field to Unmanaged. To end the pause now, set the annotation serverprotection.dev/reconcile-requested-at",
    )
}

/// Characters of an annotation that a message shows.
const LONGEST_ANNOTATION: usize = 200;

pub(crate) fn ready(reason: Reason, message: Message) -> Summary {
    Summary {
        ready: ConditionStatus::True,
        reason: reason.into(),
        message,
        secondary: Secondary::Nothing,
    }
}

pub(crate) fn progressing(why: Reason, message: Message) -> Summary {
    Summary {
        ready: ConditionStatus::False,
        reason: Reason::Progressing.into(),
        message,
        secondary: Secondary::Reconciling(why),
    }
}

pub(crate) fn stalled(reason: impl Into<ReasonText>, message: Message) -> Summary {
    Summary {
        ready: ConditionStatus::False,
        reason: reason.into(),
        message,
        secondary: Secondary::Stalled,
    }
}

pub(crate) fn in_sync() -> Message {
    Message::new("Azure matches the spec")
}

pub(crate) fn observed_message<F: FieldPath>(differences: &[Difference<F>]) -> Message {
    match differences.len() {
        0 => Message::new("Mode Observe: Azure matches the spec"),
        1 => Message::new("Mode Observe: 1 field differs").cause(listed(differences)),
        many => Message::new(format!("Mode Observe: {many} fields differ")).cause(listed(differences)),
    }
}

/// The fields that were written and still differ; others may differ for another reason.
pub(crate) fn settling_message<F: FieldPath>(differences: &[Difference<F>], written: &Writes<F>) -> Message {
    let settling = differences.iter().filter(|difference| written.has(difference));
    Message::new("Azure accepted the write but still returns other values; the controller writes again")
        .cause(listed(settling))
}

/// What needs approval. The action has the whole annotation: what it approves already, and what is missing.
pub(crate) fn approval_message<F: FieldPath>(
    found: &[Difference<F>],
    differences: &[Difference<F>],
    annotation: Option<&str>,
) -> Message {
    let annotation = annotation
        .map(str::trim)
        .filter(|annotation| !annotation.is_empty());
    let is_needed = |difference: &&Difference<F>| {
        found.contains(difference) || reductions::is_approved(difference, annotation)
    };
    let approvals: Vec<_> = differences
        .iter()
        .filter(is_needed)
        .map(reductions::approval_for)
        .collect();
    let message = Message::new(format!(
        "No changes were made, because applying this spec would reduce the existing protection ({})",
        listed(found)
    ));
    let message = match annotation {
        None => message,
        Some(annotation) => message.and(&format!(
            "The annotation serverprotection.dev/approve-reduction is \"{}\", which does not approve this.",
            shortened(annotation, LONGEST_ANNOTATION)
        )),
    };
    message.action(format!(
        "Change the spec, or approve with the annotation serverprotection.dev/approve-reduction: \"{}\"",
        approvals.join(",")
    ))
}

pub(crate) fn about_to_write(changes: &str) -> Summary {
    progressing(Reason::Writing, Message::new("Writing").cause(changes))
}

pub(crate) fn withheld(changes: &str) -> Summary {
    progressing(
        Reason::Withheld,
        Message::new("This process may not write now; pending changes").cause(changes),
    )
}

pub(crate) fn reading_back(written: &str) -> Summary {
    progressing(
        Reason::Writing,
        Message::new("Written, reading back").cause(written),
    )
}

/// A failed write leaves the spec unfulfilled: never "unchanged".
pub(crate) fn failing_write(failure: &AzureError) -> Summary {
    let message = failure.to_message();
    match failure.class {
        ErrorClass::Throttled(_) => progressing(
            Reason::Throttled,
            message.and("The controller retries after the delay that Azure requested."),
        ),
        ErrorClass::Conflict => progressing(
            Reason::UpdateInProgress,
            message.and("The controller retries shortly."),
        ),
        ErrorClass::Transient | ErrorClass::Unavailable(_) => {
            progressing(Reason::Retrying, message.and("The controller retries."))
        }
        // The next read shows whether a registration is in progress, and whether the controller or the user has to
        // start one.
        ErrorClass::NotRegistered => {
            let message = Message::new(
                "Microsoft.Security is not registered; the controller reads the registration next",
            )
            .cause(message.problem_text());
            progressing(Reason::Registering, message)
        }
        _ => failing(failure, 0),
    }
}

pub(crate) fn failing(failure: &AzureError, failures: u32) -> Summary {
    let message = failure.to_message();
    if !failure.class.is_transient() {
        return stalled(reason_of(failure), message);
    }
    let (reason, problem) = if failures >= STALE_AFTER {
        (Reason::ObservationStale, "Azure cannot be read")
    } else {
        (Reason::Progressing, "Azure could not be read yet")
    };
    Summary {
        ready: ConditionStatus::Unknown,
        reason: reason.into(),
        message: Message::new(problem)
            .caused_by(&message)
            .and("The controller retries."),
        secondary: Secondary::Reconciling(Reason::Retrying),
    }
}
