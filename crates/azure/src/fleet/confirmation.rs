//! Confirms findings (I-4): Resource Graph lags, so a bad finding is checked with one GET of the machine. The result is
//! cached while the row of the machine stays the same.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serverprotection_core::{azure_error::AzureError, machines::Machine};

use super::{Scanner, direct, facts::Facts, rows::hash};
use crate::arm::Arm;

/// The maximum number of cached confirmations.
const MAX_ENTRIES: usize = 20_000;
/// The instance view of a virtual machine's extension, which only a GET returns, may change while the row does not.
const GOOD_FOR: Duration = Duration::from_secs(6 * 3600);

/// Cached confirmations, by [`hash`] of the machine's id.
#[derive(Debug, Default)]
pub(super) struct Confirmations {
    entries: Mutex<HashMap<u64, Entry>>,
}

#[derive(Debug)]
struct Entry {
    /// The fingerprint of the row that was confirmed.
    row: u64,
    at: Instant,
    confirmation: Confirmation,
}

/// The result of a GET of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Confirmation {
    /// The machine is as in its row.
    Same,
    /// The machine differs from its row.
    Different(Box<Facts>),
    /// The machine does not exist.
    Gone,
}

impl Confirmation {
    /// The machine as it is; `None` if it does not exist.
    pub(super) fn apply_to(&self, mut machine: Machine) -> Option<Machine> {
        match self {
            Self::Same => Some(machine),
            Self::Different(facts) => {
                facts.apply_to(&mut machine);
                Some(machine)
            }
            Self::Gone => None,
        }
    }
}

impl Confirmations {
    /// The cached confirmation of a row.
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
                // Evict any entry: its machine is confirmed again if its finding is still bad.
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
    /// Whether a machine that is not listed exists. Sends one GET.
    pub(super) async fn exists(&self, arm: &Arm, machine: &Machine) -> Result<bool, AzureError> {
        let _permit = self.gets.acquire().await;
        Ok(direct::read(arm, machine).await?.is_some())
    }

    /// Confirms a row with one GET of the machine.
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
                    Confirmation::Different(Box::new(facts))
                }
            }
        };
        self.confirmations.record(row, confirmation.clone(), MAX_ENTRIES);
        Ok(confirmation)
    }
}

/// A hash of all that is known of a machine.
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
        let cache = Confirmations::default();
        cache.record(&machine("/VM", "on"), Confirmation::Gone, 9);
        assert_eq!(cache.get(&machine("/VM", "on")), Some(Confirmation::Gone));
        assert_eq!(cache.get(&machine("/VM", "off")), None);
        assert_eq!(cache.get(&machine("/other", "on")), None);
        cache.record(&machine("/VM", "off"), Confirmation::Same, 9);
        assert_eq!(cache.get(&machine("/VM", "off")), Some(Confirmation::Same));
    }

    #[test]
    fn the_cache_is_bounded() {
        let cache = Confirmations::default();
        for at in 0..10 {
            cache.record(&machine(&at.to_string(), ""), Confirmation::Same, 3);
        }
        assert_eq!(cache.lock().len(), 3);
        assert_eq!(cache.get(&machine("9", "")), Some(Confirmation::Same));
    }
}
