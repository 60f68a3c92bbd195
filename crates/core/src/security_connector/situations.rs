//! The situations, row by row, for the four shapes: Ready, the conditions beside it, and the next step in the message.

mod arc_providers;
mod blocked;
mod deleting;

use std::time::Duration;

use serde_json::json;
use serverprotection_api::{ConnectorIssue, Mode, Tier};

use super::{
    changes::Action,
    decide::{MachineCounts, Observation, Outcome, Situation},
    expected::{Expected, ObservedValue},
    field::ConnectorField,
    observed::{HealthReport, Observed},
    samples::{Object, aws, failure, gcp, protection, put, report, shapes},
};
use crate::{
    azure_error::{ErrorClass, SignInCause},
    reading::Permissions,
};

#[test]
fn each_shape_is_created_and_then_in_sync_without_a_write() {
    for (shape, spec) in shapes() {
        let mut object = Object::new(spec);
        let decision = object.write();
        assert_eq!(decision.situation, Situation::Writing, "{shape}");
        object
            .expect("False", "Progressing", "connector aws-prod (new)")
            .secondary("Reconciling")
            .reason("CloudAuthenticated", "True", "SignedIn");
        assert_eq!(object.wait, Duration::ZERO);
        let decision = object.observe();
        assert_eq!(
            (decision.situation, decision.differences),
            (Situation::InSync, Vec::new()),
            "{shape}"
        );
        object
            .expect("True", "InSync", "")
            .secondary("")
            .reason("Claimed", "True", "Held")
            .reason("ConnectorConfigured", "True", "Configured")
            .reason("Drifted", "False", "NoDrift")
            .reason("Healthy", "Unknown", "NotReported")
            .reason("PermissionsSufficient", "True", "Sufficient");
        let status = &object.status;
        assert_eq!(status.tier.as_deref(), Some("P2"));
        assert_eq!(status.health.as_deref(), Some("Unknown"));
        assert!(status.claim.as_ref().unwrap().established_since.is_some());
        assert!(status.free_trial_end_time.is_some());
        // The next reconcile without changes leaves status as it is.
        let before = object.status.clone();
        object.sleep(object.wait);
        object.observe();
        assert_eq!(object.status, before, "{shape}");
    }
}

#[test]
fn a_resource_group_is_created_only_if_the_spec_allows_it() {
    for (_, spec) in shapes() {
        let mut object = Object::new(spec);
        object.group = false;
        object.observe();
        object
            .expect("False", "ResourceGroupMissing", "set createResourceGroup to true")
            .secondary("Stalled");
        object.edit(|spec| spec.create_resource_group = true);
        let decision = object.write();
        let actions: Vec<_> = decision.changes.iter().map(|change| &change.action).collect();
        assert!(matches!(
            actions.as_slice(),
            [Action::CreateResourceGroup { .. }, Action::PutConnector(_)]
        ));
        object.observe();
        object.expect("True", "InSync", "");
    }
}

#[test]
fn a_connector_is_adopted_and_the_first_status_shows_what_differed() {
    for (shape, spec) in shapes() {
        let mut object = Object::in_sync(spec);
        object.set_in_azure(ConnectorField::ScanInterval, ObservedValue::Hours(12));
        object.status = serverprotection_api::SecurityConnectorStatus::default();
        let decision = object.write();
        assert_eq!(decision.situation, Situation::Writing, "{shape}");
        let drift = &object.status.drift;
        assert_eq!(drift.len(), 1, "{drift:?}");
        let reported = (
            drift[0].field.as_str(),
            drift[0].desired.as_str(),
            drift[0].observed.as_str(),
        );
        assert_eq!(reported, ("scanInterval", "4h", "12h"));
        object.observe();
        object.expect("True", "InSync", "");
    }
}

