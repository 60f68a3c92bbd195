//! A small model of Azure: the effect of a decision's writes on a subscription. `Answers` has both behaviors for each
//! unconfirmed point of the contract. A write that Azure would refuse panics here, because the operator must never
//! make one.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serverprotection_api::Tier;

use super::specs::OTHERS;
use crate::server_protection::{
    azure_rules,
    changes::{Action, Actual, Change, ExtensionWrite, PlanWrite},
    field::{ExtensionName, Property, Setting},
    observed::{Extension, Plan},
    property::{PropertyValue, PropertyWrite, StoredProperty, StoredValue, Tags, folded},
};

/// The behavior of this model where the contract is unconfirmed.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools)]
pub(super) struct Answers {
    /// Point 2: an extension that a write of the same subplan omits falls back to its default.
    pub(super) omitted_resets: bool,
    /// An extension that a write of another subplan omits keeps its state if it is still offered.
    pub(super) tier_change_keeps: bool,
    /// A move away from Free switches WDATP on.
    pub(super) plan_integrates: bool,
    /// Properties that are sent replace all stored ones (otherwise key by key).
    pub(super) properties_replace: bool,
    /// A write without `enforce` sets it to False (otherwise it keeps its value).
    pub(super) enforce_resets: bool,
    /// The default of unknown extensions.
    pub(super) others_default: bool,
    /// An enabled extension that is sent without properties loses those that are stored.
    pub(super) resent_clears: bool,
}

pub(super) fn answers() -> impl Strategy<Value = Answers> {
    any::<[bool; 7]>().prop_map(|all| Answers {
        omitted_resets: all[0],
        tier_change_keeps: all[1],
        plan_integrates: all[2],
        properties_replace: all[3],
        enforce_resets: all[4],
        others_default: all[5],
        resent_clears: all[6],
    })
}

/// An extension that no spec names and only one subplan has.
pub(super) const ONLY_P1: &str = "LegacyExtension";

/// The extensions that a subplan offers (docs/azure-api.md 1.4), and newer ones.
pub(super) fn offers(tier: Tier) -> Vec<&'static str> {
    let mut all = OTHERS.to_vec();
    match tier {
        Tier::Free => all.clear(),
        Tier::P1 => all.extend(["MdeDesignatedSubscription", ONLY_P1]),
        Tier::P2 => all.extend([
            "MdeDesignatedSubscription",
            "AgentlessVmScanning",
            "FileIntegrityMonitoring",
        ]),
    }
    all
}

pub(super) fn apply(change: &Change, actual: &mut Actual, answers: Answers) {
    match &change.action {
        Action::Register => {}
        Action::PutPlan(write) => put_plan(write, actual, answers),
        Action::PutSetting { setting, on } => {
            actual.settings.set(*setting, *on);
        }
        Action::PutAssessment => actual.assessment = true,
        Action::DeleteAssessment => actual.assessment = false,
    }
}

fn put_plan(write: &PlanWrite, actual: &mut Actual, answers: Answers) {
    accepts(write, &actual.plan);
    let before = actual.plan.clone();
    let moved = before.tier != write.tier;
    if answers.plan_integrates && before.tier == Tier::Free && moved {
        actual.settings.set(Setting::Integration, true);
    }
    actual.plan.tier = write.tier;
    actual.plan.enforce = (write.tier != Tier::Free).then(|| {
        write.enforce.unwrap_or_else(|| {
            let kept = before.enforce.unwrap_or(false);
            kept && !answers.enforce_resets
        })
    });
    let keeps = if moved {
        answers.tier_change_keeps
    } else {
        !answers.omitted_resets
    };
    let after = |name: &'static str| {
        let found = before.extension(&ExtensionName::from_azure(name)).cloned();
        match write
            .extensions
            .iter()
            .find(|sent| sent.name.azure_name() == name)
        {
            Some(sent) => Some(written(sent, found, answers)),
            // An extension that the service did not show before a write of the same subplan is not shown after it
            // either.
            None if !moved && found.is_none() => None,
            None => Some(
                found
                    .filter(|_| keeps)
                    .unwrap_or_else(|| by_default(name, answers)),
            ),
        }
    };
    actual.plan.extensions = offers(write.tier).into_iter().filter_map(after).collect();
}

