//! The mix of generated fleets.

use std::collections::BTreeMap;

use super::{super::fill, *};

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
fn a_generated_fleet_has_the_documented_mix() {
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

/// `cargo test --release … -- --ignored --nocapture measure_a_large_fleet`
#[test]
#[ignore = "measures"]
fn measure_a_large_fleet() {
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
    fill(&mut single, 7, 100_000, Timestamp::now());
    let begin = std::time::Instant::now();
    apply(&mut single, protection().as_object().unwrap(), Timestamp::now()).unwrap();
    eprintln!(
        "plan on for 100000 machines of one subscription: {:?}",
        begin.elapsed()
    );
}
