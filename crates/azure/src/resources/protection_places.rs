//! The places of the managed fields of a `ServerProtection` in Azure's APIs (docs/azure-api.md 1, 2, 3.1).

use serverprotection_core::server_protection::field::{ExtensionName, Property, ProtectionField, Setting};

/// The name of the member, property or setting in which Azure has a field.
pub(crate) fn azure_name(field: &ProtectionField) -> &str {
    match field {
        ProtectionField::Registration => "registrationState",
        // A member of the plan; Free is the value of `pricingTier` and has no subplan.
        ProtectionField::Tier => "subPlan",
        ProtectionField::Inheritance => "enforce",
        ProtectionField::ExtensionState(_) => "isEnabled",
        // In `additionalExtensionProperties` of the extension. The first and the last are texts with JSON.
        ProtectionField::ExtensionProperty(_, Property::ExclusionTags) => "ExclusionTags",
        ProtectionField::ExtensionProperty(_, Property::WorkspaceId) => "DefinedWorkspaceId",
        ProtectionField::ExtensionProperty(_, Property::Rules) => "Rules",
        ProtectionField::ExtensionProperty(_, Property::Other(name)) => name,
        ProtectionField::Setting(setting) => setting_place(*setting).name,
        ProtectionField::Assessment => "selectedProvider",
    }
}

/// A setting of Defender for Endpoint in Azure.
pub(crate) struct SettingPlace {
    /// Its name.
    pub(crate) name: &'static str,
    /// The operation that writes it.
    pub(crate) put: &'static str,
    /// Whether `enabled` means that the feature is off.
    inverted: bool,
}

impl SettingPlace {
    /// Converts between on and `enabled`, in both directions.
    pub(crate) const fn wire(&self, on: bool) -> bool {
        on != self.inverted
    }
}

/// The setting in Azure.
pub(crate) const fn setting_place(setting: Setting) -> SettingPlace {
    match setting {
        Setting::Integration => SettingPlace {
            name: "WDATP",
            put: "PUT settings/WDATP",
            inverted: false,
        },
        Setting::UnifiedSolution => SettingPlace {
            name: "WDATP_UNIFIED_SOLUTION",
            put: "PUT settings/WDATP_UNIFIED_SOLUTION",
            inverted: false,
        },
        Setting::Linux => SettingPlace {
            name: "WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW",
            put: "PUT settings/WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW",
            inverted: true,
        },
    }
}

/// The property of an extension with this name in Azure.
pub(crate) fn property(extension: &ExtensionName, name: &str) -> Property {
    let known = Property::of(extension).iter().find(|known| {
        let field = ProtectionField::ExtensionProperty(extension.clone(), (*known).clone());
        azure_name(&field) == name
    });
    known.cloned().unwrap_or_else(|| Property::Other(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};
    use serverprotection_api::ServerProtectionSpec;
    use serverprotection_core::server_protection::{
        changes::{Action, Actual, changes, differences},
        desired::Desired,
        untouched::Untouched,
    };

    use super::*;
    use crate::resources::{assessment, pricings, settings};

    /// A subscription as the bodies that Azure returns.
    struct Subscription {
        plan: Value,
        settings: Vec<Value>,
        assessment: Option<Value>,
    }

    impl Subscription {
        fn read(&self) -> Actual {
            Actual {
                plan: pricings::read_plan("GET", &self.plan).unwrap(),
                settings: settings::read(&self.settings).unwrap(),
                assessment: self
                    .assessment
                    .as_ref()
                    .is_some_and(|body| assessment::read(body).unwrap()),
            }
        }

        /// Stores what is sent, as it is sent.
        fn write(&mut self, action: &Action) {
            match action {
                Action::Register => {}
                Action::PutPlan(write) => self.plan = pricings::request(write),
                Action::PutSetting { setting, on } => {
                    let place = setting_place(*setting);
                    self.settings.retain(|listed| listed["name"] != place.name);
                    let mut listed = settings::request(place.wire(*on));
                    listed["name"] = place.name.into();
                    self.settings.push(listed);
                }
                Action::PutAssessment => self.assessment = Some(assessment::request()),
                Action::DeleteAssessment => self.assessment = None,
            }
        }
    }

    fn desired(state: &str, tier: &str, inheritance: &str) -> Desired {
        let monitoring = json!({"state": state, "workspaceId": "/subscriptions/s/workspaces/w"});
        let spec: ServerProtectionSpec = serde_json::from_value(json!({
            "subscriptionId": "6f1c0d7e-0000-4000-8000-000000000001",
            "plan": {"tier": tier, "inheritance": inheritance,
                "agentlessScanning": {"state": state, "exclusionTags": [{"key": "a", "value": "b"}]},
                "fileIntegrityMonitoring": monitoring, "directOnboarding": {"state": state},
                "otherExtensions": [{"name": "New", "state": state, "properties": {"a": "b"}}]},
            "endpointIntegration": {"state": state, "unifiedSolution": state, "linux": state},
            "vulnerabilityAssessment": {"state": state},
        }))
        .unwrap();
        Desired::of(&spec)
    }

    #[test]
    fn every_field_is_read_back_as_it_was_written() {
        let mut azure = Subscription {
            plan: json!({"properties": {"pricingTier": "Free"}}),
            settings: vec![json!({"name": "WDATP", "properties": {"enabled": false}})],
            assessment: None,
        };
        let mut repaired = BTreeSet::new();
        for desired in [
            desired("Enabled", "P2", "Enforced"),
            desired("Disabled", "P2", "AllowOverrides"),
            desired("Enabled", "P2", "AllowOverrides"),
            desired("Disabled", "P1", "Enforced"),
        ] {
            for change in changes(&desired, &azure.read(), &Untouched::default()) {
                azure.write(&change.action);
                repaired.extend(change.fields.into_iter().map(|difference| difference.field));
            }
            assert_eq!(differences(&desired, &azure.read()), []);
        }
        let rows = desired("Enabled", "P2", "Enforced").rows;
        assert_eq!(
            repaired,
            rows.into_iter().map(|row| row.field).collect(),
            "each row was written"
        );
    }

    #[test]
    fn no_two_fields_have_one_place() {
        let rows = desired("Enabled", "P2", "Enforced").rows;
        let mut fields: Vec<_> = rows.into_iter().map(|row| row.field).collect();
        fields.push(ProtectionField::Registration);
        let places: BTreeSet<_> = fields
            .iter()
            .map(|field| {
                let extension = match field {
                    ProtectionField::ExtensionState(name) | ProtectionField::ExtensionProperty(name, _) => {
                        name.azure_name()
                    }
                    _ => "",
                };
                (extension, azure_name(field))
            })
            .collect();
        assert_eq!(places.len(), fields.len());
        assert!(Setting::ALL.iter().all(|setting| {
            let place = setting_place(*setting);
            place.put == format!("PUT settings/{}", place.name)
        }));
    }

    #[test]
    fn a_property_is_known_on_its_own_extension_only() {
        let workspace = property(&ExtensionName::FileIntegrityMonitoring, "DefinedWorkspaceId");
        assert_eq!(workspace, Property::WorkspaceId);
        let elsewhere = property(&ExtensionName::AgentlessScanning, "DefinedWorkspaceId");
        assert_eq!(elsewhere, Property::Other("DefinedWorkspaceId".into()));
    }
}
