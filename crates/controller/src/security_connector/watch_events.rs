//! Handles watch events of connectors: updates claims, and the index that their `ServerProtection` reads.

use std::{collections::HashSet, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Resource, runtime::watcher::Event};
use serde_json::Value;
use serverprotection_api::{ClaimStatus, SecurityConnector, ServerProtection};
use serverprotection_core::{
    claims::{Names, Seen, Stage, State},
    conditions::{self, ConditionType, Reason},
};

use super::finalizer;
use crate::{
    claims::{seen, status_claim},
    clock::now,
    connector_index::{ConnectorEntry, ConnectorIndex},
    context::Controlled,
    kind::Kind,
    parsed::{InvalidObject, Parsed},
    trigger::Trigger,
};

/// What watch events of connectors update.
pub(crate) struct EventHandler {
    pub(crate) own: Controlled<SecurityConnector>,
    pub(crate) connector_index: Arc<ConnectorIndex>,
    /// The `ServerProtection` of a connector that changed.
    pub(crate) trigger_protections: Trigger<ServerProtection>,
    /// Uids of the current or the last list.
    pub(crate) seen: HashSet<String>,
}

impl EventHandler {
    pub(crate) fn on_event(&mut self, event: &Event<Parsed<SecurityConnector>>) {
        match event {
            Event::Init => self.seen.clear(),
            Event::InitApply(object) | Event::Apply(object) => self.apply(object),
            Event::InitDone => self.listed(),
            Event::Delete(object) => self.delete(object),
        }
    }

    fn apply(&mut self, object: &Parsed<SecurityConnector>) {
        let meta = object.meta();
        let (Some(uid), Some(namespace), Some(name)) = (&meta.uid, &meta.namespace, &meta.name) else {
            return;
        };
        self.seen.insert(uid.clone());
        self.own.states.observe(meta, object.status(), object.is_valid());
        if let Some(candidate) = candidate(object) {
            let freed = self.own.claims.index().observe(candidate, now());
            self.trigger(&freed);
        }
        let row = ConnectorEntry {
            name: name.clone(),
            not_ready: not_ready(object),
            waits: claim(object).is_some_and(|claim| State::of(Some(&claim)) == State::Waiting),
        };
        if let Some(protection) = protection(object)
            && self
                .connector_index
                .set_connector(namespace, &protection, uid, &row)
        {
            self.trigger_protections.refresh(namespace, &protection);
        }
    }

    fn delete(&mut self, object: &Parsed<SecurityConnector>) {
        let Some(uid) = &object.meta().uid else { return };
        self.own.states.forget(object.meta());
        self.seen.remove(uid);
        let waiting = self.own.claims.index().remove(uid, now());
        self.trigger(&waiting);
        if let Some((namespace, name)) = self.connector_index.remove_connector(uid) {
            self.trigger_protections.refresh(&namespace, &name);
        }
    }

    fn listed(&mut self) {
        if self.own.listed.set() {
            tracing::info!(
                kind = SecurityConnector::NAME,
                objects = self.seen.len(),
                "all objects are listed"
            );
        }
        let seen = |uid: &str| self.seen.contains(uid);
        let freed = self.own.claims.index().retain(seen, now());
        self.own.states.retain(seen);
        for (namespace, name) in self.connector_index.connectors_are_listed(seen) {
            self.trigger_protections.refresh(&namespace, &name);
        }
        self.trigger(&freed);
    }

    fn trigger(&self, freed: &[Names]) {
        for names in freed {
            self.own.trigger.reconcile(&names.namespace, &names.name);
        }
    }
}

/// The object as a candidate for its connector, also an object that cannot be parsed. Before its first reconcile, the id
/// of the connector is not known.
fn candidate(object: &Parsed<SecurityConnector>) -> Option<Seen<'_>> {
    let (target, stage) = match object {
        Parsed::Valid(object) => {
            let target = object.status.as_ref().and_then(|status| status.target.as_ref());
            (target.map(|target| target.id.as_str()), stage(object))
        }
        Parsed::Invalid(object) => (object.text("/status/target/id"), unreadable_stage(object)),
    };
    seen(object.meta(), target?.to_lowercase(), stage, claim(object))
}

fn claim(object: &Parsed<SecurityConnector>) -> Option<ClaimStatus> {
    match object {
        Parsed::Valid(object) => object.status.as_ref().and_then(|status| status.claim.clone()),
        // Nobody writes the end of this claim after our finalizer is gone.
        Parsed::Invalid(object) => {
            let released = unreadable_stage(object) == (Stage::Deleting { working: false });
            status_claim(object).filter(|_| !released)
        }
    }
}

