//! The engine as a table of cases over time, and the mix of generated fleets.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Kind, State, Timing, generate, machine::Machine, set};
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

#[test]
fn who_gets_the_sensor() {
    let on = protection();
    let no_unified = json!({"settings.WDATP_UNIFIED_SOLUTION": false});
    let no_linux = json!({"settings.WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW": true});
    let no_wdatp = json!({"settings.WDATP": false});
    let free = json!({"pricings.VirtualMachines.pricingTier": "Free"});
    let own_free = json!({(format!(
        "resourcePricings./subscriptions/{ID}/resourceGroups/RG-machines/providers/Microsoft.Compute/virtualMachines/m"
    )): "Free"});
    let nothing = json!({});
    for (machine, then, gets) in [
        ("{name: m}", &nothing, true),
        ("{name: m}", &no_linux, false),
        ("{name: m}", &no_wdatp, false),
        ("{name: m}", &free, false),
        ("{name: m}", &own_free, false),
        ("{name: m, os: windows-2022}", &no_linux, true),
        ("{name: m, os: windows-2016}", &nothing, true),
        ("{name: m, os: windows-2016}", &no_unified, false),
        ("{name: m, os: windows-2022}", &no_unified, true),
        ("{name: m, os: windows-11}", &nothing, false),
        ("{name: m, os: windows-11-multi}", &nothing, true),
        ("{name: m, os: windows-10-avd}", &nothing, true),
        ("{name: m, os: cisco-appliance}", &nothing, false),
        ("{name: m, powerState: deallocated}", &nothing, false),
        ("{name: m, neverProvisioned: true}", &nothing, false),
        ("{name: m, cloudProvider: OnPremises}", &nothing, true),
        ("{name: m, arc: {status: Disconnected}}", &nothing, false),
        ("{name: m, arc: {extensionsEnabled: false}}", &nothing, false),
        ("{name: m, arc: {configMode: monitor}}", &nothing, true),
        ("{name: m, arc: {extensionService: stopped}}", &nothing, false),
        ("{name: m, arc: {extensionService: failed}}", &nothing, false),
        ("{name: m, arc: {extensionService: activating}}", &nothing, true),
        (
            "{name: m, arc: {extensionsBlockList: [MDE.Linux]}}",
            &nothing,
            false,
        ),
        (
            "{name: m, arc: {extensionsAllowList: [MDE.Windows]}}",
            &nothing,
            false,
        ),
        (
            "{name: m, arc: {extensionsAllowList: [MDE.Linux]}}",
            &nothing,
            true,
        ),
        (
            "{name: m, os: windows-2008r2, cloudProvider: OnPremises}",
            &nothing,
            false,
        ),
        (
            "{name: m, cloudProvider: AWS, createdByPublicCloudConnector: true}",
            &nothing,
            false,
        ),
        ("{name: m, capacity: 3}", &nothing, false),
    ] {
        let mut subscription = subject(machine);
        patch(&mut subscription, &on, 1);
        patch(&mut subscription, then, 1);
        assert_eq!(!states(&subscription, 4).is_empty(), gets, "{machine} {then}");
    }
}

#[test]
fn lifecycle_of_the_extension() {
    let mut subscription = subject("{name: m}");
    patch(&mut subscription, &protection(), 1);
    assert_eq!(states(&subscription, 1), []);
    assert_eq!(states(&subscription, 3), [State::Succeeded]);
    // Later than every possible delay, before the end of the run.
    subscription.fleet.timing = Timing {
        taking: 10_800_000,
        ..subscription.fleet.timing
    };
    subscription.plan_again(at(1));
    assert_eq!(states(&subscription, 3), [State::Creating]);
    assert_eq!(states(&subscription, 6), [State::Succeeded]);
    let moment = subscription.fleet_now(at(7));
    for machine in subscription.fleet.machines.change().values_mut() {
        assert!(machine.delete_extension("mde.linux", moment, 60_000).is_some());
    }
    subscription.settle(at(7));
    assert_eq!(states(&subscription, 6), [State::Succeeded], "an index that lags");
    assert_eq!(states(&subscription, 7), [State::Deleting]);
    assert_eq!(states(&subscription, 14), [State::Succeeded], "it came back");
    patch(&mut subscription, &json!({"settings.WDATP": false}), 14);
    assert_eq!(
        states(&subscription, 20),
        [State::Succeeded],
        "what is there stays"
    );
}

