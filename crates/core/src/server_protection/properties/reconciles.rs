//! The invariants of every decision and every status of a walk.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use proptest::{collection, prelude::*};
use serverprotection_api::{Mode, ServerProtectionSpec, ServerProtectionStatus, State, Tier};

use super::{
    azure::answers,
    cases,
    specs::{actual, spec},
    steps::{step, walk},
    world::{Fault, INTERVAL, Reconcile, World},
};
use crate::{
    azure_error::ErrorClass,
    conditions::{get, is_true},
    server_protection::{
        changes::{Action, differences},
        decide::{Situation, write_is_open},
        desired::Desired,
        field::{ExtensionName, ProtectionField, Setting},
        history::ReconcileHistory,
        observed::RegistrationState,
    },
    status_reference::{self, Kind},
    tier::{protection, tier_name},
};

/// (g) The rules of docs/architecture.md 2.5 for one status after another.
fn check_status(
    before: &ServerProtectionStatus,
    after: &ServerProtectionStatus,
    reconcile: &Reconcile,
    generation: i64,
) {
    let conditions = &after.conditions;
    let types: BTreeSet<_> = conditions.iter().map(|condition| &condition.type_).collect();
    assert_eq!(
        types.len(),
        conditions.len(),
        "a condition twice: {conditions:#?}"
    );
    for condition in conditions {
        let name = &condition.type_;
        let reason = &condition.reason;
        assert!(
            reason.starts_with(|first: char| first.is_ascii_uppercase()),
            "{name}: {reason}"
        );
        assert!(
            reason.chars().all(|c| c.is_ascii_alphanumeric()),
            "{name}: {reason}"
        );
        let described = status_reference::describes(Kind::ServerProtection, name, &condition.status, reason);
        assert!(
            described,
            "{name} {}/{reason} is not in docs/status.md",
            condition.status
        );
        assert!(!condition.message.is_empty() && condition.message.chars().count() <= 1024);
        let observed = condition.observed_generation.expect("observedGeneration");
        assert!(observed <= generation);
        if ["Reconciling", "Stalled", "Contested", "Suspended"].contains(&name.as_str()) {
            assert_eq!(condition.status, "True", "{name} is present only while True");
        }
        let known = get(&before.conditions, name);
        let flipped = known.is_none_or(|known| known.status != condition.status);
        let since = if flipped {
            reconcile.now
        } else {
            known.unwrap().last_transition_time.0
        };
        assert_eq!(
            condition.last_transition_time.0, since,
            "{name} flipped: {flipped}"
        );
    }
    let has = |name: &str| get(conditions, name).is_some();
    assert!(has("Ready"));
    assert!(!(has("Reconciling") && has("Stalled")));
    if is_true(conditions, "Ready") {
        assert!(!has("Reconciling") && !has("Stalled"), "{conditions:#?}");
    }
    for limited in [after.drift.len(), after.contested.len(), after.workspaces.len()] {
        assert!(limited <= 16);
    }
    let drift: BTreeSet<_> = after.drift.iter().map(|drift| &drift.field).collect();
    assert_eq!(drift.len(), after.drift.len());
    if matches!(&reconcile.decision.situation, Situation::Failing(failure) if failure.class.is_transient())
        && after.observed_generation != Some(-1)
        && after.conditions == before.conditions
    {
        return;
    }
    assert_eq!(after.observed_generation, Some(generation));
}

/// I-9: Ready is never True with the reason `InSync` unless Azure matches the spec.
fn check_truth(world: &World, reconcile: &Reconcile, after: &ServerProtectionStatus) {
    let ready = get(&after.conditions, "Ready").unwrap();
    if reconcile.decision.situation == Situation::Suspended {
        check_suspended(world, reconcile, ready);
        return;
    }
    if after.conditions == reconcile.before.conditions {
        return;
    }
    let desired = Desired::of(&world.spec);
    if ready.status == "True" && ready.reason == "InSync" {
        assert_eq!(differences(&desired, &reconcile.actual_after), []);
        assert!(reconcile.decision.changes.is_empty());
        for extension in after.plan.iter().flat_map(|plan| &plan.extensions) {
            let managed = desired.extension(&ExtensionName::from_azure(&extension.name)) == Some(true);
            assert!(!managed || extension.provisioning.as_deref() != Some("Failed"));
        }
        assert_eq!(after.drift_count, Some(0));
        assert!(!is_true(&after.conditions, "Drifted"));
    }
    if ready.status == "True" {
        assert!(["InSync", "Observed"].contains(&ready.reason.as_str()));
    }
}

/// While it is suspended, Ready keeps a status that is about this spec, and nothing else.
fn check_suspended(world: &World, reconcile: &Reconcile, ready: &Condition) {
    assert_eq!(ready.reason, "Suspended");
    let known = get(&reconcile.before.conditions, "Ready");
    let same_generation = known.is_some_and(|known| known.observed_generation == Some(world.generation));
    let same_spec = world.reconciled.as_ref().is_some_and(|reconciled| {
        let suspended = ServerProtectionSpec {
            suspend: true,
            ..reconciled.clone()
        };
        suspended == world.spec
    });
    let expected = known.filter(|_| same_generation || same_spec);
    assert_eq!(ready.status, expected.map_or("Unknown", |known| &known.status));
}

