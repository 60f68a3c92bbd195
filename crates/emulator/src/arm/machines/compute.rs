//! Azure VMs, their extensions and scale sets in the format of Microsoft.Compute.

use serde_json::{Map, Value, json};

use super::failure;
use crate::state::machines::{Ext, Machine, Moment, Power, State, spelled};

const VM: &str = "Microsoft.Compute/virtualMachines";

/// Tags as JSON.
pub(super) fn tags(machine: &Machine) -> Value {
    Value::Object(
        machine
            .tags
            .iter()
            .map(|(name, value)| (name.to_string(), json!(value)))
            .collect(),
    )
}

/// `properties` of a VM, without its instance view.
pub(super) fn properties(subscription: &str, machine: &Machine) -> Map<String, Value> {
    let os = machine.os.get();
    let [publisher, offer, sku] = os.image;
    let group = format!(
        "/subscriptions/{subscription}/resourceGroups/{}/providers",
        machine.group
    );
    let image = if machine.custom_image {
        json!({"id": format!("{group}/Microsoft.Compute/images/golden-{}", os.word)})
    } else {
        json!({"publisher": publisher, "offer": offer, "sku": sku, "version": "latest", "exactVersion": "1.0.20260101"})
    };
    let agent = if os.windows {
        (
            "windowsConfiguration",
            json!({"provisionVMAgent": true, "enableAutomaticUpdates": true}),
        )
    } else {
        (
            "linuxConfiguration",
            json!({"provisionVMAgent": true, "disablePasswordAuthentication": true}),
        )
    };
    let Value::Object(mut properties) = json!({
        "vmId": machine.guid(subscription, 1), "provisioningState": "Succeeded",
        "hardwareProfile": {"vmSize": if machine.is_arm64() { "Standard_D2ps_v5" } else { "Standard_D2s_v5" }},
        "storageProfile": {
            "imageReference": image,
            "osDisk": {"osType": if os.windows { "Windows" } else { "Linux" }, "name": format!("{}_OsDisk", machine.name),
                       "createOption": "FromImage", "caching": "ReadWrite", "deleteOption": "Detach"},
            "dataDisks": [],
        },
        "osProfile": {"computerName": machine.name, "adminUsername": "azureuser", "secrets": [], agent.0: agent.1,
                      "allowExtensionOperations": true},
        "networkProfile": {"networkInterfaces": [
            {"id": format!("{group}/Microsoft.Network/networkInterfaces/{}-nic", machine.name)},
        ]},
        "timeCreated": spelled(machine.born),
    }) else {
        return Map::new();
    };
    if let Some(set) = &machine.scale_set {
        properties.insert("virtualMachineScaleSet".into(), json!({"id": set}));
    }
    properties
}

/// A VM as ARM returns it.
pub(crate) fn vm(subscription: &str, machine: &Machine, at: Moment, expand: bool) -> Value {
    let mut properties = properties(subscription, machine);
    if expand {
        properties.insert("instanceView".into(), instance_view(machine, at));
    }
    let mut body = json!({
        "id": machine.id(subscription), "name": machine.name, "type": VM, "location": machine.location,
        "tags": tags(machine), "properties": properties,
    });
    let children: Vec<Value> = machine
        .extensions(at)
        .map(|ext| vm_extension(subscription, machine, ext, at, false))
        .collect();
    if let (Some(body), false) = (body.as_object_mut(), children.is_empty()) {
        body.insert("resources".into(), Value::Array(children));
    }
    body
}

/// A VM's instance view: what only the running machine can report.
pub(crate) fn instance_view(machine: &Machine, at: Moment) -> Value {
    let os = machine.os.get();
    let power = machine.power_state(at).power;
    let mut statuses = vec![
        json!({"code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Provisioning succeeded",
               "time": spelled(machine.born)}),
    ];
    // Azure omits the power state if it is unknown.
    if power.name() != "unknown" {
        statuses.push(
            json!({"code": format!("PowerState/{}", power.name()), "level": "Info",
                             "displayStatus": format!("VM {}", power.name())}),
        );
    }
    let mut view = json!({"disks": [], "statuses": statuses});
    let extensions: Vec<Value> = machine
        .extensions(at)
        .map(|ext| extension_view(machine, ext, at))
        .collect();
    if let (Some(view), true) = (view.as_object_mut(), *power == Power::Running) {
        let agent = json!({"vmAgentVersion": "2.11.1.4", "extensionHandlers": [], "statuses": [
            {"code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Ready", "message": "Guest Agent is running"},
        ]});
        view.insert("computerName".into(), json!(machine.name));
        view.insert("osName".into(), json!(os.name));
        view.insert("osVersion".into(), json!(os.version));
        view.insert("vmAgent".into(), agent);
    }
    if let (Some(view), false) = (view.as_object_mut(), extensions.is_empty()) {
        view.insert("extensions".into(), Value::Array(extensions));
    }
    view
}

