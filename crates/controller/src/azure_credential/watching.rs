//! The watches of credentials. All other controllers need their caches, so that these exist first.

use std::{collections::HashSet, sync::Arc};

use futures::{StreamExt, stream::BoxStream};
use kube::{
    Client,
    runtime::{reflector::Store, watcher},
};
use serverprotection_core::claims::Rules;

use super::{CacheUpdates, Credential, EventHandler};
use crate::{
    context::{Context, Controlled},
    control_loops::{Triggered, Watched},
    leadership,
    lease::Signals,
    metrics::Metrics,
    parsed::Parsed,
    reconciler::Reconcile,
    watch,
};

type Event<C> = watcher::Event<Parsed<C>>;

/// The watch of a kind of credentials, before there is a context.
pub(crate) struct Watching<C: Credential> {
    pub(crate) own: Controlled<C>,
    pub(crate) store: Store<Parsed<C>>,
    triggered: Triggered<C>,
    events: BoxStream<'static, watcher::Result<Event<C>>>,
}

impl<C: Credential + Reconcile> Watching<C> {
    pub(crate) fn new(
        client: &Client,
        namespace: Option<&str>,
        metrics: &Metrics,
        rules: Rules,
        signals: &Signals,
    ) -> Self {
        let (own, triggered) = Controlled::new(rules, signals.elected.clone());
        let mut handler = EventHandler {
            own: own.clone(),
            seen: HashSet::new(),
        };
        let (store, events) = watch::cached(
            watch::api(client, namespace),
            metrics.panics.clone(),
            leadership::succession(&own, &signals.elected),
            own.listed.clone(),
            move |event: &_| handler.on_event(event),
        );
        Self {
            own,
            store,
            triggered,
            events: events.boxed(),
        }
    }

    /// Objects that use a changed credential are reconciled when the cache has taken in the change.
    pub(crate) fn start(self, context: &Arc<Context>) -> Watched<C> {
        let panics = context.metrics.panics.clone();
        let mut updates = CacheUpdates::<C>::new(Arc::clone(context));
        let events = self.events.inspect(move |event| {
            if let Ok(event) = event {
                let span = watch::object_span(C::NAME, event);
                panics.event(&span, || updates.on_event(event));
            }
        });
        Watched::new(self.store, events, self.triggered)
    }
}
