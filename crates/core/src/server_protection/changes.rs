//! From desired and observed state to changes: the differences by field (`differences`), then Azure's writes
//! (`changes`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use serverprotection_api::Tier;

use super::{
    azure_rules::{self, Setting},
    desired::{Desired, DesiredExtension},
    observed::{Extension, Plan, Settings},
};
use crate::{
    change,
    difference::Difference,
    switch::{ENABLED, switch_name},
    tier::tier_name,
};

/// What a complete reconcile read from a registered subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct Actual {
    /// The plan.
    pub plan: Plan,
    /// The MDE settings.
    pub settings: Settings,
    /// Whether vulnerability assessment is on.
    pub assessment: bool,
}

/// One write to Azure, with the fields that it repairs.
pub type Change = change::Change<Action>;

/// The writes to Azure.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Register Microsoft.Security.
    Register,
    /// Write the plan `VirtualMachines`.
    PutPlan(PlanWrite),
    /// Write one MDE setting.
    PutSetting {
        /// The setting.
        setting: Setting,
        /// The value of `enabled` on the wire.
        enabled: bool,
    },
    /// Select Defender Vulnerability Management.
    PutAssessment,
    /// Remove the vulnerability-assessment setting.
    DeleteAssessment,
}

/// A plan write, which contains every field.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanWrite {
    /// Tier and subplan.
    pub tier: Tier,
    /// `enforce`, when known.
    pub enforce: Option<bool>,
    /// Every known extension that the subplan offers.
    pub extensions: Vec<ExtensionWrite>,
}

/// An extension in a plan write.
#[derive(Clone, Debug, PartialEq)]
pub struct ExtensionWrite {
    /// Azure's name.
    pub name: String,
    /// `isEnabled`.
    pub enabled: bool,
    /// `additionalExtensionProperties`; not sent if empty. Always empty for a disabled extension.
    pub properties: BTreeMap<String, Value>,
}

/// Every managed field in which Azure differs from the spec, in the order of the spec.
pub fn differences(desired: &Desired, actual: &Actual) -> Vec<Difference> {
    let mut all = plan_differences(desired, &actual.plan);
    all.extend(
        setting_differences(desired, &actual.settings)
            .into_iter()
            .map(|(_, difference)| difference),
    );
    all.extend(assessment_difference(desired, actual.assessment));
    all
}

fn plan_differences(desired: &Desired, plan: &Plan) -> Vec<Difference> {
    let mut all = Vec::new();
    let mut add = |field: String, desired: String, observed: String| {
        all.push(Difference {
            field,
            desired,
            observed,
        });
    };
    if desired.tier != plan.tier {
        add(
            "plan.tier".into(),
            tier_name(desired.tier).into(),
            tier_name(plan.tier).into(),
        );
    }
    if let Some(enforce) = desired.enforce
        && plan.enforce.unwrap_or(false) != enforce
    {
        let name = |on: bool| if on { "Enforced" } else { "AllowOverrides" };
        add(
            "plan.inheritance".into(),
            name(enforce).into(),
            plan.enforce.map_or("none", name).into(),
        );
    }
    for extension in &desired.extensions {
        let found = plan.extension(&extension.name);
        let enabled = found.is_some_and(|found| found.enabled);
        if enabled != extension.enabled {
            add(
                state_field(extension),
                switch_name(extension.enabled).into(),
                switch_name(enabled).into(),
            );
        }
        for (name, property) in &extension.properties {
            let value = found.and_then(|found| found.properties.get(name));
            if !property.matches(value) {
                let field = property_field(extension, name);
                add(field, property.describe(), property.describe_observed(value));
            }
        }
    }
    all
}

fn state_field(extension: &DesiredExtension) -> String {
    format!("{}.state", extension.field)
}

