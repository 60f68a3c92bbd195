//! I-13: writes without effect, and other writers.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serverprotection_api::{
    AgentlessScanning, ContestedField, ExclusionTag, OperationType, PendingOperation, State, Tier,
};

use super::{Object, extension, observed, plan, protected};
use crate::server_protection::{
    changes::{Action, Actual},
    decide::Situation,
    field::{ExtensionName, Property, Setting},
    property::{PropertyWrite, StoredProperty, StoredValue},
};

const FIELD: &str = "plan.agentlessScanning.state";

/// Defender CSPM keeps agentless scanning on: Disabled is accepted and never takes effect.
#[test]
fn a_write_without_effect_settles_and_is_then_contested() {
    let mut object = Object::in_sync(Tier::P2);
    let mut actual = protected();
    actual.plan.extensions = vec![extension(ExtensionName::AgentlessScanning, true)];
    object.observe(&observed(&actual));
    object.edit(|spec| {
        spec.plan.agentless_scanning = Some(AgentlessScanning {
            state: State::Disabled,
            exclusion_tags: None,
        });
    });
    let (mut writes, mut pauses) = (0, 0);
    for reconcile in 0.. {
        let decision = object.write(&observed(&actual));
        match decision.situation {
            Situation::Writing => writes += 1,
            Situation::Settling => {
                object
                    .expect("False", "Progressing", FIELD)
                    .secondary("Reconciling");
                assert!(object.wait >= Duration::from_secs(30));
                pauses += 1;
            }
            Situation::Contested => break,
            other => panic!("{other:?}"),
        }
        object.sleep(object.wait);
        assert!(reconcile < 20, "the field was never suppressed");
    }
    assert_eq!(writes, 4, "the first write and three repairs");
    assert_eq!(pauses, 3, "a pause before each repair");
    object
        .expect("False", "Contested", "set the field to Unmanaged")
        .secondary("Stalled")
        .reason("Contested", "True", "Suppressed");
    let held = &object.status.contested[0];
    let until = held.suppressed_until_time.as_ref().unwrap().0;
    let says = format!("is paused until {until}, because another writer keeps changing it. Find");
    object.expect("False", "Contested", &says);
    let begins = format!("Enforcement of {FIELD} (spec: Disabled, Azure: Enabled) is paused");
    object.expect("False", "Contested", &begins);
    let warnings = object.events.iter().filter(|event| event.warning);
    assert_eq!(
        warnings.map(|event| event.reason.as_str()).collect::<Vec<_>>(),
        ["Suppressed"]
    );
    assert_eq!(
        (held.field.as_str(), held.repairs, held.suppression_hours),
        (FIELD, 3, Some(1))
    );
    // Suppressed for an hour, also after a restart; then written once, and suppressed for two hours.
    object.history = crate::server_protection::history::ReconcileHistory::default();
    object.sleep(Duration::from_secs(3000));
    assert_eq!(object.write(&observed(&actual)).changes, []);
    object.sleep(Duration::from_secs(700));
    assert!(object.write(&observed(&actual)).writes_plan());
    assert_eq!(object.status.contested[0].suppression_hours, Some(2));
    object.sleep(Duration::from_secs(120));
    assert_eq!(object.write(&observed(&actual)).changes, []);
    // The spec no longer manages the field: nothing is contested.
    object.edit(|spec| spec.plan.agentless_scanning = None);
    object.observe(&observed(&actual));
    object.expect("True", "InSync", "");
    assert_eq!(object.status.contested, []);
    assert_eq!(object.condition("Contested").0, "");
}

#[test]
fn a_foreign_writer_that_flips_back_is_contested() {
    let mut object = Object::in_sync(Tier::P2);
    let mut flipped = protected();
    flipped.settings.set(Setting::Integration, false);
    for repair in 1..=3 {
        object.sleep(Duration::from_secs(600));
        let decision = object.write(&observed(&flipped));
        assert_eq!(decision.repairs.len(), 1);
        object.observe(&observed(&protected()));
        object.expect("True", "InSync", "");
        assert_eq!(object.status.contested[0].repairs, repair);
    }
    object.sleep(Duration::from_secs(600));
    let decision = object.write(&observed(&flipped));
    assert_eq!(decision.changes, []);
    object
        .expect(
            "False",
            "Contested",
            "endpointIntegration.state (spec: Enabled, Azure: Disabled)",
        )
        .secondary("Stalled");
    // The rest of the spec is still enforced.
    flipped.assessment = false;
    let decision = object.write(&observed(&flipped));
    assert_eq!(decision.changes.len(), 1);
    assert_eq!(decision.changes[0].action, Action::PutAssessment);
}

/// The integration is contested, and the other writer still changes it.
fn contested() -> (Object, Actual) {
    let mut object = Object::in_sync(Tier::P2);
    let mut flipped = protected();
    flipped.settings.set(Setting::Integration, false);
    for _ in 0..3 {
        object.write(&observed(&flipped));
        object.observe(&observed(&protected()));
        object.sleep(Duration::from_secs(60));
    }
    assert_eq!(object.write(&observed(&flipped)).changes, []);
    object.expect("False", "Contested", "endpointIntegration.state");
    (object, flipped)
}

/// An object that is not Ready for another reason notices the other writer too.
#[test]
fn a_second_field_is_contested_while_the_first_one_is() {
    let (mut object, flipped) = contested();
    let mut both = flipped.clone();
    both.plan = plan(Tier::P1);
    for _ in 0..3 {
        object.sleep(Duration::from_secs(60));
        let decision = object.write(&observed(&both));
        assert_eq!((decision.changes.len(), decision.repairs.len()), (1, 1));
        object.observe(&observed(&flipped));
        object.expect("False", "Contested", "endpointIntegration.state");
    }
    assert_eq!(object.write(&observed(&both)).changes, []);
    object.expect("False", "Contested", "plan.tier (spec: P2, Azure: P1)");
}

