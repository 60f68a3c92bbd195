//! A new machine from the members of a seed that cannot change later: name, type, cloud, place and age.

use serde_json::Value;

use super::{
    machine::{Agent, Kind, Machine, Moment},
    members::{self, Members},
    names::{Cloud, Status},
    os::OsId,
    values::{boolean, duration},
};
use crate::state::Subscription;

/// A machine with all members of a seed.
pub(super) fn machine_of(
    subscription: &Subscription,
    members: &Members,
    at: Moment,
) -> Result<Machine, String> {
    let machine = made(subscription, members, at)?;
    with_members(machine, subscription, members, at)
}

/// A machine that a connector finds; it appears at a moment that may be in the future.
pub(super) fn discovered(
    subscription: &Subscription,
    members: &Members,
    born: Moment,
) -> Result<Machine, String> {
    let mut machine = made(subscription, members, born)?;
    machine.born = born;
    if let Some(agent) = &mut machine.agent {
        agent.changed = born;
    }
    with_members(machine, subscription, members, born)
}

fn with_members(
    mut machine: Machine,
    subscription: &Subscription,
    members: &Members,
    at: Moment,
) -> Result<Machine, String> {
    let timing = subscription.fleet.timing;
    for (path, value) in members::flat(members) {
        members::set_one(&mut machine, &path, &value, at, timing)
            .map_err(|problem| format!("{}: {path}: {problem}", machine.name))?;
    }
    // It has always been like this: a lagging index must not show an earlier moment.
    machine.past.clear();
    Ok(machine)
}

fn made(subscription: &Subscription, members: &Members, now: Moment) -> Result<Machine, String> {
    let word = |name: &str| members.get(name).and_then(Value::as_str);
    let name = word("name")
        .filter(|name| !name.is_empty())
        .ok_or("a machine without name")?;
    let cloud = word("cloudProvider").map(Cloud::parse);
    let kind = match word("type") {
        Some(full_type) => Kind::of_type(full_type).ok_or_else(|| {
            let known = Kind::ALL.map(Kind::full_type).join(", ");
            format!("{name}: unknown type of machine '{full_type}'; known types: {known}")
        })?,
        None if members.contains_key("capacity") => Kind::ScaleSet,
        None if members.contains_key("arc") || cloud.as_ref().is_some_and(|cloud| *cloud != Cloud::Azure) => {
            Kind::Arc
        }
        None => Kind::Vm,
    };
    let cloud = cloud.unwrap_or(Cloud::OnPremises);
    let os = OsId::named(word("os").unwrap_or("ubuntu-22.04"))?;
    let age = members.get("age").map_or(Ok(30 * 86_400_000), duration)?;
    let shell = members
        .get("createdByPublicCloudConnector")
        .map_or(Ok(false), boolean)?;
    let account = word("hierarchyIdentifier").unwrap_or("123456789012");
    let group = word("resourceGroup").map_or_else(
        || {
            if shell {
                format!("aws_{account}")
            } else {
                "rg-machines".to_owned()
            }
        },
        str::to_owned,
    );
    let mut machine = Machine::new(
        kind,
        name,
        &group,
        word("location").unwrap_or("westeurope"),
        os,
        now - age,
    );
    if kind == Kind::Arc {
        machine.tags = cloud_tags(subscription, &cloud, name, account, shell);
        machine.agent = Some(Box::new(new_agent(cloud, machine.born)));
    }
    Ok(machine)
}

pub(super) fn new_agent(cloud: Cloud, changed: Moment) -> Agent {
    Agent {
        status: Status::Connected,
        reason: None,
        changed,
        cloud,
        version: "1.64.03512.123".into(),
        extensions_disabled: false,
        monitor_mode: false,
        service: None,
        allow: Vec::new(),
        block: Vec::new(),
    }
}

/// The tags that connectors set on the machines that they find.
pub(super) fn cloud_tags(
    subscription: &Subscription,
    cloud: &Cloud,
    name: &str,
    account: &str,
    shell: bool,
) -> Box<[(Box<str>, Box<str>)]> {
    let tag = |name: &str, value: &str| (Box::from(name), Box::from(value));
    if shell {
        let connector = format!(
            "/subscriptions/{}/resourceGroups/multicloud/providers/Microsoft.HybridConnectivity/publicCloudConnectors/aws",
            subscription.id
        );
        return Box::from([tag("PublicCloudConnectorsResourceId", &connector)]);
    }
    match cloud {
        Cloud::Aws => Box::from([
            tag("AccountId", account),
            tag("Cloud", "AWS"),
            tag("InstanceId", name),
            tag("MDFCSecurityConnector", "true"),
        ]),
        Cloud::Gcp => Box::from([
            tag("Cloud", "GCP"),
            tag("InstanceName", name),
            tag("MDFCSecurityConnector", "true"),
            tag("MachineId", account),
            tag("ProjectId", "contoso-prod"),
            tag("ProjectNumber", account),
        ]),
        _ => Box::default(),
    }
}