/// What an object wants, apart from what its `ServerProtection` says.
pub(super) fn stage(object: &SecurityConnector) -> Stage {
    if object.metadata.deletion_timestamp.is_some() {
        let working = finalizer::is_on(&object.metadata);
        Stage::Deleting { working }
    } else if object.spec.suspend {
        Stage::Suspended
    } else {
        Stage::Enforces
    }
}

fn unreadable_stage(object: &InvalidObject) -> Stage {
    if object.metadata.deletion_timestamp.is_some() {
        let working = finalizer::is_on(&object.metadata);
        Stage::Deleting { working }
    } else {
        Stage::Unreadable
    }
}

fn protection(object: &Parsed<SecurityConnector>) -> Option<String> {
    match object {
        Parsed::Valid(object) => Some(object.spec.protection_ref.name.clone()),
        Parsed::Invalid(object) => object.text("/spec/protectionRef/name").map(str::to_owned),
    }
}

/// Why the connector is not Ready. A spec that was not observed yet counts as not Ready, whatever an older status
/// says.
fn not_ready(object: &Parsed<SecurityConnector>) -> Option<String> {
    let (observed, ready) = match object {
        Parsed::Valid(object) => {
            let status = object.status.as_ref();
            (
                status.and_then(|status| status.observed_generation),
                status.and_then(|status| ready(&status.conditions)),
            )
        }
        Parsed::Invalid(object) => (
            object
                .raw
                .pointer("/status/observedGeneration")
                .and_then(Value::as_i64),
            ready(&raw_conditions(object)),
        ),
    };
    if object.meta().deletion_timestamp.is_some() {
        return Some(Reason::Deleting.as_str().into());
    }
    if observed != object.meta().generation {
        return Some(Reason::NotObserved.as_str().into());
    }
    match ready {
        Some((true, _)) => None,
        Some((false, reason)) => Some(reason),
        None => Some(Reason::NotObserved.as_str().into()),
    }
}

/// Whether Ready is True, and its reason.
fn ready(conditions: &[Condition]) -> Option<(bool, String)> {
    let ready = conditions::get(conditions, ConditionType::Ready)?;
    Some((ready.status == "True", ready.reason.clone()))
}

fn raw_conditions(object: &InvalidObject) -> Vec<Condition> {
    let conditions = object.raw.pointer("/status/conditions").cloned();
    serde_json::from_value(conditions.unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(type_: &str, tier: &str, status: &Value) -> Parsed<SecurityConnector> {
        let cloud = if type_ == "AWS" {
            json!({"accountId": "123456789012"})
        } else {
            json!({"projectNumber": "42", "projectId": "my-project"})
        };
        serde_json::from_value(json!({
            "apiVersion": "serverprotection.dev/v1alpha1", "kind": "SecurityConnector",
            "metadata": {"name": "a", "namespace": "n", "uid": "u", "generation": 2},
            "spec": {"protectionRef": {"name": "prod"}, "resourceGroup": "rg", "location": "westeurope",
                "type": type_, type_.to_lowercase(): cloud, "plan": {"tier": tier}},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_connector_of_a_newer_version_keeps_its_claims_and_its_protection() {
        let status = json!({"observedGeneration": 2, "claim": {"state": "Held", "uid": "u"},
            "target": {"id": "/Subscriptions/S/x", "subscriptionId": "s", "mode": "Enforce"}});
        for type_ in ["AWS", "GCP"] {
            let readable = object(type_, "P2", &status);
            let unreadable = object(type_, "P3", &status);
            assert!(matches!(readable, Parsed::Valid(_)));
            assert!(matches!(unreadable, Parsed::Invalid(_)));
            let (known, kept) = (candidate(&readable).unwrap(), candidate(&unreadable).unwrap());
            assert_eq!(kept.key, "/subscriptions/s/x");
            assert_eq!((known.key, known.claim), (kept.key, kept.claim.clone()));
            assert!(State::of(kept.claim.as_ref()).occupies());
            assert_eq!((known.stage, kept.stage), (Stage::Enforces, Stage::Unreadable));
            assert_eq!(protection(&readable), protection(&unreadable));
        }
    }

    #[test]
    fn only_what_was_observed_counts_as_ready() {
        let ready = |generation, status, reason| {
            json!({"observedGeneration": generation, "conditions": [{"type": "Ready", "status": status,
                "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]})
        };
        let reported = |status: &Value| not_ready(&object("AWS", "P2", status));
        assert_eq!(reported(&ready(2, "True", "InSync")), None);
        assert_eq!(
            reported(&ready(1, "True", "InSync")).as_deref(),
            Some("NotObserved")
        );
        assert_eq!(
            reported(&ready(2, "False", "Progressing")).as_deref(),
            Some("Progressing")
        );
        assert_eq!(reported(&json!({})).as_deref(), Some("NotObserved"));
    }
}
