//! A direct GET of one machine, with its extensions and their instance view (docs/azure-api.md 6.2 to 6.4).

use reqwest::Method;
use serde::{Deserialize, de::DeserializeOwned};
use serverprotection_core::{
    azure_error::AzureError,
    machines::{ArcAgent, Kind, Machine, MdeExtension, Service, machine::MDE_PUBLISHER},
};

use super::{
    forms::{list, object, optional, optional_list},
    rows::{ExtensionName, Text, names},
};
use crate::{
    arm::{Arm, Call},
    error_response::{self, one_line},
    throttled::Budget,
};

/// The facts in a direct GET that may differ from Resource Graph. `None` if the response does not contain a fact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    power: Option<String>,
    os_name: Option<String>,
    os_sku: Option<String>,
    os_version: Option<String>,
    arc: Option<ArcAgent>,
    extensions: Option<Vec<MdeExtension>>,
}

impl Facts {
    /// Replaces what Resource Graph says about the machine.
    pub(super) fn apply_to(&self, machine: &mut Machine) {
        let texts = [
            (&self.power, &mut machine.power),
            (&self.os_name, &mut machine.os_name),
            (&self.os_sku, &mut machine.os_sku),
            (&self.os_version, &mut machine.os_version),
        ];
        for (fact, text) in texts {
            if let Some(fact) = fact {
                text.clone_from(fact);
            }
        }
        if let Some(arc) = &self.arc {
            machine.arc = Some(arc.clone());
        }
        if let Some(extensions) = &self.extensions {
            let of_row = std::mem::replace(&mut machine.extensions, extensions.clone());
            for extension in &mut machine.extensions {
                // Not every response contains `systemData`. Without it, keep the date of the row.
                let same = |row: &&MdeExtension| row.name.eq_ignore_ascii_case(&extension.name);
                let dated = of_row.iter().find(same).and_then(|row| row.modified);
                extension.modified = extension.modified.or(dated);
            }
        }
    }
}

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
        correlation_id: None,
    };
    let expand = [("$expand", "instanceView")];
    let facts = if is_arc {
        arm.read::<Resource<ArcProperties>>(&call, &expand)
            .await
            .map(arc_facts)
    } else {
        arm.read::<Resource<VmProperties>>(&call, &expand)
            .await
            .map(vm_facts)
    };
    match facts {
        Ok(facts) => Ok(Some(facts)),
        Err(failure) if error_response::is_absent(&failure) => Ok(None),
        Err(failure) => Err(failure),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound = "P: Default + DeserializeOwned")]
struct Resource<P> {
    #[serde(deserialize_with = "object")]
    properties: P,
    #[serde(deserialize_with = "optional_list")]
    resources: Option<Vec<ExtensionResource>>,
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
    #[serde(deserialize_with = "list")]
    extensions: Vec<ExtensionView>,
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
    #[serde(deserialize_with = "list")]
    extensions_allow_list: Vec<ExtensionName>,
    #[serde(deserialize_with = "list")]
    extensions_block_list: Vec<ExtensionName>,
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

fn vm_facts(vm: Resource<VmProperties>) -> Facts {
    let view = vm.properties.instance_view;
    let power = view
        .statuses
        .into_iter()
        .map(|status| status.code.0)
        .find(|code| code.to_ascii_lowercase().starts_with("powerstate/"));
    let mut extensions = from_resources(vm.resources.unwrap_or_default());
    for view in view.extensions {
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
    Facts {
        power,
        os_name: non_empty(view.os_name),
        os_sku: None,
        os_version: non_empty(view.os_version),
        arc: None,
        // A virtual machine without extensions has no `resources`.
        extensions: Some(extensions),
    }
}

fn arc_facts(machine: Resource<ArcProperties>) -> Facts {
    let properties = machine.properties;
    let agent = properties.agent_configuration;
    Facts {
        power: None,
        os_name: non_empty(properties.os_name),
        os_sku: non_empty(properties.os_sku),
        os_version: non_empty(properties.os_version),
        arc: Some(ArcAgent {
            last_status_change: properties.last_status_change.time(),
            status: properties.status.0,
            status_reason: properties.status_reason.0,
            agent_version: properties.agent_version.0,
            extensions_enabled: agent.extensions_enabled.0,
            allow_list: names(agent.extensions_allow_list),
            block_list: names(agent.extensions_block_list),
            extension_service: Service::of(&properties.service_statuses.extension_service.status.0),
        }),
        // It is unknown whether Azure omits `resources` if there is no extension. Without it, keep those of the row.
        extensions: machine.resources.map(from_resources),
    }
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
        extension.message = one_line(&messages.join(" "));
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
        let facts = vm_facts(serde_json::from_str(vm).unwrap());
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
        let extensions = vm_facts(serde_json::from_str(vm).unwrap()).extensions.unwrap();
        assert_eq!(
            (extensions[0].type_.as_str(), extensions[0].state.as_str()),
            ("MDE.Windows", "succeeded")
        );
        let bare = vm_facts(serde_json::from_str(r#"{"properties": null}"#).unwrap());
        assert_eq!((bare.extensions, bare.power), (Some(vec![]), None));
    }

    #[test]
    fn an_arc_machine_reports_its_agent_and_one_status() {
        let arc = r#"{"properties": {"status": "Connected", "agentConfiguration": {"extensionsEnabled": "false", "extensionsBlockList": [{"publisher": "p", "type": "t"}]},
              "serviceStatuses": {"extensionService": {"status": "running"}, "guestConfigurationService": null}},
            "resources": [{"name": "MDE.Linux", "properties": {"publisher": "Microsoft.Azure.AzureDefenderForServers", "type": "MDE.Linux", "provisioningState": "Succeeded",
              "settings": null, "instanceView": {"status": {"code": "0", "level": "Information"}}}}]}"#;
        let facts = arc_facts(serde_json::from_str(arc).unwrap());
        let agent = facts.arc.unwrap();
        assert_eq!(
            (agent.extensions_enabled.as_str(), agent.extension_service),
            ("false", Service::Running)
        );
        assert_eq!(agent.block_list, ["p/t"]);
        assert_eq!(facts.extensions.unwrap()[0].level, "Information");
        let silent = arc_facts(serde_json::from_str(r#"{"properties": {}}"#).unwrap());
        assert_eq!(silent.extensions, None);
    }
}
