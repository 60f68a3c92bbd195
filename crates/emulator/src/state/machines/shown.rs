//! Machines as the control endpoint shows them, with the members of a seed.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    changes::find,
    machine::{Agent, Ext, Kind, Machine, Moment},
    names::service_status,
    spelled,
};
use crate::state::Subscription;

/// A machine by name, with the members of the seed.
pub(crate) fn shown(subscription: &Subscription, name: Option<&str>, now: Timestamp) -> Option<Value> {
    let at = subscription.fleet_now(now);
    if let Some(name) = name {
        let machine = subscription.fleet.machines.get(&find(subscription, name, at)?)?;
        return Some(described(subscription, machine, at));
    }
    let all = subscription
        .fleet
        .machines
        .iter()
        .filter(|(_, machine)| machine.exists(at));
    Some(
        all.map(|(_, machine)| described(subscription, machine, at))
            .collect(),
    )
}

fn described(subscription: &Subscription, machine: &Machine, at: Moment) -> Value {
    let power_state = machine.power_state(at);
    let (mde, others): (Vec<&Ext>, Vec<&Ext>) = machine
        .extensions
        .iter()
        .filter(|ext| at < ext.gone)
        .partition(|ext| ext.is_mde());
    let extensions =
        |all: Vec<&Ext>| -> Value { all.into_iter().map(|ext| extension(machine, ext, at)).collect() };
    let tags: Map<String, Value> = machine
        .tags
        .iter()
        .map(|(name, value)| (name.to_string(), json!(value)))
        .collect();
    let set =
        (machine.kind == Kind::ScaleSet).then_some(if machine.flexible { "Flexible" } else { "Uniform" });
    let agent = machine.agent.as_deref();
    json!({
        "id": machine.id(&subscription.id), "type": machine.kind.full_type(), "name": machine.name,
        "resourceGroup": machine.group, "location": machine.location, "os": machine.os, "tags": tags,
        "customImage": machine.custom_image, "architecture": machine.architecture, "orchestrationMode": set, "capacity": set.map(|_| machine.capacity),
        "virtualMachineScaleSet": machine.scale_set,
        "powerState": agent.is_none().then(|| power_state.power.name()),
        "cloudProvider": agent.map(|agent| &agent.cloud),
        "hierarchyIdentifier": machine.tag("AccountId").or_else(|| machine.tag("ProjectNumber")),
        "createdByPublicCloudConnector": machine.is_shell(),
        "arc": agent.map(|agent| arc(machine, agent, at)),
        "provisioningFailureCode": machine.failure, "neverProvisioned": machine.never_provisioned,
        "provisioningWanted": subscription.wants(machine, at), "healthReport": machine.health_report,
        "mde": extensions(mde), "otherExtensions": extensions(others),
    })
}

fn extension(machine: &Machine, ext: &Ext, at: Moment) -> Value {
    let state = ext.state(at);
    let planned = ext.created > at;
    json!({
        "name": machine.ext_name(ext), "publisher": ext.publisher(), "type": machine.ext_type(ext),
        "provisioningState": if planned { "Planned" } else { state.name() },
        "code": ext.code, "message": ext.message, "typeHandlerVersion": ext.version, "vNextEnabled": ext.vnext.value(),
        "createdAt": spelled(ext.created), "lastModifiedAt": spelled(ext.modified()),
    })
}

fn arc(machine: &Machine, agent: &Agent, at: Moment) -> Value {
    let (status, changed) = machine
        .power_state(at)
        .status
        .unwrap_or((&agent.status, agent.changed));
    json!({
        "status": status.name(), "statusReason": agent.reason, "lastStatusChange": spelled(changed),
        "agentVersion": agent.version, "extensionsEnabled": !agent.extensions_disabled,
        "configMode": if agent.monitor_mode { "monitor" } else { "full" },
        "extensionService": service_status(machine.os.get().windows, agent.service.as_deref()),
        "extensionsAllowList": agent.allow, "extensionsBlockList": agent.block,
    })
}
