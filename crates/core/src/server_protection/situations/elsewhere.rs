//! What others manage: a plan of the Defender portal, and other plans of the subscription.

use std::{collections::BTreeSet, time::Duration};

use serverprotection_api::{AgentlessScanning, Mode, State, Tier};

use super::{Object, extension, observed, plan, protected};
use crate::server_protection::{
    changes::{Action, Actual},
    decide::Situation,
    field::{ExtensionName, Setting},
    observed::{Observed, OtherPlans, ScanningPlan},
};

const RULE: &str = "M365 security rule: /management/rules/b6e2e7e2";

fn managed(actual: &Actual) -> Observed {
    let mut actual = actual.clone();
    actual.plan.managed_by = Some(RULE.into());
    observed(&actual)
}

#[test]
fn a_plan_that_is_managed_elsewhere_is_observed_and_never_written() {
    let mut object = Object::of(Tier::P2);
    let mut actual = protected();
    actual.plan = plan(Tier::P1);
    assert_eq!(object.write(&managed(&actual)).changes, []);
    object
        .expect("False", "ManagedElsewhere", RULE)
        .expect("False", "ManagedElsewhere", "plan.tier: P1 -> P2")
        .expect("False", "ManagedElsewhere", "Set mode to Observe")
        .secondary("Stalled")
        .reason("PlanEnabled", "False", "PlanDiffers");
    assert_eq!(
        object.status.plan.as_ref().unwrap().managed_by.as_deref(),
        Some(RULE)
    );
    assert_eq!(object.status.drift_count, Some(1));
    // A plan that matches the spec is not ours either.
    assert_eq!(object.write(&managed(&protected())).changes, []);
    object.expect("False", "ManagedElsewhere", "It matches the spec now.");
    // It is written as soon as it is ours; lowering it would need approval, because it was never in sync.
    assert!(object.write(&observed(&actual)).writes_plan());
    assert_eq!(object.status.plan.as_ref().unwrap().managed_by, None);
}

#[test]
fn the_rest_of_the_spec_is_enforced_while_the_plan_is_managed_elsewhere() {
    let mut object = Object::of(Tier::P2);
    let mut actual = protected();
    actual.plan = plan(Tier::P1);
    actual.settings.set(Setting::Linux, false);
    actual.assessment = false;
    let decision = object.write(&managed(&actual));
    let actions: Vec<_> = decision.changes.iter().map(|change| &change.action).collect();
    let linux = Action::PutSetting {
        setting: Setting::Linux,
        on: true,
    };
    assert_eq!(actions, [&linux, &Action::PutAssessment]);
    object.observe(&managed(&protected()));
    object.expect("False", "ManagedElsewhere", RULE);
    // The plan was never this object's own, so lowering it needs approval.
    object.edit(|spec| spec.plan.tier = Tier::P1);
    assert_eq!(object.write(&observed(&protected())).changes, []);
    object.expect("False", "ReductionNeedsApproval", "plan.tier: P2 -> P1");
}

/// The object is never Ready, and still does not fight for its settings.
#[test]
fn a_setting_is_contested_while_the_plan_is_managed_elsewhere() {
    let mut object = Object::of(Tier::P2);
    object.observe(&managed(&protected()));
    let mut flipped = protected();
    flipped.settings.set(Setting::Linux, false);
    for _ in 0..3 {
        object.sleep(Duration::from_secs(60));
        assert_eq!(object.write(&managed(&flipped)).repairs.len(), 1);
        object.observe(&managed(&protected()));
    }
    assert_eq!(object.write(&managed(&flipped)).changes, []);
    object.reason("Contested", "True", "Suppressed");
}

/// A reduction that is not written needs no approval; one that is written does.
#[test]
fn only_what_is_written_needs_approval() {
    let mut object = Object::of(Tier::P1);
    assert_eq!(object.write(&managed(&protected())).changes, []);
    object.expect("False", "ManagedElsewhere", "plan.tier: P2 -> P1");
    object.edit(|spec| spec.vulnerability_assessment.state = State::Disabled);
    object.write(&managed(&protected()));
    object.expect("False", "ReductionNeedsApproval", "vulnerabilityAssessment.state");
    let (_, _, message) = object.condition("Ready");
    assert!(!message.contains("approve-reduction: \"plan.tier"), "{message}");
}

#[test]
fn mode_observe_reports_a_plan_that_is_managed_elsewhere_as_any_other() {
    let mut object = Object::of(Tier::P2);
    object.spec.mode = Mode::Observe;
    object.observe(&managed(&protected()));
    object.expect("True", "Observed", "matches the spec");
    assert_eq!(
        object.status.plan.as_ref().unwrap().managed_by.as_deref(),
        Some(RULE)
    );
}

