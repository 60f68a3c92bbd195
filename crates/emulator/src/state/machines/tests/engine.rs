//! The engine as a table of cases over time.

use std::time::Duration;

use super::*;

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
        ("{name: m, os: ubuntu-26.04}", &nothing, true),
        ("{name: m, os: ubuntu-25.10}", &nothing, false),
        ("{name: m, os: azure-linux-3}", &nothing, false),
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
fn a_switch_decides_about_systems_whose_support_is_unconfirmed() {
    for (os, answer, gets) in [
        ("windows-2008r2", "default", false),
        ("windows-2008r2", "alternate", true),
        ("azure-linux-3", "alternate", true),
        ("ubuntu-14.04", "alternate", false),
    ] {
        let mut world = world(&format!(
            "{{switches: {{unconfirmedSystems: {answer}}}, subscriptions: [{{subscriptionId: {ID}, machines: [{{name: m, os: {os}}}]}}]}}"
        ));
        let mut subscription = world.subscriptions.remove(ID).unwrap();
        patch(&mut subscription, &protection(), 1);
        assert_eq!(!states(&subscription, 4).is_empty(), gets, "{os} {answer}");
    }
}

#[test]
fn the_extension_follows_the_settings_over_time() {
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
fn the_clock_brings_what_the_delay_holds_back() {
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
