//! Generated fleets: the same seed generates the same fleet. docs/emulator.md describes the mix.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    changes::make_group,
    create::{cloud_tags, new_agent},
    machine::{Ext, HealthReport, Kind, Machine, Moment, NEVER, VNext, What, mixed},
    names::{Cloud, Power, State, Status},
    os::{OsId, Support},
};
use crate::state::{
    DEFAULT_TENANT, Patch, Subscription, World, apply,
    patch::{Pricings, flatten_pricings},
};

/// `fleet:` of a seed.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Generator {
    #[serde(default)]
    pub(crate) random_seed: u64,
    /// Number of machines of all subscriptions together, or of the one subscription.
    pub(crate) machine_count: u32,
    /// Number of subscriptions to distribute the machines to.
    #[serde(default = "one")]
    pub(crate) subscription_count: u32,
    /// The last group of the id is incremented.
    #[serde(default)]
    pub(crate) first_subscription_id: Option<String>,
    #[serde(default)]
    pub(crate) display_name_prefix: Option<String>,
    #[serde(default)]
    pub(crate) tenant_id: Option<String>,
    /// P2 unless it sets the plan of the machines.
    #[serde(default)]
    pub(crate) pricings: Pricings,
    #[serde(default)]
    pub(crate) settings: BTreeMap<String, bool>,
}

const fn one() -> u32 {
    1
}

/// The path of the tier of the plan for machines.
const TIER: &str = "pricings.VirtualMachines.pricingTier";
const DAY: Moment = 86_400_000;

/// Weighted words; the weights are per mille.
type Weights<T> = &'static [(u64, T)];

const AZURE_OS: Weights<&str> = &[
    (200, "windows-2022"),
    (160, "windows-2019"),
    (50, "windows-2025"),
    (90, "windows-2016"),
    (35, "windows-2012r2"),
    (10, "windows-11-multi"),
    (10, "windows-11"),
    (5, "windows-10"),
    (170, "ubuntu-22.04"),
    (60, "ubuntu-24.04"),
    (60, "ubuntu-20.04"),
    (40, "rhel-9"),
    (40, "rhel-8"),
    (20, "sles-15"),
    (15, "debian-12"),
    (8, "oracle-8"),
    (5, "windows-2008r2"),
    (3, "ubuntu-14.04"),
    (3, "rhel-6"),
    (4, "cisco-appliance"),
    (4, "fortinet-appliance"),
    (4, "databricks"),
    (4, "aks-node"),
];
const ARC_OS: Weights<&str> = &[
    (230, "windows-2019"),
    (200, "windows-2022"),
    (140, "windows-2016"),
    (80, "windows-2012r2"),
    (20, "windows-2025"),
    (10, "windows-10"),
    (120, "rhel-8"),
    (60, "rhel-9"),
    (30, "rhel-7"),
    (70, "ubuntu-22.04"),
    (20, "sles-15"),
    (15, "oracle-8"),
    (5, "plan9"),
];
const AWS_OS: Weights<&str> = &[
    (300, "amazon-2023"),
    (300, "ubuntu-22.04"),
    (200, "windows-2022"),
    (120, "windows-2019"),
    (80, "rhel-8"),
];
const GCP_OS: Weights<&str> = &[
    (350, "debian-12"),
    (350, "ubuntu-22.04"),
    (150, "rocky-9"),
    (150, "windows-2022"),
];
const CODES: Weights<u16> = &[
    (250, 4),
    (150, 25),
    (120, 24),
    (120, 5),
    (100, 31),
    (80, 12),
    (60, 21),
    (60, 1),
    (40, 23),
    (20, 64),
];
const ENVIRONMENTS: Weights<&str> = &[(500, "prod"), (150, "test"), (150, "dev"), (80, "sandbox")];
const LOCATIONS: Weights<&str> = &[(600, "westeurope"), (300, "northeurope"), (100, "eastus")];

/// The state of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Protected,
    Failed,
    Missing,
    /// Off or not connected.
    Away,
    Creating,
    Updating,
    /// In a state that is not documented.
    Unexpected,
}

const FATES: Weights<Fate> = &[
    (850, Fate::Protected),
    (52, Fate::Failed),
    (32, Fate::Missing),
    (46, Fate::Away),
    (10, Fate::Creating),
    (5, Fate::Updating),
    (5, Fate::Unexpected),
];