/// Panics for a write that Azure refuses (docs/azure-api.md 1.4).
fn accepts(write: &PlanWrite, before: &Plan) {
    let mut names: Vec<_> = write
        .extensions
        .iter()
        .map(|sent| sent.name.azure_name().to_lowercase())
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(
        names.len(),
        write.extensions.len(),
        "an extension is sent twice: {write:?}"
    );
    for sent in &write.extensions {
        assert!(
            offers(write.tier).contains(&sent.name.azure_name()),
            "400 InvalidInputJson: {:?} is not supported for {:?}",
            sent.name,
            write.tier
        );
        assert!(
            sent.enabled || sent.properties.is_empty(),
            "500 AdditionalProperties of a disabled extension: {sent:?}"
        );
        let found = before.extension(&sent.name).filter(|found| found.enabled);
        for required in azure_rules::required_properties(&sent.name) {
            // A disabled extension may be validated too; it can be sent only while Azure has the required property. An
            // enabled extension without the property that is not managed can only be sent as it is.
            let complete_without = found.is_some_and(|found| !found.properties.contains_key(required));
            let fine = if sent.enabled {
                sent.properties.contains_key(required) || complete_without
            } else {
                found.is_some()
            };
            assert!(fine, "400 {required} of {:?} is missing: {sent:?}", sent.name);
        }
    }
    assert!(
        write.tier != Tier::Free || write.enforce.is_none(),
        "Free carries nothing: {write:?}"
    );
}

fn written(sent: &ExtensionWrite, found: Option<Extension>, answers: Answers) -> Extension {
    let mut properties = found.map(|found| found.properties).unwrap_or_default();
    let replaced = if sent.properties.is_empty() {
        answers.resent_clears
    } else {
        answers.properties_replace
    };
    if replaced {
        properties.clear();
    }
    let sent_properties = sent.properties.iter();
    properties.extend(sent_properties.map(|(name, write)| (name.clone(), stored(write))));
    if !sent.enabled {
        properties.clear();
    }
    Extension {
        name: sent.name.clone(),
        enabled: sent.enabled,
        properties,
    }
}

/// What Azure stores after a write.
pub(super) fn stored(write: &PropertyWrite) -> StoredProperty {
    let (value, stored) = match write {
        PropertyWrite::AsRead(stored) => return stored.clone(),
        PropertyWrite::Value { value, stored } => (value, stored),
    };
    let value = match value {
        PropertyValue::Tags(tags) => StoredValue::Tags(folded(tags)),
        PropertyValue::ResourceId(text) | PropertyValue::Text(text) => StoredValue::Text(text.clone()),
        PropertyValue::Rules(rules) => StoredValue::Rules(rules.monitored().into_owned()),
    };
    let json = stored.as_ref().map_or("new", |stored| &stored.json).to_owned();
    StoredProperty { value, json }
}

fn by_default(name: &str, answers: Answers) -> Extension {
    let name = ExtensionName::from_azure(name);
    let none = BTreeMap::<Property, StoredProperty>::new;
    let no_tags = || StoredProperty {
        value: StoredValue::Tags(Tags::new()),
        json: "no tags".into(),
    };
    let (enabled, properties) = match &name {
        ExtensionName::AgentlessScanning => (true, BTreeMap::from([(Property::ExclusionTags, no_tags())])),
        ExtensionName::Other(name) if OTHERS.contains(&name.as_str()) => (answers.others_default, none()),
        _ => (false, none()),
    };
    Extension {
        name,
        enabled,
        properties,
    }
}
