//! Arc machines and their extensions as Microsoft.HybridCompute describes them.

use serde_json::{Value, json};

use super::{
    compute::{settings, tags},
    failure,
    machine::{Agent, Ext, Machine, Moment},
    names::{Cloud, State, Status},
    spelled,
};

/// An Arc machine as ARM answers it.
pub(crate) fn arc_machine(
    subscription: &str,
    tenant: &str,
    machine: &Machine,
    at: Moment,
    expand: bool,
) -> Value {
    let identity = if machine.is_shell() {
        json!({"type": "None"})
    } else {
        json!({"type": "SystemAssigned", "principalId": machine.guid(subscription, 2), "tenantId": tenant})
    };
    let mut body = json!({
        "id": machine.id(subscription), "name": machine.name, "type": machine.kind.full_type(),
        "location": machine.location, "tags": tags(machine), "identity": identity, "kind": kind(machine),
        "properties": properties(subscription, machine, at),
    });
    if let (Some(body), true) = (body.as_object_mut(), expand) {
        let resources: Vec<Value> = machine
            .extensions(at)
            .map(|ext| arc_extension(subscription, machine, ext, at))
            .collect();
        body.insert("resources".into(), Value::Array(resources));
    }
    body
}

/// Machines that Defender onboards from AWS and GCP have no kind; the other connector's shells have one.
pub(super) fn kind(machine: &Machine) -> Value {
    match &machine.agent {
        Some(agent) if machine.is_shell() => json!(agent.cloud.name()),
        _ => Value::Null,
    }
}

/// `properties` of an Arc machine.
pub(super) fn properties(subscription: &str, machine: &Machine, at: Moment) -> Value {
    let os = machine.os.get();
    let Some(agent) = &machine.agent else {
        return json!({});
    };
    let (status, changed) = machine
        .standing(at)
        .status
        .unwrap_or((&agent.status, agent.changed));
    let errors = if *status == Status::Error {
        json!([{"code": "AZCM0151", "message": "The agent reports that its identity cannot be renewed.", "target": null}])
    } else {
        json!([])
    };
    let (provider, detected) = clouds(agent);
    let service = if agent.service_stopped {
        "stopped"
    } else {
        "running"
    };
    json!({
        "status": status.name(), "statusReason": agent.reason, "lastStatusChange": spelled(changed), "errorDetails": errors,
        "agentVersion": agent.version, "provisioningState": "Succeeded", "displayName": machine.name,
        "osType": if os.windows { "windows" } else { "linux" },
        "osName": if os.windows { "windows" } else { os.name }, "osSku": os.sku, "osVersion": os.version,
        "osEdition": if os.windows { "Server" } else { "" },
        "machineFqdn": format!("{}.contoso.example", machine.name), "dnsFqdn": format!("{}.contoso.example", machine.name),
        "domainName": "WORKGROUP", "vmId": machine.guid(subscription, 1), "vmUuid": machine.guid(subscription, 3),
        "cloudMetadata": provider, "detectedProperties": detected,
        "agentConfiguration": {
            "extensionsEnabled": if agent.extensions_disabled { "false" } else { "true" },
            "configMode": if agent.monitor_mode { "monitor" } else { "full" },
            "extensionsAllowList": listed(&agent.allow), "extensionsBlockList": listed(&agent.block),
            "guestConfigurationEnabled": "true", "incomingConnectionsPorts": [], "proxyUrl": "", "proxyBypass": [],
        },
        "serviceStatuses": {
            "extensionService": {"status": service, "startupType": "automatic"},
            "guestConfigurationService": {"status": "running", "startupType": "automatic"},
        },
        "mssqlDiscovered": "false",
    })
}

/// `cloudMetadata` and `detectedProperties`.
fn clouds(agent: &Agent) -> (Value, Value) {
    let (provider, manufacturer, model) = match &agent.cloud {
        Cloud::Aws => ("AWS", "Amazon EC2", "m5.large"),
        Cloud::Gcp => ("GCP", "Google", "Google Compute Engine"),
        Cloud::OnPremises | Cloud::Azure => ("", "VMware, Inc.", "VMware Virtual Platform"),
        Cloud::Other(word) => (&**word, "unknown", "unknown"),
    };
    let metadata = if provider.is_empty() {
        json!({})
    } else {
        json!({"provider": provider})
    };
    let detected = json!({
        "cloudprovider": if provider.is_empty() { "N/A" } else { provider }, "manufacturer": manufacturer,
        "model": model, "coreCount": "2", "totalPhysicalMemoryInBytes": "8589934592",
    });
    (metadata, detected)
}

/// `null` when nothing was ever listed.
fn listed(list: &[Box<str>]) -> Value {
    if list.is_empty() {
        return Value::Null;
    }
    list.iter()
        .map(|item| {
            let (publisher, kind) = item.split_once('/').unwrap_or((item, ""));
            json!({"publisher": publisher, "type": kind})
        })
        .collect()
}

/// `properties` of an Arc machine's extension, with its instance view.
pub(super) fn extension_properties(subscription: &str, machine: &Machine, ext: &Ext, at: Moment) -> Value {
    let state = ext.state(at);
    let version = ext.version.as_deref().unwrap_or("1.0.9.4");
    let (code, level, display) = match &state {
        State::Succeeded => ("0".to_owned(), "Information", "Provisioning succeeded"),
        State::Failed => (ext.code.to_string(), "Error", "Provisioning failed"),
        State::Creating | State::Updating | State::Deleting => {
            ("1".to_owned(), "Information", "Transitioning")
        }
        State::Canceled | State::Other(_) => (ext.code.to_string(), "Warning", "Unknown"),
    };
    let (kind, name) = (machine.ext_type(ext), machine.ext_name(ext));
    json!({
        "publisher": ext.publisher(), "type": kind, "typeHandlerVersion": version,
        "autoUpgradeMinorVersion": false, "enableAutomaticUpgrade": true, "provisioningState": state.name(),
        "settings": settings(subscription, machine, ext),
        "instanceView": {"name": name, "type": kind, "typeHandlerVersion": version, "status": {
            "code": code, "level": level, "displayStatus": display,
            "message": format!("Extension Message: {}", failure::message(machine, ext, &state)),
            "time": spelled(if state.terminal() { ext.done } else { ext.run }),
        }},
    })
}

/// An Arc machine's extension as ARM answers it.
pub(crate) fn arc_extension(subscription: &str, machine: &Machine, ext: &Ext, at: Moment) -> Value {
    let name = machine.ext_name(ext);
    json!({
        "id": format!("{}/extensions/{name}", machine.id(subscription)), "name": name,
        "type": "Microsoft.HybridCompute/machines/extensions", "location": machine.location, "tags": null,
        "properties": extension_properties(subscription, machine, ext, at),
    })
}
