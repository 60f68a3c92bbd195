//! The spec with its defaults resolved, as rows: a managed field, and the value that it should have.

use std::collections::BTreeSet;

use serde_json::Value;
use serverprotection_api::{
    ExclusionTag, Inheritance, Mode, Registration, ServerProtectionSpec, State, Tier,
};

use super::{
    azure_rules,
    field::{ExtensionName, Property, ProtectionField, ProtectionValue, Setting},
    file_integrity::{self, Rules},
};
use crate::{
    arm_id::same_id,
    message::{MAX_MESSAGE, shortened},
    switch::switch,
};

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

/// An expected property of an extension.
#[derive(Clone, Debug, PartialEq)]
pub enum PropertyValue {
    /// A set of tags, which compares without regard to order and spelling on the wire.
    Tags(BTreeSet<(String, String)>),
    /// A resource id: compares without case.
    ResourceId(String),
    /// The rules of file integrity monitoring.
    Rules(Rules),
    /// A plain text.
    Text(String),
}

impl PropertyValue {
    /// Whether Azure's value means the same as this one.
    pub fn matches(&self, observed: Option<&Value>) -> bool {
        match self {
            Self::Tags(tags) => parse_tags(observed).is_some_and(|found| found == folded(tags)),
            Self::ResourceId(id) => observed
                .and_then(Value::as_str)
                .is_some_and(|found| same_id(found, id)),
            Self::Rules(rules) => rules.matches(observed),
            Self::Text(text) => observed.and_then(Value::as_str) == Some(text),
        }
    }

    /// Whether Azure stores a value of it.
    pub fn is_stored(&self, observed: Option<&Value>) -> bool {
        match (self, observed) {
            (Self::Rules(_), _) => file_integrity::is_stored(observed),
            (_, None | Some(Value::Null)) => false,
            (_, Some(Value::String(text))) => !text.is_empty(),
            (_, Some(_)) => true,
        }
    }

    /// The value as it is sent, given the value in Azure: `ExclusionTags` and `Rules` are JSON strings
    /// (docs/azure-api.md 1.2).
    pub fn wire(&self, observed: Option<&Value>) -> Value {
        match self {
            Self::Tags(tags) => {
                let list: Vec<_> = tags
                    .iter()
                    .map(|(key, value)| serde_json::json!({"key": key, "value": value}))
                    .collect();
                Value::String(Value::Array(list).to_string())
            }
            Self::Rules(rules) => rules.wire(observed),
            Self::ResourceId(text) | Self::Text(text) => Value::String(text.clone()),
        }
    }

    /// The value as users see it.
    pub fn value(&self) -> ProtectionValue {
        match self {
            Self::Tags(tags) => ProtectionValue::Tags(tags.clone()),
            Self::Rules(rules) => rules.value(),
            Self::ResourceId(text) | Self::Text(text) => ProtectionValue::Text(text.clone()),
        }
    }

    /// Azure's value as users see it. It is shortened, because values of other clients may have any length.
    pub fn observed_value(&self, observed: Option<&Value>) -> ProtectionValue {
        let value = match (self, observed) {
            (Self::Rules(_), found) => file_integrity::observed_value(found),
            (_, None) => ProtectionValue::Absent,
            (Self::Tags(_), Some(found)) => parse_tags(observed)
                .map_or_else(|| ProtectionValue::Text(found.to_string()), ProtectionValue::Tags),
            (_, Some(Value::String(text))) => ProtectionValue::Text(text.clone()),
            (_, Some(other)) => ProtectionValue::Text(other.to_string()),
        };
        let text = value.to_string();
        match shortened(&text, MAX_MESSAGE) {
            short if short == text => value,
            short => ProtectionValue::Text(short),
        }
    }
}

/// In Azure, names of tags compare without case, values with case.
fn folded(tags: &BTreeSet<(String, String)>) -> BTreeSet<(String, String)> {
    tags.iter()
        .map(|(key, value)| (key.to_lowercase(), value.clone()))
        .collect()
}

/// The tags in Azure's JSON string, whose members are spelled `key` or `Key` (docs/azure-api.md 1.4). Absent and empty
/// mean no tags; `None` if the value is not a list of tags.
fn parse_tags(value: Option<&Value>) -> Option<BTreeSet<(String, String)>> {
    let text = match value {
        None | Some(Value::Null) => return Some(BTreeSet::new()),
        Some(Value::String(text)) if text.trim().is_empty() => return Some(BTreeSet::new()),
        Some(Value::String(text)) => serde_json::from_str::<Value>(text).ok()?,
        Some(other) => other.clone(),
    };
    let member = |tag: &Value, name: &str| {
        let members = tag.as_object()?;
        let found = members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| value.as_str()).map(str::to_owned)
    };
    let tags = text.as_array()?;
    tags.iter()
        .map(|tag| {
            Some((
                member(tag, "key")?.to_lowercase(),
                member(tag, "value").unwrap_or_default(),
            ))
        })
        .collect()
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

fn tag_set(tags: &[ExclusionTag]) -> BTreeSet<(String, String)> {
    tags.iter()
        .map(|tag| (tag.key.clone(), tag.value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(list: &[(&str, &str)]) -> PropertyValue {
        PropertyValue::Tags(
            list.iter()
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect(),
        )
    }

    #[test]
    fn exclusion_tags_compare_as_a_set() {
        let desired = tags(&[("env", "lab"), ("Team", "x")]);
        for wire in [
            r#"[{"key":"env","value":"lab"},{"key":"Team","value":"x"}]"#,
            r#"[{"Key":"team","Value":"x"},{"Key":"ENV","Value":"lab"}]"#,
            r#" [ { "value" : "x", "key" : "Team" } , {"value":"lab","key":"env"} ] "#,
        ] {
            assert!(desired.matches(Some(&Value::String(wire.into()))), "{wire}");
        }
        let other_case = Value::String(r#"[{"key":"env","value":"LAB"},{"key":"Team","value":"x"}]"#.into());
        assert!(
            !desired.matches(Some(&other_case)),
            "values of tags differ by case"
        );
        assert!(!desired.matches(Some(&Value::String("not json".into()))));
    }

    #[test]
    fn what_others_wrote_is_shown_shortened() {
        let long = Value::String("x".repeat(100_000));
        for property in [
            tags(&[]),
            PropertyValue::Text("a".into()),
            PropertyValue::ResourceId("a".into()),
        ] {
            assert!(property.observed_value(Some(&long)).to_string().chars().count() <= 1024);
        }
    }

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

    #[test]
    fn no_tags_and_absent_are_the_same() {
        let desired = tags(&[]);
        assert!(desired.matches(None));
        assert!(desired.matches(Some(&Value::String("[]".into()))));
        assert_eq!(desired.wire(None), Value::String("[]".into()));
    }
}
