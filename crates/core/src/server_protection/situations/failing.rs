//! Each error class, on a read and on a write; and the registration.

use std::time::Duration;

use serverprotection_api::{Registration, Tier};

use super::{Object, blank, failure, observed, protected, unregistered};
use crate::{
    azure_error::ErrorClass,
    server_protection::{
        changes::Action,
        observed::{Observed, RegistrationState},
    },
};

/// Class, code, and words of the next step; the reason is the code.
fn errors_that_need_user_action() -> Vec<(ErrorClass, &'static str, &'static str)> {
    vec![
        (
            ErrorClass::Credential,
            "InvalidAuthenticationTokenTenant",
            "tenantId",
        ),
        (
            ErrorClass::Permission(None),
            "AuthorizationFailed",
            "role with this action",
        ),
        (ErrorClass::NotFound, "SubscriptionNotFound", "subscriptionId"),
        (
            ErrorClass::Refused,
            "ReadOnlyDisabledSubscription",
            "Enable the subscription",
        ),
        (ErrorClass::Refused, "ScopeLocked", "Remove the read-only lock"),
        (
            ErrorClass::Refused,
            "RequestDisallowedByPolicy",
            "Exempt the subscription",
        ),
        (ErrorClass::Refused, "InvalidInputJson", "Change the spec"),
    ]
}

fn unreadable(class: ErrorClass, code: &str) -> Observed {
    Observed {
        plan: Some(Err(failure(class, code, "GET pricings/VirtualMachines"))),
        ..observed(&protected())
    }
}

#[test]
fn a_read_error_that_needs_user_action_stalls_at_once() {
    for (class, code, next_step) in errors_that_need_user_action() {
        let mut object = Object::in_sync(Tier::P2);
        object.observe(&unreadable(class, code));
        object.expect("False", code, next_step).secondary("Stalled");
        assert!(object.wait >= Duration::from_secs(270) && object.wait <= Duration::from_secs(330));
    }
}

#[test]
fn a_write_error_that_needs_user_action_stalls_at_once() {
    for (class, code, next_step) in errors_that_need_user_action() {
        let mut object = Object::of(Tier::P2);
        object.fail(
            &observed(&blank()),
            failure(class, code, "PUT pricings/VirtualMachines"),
        );
        object.expect("False", code, next_step).secondary("Stalled");
        assert!(object.status.claim.as_ref().unwrap().established_since.is_none());
    }
}

#[test]
fn a_denied_action_is_named() {
    let action = "Microsoft.Security/pricings/write";
    let mut object = Object::of(Tier::P2);
    let denied = failure(
        ErrorClass::Permission(Some(action.into())),
        "AuthorizationFailed",
        "PUT pricings",
    );
    object.fail(&observed(&blank()), denied);
    object.reason("PermissionsSufficient", "False", "MissingPermission");
    assert!(object.condition("PermissionsSufficient").2.contains(action));
}

#[test]
fn a_refused_secret_says_how_to_fix_it() {
    for (code, next_step) in [
        ("AADSTS7000215", "valid client secret"),
        ("AADSTS7000222", "valid client secret"),
        ("AADSTS90002", "tenantId"),
        ("AADSTS700016", "clientId"),
        ("AADSTS70021", "federated credential"),
        ("SomethingElse", "AzureCredential"),
    ] {
        let mut object = Object::of(Tier::P2);
        object.observe(&Observed::without_credential(failure(
            ErrorClass::Credential,
            code,
            "POST token",
        )));
        let reason = if code.starts_with("AADSTS") {
            "AuthenticationFailed"
        } else {
            code
        };
        object
            .expect("False", reason, next_step)
            .secondary("Stalled")
            .reason("CredentialReady", "False", reason);
    }
}