#[test]
fn sign_in_failures_are_retried_with_pauses() {
    let class = ErrorClass::CloudAuthentication(SignInCause::IdentityProvider);
    let refused = failure(class, "CloudAuthenticationFailed", "PUT securityConnectors");
    let mut object = Object::new(aws(json!({})));
    let mut waits = Vec::new();
    for _ in 0..4 {
        object.fail(refused.clone());
        object
            .expect("False", "CloudAuthenticationFailed", "OIDC identity provider")
            .secondary("Reconciling")
            .reason("CloudAuthenticated", "False", "CloudAuthenticationFailed")
            .reason("ConnectorConfigured", "False", "CloudAuthenticationFailed");
        // A reconcile for another reason during the pause writes nothing.
        object.sleep(Duration::from_secs(60));
        assert_eq!(object.observe().situation, Situation::WaitingForCloud);
        object.expect("False", "CloudAuthenticationFailed", "OIDC identity provider");
        waits.push(object.wait.as_secs() / 60);
        object.sleep(object.wait);
    }
    assert_eq!(waits, [4, 9, 14, 14]);
    object.write();
    object.reason("CloudAuthenticated", "True", "SignedIn");
    object.observe();
    object.expect("True", "InSync", "");

    // An edit is written at once.
    let mut object = Object::new(aws(json!({})));
    object.fail(refused);
    object.edit(|spec| spec.scan_interval = "6h".into());
    assert_eq!(object.observe().situation, Situation::Writing);
}

#[test]
fn failures_are_reported_with_the_next_step() {
    for (class, code, ready, secondary) in [
        (
            ErrorClass::Refused,
            "RequestDisallowedByPolicy",
            "RequestDisallowedByPolicy",
            "Stalled",
        ),
        (
            ErrorClass::Permission(None),
            "AuthorizationFailed",
            "AuthorizationFailed",
            "Stalled",
        ),
        (ErrorClass::Conflict, "Conflict", "Progressing", "Reconciling"),
        (
            ErrorClass::Transient,
            "GatewayTimeout",
            "Progressing",
            "Reconciling",
        ),
    ] {
        let mut object = Object::new(aws(json!({})));
        object.fail(failure(class, code, "PUT securityConnectors"));
        object.expect("False", ready, "").secondary(secondary);
    }
    let mut object = Object::in_sync(aws(json!({})));
    let before = object.status.clone();
    let broken = Observed {
        connector: Some(Err(failure(ErrorClass::Transient, "503", "GET"))),
        ..object.observed()
    };
    for _ in 0..2 {
        object.reconcile(Observation::Azure(&broken), |_| Outcome::default());
        assert_eq!(object.status, before);
    }
    object.reconcile(Observation::Azure(&broken), |_| Outcome::default());
    object
        .expect("Unknown", "ObservationStale", "")
        .secondary("Reconciling");

    let mut object = Object::new(aws(json!({})));
    let denied = failure(ErrorClass::Credential, "AADSTS7000215", "token");
    let observed = Observed::without_credential(denied);
    object.reconcile(Observation::Azure(&observed), |_| Outcome::default());
    object
        .secondary("Stalled")
        .reason("CredentialReady", "False", "AuthenticationFailed");
    let lacking = Observed {
        permissions: Some(Ok(Permissions {
            grants: vec![(vec!["*/read".into()], Vec::new())],
        })),
        ..object.observed()
    };
    object.reconcile(Observation::Azure(&lacking), |_| Outcome::default());
    object.reason("PermissionsSufficient", "False", "MissingPermission");
}

#[test]
fn without_the_list_of_others_nothing_is_created() {
    let mut object = Object::new(aws(json!({})));
    let unread = [
        None,
        Some(Err(failure(
            ErrorClass::Permission(None),
            "AuthorizationFailed",
            "GET",
        ))),
    ];
    for others in unread {
        let observed = Observed {
            others,
            ..object.observed()
        };
        let decision = object.reconcile(Observation::Azure(&observed), |_| Outcome::default());
        assert!(decision.changes.is_empty());
        assert!(matches!(decision.situation, Situation::Failing(_)));
    }
}