/// (i) I-6: the recorded intent before a plan write, one more write after a crash, and never a success that Azure did
/// not report.
fn check_intent(world: &World, reconcile: &Reconcile, lost: bool) {
    let decision = &reconcile.decision;
    if decision.writes_plan() {
        let intent = reconcile
            .intent
            .as_ref()
            .expect("a recorded intent before the write");
        let plan = get(&intent.conditions, "PlanEnabled").unwrap();
        assert_eq!(
            (plan.status.as_str(), plan.reason.as_str()),
            ("Unknown", "Applying")
        );
        assert_eq!(plan.observed_generation, Some(world.generation));
        assert!(write_is_open(intent));
        assert!(!is_true(&intent.conditions, "ExtensionsProvisioned"));
    }
    let unmanaged = !world.managed;
    if write_is_open(&reconcile.before) && reconcile.history == ReconcileHistory::default() && unmanaged {
        match decision.situation {
            Situation::Writing
                if decision
                    .changes
                    .iter()
                    .all(|change| change.action == Action::Register) => {}
            Situation::Writing | Situation::InSync | Situation::Settling => {
                assert!(
                    decision.writes_plan(),
                    "the write with an unknown result was not repeated: {decision:#?}"
                );
            }
            _ => {}
        }
    }
    let Some(after) = &reconcile.after else { return };
    let known = |name: &str| {
        let extensions = reconcile.before.plan.iter().flat_map(|plan| &plan.extensions);
        extensions.into_iter().any(|known| {
            known.name == name
                && known.state == "Enabled"
                && known.provisioning.as_deref() == Some("Succeeded")
        })
    };
    let desired = Desired::of(&world.spec);
    if let Some(answer) = &reconcile.outcome.response {
        assert!(
            !write_is_open(after),
            "after a response, the plan is not written again"
        );
        let silent = desired.extensions().filter(|(_, on)| *on).any(|(managed, _)| {
            answer.plan.is_on(managed)
                && answer.results.iter().all(|result| result.extension != *managed)
                && !known(managed.azure_name())
        });
        let provisioned = get(&after.conditions, "ExtensionsProvisioned").unwrap();
        if silent {
            assert_ne!(
                provisioned.status, "True",
                "a success that Azure did not report: {provisioned:#?}"
            );
            let failed = provisioned.reason == "ExtensionFailed";
            assert!(!write_is_open(&reconcile.before) || failed || provisioned.reason == "ResultLost");
        }
    } else if lost && write_is_open(&reconcile.before) && decision.changes[0].fields.is_empty() {
        assert!(
            !write_is_open(after),
            "a repeat that was lost too is not repeated"
        );
        let extensions = after.plan.iter().flat_map(|plan| &plan.extensions);
        let mut on = extensions.filter(|extension| extension.state == "Enabled");
        let of_spec = |name: &str| {
            desired
                .extensions()
                .any(|(managed, on)| on && managed.is_named(name))
        };
        let silent = on.any(|extension| of_spec(&extension.name) && !known(&extension.name));
        assert!(!silent || !is_true(&after.conditions, "ExtensionsProvisioned"));
    } else if lost || (write_is_open(&reconcile.before) && world.spec.mode == Mode::Enforce && unmanaged) {
        assert!(write_is_open(after), "a lost result stays open");
        assert!(!is_true(&after.conditions, "ExtensionsProvisioned"));
    }
}

/// (j) I-12a: on a subscription that it never had in sync, an object lowers nothing without approval.
fn check_adoption(world: &World, reconcile: &Reconcile) {
    let established = reconcile
        .before
        .claim
        .as_ref()
        .is_some_and(|claim| claim.established_since.is_some());
    let approved_by_generation = world.approval.as_deref() == Some(&world.generation.to_string());
    assert!(
        !established || reconcile.held_before,
        "established without a write or a read in sync"
    );
    if established || approved_by_generation {
        return;
    }
    let approvals = world.approval.as_deref().unwrap_or_default();
    let (before, after) = (&reconcile.actual_before, &reconcile.actual_after);
    if protection(after.plan.tier) < protection(before.plan.tier) {
        assert!(approvals.contains(&format!("plan.tier={}", tier_name(after.plan.tier))));
    }
    let stays_on = |setting| !before.settings.is_on(setting) || after.settings.is_on(setting);
    assert!(
        stays_on(Setting::Integration) || approvals.contains("endpointIntegration.state=Disabled"),
        "{approvals}"
    );
    let mut opt_ins = Setting::ALL
        .iter()
        .filter(|setting| **setting != Setting::Integration);
    assert!(opt_ins.all(|setting| stays_on(*setting)));
    assert!(!before.assessment || after.assessment);
    if before.plan.tier == after.plan.tier && world.reported & 0b1010_1010 == 0 {
        for extension in before
            .plan
            .extensions
            .iter()
            .filter(|extension| extension.enabled)
        {
            let stays = after.plan.is_on(&extension.name);
            assert!(stays, "{:?} was switched off", extension.name);
        }
    }
}

