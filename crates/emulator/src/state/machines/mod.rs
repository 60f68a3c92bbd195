//! Machines, the endpoint sensor's extension on them, and their clock.

mod changes;
mod create;
mod discovery;
mod engine;
mod generate;
mod machine;
mod members;
mod names;
mod operation;
mod os;
mod sensor;
mod shown;
#[cfg(test)]
mod tests;
mod values;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[cfg(test)]
pub(crate) use self::os::OsId;
pub(crate) use self::{
    changes::{add, make_group, remove, set},
    generate::{Generator, fill, populate_fleet},
    machine::{Agent, Ext, HealthReport, Kind, Machine, Moment, NEVER, PUBLISHER, VNext, What, guid, mixed},
    names::{Cloud, Power, State, Status, service_status},
    operation::{Operation, Work},
    os::Support,
    shown::shown,
};
use super::World;
use crate::{instant, switches::Switch};

/// The delays of the engine in milliseconds, how far its clock is ahead, and the answer of a switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timing {
    pub(crate) offset: Moment,
    pub(crate) delay: Moment,
    pub(crate) taking: Moment,
    #[serde(default)]
    pub(crate) discovery: Moment,
    #[serde(default)]
    pub(crate) membership: Moment,
    /// Whether Defender deploys to systems whose support is unconfirmed.
    #[serde(default)]
    pub(crate) unconfirmed_systems: bool,
}

impl Timing {
    pub(crate) fn moment(&self, now: Timestamp) -> Moment {
        instant::epoch_milliseconds(now).saturating_add(self.offset)
    }
}

/// By key (see [`Kind::key`]). A clone is cheap until one of the two changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machines(Arc<BTreeMap<Box<str>, Machine>>);

impl Machines {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Box<str>, &Machine)> {
        self.0.iter()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Machine> {
        self.0.get(key)
    }

    /// For changes; copies the map if it is shared.
    pub(crate) fn change(&mut self) -> &mut BTreeMap<Box<str>, Machine> {
        Arc::make_mut(&mut self.0)
    }

    pub(crate) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&Box<str>, &Machine)> {
        let first: Box<str> = format!("{}/", kind.letter()).into();
        self.0
            .range(first..)
            .take_while(move |(_, machine)| machine.kind == kind)
    }
}

impl Serialize for Machines {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.values())
    }
}

impl<'de> Deserialize<'de> for Machines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = Vec::<Machine>::deserialize(deserializer)?;
        Ok(Self(Arc::new(
            all.into_iter()
                .map(|machine| (machine.key().into(), machine))
                .collect(),
        )))
    }
}

/// The machines of a subscription.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Fleet {
    pub(crate) machines: Machines,
    /// Long-running operations by id.
    pub(crate) operations: BTreeMap<String, Operation>,
    pub(crate) timing: Timing,
    /// Some machines have not appeared yet.
    pub(crate) expecting: bool,
}

fn milliseconds(duration: Duration) -> Moment {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

/// A moment in Azure's format.
pub(crate) fn spelled(moment: Moment) -> String {
    Timestamp::from_millisecond(moment)
        .map(instant::ticks)
        .unwrap_or_default()
}

impl World {
    /// Applies a merge patch to the accounts of other clouds; connectors see the change at once.
    pub(crate) fn patch_clouds(&mut self, patch: &serde_json::Value, now: Timestamp) -> Result<(), String> {
        let at = self.timing().moment(now);
        let merged = self.cloud_accounts.merged(patch, at)?;
        discovery::check_instances(&merged)?;
        self.cloud_accounts = merged;
        self.retime(now);
        Ok(())
    }

    pub(crate) fn timing(&self) -> Timing {
        Timing {
            offset: self.clock,
            delay: milliseconds(self.knobs.provisioning_delay),
            taking: milliseconds(self.knobs.provisioning_time),
            discovery: milliseconds(self.knobs.connector_discovery_delay),
            membership: milliseconds(self.knobs.connector_member_delay),
            unconfirmed_systems: self.switches.flipped(Switch::UnconfirmedSystems),
        }
    }

    /// Advances the fleet's clock only.
    pub(crate) fn advance(&mut self, by: Duration) {
        self.clock = self.clock.saturating_add(milliseconds(by));
        self.retime(Timestamp::now());
    }

    /// Copies the engine's delays and the accounts of other clouds to every subscription.
    pub(crate) fn retime(&mut self, now: Timestamp) {
        let timing = self.timing();
        for subscription in self.subscriptions.values_mut() {
            let slower = subscription.fleet.timing;
            subscription.fleet.timing = timing;
            let moved = !subscription.clouds.same(&self.cloud_accounts);
            if moved {
                subscription.clouds = self.cloud_accounts.clone();
            }
            let offset = timing.offset;
            if (Timing { offset, ..slower }) != timing {
                subscription.plan_again(now);
            } else if moved && !subscription.connectors.is_empty() {
                subscription.settle(now);
            }
        }
    }
}