#[test]
fn a_missing_registration_is_awaited_where_the_protection_registers_and_else_reported() {
    for (registers, reason, secondary) in [
        (true, "Progressing", "Reconciling"),
        (false, "ProviderNotRegistered", "Stalled"),
    ] {
        let mut object = Object::new(aws(json!({})));
        object.protection.as_mut().unwrap().registers = registers;
        let observed = Observed {
            connector: Some(Err(failure(
                ErrorClass::NotRegistered,
                "Subscription Not Registered",
                "GET",
            ))),
            ..object.observed()
        };
        let decision = object.reconcile(Observation::Azure(&observed), |_| Outcome::default());
        assert_eq!(decision.changes, []);
        object.expect("False", reason, "egister");
        assert_eq!(object.condition(secondary).0, "True", "{reason}");
        assert_eq!(
            object.wait <= Duration::from_secs(30),
            registers,
            "{:?}",
            object.wait
        );
    }
}

#[test]
fn observe_and_suspend_write_nothing() {
    for (_, spec) in shapes() {
        let mut object = Object::new(spec);
        object.protection.as_mut().unwrap().mode = Mode::Observe;
        assert!(object.observe().changes.is_empty());
        object
            .expect("True", "Observed", "connectorName")
            .reason("Drifted", "True", "Differs");
        object.spec.suspend = true;
        object.generation += 1;
        object.reconcile(Observation::Suspended, |_| Outcome::default());
        object
            .expect("True", "Suspended", "Observed: ")
            .reason("Suspended", "True", "SuspendedBySpec")
            .reason("Drifted", "True", "Differs");
        let (_, _, drifted) = object.condition("Drifted");
        assert!(
            drifted
                .starts_with("Azure differed from the spec when it was last read: connectorName: none -> "),
            "{drifted}"
        );
        object.spec.scan_interval = "8h".into();
        object.generation += 1;
        object.reconcile(Observation::Suspended, |_| Outcome::default());
        object.expect("Unknown", "Suspended", "has not been compared");
        object.spec.suspend = false;
        object.generation += 1;
        object.observe();
        object.expect("True", "Observed", "connectorName");
        assert_eq!(object.condition("Suspended").0, "");
    }
}

#[test]
fn a_foreign_change_that_recurs_is_contested() {
    let mut object = Object::in_sync(aws(json!({})));
    for _ in 0..3 {
        object.set_in_azure(ConnectorField::ScanInterval, ObservedValue::Hours(24));
        assert!(put(&object.write()).is_some());
        object.observe();
        object.expect("True", "InSync", "");
        object.sleep(Duration::from_secs(600));
    }
    object.set_in_azure(ConnectorField::ScanInterval, ObservedValue::Hours(24));
    let decision = object.observe();
    assert_eq!(decision.situation, Situation::Contested);
    object
        .expect("False", "Contested", "scanInterval")
        .reason("Contested", "True", "Suppressed");
    // Other fields are still repaired, and the contested field keeps its observed value.
    object.edit(|spec| {
        spec.tags.insert("ours".into(), "1".into());
    });
    let write = put(&object.observe()).unwrap().clone();
    let writes = |field| write.fields.iter().any(|it| it.field == field);
    assert!(!writes(ConnectorField::ScanInterval) && writes(ConnectorField::Tag("ours".into())));
    assert!(writes(ConnectorField::Tier), "a PUT contains every other field");
}

#[test]
fn a_write_that_is_not_visible_settles_first() {
    let mut object = Object::in_sync(aws(json!({})));
    object.edit(|spec| spec.scan_interval = "6h".into());
    let stale = object.connector.clone();
    object.write();
    object.connector = stale;
    assert_eq!(object.observe().situation, Situation::Settling);
    object
        .expect("False", "Progressing", "scanInterval")
        .secondary("Reconciling");
    object.sleep(Duration::from_secs(600));
    assert_eq!(object.observe().situation, Situation::Writing);
}

