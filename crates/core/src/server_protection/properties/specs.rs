//! Generators for specs that pass admission, and for subscriptions that Azure may return.

use std::collections::BTreeMap;

use proptest::{collection, option, prelude::*, sample};
use serde_json::json;
use serverprotection_api::{
    AgentlessScanning, CustomFileIntegrityRules, DirectOnboarding, EndpointIntegration, ExclusionTag,
    FileIntegrityMonitoring, FileIntegrityPreset, FileIntegrityRules, Inheritance, OtherExtension,
    Registration, ServerProtectionSpec, State, Tier,
};

use super::azure::{ONLY_P1, offers};
use crate::{
    server_protection::{
        changes::Actual,
        field::{ExtensionName, Property, Setting},
        file_integrity::{Monitored, Rules},
        observed::{Extension, Plan, Settings},
        property::{StoredProperty, StoredValue},
    },
    tier::tier_name,
};

pub(super) const OTHERS: [&str; 2] = ["FutureExtension", "AnotherExtension"];
const WORKSPACE: &str = "/subscriptions/6f1c0d7e-0000-4000-8000-000000000001/resourceGroups/rg/providers/Microsoft.OperationalInsights/workspaces/";

/// The smallest spec, with its defaults.
pub(crate) fn minimal(tier: Tier) -> ServerProtectionSpec {
    serde_json::from_value(json!({
        "subscriptionId": "6f1c0d7e-0000-4000-8000-000000000001",
        "plan": {"tier": tier_name(tier)},
    }))
    .unwrap()
}

pub(super) fn tier() -> impl Strategy<Value = Tier> {
    sample::select(vec![Tier::Free, Tier::P1, Tier::P2])
}

fn state() -> impl Strategy<Value = State> {
    sample::select(vec![State::Enabled, State::Disabled, State::Unmanaged])
}

fn tags() -> impl Strategy<Value = Vec<ExclusionTag>> {
    let tag = (
        sample::select(vec!["env", "Env", "team", "ü"]),
        "[a-zA-Z\" ]{0,3}",
    );
    collection::vec(tag, 0..4).prop_map(|tags| {
        let tags = tags.into_iter();
        tags.map(|(key, value)| ExclusionTag {
            key: key.into(),
            value,
        })
        .collect()
    })
}

fn agentless() -> impl Strategy<Value = Option<AgentlessScanning>> {
    option::of(
        (state(), option::of(tags())).prop_map(|(state, exclusion_tags)| AgentlessScanning {
            state,
            exclusion_tags,
        }),
    )
}

fn monitoring() -> impl Strategy<Value = Option<FileIntegrityMonitoring>> {
    let workspace = option::of(sample::select(vec!["a", "b"]));
    let preset = Just(FileIntegrityRules {
        preset: Some(FileIntegrityPreset::Recommended),
        custom: None,
    });
    let rules = option::of(prop_oneof![preset, custom_rules()]);
    option::of(
        (state(), workspace, rules).prop_map(|(state, workspace, rules)| FileIntegrityMonitoring {
            state,
            workspace_id: workspace.map(|name| format!("{WORKSPACE}{name}")),
            rules,
        }),
    )
}

