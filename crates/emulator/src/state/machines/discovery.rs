//! The effects of connectors: connectors for an organization's members, and machines for the instances found.
//!
//! As everywhere in the fleet there are no timers: records are created with moments that may be in the future.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    create,
    machine::{Kind, Machine, Moment, mixed},
    names::Cloud as Place,
};
use crate::state::{Cloud, CloudAccounts, Connector, Instance, Subscription, problems};

/// 0.5 to 1.5 times a delay, always the same for a name.
fn spread(delay: Moment, name: &str) -> Moment {
    let hash = name
        .bytes()
        .fold(7_u64, |hash, byte| mixed(hash ^ u64::from(byte)));
    let part = i64::try_from(hash % 1001).unwrap_or_default();
    delay / 1000 * (500 + part) + delay % 1000
}

/// The additional tags of a GCP machine besides its project number.
fn google_tags(subscription: &Subscription, connector: &Connector, key: &str) -> Option<Instance> {
    let project = connector
        .properties
        .get("environmentData")?
        .pointer("/projectDetails/projectId")?;
    let number = spread(i64::MAX / 2, &format!("{}/{key}", subscription.id));
    Some(Instance::from_iter([
        ("ProjectId".to_owned(), project.clone()),
        ("MachineId".to_owned(), json!(number.to_string())),
    ]))
}

/// A machine from an instance, without `reachable`, which only instances have.
fn discovered(
    subscription: &Subscription,
    instance: &Instance,
    cloud: Cloud,
    account: &str,
    (group, location): (&str, &str),
    born: Moment,
) -> Result<Machine, String> {
    let mut members = instance.clone();
    if members
        .remove("reachable")
        .is_some_and(|reachable| !reachable.is_boolean())
    {
        return Err("reachable: expected true or false".into());
    }
    let word = match cloud {
        Cloud::Aws => "AWS",
        Cloud::Gcp => "GCP",
    };
    for (name, value) in [
        ("type", Kind::Arc.full_type()),
        ("cloudProvider", word),
        ("hierarchyIdentifier", account),
        ("resourceGroup", group),
        ("location", location),
    ] {
        members.insert(name.into(), value.into());
    }
    create::discovered(subscription, &members, born)
}

/// Validates the instances of all accounts when they are seeded, not when a connector finds them.
pub(super) fn check_instances(accounts: &CloudAccounts) -> Result<(), String> {
    let trial = Subscription::new("", "", "");
    let aws = accounts.aws.iter().map(|(id, account)| (id, &account.instances));
    let gcp = accounts.gcp.iter().map(|(id, project)| (id, &project.instances));
    for (id, instances) in aws.chain(gcp) {
        for instance in instances {
            discovered(&trial, instance, Cloud::Aws, id, ("trial", "westeurope"), 0)
                .map_err(|problem| format!("account {id}: {problem}"))?;
        }
    }
    Ok(())
}

impl Subscription {
    /// The connector that a machine comes from: the one of its account.
    pub(crate) fn connector_of(&self, machine: &Machine) -> Option<&Connector> {
        if self.connectors.is_empty() || machine.tag("MDFCSecurityConnector").is_none() {
            return None;
        }
        let (cloud, tag) = match machine.agent.as_ref()?.cloud {
            Place::Aws => (Cloud::Aws, "AccountId"),
            Place::Gcp => (Cloud::Gcp, "ProjectNumber"),
            _ => return None,
        };
        let account = machine.tag(tag)?;
        self.connectors
            .values()
            .find(|connector| connector.account() == account && connector.cloud() == Some(cloud))
    }

    /// Finds members and instances; `seeded`: as if the connectors had existed for a long time.
    pub(crate) fn discover(&mut self, now: Moment, seeded: bool) {
        if self.connectors.is_empty() && !self.fleet.expecting {
            return;
        }
        self.adopt_members(now, seeded);
        self.find_instances(now, seeded);
    }

