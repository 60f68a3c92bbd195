//! Arc machines and their extensions in the format of Microsoft.HybridCompute.

use serde_json::{Value, json};

use super::{
    compute::{settings, tags},
    failure,
};
use crate::state::machines::{Agent, Cloud, Ext, Machine, Moment, State, Status, service_status, spelled};

/// The member `resources` of an Arc machine: its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resources {
    /// Not shown.
    Hidden,
    /// Shown, an empty list for a machine without extensions.
    Shown,
    /// Shown if the machine has extensions.
    ShownUnlessEmpty,
}

/// An Arc machine as ARM returns it: a GET of one machine includes its extensions even without `$expand`.
pub(crate) fn arc_machine(
    subscription: &str,
    tenant: &str,
    machine: &Machine,
    at: Moment,
    resources: Resources,
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
    let extensions = machine.extensions(at);
    let extensions: Vec<Value> = extensions
        .map(|ext| arc_extension(subscription, machine, ext, at))
        .collect();
    let is_shown = match resources {
        Resources::Hidden => false,
        Resources::Shown => true,
        Resources::ShownUnlessEmpty => !extensions.is_empty(),
    };
    if let (Some(body), true) = (body.as_object_mut(), is_shown) {
        body.insert("resources".into(), Value::Array(extensions));
    }
    body
}

/// Machines that Defender onboards from AWS and GCP have no kind; those of the other connector have one.
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
        .power_state(at)
        .status
        .unwrap_or((&agent.status, agent.changed));
    let errors = if *status == Status::Error {
        json!([{"code": "AZCM0151", "message": "The agent reports that its identity cannot be renewed.", "target": null}])
    } else {
        json!([])
    };
    let (provider, detected) = clouds(machine, agent);
    // Linux agents report no edition or domain, and the kernel's version; the distribution is the SKU.
    let (name, version, edition, domain) = if os.windows {
        ("windows", os.version.to_owned(), "Server", "WORKGROUP")
    } else {
        ("linux", kernel(machine), "unknown", "unknown")
    };
    json!({
        "status": status.name(), "statusReason": agent.reason, "lastStatusChange": spelled(changed), "errorDetails": errors,
        "agentVersion": agent.version, "provisioningState": "Succeeded", "displayName": machine.name,
        "osType": if os.windows { "windows" } else { "linux" },
        "osName": name, "osSku": os.sku, "osVersion": version, "osEdition": edition,
        "osProfile": {"computerName": machine.name},
        "machineFqdn": format!("{}.contoso.example", machine.name), "dnsFqdn": format!("{}.contoso.example", machine.name),
        "adFqdn": domain, "domainName": domain, "vmId": machine.guid(subscription, 1), "vmUuid": machine.guid(subscription, 3),
        "cloudMetadata": provider, "detectedProperties": detected,
        "agentConfiguration": {
            "extensionsEnabled": if agent.extensions_disabled { "false" } else { "true" },
            "configMode": if agent.monitor_mode { "monitor" } else { "full" },
            "extensionsAllowList": listed(&agent.allow), "extensionsBlockList": listed(&agent.block),
            "guestConfigurationEnabled": "true", "incomingConnectionsPorts": [], "proxyUrl": "", "proxyBypass": [],
        },
        "serviceStatuses": {
            "extensionService": service(os.windows, agent.service.as_deref()),
            "guestConfigurationService": service(os.windows, None),
        },
        "agentUpgrade": {"enableAutomaticUpgrade": false}, "clientPublicKey": machine.guid(subscription, 4),
        "licenseProfile": {"esuProfile": {"serverType": "Unknown", "esuEligibility": "Ineligible", "esuKeyState": "Inactive",
                                          "licenseAssignmentState": "NotAssigned"}},
        "mssqlDiscovered": "false",
    })
}

/// The version of the kernel, which names the architecture on some distributions.
fn kernel(machine: &Machine) -> String {
    let kernel = machine.os.get().kernel();
    if machine.is_arm64() {
        kernel.replace("x86_64", "aarch64").replace("amd64", "arm64")
    } else {
        kernel.to_owned()
    }
}

/// A service of the agent, in the terms of its operating system.
fn service(windows: bool, status: Option<&str>) -> Value {
    let starts = if windows { "automatic" } else { "enabled" };
    json!({"status": service_status(windows, status), "startupType": starts})
}