/// A stream of random numbers.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mixed(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)) % below
    }

    fn pick<T: Copy>(&mut self, weights: Weights<T>) -> Option<T> {
        let mut rest = self.roll(1000);
        for (weight, word) in weights {
            if rest < *weight {
                return Some(*word);
            }
            rest -= weight;
        }
        None
    }

    fn often(&mut self, permille: u64) -> bool {
        self.roll(1000) < permille
    }
}

/// Creates the subscriptions of a fleet and their machines.
pub(crate) fn populate_fleet(generator: &Generator, world: &mut World, now: Timestamp) -> Result<(), String> {
    let first = generator
        .first_subscription_id
        .as_deref()
        .unwrap_or("00000000-0000-0000-0000-0000000f1000");
    let (head, tail) = first
        .rsplit_once('-')
        .ok_or("fleet.firstSubscriptionId is not a GUID")?;
    let start = u64::from_str_radix(tail, 16).map_err(|_| "fleet.firstSubscriptionId is not a GUID")?;
    let tenant = generator
        .tenant_id
        .as_deref()
        .unwrap_or(DEFAULT_TENANT)
        .to_ascii_lowercase();
    world.tenant(&tenant);
    let prefix = generator.display_name_prefix.as_deref().unwrap_or("Fleet ");
    let count = generator.subscription_count.max(1);
    let (share, rest) = (generator.machine_count / count, generator.machine_count % count);
    for index in 0..count {
        let id = format!("{}-{:012x}", head.to_ascii_lowercase(), start + u64::from(index));
        let mut subscription = Subscription::new(&id, &tenant, &format!("{prefix}{index}"));
        subscription.fleet.timing = world.timing();
        let mut patch = Patch::new();
        if !generator.pricings.contains_key("VirtualMachines") {
            patch.insert(TIER.into(), "Standard".into());
            patch.insert("pricings.VirtualMachines.subPlan".into(), "P2".into());
        }
        flatten_pricings(&mut patch, &generator.pricings)?;
        if patch.get(TIER).is_some_and(|tier| tier == "Standard") {
            for setting in ["WDATP", "WDATP_UNIFIED_SOLUTION"] {
                patch.insert(format!("settings.{setting}"), true.into());
            }
        }
        for (setting, value) in &generator.settings {
            patch.insert(format!("settings.{setting}"), (*value).into());
        }
        apply(&mut subscription, &patch, now)?;
        fill(
            &mut subscription,
            generator.random_seed,
            share + u32::from(index < rest),
            now,
        );
        world.subscriptions.insert(id, subscription);
    }
    Ok(())
}

/// Adds machines and a few scale sets to a subscription.
pub(crate) fn fill(subscription: &mut Subscription, seed: u64, count: u32, now: Timestamp) {
    let at = subscription.fleet_now(now);
    let salt = subscription
        .id
        .bytes()
        .fold(mixed(seed), |salt, byte| mixed(salt ^ u64::from(byte)));
    let mut made = Vec::new();
    let mut index = 0;
    while index < count {
        let mut dice = Dice(mixed(salt ^ u64::from(index)));
        if index % 100 == 40 {
            made.push(scale_set(&mut dice, index, false, at));
        }
        if index % 100 == 60 {
            let set = scale_set(&mut dice, index, true, at);
            let id: Box<str> = set.id(&subscription.id).into();
            let members = set.capacity.min(count - index);
            for member in 0..members {
                let name = format!("{}_{member:08x}", set.name);
                let mut vm = Machine::new(Kind::Vm, &name, &set.group, &set.location, set.os, set.born);
                vm.scale_set = Some(id.clone());
                decide(subscription, &mut vm, &mut dice, at);
                made.push(vm);
            }
            made.push(set);
            index += members;
            continue;
        }
        let machine = machine(subscription, &mut dice, index, at);
        if index + 1 < count && dice.often(100) && is_aws(&machine) {
            made.push(shell(subscription, &machine, at));
            index += 1;
        }
        made.push(machine);
        index += 1;
    }
    for machine in &made {
        make_group(subscription, &machine.group, &machine.location);
    }
    let machines = subscription.fleet.machines.change();
    for mut machine in made {
        machine.extensions.shrink_to_fit();
        machines.insert(machine.key().into(), machine);
    }
}

