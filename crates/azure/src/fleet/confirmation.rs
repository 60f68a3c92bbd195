//! Detect, confirm (I-4): Resource Graph is an index that lags, so a machine that looks bad is asked itself, once, and
//! its answer is remembered for as long as its row stays the same.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serverprotection_core::{azure_error::AzureError, machines::Machine};

use super::{
    Scanner,
    direct::{self, Facts},
    rows::hash,
};
use crate::Arm;

/// Machines that a scanner remembers at most.
const MAX_ENTRIES: usize = 20_000;
/// What only a GET tells (the instance view of a virtual machine's extension) may change without the row.
const GOOD_FOR: Duration = Duration::from_secs(6 * 3600);

/// What machines told about themselves, by [`hash`] of their id.
#[derive(Debug, Default)]
pub(super) struct Confirmations {
    entries: Mutex<HashMap<u64, Entry>>,
}

#[derive(Debug)]
struct Entry {
    /// Of the row that was asked about.
    row: u64,
    at: Instant,
    confirmation: Confirmation,
}

/// What a machine told about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Confirmation {
    /// As its row.
    Same,
    /// Something else.
    Else(Box<Facts>),
    /// It is gone.
    Gone,
}

impl Confirmation {
    /// The machine as it told; `None`: it is gone.
    pub(super) fn apply_to(&self, mut machine: Machine) -> Option<Machine> {
        match self {
            Self::Same => Some(machine),
            Self::Else(facts) => {
                facts.apply_to(&mut machine);
                Some(machine)
            }
            Self::Gone => None,
        }
    }
}

impl Confirmations {
    /// What the machine told when its row was the same.
    pub(super) fn get(&self, row: &Machine) -> Option<Confirmation> {
        let entries = self.lock();
        let entry = entries.get(&hash(&row.id, ""))?;
        let good = entry.row == fingerprint(row) && entry.at.elapsed() < GOOD_FOR;
        good.then(|| entry.confirmation.clone())
    }

    fn record(&self, row: &Machine, confirmation: Confirmation, most: usize) {
        let mut entries = self.lock();
        let id = hash(&row.id, "");
        if entries.len() >= most && !entries.contains_key(&id) {
            entries.retain(|_, entry| entry.at.elapsed() < GOOD_FOR);
            if entries.len() >= most {
                // Any other one: it is asked again when it still looks bad.
                let victim = entries.keys().next().copied();
                victim.and_then(|victim| entries.remove(&victim));
            }
        }
        let entry = Entry {
            row: fingerprint(row),
            at: Instant::now(),
            confirmation,
        };
        entries.insert(id, entry);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scanner {
    /// Whether a machine that is not listed still exists: one GET.
    pub(super) async fn exists(&self, arm: &Arm, machine: &Machine) -> Result<bool, AzureError> {
        let _permit = self.gets.acquire().await;
        Ok(direct::read(arm, machine).await?.is_some())
    }

    /// Asks the machine itself: one GET.
    pub(super) async fn confirm(&self, arm: &Arm, row: &Machine) -> Result<Confirmation, AzureError> {
        let _permit = self.gets.acquire().await;
        let confirmation = match direct::read(arm, row).await? {
            None => Confirmation::Gone,
            Some(facts) => {
                let mut machine = row.clone();
                facts.apply_to(&mut machine);
                if machine == *row {
                    Confirmation::Same
                } else {
                    Confirmation::Else(Box::new(facts))
                }
            }
        };
        self.confirmations.record(row, confirmation.clone(), MAX_ENTRIES);
        Ok(confirmation)
    }
}

/// Tells machines apart by all that is known of them.
pub(super) fn fingerprint(machine: &Machine) -> u64 {
    let mut hasher = DefaultHasher::new();
    machine.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(id: &str, power: &str) -> Machine {
        Machine {
            id: id.into(),
            power: power.into(),
            ..Machine::default()
        }
    }

    #[test]
    fn a_confirmation_is_cached_until_the_row_changes() {
        let memory = Confirmations::default();
        memory.record(&machine("/VM", "on"), Confirmation::Gone, 9);
        assert_eq!(memory.get(&machine("/VM", "on")), Some(Confirmation::Gone));
        assert_eq!(memory.get(&machine("/VM", "off")), None);
        assert_eq!(memory.get(&machine("/other", "on")), None);
        memory.record(&machine("/VM", "off"), Confirmation::Same, 9);
        assert_eq!(memory.get(&machine("/VM", "off")), Some(Confirmation::Same));
    }

    #[test]
    fn memory_is_bounded() {
        let memory = Confirmations::default();
        for at in 0..10 {
            memory.record(&machine(&at.to_string(), ""), Confirmation::Same, 3);
        }
        assert_eq!(memory.lock().len(), 3);
        assert_eq!(memory.get(&machine("9", "")), Some(Confirmation::Same));
    }
}
