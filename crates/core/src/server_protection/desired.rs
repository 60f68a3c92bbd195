//! The spec with its defaults resolved: what is managed, and what it should be.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use serverprotection_api::{
    ExclusionTag, Inheritance, Mode, Registration, ServerProtectionSpec, State, Tier,
};

use super::{
    azure_rules,
    file_integrity::{self, Rules},
};
pub use crate::arm_id::same_id;
use crate::{
    message::{MAX_MESSAGE, shortened},
    switch::switch,
};

/// What the spec demands. `None`: not managed.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// The plan.
    pub tier: Tier,
    /// Azure's `enforce`.
    pub enforce: Option<bool>,
    /// The managed extensions that the tier offers.
    pub extensions: Vec<DesiredExtension>,
    /// The MDE integration.
    pub integration: Option<bool>,
    /// The unified solution.
    pub unified_solution: Option<bool>,
    /// MDE on Linux.
    pub linux: Option<bool>,
    /// Vulnerability assessment.
    pub assessment: Option<bool>,
}

/// A managed extension.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredExtension {
    /// Azure's name.
    pub name: String,
    /// Path of its field in the spec, e.g. `plan.agentlessScanning`.
    pub field: String,
    /// On or off.
    pub enabled: bool,
    /// The properties that are managed, by Azure's name; only on enabled extensions.
    pub properties: BTreeMap<String, Property>,
}

/// A managed property of an extension.
#[derive(Clone, Debug, PartialEq)]
pub enum Property {
    /// A set of tags, which compares without regard to order and spelling on the wire.
    Tags(BTreeSet<(String, String)>),
    /// A resource id: compares without case.
    ResourceId(String),
    /// The rules of file integrity monitoring.
    Rules(Rules),
    /// A plain text.
    Text(String),
}

impl Property {
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

    /// The text for users in status and events.
    pub fn describe(&self) -> String {
        match self {
            Self::Tags(tags) => describe_tags(tags),
            Self::Rules(rules) => rules.describe(),
            Self::ResourceId(text) | Self::Text(text) => text.clone(),
        }
    }

    /// Azure's value as text for users. It is shortened, because values of other clients may have any length.
    pub fn describe_observed(&self, observed: Option<&Value>) -> String {
        let text = match (self, observed) {
            (Self::Rules(_), found) => file_integrity::describe_observed(found),
            (_, None) => "none".into(),
            (Self::Tags(_), found) => parse_tags(found).map_or_else(
                || found.map(ToString::to_string).unwrap_or_default(),
                |tags| describe_tags(&tags),
            ),
            (_, Some(Value::String(text))) => text.clone(),
            (_, Some(other)) => other.to_string(),
        };
        shortened(&text, MAX_MESSAGE)
    }
}

fn describe_tags(tags: &BTreeSet<(String, String)>) -> String {
    let list: Vec<_> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if list.is_empty() {
        "none".into()
    } else {
        list.join(",")
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
        let tier = spec.plan.tier;
        let integration = switch(spec.endpoint_integration.state);
        // An absent opt-in is on, as in Microsoft's guide, and is not managed while the integration is off.
        let opt_in = |state: Option<State>| match state {
            Some(state) => switch(state),
            None if integration == Some(false) => None,
            None => Some(true),
        };
        Self {
            tier,
            enforce: match spec.plan.inheritance {
                _ if tier == Tier::Free => None,
                Inheritance::Unmanaged => None,
                Inheritance::AllowOverrides => Some(false),
                Inheritance::Enforced => Some(true),
            },
            extensions: extensions(spec),
            integration,
            unified_solution: opt_in(spec.endpoint_integration.unified_solution),
            linux: opt_in(spec.endpoint_integration.linux),
            assessment: switch(spec.vulnerability_assessment.state),
        }
    }

    /// The managed extension of this name.
    pub fn extension(&self, name: &str) -> Option<&DesiredExtension> {
        self.extensions
            .iter()
            .find(|extension| extension.name.eq_ignore_ascii_case(name))
    }
}

fn extensions(spec: &ServerProtectionSpec) -> Vec<DesiredExtension> {
    let plan = &spec.plan;
    let mut all = Vec::new();
    let mut add = |name: &str, field: String, state: State, properties: BTreeMap<String, Property>| {
        // If the subplan does not offer the extension, Disabled needs no field.
        if let Some(enabled) = switch(state).filter(|_| azure_rules::offered(name, plan.tier, true)) {
            let properties = if enabled { properties } else { BTreeMap::new() };
            all.push(DesiredExtension {
                name: name.to_owned(),
                field,
                enabled,
                properties,
            });
        }
    };
    if let Some(scanning) = &plan.agentless_scanning {
        let tags = scanning
            .exclusion_tags
            .as_deref()
            .map(|tags| Property::Tags(tag_set(tags)));
        let properties = tags
            .map(|tags| (azure_rules::EXCLUSION_TAGS.to_owned(), tags))
            .into_iter()
            .collect();
        add(
            azure_rules::AGENTLESS_SCANNING,
            "plan.agentlessScanning".into(),
            scanning.state,
            properties,
        );
    }
    if let Some(monitoring) = &plan.file_integrity_monitoring {
        let workspace = monitoring.workspace_id.clone().map(Property::ResourceId);
        let rules = Property::Rules(Rules::of(monitoring.rules.as_ref()));
        let properties = workspace
            .map(|id| (azure_rules::WORKSPACE.to_owned(), id))
            .into_iter()
            .chain([(azure_rules::RULES.to_owned(), rules)])
            .collect();
        add(
            azure_rules::FILE_INTEGRITY_MONITORING,
            "plan.fileIntegrityMonitoring".into(),
            monitoring.state,
            properties,
        );
    }
    if let Some(onboarding) = &plan.direct_onboarding {
        add(
            azure_rules::DIRECT_ONBOARDING,
            "plan.directOnboarding".into(),
            onboarding.state,
            BTreeMap::new(),
        );
    }
    for other in &plan.other_extensions {
        let properties = other
            .properties
            .iter()
            .map(|(key, value)| (key.clone(), Property::Text(value.clone())))
            .collect();
        add(
            &other.name,
            format!("plan.otherExtensions[{}]", other.name),
            other.state,
            properties,
        );
    }
    all
}

fn tag_set(tags: &[ExclusionTag]) -> BTreeSet<(String, String)> {
    tags.iter()
        .map(|tag| (tag.key.clone(), tag.value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(list: &[(&str, &str)]) -> Property {
        Property::Tags(
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
            Property::Text("a".into()),
            Property::ResourceId("a".into()),
        ] {
            assert!(property.describe_observed(Some(&long)).chars().count() <= 1024);
        }
    }

    #[test]
    fn opt_ins_follow_the_guide_unless_the_integration_is_off() {
        let of = |state: State, linux: Option<State>| {
            let mut spec = super::super::properties::minimal(Tier::P1);
            spec.endpoint_integration.state = state;
            spec.endpoint_integration.linux = linux;
            let desired = Desired::of(&spec);
            (desired.integration, desired.unified_solution, desired.linux)
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
