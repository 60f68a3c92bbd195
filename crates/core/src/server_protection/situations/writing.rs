//! Writes, their results, and lost results.

use std::time::Duration;

use serverprotection_api::{AgentlessScanning, State, Tier};

use super::{Object, blank, extension, failure, observed, plan, protected};
use crate::{
    azure_error::{AzureError, ErrorClass},
    permissions::ASSIGN_ROLES,
    reading::Permissions,
    server_protection::{
        changes::{Action, Actual},
        decide::{Decision, Observation, Outcome, PlanResponse, write_is_open},
        field::{ExtensionName, Setting},
        observed::{Observed, OperationStatus},
    },
};

fn scanning(state: State) -> Object {
    let mut object = Object::of(Tier::P2);
    object.spec.plan.agentless_scanning = Some(AgentlessScanning {
        state,
        exclusion_tags: None,
    });
    object
}

fn with_scanning(enabled: bool) -> Actual {
    let mut actual = protected();
    actual.plan.extensions = vec![extension(ExtensionName::AgentlessScanning, enabled)];
    actual
}

fn security_admin(actual: &Actual) -> Observed {
    Observed {
        permissions: Some(Ok(Permissions {
            grants: vec![(vec!["Microsoft.Security/*".into()], Vec::new())],
        })),
        ..observed(actual)
    }
}

/// A plan write with a response that has this code for agentless scanning.
fn answered(decision: &Decision, actual: &Actual, code: Option<&str>) -> Outcome {
    assert!(decision.writes_plan());
    let result = code.map(|code| OperationStatus {
        extension: ExtensionName::AgentlessScanning,
        code: code.into(),
        message: "Failed assigning roles".into(),
    });
    Outcome {
        done: decision.changes.clone(),
        response: Some(PlanResponse {
            plan: actual.plan.clone(),
            results: result.into_iter().collect(),
        }),
        failed: None,
    }
}

#[test]
fn writing_reports_the_changes_and_then_reads_back() {
    let mut object = Object::of(Tier::P2);
    let decision = object.write(&observed(&blank()));
    assert_eq!(decision.changes.len(), 1, "settings wait for the plan's effect");
    object
        .expect("False", "Progressing", "plan.tier: Free -> P2")
        .secondary("Reconciling");
    assert_eq!(object.wait, Duration::ZERO);
    // The plan write switched WDATP on: no write of the setting is needed.
    let mut actual = blank();
    actual.plan = plan(Tier::P2);
    actual.settings.set(Setting::Integration, true);
    let decision = object.write(&observed(&actual));
    let written = |setting| {
        decision.changes.iter().any(
            |change| matches!(change.action, Action::PutSetting { setting: found, .. } if found == setting),
        )
    };
    assert!(!written(Setting::Integration) && written(Setting::UnifiedSolution));
    assert!(!written(Setting::Linux), "not excluded already means on");
    object.observe(&observed(&protected()));
    object.expect("True", "InSync", "").secondary("");
}

#[test]
fn a_process_that_may_not_write_says_so() {
    let mut object = Object::of(Tier::P2);
    object.observe(&observed(&blank()));
    object
        .expect("False", "Progressing", "plan.tier: Free -> P2")
        .secondary("Reconciling")
        .reason("Reconciling", "True", "Withheld");
}

#[test]
fn p1_and_p2_become_each_other_in_one_write() {
    for (from, to) in [(Tier::P1, Tier::P2), (Tier::P2, Tier::P1)] {
        let mut object = Object::in_sync(from);
        object.edit(|spec| spec.plan.tier = to);
        let mut actual = protected();
        actual.plan = plan(from);
        actual.plan.extensions = vec![extension(ExtensionName::DirectOnboarding, true)];
        if from == Tier::P2 {
            actual
                .plan
                .extensions
                .push(extension(ExtensionName::AgentlessScanning, true));
        }
        let decision = object.write(&observed(&actual));
        let [change] = decision.changes.as_slice() else {
            panic!("{:?}", decision.changes)
        };
        let Action::PutPlan(write) = &change.action else {
            panic!("{change:?}")
        };
        assert_eq!(write.tier, to);
        let names: Vec<_> = write
            .extensions
            .iter()
            .map(|sent| sent.name.azure_name())
            .collect();
        assert_eq!(
            names,
            ["MdeDesignatedSubscription"],
            "what P1 does not offer is not sent"
        );
        actual.plan = plan(to);
        object.observe(&observed(&actual));
        object.expect("True", "InSync", "");
    }
}

