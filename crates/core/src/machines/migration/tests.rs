//! Stages of machines, and counts that add up.

use k8s_openapi::jiff::SignedDuration;

use super::*;
use crate::{
    Timestamp,
    machines::{ArcAgent, Exclusions, MdeExtension, PlanOff, RuleContext, finding},
};

const NOW: i64 = 1_790_000_000;

fn found(machine: &Machine) -> Finding {
    let mut exclusions = Exclusions::default();
    exclusions.rule("lab", [], &["rg-lab".to_owned()], &[]);
    finding(
        machine,
        &RuleContext {
            now: Timestamp::from_second(NOW).unwrap(),
            grace: SignedDuration::from_hours(24),
            plan_enabled_since: None,
            exclusions: &exclusions,
            plan_off: match machine.name.as_str() {
                "free" => Some(PlanOff::OfMachine),
                "in-free" => Some(PlanOff::OfSubscription),
                _ => None,
            },
            plan_unreadable: false,
            health: None,
            transition_seen: None,
            health_unreadable: false,
        },
    )
}

/// A connected Arc machine, a month old, without an extension.
fn arc(sku: &str) -> Machine {
    let os_type = if sku.starts_with("Windows") {
        "windows"
    } else {
        "linux"
    };
    Machine {
        id: format!("/{sku}"),
        kind: Kind::ArcMachine,
        instances: 1,
        os_type: os_type.into(),
        os_sku: sku.into(),
        arc: Some(ArcAgent {
            status: "Connected".into(),
            agent_version: "1.64".into(),
            last_status_change: Timestamp::from_second(NOW - 720 * 3600).ok(),
            ..ArcAgent::default()
        }),
        ..Machine::default()
    }
}

fn with(mut machine: Machine, change: impl FnOnce(&mut Machine)) -> Machine {
    change(&mut machine);
    machine
}

fn extended(sku: &str, state: &str) -> Machine {
    with(arc(sku), |machine| {
        let type_ = machine.expected_extension().unwrap().to_owned();
        machine.extensions = vec![MdeExtension {
            type_,
            state: state.into(),
            ..MdeExtension::default()
        }];
    })
}

fn disconnected(sku: &str) -> Machine {
    with(arc(sku), |machine| {
        machine.arc.as_mut().unwrap().status = "Disconnected".into();
    })
}

fn cases() -> Vec<(Machine, Stage)> {
    vec![
        (extended("Ubuntu 22.04", "Succeeded"), Stage::Onboarded),
        (extended("Ubuntu 22.04", "Updating"), Stage::Waiting),
        (
            with(extended("Ubuntu 22.04", "Updating"), |machine| {
                machine.extensions[0].modified = Timestamp::from_second(NOW - 2 * 3600).ok();
            }),
            Stage::Failing,
        ),
        (
            with(arc("Ubuntu 22.04"), |machine| {
                machine.arc.as_mut().unwrap().last_status_change = Timestamp::from_second(NOW - 60).ok();
            }),
            Stage::Waiting,
        ),
        (extended("Ubuntu 22.04", "Failed"), Stage::Failing),
        (arc("Ubuntu 22.04"), Stage::Missing),
        (disconnected("Ubuntu 22.04"), Stage::NotConnected),
        // Defender for Endpoint supports these, the Arc agent does not.
        (arc("Ubuntu 16.04"), Stage::DirectOnboardingOnly),
        (extended("Ubuntu 16.04", "Failed"), Stage::DirectOnboardingOnly),
        (
            disconnected("SUSE Linux Enterprise Server 12 SP4"),
            Stage::DirectOnboardingOnly,
        ),
        // The sources conflict.
        (arc("Windows Server 2008 R2"), Stage::Unclear),
        (extended("Ubuntu 16.04", "Succeeded"), Stage::Onboarded),
        // Neither does.
        (arc("Red Hat Enterprise Linux 6.10"), Stage::Unsupported),
        (arc("Windows 11 Enterprise"), Stage::Unsupported),
        // A virtual machine of Azure needs no Arc agent.
        (
            with(arc("Ubuntu 16.04"), |machine| {
                machine.kind = Kind::VirtualMachine;
                machine.arc = None;
                machine.created = Timestamp::from_second(NOW - 720 * 3600).ok();
            }),
            Stage::Missing,
        ),
        (
            with(
                extended("Windows Server 2016 Datacenter", "Succeeded"),
                |machine| {
                    machine.extensions[0].unified = Some(false);
                },
            ),
            Stage::LegacyAgent,
        ),
        (
            extended("Windows Server 2016 Datacenter", "Succeeded"),
            Stage::Unclear,
        ),
        (
            with(arc("Ubuntu 22.04"), |machine| machine.name = "free".into()),
            Stage::MachinePlanOff,
        ),
        (
            with(arc("Ubuntu 22.04"), |machine| machine.name = "in-free".into()),
            Stage::PlanOff,
        ),
        // Nothing will come, although the machine is new.
        (
            with(arc("Ubuntu 22.04"), |machine| {
                machine.name = "in-free".into();
                machine.arc.as_mut().unwrap().last_status_change = Timestamp::from_second(NOW - 60).ok();
            }),
            Stage::PlanOff,
        ),
        (
            with(arc("Ubuntu 22.04"), |machine| {
                machine.arc.as_mut().unwrap().status = "Odd".into();
            }),
            Stage::Unclear,
        ),
        (
            with(arc("Ubuntu 22.04"), |machine| {
                machine.kind = Kind::VirtualMachine;
                machine.arc = None;
                machine.power = "PowerState/deallocated".into();
            }),
            Stage::NotAssessable,
        ),
        (
            with(arc("Ubuntu 22.04"), |machine| {
                machine.kind = Kind::UniformScaleSet;
                machine.instances = 7;
            }),
            Stage::AgentlessOnly,
        ),
        (
            with(arc("Ubuntu 16.04"), |machine| {
                machine.resource_group = "rg-lab".into();
            }),
            Stage::Excluded,
        ),
        (
            with(arc("Ubuntu 22.04"), |machine| {
                machine.other_connector = true;
                machine.arc.as_mut().unwrap().agent_version.clear();
            }),
            Stage::DuplicateShell,
        ),
    ]
}

