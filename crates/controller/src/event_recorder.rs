//! Records events. Events that say the same are one event with a series; kube's recorder would also count an event that
//! says something else under the same reason, and keep the first note.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, Recorder, Reporter},
};

/// As long as kube's recorder continues a series.
const SERIES: Duration = Duration::from_secs(6 * 60);

/// The object of an event, by uid, and the event's reason.
type Key = (String, String);

/// The last event of a key.
struct Last {
    note: Option<String>,
    recorder: Recorder,
    at: Instant,
}

/// Records events with kube's recorder, one for each series.
pub(crate) struct EventRecorder {
    client: Client,
    reporter: Reporter,
    last: Mutex<HashMap<Key, Last>>,
}

impl EventRecorder {
    pub(crate) fn new(client: Client, reporter: Reporter) -> Self {
        Self {
            client,
            reporter,
            last: Mutex::default(),
        }
    }

    /// Sends an event, or continues the series of the same event.
    ///
    /// # Errors
    ///
    /// Fails if the API server does not take it.
    pub(crate) async fn publish(&self, event: &Event, object: &ObjectReference) -> Result<(), kube::Error> {
        let recorder = self.series(event, object, Instant::now());
        recorder.publish(event, object).await
    }

    fn series(&self, event: &Event, object: &ObjectReference, now: Instant) -> Recorder {
        let key = (object.uid.clone().unwrap_or_default(), event.reason.clone());
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|_, last| now.saturating_duration_since(last.at) < SERIES);
        match last.get_mut(&key) {
            Some(last) if last.note == event.note => {
                last.at = now;
                last.recorder.clone()
            }
            _ => {
                let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
                let new = Last {
                    note: event.note.clone(),
                    recorder: recorder.clone(),
                    at: now,
                };
                last.insert(key, new);
                recorder
            }
        }
    }
}
