//! What an object and its annotations ask for.

use std::time::Duration;

use k8s_openapi::jiff::SignedDuration;
use kube::ResourceExt;
use serverprotection_api::annotations;
use serverprotection_core::{Timestamp, request::Requested};

use crate::{
    context::{Context, InContext},
    kind::{Kind, StatusExt},
    state::ObjectState,
};

/// Returns the values of the "reconcile now" annotations, if one of them is new.
pub(crate) fn requested<'a, K: Kind>(object: &'a K, state: &ObjectState<K>) -> Option<Requested<'a>> {
    let requested = Requested::by(object.annotations());
    requested.is_new(state.status.handled()).then_some(requested)
}

/// The annotation that approves reductions.
pub(crate) fn approval<K: Kind>(object: &K) -> Option<&str> {
    object
        .annotations()
        .get(annotations::APPROVE_REDUCTION)
        .map(String::as_str)
}

/// The time until the next reconcile that reads and writes Azure; `None` if it is due, or if a change of the object
/// requires one now.
pub(crate) fn due_in<K: InContext>(
    object: &K,
    state: &ObjectState<K>,
    context: &Context,
) -> Option<Duration> {
    let unchanged = state.status.observed_generation() == object.meta().generation
        && !state.unacknowledged
        && requested(object, state).is_none()
        && state.approval.as_deref() == approval(object);
    K::states(context).due_in(object.meta()).filter(|_| unchanged)
}

/// How long a new object waits for another one that it refers to. Manifests are applied one after the other, and `kubectl
/// apply -k` and `GitOps` tools apply a `SecurityConnector` before its `ServerProtection`.
const APPLIED_WITHIN: SignedDuration = SignedDuration::from_secs(10);

/// Whether the object was created moments ago and never reconciled: what it refers to may follow. When that appears, the
/// object is reconciled at once.
pub(crate) fn is_being_applied<K: Kind>(object: &K, state: &ObjectState<K>, now: Timestamp) -> bool {
    let reconciled = state
        .status
        .observed_generation()
        .is_some_and(|generation| generation >= 0);
    let created = object.meta().creation_timestamp.as_ref();
    !reconciled && created.is_some_and(|created| now.duration_since(created.0).abs() < APPLIED_WITHIN)
}

/// Whether the cached object is as new as the last reconcile.
pub(crate) fn is_current<K: Kind>(object: &K, state: &ObjectState<K>) -> bool {
    let newest = state.status.observed_generation().unwrap_or_default();
    !state.unreadable && object.meta().generation.unwrap_or_default() >= newest
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;
    use serverprotection_api::{SecurityConnector, SecurityConnectorStatus};

    use super::*;

    #[test]
    fn only_a_new_object_waits_for_what_it_refers_to() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut object: SecurityConnector = serde_json::from_value(json!({
            "apiVersion": "serverprotection.dev/v1alpha1", "kind": "SecurityConnector", "metadata": {"name": "a"},
            "spec": {"protectionRef": {"name": "prod"}, "resourceGroup": "rg", "location": "westeurope",
                "type": "AWS", "aws": {"accountId": "123456789012"}},
        }))
        .unwrap();
        let mut state = ObjectState::new(SecurityConnectorStatus::default(), String::new());
        assert!(!is_being_applied(&object, &state, at(100)), "its age is unknown");
        object.metadata.creation_timestamp = Some(Time(at(100)));
        for (second, waits) in [
            (80, false),
            (95, true),
            (100, true),
            (109, true),
            (110, false),
            (500, false),
        ] {
            assert_eq!(is_being_applied(&object, &state, at(second)), waits, "{second}");
        }
        for (generation, waits) in [(-1, true), (1, false)] {
            let status = SecurityConnectorStatus {
                observed_generation: Some(generation),
                ..SecurityConnectorStatus::default()
            };
            state.status = status.into();
            assert_eq!(is_being_applied(&object, &state, at(100)), waits, "{generation}");
        }
    }
}
