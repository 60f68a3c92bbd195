//! Foreign writers: other clients that keep changing the same fields.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::state::{Patch, World, apply};

/// A writer, as added at the control endpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForeignWriter {
    /// Generated if absent.
    #[serde(default)]
    pub id: String,
    /// The subscription.
    pub subscription: String,
    /// The changes, as dotted paths.
    pub set: Patch,
    /// The interval of a periodic writer.
    #[serde(default)]
    pub every: Option<String>,
    /// Write right after each write of any client that changed something.
    #[serde(default)]
    pub on_change: bool,
    /// Maximum number of writes.
    #[serde(default)]
    pub times: Option<u32>,
    /// Writes so far.
    #[serde(default)]
    pub applied: u32,
}

/// All writers.
#[derive(Debug, Default)]
pub struct ForeignWriters {
    writers: Vec<ForeignWriter>,
    made: u32,
}

impl ForeignWriter {
    fn write(&mut self, world: &mut World) {
        if self.times.is_some_and(|times| self.applied >= times) {
            return;
        }
        if let Some(subscription) = world.subscriptions.get_mut(&self.subscription) {
            self.applied += 1;
            if let Err(problem) = apply(subscription, &self.set, Timestamp::now()) {
                tracing::warn!(error = %problem, writer = self.id, "foreign writer failed");
            }
        }
    }
}

impl ForeignWriters {
    /// The writers with their counters.
    pub fn list(&self) -> &[ForeignWriter] {
        &self.writers
    }

    /// Adds a writer, or replaces the one with the same id, and returns its id.
    pub fn add(&mut self, mut writer: ForeignWriter) -> String {
        self.made += 1;
        if writer.id.is_empty() {
            writer.id = format!("writer-{}", self.made);
        }
        let id = writer.id.clone();
        self.remove(&id);
        self.writers.push(writer);
        id
    }

    /// Stops one writer.
    pub fn remove(&mut self, id: &str) -> bool {
        let before = self.writers.len();
        self.writers.retain(|writer| writer.id != id);
        self.writers.len() < before
    }

    /// Stops all.
    pub fn clear(&mut self) {
        self.writers.clear();
    }

    /// Lets one writer write; false if it was removed.
    pub fn write(&mut self, id: &str, world: &mut World) -> bool {
        let found = self.writers.iter_mut().find(|writer| writer.id == id);
        if let Some(writer) = found {
            writer.write(world);
            return true;
        }
        false
    }

    /// Runs the writers that react to a change of a subscription.
    pub fn answer_change(&mut self, world: &mut World, subscription: &str) {
        for writer in &mut self.writers {
            if writer.on_change && writer.subscription == subscription {
                writer.write(world);
            }
        }
    }
}
