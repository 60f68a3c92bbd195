//! Changes by name, and what is validated.

use super::*;

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