fn check(world: &World, fault: &Fault, reconcile: &Reconcile) {
    // A plan that is managed elsewhere is never written, and the object says so before anything else is.
    if world.managed {
        assert!(!reconcile.decision.writes_plan(), "{:#?}", reconcile.decision);
        assert_ne!(reconcile.decision.situation, Situation::InSync);
    }
    // (k) Observe, suspend and a conflict never write.
    if world.spec.mode == Mode::Observe || world.spec.suspend || world.conflicted {
        assert_eq!(reconcile.decision.changes, []);
        assert_eq!(reconcile.actual_before, reconcile.actual_after);
    }
    // (b) I-1, also for writes that are repeated and fields that are contested.
    for change in &reconcile.decision.changes {
        if let Action::PutPlan(write) = &change.action {
            assert!(
                write.tier != Tier::Free || world.spec.plan.tier == Tier::Free,
                "{write:?}"
            );
        }
    }
    if let Some(intent) = &reconcile.intent {
        check_status(&reconcile.before, intent, reconcile, world.generation);
        assert!(!is_true(&intent.conditions, "Ready"));
    }
    if let Some(after) = &reconcile.after {
        check_status(&reconcile.before, after, reconcile, world.generation);
        check_truth(world, reconcile, after);
    }
    let lost = reconcile.decision.writes_plan()
        && matches!(fault, Fault::Write { at: 0, class, effect } if *effect || matches!(class, ErrorClass::Transient | ErrorClass::Unavailable(_)));
    check_intent(world, reconcile, lost);
    check_adoption(world, reconcile);
    // A refusal that was not known yet lets the rest be written at once.
    let newly_refused =
        reconcile.outcome.failed.is_some() && world.history.refused != reconcile.history.refused;
    assert!(
        reconcile.wait >= Duration::from_millis(900) || !reconcile.outcome.done.is_empty() || newly_refused,
        "a hot loop"
    );
    assert!(reconcile.failures == 0 || !matches!(fault, Fault::None));
}

/// (h) The same reconcile a minute later changes nothing, even with other request ids.
fn check_quiet(world: &World, fault: &Fault, reconcile: &Reconcile) {
    let Some(after) = &reconcile.after else { return };
    if !reconcile.decision.changes.is_empty() || reconcile.failures == 1 || reconcile.failures == 2 {
        return;
    }
    let mut again = world.clone();
    again.same_reads = true;
    again.sleep(Duration::from_mins(1));
    let second = again.reconcile(fault);
    let failing = |reconcile: &Reconcile| matches!(reconcile.decision.situation, Situation::Failing(_));
    if second.decision != reconcile.decision && !(failing(reconcile) && failing(&second)) {
        return; // A suppression or a pause ended, or the failing read was not made.
    }
    let mut same = second.after.unwrap();
    for (left, right) in same.conditions.iter().zip(&after.conditions) {
        assert_eq!(left, right, "a second reconcile changed a condition");
    }
    same.contested.clone_from(&after.contested);
    assert_eq!(&same, after, "a second reconcile changed the status");
}

proptest! {
    #![proptest_config(cases(768))]

    /// (g) to (k) hold for every reconcile. At the end, without disturbances, Azure matches the spec (I-6: even with
    /// empty memory).
    #[test]
    fn every_walk_keeps_the_invariants(
        spec in spec(),
        actual in actual(),
        answers in answers(),
        steps in collection::vec(step(), 1..24),
    ) {
        let mut world = World::new(spec, actual, answers);
        for step in steps {
            if let Some((fault, reconcile)) = walk(&mut world, step) {
                check(&world, &fault, &reconcile);
                check_quiet(&world, &fault, &reconcile);
            }
        }
        settled(&mut world);
    }
}

fn settled(world: &mut World) {
    world.edit(|spec| {
        spec.suspend = false;
        spec.mode = Mode::Enforce;
    });
    world.registration = RegistrationState::Registered;
    world.approval = Some(world.generation.to_string());
    world.reported = 0b0101_0101;
    (world.conflicted, world.owner, world.managed) = (false, true, false);
    let mut quiet = 0;
    for _ in 0..24 {
        let reconcile = world.reconcile(&Fault::None);
        check(world, &Fault::None, &reconcile);
        world.sleep(reconcile.wait);
        if reconcile.decision.situation == Situation::Contested {
            world.sleep(Duration::from_hours(24));
        }
        quiet = if reconcile.decision.situation == Situation::InSync {
            quiet + 1
        } else {
            0
        };
        if quiet == 3 {
            break;
        }
    }
    assert_eq!(quiet, 3, "never calm: {:#?}", world.status);
    assert!(is_true(&world.status.conditions, "Ready"));
    assert_eq!(world.spec.endpoint_integration.state == State::Disabled, {
        let desired = Desired::of(&world.spec);
        desired.switch(&ProtectionField::Setting(Setting::Integration)) == Some(false)
    });
    assert!(INTERVAL > Duration::ZERO);
}