fn property_field(extension: &DesiredExtension, name: &str) -> String {
    match (extension.name.as_str(), name) {
        (azure_rules::AGENTLESS_SCANNING, azure_rules::EXCLUSION_TAGS) => {
            format!("{}.exclusionTags", extension.field)
        }
        (azure_rules::FILE_INTEGRITY_MONITORING, azure_rules::WORKSPACE) => {
            format!("{}.workspaceId", extension.field)
        }
        (azure_rules::FILE_INTEGRITY_MONITORING, azure_rules::RULES) => format!("{}.rules", extension.field),
        (_, other) => format!("{}.properties.{other}", extension.field),
    }
}

fn setting_differences(desired: &Desired, settings: &Settings) -> Vec<(Setting, Difference)> {
    let of = |setting: Setting| match setting {
        Setting::Integration => (desired.integration, settings.integration),
        Setting::UnifiedSolution => (desired.unified_solution, settings.unified_solution),
        Setting::Linux => (desired.linux, settings.exclude_linux),
    };
    let differs = |setting: Setting| {
        let (desired, wire) = of(setting);
        let desired = desired?;
        // A setting that Azure does not list is off. For Linux this means that nothing is excluded.
        let observed = setting.wire(wire.unwrap_or(false));
        (observed != desired).then(|| {
            let difference = Difference {
                field: setting.field().into(),
                desired: switch_name(desired).into(),
                observed: switch_name(observed).into(),
            };
            (setting, difference)
        })
    };
    Setting::ALL.into_iter().filter_map(differs).collect()
}

fn assessment_difference(desired: &Desired, observed: bool) -> Option<Difference> {
    let desired = desired.assessment.filter(|desired| *desired != observed)?;
    Some(Difference {
        field: "vulnerabilityAssessment.state".into(),
        desired: switch_name(desired).into(),
        observed: switch_name(observed).into(),
    })
}

/// The writes, in order, that repair every difference except in suppressed (contested) fields.
pub fn changes(desired: &Desired, actual: &Actual, suppressed: &BTreeSet<String>) -> Vec<Change> {
    let mut all = Vec::new();
    let out_of_reach = out_of_reach(desired, &actual.plan, suppressed);
    let fields: Vec<_> = plan_differences(desired, &actual.plan)
        .into_iter()
        .filter(|difference| !suppressed.contains(&difference.field))
        .filter(|difference| !out_of_reach.contains(&difference.field))
        .collect();
    if !fields.is_empty() {
        all.push(Change {
            action: Action::PutPlan(plan_write(desired, &actual.plan, suppressed)),
            fields,
        });
    }
    for (setting, difference) in setting_differences(desired, &actual.settings) {
        if !suppressed.contains(&difference.field) {
            let enabled = setting.wire(difference.desired == ENABLED);
            all.push(Change {
                action: Action::PutSetting { setting, enabled },
                fields: vec![difference],
            });
        }
    }
    if let Some(difference) = assessment_difference(desired, actual.assessment)
        && !suppressed.contains(&difference.field)
    {
        let action = if difference.desired == ENABLED {
            Action::PutAssessment
        } else {
            Action::DeleteAssessment
        };
        all.push(Change {
            action,
            fields: vec![difference],
        });
    }
    all
}

/// The fields that no plan write can repair, because they depend on a suppressed field: the tier (a Free plan has no
/// extensions, P1 does not have all of them), or the state of their extension (a disabled extension has no
/// properties).
fn out_of_reach(desired: &Desired, plan: &Plan, suppressed: &BTreeSet<String>) -> BTreeSet<String> {
    let tier = tier_written(desired, plan, suppressed);
    let mut all = BTreeSet::new();
    if tier == Tier::Free {
        all.insert("plan.inheritance".to_owned());
    }
    for extension in &desired.extensions {
        let on = plan.extension(&extension.name).is_some_and(|found| found.enabled);
        let offered = azure_rules::offered(&extension.name, tier, true);
        if !offered {
            all.insert(state_field(extension));
        }
        if !offered || (suppressed.contains(&state_field(extension)) && !on) {
            let properties = extension.properties.keys();
            all.extend(properties.map(|name| property_field(extension, name)));
        }
    }
    all
}

/// The tier that a plan write carries: the observed tier while the tier is suppressed.
fn tier_written(desired: &Desired, plan: &Plan, suppressed: &BTreeSet<String>) -> Tier {
    if suppressed.contains("plan.tier") {
        plan.tier
    } else {
        desired.tier
    }
}

