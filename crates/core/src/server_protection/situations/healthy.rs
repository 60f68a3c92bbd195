//! Situations without writes: in sync, observed, suspended, owned by another object; and the passing of time.

use std::time::Duration;

use serverprotection_api::{Mode, ServerProtectionStatus, Tier};

use super::{INTERVAL, Object, blank, failure, observed, protected};
use crate::{
    azure_error::ErrorClass,
    claims::{Ownership, Verdict},
    conditions,
    server_protection::{
        azure_rules,
        connectors::{Connectors, NotReady},
        decide::{Observation, decide},
        events::of_refresh,
        field::ExtensionName,
        history::ReconcileHistory,
        observed::Observed,
        status::{Phase, Refresh, refreshed, status},
    },
    timeouts::Timeouts,
};

#[test]
fn azure_matches_the_spec() {
    let object = Object::in_sync(Tier::P2);
    object
        .expect("True", "InSync", "plan P2")
        .secondary("")
        .reason("Drifted", "False", "NoDrift")
        .reason("PlanEnabled", "True", "PlanEnabled")
        .reason("Claimed", "True", "Held")
        .reason("CredentialReady", "True", "TokenIssued")
        .reason("EndpointIntegrationEnabled", "True", "Enabled")
        .reason("VulnerabilityAssessmentEnabled", "True", "Enabled")
        .reason("PermissionsSufficient", "True", "Sufficient");
    assert!(object.condition("PlanEnabled").2.contains("FullyCovered"));
    assert_eq!(object.status.subscription_name.as_deref(), Some("Contoso"));
    assert!(object.wait >= Duration::from_secs(540) && object.wait <= Duration::from_secs(660));
}

#[test]
fn every_condition_is_there_from_the_first_patch() {
    let mut object = Object::of(Tier::P2);
    object.observe(&Observed::without_credential(failure(
        ErrorClass::Transient,
        "ConnectFailed",
        "POST token",
    )));
    for type_ in [
        "Ready",
        "CredentialReady",
        "ProviderRegistered",
        "PlanEnabled",
        "ExtensionsProvisioned",
        "EndpointIntegrationEnabled",
        "VulnerabilityAssessmentEnabled",
        "PermissionsSufficient",
        "Drifted",
    ] {
        assert_eq!(object.condition(type_).0, "Unknown", "{type_}");
    }
    assert_eq!(object.status.observed_generation, Some(1));
}

#[test]
fn observe_reports_and_writes_nothing() {
    let mut object = Object::of(Tier::P2);
    object.spec.mode = Mode::Observe;
    let decision = object.observe(&observed(&blank()));
    assert_eq!(decision.changes, []);
    object
        .expect("True", "Observed", "plan.tier")
        .secondary("")
        .reason("Drifted", "True", "Differs");
    assert_eq!(object.status.drift_count, Some(4));
    object.observe(&observed(&protected()));
    object
        .expect("True", "Observed", "")
        .reason("Drifted", "False", "NoDrift");
    assert!(object.status.claim.unwrap().established_since.is_none());
}

#[test]
fn suspend_keeps_the_conditions_and_observes_the_generation() {
    let mut object = Object::in_sync(Tier::P2);
    object.edit(|spec| spec.suspend = true);
    object.suspended();
    object
        .expect("True", "Suspended", "InSync: Azure matches the spec (plan P2)")
        .secondary("")
        .reason("Suspended", "True", "SuspendedBySpec");
    let (_, _, drifted) = object.condition("Drifted");
    assert_eq!(drifted, "Azure matched the spec when it was last read.");
    assert_eq!(object.status.observed_generation, Some(2));
    let all_observed = |object: &Object| {
        let mut conditions = object.status.conditions.iter();
        conditions.all(|condition| condition.observed_generation == Some(2))
    };
    assert!(all_observed(&object), "no one waits for a suspended object");
    let before = object.status.clone();
    object.history = ReconcileHistory::default();
    object.suspended();
    assert_eq!(object.status, before, "a restart changes nothing");
    object.edit(|spec| spec.suspend = false);
    object.observe(&observed(&protected()));
    object.expect("True", "InSync", "");
    assert_eq!(object.condition("Suspended").0, "");
}

