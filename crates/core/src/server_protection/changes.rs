//! From desired and observed state to changes: the differences by field (`differences`), then Azure's writes
//! (`changes`). Both walk the rows of [`Desired`].

use std::collections::BTreeMap;

use serverprotection_api::Tier;

use super::{
    azure_rules,
    desired::{Desired, Expected, Row},
    field::{ExtensionName, Property, ProtectionField, ProtectionValue, Setting},
    observed::{Extension, Plan, Settings},
    property::{PropertyWrite, StoredProperty},
    untouched::Untouched,
};
use crate::{change, difference};

/// A field in which Azure differs from the spec.
pub type Difference = difference::Difference<ProtectionField>;

/// One write to Azure, with the fields that it repairs.
pub type Change = change::Change<Action, ProtectionField>;

/// What a complete reconcile read from a registered subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct Actual {
    /// The plan.
    pub plan: Plan,
    /// The settings of Defender for Endpoint.
    pub settings: Settings,
    /// Whether vulnerability assessment is on.
    pub assessment: bool,
}

/// The writes to Azure.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Register Microsoft.Security.
    Register,
    /// Write the plan `VirtualMachines`.
    PutPlan(PlanWrite),
    /// Write one setting of Defender for Endpoint.
    PutSetting {
        /// The setting.
        setting: Setting,
        /// Whether it should be on.
        on: bool,
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
    /// Its name.
    pub name: ExtensionName,
    /// Whether it should be on.
    pub enabled: bool,
    /// Its properties; not sent if empty. Always empty for a disabled extension.
    pub properties: BTreeMap<Property, PropertyWrite>,
}

impl Actual {
    /// The value of a field as users see it.
    fn value(&self, row: &Row) -> ProtectionValue {
        let plan = &self.plan;
        match &row.field {
            // Nothing can be read before the registration.
            ProtectionField::Registration => ProtectionValue::Registered(true),
            ProtectionField::Tier => ProtectionValue::Tier(plan.tier),
            ProtectionField::Inheritance => plan
                .enforce
                .map_or(ProtectionValue::Absent, ProtectionValue::Enforced),
            ProtectionField::ExtensionState(extension) => ProtectionValue::Switch(plan.is_on(extension)),
            ProtectionField::ExtensionProperty(extension, property) => {
                let found = plan.property(extension, property);
                match &row.value {
                    Expected::Property(expected) => expected.observed_value(found),
                    _ => ProtectionValue::Absent,
                }
            }
            ProtectionField::Setting(setting) => ProtectionValue::Switch(self.settings.is_on(*setting)),
            ProtectionField::Assessment => ProtectionValue::Switch(self.assessment),
        }
    }

    fn differs(&self, row: &Row) -> Option<Difference> {
        let (desired, observed) = (row.value.value(), self.value(row));
        let same = match (&row.field, &row.value) {
            (ProtectionField::ExtensionProperty(extension, property), Expected::Property(expected)) => {
                expected.matches(self.plan.property(extension, property))
            }
            // Absent means that overrides are allowed.
            (_, Expected::Enforced(false)) => observed != ProtectionValue::Enforced(true),
            _ => observed == desired,
        };
        (!same).then(|| Difference {
            field: row.field.clone(),
            desired,
            observed,
        })
    }
}

/// Every managed field in which Azure differs from the spec, in the order of the spec.
pub fn differences(desired: &Desired, actual: &Actual) -> Vec<Difference> {
    desired
        .rows
        .iter()
        .filter_map(|row| actual.differs(row))
        .collect()
}

/// The writes, in order, that repair every difference except in untouched fields.
pub fn changes(desired: &Desired, actual: &Actual, untouched: &Untouched) -> Vec<Change> {
    let mut all: Vec<Change> = Vec::new();
    for row in &desired.rows {
        let Some(difference) = actual.differs(row) else {
            continue;
        };
        if untouched.contains(&row.field) || !is_reachable(desired, &actual.plan, untouched, &row.field) {
            continue;
        }
        match all.last_mut() {
            // One write carries all fields of the plan.
            Some(change) if row.field.is_of_plan() => change.fields.push(difference),
            _ => all.push(Change {
                action: action(desired, &actual.plan, untouched, row),
                fields: vec![difference],
            }),
        }
    }
    all
}

