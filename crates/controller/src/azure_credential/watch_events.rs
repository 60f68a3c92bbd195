//! Handles watch events of credentials.

use std::{
    collections::{HashMap, HashSet},
    marker::PhantomData,
    sync::Arc,
};

use kube::{Resource, runtime::watcher::Event};

use super::Credential;
use crate::{
    context::{Context, Controlled},
    credential_use::CredentialKey as Key,
    parsed::Parsed,
};

/// What watch events update before the cache does.
pub(crate) struct EventHandler<C: Credential> {
    pub(crate) own: Controlled<C>,
    /// Uids of the current or the last list.
    pub(crate) seen: HashSet<String>,
}

impl<C: Credential> EventHandler<C> {
    pub(crate) fn on_event(&mut self, event: &Event<Parsed<C>>) {
        match event {
            Event::Init => self.seen.clear(),
            Event::InitApply(object) | Event::Apply(object) => {
                self.seen.extend(object.meta().uid.clone());
                let states = &self.own.states;
                states.observe(object.meta(), object.status(), object.is_valid());
            }
            Event::InitDone => self.own.states.retain(|uid| self.seen.contains(uid)),
            Event::Delete(object) => {
                self.own.states.forget(object.meta());
                if let Some(uid) = &object.meta().uid {
                    self.seen.remove(uid);
                }
            }
        }
    }
}

/// Uid and generation: what a client was created from.
type Version = (Option<String>, Option<i64>);

/// What happens when the cache has taken in an event: objects that use a changed credential are reconciled, and find the
/// change in the cache.
pub(crate) struct CacheUpdates<C> {
    context: Arc<Context>,
    kind: PhantomData<C>,
    known: HashMap<Key, Version>,
    /// The credentials of a list that is not complete yet. The cache takes it in as a whole.
    listing: HashMap<Key, Version>,
}

impl<C: Credential> CacheUpdates<C> {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self {
            context,
            kind: PhantomData,
            known: HashMap::new(),
            listing: HashMap::new(),
        }
    }

    pub(crate) fn on_event(&mut self, event: &Event<Parsed<C>>) {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(object) => {
                self.listing.insert(key(object), version(object));
            }
            Event::Apply(object) => self.apply(key(object), version(object)),
            Event::InitDone => self.listed(),
            Event::Delete(object) => self.gone(&key(object)),
        }
    }

    /// A status write is no change.
    fn apply(&mut self, key: Key, version: Version) {
        if self.known.get(&key) != Some(&version) {
            self.context.trigger_users(&key);
            self.known.insert(key, version);
        }
    }

    fn listed(&mut self) {
        let listing = std::mem::take(&mut self.listing);
        let missing = |key: &&Key| !listing.contains_key(*key);
        let gone: Vec<_> = self.known.keys().filter(missing).cloned().collect();
        for key in gone {
            self.gone(&key);
        }
        for (key, version) in listing {
            self.apply(key, version);
        }
        if C::own(&self.context).listed.set() {
            let (kind, objects) = (C::NAME, self.known.len());
            tracing::info!(kind, objects, "all objects are listed");
        }
    }

    fn gone(&mut self, key: &Key) {
        self.known.remove(key);
        self.context.credentials.forget(key);
        self.context.trigger_users(key);
    }
}

fn key<C: Credential>(object: &Parsed<C>) -> Key {
    Key::of_object(C::KIND, object.meta())
}

fn version<C: Credential>(object: &Parsed<C>) -> Version {
    (object.meta().uid.clone(), object.meta().generation)
}
