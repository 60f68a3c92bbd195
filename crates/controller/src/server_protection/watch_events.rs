//! Handles watch events of `ServerProtection`s: updates claims, and the index that their connectors read.

use std::{collections::HashSet, sync::Arc, time::Duration};

use kube::{Resource, api::ObjectMeta, runtime::watcher::Event};
use serverprotection_api::{SecurityConnector, ServerProtection, ServerProtectionSpec};
use serverprotection_core::{
    claims::{Claimant, HELD},
    security_connector::desired::Protection,
};

use crate::{
    connector_index::{ConnectorIndex, ProtectionEntry},
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
        if let Some(claimant) = claimant(object) {
            self.own.claims.index().upsert(claimant);
        }
        let Parsed::Valid(readable) = object else {
            // Its connectors keep using the last version that could be parsed.
            return;
        };
        let (namespace, name) = names(object.meta());
        let known = ProtectionEntry {
            uid: readable.metadata.uid.clone().unwrap_or_default(),
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
            self.seen.remove(uid);
        }
        if let Some(claimant) = claimant(object) {
            let waiting = self
                .own
                .claims
                .index()
                .remove(&claimant.subscription, &claimant.uid);
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
        let freed = self.own.claims.index().retain(seen);
        self.own.states.retain(seen);
        self.fleet.retain(seen);
        let orphans = self.connector_index.retain_protections(seen);
        self.trigger(&freed);
        for (namespace, name) in orphans {
            self.trigger_connectors.reconcile(&namespace, &name);
        }
    }

    fn trigger(&self, claimants: &[Claimant]) {
        for claimant in claimants {
            self.own.trigger.reconcile(&claimant.namespace, &claimant.name);
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

/// The claim of an object on its subscription, also of an object that cannot be parsed.
fn claimant(object: &Parsed<ServerProtection>) -> Option<Claimant> {
    let (subscription, state) = match object {
        Parsed::Valid(object) => {
            let claim = object.status.as_ref().and_then(|status| status.claim.as_ref());
            (
                object.spec.subscription_id.clone(),
                claim.map(|claim| claim.state.as_str()),
            )
        }
        Parsed::Invalid(object) => (
            object.text("/spec/subscriptionId")?.to_owned(),
            object.text("/status/claim/state"),
        ),
    };
    claimant_of(object.meta(), subscription, state == Some(HELD))
}

/// The claim of an object with this metadata on a subject that has one owner.
pub(crate) fn claimant_of(meta: &ObjectMeta, key: String, held: bool) -> Option<Claimant> {
    Some(Claimant {
        namespace: meta.namespace.clone()?,
        name: meta.name.clone()?,
        uid: meta.uid.clone()?,
        subscription: key,
        created: meta.creation_timestamp.as_ref().map(|time| time.0),
        held,
    })
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
            "status": {"claim": {"state": "Held"}},
        })
    }

    #[test]
    fn an_object_of_a_newer_version_keeps_its_claim() {
        let readable: Parsed<ServerProtection> = serde_json::from_value(object("P2")).unwrap();
        let unreadable: Parsed<ServerProtection> = serde_json::from_value(object("P3")).unwrap();
        assert!(matches!(readable, Parsed::Valid(_)));
        assert!(matches!(unreadable, Parsed::Invalid(_)));
        assert_eq!(claimant(&readable), claimant(&unreadable));
        assert!(claimant(&unreadable).unwrap().held);
    }
}
