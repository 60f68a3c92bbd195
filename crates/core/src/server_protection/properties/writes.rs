//! Differences, changes and plan writes: they converge, they change only managed fields, and Azure accepts each of
//! them.

use std::collections::BTreeSet;

use proptest::{collection, prelude::*};
use serverprotection_api::{ServerProtectionSpec, State, Tier};

use super::{
    azure::{Answers, answers, apply, stored},
    cases,
    specs::{actual, hands_off, minimal, spec, tier},
};
use crate::server_protection::{
    azure_rules,
    changes::{Action, Actual, Change, PlanWrite, changes, differences, first_stage, plan_write},
    desired::Desired,
    field::{ExtensionName, ProtectionField, ProtectionValue, Setting},
    untouched::Untouched,
};

fn nothing_suppressed() -> Untouched {
    Untouched::default()
}

fn plan_writes(changes: &[Change]) -> impl Iterator<Item = &PlanWrite> {
    changes.iter().filter_map(|change| match &change.action {
        Action::PutPlan(write) => Some(write),
        _ => None,
    })
}

/// Whether a field is suppressed, or depends on a tier or an extension that is.
fn depends_on_suppressed(field: &ProtectionField, suppressed: &BTreeSet<ProtectionField>) -> bool {
    let needs_tier = field.is_of_plan() && suppressed.contains(&ProtectionField::Tier);
    let of_extension = match field {
        ProtectionField::ExtensionProperty(name, _) => {
            suppressed.contains(&ProtectionField::ExtensionState(name.clone()))
        }
        _ => false,
    };
    suppressed.contains(field) || needs_tier || of_extension
}

/// Writes stage by stage, reading back after each, until nothing differs.
fn settle(desired: &Desired, actual: &mut Actual, answers: Answers) -> (usize, Vec<Change>) {
    let mut all = Vec::new();
    for round in 0..4 {
        let stage = first_stage(changes(desired, actual, &nothing_suppressed()));
        if stage.is_empty() {
            return (round, all);
        }
        for change in &stage {
            apply(change, actual, answers);
        }
        all.extend(stage);
    }
    (4, all)
}