fn is_aws(machine: &Machine) -> bool {
    machine
        .agent
        .as_ref()
        .is_some_and(|agent| agent.cloud == Cloud::Aws)
}

fn os(dice: &mut Dice, weights: Weights<&'static str>) -> OsId {
    let word = dice.pick(weights).unwrap_or("ubuntu-22.04");
    OsId::named(word).unwrap_or_default()
}

fn scale_set(dice: &mut Dice, index: u32, flexible: bool, at: Moment) -> Machine {
    let mode = if flexible { "flex" } else { "uni" };
    let location = dice.pick(LOCATIONS).unwrap_or("westeurope");
    let word = if dice.often(500) {
        "ubuntu-22.04"
    } else {
        "windows-2022"
    };
    let system = OsId::named(word).unwrap_or_default();
    let mut set = Machine::new(
        Kind::ScaleSet,
        &format!("vmss-{mode}-{index}"),
        "rg-scale",
        location,
        system,
        at - 60 * DAY,
    );
    set.flexible = flexible;
    set.capacity = u32::try_from(2 + dice.roll(4)).unwrap_or(2);
    set
}

fn machine(subscription: &Subscription, dice: &mut Dice, index: u32, at: Moment) -> Machine {
    let born = at - DAY * (2 + i64::try_from(dice.roll(700)).unwrap_or_default());
    let location = dice.pick(LOCATIONS).unwrap_or("westeurope");
    let environment = dice.pick(ENVIRONMENTS);
    let group = format!(
        "rg-app{:02}-{}",
        index / 20 % 100,
        environment.unwrap_or("shared")
    );
    // Compute returns some resource groups in capitals.
    let group = if dice.often(150) {
        group.to_ascii_uppercase()
    } else {
        group
    };
    let account = format!("{:012}", 100_000_000_000 + dice.roll(7) * 11_111);
    let cloud = dice.roll(1000);
    let mut machine = if cloud < 700 {
        let mut vm = Machine::new(
            Kind::Vm,
            &format!("vm-{index:05}"),
            &group,
            location,
            os(dice, AZURE_OS),
            born,
        );
        vm.custom_image = dice.often(40);
        vm
    } else {
        let (cloud, name, group, system) = match cloud {
            700..850 => (
                Cloud::OnPremises,
                format!("SRV{index:05}"),
                "rg-arc",
                os(dice, ARC_OS),
            ),
            850..950 => (
                Cloud::Aws,
                format!("i-0{:016x}", dice.roll(u64::MAX)),
                "rg-multicloud",
                os(dice, AWS_OS),
            ),
            _ => (
                Cloud::Gcp,
                format!("gce-{index:05}"),
                "rg-multicloud",
                os(dice, GCP_OS),
            ),
        };
        let mut arc = Machine::new(Kind::Arc, &name, group, location, system, born);
        arc.tags = cloud_tags(subscription, &cloud, &name, &account, false);
        arc.agent = Some(Box::new(new_agent(cloud, born)));
        arc
    };
    if let Some(environment) = environment {
        let mut tags = std::mem::take(&mut machine.tags).into_vec();
        tags.push(("env".into(), environment.into()));
        machine.tags = tags.into();
    }
    decide(subscription, &mut machine, dice, at);
    machine
}

fn shell(subscription: &Subscription, of: &Machine, at: Moment) -> Machine {
    let account = of.tag("AccountId").unwrap_or("000000000000");
    let mut shell = Machine::new(
        Kind::Arc,
        &of.name,
        &format!("aws_{account}"),
        &of.location,
        of.os,
        of.born,
    );
    shell.tags = cloud_tags(subscription, &Cloud::Aws, &of.name, account, true);
    let mut agent = new_agent(Cloud::Aws, at - DAY);
    agent.status = Status::Disconnected;
    shell.agent = Some(Box::new(agent));
    shell
}

