//! The rows of the situations in which the object is deleted.

use std::time::Duration;

use serde_json::json;
use serverprotection_api::{ConnectorDeletionPolicy, SecurityConnectorStatus};

use crate::{
    azure_error::{AzureError, ErrorClass},
    jiff::SignedDuration,
    reading::ReadResult,
    security_connector::{
        deletion::{Deletion, Input as DeletionInput, RemovalReason, deletion, needs_finalizer},
        events::{finalizer_removed, unreadable_finalizer_removed},
        observed::Connector,
        samples::{Object, aws, failure},
        status::deleting,
    },
    written_statuses,
};

const DEADLINE: Duration = Duration::from_secs(900);

#[test]
fn a_deletion_ends_and_deletes_only_what_was_held() {
    let mut object = Object::in_sync(aws(json!({})));
    assert!(!needs_finalizer(&object.spec));
    object.spec.deletion_policy = ConnectorDeletionPolicy::Delete;
    assert!(needs_finalizer(&object.spec));
    let there: ReadResult<Option<Connector>> = Ok(object.connector.clone());
    let gone = Ok(None);
    let unreadable = Err(failure(ErrorClass::Refused, "ScopeLocked", "DELETE"));
    let id = object.status.target.as_ref().unwrap().id.clone();
    let base = DeletionInput {
        uid: "u",
        spec: &object.spec,
        previous: &object.status,
        force: None,
        other: None,
        observes: None,
        connector: Some(&there),
        tried: true,
        requested: object.now,
        deadline: DEADLINE,
        now: object.now,
    };
    let late = object.now.checked_add(SignedDuration::from_mins(15)).unwrap();
    let of = |input: DeletionInput<'_>| deletion(&input);
    // The ServerProtection is gone, and the connector is still deleted.
    assert_eq!(of(base), Deletion::Delete { id: id.clone() });
    assert_eq!(
        of(DeletionInput {
            connector: None,
            ..base
        }),
        Deletion::Read { id: id.clone() }
    );
    let let_go = |input: DeletionInput<'_>, why: RemovalReason| {
        assert_eq!(of(input), Deletion::RemoveFinalizer(why));
    };
    let_go(
        DeletionInput {
            connector: Some(&gone),
            ..base
        },
        RemovalReason::Gone,
    );
    let_go(
        DeletionInput {
            force: Some("true"),
            ..base
        },
        RemovalReason::Forced,
    );
    let_go(
        DeletionInput {
            other: Some("a/b"),
            ..base
        },
        RemovalReason::OtherOwner("a/b".into()),
    );
    let_go(
        DeletionInput {
            observes: Some(true),
            ..base
        },
        RemovalReason::Withheld,
    );
    let_go(
        DeletionInput { now: late, ..base },
        RemovalReason::DeadlinePassed(DEADLINE),
    );
    let_go(
        DeletionInput {
            now: late,
            connector: Some(&unreadable),
            ..base
        },
        RemovalReason::DeadlinePassed(DEADLINE),
    );
    let never = SecurityConnectorStatus::default();
    let_go(
        DeletionInput {
            previous: &never,
            ..base
        },
        RemovalReason::NeverHeld,
    );
    let mut suspended = object.spec.clone();
    suspended.suspend = true;
    let_go(
        DeletionInput {
            spec: &suspended,
            ..base
        },
        RemovalReason::Withheld,
    );
    let retained = aws(json!({}));
    let_go(
        DeletionInput {
            spec: &retained,
            ..base
        },
        RemovalReason::Retained,
    );
}

/// The object is gone, so the event is all that names the connector.
#[test]
fn the_last_event_names_the_connector() {
    let id = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Security/securityConnectors/aws";
    for why in [
        RemovalReason::Forced,
        RemovalReason::Retained,
        RemovalReason::Gone,
        RemovalReason::DeadlinePassed(DEADLINE),
    ] {
        let event = finalizer_removed(&why, Some(id));
        assert!(
            event.note.contains(&format!("Its resource id is {id}.")),
            "{}",
            event.note
        );
        assert!(!finalizer_removed(&why, None).note.contains("resource id"));
    }
    let unreadable = unreadable_finalizer_removed("unknown variant", Some(id));
    assert!(unreadable.note.contains(id), "{}", unreadable.note);
}