/// Rules with at least one path, some of which differ by case only.
fn custom_rules() -> impl Strategy<Value = FileIntegrityRules> {
    let list = |paths: &'static [&'static str]| {
        let set = collection::btree_set(sample::select(paths), 0..3);
        set.prop_map(|paths| paths.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let lists = (
        list(&[r"\A", r"\a", r"C:\Ü.txt"]),
        list(&["/a", "/A", "/etc/*.conf"]),
        list(&[r"hklm\A\", r"HKLM\a\"]),
    );
    let some = lists.prop_filter("at least one path", |(windows, linux, keys)| {
        !(windows.is_empty() && linux.is_empty() && keys.is_empty())
    });
    some.prop_map(|(windows_files, linux_files, registry_keys)| FileIntegrityRules {
        preset: None,
        custom: Some(CustomFileIntegrityRules {
            windows_files,
            linux_files,
            registry_keys,
        }),
    })
}

/// Any value that may be stored as rules.
fn stored_rules() -> impl Strategy<Value = StoredValue> {
    let monitored = |rules: FileIntegrityRules| match Rules::of(Some(&rules)) {
        Rules::Custom(monitored) => StoredValue::Rules(monitored),
        Rules::Recommended => StoredValue::Nothing,
    };
    prop_oneof![
        custom_rules().prop_map(monitored),
        Just(StoredValue::Nothing),
        Just(StoredValue::Rules(Monitored::default())),
        Just(StoredValue::Unreadable("no JSON".into())),
    ]
}

fn others() -> impl Strategy<Value = Vec<OtherExtension>> {
    let other = (state(), collection::btree_map("[ab]", "[xy]", 0..3));
    collection::btree_map(sample::select(OTHERS.to_vec()), other, 0..3).prop_map(|all| {
        all.into_iter()
            .map(|(name, (state, properties))| OtherExtension {
                name: name.into(),
                state,
                properties,
            })
            .collect()
    })
}

fn integration() -> impl Strategy<Value = EndpointIntegration> {
    (state(), option::of(state()), option::of(state())).prop_map(|(state, unified_solution, linux)| {
        EndpointIntegration {
            state,
            unified_solution,
            linux,
        }
    })
}

/// Any spec that passes admission.
pub(super) fn spec() -> impl Strategy<Value = ServerProtectionSpec> {
    let plan = (
        tier(),
        sample::select(vec![
            Inheritance::Unmanaged,
            Inheritance::AllowOverrides,
            Inheritance::Enforced,
        ]),
        agentless(),
        monitoring(),
        option::of(state().prop_map(|state| DirectOnboarding { state })),
        others(),
    );
    (plan, integration(), state(), any::<bool>()).prop_map(|(plan, integration, assessment, register)| {
        let mut spec = minimal(plan.0);
        spec.plan.inheritance = plan.1;
        spec.plan.agentless_scanning = plan.2;
        spec.plan.file_integrity_monitoring = plan.3;
        spec.plan.direct_onboarding = plan.4;
        spec.plan.other_extensions = plan.5;
        spec.endpoint_integration = integration;
        spec.vulnerability_assessment.state = assessment;
        if !register {
            spec.resource_providers.registration = Registration::Report;
        }
        admitted(spec)
    })
}

/// Changes a spec so that it passes admission (crates/api tests the rules themselves).
fn admitted(mut spec: ServerProtectionSpec) -> ServerProtectionSpec {
    let off = |state: &mut State| {
        if *state == State::Enabled {
            *state = State::Disabled;
        }
    };
    let integration = &mut spec.endpoint_integration;
    if integration.state == State::Disabled {
        integration.unified_solution.iter_mut().for_each(off);
        integration.linux.iter_mut().for_each(off);
    }
    let (plan, integrated) = (&mut spec.plan, integration.state != State::Disabled);
    let p2 = plan.tier == Tier::P2;
    if let Some(scanning) = plan.agentless_scanning.as_mut().filter(|_| !p2) {
        off(&mut scanning.state);
    }
    if let Some(monitoring) = &mut plan.file_integrity_monitoring
        && !(p2 && integrated && monitoring.workspace_id.is_some())
    {
        off(&mut monitoring.state);
    }
    if plan.tier == Tier::Free {
        plan.direct_onboarding
            .iter_mut()
            .for_each(|onboarding| off(&mut onboarding.state));
        plan.other_extensions
            .iter_mut()
            .for_each(|other| off(&mut other.state));
    }
    spec
}

/// A spec that manages nothing but the tier.
pub(super) fn hands_off(tier: Tier) -> ServerProtectionSpec {
    let mut spec = minimal(tier);
    spec.endpoint_integration = EndpointIntegration {
        state: State::Unmanaged,
        unified_solution: Some(State::Unmanaged),
        linux: Some(State::Unmanaged),
    };
    spec.vulnerability_assessment.state = State::Unmanaged;
    spec
}

/// Any value that may be stored as tags.
fn stored_tags() -> impl Strategy<Value = StoredValue> {
    let list = |tags: Vec<ExclusionTag>| {
        let tags = tags.into_iter().map(|tag| (tag.key.to_lowercase(), tag.value));
        StoredValue::Tags(tags.collect())
    };
    prop_oneof![
        tags().prop_map(list),
        Just(StoredValue::Unreadable("no JSON".into()))
    ]
}

fn stored(value: StoredValue) -> StoredProperty {
    let json = format!("{value:?}");
    StoredProperty { value, json }
}

fn properties_of(name: &'static str) -> BoxedStrategy<BTreeMap<Property, StoredProperty>> {
    match ExtensionName::from_azure(name) {
        ExtensionName::AgentlessScanning => option::of(stored_tags())
            .prop_map(|found| {
                let found = found.map(|tags| (Property::ExclusionTags, stored(tags)));
                found.into_iter().collect()
            })
            .boxed(),
        ExtensionName::FileIntegrityMonitoring => (option::of(stored_rules()), any::<[bool; 2]>())
            .prop_map(|(rules, [workspace, other])| {
                let workspace = workspace.then(|| StoredValue::Text(format!("{WORKSPACE}A")));
                let all = [
                    (Property::Rules, rules),
                    (Property::WorkspaceId, workspace),
                    (
                        Property::Other("SomebodyElses".into()),
                        other.then(|| StoredValue::Unreadable("{\"kept\":[1]}".into())),
                    ),
                ];
                all.into_iter()
                    .filter_map(|(name, value)| Some((name, stored(value?))))
                    .collect()
            })
            .boxed(),
        _ => collection::btree_map(
            "[abc]".prop_map(Property::Other),
            "[xy]".prop_map(|text| stored(StoredValue::Text(text))),
            0..3,
        )
        .boxed(),
    }
}

/// Any state of a subscription.
pub(super) fn actual() -> impl Strategy<Value = Actual> {
    let extensions = offers(Tier::P2)
        .into_iter()
        .chain([ONLY_P1])
        .map(|name| {
            let (on, listed) = (any::<bool>(), any::<bool>());
            (listed, on, properties_of(name)).prop_map(move |(listed, enabled, properties)| {
                let properties = if enabled { properties } else { BTreeMap::new() };
                let name = ExtensionName::from_azure(name);
                listed.then_some(Extension {
                    name,
                    enabled,
                    properties,
                })
            })
        })
        .collect::<Vec<_>>();
    let settings = sample::subsequence(Setting::ALL, 0..=Setting::ALL.len());
    (tier(), any::<bool>(), extensions, settings, any::<bool>()).prop_map(
        |(tier, enforce, extensions, settings, assessment)| {
            let shown = extensions.into_iter().flatten();
            Actual {
                plan: Plan {
                    tier,
                    enforce: (tier != Tier::Free).then_some(enforce),
                    extensions: shown
                        .filter(|extension| offers(tier).contains(&extension.name.azure_name()))
                        .collect(),
                    coverage: None,
                    free_trial_remaining: None,
                    enabled_since: None,
                    managed_by: None,
                },
                settings: Settings::from_iter(settings),
                assessment,
            }
        },
    )
}
