//! The spec with its defaults resolved, as rows: a managed field, and the value that it should have.

use serverprotection_api::{
    ExclusionTag, Inheritance, Mode, Registration, ServerProtectionSpec, State, Tier,
};

use super::{
    azure_rules,
    field::{ExtensionName, Property, ProtectionField, ProtectionValue, Setting},
    file_integrity::Rules,
    property::{PropertyValue, Tags},
};
use crate::switch::switch;

/// What the spec demands. A field without a row is not managed.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// The plan.
    pub tier: Tier,
    /// Every managed field, in the order of the spec.
    pub rows: Vec<Row>,
}

/// A managed field.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The field.
    pub field: ProtectionField,
    /// The value that it should have.
    pub value: Expected,
}

/// An expected value.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// A tier.
    Tier(Tier),
    /// Azure's `enforce`.
    Enforced(bool),
    /// On or off.
    Switch(bool),
    /// A property of an extension.
    Property(PropertyValue),
}

impl Expected {
    /// The value as users see it.
    pub fn value(&self) -> ProtectionValue {
        match self {
            Self::Tier(tier) => ProtectionValue::Tier(*tier),
            Self::Enforced(enforced) => ProtectionValue::Enforced(*enforced),
            Self::Switch(on) => ProtectionValue::Switch(*on),
            Self::Property(property) => property.value(),
        }
    }
}

/// Whether the controller registers Microsoft.Security if it is not registered.
pub(crate) fn registers(spec: &ServerProtectionSpec) -> bool {
    let expected = spec.resource_providers.registration == Registration::Register;
    expected && spec.mode == Mode::Enforce && !spec.suspend
}

impl Desired {
    /// Resolves the defaults of a spec. Defined for every spec that passed admission.
    pub fn of(spec: &ServerProtectionSpec) -> Self {
        let (plan, integration) = (&spec.plan, &spec.endpoint_integration);
        let mut rows = Rows(vec![Row {
            field: ProtectionField::Tier,
            value: Expected::Tier(plan.tier),
        }]);
        match plan.inheritance {
            _ if plan.tier == Tier::Free => {}
            Inheritance::Unmanaged => {}
            Inheritance::AllowOverrides => rows.enforced(false),
            Inheritance::Enforced => rows.enforced(true),
        }
        rows.extensions(spec);
        let integrated = switch(integration.state);
        // An absent opt-in is on, as in Microsoft's guide, and is not managed while the integration is off.
        let opt_in = |state: Option<State>| match state {
            Some(state) => switch(state),
            None if integrated == Some(false) => None,
            None => Some(true),
        };
        for (setting, on) in [
            (Setting::Integration, integrated),
            (Setting::UnifiedSolution, opt_in(integration.unified_solution)),
            (Setting::Linux, opt_in(integration.linux)),
        ] {
            rows.switch(ProtectionField::Setting(setting), on);
        }
        let assessment = switch(spec.vulnerability_assessment.state);
        rows.switch(ProtectionField::Assessment, assessment);
        Self {
            tier: plan.tier,
            rows: rows.0,
        }
    }

    /// The expected value of a field; `None` if it is not managed.
    pub fn expected(&self, field: &ProtectionField) -> Option<&Expected> {
        let mut rows = self.rows.iter();
        rows.find(|row| row.field == *field).map(|row| &row.value)
    }

    /// Whether a field should be on or off; `None` if it is not managed.
    pub fn switch(&self, field: &ProtectionField) -> Option<bool> {
        match self.expected(field) {
            Some(Expected::Switch(on)) => Some(*on),
            _ => None,
        }
    }

    /// The managed extensions that the tier offers, and whether they should be on.
    pub fn extensions(&self) -> impl Iterator<Item = (&ExtensionName, bool)> {
        self.rows.iter().filter_map(|row| match (&row.field, &row.value) {
            (ProtectionField::ExtensionState(extension), Expected::Switch(on)) => Some((extension, *on)),
            _ => None,
        })
    }

    /// Whether this extension should be on; `None` if it is not managed.
    pub fn extension(&self, name: &ExtensionName) -> Option<bool> {
        let mut extensions = self.extensions();
        extensions.find(|(managed, _)| *managed == name).map(|(_, on)| on)
    }

