//! The machines that should be protected but were not at the last scan. If one of them is no longer listed, Resource
//! Graph may have lost its row, so the next scan checks whether the machine exists.
//!
//! A machine takes about 40 bytes: its resource group, name and account, and 3 bytes. That is 4 MB for 100,000
//! unprotected machines; [`MOST_KEPT`] limits a subscription to about 1 MB. Protected machines are not kept.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serverprotection_core::{
    Timestamp,
    machines::{Environment, Kind, Listing, Machine},
};

use super::{listed::is_resource_id, rows::hash, subject::Subject};

/// The maximum number of machines for each subscription. Further ones are not checked when they disappear.
pub(super) const MOST_KEPT: usize = 20_000;

/// The unprotected machines of each subscription, by its id, with the time of their scan.
#[derive(Debug, Default)]
pub(super) struct UnprotectedMachines {
    subscriptions: Mutex<HashMap<String, (Timestamp, Arc<MachineList>)>>,
}

impl UnprotectedMachines {
    /// The machines of a subscription; `None` before its first scan.
    pub(super) fn of(&self, subscription: &str) -> Option<Arc<MachineList>> {
        let subscriptions = self.lock();
        subscriptions.get(subscription).map(|(_, kept)| Arc::clone(kept))
    }

    /// Replaces the machines of a subscription, unless a scan that began later has done so.
    pub(super) fn replace(&self, subscription: &str, at: Timestamp, mut kept: MachineList) {
        kept.lines.shrink_to_fit();
        let mut subscriptions = self.lock();
        if subscriptions
            .get(subscription)
            .is_none_or(|(known, _)| *known <= at)
        {
            subscriptions.insert(subscription.to_owned(), (at, Arc::new(kept)));
        }
    }