#[test]
fn a_failed_extension_without_the_permission_waits_for_it() {
    let mut object = scanning(State::Enabled);
    let (off, on) = (with_scanning(false), with_scanning(true));
    object.reconcile(Observation::Azure(&security_admin(&off)), |decision| {
        answered(decision, &on, Some("Failed"))
    });
    for reading in [&on, &off] {
        // Whether the failed extension reads as on or off: no write, because it would fail for the same reason.
        let decision = object.observe(&security_admin(reading));
        assert_eq!(decision.changes, []);
        object
            .expect("False", "ExtensionFailed", "Failed assigning roles")
            .expect("False", "ExtensionFailed", ASSIGN_ROLES)
            .secondary("Stalled")
            .reason("ExtensionsProvisioned", "False", "ExtensionFailed")
            .reason("PermissionsSufficient", "False", "MissingPermission");
    }
    // With the permission granted, the next slow retry writes again, and the result is reported.
    object.sleep(object.wait);
    let decision = object.reconcile(Observation::Azure(&observed(&off)), |decision| {
        answered(decision, &on, Some("Succeeded"))
    });
    assert!(decision.writes_plan());
    object.observe(&observed(&on));
    object
        .expect("True", "InSync", "")
        .reason("ExtensionsProvisioned", "True", "Provisioned");
}

#[test]
fn a_failed_extension_is_retried_at_its_own_interval() {
    let mut object = scanning(State::Enabled);
    let on = with_scanning(true);
    object.reconcile(Observation::Azure(&observed(&with_scanning(false))), |decision| {
        answered(decision, &on, Some("Failed"))
    });
    let decision = object.observe(&observed(&on));
    assert_eq!(decision.changes, []);
    object
        .expect("False", "ExtensionFailed", "")
        .secondary("Reconciling")
        .reason("Reconciling", "True", "RetryingExtension");
    object.sleep(Duration::from_secs(301));
    object.reconcile(Observation::Azure(&observed(&on)), |decision| {
        answered(decision, &on, Some("succeeded"))
    });
    object.observe(&observed(&on));
    object
        .expect("True", "InSync", "")
        .reason("ExtensionsProvisioned", "True", "Provisioned");
    assert_eq!(object.history.extension_retries, 0);
}

#[test]
fn a_failed_extension_that_the_spec_disables_is_no_failure() {
    let mut object = scanning(State::Enabled);
    let off = with_scanning(false);
    object.reconcile(Observation::Azure(&observed(&off)), |decision| {
        answered(decision, &off, Some("Failed"))
    });
    object.edit(|spec| spec.plan.agentless_scanning.as_mut().unwrap().state = State::Disabled);
    let decision = object.observe(&observed(&off));
    assert_eq!(decision.changes, []);
    object
        .expect("True", "InSync", "")
        .reason("ExtensionsProvisioned", "True", "NoneManaged");
}

#[test]
fn a_lost_result_leads_to_one_write_and_is_never_reported_as_success() {
    let mut object = scanning(State::Enabled);
    let (off, on) = (with_scanning(false), with_scanning(true));
    let mut lost = failure(
        ErrorClass::Transient,
        "GatewayTimeout",
        "PUT pricings/VirtualMachines",
    );
    lost.effect_unknown = true;
    object.fail(&observed(&off), lost);
    object
        .expect("False", "Progressing", "")
        .secondary("Reconciling")
        .reason("PlanEnabled", "Unknown", "Applying")
        .reason("ExtensionsProvisioned", "Unknown", "Applying");
    // After a restart the write is repeated although it took effect, because only a response contains the result.
    object.history = crate::server_protection::history::ReconcileHistory::default();
    object.reconcile(Observation::Azure(&observed(&on)), |decision| {
        answered(decision, &on, None)
    });
    assert!(!write_is_open(&object.status));
    for _ in 0..3 {
        let decision = object.observe(&observed(&on));
        assert_eq!(decision.changes, []);
        object
            .expect("True", "InSync", "")
            .reason("PlanEnabled", "True", "PlanEnabled")
            .reason("ExtensionsProvisioned", "Unknown", "ResultLost");
        assert!(
            object
                .condition("ExtensionsProvisioned")
                .2
                .contains("in the portal")
        );
    }
}

