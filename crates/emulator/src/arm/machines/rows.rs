//! Machines as rows of Resource Graph, as the index has them at a moment.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{compute, hybrid};
use crate::state::{
    Subscription,
    machines::{Ext, Kind, Machine, Moment, Power},
};

/// Types with rows here, in the order of the table in [`rows_of`].
const TYPES: [&str; 5] = [
    "microsoft.compute/virtualmachines",
    "microsoft.compute/virtualmachines/extensions",
    "microsoft.hybridcompute/machines",
    "microsoft.hybridcompute/machines/extensions",
    "microsoft.compute/virtualmachinescalesets",
];

/// Every row of the given lower-case types (all five when absent) at a moment of real time; the fleet's own
/// clock is added here.
pub(crate) fn machine_rows(
    subscription: &Subscription,
    types: Option<&[String]>,
    at: Timestamp,
    each: &mut dyn FnMut(Value),
) {
    let expected = TYPES.map(|kind| types.is_none_or(|types| types.iter().any(|asked| asked == kind)));
    let at = subscription.fleet.timing.moment(at);
    for (kind, own, children) in [
        (Kind::Vm, expected[0], expected[1]),
        (Kind::Arc, expected[2], expected[3]),
        (Kind::ScaleSet, expected[4], false),
    ] {
        if !own && !children {
            continue;
        }
        for (_, machine) in subscription
            .fleet
            .machines
            .of_kind(kind)
            .filter(|(_, machine)| machine.exists(at))
        {
            if own {
                each(row(subscription, machine, at));
            }
            if children {
                for ext in machine.extensions(at) {
                    each(extension_row(subscription, machine, ext, at));
                }
            }
        }
    }
}

fn row(subscription: &Subscription, machine: &Machine, at: Moment) -> Value {
    let id = &subscription.id;
    let (properties, sku, kind, identity) = match machine.kind {
        Kind::Vm => {
            let mut properties = compute::properties(id, machine);
            properties.insert("extended".into(), extended(machine, at));
            (Value::Object(properties), Value::Null, Value::Null, Value::Null)
        }
        Kind::Arc => {
            let identity = if machine.is_shell() {
                json!({"type": "None"})
            } else {
                json!({"type": "SystemAssigned", "principalId": machine.guid(id, 2), "tenantId": subscription.tenant})
            };
            (
                hybrid::properties(id, machine, at),
                Value::Null,
                hybrid::kind(machine),
                identity,
            )
        }
        Kind::ScaleSet => {
            let mut body = compute::scale_set(id, machine);
            let mut part = |name: &str| body.get_mut(name).map(Value::take).unwrap_or_default();
            (part("properties"), part("sku"), Value::Null, Value::Null)
        }
    };
    json!({
        "id": machine.id(id), "name": machine.name, "type": machine.kind.full_type().to_ascii_lowercase(),
        "tenantId": subscription.tenant, "subscriptionId": id, "resourceGroup": machine.group.to_ascii_lowercase(),
        "location": machine.location, "kind": kind.as_str().unwrap_or_default(), "tags": compute::tags(machine),
        "identity": identity, "sku": sku, "plan": null, "managedBy": "", "zones": null, "extendedLocation": null,
        "properties": properties,
    })
}

/// The part of the instance view that the index has.
fn extended(machine: &Machine, at: Moment) -> Value {
    let power = machine.power_state(at).power;
    let mut view = if power.name() == "unknown" {
        json!({})
    } else {
        json!({"powerState": {"code": format!("PowerState/{}", power.name()), "level": "Info",
                              "displayStatus": format!("VM {}", power.name())}})
    };
    if let (Some(view), true) = (view.as_object_mut(), *power == Power::Running) {
        let os = machine.os.get();
        view.insert("computerName".into(), json!(machine.name));
        view.insert("osName".into(), json!(os.name));
        view.insert("osVersion".into(), json!(os.version));
    }
    json!({"instanceView": view})
}

fn extension_row(subscription: &Subscription, machine: &Machine, ext: &Ext, at: Moment) -> Value {
    let id = &subscription.id;
    let name = machine.ext_name(ext);
    // The index has no instance view of a VM's extension.
    let (kind, properties, system_data) = if machine.kind == Kind::Arc {
        let properties = hybrid::extension_properties(id, machine, ext, at);
        (TYPES[3], properties, hybrid::system_data(ext))
    } else {
        let properties = compute::extension_properties(id, machine, ext, at);
        (TYPES[1], properties, Value::Null)
    };
    json!({
        "id": format!("{}/extensions/{name}", machine.id(id)), "name": name, "type": kind,
        "tenantId": subscription.tenant, "subscriptionId": id, "resourceGroup": machine.group.to_ascii_lowercase(),
        "location": machine.location, "kind": "", "tags": null, "identity": null, "sku": null, "plan": null,
        "managedBy": "", "zones": null, "extendedLocation": null, "properties": properties,
        "systemData": system_data,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::state::{Seed, World};

    #[test]
    fn rows_have_the_members_of_the_index() {
        let seed = Seed::parse("fleet: {randomSeed: 7, machineCount: 1000, subscriptionCount: 4}").unwrap();
        let mut world = World::default();
        seed.populate(&mut world, Timestamp::UNIX_EPOCH).unwrap();
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for subscription in world.subscriptions.values() {
            machine_rows(subscription, None, Timestamp::UNIX_EPOCH, &mut |row| {
                let kind = row["type"].as_str().unwrap().to_owned();
                let compute_extension = kind == "microsoft.compute/virtualmachines/extensions";
                let arc_extension = kind == "microsoft.hybridcompute/machines/extensions";
                assert_eq!(
                    row["properties"]["instanceView"].is_object(),
                    arc_extension,
                    "{row}"
                );
                assert_eq!(
                    row["properties"]["publisher"].is_string(),
                    arc_extension || compute_extension
                );
                assert_eq!(row["systemData"]["lastModifiedAt"].is_string(), arc_extension);
                assert_eq!(
                    row["resourceGroup"],
                    row["resourceGroup"].as_str().unwrap().to_ascii_lowercase()
                );
                *kinds.entry(kind).or_default() += 1;
            });
        }
        assert_eq!(kinds.len(), 5, "{kinds:?}");
    }
}
