//! Handles watch events of `ServerProtection`s: updates claims, and the index that their connectors read.

use std::{collections::HashSet, sync::Arc, time::Duration};

use kube::{Resource, api::ObjectMeta, runtime::watcher::Event};
use serverprotection_api::{Mode, SecurityConnector, ServerProtection, ServerProtectionSpec};
use serverprotection_core::{
    claims::{Names, Seen, Stage, State, belongs_to},
    conditions::{self, ConditionType},
    security_connector::{decide::WithoutSubscription, desired::Protection},
};

use crate::{
    azure_credential::CredentialUsers,
    claims::{seen, status_claim},
    clock::now,
    connector_index::{ConnectorIndex, Holding, ProtectionEntry},
    context::Controlled,
    fleet::Fleet,
    kind::Kind,
    parsed::Parsed,
    trigger::Trigger,
};

/// What watch events of `ServerProtection`s update.
pub(crate) struct EventHandler {
    pub(crate) own: Controlled<ServerProtection>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) connector_index: Arc<ConnectorIndex>,
    pub(crate) credential_users: Arc<CredentialUsers>,
    /// Connectors of an object that changed.
    pub(crate) trigger_connectors: Trigger<SecurityConnector>,
    /// Uids of the current or the last list.
    pub(crate) seen: HashSet<String>,
}

impl EventHandler {
    pub(crate) fn on_event(&mut self, event: &Event<Parsed<ServerProtection>>) {
        match event {
            Event::Init => self.seen.clear(),
            Event::InitApply(object) | Event::Apply(object) => self.apply(object),
            Event::InitDone => self.listed(),
            Event::Delete(object) => self.delete(object),
        }
    }

    fn apply(&mut self, object: &Parsed<ServerProtection>) {
        self.seen.extend(object.meta().uid.clone());
        self.own
            .states
            .observe(object.meta(), object.status(), object.is_valid());
        self.credential_users.apply(object);
        if let Some(candidate) = candidate(object) {
            let freed = self.own.claims.index().observe(candidate, now());
            self.trigger(&freed);
        }
        let Parsed::Valid(readable) = object else {
            // Its connectors keep using the last version that could be parsed.
            return;
        };
        let (namespace, name) = names(object.meta());
        let known = ProtectionEntry {
            uid: readable.metadata.uid.clone().unwrap_or_default(),
            holding: holding(readable),
            protection: Protection::of(&readable.spec),
            interval: interval(&readable.spec),
        };
        for connector in self
            .connector_index
            .set_protection(&namespace, &name, Some(&known))
        {
            self.trigger_connectors.reconcile(&namespace, &connector);
        }
    }

    fn delete(&mut self, object: &Parsed<ServerProtection>) {
        if let Some(uid) = &object.meta().uid {
            self.own.states.forget(object.meta());
            self.fleet.deregister(uid);
            self.credential_users.delete(uid);
            self.seen.remove(uid);
            let waiting = self.own.claims.index().remove(uid, now());
            self.trigger(&waiting);
        }
        let (namespace, name) = names(object.meta());
        for connector in self.connector_index.set_protection(&namespace, &name, None) {
            self.trigger_connectors.reconcile(&namespace, &connector);
        }
    }

    fn listed(&mut self) {
        if self.own.listed.set() {
            tracing::info!(
                kind = ServerProtection::NAME,
                objects = self.seen.len(),
                "all objects are listed"
            );
        }
        let seen = |uid: &str| self.seen.contains(uid);
        let freed = self.own.claims.index().retain(seen, now());
        self.own.states.retain(seen);
        self.fleet.retain(seen);
        self.credential_users.retain(seen);
        let orphans = self.connector_index.retain_protections(seen);
        self.trigger(&freed);
        for (namespace, name) in orphans {
            self.trigger_connectors.reconcile(&namespace, &name);
        }
    }

    fn trigger(&self, freed: &[Names]) {
        for names in freed {
            self.own.trigger.reconcile(&names.namespace, &names.name);
        }
    }
}

/// The interval of an object. Admission checks it; an older object with an invalid value gets the default, or the
/// nearest allowed value.
pub(crate) fn interval(spec: &ServerProtectionSpec) -> Duration {
    const SHORTEST: Duration = Duration::from_secs(60);
    const LONGEST: Duration = Duration::from_secs(24 * 3600);
    let interval = humantime::parse_duration(&spec.interval).unwrap_or(Duration::from_secs(600));
    interval.clamp(SHORTEST, LONGEST)
}