/// The first changes that do not depend on the effect of others. A plan write switches the integration on, and the
/// integration its opt-ins (docs/azure-api.md 2), so these settings are read again before they are written.
pub fn first_stage(mut changes: Vec<Change>) -> Vec<Change> {
    let alone = changes
        .iter()
        .position(|change| matches!(change.action, Action::Register | Action::PutPlan(_)));
    if let Some(at) = alone {
        return vec![changes.swap_remove(at)];
    }
    let setting = |change: &Change| match change.action {
        Action::PutSetting { setting, .. } => Some(setting),
        _ => None,
    };
    if changes
        .iter()
        .any(|change| setting(change) == Some(Setting::Integration))
    {
        changes.retain(|change| matches!(setting(change), None | Some(Setting::Integration)));
    }
    changes
}

/// The plan write with every field: the tier, and every extension that the subplan offers, managed ones as desired,
/// the others as observed. A move to another subplan omits extensions that were not observed: Azure's defaults apply.
pub fn plan_write(desired: &Desired, plan: &Plan, suppressed: &BTreeSet<String>) -> PlanWrite {
    let tier = tier_written(desired, plan, suppressed);
    if tier == Tier::Free {
        return PlanWrite {
            tier,
            enforce: None,
            extensions: Vec::new(),
        };
    }
    let enforce = match desired.enforce {
        Some(enforce) if !suppressed.contains("plan.inheritance") => Some(enforce),
        _ => plan.enforce,
    };
    let mut extensions = Vec::new();
    for found in &plan.extensions {
        let stays = azure_rules::offered(
            &found.name,
            tier,
            tier == plan.tier || desired.extension(&found.name).is_some(),
        );
        if stays
            && desired.extension(&found.name).is_none()
            && !stays_off(&found.name, found.enabled, Some(found))
        {
            extensions.push(ExtensionWrite {
                name: found.name.clone(),
                enabled: found.enabled,
                properties: resent(found.enabled, Some(found)),
            });
        }
    }
    for extension in desired
        .extensions
        .iter()
        .filter(|extension| azure_rules::offered(&extension.name, tier, true))
    {
        let found = plan.extension(&extension.name);
        let left = suppressed.contains(&state_field(extension));
        let enabled = if left {
            found.is_some_and(|found| found.enabled)
        } else {
            extension.enabled
        };
        if stays_off(&extension.name, enabled, found) {
            continue;
        }
        let mut properties = resent(enabled, found);
        if enabled {
            for (name, property) in &extension.properties {
                let observed = found.and_then(|found| found.properties.get(name));
                let left = suppressed.contains(&property_field(extension, name));
                // The service refuses a write without a required property, so it is sent even if it is suppressed.
                let required = azure_rules::required_properties(&extension.name).contains(&name.as_str());
                if !left || (required && !property.is_stored(observed)) {
                    properties.insert(name.clone(), property.wire(observed));
                }
            }
        }
        extensions.push(ExtensionWrite {
            name: extension.name.clone(),
            enabled,
            properties,
        });
    }
    extensions.sort_by(|a, b| a.name.cmp(&b.name));
    PlanWrite {
        tier,
        enforce,
        extensions,
    }
}

/// The unmanaged properties that are sent with an extension: those that were read. It is unknown whether the service
/// keeps or clears properties that are not sent again.
fn resent(enabled: bool, found: Option<&Extension>) -> BTreeMap<String, Value> {
    found
        .filter(|_| enabled)
        .map(|found| found.properties.clone())
        .unwrap_or_default()
}

/// Whether an extension that must not be sent as disabled is off and stays off; it is then omitted.
fn stays_off(name: &str, enabled: bool, found: Option<&Extension>) -> bool {
    let is_on = found.is_some_and(|found| found.enabled);
    !enabled && !is_on && !azure_rules::required_properties(name).is_empty()
}