#[test]
fn an_edit_of_a_suspended_spec_makes_ready_unknown() {
    type Edit = fn(&mut Object);
    let edits: [(&str, Edit); 4] = [
        ("after the suspension", |object| {
            object.edit(|spec| spec.suspend = true);
            object.suspended();
            object.edit(|spec| spec.plan.tier = Tier::P1);
        }),
        ("together with it", |object| {
            object.edit(|spec| {
                spec.suspend = true;
                spec.plan.tier = Tier::P1;
            });
        }),
        ("before it", |object| {
            object.edit(|spec| spec.plan.tier = Tier::P1);
            object.edit(|spec| spec.suspend = true);
        }),
        ("unknown after a restart", |object| {
            object.history = ReconcileHistory::default();
            object.edit(|spec| spec.suspend = true);
        }),
    ];
    for (when, edit) in edits {
        let mut object = Object::in_sync(Tier::P2);
        edit(&mut object);
        object.suspended();
        object
            .expect("Unknown", "Suspended", "has not been compared with Azure")
            .secondary("");
        let plan = conditions::get(&object.status.conditions, "PlanEnabled").unwrap();
        assert!(
            plan.observed_generation < Some(object.generation),
            "{when}: the plan was read for an older spec"
        );
    }
}

#[test]
fn an_object_that_was_never_reconciled_is_unknown_while_suspended() {
    let mut object = Object::of(Tier::P2);
    object.spec.suspend = true;
    object.suspended();
    object
        .expect("Unknown", "Suspended", "")
        .secondary("")
        .reason("Suspended", "True", "SuspendedBySpec");
    object.edit(|spec| spec.suspend = false);
    object.observe(&observed(&protected()));
    object.expect("True", "InSync", "");
}

#[test]
fn suspend_and_resume_are_events() {
    let mut object = Object::in_sync(Tier::P2);
    let reasons = |object: &Object| -> Vec<_> {
        let events = object.events.iter();
        events
            .map(|event| (event.reason.clone(), event.warning))
            .collect()
    };
    object.edit(|spec| spec.suspend = true);
    object.suspended();
    assert_eq!(reasons(&object), [("Suspended".to_owned(), false)]);
    object.suspended();
    assert_eq!(reasons(&object), []);
    object.edit(|spec| spec.suspend = false);
    object.observe(&observed(&protected()));
    let resumed = ("Resumed".to_owned(), false);
    assert_eq!(reasons(&object), [resumed, ("InSync".to_owned(), false)]);
}

#[test]
fn the_columns_are_filled_from_the_first_write_on() {
    let mut object = Object::of(Tier::P2);
    let columns = |object: &Object| {
        let columns = object.columns();
        let text = |column: &Option<String>| column.clone().unwrap_or_default();
        (text(&columns.subscription), text(&columns.mode))
    };
    let expected = |subscription: &str, mode: &str| (subscription.to_owned(), mode.to_owned());
    let id = object.spec.subscription_id.clone();
    let refused = failure(ErrorClass::Credential, "AADSTS7000222", "POST token");
    object.observe(&Observed::without_credential(refused));
    assert_eq!(columns(&object), expected(&id, "Enforce"), "the name is unknown");
    assert_eq!(object.columns().machines, None, "nothing has been counted");

    object.status = ServerProtectionStatus::default();
    let blank = observed(&blank());
    let timeouts = Timeouts::default();
    let input = object.input(Observation::Azure(&blank), &timeouts);
    let decision = decide(&input);
    let intent = status(&input, &decision, Phase::BeforeWrite, 0, Duration::from_secs(600));
    object.status = intent;
    assert_eq!(columns(&object), expected("Contoso", "Enforce"));

    object.edit(|spec| spec.mode = Mode::Observe);
    object.observe(&observed(&protected()));
    assert_eq!(columns(&object), expected("Contoso", "Observe"));
    object.edit(|spec| spec.suspend = true);
    object.suspended();
    assert_eq!(columns(&object), expected("Contoso", "Suspended"));
}

#[test]
fn another_object_owns_the_subscription() {
    let mut object = Object::of(Tier::P2);
    for (holder, says, action) in [
        (
            None,
            "An object in another namespace owns",
            "Delete this object, or ask the administrators",
        ),
        (
            Some("prod"),
            "prod of this namespace owns",
            "Delete one of the two objects.",
        ),
    ] {
        object.claim = Verdict::waits(holder);
        let decision = object.observe(&observed(&blank()));
        assert_eq!(decision.changes, []);
        object
            .expect("False", "ClaimConflicted", says)
            .expect("False", "ClaimConflicted", action)
            .secondary("Stalled")
            .reason("Claimed", "False", "HeldByAnother");
        assert!(object.condition("Claimed").2.starts_with(says));
        assert!(object.status.drift_count.unwrap() > 0, "what it would change");
        assert_eq!(object.status.claim.as_ref().unwrap().state, "Waiting");
        assert!(
            object.wait >= INTERVAL.mul_f64(0.9),
            "one proof for each interval"
        );
    }
}