#[test]
fn a_deletion_that_waits_reports_the_reason() {
    let object = Object::in_sync(aws(json!({})));
    let locked = failure(ErrorClass::Refused, "ScopeLocked", "DELETE");
    let id = "x".to_owned();
    let status = deleting(
        &object.status,
        7,
        &Deletion::Delete { id },
        Some(&locked),
        DEADLINE,
        "c",
        object.now,
    );
    written_statuses::Object {
        kind: "SecurityConnector",
        generation: 7,
        suspended: false,
        deleting: true,
    }
    .write(&status);
    assert_eq!(status.observed_generation, Some(7));
    let ready = crate::conditions::get(&status.conditions, "Ready").unwrap();
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_str()),
        ("False", "Deleting")
    );
    assert!(
        ready.message.contains("lock")
            && ready
                .message
                .contains("15 minutes, or with the annotation serverprotection.dev/force-remove"),
        "{}",
        ready.message
    );
}

#[test]
fn a_deletion_older_than_its_deadline_is_still_attempted_once() {
    let object = Object::in_sync(aws(json!({"deletionPolicy": "Delete"})));
    let there = Ok(object.connector.clone());
    let late = object.now.checked_add(SignedDuration::from_hours(3)).unwrap();
    let mut input = DeletionInput {
        uid: "u",
        spec: &object.spec,
        previous: &object.status,
        force: None,
        other: None,
        observes: Some(false),
        connector: None,
        tried: false,
        requested: object.now,
        deadline: DEADLINE,
        now: late,
    };
    assert!(matches!(deletion(&input), Deletion::Read { .. }));
    input.connector = Some(&there);
    assert!(matches!(deletion(&input), Deletion::Delete { .. }));
    input.tried = true;
    assert_eq!(
        deletion(&input),
        Deletion::RemoveFinalizer(RemovalReason::DeadlinePassed(DEADLINE))
    );
}

#[test]
fn a_connector_that_now_connects_another_account_is_not_deleted() {
    let mut object = Object::in_sync(aws(json!({"deletionPolicy": "Delete"})));
    object.edit_in_azure(|connector| connector.account = "210987654321".into());
    let other = Ok(object.connector.clone());
    let input = DeletionInput {
        uid: "u",
        spec: &object.spec,
        previous: &object.status,
        force: None,
        other: None,
        observes: Some(false),
        connector: Some(&other),
        tried: true,
        requested: object.now,
        deadline: DEADLINE,
        now: object.now,
    };
    assert_eq!(
        deletion(&input),
        Deletion::RemoveFinalizer(RemovalReason::NotOurs)
    );
    assert!(RemovalReason::NotOurs.leaves_behind() && !RemovalReason::Gone.leaves_behind());
}

/// The process crashed while Azure created the connector, or the response was lost: an existing connector is this
/// object's own and is deleted.
#[test]
fn a_connector_that_was_being_created_is_deleted_although_it_was_never_observed() {
    let spec = aws(json!({"deletionPolicy": "Delete"}));
    let created = Ok(Object::in_sync(spec.clone()).connector);
    let mut lost = Object::new(spec);
    lost.fail(AzureError {
        effect_unknown: true,
        ..failure(ErrorClass::Transient, "GatewayTimeout", "PUT securityConnectors")
    });
    lost.reason("ConnectorConfigured", "Unknown", "Creating");
    let mut died = Object::new(lost.spec.clone());
    died.die();
    died.reason("ConnectorConfigured", "Unknown", "Creating");
    for object in [lost, died] {
        let id = object.status.target.as_ref().unwrap().id.clone();
        let mut input = DeletionInput {
            uid: "u",
            spec: &object.spec,
            previous: &object.status,
            force: None,
            other: None,
            observes: None,
            connector: Some(&created),
            tried: false,
            requested: object.now,
            deadline: DEADLINE,
            now: object.now,
        };
        assert_eq!(deletion(&input), Deletion::Delete { id });
        input.connector = Some(&Ok(None));
        assert_eq!(deletion(&input), Deletion::RemoveFinalizer(RemovalReason::Gone));
    }
}