    /// Removes all other subscriptions.
    pub(super) fn retain(&self, expected: impl Fn(&str) -> bool) {
        let mut subscriptions = self.lock();
        subscriptions.retain(|subscription, _| expected(subscription));
        subscriptions.shrink_to_fit();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Timestamp, Arc<MachineList>)>> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Machines of one subscription, in the order in which they are checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MachineList {
    /// One line each, see [`line`].
    lines: String,
    count: usize,
}

impl MachineList {
    /// Adds a machine, unless the list is full or the machine has no resource id to check.
    pub(super) fn add(&mut self, machine: &Machine) {
        if self.count >= MOST_KEPT || !is_resource_id(&machine.id) {
            return;
        }
        let line = line(machine);
        if !line.contains('\n') {
            self.lines.push_str(&line);
            self.lines.push('\n');
            self.count += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The machines that the statuses of an earlier process name.
    pub(super) fn of(subject: &Subject<'_>) -> Self {
        let mut kept = Self::default();
        let mut seen = HashSet::new();
        for known in subject
            .targets
            .iter()
            .flat_map(|target| target.unprotected.iter())
        {
            if let Some(machine) = named(&known.id, known.environment, subject.id)
                && seen.insert(hash(&machine.id, ""))
            {
                kept.add(&machine);
            }
        }
        kept
    }

    /// Appends other machines.
    pub(super) fn append(&mut self, others: &Self, subscription: &str) {
        for machine in others.machines(subscription) {
            self.add(&machine);
        }
    }

    /// The machines, with the fields that are kept.
    pub(super) fn machines<'a>(&'a self, subscription: &'a str) -> impl Iterator<Item = Machine> + 'a {
        self.lines.lines().filter_map(|line| machine(line, subscription))
    }

    /// Hashes of their ids.
    pub(super) fn hashes(&self, subscription: &str) -> HashSet<u64> {
        self.machines(subscription)
            .map(|machine| hash(&machine.id, ""))
            .collect()
    }
}

const COMPUTE: &str = "Microsoft.Compute/virtualMachines";
const ARC: &str = "Microsoft.HybridCompute/machines";

/// `{environment}{account}|{group}/{name}`, or `{environment}{account}|{id}` if group and name do not yield the id.
fn line(machine: &Machine) -> String {
    let (letter, type_) = match (machine.kind, machine.environment()) {
        (Kind::ArcMachine, Environment::Aws) => ('w', ARC),
        (Kind::ArcMachine, Environment::Gcp) => ('g', ARC),
        (Kind::ArcMachine, _) => ('a', ARC),
        _ => ('v', COMPUTE),
    };
    let account = machine.account().map(|account| account.id);
    // The account comes from a tag, which may contain anything.
    let account = account
        .filter(|account| !account.contains('|'))
        .unwrap_or_default();
    let (group, name) = (&machine.resource_group, &machine.name);
    let short = resource_id(&machine.subscription_id, group, type_, name);
    if short.eq_ignore_ascii_case(&machine.id) {
        format!("{letter}{account}|{group}/{name}")
    } else {
        format!("{letter}{account}|{}", machine.id)
    }
}

/// The machine of a line.
fn machine(line: &str, subscription: &str) -> Option<Machine> {
    let (head, place) = line.split_once('|')?;
    let account = head.get(1..)?;
    let (kind, type_, cloud, tag) = match head.chars().next()? {
        'w' => (Kind::ArcMachine, ARC, "AWS", "AccountId"),
        'g' => (Kind::ArcMachine, ARC, "GCP", "ProjectNumber"),
        'a' => (Kind::ArcMachine, ARC, "", ""),
        _ => (Kind::VirtualMachine, COMPUTE, "", ""),
    };
    let (group, name) = if place.starts_with('/') {
        let mut parts = place.split('/');
        (
            parts.nth(4).unwrap_or_default(),
            parts.next_back().unwrap_or_default(),
        )
    } else {
        place.split_once('/')?
    };
    let has_account = !account.is_empty() && !tag.is_empty();
    let tags = has_account.then(|| (tag.to_owned(), account.to_owned()));
    Some(Machine {
        id: if place.starts_with('/') {
            place.to_owned()
        } else {
            resource_id(subscription, group, type_, name)
        },
        name: name.to_owned(),
        subscription_id: subscription.to_owned(),
        resource_group: group.to_owned(),
        kind,
        instances: 1,
        cloud: cloud.to_owned(),
        by_connector: has_account,
        tags: BTreeMap::from_iter(tags),
        listing: Listing::NotListed,
        ..Machine::default()
    })
}

fn resource_id(subscription: &str, group: &str, type_: &str, name: &str) -> String {
    format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/{type_}/{name}")
}

/// A machine that a status names; `None` if the id is not that of a machine in the subscription.
fn named(id: &str, environment: Environment, subscription: &str) -> Option<Machine> {
    let parts: Vec<&str> = id.split('/').collect();
    let [
        "",
        subscriptions,
        of,
        groups,
        group,
        providers,
        namespace,
        type_,
        name,
    ] = parts.as_slice()
    else {
        return None;
    };
    let is = |text: &str, word: &str| text.eq_ignore_ascii_case(word);
    let kind = match format!("{namespace}/{type_}") {
        type_ if is(&type_, COMPUTE) => Kind::VirtualMachine,
        type_ if is(&type_, ARC) => Kind::ArcMachine,
        _ => return None,
    };
    let whole =
        is(subscriptions, "subscriptions") && is(groups, "resourceGroups") && is(providers, "providers");
    (whole && is(of, subscription) && !group.is_empty() && !name.is_empty()).then(|| Machine {
        id: id.to_owned(),
        name: (*name).to_owned(),
        subscription_id: subscription.to_owned(),
        resource_group: (*group).to_owned(),
        kind,
        cloud: match environment {
            Environment::Aws | Environment::Gcp => environment.as_str().to_owned(),
            Environment::Azure | Environment::OnPremises => String::new(),
        },
        instances: 1,
        ..Machine::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(name: &str) -> Machine {
        Machine {
            id: resource_id("s", "RG", COMPUTE, name),
            name: name.into(),
            subscription_id: "s".into(),
            resource_group: "rg".into(),
            instances: 1,
            ..Machine::default()
        }
    }

    fn arc(cloud: &str, account: &str) -> Machine {
        let tags = [("AccountId", account), ("ProjectNumber", account)];
        Machine {
            id: resource_id("s", "rg", ARC, "i-0abc"),
            name: "i-0abc".into(),
            kind: Kind::ArcMachine,
            cloud: cloud.into(),
            by_connector: !account.is_empty(),
            tags: tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            ..vm("")
        }
    }

    #[test]
    fn a_kept_machine_counts_as_before() {
        let scaled = Machine {
            id: "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachineScaleSets/set/virtualMachines/0".into(),
            ..vm("0")
        };
        for (machine, most) in [
            (vm("web-1"), 14),
            (arc("", ""), 14),
            (arc("AWS", "123456789012"), 26),
            (arc("GCP", "7"), 14),
            (scaled, 120),
        ] {
            let mut kept = MachineList::default();
            kept.add(&machine);
            assert!(kept.lines.len() <= most, "{}", kept.lines);
            let [known] = kept.machines("s").collect::<Vec<_>>().try_into().unwrap();
            assert!(known.id.eq_ignore_ascii_case(&machine.id), "{known:?}");
            assert_eq!(kept.hashes("s"), [hash(&machine.id, "")].into());
            assert_eq!(
                (&known.name, &known.resource_group),
                (&machine.name, &machine.resource_group)
            );
            assert_eq!((known.kind, known.listing), (machine.kind, Listing::NotListed));
            assert_eq!(known.environment(), machine.environment());
            assert_eq!(known.account(), machine.account());
            assert_eq!(known.instances, 1);
        }
    }

    #[test]
    fn rows_without_an_id_are_not_kept_and_the_list_is_bounded() {
        let mut kept = MachineList::default();
        kept.add(&Machine {
            id: "row-without-id-1-1".into(),
            ..vm("x")
        });
        assert_eq!(kept, MachineList::default());
        for at in 0..=MOST_KEPT {
            kept.add(&vm(&at.to_string()));
        }
        assert_eq!(kept.machines("s").count(), MOST_KEPT);
    }

    #[test]
    fn an_older_scan_replaces_nothing_and_subscriptions_are_removed() {
        let memory = UnprotectedMachines::default();
        let of = |name: &str| {
            let mut kept = MachineList::default();
            kept.add(&vm(name));
            kept
        };
        let at = |second| Timestamp::from_second(second).unwrap();
        memory.replace("s", at(2), of("new"));
        memory.replace("s", at(1), of("old"));
        memory.replace("t", at(1), of("other"));
        assert_eq!(*memory.of("s").unwrap(), of("new"));
        memory.retain(|subscription| subscription == "t");
        assert!(memory.of("s").is_none() && memory.of("t").is_some());
    }

    #[test]
    fn only_machines_of_the_subscription_can_be_named() {
        let id = resource_id("S", "rg", ARC, "srv-1");
        let known = named(&id, Environment::Aws, "s").unwrap();
        assert_eq!(
            (known.kind, known.environment()),
            (Kind::ArcMachine, Environment::Aws)
        );
        for id in [
            "row-without-id-1-1",
            "/subscriptions/other/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/x",
            "/subscriptions/s/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/x",
            "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/x/extensions/y",
            "",
        ] {
            assert_eq!(named(id, Environment::Azure, "s"), None, "{id}");
        }
    }
}