#[test]
fn transient_read_errors_change_nothing_until_the_third() {
    for class in [
        ErrorClass::Transient,
        ErrorClass::Unavailable(Duration::from_secs(17)),
        ErrorClass::Conflict,
        ErrorClass::Throttled(Some(Duration::from_secs(17))),
    ] {
        let mut object = Object::in_sync(Tier::P2);
        let before = object.status.clone();
        for _ in 0..2 {
            object.observe(&unreadable(class.clone(), "ServerTimeout"));
            assert_eq!(object.status, before);
        }
        object.observe(&unreadable(class.clone(), "ServerTimeout"));
        object
            .expect("Unknown", "ObservationStale", "")
            .secondary("Reconciling");
        assert_eq!(object.status.drift_count, Some(0), "what was known stays");
        // The message contains neither a countdown nor a count.
        let third = object.status.clone();
        for seconds in [16, 15, 14] {
            let class = match &class {
                ErrorClass::Throttled(_) => ErrorClass::Throttled(Some(Duration::from_secs(seconds))),
                ErrorClass::Unavailable(_) => ErrorClass::Unavailable(Duration::from_secs(seconds)),
                other => other.clone(),
            };
            object.sleep(Duration::from_secs(60));
            object.observe(&unreadable(class, "ServerTimeout"));
            assert_eq!(object.status, third);
        }
        object.observe(&observed(&protected()));
        object.expect("True", "InSync", "").secondary("");
    }
}

#[test]
fn the_first_failure_of_a_new_spec_is_reported_at_once() {
    let mut object = Object::in_sync(Tier::P2);
    object.edit(|spec| spec.interval = "20m".into());
    object.observe(&unreadable(ErrorClass::Transient, "ServerTimeout"));
    object
        .expect("Unknown", "Progressing", "")
        .secondary("Reconciling");
    assert_eq!(object.status.observed_generation, Some(2));
}

#[test]
fn transient_write_errors_are_progress() {
    for (class, why, reports) in [
        (ErrorClass::Conflict, "UpdateInProgress", "update"),
        (
            ErrorClass::Throttled(Some(Duration::from_secs(17))),
            "Throttled",
            "throttles",
        ),
        (ErrorClass::Transient, "Retrying", "retries"),
        (
            ErrorClass::Unavailable(Duration::from_secs(17)),
            "Retrying",
            "retries",
        ),
    ] {
        let mut object = Object::of(Tier::P2);
        object.fail(
            &observed(&blank()),
            failure(class, "SomeCode", "PUT pricings/VirtualMachines"),
        );
        object
            .expect("False", "Progressing", reports)
            .secondary("Reconciling")
            .reason("Reconciling", "True", why);
        assert!(!object.condition("Ready").2.contains("17"), "a countdown");
    }
}

#[test]
fn no_retry_is_earlier_than_azure_requested() {
    let wait = Duration::from_secs(97);
    for class in [ErrorClass::Throttled(Some(wait)), ErrorClass::Unavailable(wait)] {
        let mut object = Object::of(Tier::P2);
        object.fail(&observed(&blank()), failure(class.clone(), "SomeCode", "PUT"));
        assert!(object.wait >= wait);
        let mut object = Object::in_sync(Tier::P2);
        object.observe(&unreadable(class, "SomeCode"));
        assert!(object.wait >= wait);
    }
}

/// I-7, also for a message that is longer than its limit.
#[test]
fn a_repeated_failure_changes_nothing() {
    // In the second case, the cut is after the request id.
    for length in [10, 920, 5000] {
        let mut object = Object::in_sync(Tier::P2);
        let failing = |id: &str| {
            let mut failure = failure(ErrorClass::Refused, "RequestDisallowedByPolicy", "GET pricings");
            failure.message = "x".repeat(length);
            failure.request_id = Some(id.into());
            Observed {
                subscription: Some(Err(failure)),
                ..observed(&protected())
            }
        };
        object.observe(&failing("one"));
        assert!(object.condition("Ready").2.chars().count() <= 1024);
        let first = object.status.clone();
        object.sleep(Duration::from_secs(300));
        object.observe(&failing("two"));
        assert_eq!(object.status, first, "{length}");
    }
}

#[test]
fn a_missing_registration_is_reported() {
    let mut object = Object::of(Tier::P2);
    object.spec.resource_providers.registration = Registration::Report;
    let decision = object.observe(&unregistered(RegistrationState::NotRegistered));
    assert_eq!(decision.changes, []);
    object
        .expect("False", "ProviderNotRegistered", "az provider register")
        .secondary("Stalled")
        .reason("ProviderRegistered", "False", "NotRegistered");
    // Nothing was compared, so nothing is reported as in sync.
    assert_eq!(object.status.drift_count, None);
    assert_eq!(object.condition("Drifted").0, "Unknown");
}