proptest! {
    #![proptest_config(cases(512))]

    /// (a) Written stage by stage, Azure matches the spec after at most three rounds.
    #[test]
    fn stages_converge(spec in spec(), mut actual in actual(), answers in answers()) {
        let desired = Desired::of(&spec);
        let (rounds, _) = settle(&desired, &mut actual, answers);
        prop_assert!(rounds <= 3, "{rounds} rounds");
        prop_assert_eq!(differences(&desired, &actual), []);
    }

    /// (a) Written all at once, nothing differs except a setting that the plan write itself switched on.
    #[test]
    fn all_changes_at_once_repair_everything(spec in spec(), mut actual in actual(), answers in answers()) {
        let desired = Desired::of(&spec);
        let was_integrated = actual.settings.is_on(Setting::Integration);
        let all = changes(&desired, &actual, &nothing_suppressed());
        for change in &all {
            apply(change, &mut actual, answers);
        }
        let mut left = differences(&desired, &actual);
        if actual.settings.is_on(Setting::Integration) != was_integrated && answers.plan_integrates {
            left.retain(|difference| difference.field != ProtectionField::Setting(Setting::Integration));
        }
        prop_assert_eq!(left, []);
        // Every change repairs at least one difference.
        prop_assert!(all.iter().all(|change| !change.fields.is_empty()));
    }

    /// (b) I-1: through any sequence of edits, Free is written only while the spec says Free.
    #[test]
    fn never_through_free(
        specs in collection::vec(spec(), 1..5),
        mut actual in actual(),
        answers in answers(),
        suppressed in collection::btree_set(0_usize..24, 0..6),
    ) {
        for spec in &specs {
            let desired = Desired::of(spec);
            // Some fields may be contested, and therefore suppressed, at any time.
            let found = differences(&desired, &actual);
            let suppressed: BTreeSet<_> = suppressed
                .iter()
                .filter_map(|at| found.get(*at))
                .map(|difference| difference.field.clone())
                .collect();
            let with_suppressed = changes(&desired, &actual, &Untouched::fields(suppressed.clone()));
            for write in plan_writes(&with_suppressed) {
                prop_assert!(write.tier != Tier::Free || spec.plan.tier == Tier::Free, "{:?}", write);
            }
            let was_protected = actual.plan.tier != Tier::Free;
            for change in first_stage(with_suppressed) {
                apply(&change, &mut actual, answers);
            }
            if was_protected && spec.plan.tier != Tier::Free {
                prop_assert!(actual.plan.tier != Tier::Free);
            }
            let (_, written) = settle(&desired, &mut actual, answers);
            for write in plan_writes(&written) {
                prop_assert_eq!(write.tier, spec.plan.tier);
            }
        }
    }

    /// I-13: no write changes a suppressed field, and a write with suppressed fields still repairs the others.
    #[test]
    fn suppressed_fields_stay(
        spec in spec(),
        mut actual in actual(),
        answers in answers(),
        suppressed in collection::btree_set(0_usize..24, 1..6),
    ) {
        let desired = Desired::of(&spec);
        let found = differences(&desired, &actual);
        let suppressed: BTreeSet<_> = suppressed
            .iter()
            .filter_map(|at| found.get(*at))
            .map(|difference| difference.field.clone())
            .collect();
        let before = actual.clone();
        let mut rounds = 0;
        loop {
            let stage = first_stage(changes(&desired, &actual, &Untouched::fields(suppressed.clone())));
            if stage.is_empty() {
                break;
            }
            for change in &stage {
                prop_assert!(change.fields.iter().all(|field| !suppressed.contains(&field.field)));
                apply(change, &mut actual, answers);
            }
            rounds += 1;
            prop_assert!(rounds <= 3, "a write that cannot have its effect is repeated: {:?}", stage);
        }
        for difference in differences(&desired, &actual) {
            prop_assert!(depends_on_suppressed(&difference.field, &suppressed), "{:?} was not repaired", difference);
        }
        prop_assert!(actual.plan.tier == before.plan.tier || !suppressed.contains(&ProtectionField::Tier));
        if actual.plan.tier == before.plan.tier {
            for difference in found.iter().filter(|found| suppressed.contains(&found.field)) {
                let stays = differences(&desired, &actual).contains(difference);
                // Properties disappear and appear with their extension, which may have been switched.
                let switched = match &difference.field {
                    ProtectionField::ExtensionProperty(name, _) => {
                        let state = ProtectionField::ExtensionState(name.clone());
                        found.iter().any(|other| other.field == state) && !suppressed.contains(&state)
                    }
                    _ => false,
                };
                // A write without a required property would be refused as a whole.
                let required = match &difference.field {
                    ProtectionField::ExtensionProperty(name, property) => {
                        azure_rules::required_properties(name).contains(property)
                            && difference.observed == ProtectionValue::Absent
                    }
                    _ => false,
                };
                prop_assert!(stays || switched || required, "{} was changed", difference.field);
            }
        }
    }

    /// An extension that Azure refused and does not show is not sent, and a write without it repairs the rest.
    #[test]
    fn refused_extensions_are_not_sent(
        spec in spec(),
        mut actual in actual(),
        answers in answers(),
        refused in collection::btree_set(0_usize..24, 1..6),
    ) {
        let desired = Desired::of(&spec);
        let found = differences(&desired, &actual);
        let refused: BTreeSet<_> = refused
            .iter()
            .filter_map(|at| found.get(*at))
            .map(|difference| difference.field.clone())
            .filter(|field| matches!(field.extension(), Some(ExtensionName::Other(_))))
            .collect();
        let untouched = Untouched::default().and_refused(&refused);
        for _ in 0..4 {
            let stage = first_stage(changes(&desired, &actual, &untouched));
            for write in plan_writes(&stage) {
                for sent in &write.extensions {
                    let state = ProtectionField::ExtensionState(sent.name.clone());
                    prop_assert!(!refused.contains(&state) || actual.plan.extension(&sent.name).is_some());
                }
            }
            for change in &stage {
                apply(change, &mut actual, answers);
            }
        }
        for difference in differences(&desired, &actual) {
            prop_assert!(depends_on_suppressed(&difference.field, &refused), "{:?} was not repaired", difference);
        }
    }

    /// (c) An unmanaged field is neither reported nor changed, except by Azure itself on a tier change.
    #[test]
    fn unmanaged_fields_stay(spec in spec(), before in actual(), answers in answers()) {
        let desired = Desired::of(&spec);
        let mut after = before.clone();
        let (_, written) = settle(&desired, &mut after, answers);
        let fields: BTreeSet<_> = differences(&desired, &before).into_iter().map(|found| found.field).collect();
        prop_assert!(written.iter().all(|change| !change.fields.is_empty()));
        let integrated_by_azure = answers.plan_integrates && before.plan.tier == Tier::Free && after.plan.tier != Tier::Free;
        for setting in Setting::ALL.iter().copied() {
            let field = ProtectionField::Setting(setting);
            if desired.switch(&field).is_none() {
                prop_assert!(!fields.contains(&field));
                let by_azure = setting == Setting::Integration && integrated_by_azure;
                prop_assert!(after.settings.is_on(setting) == before.settings.is_on(setting) || by_azure);
            }
        }
        if desired.switch(&ProtectionField::Assessment).is_none() {
            prop_assert!(!fields.contains(&ProtectionField::Assessment));
            prop_assert_eq!(after.assessment, before.assessment);
        }
        if desired.expected(&ProtectionField::Inheritance).is_none() {
            prop_assert!(!fields.contains(&ProtectionField::Inheritance));
            if before.plan.tier != Tier::Free && after.plan.tier != Tier::Free {
                prop_assert_eq!(after.plan.enforce, before.plan.enforce);
            }
        }
        if before.plan.tier == after.plan.tier {
            for extension in &before.plan.extensions {
                if desired.extension(&extension.name).is_none() {
                    prop_assert_eq!(after.plan.extension(&extension.name), Some(extension));
                }
            }
        }
    }

    /// (c) A spec that manages only the tier, with the observed value, leads to no change.
    #[test]
    fn hands_off_means_hands_off(actual in actual()) {
        let desired = Desired::of(&hands_off(actual.plan.tier));
        prop_assert_eq!(differences(&desired, &actual), []);
        prop_assert_eq!(changes(&desired, &actual, &nothing_suppressed()), []);
    }

    /// (d) Properties of an extension that the spec does not name survive a write, even if sent properties replace
    /// stored ones; a disabled extension never carries any. (e) Nothing is sent that the subplan does not offer.
    #[test]
    fn plan_writes_are_complete_and_legal(spec in spec(), actual in actual(), answers in answers()) {
        let desired = Desired::of(&spec);
        let write = plan_write(&desired, &actual.plan, &nothing_suppressed());
        prop_assert_eq!(write.tier, spec.plan.tier);
        for sent in &write.extensions {
            prop_assert!(sent.enabled || sent.properties.is_empty());
            prop_assert!(!azure_rules::p2_only(&sent.name) || write.tier == Tier::P2);
        }
        prop_assert!(write.tier != Tier::Free || write.extensions.is_empty());
        // The write contains every managed extension, and every other one of the same subplan. An extension that must
        // not be sent as disabled is omitted while it is off and stays off.
        let left_out = |name: &ExtensionName, enabled: bool| {
            *name == ExtensionName::FileIntegrityMonitoring && !enabled && !actual.plan.is_on(name)
        };
        let sent = |name: &ExtensionName| write.extensions.iter().find(|sent| sent.name == *name);
        for (managed, on) in desired.extensions() {
            let Some(sent) = sent(managed) else {
                prop_assert!(left_out(managed, on), "{:?} is missing", managed);
                continue;
            };
            prop_assert_eq!(sent.enabled, on);
            for (name, property) in desired.properties(managed) {
                let stored = sent.properties.get(name).map(stored);
                prop_assert!(property.matches(stored.as_ref()), "{:?}.{}", managed, name);
            }
        }
        if write.tier == actual.plan.tier {
            for found in &actual.plan.extensions {
                prop_assert!(sent(&found.name).is_some() || left_out(&found.name, false), "{:?} is missing", found.name);
            }
        }
        let mut after = actual.clone();
        let change = Change { action: Action::PutPlan(write), fields: Vec::new() };
        apply(&change, &mut after, answers);
        for found in actual.plan.extensions.iter().filter(|found| found.enabled) {
            let is_managed = desired.extension(&found.name).is_some();
            let managed: BTreeSet<_> = desired.properties(&found.name).map(|(name, _)| name).collect();
            let Some(stays) = after.plan.extension(&found.name).filter(|stays| stays.enabled) else { continue };
            if actual.plan.tier != after.plan.tier && !is_managed {
                continue;
            }
            for (key, value) in &found.properties {
                if !managed.contains(key) {
                    prop_assert_eq!(stays.properties.get(key), Some(value), "{:?} lost {}", found.name, key);
                }
            }
        }
    }

    /// One write changes the tier, from any tier to any other, including P1 to P2 and back.
    #[test]
    fn one_write_changes_the_tier(from in actual(), to in tier(), answers in answers()) {
        let desired = Desired::of(&minimal(to));
        let mut actual = from.clone();
        let (_, written) = settle(&desired, &mut actual, answers);
        prop_assert_eq!(plan_writes(&written).count(), usize::from(from.plan.tier != to));
    }
}

/// The plan switches WDATP on, so the setting is not written (docs/azure-api.md 2).
#[test]
fn a_setting_that_the_plan_switches_on_is_not_written() {
    let spec: ServerProtectionSpec = minimal(Tier::P2);
    let desired = Desired::of(&spec);
    for plan_integrates in [true, false] {
        let answers = Answers {
            omitted_resets: false,
            tier_change_keeps: false,
            plan_integrates,
            properties_replace: true,
            enforce_resets: false,
            others_default: false,
            resent_clears: true,
        };
        let mut actual = crate::server_protection::situations::blank();
        let (_, written) = settle(&desired, &mut actual, answers);
        let integration = written.iter().filter(|change| {
            matches!(
                change.action,
                Action::PutSetting {
                    setting: Setting::Integration,
                    ..
                }
            )
        });
        assert_eq!(integration.count(), usize::from(!plan_integrates));
        assert_eq!(spec.endpoint_integration.state, State::Enabled);
    }
}
