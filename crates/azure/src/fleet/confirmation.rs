//! Detect, confirm (law 4): Resource Graph is an index that lags, so a machine that looks bad is asked itself, once, and
//! its answer is remembered for as long as its row stays the same.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serverprotection_core::{failure::Failure, machines::Machine};

use super::{
    Scanner,
    direct::{self, Facts},
    rows::hash,
};
use crate::Arm;

/// Machines that a scanner remembers at most.
const MOST_REMEMBERED: usize = 20_000;
/// What only a GET tells (the instance view of a virtual machine's extension) may change without the row.
const GOOD_FOR: Duration = Duration::from_secs(6 * 3600);

/// What machines told about themselves, by [`hash`] of their id.
#[derive(Debug, Default)]
pub(super) struct Memory {
    entries: Mutex<HashMap<u64, Entry>>,
}

#[derive(Debug)]
struct Entry {
    /// Of the row that was asked about.
    row: u64,
    at: Instant,
    told: Told,
}

/// What a machine told about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// As its row.
    Same,
    /// Something else.
    Else(Box<Facts>),
    /// It is gone.
    Gone,
}

impl Told {
    /// The machine as it told; `None`: it is gone.
    pub(super) fn lay_over(&self, mut machine: Machine) -> Option<Machine> {
        match self {
            Self::Same => Some(machine),
            Self::Else(facts) => {
                facts.lay_over(&mut machine);
                Some(machine)
            }
            Self::Gone => None,
        }
    }
}

impl Memory {
    /// What the machine told when its row was the same.
    pub(super) fn told(&self, row: &Machine) -> Option<Told> {
        let entries = self.lock();
        let entry = entries.get(&hash(&row.id, ""))?;
        let good = entry.row == fingerprint(row) && entry.at.elapsed() < GOOD_FOR;
        good.then(|| entry.told.clone())
    }

    fn remember(&self, row: &Machine, told: Told, most: usize) {
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
            told,
        };
        entries.insert(id, entry);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scanner {
    /// Whether a machine that is not listed still exists: one GET.
    pub(super) async fn exists(&self, arm: &Arm, machine: &Machine) -> Result<bool, Failure> {
        let _permit = self.gets.acquire().await;
        Ok(direct::read(arm, machine).await?.is_some())
    }

    /// Asks the machine itself: one GET.
    pub(super) async fn confirm(&self, arm: &Arm, row: &Machine) -> Result<Told, Failure> {
        let _permit = self.gets.acquire().await;
        let told = match direct::read(arm, row).await? {
            None => Told::Gone,
            Some(facts) => {
                let mut machine = row.clone();
                facts.lay_over(&mut machine);
                if machine == *row {
                    Told::Same
                } else {
                    Told::Else(Box::new(facts))
                }
            }
        };
        self.confirmations.remember(row, told.clone(), MOST_REMEMBERED);
        Ok(told)
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
    fn an_answer_is_remembered_until_the_row_changes() {
        let memory = Memory::default();
        memory.remember(&machine("/VM", "on"), Told::Gone, 9);
        assert_eq!(memory.told(&machine("/VM", "on")), Some(Told::Gone));
        assert_eq!(memory.told(&machine("/VM", "off")), None);
        assert_eq!(memory.told(&machine("/other", "on")), None);
        memory.remember(&machine("/VM", "off"), Told::Same, 9);
        assert_eq!(memory.told(&machine("/VM", "off")), Some(Told::Same));
    }

    #[test]
    fn memory_is_bounded() {
        let memory = Memory::default();
        for at in 0..10 {
            memory.remember(&machine(&at.to_string(), ""), Told::Same, 3);
        }
        assert_eq!(memory.lock().len(), 3);
        assert_eq!(memory.told(&machine("9", "")), Some(Told::Same));
    }
}
