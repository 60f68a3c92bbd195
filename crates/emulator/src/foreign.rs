//! Foreign writers: other clients that keep changing the same fields.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    emulator::Emulator,
    state::{Patch, World, apply},
};

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

    /// Runs the writers that react to a change of a subscription.
    pub fn answer_change(&mut self, world: &mut World, subscription: &str) {
        for writer in &mut self.writers {
            if writer.on_change && writer.subscription == subscription {
                writer.write(world);
            }
        }
    }
}

/// Adds a writer, starts it, and returns its id.
///
/// # Errors
///
/// Returns a message if the interval, the subscription or a path is invalid.
pub fn start(emulator: &Arc<Emulator>, order: Value) -> Result<String, String> {
    let mut writer: ForeignWriter = serde_json::from_value(order).map_err(|error| error.to_string())?;
    writer.subscription = writer.subscription.to_ascii_lowercase();
    let every = writer
        .every
        .as_ref()
        .map(|every| humantime::parse_duration(every).map_err(|error| format!("every: {error}")))
        .transpose()?;
    // Try the changes on a copy, so that a wrong path is reported now.
    let trial = emulator
        .world
        .lock()
        .subscriptions
        .get(&writer.subscription)
        .cloned();
    apply(
        &mut trial.ok_or("unknown subscription")?,
        &writer.set,
        Timestamp::now(),
    )?;
    let id = {
        let mut foreign = emulator.foreign.lock();
        foreign.made += 1;
        if writer.id.is_empty() {
            writer.id = format!("writer-{}", foreign.made);
        }
        let id = writer.id.clone();
        foreign.remove(&id);
        foreign.writers.push(writer);
        id
    };
    if let Some(every) = every {
        tokio::spawn(write_periodically(Arc::clone(emulator), id.clone(), every));
    }
    Ok(id)
}

async fn write_periodically(emulator: Arc<Emulator>, id: String, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let mut world = emulator.world.lock();
        let mut foreign = emulator.foreign.lock();
        let Some(writer) = foreign.writers.iter_mut().find(|writer| writer.id == id) else {
            return;
        };
        writer.write(&mut world);
        emulator.changed();
    }
}