#[test]
fn what_is_not_proven_writes_nothing_and_says_so() {
    let mut object = Object::of(Tier::P2);
    object.claim = Verdict::contends(Ownership::AccessDenied("MissingPermission".into()));
    let decision = object.observe(&observed(&blank()));
    assert_eq!(decision.changes, []);
    object
        .expect("False", "MissingPermission", "Microsoft.Security/pricings/write")
        .secondary("Stalled")
        .reason("Claimed", "Unknown", "AccessDenied");
    assert_eq!(object.status.claim, None, "it holds nothing");
    // Nothing to write: nothing is missing.
    object.observe(&observed(&protected()));
    object.expect("True", "InSync", "");
    object.claim = Verdict::contends(Ownership::Reserved(object.now));
    object.observe(&observed(&blank()));
    object
        .expect("False", "Progressing", "kept for the namespace")
        .secondary("Reconciling")
        .reason("Claimed", "False", "Reserved");
}

#[test]
fn a_change_of_owner_is_an_event_of_both() {
    let mut object = Object::of(Tier::P2);
    let reasons =
        |object: &Object| -> Vec<String> { object.events.iter().map(|event| event.reason.clone()).collect() };
    object.observe(&observed(&protected()));
    assert!(
        !reasons(&object).contains(&"ClaimTaken".to_owned()),
        "nobody held it before"
    );
    object.claim = Verdict {
        lost: true,
        ..Verdict::contends(Ownership::AccessNotProven)
    };
    object.observe(&observed(&protected()));
    assert!(reasons(&object).contains(&"ClaimLost".to_owned()));
    assert_eq!(object.status.claim.as_ref().unwrap().state, "None");
    object.claim = Verdict::waits(None);
    object.observe(&observed(&protected()));
    object.claim = Verdict::holds();
    object.observe(&observed(&protected()));
    assert!(reasons(&object).contains(&"ClaimTaken".to_owned()));
}

#[test]
fn a_regained_claim_is_adopted_again() {
    let mut object = Object::in_sync(Tier::P2);
    assert!(object.status.claim.as_ref().unwrap().established_since.is_some());
    object.claim = Verdict::waits(None);
    object.observe(&observed(&protected()));
    object.claim = Verdict::holds();
    object.edit(|spec| spec.plan.tier = Tier::P1);
    let decision = object.observe(&observed(&protected()));
    assert_eq!(decision.changes, []);
    object
        .expect("False", "ReductionNeedsApproval", "plan.tier=P1")
        .secondary("Stalled");
}

#[test]
fn what_a_backup_established_does_not_count() {
    let mut object = Object::in_sync(Tier::P2);
    object.status.claim.as_mut().unwrap().uid = Some("of the backup".into());
    object.edit(|spec| spec.plan.tier = Tier::P1);
    assert_eq!(object.observe(&observed(&protected())).changes, []);
    object.expect("False", "ReductionNeedsApproval", "plan.tier=P1");
}

#[test]
fn lowering_at_adoption_waits_for_approval() {
    let mut object = Object::of(Tier::P1);
    object.spec.vulnerability_assessment.state = serverprotection_api::State::Disabled;
    let decision = object.observe(&observed(&protected()));
    assert_eq!(decision.changes, []);
    object
        .expect(
            "False",
            "ReductionNeedsApproval",
            "approve-reduction: \"plan.tier=P1,vulnerabilityAssessment.state=Disabled\"",
        )
        .secondary("Stalled");
    // An approval of one of them: the annotation must have both.
    object.approval = Some("plan.tier=P1".into());
    assert_eq!(object.observe(&observed(&protected())).changes, []);
    object.expect(
        "False",
        "ReductionNeedsApproval",
        "protection (vulnerabilityAssessment.state:",
    );
    object.expect(
        "False",
        "ReductionNeedsApproval",
        "is \"plan.tier=P1\", which does not approve this. Change the spec, or approve with the annotation serverprotection.dev/approve-reduction: \"plan.tier=P1,vulnerabilityAssessment.state=Disabled\"",
    );
    // An entry of another form.
    object.approval = Some("P1, vulnerabilityAssessment.state=Enabled".into());
    assert_eq!(object.observe(&observed(&protected())).changes, []);
    object.expect(
        "False",
        "ReductionNeedsApproval",
        "is \"P1, vulnerabilityAssessment.state=Enabled\", which does not approve this.",
    );
    object.approval = Some("plan.tier=P1, vulnerabilityAssessment.state=Disabled".into());
    assert!(object.decide(&observed(&protected())).writes_plan());
}

#[test]
fn the_heartbeat_moves_hourly_and_nothing_else_does() {
    let mut object = Object::in_sync(Tier::P2);
    let first = object.status.clone();
    for _ in 0..5 {
        object.sleep(Duration::from_secs(600));
        object.observe(&observed(&protected()));
        assert_eq!(object.status, first);
    }
    object.sleep(Duration::from_secs(600));
    object.observe(&observed(&protected()));
    assert_eq!(object.status.last_observed_time.as_ref().unwrap().0, object.now);
    let mut same = object.status.clone();
    same.last_observed_time.clone_from(&first.last_observed_time);
    assert_eq!(same, first);
}