#[test]
fn health_is_what_azure_reports_or_what_appears() {
    let mut object = Object::in_sync(aws(json!({})));
    let mut sick = report("NotHealthy");
    sick.issues.push(ConnectorIssue {
        name: "StackSet".into(),
        message: "does not exist".into(),
        remedy: Some("create it".into()),
    });
    let other = HealthReport {
        component: "Other".into(),
        ..report("NotHealthy")
    };
    let machines = Some(MachineCounts {
        total: 3,
        eligible: 2,
        protected: 1,
    });
    for (reports, machines, health, condition) in [
        (vec![], None, "Unknown", ("Unknown", "NotReported")),
        (vec![other], None, "Unknown", ("Unknown", "NotReported")),
        (
            vec![report("NotApplicable")],
            None,
            "Unknown",
            ("Unknown", "NotReported"),
        ),
        (vec![], machines, "Healthy", ("True", "MachinesAppear")),
        (vec![report("healthy")], None, "Healthy", ("True", "Connected")),
        (
            vec![report("Healthy"), sick.clone()],
            machines,
            "NotHealthy",
            ("False", "NotConnected"),
        ),
    ] {
        (object.health, object.machines) = (reports, machines);
        object.observe();
        object
            .expect("True", "InSync", "")
            .reason("Healthy", condition.0, condition.1);
        assert_eq!(object.status.health.as_deref(), Some(health));
    }
    assert_eq!(object.status.issues, sick.issues);
    assert!(object.condition("Healthy").2.contains("create it"));
    let columns = object.status.display.unwrap();
    assert_eq!(columns.machines.as_deref(), Some("1/2"));
}

#[test]
fn a_tier_without_servers_leaves_the_offering_out() {
    for (shape, mut spec) in shapes() {
        spec.plan = None;
        let mut object = Object::in_sync(spec);
        object.protection = Some(protection(Tier::Free));
        assert!(!put(&object.write()).unwrap().servers);
        object.observe();
        object.expect("True", "InSync", "");
        assert_eq!(object.status.tier.as_deref(), Some("Free"), "{shape}");
        object.protection = Some(protection(Tier::P1));
        assert!(put(&object.write()).unwrap().servers);
        object.observe();
        assert_eq!(object.status.tier.as_deref(), Some("P1"), "{shape}");
    }
}

#[test]
fn a_move_to_p1_switches_agentless_scanning_off() {
    // Azure refuses the two together.
    let mut object = Object::in_sync(aws(json!({"agentlessScanning": {"state": "Enabled"}})));
    object.edit(|spec| {
        spec.agentless_scanning = None;
        spec.plan = Some(serverprotection_api::ConnectorPlan { tier: Tier::P1 });
    });
    let write = put(&object.write()).unwrap().clone();
    let state = write
        .fields
        .iter()
        .find(|it| it.field == ConnectorField::AgentlessState);
    assert_eq!(
        state.map(|it| (&it.value, it.changes)),
        Some((&Expected::Flag(false), true))
    );
}

#[test]
fn a_proxys_password_is_not_shown() {
    for (stored, shown) in [
        ("http://me:secret@b:1", "http://***@b:1"),
        ("me:secret@b:1", "***@b:1"),
    ] {
        let mut object = Object::in_sync(gcp(
            json!({"autoProvisioning": {"arcAgent": {"proxy": "http://a:1"}}}),
        ));
        let proxy = ObservedValue::Text(stored.into());
        object.set_in_azure(ConnectorField::ArcAgentProxy, proxy);
        object.observe();
        let reported = serde_json::to_string(&object.status).unwrap();
        assert!(
            reported.contains(shown) && !reported.contains("secret"),
            "{reported}"
        );
    }
}

#[test]
fn the_address_of_a_service_account_is_shown() {
    let mut object = Object::in_sync(gcp(json!({})));
    let other = ObservedValue::Text("other@my-project.iam.gserviceaccount.com".into());
    object.set_in_azure(ConnectorField::GcpServersServiceAccount, other);
    object.observe();
    let reported = serde_json::to_string(&object.status).unwrap();
    assert!(
        reported.contains("other@my-project.iam.gserviceaccount.com"),
        "{reported}"
    );
}