#[test]
fn a_missing_registration_of_a_known_subscription_does_not_hide_the_drift() {
    let mut object = Object::of(Tier::P2);
    object.spec.resource_providers.registration = Registration::Report;
    object.spec.mode = serverprotection_api::Mode::Observe;
    object.observe(&observed(&blank()));
    object.reason("Drifted", "True", "Differs");
    object.observe(&unregistered(RegistrationState::NotRegistered));
    object
        .expect("False", "ProviderNotRegistered", "")
        .reason("Drifted", "True", "Differs");
    assert_eq!(object.status.drift_count, Some(4));
}

#[test]
fn a_missing_registration_is_started() {
    let mut object = Object::of(Tier::P2);
    let decision = object.write(&unregistered(RegistrationState::NotRegistered));
    assert_eq!(decision.changes[0].action, Action::Register);
    object.expect("False", "Progressing", "").secondary("Reconciling");
    assert!(
        object.status.claim.as_ref().unwrap().established_since.is_none(),
        "a registration says nothing about the configuration"
    );
    object.observe(&unregistered(RegistrationState::Registering));
    object
        .expect("False", "Progressing", "")
        .secondary("Reconciling")
        .reason("ProviderRegistered", "False", "Registering");
    assert!(object.wait <= Duration::from_secs(30));
    object.sleep(Duration::from_secs(1801));
    object.observe(&unregistered(RegistrationState::Registering));
    object
        .expect("False", "RegistrationStuck", "open a support case")
        .secondary("Stalled");
    object.sleep(Duration::from_secs(300));
    object.observe(&unregistered(RegistrationState::Registering));
    object
        .expect("False", "RegistrationStuck", "")
        .secondary("Stalled");
    object.observe(&observed(&protected()));
    object
        .expect("True", "InSync", "")
        .reason("ProviderRegistered", "True", "Registered");
}

#[test]
fn a_registration_that_has_not_reached_the_provider_is_awaited() {
    let mut object = Object::of(Tier::P2);
    object.observe(&observed(&protected()));
    object.expect("True", "InSync", "");
    let decision = object.observe(&unregistered(RegistrationState::Registered));
    assert_eq!(decision.changes, []);
    object
        .expect("False", "Progressing", "")
        .secondary("Reconciling")
        .reason("ProviderRegistered", "False", "Registering");
    object.sleep(Duration::from_secs(1801));
    object.observe(&unregistered(RegistrationState::Registered));
    object
        .expect("False", "RegistrationStuck", "")
        .secondary("Stalled");
    object.observe(&observed(&protected()));
    object
        .expect("True", "InSync", "")
        .reason("ProviderRegistered", "True", "Registered");
}

#[test]
fn a_registration_that_could_not_be_read_for_a_moment_is_not_stalled() {
    let mut object = Object::of(Tier::P2);
    for _ in 0..5 {
        let decision = object.observe(&Observed {
            registration: Some(Err(failure(ErrorClass::Transient, "Http503", "GET providers"))),
            ..unregistered(RegistrationState::NotRegistered)
        });
        assert_eq!(decision.changes, []);
        object.secondary("Reconciling");
        object.sleep(Duration::from_secs(300));
    }
    object.expect("Unknown", "ObservationStale", "read providers");
}

#[test]
fn after_a_write_that_needs_the_registration_the_registration_is_read() {
    let mut object = Object::of(Tier::P2);
    let missing = failure(
        ErrorClass::NotRegistered,
        "MissingSubscriptionRegistration",
        "PUT pricings",
    );
    object.fail(&observed(&blank()), missing);
    object
        .expect("False", "Progressing", "registration")
        .secondary("Reconciling");
    assert!(object.wait <= Duration::from_secs(33), "{:?}", object.wait);
}

#[test]
fn a_registration_that_was_missing_for_days_is_not_stuck_at_once() {
    let mut object = Object::of(Tier::P2);
    object.spec.resource_providers.registration = Registration::Report;
    object.observe(&unregistered(RegistrationState::NotRegistered));
    object.sleep(Duration::from_secs(3 * 24 * 3600));
    object.edit(|spec| spec.resource_providers.registration = Registration::Register);
    object.write(&unregistered(RegistrationState::NotRegistered));
    object.sleep(Duration::from_secs(2));
    object.observe(&unregistered(RegistrationState::Registering));
    object.expect("False", "Progressing", "").secondary("Reconciling");
    object.sleep(Duration::from_secs(1801));
    object.observe(&unregistered(RegistrationState::Registering));
    object.expect("False", "RegistrationStuck", "");
}
