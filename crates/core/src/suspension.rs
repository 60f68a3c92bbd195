//! What a suspended object reports. Azure is not read, so `Ready` can only be about the spec of the last reconcile
//! before.

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::Value;
use serverprotection_api::{Drift, SecurityConnectorSpec, ServerProtectionSpec};

use crate::{
    conditions::{ConditionStatus, ConditionType, Conditions, Reason, get},
    message::Message,
};

/// A fingerprint of a spec without `suspend`: whether two specs demand the same of Azure. Comparable within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand(u64);

impl From<&ServerProtectionSpec> for Demand {
    fn from(spec: &ServerProtectionSpec) -> Self {
        Self::of(serde_json::to_value(spec))
    }
}

impl From<&SecurityConnectorSpec> for Demand {
    fn from(spec: &SecurityConnectorSpec) -> Self {
        Self::of(serde_json::to_value(spec))
    }
}

impl Demand {
    fn of(spec: Result<Value, serde_json::Error>) -> Self {
        let mut spec = spec.unwrap_or_default();
        if let Some(fields) = spec.as_object_mut() {
            fields.remove("suspend");
        }
        let mut hasher = DefaultHasher::new();
        spec.to_string().hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// The drift that the last reconcile found, from status.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastDrift<'a> {
    count: i32,
    entries: &'a [Drift],
}

impl<'a> LastDrift<'a> {
    /// `None` if Azure was never compared with a spec.
    pub(crate) fn new(count: Option<i32>, entries: &'a [Drift]) -> Option<Self> {
        count.map(|count| Self { count, entries })
    }

    fn message(self) -> Message {
        if self.count == 0 {
            return Message::new("Azure matched the spec when it was last read");
        }
        let listed = self
            .entries
            .iter()
            .map(|entry| format!("{}: {} -> {}", entry.field, entry.observed, entry.desired));
        Message::new("Azure differed from the spec when it was last read")
            .cause(listed.collect::<Vec<_>>().join(", "))
    }
}

/// `spec.suspend`: `Ready` keeps its status while it is about this spec, and is Unknown after an edit. Nothing is in
/// progress, so no one should wait for the conditions that are present only while they are True.
///
/// `last_reconciled` is the spec of the last reconcile that was not suspended. To suspend an object changes its
/// generation, so the generation alone does not tell whether anything else was edited. After a restart of the
/// controller that spec is unknown, and an object that was suspended meanwhile counts as edited.
pub(crate) fn suspend(
    conditions: &mut Conditions,
    previous: &[Condition],
    generation: i64,
    (last_reconciled, spec): (Option<Demand>, Demand),
    drift: Option<LastDrift<'_>>,
) {
    let message = Message::new("Azure is neither read nor written, because spec.suspend is true")
        .and("The other conditions are about what was last read.");
    let (status, reason) = (ConditionStatus::True, Reason::SuspendedBySpec);
    conditions.set(ConditionType::Suspended, status, reason, &message);
    for type_ in [
        ConditionType::Reconciling,
        ConditionType::Stalled,
        ConditionType::Contested,
    ] {
        conditions.remove(type_);
    }
    if let Some(drift) = drift {
        conditions.reword(ConditionType::Drifted, &drift.message());
    }
    let same_spec =
        |ready: &&Condition| ready.observed_generation == Some(generation) || last_reconciled == Some(spec);
    let Some(known) = get(previous, ConditionType::Ready).filter(same_spec) else {
        let message = Message::new("Suspended; this spec has not been compared with Azure")
            .action("Set spec.suspend to false to resume");
        let (status, reason) = (ConditionStatus::Unknown, Reason::Suspended);
        conditions.set(ConditionType::Ready, status, reason, &message);
        return;
    };
    let message = if known.reason == Reason::Suspended.as_str() {
        Message::stored(&known.message)
    } else {
        let last = format!("{}: {}", known.reason, known.message);
        Message::new("Suspended; the last result for this spec is").cause(last)
    };
    let status = ConditionStatus::of(known);
    conditions.set(ConditionType::Ready, status, Reason::Suspended, &message);
    // The other conditions are about this spec too, as far as they were about the same one as Ready.
    if last_reconciled == Some(spec) {
        conditions.stamp_those_of(known.observed_generation);
    }
}
