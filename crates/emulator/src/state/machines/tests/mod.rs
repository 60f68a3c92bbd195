//! Machines over time, changes of machines, and generated fleets.

mod changes;
mod engine;
mod generate;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Kind, State, Timing, machine::Machine, set};
use crate::state::{Seed, Subscription, World, apply};

const ID: &str = "00000000-0000-0000-0000-0000000000aa";

fn world(document: &str) -> World {
    let mut world = World::default();
    Seed::parse(document)
        .unwrap()
        .populate(&mut world, Timestamp::UNIX_EPOCH)
        .unwrap();
    world
}

fn at(hours: i64) -> Timestamp {
    Timestamp::from_second(hours * 3600).unwrap()
}

/// A subscription without a plan, and one machine in it.
fn subject(machine: &str) -> Subscription {
    let document = format!("subscriptions: [{{subscriptionId: {ID}, machines: [{machine}]}}]");
    world(&document).subscriptions.remove(ID).unwrap()
}

fn patch(subscription: &mut Subscription, set: &Value, hours: i64) {
    apply(subscription, set.as_object().unwrap(), at(hours)).unwrap();
}

/// The states of the sensor's extensions at some hour.
fn states(subscription: &Subscription, hours: i64) -> Vec<State> {
    let moment = subscription.fleet_now(at(hours));
    let (_, machine) = subscription.fleet.machines.iter().next().unwrap();
    machine
        .extensions(moment)
        .filter(|ext| ext.is_mde())
        .map(|ext| ext.state(moment))
        .collect()
}

fn protection() -> Value {
    json!({"pricings.VirtualMachines.pricingTier": "Standard", "pricings.VirtualMachines.subPlan": "P2", "settings.WDATP": true, "settings.WDATP_UNIFIED_SOLUTION": true})
}