    /// The managed properties of an extension; only an extension that should be on has any.
    pub fn properties(&self, name: &ExtensionName) -> impl Iterator<Item = (&Property, &PropertyValue)> {
        self.rows
            .iter()
            .filter_map(move |row| match (&row.field, &row.value) {
                (ProtectionField::ExtensionProperty(extension, property), Expected::Property(value))
                    if extension == name =>
                {
                    Some((property, value))
                }
                _ => None,
            })
    }

    /// Whether the spec demands this value of this field, both as status shows them.
    pub fn manages(&self, field: &str, value: &str) -> bool {
        let mut rows = self.rows.iter();
        rows.any(|row| row.field.to_string() == field && row.value.value().to_string() == value)
    }
}

struct Rows(Vec<Row>);

impl Rows {
    fn enforced(&mut self, enforced: bool) {
        self.0.push(Row {
            field: ProtectionField::Inheritance,
            value: Expected::Enforced(enforced),
        });
    }

    fn switch(&mut self, field: ProtectionField, on: Option<bool>) {
        self.0.extend(on.map(|on| Row {
            field,
            value: Expected::Switch(on),
        }));
    }

    fn extensions(&mut self, spec: &ServerProtectionSpec) {
        let plan = &spec.plan;
        if let Some(scanning) = &plan.agentless_scanning {
            let tags = scanning.exclusion_tags.as_deref().map(tag_set);
            let tags = tags.map(|tags| (Property::ExclusionTags, PropertyValue::Tags(tags)));
            self.extension(plan.tier, &ExtensionName::AgentlessScanning, scanning.state, tags);
        }
        if let Some(monitoring) = &plan.file_integrity_monitoring {
            let workspace = monitoring.workspace_id.clone().map(PropertyValue::ResourceId);
            let workspace = workspace.map(|id| (Property::WorkspaceId, id));
            let rules = PropertyValue::Rules(Rules::of(monitoring.rules.as_ref()));
            let properties = workspace.into_iter().chain([(Property::Rules, rules)]);
            let name = ExtensionName::FileIntegrityMonitoring;
            self.extension(plan.tier, &name, monitoring.state, properties);
        }
        if let Some(onboarding) = &plan.direct_onboarding {
            self.extension(plan.tier, &ExtensionName::DirectOnboarding, onboarding.state, []);
        }
        for other in &plan.other_extensions {
            let properties = other
                .properties
                .iter()
                .map(|(name, text)| (Property::Other(name.clone()), PropertyValue::Text(text.clone())));
            let name = ExtensionName::Other(other.name.clone());
            self.extension(plan.tier, &name, other.state, properties);
        }
    }

    fn extension(
        &mut self,
        tier: Tier,
        name: &ExtensionName,
        state: State,
        properties: impl IntoIterator<Item = (Property, PropertyValue)>,
    ) {
        // If the subplan does not offer the extension, Disabled needs no field.
        let Some(on) = switch(state).filter(|_| azure_rules::offered(name, tier, true)) else {
            return;
        };
        self.switch(ProtectionField::ExtensionState(name.clone()), Some(on));
        if on {
            self.0.extend(properties.into_iter().map(|(property, value)| Row {
                field: ProtectionField::ExtensionProperty(name.clone(), property),
                value: Expected::Property(value),
            }));
        }
    }
}

fn tag_set(tags: &[ExclusionTag]) -> Tags {
    tags.iter()
        .map(|tag| (tag.key.clone(), tag.value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opt_ins_follow_the_guide_unless_the_integration_is_off() {
        let of = |state: State, linux: Option<State>| {
            let mut spec = super::super::properties::minimal(Tier::P1);
            spec.endpoint_integration.state = state;
            spec.endpoint_integration.linux = linux;
            let desired = Desired::of(&spec);
            let of = |setting| desired.switch(&ProtectionField::Setting(setting));
            (
                of(Setting::Integration),
                of(Setting::UnifiedSolution),
                of(Setting::Linux),
            )
        };
        assert_eq!(of(State::Enabled, None), (Some(true), Some(true), Some(true)));
        assert_eq!(of(State::Unmanaged, None), (None, Some(true), Some(true)));
        assert_eq!(of(State::Disabled, None), (Some(false), None, None));
        let off = Some(State::Disabled);
        assert_eq!(of(State::Disabled, off), (Some(false), None, Some(false)));
        assert_eq!(
            of(State::Enabled, Some(State::Unmanaged)),
            (Some(true), Some(true), None)
        );
    }
}