#[test]
fn every_stage_has_its_machines() {
    let cases = cases();
    for (machine, stage) in &cases {
        let found = found(machine);
        assert_eq!(Stage::of(machine, &found), *stage, "{machine:?} {found:?}");
    }
    for stage in Stage::ALL {
        assert!(
            cases.iter().any(|(_, expected)| *expected == stage),
            "no case for {stage}"
        );
        assert_eq!(Stage::ALL[stage as usize], stage);
    }
}

#[test]
fn the_stages_add_up_however_they_are_merged() {
    for at in 0..cases().len() {
        let (mut one, mut other) = (Migration::default(), Migration::default());
        let mut machines = 0;
        for (number, (machine, _)) in cases().iter().enumerate() {
            let machine = &with(machine.clone(), |machine| {
                machine.cloud = ["AWS", "gcp", "N/A"][number % 3].into();
            });
            machines += u64::from(machine.instances);
            let half = if number < at { &mut one } else { &mut other };
            half.add(machine, &found(machine));
        }
        one.merge(&other);
        let total: u64 = Environment::ALL
            .iter()
            .map(|environment| one.total(*environment))
            .sum();
        assert_eq!(total, machines);
        let billing: u64 = Environment::ALL
            .iter()
            .flat_map(|environment| Billing::ALL.map(|billing| one.billing(*environment, billing)))
            .sum();
        assert_eq!(billing, machines);
    }
}

#[test]
fn machines_are_billed_by_their_state() {
    let vm = |power: &str| {
        with(arc("Ubuntu 22.04"), |machine| {
            machine.kind = Kind::VirtualMachine;
            machine.arc = None;
            machine.power = format!("PowerState/{power}");
        })
    };
    let agent = |status: &str| {
        with(arc("Ubuntu 22.04"), |machine| {
            machine.arc.as_mut().unwrap().status = status.into();
        })
    };
    let own = with(vm("running"), |machine| machine.name = "free".into());
    let of_free = with(vm("running"), |machine| machine.name = "in-free".into());
    let mut migration = Migration::default();
    for (machine, billing, is_billed) in [
        (vm("running"), Billing::Running, Some(true)),
        (vm("starting"), Billing::Running, Some(true)),
        (vm("Stopped"), Billing::Stopped, Some(true)),
        (vm("stopping"), Billing::Stopped, Some(true)),
        (vm("deallocated"), Billing::Deallocated, Some(false)),
        (vm("deallocating"), Billing::Deallocated, Some(false)),
        (vm("dreaming"), Billing::Unknown, None),
        (agent("Connected"), Billing::Running, Some(true)),
        (agent("Disconnected"), Billing::NotConnected, Some(false)),
        (agent("Expired"), Billing::NotConnected, Some(false)),
        (agent("Connecting"), Billing::NotConnected, Some(false)),
        (agent("Error"), Billing::Unknown, None),
        // Unsupported and excluded machines are billed, too.
        (arc("Windows 11 Enterprise"), Billing::Running, Some(true)),
        (own, Billing::OwnPlanFree, Some(false)),
        // It would be billed if the plan were switched on.
        (of_free, Billing::Running, Some(true)),
    ] {
        let found = found(&machine);
        let of = Billing::of(&machine, &found);
        assert_eq!((of, of.is_billed()), (billing, is_billed), "{machine:?}");
        migration.add(&machine, &found);
    }
    let set = with(vm(""), |machine| {
        machine.kind = Kind::UniformScaleSet;
        machine.instances = 7;
    });
    migration.add(&set, &found(&set));
    assert_eq!(migration.billed(Environment::Azure), 5 + 7);
    assert_eq!(migration.billing(Environment::Azure, Billing::Stopped), 2);
    assert_eq!(migration.billed(Environment::OnPremises), 2);
}

#[test]
fn systems_are_named_where_they_are_the_reason_and_their_number_is_bounded() {
    let mut migration = Migration::default();
    for _ in 0..2 {
        migration.add(&arc("Ubuntu 16.04"), &found(&arc("Ubuntu 16.04")));
    }
    let sles = disconnected("SUSE Linux Enterprise Server 12 SP4");
    migration.add(&sles, &found(&sles));
    let direct = |migration: &Migration| {
        migration
            .systems(Environment::OnPremises, Stage::DirectOnboardingOnly)
            .len()
    };
    assert_eq!(
        migration.systems(Environment::OnPremises, Stage::DirectOnboardingOnly),
        [("Ubuntu 16.04", 2), ("SUSE Linux Enterprise Server 12 SP4", 1)]
    );
    assert_eq!(direct(&migration), 2);
    let mut many = Migration::default();
    for number in 0..2 * MOST_SYSTEMS as u64 {
        let key = (Environment::Azure, Stage::Unsupported, format!("system {number}"));
        many.count_system(key, 1);
    }
    let systems = many.systems(Environment::Azure, Stage::Unsupported);
    assert_eq!(systems.len(), MOST_SYSTEMS + 1);
    assert_eq!(systems[0], (OTHER_SYSTEMS, MOST_SYSTEMS as u64));
}