#[test]
fn a_machine_that_is_off_gets_the_sensor_later() {
    let mut subscription = subject("{name: m, provisioningFailureCode: 25}");
    patch(&mut subscription, &protection(), 1);
    patch(
        &mut subscription,
        &json!({"machines.m": {"powerState": "deallocated"}}),
        1,
    );
    assert_eq!(states(&subscription, 9), []);
    patch(
        &mut subscription,
        &json!({"machines.m": {"powerState": "running"}}),
        10,
    );
    assert_eq!(states(&subscription, 10), []);
    assert_eq!(states(&subscription, 13), [State::Failed]);
    let (_, machine) = subscription.fleet.machines.iter().next().unwrap();
    assert_eq!(
        machine.power_state(subscription.fleet_now(at(9))).power.name(),
        "deallocated"
    );
    patch(
        &mut subscription,
        &json!({"machines.m": {"provisioningFailureCode": null, "mde.provisioningState": "Succeeded"}}),
        14,
    );
    assert_eq!(states(&subscription, 13), [State::Failed]);
    assert_eq!(states(&subscription, 14), [State::Succeeded]);
    patch(&mut subscription, &json!({"machines.m": null}), 15);
    assert!(
        !subscription
            .fleet
            .machines
            .iter()
            .next()
            .unwrap()
            .1
            .exists(subscription.fleet_now(at(15)))
    );
}

#[test]
fn seeded_machines_are_already_provisioned() {
    let plan = "pricings: {VirtualMachines: {pricingTier: Standard, subPlan: P2}}, settings: {WDATP: true}";
    for (machine, expected) in [
        ("{name: m}", vec![State::Succeeded]),
        ("{name: m, provisioningFailureCode: 4}", vec![State::Failed]),
        ("{name: m, mde: none}", vec![]),
        (
            "{name: m, mde: {provisioningState: Creating, lastModifiedAt: 3h}}",
            vec![State::Creating],
        ),
        (
            "{name: m, mde: {provisioningState: Updating, lastModifiedAt: 3h}}",
            vec![State::Updating],
        ),
        (
            "{name: m, mde: {provisioningState: Deleting, lastModifiedAt: 60d}}",
            vec![State::Deleting],
        ),
        (
            "{name: m, mde: {provisioningState: Transitioning}}",
            vec![State::Other("Transitioning".into())],
        ),
        (
            "{name: m, mde: {code: 25, name: AzureDefenderForServers}}",
            vec![State::Failed],
        ),
        (
            "{name: m, mde: [{}, {name: two, code: 4}]}",
            vec![State::Succeeded, State::Failed],
        ),
    ] {
        let world = world(&format!(
            "subscriptions: [{{subscriptionId: {ID}, {plan}, machines: [{machine}]}}]"
        ));
        assert_eq!(states(&world.subscriptions[ID], 0), expected, "{machine}");
    }
    let wrong = Seed::parse(&format!(
        "subscriptions: [{{subscriptionId: {ID}, machines: [{{name: m, colour: red}}]}}]"
    ))
    .unwrap();
    assert!(
        wrong
            .populate(&mut World::default(), at(0))
            .unwrap_err()
            .contains("colour")
    );
}

#[test]
fn the_clock_and_the_delay() {
    let mut world = world(&format!(
        "subscriptions: [{{subscriptionId: {ID}, machines: [{{name: m}}]}}]"
    ));
    let now = Timestamp::now();
    apply(
        world.subscriptions.get_mut(ID).unwrap(),
        protection().as_object().unwrap(),
        now,
    )
    .unwrap();
    let count = |world: &World| {
        let subscription = &world.subscriptions[ID];
        let moment = subscription.fleet_now(Timestamp::now());
        let machines = subscription.fleet.machines.iter();
        machines
            .flat_map(|(_, machine)| machine.extensions(moment))
            .count()
    };
    assert_eq!(count(&world), 0);
    world.advance(Duration::from_secs(2 * 3600));
    assert_eq!(count(&world), 1);
}

fn fleet(machines: u32) -> World {
    world(&format!(
        "fleet: {{randomSeed: 7, machineCount: {machines}, subscriptionCount: 10}}"
    ))
}

