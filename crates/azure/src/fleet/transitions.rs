//! When scans first saw extensions in transition: Azure does not date every transition.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use serverprotection_core::{Timestamp, jiff::SignedDuration, machines::Machine};

use super::rows::hash;

/// The maximum number of machines. Transitions of further ones stay undated.
const MAX_ENTRIES: usize = 20_000;
/// A transition that no scan saw for longer counts as a new one, because it may have ended meanwhile.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// First sightings, by [`hash`] of the machine's id.
#[derive(Debug, Default)]
pub(super) struct Transitions {
    entries: Mutex<HashMap<u64, Entry>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// A hash of the extensions in transition and their states.
    transition: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Transitions {
    /// When the current transition of the machine's extensions was first seen; `None` if they are in none.
    pub(super) fn seen(&self, machine: &Machine, now: Timestamp) -> Option<Timestamp> {
        self.seen_with_limit(machine, now, MAX_ENTRIES)
    }

    fn seen_with_limit(&self, machine: &Machine, now: Timestamp, most: usize) -> Option<Timestamp> {
        let transition = transition(machine);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if transition.is_none() && entries.is_empty() {
            return None;
        }
        let id = hash(&machine.id, "");
        let Some(transition) = transition else {
            entries.remove(&id);
            return None;
        };
        let is_recent = |entry: &Entry| now.duration_since(entry.last) <= KEPT;
        if let Some(entry) = entries.get_mut(&id)
            && entry.transition == transition
            && is_recent(entry)
        {
            entry.last = now;
            return Some(entry.first);
        }
        if entries.len() >= most && !entries.contains_key(&id) {
            entries.retain(|_, entry| is_recent(entry));
            if entries.len() >= most {
                return None;
            }
        }
        let entry = Entry {
            transition,
            first: now,
            last: now,
        };
        entries.insert(id, entry);
        Some(now)
    }
}

/// A hash of the extensions in transition and their states; `None` if there are none.
fn transition(machine: &Machine) -> Option<u64> {
    let in_transition = machine
        .extensions
        .iter()
        .filter(|extension| extension.in_transition());
    // A sum, because rows and responses list extensions in different orders.
    in_transition
        .map(|extension| hash(&extension.name, &extension.state.to_ascii_lowercase()))
        .reduce(u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use serverprotection_core::machines::MdeExtension;

    use super::*;

    fn machine(id: &str, state: &str) -> Machine {
        let extension = MdeExtension {
            name: "MDE.Linux".into(),
            state: state.into(),
            ..MdeExtension::default()
        };
        Machine {
            id: id.into(),
            extensions: vec![extension],
            ..Machine::default()
        }
    }

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(hour * 3600).unwrap()
    }

    #[test]
    fn a_transition_is_as_old_as_its_first_sighting() {
        let transitions = Transitions::default();
        let seen = |state: &str, hour| transitions.seen(&machine("/VM", state), at(hour));
        assert_eq!(seen("Succeeded", 0), None);
        assert_eq!(seen("Updating", 1), Some(at(1)));
        assert_eq!(seen("updating", 9), Some(at(1)));
        assert_eq!(seen("Deleting", 10), Some(at(10)), "another transition");
        assert_eq!(seen("Succeeded", 11), None);
        assert_eq!(seen("Deleting", 12), Some(at(12)), "a new transition");
        assert_eq!(seen("Deleting", 40), Some(at(40)), "not seen for more than a day");
        let other = transitions.seen(&machine("/other", "Deleting"), at(41));
        assert_eq!(other, Some(at(41)));
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let transitions = Transitions::default();
        let seen = |id: &str, hour| transitions.seen_with_limit(&machine(id, "Creating"), at(hour), 2);
        assert_eq!(seen("1", 0), Some(at(0)));
        assert_eq!(seen("2", 1), Some(at(1)));
        assert_eq!(seen("3", 2), None);
        assert_eq!(seen("1", 20), Some(at(0)), "existing entries are kept");
        assert_eq!(seen("3", 30), Some(at(30)), "2 was not seen for a day");
    }
}