/// The write that repairs a field.
fn action(desired: &Desired, plan: &Plan, untouched: &Untouched, row: &Row) -> Action {
    let on = row.value == Expected::Switch(true);
    match &row.field {
        ProtectionField::Registration => Action::Register,
        ProtectionField::Tier
        | ProtectionField::Inheritance
        | ProtectionField::ExtensionState(_)
        | ProtectionField::ExtensionProperty(..) => Action::PutPlan(plan_write(desired, plan, untouched)),
        ProtectionField::Setting(setting) => Action::PutSetting {
            setting: *setting,
            on,
        },
        ProtectionField::Assessment if on => Action::PutAssessment,
        ProtectionField::Assessment => Action::DeleteAssessment,
    }
}

/// Whether a write can repair the field while others stay untouched: a Free plan has no extensions, P1 does not have
/// all of them, and a disabled extension has no properties.
fn is_reachable(desired: &Desired, plan: &Plan, untouched: &Untouched, field: &ProtectionField) -> bool {
    let tier = tier_written(desired, plan, untouched);
    let offered = |extension| azure_rules::offered(extension, tier, true);
    match field {
        ProtectionField::Inheritance => tier != Tier::Free,
        ProtectionField::ExtensionState(extension) => offered(extension),
        ProtectionField::ExtensionProperty(extension, _) => {
            let state = ProtectionField::ExtensionState(extension.clone());
            offered(extension) && (plan.is_on(extension) || !untouched.contains(&state))
        }
        ProtectionField::Registration
        | ProtectionField::Tier
        | ProtectionField::Setting(_)
        | ProtectionField::Assessment => true,
    }
}