/// The plan is written before the settings are compared again; the request still counts then.
#[test]
fn a_request_ends_the_pause_although_another_field_is_written_first() {
    let (mut object, flipped) = contested();
    let mut both = flipped.clone();
    both.plan = plan(Tier::P1);
    object.requested = true;
    assert!(object.write(&observed(&both)).writes_plan());
    let decision = object.write(&observed(&flipped));
    let on = Action::PutSetting {
        setting: Setting::Integration,
        on: true,
    };
    assert_eq!(decision.changes.len(), 1);
    assert_eq!(decision.changes[0].action, on);
    assert_eq!(decision.repairs.len(), 1);
    object.observe(&observed(&protected()));
    object.expect("True", "InSync", "");
    let of_integration = |entry: &&ContestedField| entry.field == "endpointIntegration.state";
    let entry = object.status.contested.iter().find(of_integration).unwrap();
    assert_eq!(entry.suppression_hours, Some(2));
}

/// I-1: a suppressed tier is not written, least of all as Free, because the other writer may just have raised it.
#[test]
fn a_contested_tier_is_never_written_as_free() {
    let mut object = Object::in_sync(Tier::P2);
    let mut off = protected();
    off.plan = plan(Tier::Free);
    for _ in 0..3 {
        assert!(object.write(&observed(&off)).writes_plan());
        object.observe(&observed(&protected()));
        object.sleep(Duration::from_secs(600));
    }
    assert_eq!(object.write(&observed(&off)).changes, []);
    object.expect("False", "Contested", "plan.tier (spec: P2, Azure: Free)");
    // Neither a change of another field of the plan nor a lost result leads to a write.
    object.edit(|spec| spec.plan.inheritance = serverprotection_api::Inheritance::Enforced);
    assert_eq!(object.write(&observed(&off)).changes, []);
    object.status.pending_operation = Some(PendingOperation {
        type_: OperationType::PutPlan.as_str().into(),
        generation: object.generation,
        start_time: Time(object.now),
        correlation_id: "c".into(),
    });
    assert_eq!(object.write(&observed(&off)).changes, []);
}

#[test]
fn a_single_repair_is_forgotten_after_six_quiet_intervals() {
    let mut object = Object::in_sync(Tier::P2);
    let mut flipped = protected();
    flipped.settings.set(Setting::Integration, false);
    object.write(&observed(&flipped));
    object.sleep(Duration::from_secs(3600));
    object.observe(&observed(&protected()));
    assert_eq!(object.status.contested.len(), 1);
    object.sleep(Duration::from_secs(1));
    object.observe(&observed(&protected()));
    assert_eq!(object.status.contested, []);
}

/// An edit is not a repair, no matter how often the spec is edited.
#[test]
fn edits_are_not_repairs() {
    let mut object = Object::in_sync(Tier::P2);
    let (mut on, mut off) = (protected(), protected());
    (on.assessment, off.assessment) = (true, false);
    for round in 0..8 {
        let (state, before, after) = if round % 2 == 0 {
            (State::Disabled, &on, &off)
        } else {
            (State::Enabled, &off, &on)
        };
        object.edit(|spec| spec.vulnerability_assessment.state = state);
        let decision = object.write(&observed(before));
        assert_eq!((decision.changes.len(), decision.repairs.len()), (1, 0));
        object.observe(&observed(after));
        object.expect("True", "InSync", "");
    }
}

/// Another write of the plan does not include the contested tags.
#[test]
fn other_writes_do_not_change_a_suppressed_field() {
    let mut object = Object::of(Tier::P2);
    let tag = |value: &str| ExclusionTag {
        key: "env".into(),
        value: value.into(),
    };
    object.spec.plan.agentless_scanning = Some(AgentlessScanning {
        state: State::Enabled,
        exclusion_tags: Some(vec![tag("ours")]),
    });
    let actual = |value: &str| {
        let mut actual = protected();
        let mut scanning = extension(ExtensionName::AgentlessScanning, true);
        let tags = StoredValue::Tags([("env".to_owned(), value.to_owned())].into());
        let tags = StoredProperty {
            value: tags,
            json: value.into(),
        };
        scanning.properties.insert(Property::ExclusionTags, tags);
        actual.plan.extensions = vec![scanning];
        actual
    };
    object.observe(&observed(&actual("ours")));
    for _ in 0..3 {
        object.write(&observed(&actual("theirs")));
        object.observe(&observed(&actual("ours")));
        object.sleep(Duration::from_secs(600));
    }
    let mut theirs = actual("theirs");
    assert_eq!(object.write(&observed(&theirs)).changes, []);
    object.expect("False", "Contested", "plan.agentlessScanning.exclusionTags");
    theirs.plan.enforce = Some(true);
    object.edit(|spec| spec.plan.inheritance = serverprotection_api::Inheritance::AllowOverrides);
    let decision = object.write(&observed(&theirs));
    let Action::PutPlan(write) = &decision.changes[0].action else {
        panic!()
    };
    assert_eq!(write.enforce, Some(false));
    let stored = theirs.plan.extensions[0].properties[&Property::ExclusionTags].clone();
    assert_eq!(
        write.extensions[0].properties[&Property::ExclusionTags],
        PropertyWrite::AsRead(stored)
    );
}