#[test]
fn the_same_seed_generates_the_same_fleet() {
    let (one, two) = (json!(fleet(2000)), json!(fleet(2000)));
    assert_eq!(one, two);
    let copy: World = serde_json::from_value(one.clone()).unwrap();
    assert_eq!(json!(copy), one, "through the state file");
}

#[test]
fn the_mix() {
    let world = fleet(20_000);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut machines = 0;
    for subscription in world.subscriptions.values() {
        let moment = subscription.fleet_now(at(0));
        for (_, machine) in subscription
            .fleet
            .machines
            .iter()
            .filter(|(_, machine)| machine.kind != Kind::ScaleSet)
        {
            machines += 1;
            let mut count = |what: &str| *counts.entry(what.into()).or_default() += 1;
            count(machine.agent.as_ref().map_or("azure", |agent| agent.cloud.name()));
            for ext in machine.extensions(moment).filter(|ext| ext.is_mde()) {
                count(ext.state(moment).name());
            }
            if machine.is_shell() {
                count("shell");
            }
            if machine.scale_set.is_some() {
                count("flexible");
            }
        }
    }
    assert_eq!(machines, 20_000);
    for (what, from, to) in [
        ("azure", 13_500, 14_700),
        ("OnPremises", 2600, 3300),
        ("AWS", 1700, 2600),
        ("GCP", 800, 1200),
        ("Succeeded", 15_500, 17_300),
        ("Failed", 600, 1300),
        ("Creating", 100, 300),
        ("Updating", 40, 200),
        ("Transitioning", 10, 150),
        ("shell", 100, 300),
        ("flexible", 400, 1000),
    ] {
        let found = counts.get(what).copied().unwrap_or_default();
        assert!((from..to).contains(&found), "{what}: {found} of {counts:?}");
    }
}

#[test]
fn instances_of_an_account_are_validated_when_they_are_seeded() {
    let mut world = World::default();
    let mut patch = |os: &str| {
        let accounts = json!({"aws": {"1": {"instances": [{"name": "i-1", "os": os}]}}});
        world.patch_clouds(&accounts, at(0))
    };
    assert!(patch("templeos").unwrap_err().contains("templeos"));
    assert_eq!(patch("ubuntu-22.04"), Ok(()));
}

#[test]
fn machines_are_changed_by_group_and_name() {
    let mut subscription = subject("{name: m, resourceGroup: g}, {name: m, resourceGroup: h}");
    set(
        &mut subscription,
        "h/m",
        json!({"tags.env": "prod"}).as_object().unwrap(),
        at(0),
    )
    .unwrap();
    let tagged: Vec<&Machine> = subscription
        .fleet
        .machines
        .iter()
        .map(|(_, machine)| machine)
        .collect();
    assert_eq!((tagged[0].tag("env"), tagged[1].tag("ENV")), (None, Some("prod")));
    assert!(set(&mut subscription, "x", &serde_json::Map::new(), at(0)).is_err());
}

/// `cargo test --release … -- --ignored --nocapture figures`
#[test]
#[ignore = "measures"]
fn figures() {
    let resident = || {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4 / 1024
    };
    let before = resident();
    let begin = std::time::Instant::now();
    let seed = Seed::parse("fleet: {randomSeed: 7, machineCount: 100000, subscriptionCount: 500}").unwrap();
    let mut world = World::default();
    seed.populate(&mut world, Timestamp::now()).unwrap();
    eprintln!(
        "generated in {:?}, {} MiB on top of {before}",
        begin.elapsed(),
        resident() - before
    );
    let begin = std::time::Instant::now();
    let text = serde_json::to_vec(&world).unwrap();
    eprintln!("state of {} MiB in {:?}", text.len() / 1_048_576, begin.elapsed());
    let mut single = Subscription::new(ID, "t", "S");
    single.fleet.timing = world.timing();
    generate::fill(&mut single, 7, 100_000, Timestamp::now());
    let begin = std::time::Instant::now();
    apply(&mut single, protection().as_object().unwrap(), Timestamp::now()).unwrap();
    eprintln!(
        "plan on for 100000 machines of one subscription: {:?}",
        begin.elapsed()
    );
}
