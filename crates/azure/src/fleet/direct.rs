//! A direct GET of one machine, with its extensions and their instance view (docs/azure-api.md 6.2 to 6.4).

use reqwest::Method;
use serde::{Deserialize, de::DeserializeOwned};
use serverprotection_core::{
    azure_error::AzureError,
    machines::{Kind, Machine, MdeExtension, Service, machine::MDE_PUBLISHER},
};

use super::{
    facts::{ArcFacts, ArcStatus, Facts},
    forms::{list, object, optional, optional_list},
    rows::{ExtensionName, Text, names, report},
};
use crate::{
    arm::{Arm, Call},
    body, error_response,
    throttled::Budget,
};

const GET: &str = "GET machine";

/// Sends one GET of the machine. `None` if it does not exist.
pub(super) async fn read(arm: &Arm, machine: &Machine) -> Result<Option<Facts>, AzureError> {
    // An id that is unsafe in a path is refused with the path.
    let path: Vec<_> = machine.id.trim_start_matches('/').split('/').collect();
    let is_arc = machine.kind == Kind::ArcMachine;
    let call = Call {
        method: Method::GET,
        operation: if is_arc {
            "GET machines"
        } else {
            "GET virtualMachines"
        },
        budget: Budget::Subscription(&machine.subscription_id),
        path: &path,
        api_version: if is_arc { "2025-01-13" } else { "2024-11-01" },
        body: None,
        timeout: None,
        permit: None,
    };
    let expand = [("$expand", "instanceView")];
    let facts = if is_arc {
        let answer = arm.read::<Resource<ArcProperties>>(&call, &expand).await;
        answer.and_then(|found| arc_facts(found.of(&machine.id)?))
    } else {
        let answer = arm.read::<Resource<VmProperties>>(&call, &expand).await;
        answer.and_then(|found| vm_facts(found.of(&machine.id)?))
    };
    match facts {
        Ok(facts) => Ok(Some(facts)),
        Err(failure) if error_response::is_absent(&failure) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// A response that does not say what was asked for. The caller uses the row of Resource Graph.
fn unreadable(message: &str) -> AzureError {
    body::unreadable(GET, format!("Azure's response about a machine {message}"))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound = "P: Default + DeserializeOwned")]
struct Resource<P> {
    id: Text,
    #[serde(deserialize_with = "optional")]
    properties: Option<P>,
    #[serde(deserialize_with = "optional_list")]
    resources: Option<Vec<ExtensionResource>>,
}

impl<P> Resource<P> {
    /// The resource, if it is the one with this id.
    fn of(self, id: &str) -> Result<Self, AzureError> {
        if self.id.0.eq_ignore_ascii_case(id) {
            return Ok(self);
        }
        Err(unreadable("has another id than the machine"))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct VmProperties {
    #[serde(deserialize_with = "object")]
    instance_view: VmInstanceView,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct VmInstanceView {
    os_name: Text,
    os_version: Text,
    #[serde(deserialize_with = "list")]
    statuses: Vec<Status>,
    #[serde(deserialize_with = "optional_list")]
    extensions: Option<Vec<ExtensionView>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ArcProperties {
    status: Text,
    status_reason: Text,
    last_status_change: Text,
    agent_version: Text,
    os_name: Text,
    os_sku: Text,
    os_version: Text,
    #[serde(deserialize_with = "object")]
    agent_configuration: AgentConfiguration,
    #[serde(deserialize_with = "object")]
    service_statuses: ServiceStatuses,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "Azure's names")]
struct AgentConfiguration {
    extensions_enabled: Text,
    #[serde(deserialize_with = "optional_list")]
    extensions_allow_list: Option<Vec<ExtensionName>>,
    #[serde(deserialize_with = "optional_list")]
    extensions_block_list: Option<Vec<ExtensionName>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ServiceStatuses {
    #[serde(deserialize_with = "object")]
    extension_service: ServiceStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ServiceStatus {
    status: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ExtensionResource {
    name: Text,
    #[serde(deserialize_with = "object")]
    properties: ExtensionProperties,
    #[serde(rename = "systemData", deserialize_with = "object")]
    system_data: SystemData,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SystemData {
    last_modified_at: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ExtensionProperties {
    publisher: Text,
    #[serde(rename = "type")]
    type_: Text,
    provisioning_state: Text,
    type_handler_version: Text,
    #[serde(deserialize_with = "object")]
    settings: ExtensionSettings,
    #[serde(deserialize_with = "optional")]
    instance_view: Option<ExtensionView>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ExtensionSettings {
    v_next_enabled: Text,
}

/// Compute has `statuses` and `substatuses`, Arc one `status`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ExtensionView {
    name: Text,
    #[serde(rename = "type")]
    type_: Text,
    type_handler_version: Text,
    #[serde(deserialize_with = "optional")]
    status: Option<Status>,
    #[serde(deserialize_with = "list")]
    statuses: Vec<Status>,
    #[serde(deserialize_with = "list")]
    substatuses: Vec<Status>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    code: Text,
    level: Text,
    message: Text,
    time: Text,
}

fn vm_facts(vm: Resource<VmProperties>) -> Result<Facts, AzureError> {
    let view = vm
        .properties
        .ok_or_else(|| unreadable("has no properties"))?
        .instance_view;
    // A virtual machine without extensions has neither list, but then its instance view has statuses.
    if vm.resources.is_none() && view.extensions.is_none() && view.statuses.is_empty() {
        return Err(unreadable("has neither an instance view nor extensions"));
    }
    let power = view
        .statuses
        .into_iter()
        .map(|status| status.code.0)
        .find(|code| code.to_ascii_lowercase().starts_with("powerstate/"));
    let mut extensions = from_resources(vm.resources.unwrap_or_default());
    for view in view.extensions.unwrap_or_default() {
        // The type here is `publisher.type`. An extension that only the agent reports counts, too.
        let (publisher, type_) = view
            .type_
            .0
            .split_at_checked(MDE_PUBLISHER.len())
            .unwrap_or_default();
        if !publisher.eq_ignore_ascii_case(MDE_PUBLISHER) || !is_mde(type_.trim_start_matches('.')) {
            continue;
        }
        let known = extensions
            .iter()
            .position(|extension| extension.name.eq_ignore_ascii_case(&view.name.0));
        let at = known.unwrap_or_else(|| {
            extensions.push(MdeExtension {
                name: view.name.0.clone(),
                type_: type_.trim_start_matches('.').to_owned(),
                state: state_of(&view),
                ..MdeExtension::default()
            });
            extensions.len() - 1
        });
        if let Some(extension) = extensions.get_mut(at) {
            view.apply_to(extension);
        }
    }
    Ok(Facts {
        power,
        os_name: non_empty(view.os_name),
        os_sku: None,
        os_version: non_empty(view.os_version),
        arc: None,
        extensions: Some(extensions),
    })
}

fn arc_facts(machine: Resource<ArcProperties>) -> Result<Facts, AzureError> {
    let properties = machine
        .properties
        .ok_or_else(|| unreadable("has no properties"))?;
    let agent = properties.agent_configuration;
    let status = non_empty(properties.status).map(|status| ArcStatus {
        status,
        reason: properties.status_reason.0,
        last_change: properties.last_status_change.time(),
    });
    Ok(Facts {
        power: None,
        os_name: non_empty(properties.os_name),
        os_sku: non_empty(properties.os_sku),
        os_version: non_empty(properties.os_version),
        arc: Some(ArcFacts {
            status,
            agent_version: non_empty(properties.agent_version),
            extensions_enabled: non_empty(agent.extensions_enabled),
            allow_list: agent.extensions_allow_list.map(names),
            block_list: agent.extensions_block_list.map(names),
            extension_service: non_empty(properties.service_statuses.extension_service.status)
                .map(|status| Service::of(&status)),
        }),
        // It is unknown whether Azure omits `resources` if there is no extension. Without it, keep those of the row.
        extensions: machine.resources.map(from_resources),
    })
}

fn from_resources(resources: Vec<ExtensionResource>) -> Vec<MdeExtension> {
    let mde = resources.into_iter().filter(|resource| {
        let properties = &resource.properties;
        properties.publisher.0.eq_ignore_ascii_case(MDE_PUBLISHER) && is_mde(&properties.type_.0)
    });
    mde.map(|resource| {
        let properties = resource.properties;
        let name = resource.name.0;
        let mut extension = MdeExtension {
            name: name.rsplit('/').next().unwrap_or_default().to_owned(),
            type_: properties.type_.0,
            state: properties.provisioning_state.0,
            version: properties.type_handler_version.0,
            unified: properties.settings.v_next_enabled.boolean(),
            modified: resource.system_data.last_modified_at.time(),
            ..MdeExtension::default()
        };
        if let Some(view) = properties.instance_view {
            view.apply_to(&mut extension);
        }
        extension
    })
    .collect()
}

impl ExtensionView {
    /// Adds the instance view to the extension.
    fn apply_to(self, extension: &mut MdeExtension) {
        if let Some(version) = non_empty(self.type_handler_version) {
            extension.version = version;
        }
        let status = self.status.or_else(|| self.statuses.into_iter().next());
        let Some(status) = status else { return };
        // The first message contains the exit code, the others the details (docs/azure-api.md 6.7).
        let details = self.substatuses.into_iter().map(|status| status.message.0);
        let messages: Vec<_> = std::iter::once(status.message.0).chain(details).collect();
        extension.at = status.time.time();
        extension.code = status.code.0;
        extension.level = status.level.0;
        report(extension, &messages.join(" "));
    }
}

/// `ProvisioningState/failed/24` to `failed`.
fn state_of(view: &ExtensionView) -> String {
    let state = view
        .statuses
        .first()
        .and_then(|status| status.code.0.split('/').nth(1));
    state.unwrap_or_default().to_owned()
}

fn is_mde(type_: &str) -> bool {
    type_.eq_ignore_ascii_case("MDE.Windows") || type_.eq_ignore_ascii_case("MDE.Linux")
}

fn non_empty(text: Text) -> Option<String> {
    Some(text.0).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_machine_with_a_failed_extension() {
        let vm = r#"{"name": "vm", "properties": {"instanceView": {"osName": "ubuntu", "osVersion": "22.04",
              "statuses": [{"code": "ProvisioningState/succeeded"}, {"code": "PowerState/running"}],
              "extensions": [{"name": "sensor", "type": "Microsoft.Azure.AzureDefenderForServers.MDE.Linux", "typeHandlerVersion": "1.0.9.4",
                "statuses": [{"code": "ProvisioningState/failed/4", "level": "Error", "message": "no\nway", "time": "2026-01-02T03:04:05Z"}],
                "substatuses": [{"message": "because"}]},
               {"name": "other", "type": "Microsoft.Azure.Monitor.Agent"}]}},
            "resources": [{"name": "sensor", "properties": {"publisher": "microsoft.azure.azuredefenderforservers", "type": "MDE.Linux",
                "provisioningState": "Failed", "typeHandlerVersion": "1.0", "settings": {"vNextEnabled": "true"}}},
               {"name": "MDE.Linux", "properties": {"publisher": "Somebody", "type": "MDE.Linux"}}]}"#;
        let facts = vm_facts(serde_json::from_str(vm).unwrap()).unwrap();
        let mut machine = Machine {
            power: "PowerState/deallocated".into(),
            ..Machine::default()
        };
        facts.apply_to(&mut machine);
        assert_eq!(machine.power, "PowerState/running");
        assert_eq!(machine.os_name, "ubuntu");
        let [extension] = machine.extensions.as_slice() else {
            panic!()
        };
        assert_eq!(extension.state, "Failed");
        assert_eq!(extension.code, "ProvisioningState/failed/4");
        assert_eq!(extension.message, "no way because");
        assert_eq!(extension.version, "1.0.9.4");
        assert!(extension.unified == Some(true) && extension.at.is_some());
    }

    #[test]
    fn an_extension_that_only_the_agent_reports_counts_and_none_is_none() {
        let vm = r#"{"properties": {"instanceView": {"extensions": [{"name": "x", "type": "Microsoft.Azure.AzureDefenderForServers.MDE.Windows",
            "statuses": [{"code": "ProvisioningState/succeeded", "level": "Info"}]}, {"name": "y", "type": null}]}}}"#;
        let facts = vm_facts(serde_json::from_str(vm).unwrap()).unwrap();
        let extensions = facts.extensions.unwrap();
        assert_eq!(
            (extensions[0].type_.as_str(), extensions[0].state.as_str()),
            ("MDE.Windows", "succeeded")
        );
        let bare =
            r#"{"properties": {"instanceView": {"statuses": [{"code": "ProvisioningState/succeeded"}]}}}"#;
        let bare = vm_facts(serde_json::from_str(bare).unwrap()).unwrap();
        assert_eq!((bare.extensions, bare.power), (Some(vec![]), None));
    }

    #[test]
    fn a_response_without_properties_or_view_is_unreadable_and_no_machine_without_extensions() {
        for body in [
            "{}",
            r#"{"properties": null}"#,
            r#"{"properties": {}}"#,
            r#"{"properties": {"instanceView": null}}"#,
            r#"{"properties": {"instanceView": {}}, "resources": null}"#,
        ] {
            let failure = vm_facts(serde_json::from_str(body).unwrap()).unwrap_err();
            assert_eq!(failure.code, "UnreadableAnswer", "{body}");
        }
        for body in ["{}", r#"{"properties": ""}"#] {
            assert!(arc_facts(serde_json::from_str(body).unwrap()).is_err(), "{body}");
        }
        let asked: Resource<ArcProperties> = serde_json::from_str(r#"{"id": "/VM/1"}"#).unwrap();
        assert!(asked.of("/vm/1").unwrap().of("/vm/2").is_err());
    }

    #[test]
    fn an_arc_machine_reports_its_agent_and_one_status() {
        let arc = r#"{"properties": {"status": "Connected", "agentConfiguration": {"extensionsEnabled": "false", "extensionsBlockList": [{"publisher": "p", "type": "t"}]},
              "serviceStatuses": {"extensionService": {"status": "running"}, "guestConfigurationService": null}},
            "resources": [{"name": "MDE.Linux", "properties": {"publisher": "Microsoft.Azure.AzureDefenderForServers", "type": "MDE.Linux", "provisioningState": "Succeeded",
              "settings": null, "instanceView": {"status": {"code": "0", "level": "Information"}}}}]}"#;
        let facts = arc_facts(serde_json::from_str(arc).unwrap()).unwrap();
        let agent = facts.arc.unwrap();
        assert_eq!(
            (agent.extensions_enabled.as_deref(), agent.extension_service),
            (Some("false"), Some(Service::Running))
        );
        assert_eq!(agent.block_list, Some(vec!["p/t".to_owned()]));
        assert_eq!(
            (agent.allow_list, agent.status.unwrap().status),
            (None, "Connected".to_owned())
        );
        assert_eq!(facts.extensions.unwrap()[0].level, "Information");
        let silent = arc_facts(serde_json::from_str(r#"{"properties": {}}"#).unwrap()).unwrap();
        assert_eq!((silent.extensions, silent.arc), (None, Some(ArcFacts::default())));
    }
}
