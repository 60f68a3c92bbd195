//! Parts that Azure refuses: the rest of the spec is applied.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::json;
use serverprotection_api::Tier;

use super::{Object, blank, extension, failure, observed, plan, protected};
use crate::{
    azure_error::ErrorClass,
    conditions::{self, ConditionType},
    server_protection::{
        changes::{Action, PlanWrite},
        decide::{Decision, Situation},
        field::{ExtensionName, Setting},
    },
};

const UNKNOWN: &str = "InvalidInputJson";

/// P2 with an extension that Azure does not know, and file integrity monitoring.
fn object() -> Object {
    let mut object = Object::of(Tier::P2);
    object.spec.plan = serde_json::from_value(json!({"tier": "P2",
        "fileIntegrityMonitoring": {"state": "Enabled", "workspaceId": "/w"},
        "otherExtensions": [{"name": "Unknown", "state": "Enabled"}]}))
    .unwrap();
    object
}

fn plan_write(decision: &Decision) -> &PlanWrite {
    let mut actions = decision.changes.iter().map(|change| &change.action);
    let found = actions.find_map(|action| match action {
        Action::PutPlan(write) => Some(write),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no plan write: {decision:#?}"))
}

fn sent(decision: &Decision) -> Vec<&str> {
    let extensions = plan_write(decision).extensions.iter();
    extensions.map(|extension| extension.name.azure_name()).collect()
}

fn refused() -> crate::azure_error::AzureError {
    failure(ErrorClass::Refused, UNKNOWN, "PUT pricings/VirtualMachines")
}

#[test]
fn one_refused_extension_does_not_keep_the_rest_from_being_applied() {
    let mut object = object();
    let decision = object.fail(&observed(&blank()), refused());
    assert_eq!(sent(&decision), ["FileIntegrityMonitoring", "Unknown"]);
    object.expect("False", UNKNOWN, "").secondary("Stalled");
    assert!(object.wait.is_zero(), "the rest does not wait");

    // First the plan without any extension that was refused.
    let decision = object.write(&observed(&blank()));
    assert_eq!((plan_write(&decision).tier, sent(&decision)), (Tier::P2, vec![]));
    let mut actual = blank();
    actual.plan = plan(Tier::P2);
    // Then the settings and the assessment.
    let decision = object.write(&observed(&actual));
    assert!(!decision.writes_plan() && !decision.changes.is_empty());
    actual = protected();

    // Then one extension by itself, and the other one.
    let decision = object.write(&observed(&actual));
    assert_eq!(sent(&decision), ["FileIntegrityMonitoring"]);
    let mut monitored = extension(ExtensionName::FileIntegrityMonitoring, true);
    monitored.properties = decision_properties(&decision);
    actual.plan.extensions = vec![monitored];
    let decision = object.fail(&observed(&actual), refused());
    assert_eq!(sent(&decision), ["FileIntegrityMonitoring", "Unknown"]);
    assert_eq!(decision.changes[0].fields.len(), 1);
    object.expect("False", UNKNOWN, "").secondary("Stalled");
    assert!(!object.wait.is_zero(), "nothing else can be written");

    // From now on it is one write at the slow pace, and the status stays.
    let before = object.status.clone();
    for _ in 0..3 {
        object.sleep(object.wait);
        let decision = object.fail(&observed(&actual), refused());
        assert_eq!(decision.changes[0].fields.len(), 1);
        assert!(!object.wait.is_zero());
        assert_eq!(object.status.conditions, before.conditions);
    }
}

/// What Azure would store of a write: the properties of the first extension.
fn decision_properties(
    decision: &Decision,
) -> std::collections::BTreeMap<
    crate::server_protection::field::Property,
    crate::server_protection::property::StoredProperty,
> {
    use crate::server_protection::{
        field::Property,
        property::{StoredProperty, StoredValue},
    };
    let text = |text: &str| StoredProperty {
        value: StoredValue::Text(text.into()),
        json: String::new(),
    };
    let properties = plan_write(decision).extensions[0].properties.keys();
    properties
        .map(|property| match property {
            Property::WorkspaceId => (property.clone(), text("/w")),
            other => (other.clone(), text("stored")),
        })
        .collect()
}

#[test]
fn a_refused_tier_does_not_keep_the_settings_from_being_applied() {
    let mut object = Object::of(Tier::P2);
    let policy = || {
        failure(
            ErrorClass::Refused,
            "RequestDisallowedByPolicy",
            "PUT pricings/VirtualMachines",
        )
    };
    assert!(object.fail(&observed(&blank()), policy()).writes_plan());
    assert!(object.wait.is_zero());
    let decision = object.write(&observed(&blank()));
    assert!(!decision.writes_plan());
    assert_eq!(decision.situation, Situation::Writing);
    let mut actual = protected();
    actual.plan = plan(Tier::Free);
    assert!(object.fail(&observed(&actual), policy()).writes_plan());
    object
        .expect("False", "RequestDisallowedByPolicy", "")
        .secondary("Stalled");
    assert!(!object.wait.is_zero());
}

/// The same for settings, which are written one by one.
#[test]
fn a_refused_setting_does_not_keep_the_assessment_from_being_applied() {
    let mut object = Object::in_sync(Tier::P2);
    let mut actual = protected();
    actual.assessment = false;
    actual.settings.set(Setting::Linux, false);
    let refusal = || failure(ErrorClass::Refused, "BadRequest", "PUT settings");
    object.fail(&observed(&actual), refusal());
    let decision = object.write(&observed(&actual));
    assert_eq!(decision.changes.len(), 1);
    assert_eq!(decision.changes[0].action, Action::PutAssessment);
    actual.assessment = true;
    object.fail(&observed(&actual), refusal());
    object.expect("False", "BadRequest", "").secondary("Stalled");
}

/// What Azure refused stays visible while a setting settles, and is not said to settle.
#[test]
fn a_setting_that_settles_does_not_hide_a_refusal() {
    let mut object = object();
    object.spec.plan.file_integrity_monitoring = None;
    let mut actual = protected();
    object.fail(&observed(&actual), refused());
    object.expect("False", UNKNOWN, "").secondary("Stalled");
    let stalled = object.status.conditions.clone();
    // Another writer switches the setting off, and does so again before the next read.
    actual.settings.set(Setting::Integration, false);
    object.write(&observed(&actual));
    let decision = object.observe(&observed(&actual));
    assert_eq!(decision.situation, Situation::Settling);
    object.expect("False", UNKNOWN, "").secondary("Stalled");
    let ready = |conditions: &[Condition]| conditions::get(conditions, ConditionType::Ready).cloned();
    assert_eq!(ready(&object.status.conditions), ready(&stalled));

    // After an edit, the refusal is about another spec.
    object.edit(|spec| spec.plan.other_extensions.clear());
    let decision = object.observe(&observed(&actual));
    assert_eq!(decision.situation, Situation::Settling);
    object
        .expect("False", "Progressing", "endpointIntegration.state")
        .secondary("Reconciling");
}

/// The same for a plan that is managed elsewhere.
#[test]
fn a_setting_that_settles_does_not_hide_another_manager_of_the_plan() {
    let mut object = Object::in_sync(Tier::P2);
    let mut actual = protected();
    actual.plan.tier = Tier::P1;
    actual.plan.managed_by = Some("the portal".into());
    actual.settings.set(Setting::Integration, false);
    object.write(&observed(&actual));
    let decision = object.observe(&observed(&actual));
    assert_eq!(decision.situation, Situation::Settling);
    object
        .expect("False", "ManagedElsewhere", "the portal")
        .secondary("Stalled");
}

/// A lock refuses every write, so nothing else is tried.
#[test]
fn a_lock_and_a_missing_right_cost_one_write() {
    for (class, code) in [
        (ErrorClass::Refused, "ScopeLocked"),
        (ErrorClass::Permission(None), "AuthorizationFailed"),
    ] {
        let mut object = object();
        object.fail(&observed(&blank()), failure(class.clone(), code, "PUT pricings"));
        assert!(!object.wait.is_zero(), "{code}");
        let decision = object.fail(&observed(&blank()), failure(class, code, "PUT pricings"));
        assert_eq!(sent(&decision).len(), 2, "{code}: the whole plan again");
    }
}

#[test]
fn an_edit_tries_everything_again() {
    let mut object = object();
    object.fail(&observed(&blank()), refused());
    object.edit(|spec| spec.plan.other_extensions.clear());
    let decision = object.write(&observed(&blank()));
    assert_eq!(sent(&decision), ["FileIntegrityMonitoring"]);
}