/// `cloudMetadata` and `detectedProperties`.
fn clouds(machine: &Machine, agent: &Agent) -> (Value, Value) {
    let (provider, manufacturer, model) = match &agent.cloud {
        Cloud::Aws if machine.is_arm64() => ("AWS", "Amazon EC2", "m6g.large"),
        Cloud::Aws => ("AWS", "Amazon EC2", "m5.large"),
        Cloud::Gcp => ("GCP", "Google", "Google Compute Engine"),
        Cloud::Azure => ("Azure", "Microsoft Corporation", "Virtual Machine"),
        Cloud::OnPremises => ("N/A", "VMware, Inc.", "VMware Virtual Platform"),
        Cloud::Other(word) => (&**word, "unknown", "unknown"),
    };
    let mut detected = json!({
        "cloudprovider": provider, "manufacturer": manufacturer, "model": model, "productType": "unknown",
        "architecture": if machine.is_arm64() { "arm64" } else { "amd64" }, "coreCount": "2", "totalPhysicalMemoryInBytes": "8589934592",
    });
    let own = match &agent.cloud {
        Cloud::Aws => vec![
            (
                "AWS-accountId",
                machine.tag("AccountId").unwrap_or("123456789012"),
            ),
            ("AWS-instanceId", &machine.name),
            ("AWS-region", "eu-west-1"),
        ],
        Cloud::Gcp => vec![
            (
                "GCP-projectNumber",
                machine.tag("ProjectNumber").unwrap_or("843025268399"),
            ),
            ("GCP-instanceId", &machine.name),
            ("GCP-zone", "europe-west1-b"),
        ],
        _ => Vec::new(),
    };
    if let Some(detected) = detected.as_object_mut() {
        detected.extend(
            own.into_iter()
                .map(|(name, value)| (name.to_owned(), json!(value))),
        );
    }
    (json!({"provider": provider}), detected)
}

/// A list of the agent's configuration; empty by default.
fn listed(list: &[Box<str>]) -> Value {
    list.iter()
        .map(|item| {
            let (publisher, kind) = item.split_once('/').unwrap_or((item, ""));
            json!({"publisher": publisher, "type": kind})
        })
        .collect()
}

/// `properties` of an Arc machine's extension. Its status has neither time nor displayStatus, and is empty before
/// the first run ends.
pub(super) fn extension_properties(subscription: &str, machine: &Machine, ext: &Ext, at: Moment) -> Value {
    let state = ext.state(at);
    let version = ext.version.as_deref().unwrap_or("1.0.9.4");
    let (kind, name) = (machine.ext_type(ext), machine.ext_name(ext));
    let (code, level) = match &state {
        State::Succeeded => ("0".to_owned(), "Information"),
        State::Failed => (ext.code.to_string(), "Error"),
        State::Creating | State::Updating | State::Deleting => ("1".to_owned(), "Information"),
        State::Canceled | State::Other(_) => (ext.code.to_string(), "Warning"),
    };
    let view = if state == State::Creating {
        json!({"status": {}})
    } else {
        json!({"name": name, "type": kind, "typeHandlerVersion": version, "status": {
            "code": code, "level": level,
            "message": format!("Extension Message: {}", failure::message(machine, ext, &state)),
        }})
    };
    json!({
        "publisher": ext.publisher(), "type": kind, "typeHandlerVersion": version,
        "autoUpgradeMinorVersion": false, "enableAutomaticUpgrade": true, "provisioningState": state.name(),
        "settings": settings(subscription, machine, ext), "instanceView": view,
    })
}

/// Author and time of the last write of an Arc machine's extension.
pub(super) fn system_data(ext: &Ext) -> Value {
    let writer = "d2a590e7-6906-4a45-8f41-cecfdca9bca1";
    json!({
        "createdBy": writer, "createdByType": "Application", "createdAt": spelled(ext.created.min(ext.modified())),
        "lastModifiedBy": writer, "lastModifiedByType": "Application", "lastModifiedAt": spelled(ext.modified()),
    })
}

/// An Arc machine's extension as ARM returns it.
pub(crate) fn arc_extension(subscription: &str, machine: &Machine, ext: &Ext, at: Moment) -> Value {
    let name = machine.ext_name(ext);
    json!({
        "id": format!("{}/extensions/{name}", machine.id(subscription)), "name": name,
        "type": "Microsoft.HybridCompute/machines/extensions", "location": machine.location, "tags": null,
        "systemData": system_data(ext),
        "properties": extension_properties(subscription, machine, ext, at),
    })
}