    fn adopt_members(&mut self, now: Moment, seeded: bool) {
        let mut expected: BTreeMap<String, Connector> = BTreeMap::new();
        for organization in self
            .connectors
            .values()
            .filter(|connector| connector.is_organization())
        {
            let (accounts, parent) = self.clouds.members(organization);
            for account in accounts {
                let taken = self.connectors.values().any(|other| {
                    other.parent.is_none()
                        && other.account() == account
                        && other.cloud() == organization.cloud()
                });
                if !taken && !organization.excludes(&account) {
                    let member = organization.member(&account, &parent, self.clouds.project_id(&account));
                    expected.insert(member.key(), member);
                }
            }
        }
        self.connectors
            .retain(|key, connector| connector.parent.is_none() || expected.contains_key(key));
        let delay = self.fleet.timing.membership;
        for (key, mut member) in expected {
            if let Some(present) = self.connectors.get_mut(&key) {
                if present.parent.is_some() && present.properties != member.properties {
                    present.properties = member.properties;
                }
                continue;
            }
            let from = if seeded {
                member.since
            } else {
                now.max(member.since)
            };
            member.since = from.saturating_add(spread(delay, &key));
            self.connectors.insert(key, member);
        }
    }

    fn find_instances(&mut self, now: Moment, seeded: bool) {
        let delay = self.fleet.timing.discovery;
        let mut found = Vec::new();
        let mut expected = BTreeSet::new();
        for connector in self.connectors.values() {
            let (Some(cloud), true) = (connector.cloud(), connector.provisions("arcAutoProvisioning")) else {
                continue;
            };
            let works = connector.discovers() && problems(connector, &self.clouds).is_empty();
            for instance in self.clouds.instances(connector).iter().filter(|_| works) {
                let name = instance.get("name").and_then(Value::as_str).unwrap_or_default();
                let reachable = instance.get("reachable") != Some(&false.into());
                let key = Kind::Arc.key(&connector.group, name);
                if !reachable {
                    continue;
                }
                expected.insert(key.clone());
                if self
                    .fleet
                    .machines
                    .get(&key)
                    .is_some_and(|machine| now < machine.gone)
                {
                    continue;
                }
                let from = if seeded {
                    connector.since
                } else {
                    now.max(connector.since)
                };
                let born = from.saturating_add(spread(delay, &key));
                let location = connector.location.to_ascii_lowercase().replace(' ', "");
                let place = (connector.group.as_str(), location.as_str());
                let mut instance = instance.clone();
                if let (Cloud::Gcp, Some(tags)) = (cloud, google_tags(self, connector, &key)) {
                    let own = instance.remove("tags");
                    let all = tags
                        .into_iter()
                        .chain(own.and_then(|own| own.as_object().cloned()).into_iter().flatten());
                    instance.insert("tags".into(), Value::Object(all.collect()));
                }
                // Instances were validated when they were seeded.
                if let Ok(machine) = discovered(self, &instance, cloud, connector.account(), place, born) {
                    found.push((key, machine));
                }
            }
        }
        self.withdraw(now, &expected);
        self.fleet.expecting |= !found.is_empty();
        for (key, mut machine) in found {
            if seeded && machine.born <= now && self.wants(&machine, now) {
                machine.long_since(now, self.fleet.timing.taking);
            }
            self.fleet.machines.change().insert(key.into(), machine);
        }
    }

    /// Removes machines that have not appeared yet and no longer will.
    fn withdraw(&mut self, now: Moment, expected: &BTreeSet<String>) {
        if !self.fleet.expecting {
            return;
        }
        let unborn = |machine: &Machine| machine.born > now;
        let lost: Vec<Box<str>> = self
            .fleet
            .machines
            .iter()
            .filter(|(key, machine)| unborn(machine) && !expected.contains(&***key))
            .map(|(key, _)| key.clone())
            .collect();
        for key in &lost {
            self.fleet.machines.change().remove(key);
        }
        self.fleet.expecting = self.fleet.machines.iter().any(|(_, machine)| unborn(machine));
    }

    /// Removes what has not appeared yet, so that it is planned again after a change of the delays.
    pub(super) fn remove_pending(&mut self, now: Moment) {
        self.connectors
            .retain(|_, connector| connector.parent.is_none() || connector.since <= now);
        self.withdraw(now, &BTreeSet::new());
    }
}