/// The result of a write that this object does not repeat any more is lost.
#[test]
fn an_open_write_ends_when_the_plan_is_managed_elsewhere() {
    let mut object = Object::of(Tier::P2);
    object.spec.plan.agentless_scanning = Some(scanning(State::Enabled));
    let mut actual = protected();
    actual.plan = plan(Tier::P1);
    let lost = crate::azure_error::AzureError {
        effect_unknown: true,
        ..super::failure(
            crate::azure_error::ErrorClass::Transient,
            "GatewayTimeout",
            "PUT pricings",
        )
    };
    object.fail(&observed(&actual), lost);
    assert!(object.status.pending_operation.is_some());
    actual.plan.extensions = vec![extension(ExtensionName::AgentlessScanning, true)];
    assert_eq!(object.write(&managed(&actual)).changes, []);
    object.expect("False", "ManagedElsewhere", RULE);
    assert_eq!(object.status.pending_operation, None);
    object.reason("ExtensionsProvisioned", "Unknown", "ResultLost");
}

fn scanning(state: State) -> AgentlessScanning {
    AgentlessScanning {
        state,
        exclusion_tags: None,
    }
}

fn with_others(actual: &Actual, foundational_cspm: Option<bool>, scanning: &[ScanningPlan]) -> Observed {
    Observed {
        other_plans: Some(Ok(OtherPlans {
            foundational_cspm,
            scanning: scanning.iter().copied().collect::<BTreeSet<_>>(),
        })),
        ..observed(actual)
    }
}

#[test]
fn foundational_cspm_that_is_off_is_reported() {
    let mut object = Object::in_sync(Tier::P2);
    object.reason("PlanEnabled", "True", "PlanEnabled");
    object.observe(&with_others(&protected(), Some(false), &[]));
    object
        .expect("True", "InSync", "")
        .reason("PlanEnabled", "True", "FoundationalCspmOff");
    assert!(object.condition("PlanEnabled").2.contains("no recommendations"));
    // The next reconciles read other things, and the list only in turn.
    object.observe(&observed(&protected()));
    object.reason("PlanEnabled", "True", "FoundationalCspmOff");
    for known in [Some(true), None] {
        object.observe(&with_others(&protected(), known, &[]));
        object.reason("PlanEnabled", "True", "PlanEnabled");
    }
}

#[test]
fn a_list_of_plans_that_cannot_be_read_changes_nothing() {
    let mut object = Object::in_sync(Tier::P2);
    object.observe(&with_others(
        &protected(),
        Some(false),
        &[ScanningPlan::Containers],
    ));
    let before = object.status.clone();
    let failure = super::failure(
        crate::azure_error::ErrorClass::Refused,
        "BadRequest",
        "GET pricings",
    );
    let failing = Observed {
        other_plans: Some(Err(failure)),
        ..observed(&protected())
    };
    object.observe(&failing);
    assert_eq!(object.status, before);
}

#[test]
fn a_contested_scanning_names_the_plan_that_keeps_it_on() {
    let both = [ScanningPlan::CloudPosture, ScanningPlan::Containers];
    for (plans, named) in [
        (&both[..1], "also on in Defender CSPM (CloudPosture)."),
        (&both[1..], "also on in Defender for Containers (Containers)."),
        (
            &both[..],
            "(CloudPosture) and Defender for Containers (Containers).",
        ),
    ] {
        let mut object = Object::in_sync(Tier::P2);
        object.edit(|spec| spec.plan.agentless_scanning = Some(scanning(State::Disabled)));
        let mut actual = protected();
        actual.plan.extensions = vec![extension(ExtensionName::AgentlessScanning, true)];
        let observed = with_others(&actual, None, plans);
        for _ in 0..20 {
            if object.write(&observed).situation == Situation::Contested {
                break;
            }
            object.sleep(object.wait);
        }
        object.expect("False", "Contested", named);
        assert!(object.condition("Contested").2.contains(named));
    }
}

/// A plan below P2 has no agentless scanning, whether the spec manages it or not.
#[test]
fn a_lower_tier_says_what_else_ends() {
    let mut object = Object::of(Tier::P1);
    let mut actual = protected();
    actual.plan.extensions = vec![
        extension(ExtensionName::AgentlessScanning, true),
        extension(ExtensionName::FileIntegrityMonitoring, true),
        extension(ExtensionName::DirectOnboarding, true),
    ];
    object.observe(&observed(&actual));
    let ends = "With plan P1 this ends, too: agentless scanning, file integrity monitoring.";
    object.expect("False", "ReductionNeedsApproval", ends);
    let drifted = object.condition("Drifted").2;
    assert!(
        drifted.contains("plan.tier: P2 -> P1") && drifted.contains(ends),
        "{drifted}"
    );
    actual.plan.extensions.clear();
    object.observe(&observed(&actual));
    assert!(!object.condition("Drifted").2.contains("this ends"));
}