/// The tier that a plan write carries: the observed tier while the tier stays untouched.
fn tier_written(desired: &Desired, plan: &Plan, untouched: &Untouched) -> Tier {
    if untouched.contains(&ProtectionField::Tier) {
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
pub fn plan_write(desired: &Desired, plan: &Plan, untouched: &Untouched) -> PlanWrite {
    let tier = tier_written(desired, plan, untouched);
    if tier == Tier::Free {
        return PlanWrite {
            tier,
            enforce: None,
            extensions: Vec::new(),
        };
    }
    let enforce = match desired.expected(&ProtectionField::Inheritance) {
        Some(Expected::Enforced(enforced)) if !untouched.contains(&ProtectionField::Inheritance) => {
            Some(*enforced)
        }
        _ => plan.enforce,
    };
    let mut extensions: Vec<_> = plan
        .extensions
        .iter()
        .filter(|found| desired.extension(&found.name).is_none())
        .filter(|found| azure_rules::offered(&found.name, tier, tier == plan.tier))
        .filter_map(|found| extension_write(&found.name, found.enabled, Some(found)))
        .collect();
    for (name, on) in desired.extensions() {
        if azure_rules::offered(name, tier, true) {
            extensions.extend(managed_extension(desired, plan, untouched, name, on));
        }
    }
    extensions.sort_by(|a, b| a.name.azure_name().cmp(b.name.azure_name()));
    PlanWrite {
        tier,
        enforce,
        extensions,
    }
}

fn managed_extension(
    desired: &Desired,
    plan: &Plan,
    untouched: &Untouched,
    name: &ExtensionName,
    on: bool,
) -> Option<ExtensionWrite> {
    let left = untouched.contains(&ProtectionField::ExtensionState(name.clone()));
    let found = plan.extension(name);
    if left && found.is_none() && untouched.may_be_unknown(name) {
        return None;
    }
    let enabled = if left { plan.is_on(name) } else { on };
    let mut write = extension_write(name, enabled, found)?;
    for (property, value) in desired.properties(name).filter(|_| enabled) {
        let observed = plan.property(name, property);
        let field = ProtectionField::ExtensionProperty(name.clone(), property.clone());
        if !untouched.contains(&field) || is_needed(name, property, observed) {
            write.properties.insert(property.clone(), value.write(observed));
        }
    }
    Some(write)
}

/// The service refuses a write without a required property, so it is sent even if it should stay untouched.
fn is_needed(name: &ExtensionName, property: &Property, observed: Option<&StoredProperty>) -> bool {
    let is_stored = observed.is_some_and(StoredProperty::is_stored);
    azure_rules::required_properties(name).contains(property) && !is_stored
}

/// An extension with the properties that were read, managed or not: it is unknown whether the service keeps or clears
/// properties that are not sent again. `None` if the extension must not be sent as disabled, is off and stays off.
fn extension_write(name: &ExtensionName, enabled: bool, found: Option<&Extension>) -> Option<ExtensionWrite> {
    let is_on = found.is_some_and(|found| found.enabled);
    if !enabled && !is_on && !azure_rules::required_properties(name).is_empty() {
        return None;
    }
    Some(ExtensionWrite {
        name: name.clone(),
        enabled,
        properties: found
            .filter(|_| enabled)
            .into_iter()
            .flat_map(|found| &found.properties)
            .map(|(property, stored)| (property.clone(), PropertyWrite::AsRead(stored.clone())))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server_protection::property::StoredValue;

    fn text(text: &str) -> StoredProperty {
        StoredProperty {
            value: StoredValue::Text(text.into()),
            json: format!("\"{text}\""),
        }
    }

    fn setting(setting: Setting) -> Change {
        Change {
            action: Action::PutSetting { setting, on: true },
            fields: Vec::new(),
        }
    }

    fn desired(plan: serde_json::Value) -> Desired {
        let mut spec = super::super::properties::minimal(Tier::P2);
        spec.plan = serde_json::from_value(plan).unwrap();
        Desired::of(&spec)
    }

    /// A demand that is still in the spec keeps its history of repairs, whatever Azure has at the time.
    #[test]
    fn every_row_is_managed_with_its_value_and_no_other() {
        let plan = serde_json::json!({
            "tier": "P2", "inheritance": "Enforced", "directOnboarding": {"state": "Disabled"},
            "agentlessScanning": {"state": "Enabled", "exclusionTags": [{"key": "a", "value": "b"}]},
            "fileIntegrityMonitoring": {"state": "Enabled", "workspaceId": "/w"},
            "otherExtensions": [{"name": "New", "state": "Enabled", "properties": {"a": "b"}}]});
        let desired = desired(plan);
        assert_eq!(desired.rows.len(), 14);
        for (field, value) in [
            ("plan.tier", "P2"),
            ("plan.inheritance", "Enforced"),
            ("plan.directOnboarding.state", "Disabled"),
            ("plan.agentlessScanning.state", "Enabled"),
            ("plan.agentlessScanning.exclusionTags", "a=b"),
            ("plan.fileIntegrityMonitoring.state", "Enabled"),
            ("plan.fileIntegrityMonitoring.workspaceId", "/w"),
            ("plan.fileIntegrityMonitoring.rules", "Recommended"),
            ("plan.otherExtensions[New].state", "Enabled"),
            ("plan.otherExtensions[New].properties.a", "b"),
            ("endpointIntegration.state", "Enabled"),
            ("endpointIntegration.unifiedSolution", "Enabled"),
            ("endpointIntegration.linux", "Enabled"),
            ("vulnerabilityAssessment.state", "Enabled"),
        ] {
            assert!(desired.manages(field, value), "{field}={value}");
            assert!(!desired.manages(field, "another"), "{field}");
        }
        assert!(!desired.manages("plan", "P2"));
    }

    /// A required property that Azure does not show is sent even if it is contested: without it, the tier could not be
    /// changed either.
    #[test]
    fn a_contested_property_does_not_make_the_service_refuse_the_plan() {
        let monitoring = serde_json::json!({"state": "Enabled", "workspaceId": "/w"});
        let desired = desired(serde_json::json!({"tier": "P2", "fileIntegrityMonitoring": monitoring}));
        let name = ExtensionName::FileIntegrityMonitoring;
        let suppressed =
            Untouched::fields([ProtectionField::ExtensionProperty(name.clone(), Property::Rules)]);
        let mut actual = crate::server_protection::situations::blank();
        actual.plan.extensions = vec![Extension {
            name,
            enabled: true,
            properties: BTreeMap::from([(Property::WorkspaceId, text("theirs"))]),
        }];
        let nothing = StoredProperty {
            value: StoredValue::Nothing,
            json: "[]".into(),
        };
        for (observed, ours) in [(None, true), (Some(nothing), true), (Some(text("theirs")), false)] {
            let properties = &mut actual.plan.extensions[0].properties;
            properties.remove(&Property::Rules);
            properties.extend(observed.map(|stored| (Property::Rules, stored)));
            let write = plan_write(&desired, &actual.plan, &suppressed);
            let sent = &write.extensions[0].properties[&Property::Rules];
            assert_eq!(matches!(sent, PropertyWrite::Value { .. }), ours, "{sent:?}");
        }
    }

    #[test]
    fn a_setting_that_another_write_switches_on_is_written_in_a_later_stage() {
        let assessment = Change {
            action: Action::PutAssessment,
            fields: Vec::new(),
        };
        let settings = Setting::ALL.iter().copied().map(setting);
        let all: Vec<_> = settings.chain([assessment.clone()]).collect();
        assert_eq!(
            first_stage(all),
            [setting(Setting::Integration), assessment.clone()]
        );
        let opt_ins = vec![setting(Setting::Linux), assessment];
        assert_eq!(first_stage(opt_ins.clone()), opt_ins);
    }
}