/// Sets the state of a machine and its extension.
fn decide(subscription: &Subscription, machine: &mut Machine, dice: &mut Dice, at: Moment) {
    if dice.often(300) {
        machine
            .extensions
            .push(Ext::new(What::Monitor, at - 2 * DAY, at - 2 * DAY + 60_000));
    }
    let support = machine.os.get().support;
    let fate = dice.pick(FATES).unwrap_or(Fate::Protected);
    let long = DAY * (1 + i64::try_from(dice.roll(300)).unwrap_or_default());
    if fate == Fate::Away || (fate == Fate::Unexpected && dice.often(500)) {
        leave(machine, dice, fate, at);
    }
    match fate {
        Fate::Failed => machine.failure = dice.pick(CODES),
        Fate::Missing => {
            machine.never_provisioned = machine.agent.is_none() || dice.often(600) || !refuse(machine, dice);
        }
        _ => {}
    }
    if dice.often(20) {
        machine.health_report = HealthReport::NotHealthy;
    }
    if support == Support::Client && machine.kind == Kind::Arc {
        machine.failure = Some(51);
    }
    // Half of the machines that are unreachable had the extension before.
    let had = fate == Fate::Away
        && dice.often(500)
        && subscription.protects(machine)
        && subscription.setting("WDATP");
    let fits = match support {
        Support::Modern | Support::Legacy => true,
        Support::Unconfirmed => subscription.fleet.timing.unconfirmed_systems,
        Support::Never | Support::Client => machine.failure == Some(51),
    };
    let present = fits
        && (had
            || subscription.wants(machine, at)
            || (machine.failure == Some(51) && subscription.setting("WDATP")));
    if !present || fate == Fate::Missing {
        return;
    }
    let mut ext = machine.attempt(at - long, 300_000);
    match fate {
        Fate::Creating => (ext.created, ext.run, ext.done) = (at - 7_200_000, at - 7_200_000, NEVER),
        Fate::Updating => (ext.run, ext.done) = (at - 3_600_000, NEVER),
        Fate::Unexpected => ext.outcome = State::Other("Transitioning".into()),
        _ => {}
    }
    if machine.os.get().windows {
        ext.vnext = match dice.roll(10) {
            0..5 => VNext::True,
            5..7 => VNext::Text,
            // Installations of the retired agent, and those by hand.
            7 if support == Support::Legacy => VNext::False,
            _ if support == Support::Legacy => VNext::Absent,
            _ => VNext::True,
        };
    }
    if dice.often(80) {
        ext.name = Some("AzureDefenderForServers".into());
    }
    if machine.agent.is_some() {
        ext.version = Some("1.0.9.4".into());
    }
    if dice.often(8) {
        let second = Ext {
            name: Some("MDE-by-policy".into()),
            ..ext.clone()
        };
        machine.extensions.push(second);
    }
    machine.extensions.push(ext);
}

/// Makes the machine off or unreachable.
fn leave(machine: &mut Machine, dice: &mut Dice, fate: Fate, at: Moment) {
    let unexpected = fate == Fate::Unexpected;
    let ago = i64::try_from(dice.roll(40)).unwrap_or_default();
    let Some(agent) = &mut machine.agent else {
        machine.power = match dice.roll(10) {
            _ if unexpected => Power::Other("unknown".into()),
            0..8 => Power::Deallocated,
            _ => Power::Stopped,
        };
        return;
    };
    (agent.status, agent.changed) = match dice.roll(10) {
        _ if unexpected => (Status::Other("Quarantined".into()), at - DAY),
        0..6 => (Status::Disconnected, at - DAY * ago - 3_600_000),
        6..9 => (Status::Expired, at - DAY * (46 + ago)),
        _ => (Status::Error, at - DAY * ago - 3_600_000),
    };
}

/// Makes the agent refuse extensions.
fn refuse(machine: &mut Machine, dice: &mut Dice) -> bool {
    let Some(agent) = &mut machine.agent else {
        return false;
    };
    match dice.roll(4) {
        0 => agent.extensions_disabled = true,
        1 => agent.allow = vec!["Microsoft.Azure.Monitor/AzureMonitorWindowsAgent".into()],
        2 => agent.service = Some("stopped".into()),
        _ => {
            agent.block = vec![
                "Microsoft.Azure.AzureDefenderForServers/MDE.Windows".into(),
                "Microsoft.Azure.AzureDefenderForServers/MDE.Linux".into(),
            ];
        }
    }
    true
}
