//! Adds, finds, changes and removes machines, with the members of a seed.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    create::machine_of,
    machine::Moment,
    members::{self, Members},
};
use crate::state::{ResourceGroup, Subscription};

/// Adds a machine or replaces one; `seeded`: as if the integration had been on for a long time.
pub(crate) fn add(
    subscription: &mut Subscription,
    seed: &Value,
    seeded: bool,
    now: Timestamp,
) -> Result<String, String> {
    let members = seed.as_object().ok_or("expected an object with a name")?;
    let at = subscription.fleet_now(now);
    let mut machine = machine_of(subscription, members, at)?;
    if seeded && !members.contains_key("mde") && subscription.wants(&machine, at) {
        machine.long_since(at, subscription.fleet.timing.taking);
    }
    let key = machine.key();
    make_group(subscription, &machine.group, &machine.location);
    subscription
        .fleet
        .machines
        .change()
        .insert(key.clone().into(), machine);
    Ok(key)
}

/// Creates a machine's resource group if it does not exist.
pub(crate) fn make_group(subscription: &mut Subscription, name: &str, location: &str) {
    let key = name.to_ascii_lowercase();
    let groups = &mut subscription.resource_groups;
    groups.entry(key.clone()).or_insert_with(|| ResourceGroup {
        name: key,
        location: location.into(),
        tags: Map::new(),
    });
}

/// Changes a machine by dotted paths.
pub(crate) fn set(
    subscription: &mut Subscription,
    name: &str,
    set: &Members,
    now: Timestamp,
) -> Result<(), String> {
    let (at, timing) = (subscription.fleet_now(now), subscription.fleet.timing);
    let key = find(subscription, name, at).ok_or_else(|| format!("unknown machine '{name}'"))?;
    let mut machine = subscription
        .fleet
        .machines
        .get(&key)
        .cloned()
        .ok_or("unknown machine")?;
    for (path, value) in members::flat(set) {
        members::set_one(&mut machine, &path, &value, at, timing)
            .map_err(|problem| format!("{path}: {problem}"))?;
    }
    subscription.fleet.machines.change().insert(key, machine);
    subscription.settle(now);
    Ok(())
}

/// Deletes a machine; a lagging index still shows it.
pub(crate) fn remove(subscription: &mut Subscription, name: &str, now: Timestamp) -> bool {
    let at = subscription.fleet_now(now);
    let Some(key) = find(subscription, name, at) else {
        return false;
    };
    if let Some(machine) = subscription.fleet.machines.change().get_mut(&key) {
        machine.gone = at;
    }
    true
}

/// The key of a machine by name, or by `resourceGroup/name` if the name is ambiguous.
pub(super) fn find(subscription: &Subscription, name: &str, at: Moment) -> Option<Box<str>> {
    let tail = format!("/{}", name.to_ascii_lowercase());
    subscription
        .fleet
        .machines
        .iter()
        .find(|(key, machine)| key.ends_with(&tail) && machine.exists(at))
        .map(|(key, _)| key.clone())
}