fn names(meta: &ObjectMeta) -> (String, String) {
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

/// What an object wants. A `ServerProtection` has no finalizer of ours.
pub(super) fn stage(object: &ServerProtection) -> Stage {
    match (object.metadata.deletion_timestamp.is_some(), object.spec.mode) {
        (true, _) => Stage::Deleting { working: false },
        (false, Mode::Observe) => Stage::Observes,
        (false, Mode::Enforce) if object.spec.suspend => Stage::Suspended,
        (false, Mode::Enforce) => Stage::Enforces,
    }
}

/// Whether the object holds its subscription, as its connectors need to know.
fn holding(object: &ServerProtection) -> Holding {
    let status = object.status.as_ref();
    let claim = status.and_then(|status| status.claim.as_ref());
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let claim = claim.filter(|claim| belongs_to(claim, uid));
    if State::of(claim).occupies() {
        Holding::Holds
    } else if status.and_then(|status| status.observed_generation).unwrap_or(-1) < 0 {
        Holding::Undecided
    } else {
        let conditions = status.map_or(&[][..], |status| &status.conditions);
        let stalled = conditions::get(conditions, ConditionType::Stalled);
        Holding::HoldsNothing(match stalled {
            _ if object.spec.suspend => WithoutSubscription::Suspended,
            Some(stalled) => WithoutSubscription::Stalled(stalled.reason.clone()),
            None => WithoutSubscription::Undecided,
        })
    }
}

/// The object as a candidate for its subscription, also an object that cannot be parsed.
fn candidate(object: &Parsed<ServerProtection>) -> Option<Seen<'_>> {
    let (subscription, stage, claim) = match object {
        Parsed::Valid(object) => {
            let claim = object.status.as_ref().and_then(|status| status.claim.clone());
            (object.spec.subscription_id.clone(), stage(object), claim)
        }
        Parsed::Invalid(object) => {
            let deleting = object.metadata.deletion_timestamp.is_some();
            let stage = if deleting {
                Stage::Deleting { working: false }
            } else {
                Stage::Unreadable
            };
            // Finalizers of others hold nothing, and nobody writes the end of this claim.
            let claim = status_claim(object).filter(|_| !deleting);
            (object.text("/spec/subscriptionId")?.to_owned(), stage, claim)
        }
    };
    seen(object.meta(), subscription.to_lowercase(), stage, claim)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(tier: &str) -> Value {
        json!({
            "apiVersion": "serverprotection.dev/v1alpha1", "kind": "ServerProtection",
            "metadata": {"name": "a", "namespace": "n", "uid": "u"},
            "spec": {"subscriptionId": "s", "plan": {"tier": tier}},
            "status": {"claim": {"state": "Held", "uid": "u"}},
        })
    }

    #[test]
    fn an_object_of_a_newer_version_keeps_its_claim() {
        let readable: Parsed<ServerProtection> = serde_json::from_value(object("P2")).unwrap();
        let unreadable: Parsed<ServerProtection> = serde_json::from_value(object("P3")).unwrap();
        assert!(matches!(readable, Parsed::Valid(_)));
        assert!(matches!(unreadable, Parsed::Invalid(_)));
        let (known, kept) = (candidate(&readable).unwrap(), candidate(&unreadable).unwrap());
        assert_eq!((known.key, known.claim), (kept.key, kept.claim.clone()));
        assert!(State::of(kept.claim.as_ref()).occupies());
        assert_eq!((known.stage, kept.stage), (Stage::Enforces, Stage::Unreadable));
    }

    #[test]
    fn what_an_object_wants_is_in_its_spec_and_metadata() {
        let of = |patch: Value| {
            let mut all = object("P2");
            for (path, value) in patch.as_object().unwrap() {
                *all.pointer_mut(path).unwrap() = value.clone();
            }
            let object: ServerProtection = serde_json::from_value(all).unwrap();
            (stage(&object), holding(&object))
        };
        let suspended = json!({"/spec": {"subscriptionId": "s", "plan": {"tier": "P2"}, "suspend": true}});
        assert_eq!(of(suspended).0, Stage::Suspended);
        let observes = json!({"/spec": {"subscriptionId": "s", "plan": {"tier": "P2"}, "suspend": true,
            "mode": "Observe"}});
        assert_eq!(
            of(observes).0,
            Stage::Observes,
            "releases although it is suspended"
        );
        let deleted = json!({"/metadata": {"name": "a", "namespace": "n", "uid": "u",
            "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/stay"]}});
        assert_eq!(of(deleted).0, Stage::Deleting { working: false });
        assert_eq!(of(json!({})).1, Holding::Holds);
        let restored =
            json!({"/status": {"observedGeneration": 1, "claim": {"state": "Held", "uid": "other"}}});
        let undecided = Holding::HoldsNothing(WithoutSubscription::Undecided);
        assert_eq!(of(restored).1, undecided);
        let condition = |type_: &str, reason: &str| {
            json!({"type": type_, "status": "True", "reason": reason, "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let stalled = |spec: Value| {
            json!({"/spec": spec, "/status": {"observedGeneration": 1,
                "conditions": [condition("Stalled", "MissingPermission")]}})
        };
        let why = Holding::HoldsNothing(WithoutSubscription::Stalled("MissingPermission".into()));
        assert_eq!(
            of(stalled(json!({"subscriptionId": "s", "plan": {"tier": "P2"}}))).1,
            why
        );
        let suspended = json!({"subscriptionId": "s", "plan": {"tier": "P2"}, "suspend": true});
        assert_eq!(
            of(stalled(suspended)).1,
            Holding::HoldsNothing(WithoutSubscription::Suspended)
        );
        let fresh = json!({"/status": {"observedGeneration": -1}});
        assert_eq!(of(fresh).1, Holding::Undecided);
    }
}