/// Azure reports the remaining days of the trial; the end in status does not change.
#[test]
fn the_end_of_the_free_trial_does_not_change() {
    let mut object = Object::of(Tier::P2);
    let mut actual = protected();
    let day = 24 * 3600;
    actual.plan.free_trial_remaining = Some(Duration::from_secs(30 * day));
    object.observe(&observed(&actual));
    let ends = object.status.plan.as_ref().unwrap().free_trial_end_time.clone();
    assert!(ends.is_some());
    for hour in 1..(10 * 24) {
        object.sleep(Duration::from_secs(3600));
        let gone = hour * 3600 / day;
        actual.plan.free_trial_remaining = Some(Duration::from_secs((30 - gone) * day));
        object.observe(&observed(&actual));
        assert_eq!(
            object.status.plan.as_ref().unwrap().free_trial_end_time,
            ends,
            "hour {hour}"
        );
    }
    actual.plan.free_trial_remaining = Some(Duration::ZERO);
    object.observe(&observed(&actual));
    assert_eq!(object.status.plan.as_ref().unwrap().free_trial_end_time, None);
}

#[test]
fn the_table_of_azure_rules_matches_the_api() {
    for (name, p1, p2) in [
        (ExtensionName::AgentlessScanning, false, true),
        (ExtensionName::FileIntegrityMonitoring, false, true),
        (ExtensionName::DirectOnboarding, true, true),
    ] {
        for known in [true, false] {
            assert!(!azure_rules::offered(&name, Tier::Free, known));
            assert_eq!(azure_rules::offered(&name, Tier::P1, known), p1);
            assert_eq!(azure_rules::offered(&name, Tier::P2, known), p2);
        }
    }
    let new = ExtensionName::Other("New".into());
    assert!(azure_rules::offered(&new, Tier::P1, true) && !azure_rules::offered(&new, Tier::P1, false));
}

/// Drift that appears and disappears while the API server is unavailable changes no transition time.
#[test]
fn transition_times_count_from_the_acknowledged_status() {
    let since = |object: &Object, type_: &str| {
        let condition = conditions::get(&object.status.conditions, type_).unwrap();
        condition.last_transition_time.clone()
    };
    let mut object = Object::in_sync(Tier::P2);
    let acknowledged = object.status.clone();
    object.sleep(Duration::from_secs(60));
    object.write(&observed(&blank()));
    let mut gone = object.status.conditions.clone();
    conditions::after_unsaved(&mut gone, &acknowledged.conditions, object.now);
    assert_eq!(
        gone, object.status.conditions,
        "a condition that changed keeps its new transition time"
    );
    object.sleep(Duration::from_secs(60));
    object.observe(&observed(&protected()));
    assert_ne!(
        since(&object, "Ready"),
        acknowledged.conditions[0].last_transition_time
    );
    conditions::after_unsaved(
        &mut object.status.conditions,
        &acknowledged.conditions,
        object.now,
    );
    assert_eq!(
        since(&object, "Ready"),
        acknowledged.conditions[0].last_transition_time
    );
}

#[test]
fn connectors_are_counted_and_do_not_decide_about_ready() {
    let not_ready = |name: &str| NotReady {
        name: name.into(),
        reason: "CloudAuthenticationFailed".into(),
    };
    let mut object = Object::in_sync(Tier::P2);
    object.reason("ConnectorsReady", "Unknown", "NotObserved");
    for (total, names, summary, status, reason) in [
        (0, &[][..], "0/0", "True", "NoConnectors"),
        (3, &[][..], "3/3", "True", "AllReady"),
        (3, &["gcp"][..], "2/3", "False", "NotReady"),
    ] {
        object.connectors = Some(Connectors {
            total,
            not_ready: names.iter().copied().map(not_ready).collect(),
        });
        object.observe(&observed(&protected()));
        object
            .expect("True", "InSync", "")
            .reason("ConnectorsReady", status, reason);
        assert_eq!(object.columns().connectors.as_deref(), Some(summary));
    }
    let (.., message) = object.condition("ConnectorsReady");
    assert!(message.contains("gcp (CloudAuthenticationFailed)"), "{message}");
    // A status refresh gives the same result, and a connector that becomes Ready again is an event.
    let back = Connectors {
        total: 3,
        not_ready: Vec::new(),
    };
    let refresh = Refresh {
        scans: None,
        connectors: Some(&back),
    };
    let after = refreshed(&object.status, &object.spec, refresh, object.now);
    let reasons = of_refresh(&object.status, &after);
    assert_eq!(reasons.len(), 1);
    assert_eq!(reasons[0].reason, "ConnectorsReady");
    assert!(of_refresh(&after, &object.status)[0].warning);
}