#[test]
fn a_lost_result_stays_open_until_an_answer() {
    let mut object = scanning(State::Enabled);
    let mut lost = failure(
        ErrorClass::Transient,
        "GatewayTimeout",
        "PUT pricings/VirtualMachines",
    );
    lost.effect_unknown = true;
    object.fail(&observed(&with_scanning(false)), lost);
    let on = with_scanning(true);
    object.fail(
        &observed(&on),
        failure(ErrorClass::Conflict, "Conflict", "PUT pricings/VirtualMachines"),
    );
    assert!(write_is_open(&object.status));
    object.observe(&observed(&on));
    assert!(write_is_open(&object.status), "withheld");
    object.reconcile(Observation::Azure(&observed(&on)), |decision| {
        answered(decision, &on, Some("Succeeded"))
    });
    object.observe(&observed(&on));
    object
        .expect("True", "InSync", "")
        .reason("ExtensionsProvisioned", "True", "Provisioned");
}

/// A proxy that cuts every long request: Azure has the plan, and no response arrives.
#[test]
fn a_result_that_is_lost_twice_is_not_asked_for_again() {
    let mut object = scanning(State::Enabled);
    let lost = || AzureError {
        effect_unknown: true,
        ..failure(
            ErrorClass::Transient,
            "GatewayTimeout",
            "PUT pricings/VirtualMachines",
        )
    };
    object.fail(&observed(&with_scanning(false)), lost());
    assert!(write_is_open(&object.status));
    let mut on = with_scanning(true);
    on.assessment = false;
    let decision = object.fail(&observed(&on), lost());
    assert_eq!(decision.changes[0].fields, [], "the same plan once more");
    assert!(!write_is_open(&object.status));
    object.reason("ExtensionsProvisioned", "Unknown", "ResultLost");
    // The rest of the spec is written now.
    assert_eq!(
        object.write(&observed(&on)).changes[0].action,
        Action::PutAssessment
    );
    object.observe(&observed(&with_scanning(true)));
    object
        .expect("True", "InSync", "")
        .reason("ExtensionsProvisioned", "Unknown", "ResultLost");
}

#[test]
fn a_write_that_failed_without_effect_is_not_left_open() {
    let mut object = scanning(State::Enabled);
    let conflict = failure(ErrorClass::Conflict, "Conflict", "PUT pricings/VirtualMachines");
    object.fail(&observed(&with_scanning(false)), conflict);
    assert!(!write_is_open(&object.status));
}

/// An object in mode Observe does not stay in the reason Applying.
#[test]
fn an_open_write_ends_when_no_one_writes_any_more() {
    let mut object = scanning(State::Enabled);
    let mut lost = failure(
        ErrorClass::Transient,
        "GatewayTimeout",
        "PUT pricings/VirtualMachines",
    );
    lost.effect_unknown = true;
    object.fail(&observed(&with_scanning(false)), lost);
    object.edit(|spec| spec.mode = serverprotection_api::Mode::Observe);
    object.observe(&observed(&with_scanning(true)));
    object
        .expect("True", "Observed", "")
        .reason("PlanEnabled", "True", "PlanEnabled")
        .reason("ExtensionsProvisioned", "Unknown", "ResultLost");
}

/// An extension that is off is reported as not enabled, regardless of earlier results.
#[test]
fn an_extension_that_is_off_is_not_provisioned() {
    let mut object = scanning(State::Enabled);
    object.spec.mode = serverprotection_api::Mode::Observe;
    for actual in [blank(), with_scanning(false)] {
        object.observe(&observed(&actual));
        object.reason("ExtensionsProvisioned", "False", "NotEnabled");
        assert!(
            object
                .condition("ExtensionsProvisioned")
                .2
                .contains("plan.agentlessScanning")
        );
    }
}