/// Two synthetic states that together differ from `desired` in every managed field, to find the demanded values.
pub(crate) fn opposites(desired: &Desired) -> [Actual; 2] {
    // Some demands match every value, others match no value at all.
    let with = |on: bool, tier: Tier, other: Value| Actual {
        plan: Plan {
            tier,
            enforce: Some(on),
            extensions: desired
                .extensions
                .iter()
                .map(|extension| Extension {
                    name: extension.name.clone(),
                    enabled: on,
                    properties: extension
                        .properties
                        .keys()
                        .map(|name| (name.clone(), other.clone()))
                        .collect(),
                })
                .collect(),
            coverage: None,
            free_trial_remaining: None,
            enabled_since: None,
        },
        settings: Settings {
            integration: Some(on),
            unified_solution: Some(on),
            exclude_linux: Some(on),
        },
        assessment: on,
    };
    let other = if desired.tier == Tier::P2 {
        Tier::P1
    } else {
        Tier::P2
    };
    let value = Value::String("\u{0}".into());
    [with(true, other, value), with(false, other, Value::Null)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(setting: Setting) -> Change {
        Change {
            action: Action::PutSetting {
                setting,
                enabled: true,
            },
            fields: Vec::new(),
        }
    }

    fn desired(plan: serde_json::Value) -> Desired {
        let mut spec = super::super::properties::minimal(Tier::P2);
        spec.plan = serde_json::from_value(plan).unwrap();
        Desired::of(&spec)
    }

    /// For every demand about rules, one of the two states differs.
    #[test]
    fn the_rules_differ_in_one_of_the_synthetic_states() {
        for rules in [
            serde_json::json!({"preset": "Recommended"}),
            serde_json::json!({"custom": {"linuxFiles": ["/a"]}}),
        ] {
            let monitoring = serde_json::json!({"state": "Enabled", "workspaceId": "/w", "rules": rules});
            let desired = desired(serde_json::json!({"tier": "P2", "fileIntegrityMonitoring": monitoring}));
            let opposites = opposites(&desired);
            let found = opposites.iter().flat_map(|actual| differences(&desired, actual));
            let fields: BTreeSet<_> = found.map(|difference| difference.field).collect();
            for field in ["state", "workspaceId", "rules"] {
                let field = format!("plan.fileIntegrityMonitoring.{field}");
                assert!(fields.contains(&field), "{field}: {rules}");
            }
        }
    }

    /// A required property that Azure does not show is sent even if it is contested: without it, the tier could not be
    /// changed either.
    #[test]
    fn a_contested_property_does_not_make_the_service_refuse_the_plan() {
        let monitoring = serde_json::json!({"state": "Enabled", "workspaceId": "/w"});
        let desired = desired(serde_json::json!({"tier": "P2", "fileIntegrityMonitoring": monitoring}));
        let suppressed = BTreeSet::from(["plan.fileIntegrityMonitoring.rules".to_owned()]);
        let [mut actual, _] = opposites(&desired);
        for (observed, ours) in [(None, true), (Some("[]"), true), (Some("theirs"), false)] {
            let properties = &mut actual.plan.extensions[0].properties;
            properties.remove(azure_rules::RULES);
            properties.extend(observed.map(|text| (azure_rules::RULES.to_owned(), text.into())));
            let write = plan_write(&desired, &actual.plan, &suppressed);
            let sent = write.extensions[0].properties[azure_rules::RULES]
                .as_str()
                .unwrap();
            assert_eq!(sent.contains("RuleId"), ours, "{observed:?}: {sent}");
        }
    }

    #[test]
    fn a_setting_that_another_write_switches_on_is_written_in_a_later_stage() {
        let assessment = Change {
            action: Action::PutAssessment,
            fields: Vec::new(),
        };
        let all = vec![
            setting(Setting::Integration),
            setting(Setting::UnifiedSolution),
            setting(Setting::Linux),
            assessment.clone(),
        ];
        assert_eq!(
            first_stage(all),
            [setting(Setting::Integration), assessment.clone()]
        );
        let opt_ins = vec![setting(Setting::Linux), assessment];
        assert_eq!(first_stage(opt_ins.clone()), opt_ins);
    }
}
