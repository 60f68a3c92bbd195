//! Watches the objects and records when each one became Ready.

use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client, Resource,
    core::{ApiResource, DynamicObject},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::Value;
use serverprotection_tests::{
    Error,
    recorder::{connector_resource, resource},
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::task::JoinHandle;

/// What was recorded so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// When the object of each subscription or account became Ready.
    pub(crate) ready: HashMap<String, Timestamp>,
    /// Objects that were Ready and then were not.
    pub(crate) lost: u64,
    /// Objects whose status shows their machines.
    pub(crate) scanned: HashSet<String>,
    /// Versions after the list.
    pub(crate) versions: u64,
    /// Those of each object until it was Ready, with the one that says so.
    pub(crate) versions_until_ready: u64,
    /// Those versions with another status that did not answer a request for a reconcile.
    pub(crate) unasked: u64,
}

/// A running watch. It stops on drop.
#[derive(Debug)]
pub(crate) struct Watching {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Watching {
    /// Watches the `ServerProtection`s of all namespaces, identified by subscription.
    pub(crate) fn start(client: Client) -> Self {
        Self::of(client, resource(), "/spec/subscriptionId")
    }

    /// Watches the `SecurityConnector`s of all namespaces, identified by account.
    pub(crate) fn connectors(client: Client) -> Self {
        Self::of(client, connector_resource(), "/spec/aws/accountId")
    }

    fn of(client: Client, kind: ApiResource, key: &'static str) -> Self {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let task = tokio::spawn(follow(client, kind, key, Arc::clone(&seen)));
        Self { seen, task }
    }

    /// Number of Ready objects.
    pub(crate) fn ready(&self) -> usize {
        lock(&self.seen).ready.len()
    }

    /// Number of objects whose status shows their machines.
    pub(crate) fn scanned(&self) -> usize {
        lock(&self.seen).scanned.len()
    }

    /// Number of versions after the list.
    pub(crate) fn versions(&self) -> u64 {
        lock(&self.seen).versions
    }

    /// A copy of the records.
    pub(crate) fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }

    /// Adds the first of these that is not Ready to the error of a wait.
    pub(crate) fn name_missing(&self, error: Error, objects: usize, key: fn(usize) -> String) -> Error {
        let Error::Timeout { what, after, last } = error else {
            return error;
        };
        let seen = lock(&self.seen);
        let missing = (0..objects).map(key).find(|id| !seen.ready.contains_key(id));
        Error::Timeout {
            what,
            after,
            last: format!("{last}; not {}", missing.unwrap_or_default()),
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn follow(client: Client, kind: ApiResource, key: &'static str, seen: Arc<Mutex<Seen>>) {
    let api: Api<DynamicObject> = Api::all_with(client, &kind);
    let mut last: HashMap<String, Value> = HashMap::new();
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    while let Some(event) = events.next().await {
        let (object, listed) = match event {
            Ok(watcher::Event::InitApply(object)) => (object, true),
            Ok(watcher::Event::Apply(object)) => (object, false),
            _ => continue,
        };
        let Some(key) = object.data.pointer(key).and_then(Value::as_str) else {
            continue;
        };
        let status = object.data.get("status").cloned().unwrap_or_default();
        let before = last.insert(key.to_owned(), status.clone()).unwrap_or_default();
        let mut seen = lock(&seen);
        if !listed {
            seen.versions += 1;
            seen.versions_until_ready += u64::from(!seen.ready.contains_key(key));
            seen.unasked += u64::from(status != before && answered(&status) == answered(&before));
        }
        if status.get("machines").is_some() {
            seen.scanned.insert(key.to_owned());
        }
        if is_ready(&object) {
            seen.ready.entry(key.to_owned()).or_insert_with(Timestamp::now);
        } else if seen.ready.remove(key).is_some() {
            seen.lost += 1;
        }
    }
}

/// The last handled request.
fn answered(status: &Value) -> Option<&str> {
    status.get("lastHandledRequest")?.as_str()
}

/// Whether `Ready` is True for the current generation.
fn is_ready(object: &DynamicObject) -> bool {
    let observed = object
        .data
        .pointer("/status/observedGeneration")
        .and_then(Value::as_i64);
    let conditions = object
        .data
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let is = |condition: &Value, member: &str, value: &str| {
        condition.get(member).and_then(Value::as_str) == Some(value)
    };
    observed.is_some()
        && observed == object.meta().generation
        && conditions
            .into_iter()
            .flatten()
            .any(|condition| is(condition, "type", "Ready") && is(condition, "status", "True"))
}
