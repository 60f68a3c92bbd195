//! The labels of namespaces, which grants select. Only metadata is watched.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, StreamExt, future::ready};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, ResourceExt,
    core::PartialObjectMeta,
    runtime::{WatchStreamExt, watcher::Event},
};
use serverprotection_core::grants::Labels;

use crate::{metrics::Metrics, watch};

/// Name of the kind, as a label.
pub(crate) const NAME: &str = "Namespace";

/// The labels of all namespaces.
#[derive(Debug)]
pub(crate) struct Namespaces {
    labels: Mutex<HashMap<String, Arc<Labels>>>,
    /// Set when all namespaces are listed.
    pub(crate) listed: watch::Listed,
}

impl Namespaces {
    pub(crate) fn new() -> Self {
        let listed = watch::Listed::default();
        // No claim depends on them, so that the list of a standby serves the leader, too.
        listed.begin_to_lead();
        Self {
            labels: Mutex::default(),
            listed,
        }
    }

    /// The labels of a namespace; `None` if it does not exist.
    pub(crate) fn labels(&self, namespace: &str) -> Option<Arc<Labels>> {
        self.lock().get(namespace).cloned()
    }

    /// Watches the namespaces. `on_change` gets each namespace whose labels changed, after they are taken in. Never
    /// ends.
    pub(crate) fn watch(
        self: Arc<Self>,
        client: &Client,
        metrics: Arc<Metrics>,
        on_change: impl Fn(&str) + Send + 'static,
    ) -> impl Stream<Item = ()> + Send {
        let api: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
        let panics = metrics.panics.clone();
        let mut errors = watch::Errors::new(NAME, self.listed.clone(), metrics);
        let mut updates = Updates {
            namespaces: self,
            listing: HashMap::new(),
        };
        watch::events(api)
            .modify(forget_the_rest)
            .filter_map(move |event| ready(errors.logged(event)))
            .map(move |event| {
                if let Ok(event) = event {
                    let span = watch::object_span(NAME, &event);
                    panics.event(&span, || {
                        updates.on_event(&event).iter().for_each(|name| on_change(name));
                    });
                }
            })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Labels>>> {
        self.labels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing else of a namespace is used.
fn forget_the_rest(namespace: &mut PartialObjectMeta<Namespace>) {
    namespace.metadata.annotations = None;
    namespace.metadata.managed_fields = None;
}

/// Takes in the events of the watch.
struct Updates {
    namespaces: Arc<Namespaces>,
    /// A list that is not complete yet.
    listing: HashMap<String, Arc<Labels>>,
}

impl Updates {
    /// Returns the namespaces whose labels changed.
    fn on_event(&mut self, event: &Event<PartialObjectMeta<Namespace>>) -> Vec<String> {
        let labels = |namespace: &PartialObjectMeta<Namespace>| Arc::new(namespace.labels().clone());
        match event {
            Event::Init => {
                self.listing.clear();
                Vec::new()
            }
            Event::InitApply(namespace) => {
                self.listing.insert(namespace.name_any(), labels(namespace));
                Vec::new()
            }
            Event::Apply(namespace) => {
                let (name, after) = (namespace.name_any(), labels(namespace));
                let before = self.namespaces.lock().insert(name.clone(), Arc::clone(&after));
                if before == Some(after) {
                    Vec::new()
                } else {
                    vec![name]
                }
            }
            Event::Delete(namespace) => {
                let name = namespace.name_any();
                let before = self.namespaces.lock().remove(&name);
                before.map(|_| name).into_iter().collect()
            }
            Event::InitDone => self.listed(),
        }
    }

    fn listed(&mut self) -> Vec<String> {
        let after = std::mem::take(&mut self.listing);
        let before = std::mem::replace(&mut *self.namespaces.lock(), after.clone());
        let gone = before.keys().filter(|name| !after.contains_key(*name)).cloned();
        let other = after
            .iter()
            .filter(|(name, labels)| before.get(*name) != Some(*labels));
        let changed = gone.chain(other.map(|(name, _)| name.clone())).collect();
        if self.namespaces.listed.set() {
            tracing::info!(kind = NAME, objects = after.len(), "all objects are listed");
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use kube::core::ObjectMeta;

    use super::*;

    fn namespace(name: &str, team: &str) -> PartialObjectMeta<Namespace> {
        PartialObjectMeta {
            metadata: ObjectMeta {
                name: Some(name.into()),
                labels: Some([("team".to_owned(), team.to_owned())].into()),
                ..ObjectMeta::default()
            },
            ..PartialObjectMeta::default()
        }
    }

    #[test]
    fn only_changes_of_labels_are_reported_and_a_list_counts_as_a_whole() {
        let namespaces = Arc::new(Namespaces::new());
        let mut updates = Updates {
            namespaces: Arc::clone(&namespaces),
            listing: HashMap::new(),
        };
        let mut on = |event| {
            let mut changed = updates.on_event(&event);
            changed.sort();
            changed
        };
        let nothing: [String; 0] = [];
        assert_eq!(on(Event::Init), nothing);
        assert_eq!(on(Event::InitApply(namespace("a", "1"))), nothing);
        assert!(namespaces.labels("a").is_none() && !namespaces.listed.is_set());
        assert_eq!(on(Event::InitDone), ["a"]);
        assert!(namespaces.labels("a").is_some() && namespaces.listed.is_set());
        assert_eq!(on(Event::Apply(namespace("a", "1"))), nothing);
        assert_eq!(on(Event::Apply(namespace("b", "1"))), ["b"]);
        assert_eq!(on(Event::Apply(namespace("a", "2"))), ["a"]);
        assert_eq!(namespaces.labels("a").unwrap()["team"], "2");
        // Another list, after the watch was interrupted.
        assert_eq!(on(Event::Init), nothing);
        for event in [namespace("a", "2"), namespace("c", "1")] {
            assert_eq!(on(Event::InitApply(event)), nothing);
        }
        assert!(namespaces.labels("b").is_some() && namespaces.labels("c").is_none());
        assert_eq!(on(Event::InitDone), ["b", "c"]);
        assert!(namespaces.labels("b").is_none());
        assert_eq!(on(Event::Delete(namespace("c", "1"))), ["c"]);
        assert_eq!(on(Event::Delete(namespace("c", "1"))), nothing);
    }
}