/// The settings that an extension shows; protected settings are never stored.
pub(super) fn settings(subscription: &str, machine: &Machine, ext: &Ext) -> Value {
    if let Some(text) = &ext.settings {
        return serde_json::from_str(text).unwrap_or(Value::Null);
    }
    if !ext.is_mde() {
        return json!({});
    }
    let mut settings = json!({
        "azureResourceId": machine.id(subscription), "forceReOnboarding": false, "autoUpdate": true,
    });
    if let (Some(settings), Some(vnext)) = (settings.as_object_mut(), ext.vnext.value()) {
        settings.insert("vNextEnabled".into(), vnext);
    }
    settings
}

/// `properties` of a VM's extension, without its instance view.
pub(super) fn extension_properties(subscription: &str, machine: &Machine, ext: &Ext, at: Moment) -> Value {
    json!({
        "autoUpgradeMinorVersion": true, "enableAutomaticUpgrade": false, "suppressFailures": false,
        "provisioningState": ext.state(at).name(), "publisher": ext.publisher(),
        "type": machine.ext_type(ext), "typeHandlerVersion": ext.version.as_deref().unwrap_or("1.0"),
        "settings": settings(subscription, machine, ext),
    })
}

/// A VM's extension as ARM returns it.
pub(crate) fn vm_extension(
    subscription: &str,
    machine: &Machine,
    ext: &Ext,
    at: Moment,
    expand: bool,
) -> Value {
    let mut properties = extension_properties(subscription, machine, ext, at);
    if let (Some(properties), true) = (properties.as_object_mut(), expand) {
        properties.insert("instanceView".into(), extension_view(machine, ext, at));
    }
    let name = machine.ext_name(ext);
    json!({
        "id": format!("{}/extensions/{name}", machine.id(subscription)), "name": name,
        "type": "Microsoft.Compute/virtualMachines/extensions", "location": machine.location, "properties": properties,
    })
}

/// An extension in an instance view: a list of statuses, with the exit code inside the status code.
fn extension_view(machine: &Machine, ext: &Ext, at: Moment) -> Value {
    let state = ext.state(at);
    let (code, level, display) = match &state {
        State::Succeeded => (
            "ProvisioningState/succeeded".into(),
            "Info",
            "Provisioning succeeded",
        ),
        State::Failed => (
            format!("ProvisioningState/failed/{}", ext.code),
            "Error",
            "Provisioning failed",
        ),
        State::Canceled => (
            "ProvisioningState/canceled".into(),
            "Warning",
            "Provisioning canceled",
        ),
        State::Deleting => ("ProvisioningState/deleting".into(), "Info", "Deleting"),
        State::Creating | State::Updating => {
            ("ProvisioningState/transitioning".into(), "Info", "Transitioning")
        }
        State::Other(word) => (
            format!("ProvisioningState/{}", word.to_ascii_lowercase()),
            "Warning",
            "Unknown",
        ),
    };
    let time = spelled(match &state {
        State::Deleting => ext.deleting,
        state if state.terminal() => ext.done,
        _ => ext.run,
    });
    let mut view = json!({
        "name": machine.ext_name(ext), "type": format!("{}.{}", ext.publisher(), machine.ext_type(ext)),
        "typeHandlerVersion": ext.version.as_deref().unwrap_or("1.0.9.4"),
        "statuses": [{"code": code, "level": level, "displayStatus": display,
                      "message": failure::message(machine, ext, &state), "time": time}],
    });
    if let (Some(view), true) = (view.as_object_mut(), ext.is_mde() && state.terminal()) {
        let substatus = json!([{
            "code": format!("ComponentStatus/MDE/{}", if state == State::Succeeded { "succeeded" } else { "failed" }),
            "level": level, "displayStatus": display, "message": failure::detail(machine, ext, &state), "time": time,
        }]);
        view.insert("substatuses".into(), substatus);
    }
    view
}

/// A scale set as ARM returns it.
pub(crate) fn scale_set(subscription: &str, machine: &Machine) -> Value {
    let os = machine.os.get();
    let [publisher, offer, sku] = os.image;
    let mode = if machine.flexible { "Flexible" } else { "Uniform" };
    json!({
        "id": machine.id(subscription), "name": machine.name, "type": machine.kind.full_type(), "location": machine.location,
        "tags": tags(machine), "sku": {"name": "Standard_D2s_v5", "tier": "Standard", "capacity": machine.capacity},
        "properties": {
            "orchestrationMode": mode, "provisioningState": "Succeeded", "uniqueId": machine.guid(subscription, 1),
            "singlePlacementGroup": false, "platformFaultDomainCount": 1, "timeCreated": spelled(machine.born),
            "virtualMachineProfile": {
                "storageProfile": {
                    "imageReference": {"publisher": publisher, "offer": offer, "sku": sku, "version": "latest"},
                    "osDisk": {"osType": if os.windows { "Windows" } else { "Linux" }, "createOption": "FromImage"},
                },
                "extensionProfile": {"extensions": []},
            },
        },
    })
}
