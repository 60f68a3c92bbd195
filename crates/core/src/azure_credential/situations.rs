//! The situations of an `AzureCredential`: Ready, the condition beside it, events and waits.

use std::time::Duration;

use serverprotection_api::AzureCredentialStatus;

use super::{
    certificate::Validity,
    events::events,
    history::ReconcileHistory,
    requeue::requeue_after,
    status::{Input, contradicts, recovered, status, with_users},
};
use crate::{
    Timestamp,
    azure_error::{AzureError, ErrorClass},
    conditions::get,
    request::Requested,
    status_reference::{self, Kind},
    written_statuses,
};

const SLOW: Duration = Duration::from_secs(300);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn failure(class: ErrorClass, code: &str) -> Result<(), AzureError> {
    Err(AzureError {
        class,
        code: code.into(),
        message: "why".into(),
        operation: "POST token".into(),
        request_id: None,
        effect_unknown: false,
    })
}

/// An `AzureCredential` over several reconciles.
struct Object {
    status: AzureCredentialStatus,
    history: ReconcileHistory,
    certificate: Option<Validity>,
    generation: i64,
    second: i64,
    /// Reasons of the events of the last reconcile.
    events: Vec<(bool, String)>,
    wait: Duration,
    recovered: bool,
}

impl Object {
    fn new() -> Self {
        Self {
            status: AzureCredentialStatus {
                observed_generation: Some(-1),
                ..AzureCredentialStatus::default()
            },
            history: ReconcileHistory::default(),
            certificate: None,
            generation: 1,
            second: 0,
            events: Vec::new(),
            wait: Duration::ZERO,
            recovered: false,
        }
    }

    fn reconcile(&mut self, token: &Result<(), AzureError>, requested: Option<Requested<'_>>) {
        self.second += 10;
        self.history = self.history.after(token);
        let after = status(&Input {
            generation: self.generation,
            requested,
            previous: &self.status,
            token,
            certificate: self.certificate,
            history: self.history,
            used_by: 3,
            now: at(self.second),
        });
        let events = events(&self.status, &after).into_iter();
        self.events = events.map(|event| (event.warning, event.reason)).collect();
        self.wait = requeue_after(token, self.history, SLOW, 0.5);
        self.recovered = recovered(&self.status, &after);
        self.status = after;
        for kind in ["AzureCredential", "ClusterAzureCredential"] {
            written_statuses::Object {
                kind,
                generation: self.generation,
                suspended: false,
                deleting: false,
            }
            .write(&self.status);
        }
        for condition in &self.status.conditions {
            let (type_, status, reason) = (&condition.type_, &condition.status, &condition.reason);
            let described = status_reference::describes(Kind::AzureCredential, type_, status, reason);
            assert!(described, "{type_} {status}/{reason} is not in status_reference");
        }
    }

    fn expect(&self, ready: (&str, &str), secondary: &str) {
        let all = &self.status.conditions;
        let found = get(all, "Ready").unwrap();
        assert_eq!((found.status.as_str(), found.reason.as_str()), ready);
        let types: Vec<_> = all.iter().map(|one| one.type_.as_str()).collect();
        let expected: Vec<_> = ["Ready", secondary]
            .into_iter()
            .filter(|type_| !type_.is_empty())
            .collect();
        assert_eq!(types, expected);
        assert_eq!(self.status.observed_generation, Some(self.generation));
    }
}

#[test]
fn a_token_makes_it_ready_and_later_ones_change_nothing() {
    let mut object = Object::new();
    object.reconcile(&Ok(()), None);
    object.expect(("True", "TokenIssued"), "");
    assert_eq!(object.status.used_by, Some(3));
    assert!(object.events.is_empty(), "objects that use it have events");
    assert_eq!(object.wait, Duration::from_secs(3600));
    let before = object.status.clone();
    object.reconcile(&Ok(()), None);
    assert_eq!(object.status, before);
}

#[test]
fn a_refused_credential_is_stalled_until_it_works_again() {
    let mut object = Object::new();
    object.reconcile(&failure(ErrorClass::Credential, "AADSTS7000215"), None);
    object.expect(("False", "ClientSecretRefused"), "Stalled");
    assert_eq!(object.events, [(true, "ClientSecretRefused".to_owned())]);
    let message = &get(&object.status.conditions, "Ready").unwrap().message;
    assert!(
        message.contains("AADSTS7000215") && message.contains("Secret"),
        "{message}"
    );
    object.reconcile(&failure(ErrorClass::Credential, "AADSTS7000215"), None);
    assert!(object.events.is_empty() && !object.recovered, "nothing new");
    object.reconcile(&failure(ErrorClass::Credential, "SecretNotFound"), None);
    object.expect(("False", "SecretNotFound"), "Stalled");
    object.reconcile(&failure(ErrorClass::Credential, "AADSTS1"), None);
    object.expect(("False", "AuthenticationFailed"), "Stalled");
    object.reconcile(&Ok(()), None);
    object.expect(("True", "TokenIssued"), "");
    assert_eq!(object.events, [(false, "TokenIssued".to_owned())]);
    assert!(object.recovered);
}

#[test]
fn a_refused_credential_is_tried_again_soon_and_then_slowly() {
    let mut object = Object::new();
    let missing = failure(ErrorClass::Credential, "SecretNotFound");
    let waits: Vec<_> = (0..6)
        .map(|_| {
            object.reconcile(&missing, None);
            object.wait.as_secs()
        })
        .collect();
    assert_eq!(waits, [20, 40, 80, 160, 300, 300]);
    object.reconcile(&Ok(()), None);
    object.reconcile(&missing, None);
    assert_eq!(object.wait, Duration::from_secs(20));
}

#[test]
fn two_transient_errors_change_nothing_and_the_third_makes_it_unknown() {
    let mut object = Object::new();
    let unreachable = failure(ErrorClass::Transient, "EntraUnreachable");
    object.reconcile(&unreachable, None);
    object.expect(("Unknown", "EntraUnreachable"), "Reconciling");
    object.reconcile(&Ok(()), None);
    assert!(!object.recovered, "nobody had to act, and the objects retry soon");
    let ready = object.status.clone();
    for _ in 0..2 {
        object.reconcile(&unreachable, None);
        assert_eq!(object.status, ready);
    }
    assert_eq!(object.wait, Duration::from_secs(2));
    object.reconcile(&unreachable, None);
    object.expect(("Unknown", "EntraUnreachable"), "Reconciling");
    assert!(object.events.is_empty());
    let asked = ErrorClass::Unavailable(Duration::from_secs(600));
    object.reconcile(&failure(asked, "AADSTS90055"), None);
    object.expect(("Unknown", "EntraUnreachable"), "Reconciling");
    assert!(object.wait >= Duration::from_secs(600), "{:?}", object.wait);
}

/// Entra was reached, and retries alone do not help.
#[test]
fn a_refused_certificate_has_a_reason_and_an_event() {
    for code in ["CertificateNotTrusted", "CertificateInvalid"] {
        let mut object = Object::new();
        object.reconcile(&failure(ErrorClass::Transient, code), None);
        object.expect(("Unknown", code), "Reconciling");
        assert_eq!(object.events, [(true, code.to_owned())]);
        object.reconcile(&failure(ErrorClass::Transient, code), None);
        assert!(object.events.is_empty(), "nothing new");
        object.reconcile(&Ok(()), None);
        object.expect(("True", "TokenIssued"), "");
    }
}

/// A user renews it before it is too late, and sees when that is.
#[test]
fn a_client_certificate_warns_before_it_expires() {
    let mut object = Object::new();
    let valid = |from, until| {
        Some(Validity {
            from: at(from),
            until: at(until),
        })
    };
    object.certificate = valid(0, 600);
    object.reconcile(&Ok(()), None);
    object.expect(("True", "TokenIssued"), "");
    let expires = |object: &Object| {
        object
            .status
            .certificate_expiration_time
            .as_ref()
            .map(|time| time.0)
    };
    assert_eq!(expires(&object), Some(at(600)));
    object.second = 500;
    object.reconcile(&Ok(()), None);
    object.expect(("True", "ClientCertificateExpiresSoon"), "");
    assert_eq!(object.events, [(true, "ClientCertificateExpiresSoon".to_owned())]);
    let message = &get(&object.status.conditions, "Ready").unwrap().message;
    assert!(message.contains("expires at 1970-01-01T00:10:00Z"), "{message}");
    let before = object.status.clone();
    object.reconcile(&Ok(()), None);
    assert_eq!(object.status, before, "said once");
    assert!(object.events.is_empty());

    object.second = 600;
    object.reconcile(&failure(ErrorClass::Credential, "ClientCertificateExpired"), None);
    object.expect(("False", "ClientCertificateExpired"), "Stalled");
    assert_eq!(expires(&object), Some(at(600)));
    object.certificate = valid(600, 1200);
    object.reconcile(&Ok(()), None);
    object.expect(("True", "TokenIssued"), "");
    assert_eq!(expires(&object), Some(at(1200)));

    assert!(!contradicts(&object.status, &Ok(()), valid(600, 1200)));
    assert!(contradicts(&object.status, &Ok(()), valid(1100, 1800)), "renewed");

    // The Secret cannot be read.
    object.certificate = None;
    for (class, code, kept) in [
        (ErrorClass::Transient, "SecretUnreadable", Some(at(1200))),
        (ErrorClass::Credential, "TlsSecretNotFound", None),
    ] {
        for _ in 0..3 {
            object.reconcile(&failure(class.clone(), code), None);
        }
        assert_eq!(expires(&object), kept, "{code}");
    }
}

/// An object that is created with such a certificate, too.
#[test]
fn a_new_credential_whose_certificate_expires_soon_has_an_event() {
    let mut object = Object::new();
    object.certificate = Some(Validity {
        from: at(0),
        until: at(11),
    });
    object.reconcile(&Ok(()), None);
    assert_eq!(object.events, [(true, "ClientCertificateExpiresSoon".to_owned())]);
}

#[test]
fn an_edit_is_never_judged_by_the_result_before_it() {
    let mut object = Object::new();
    object.reconcile(&Ok(()), None);
    object.generation = 2;
    object.reconcile(&failure(ErrorClass::Transient, "EntraUnreachable"), None);
    object.expect(("Unknown", "EntraUnreachable"), "Reconciling");
}

#[test]
fn a_request_is_recorded_also_while_an_error_passes() {
    let mut object = Object::new();
    object.reconcile(&Ok(()), None);
    let requested = Requested {
        ours: Some("1"),
        flux: None,
    };
    object.reconcile(
        &failure(ErrorClass::Transient, "EntraUnreachable"),
        Some(requested),
    );
    assert_eq!(object.status.last_handled_request.as_deref(), Some("1"));
    object.expect(("True", "TokenIssued"), "");
}

#[test]
fn what_an_object_finds_counts_only_if_the_status_says_something_else() {
    let mut object = Object::new();
    let (refused, missing) = (
        failure(ErrorClass::Credential, "AADSTS7000215"),
        failure(ErrorClass::Credential, "SecretNotFound"),
    );
    let transient = failure(ErrorClass::Transient, "EntraUnreachable");
    assert!(
        contradicts(&object.status, &Ok(()), object.certificate),
        "nothing is known yet"
    );
    object.reconcile(&Ok(()), None);
    assert!(!contradicts(&object.status, &Ok(()), object.certificate));
    assert!(
        contradicts(&object.status, &refused, object.certificate)
            && contradicts(&object.status, &transient, object.certificate)
    );
    object.reconcile(&refused, None);
    assert!(
        !contradicts(&object.status, &refused, object.certificate),
        "thousand objects report the same"
    );
    assert!(
        contradicts(&object.status, &missing, object.certificate)
            && contradicts(&object.status, &Ok(()), object.certificate)
    );
    assert!(
        !contradicts(&object.status, &transient, object.certificate),
        "it may be refused still"
    );
}

#[test]
fn only_the_number_of_users_changes_with_them() {
    let mut object = Object::new();
    object.reconcile(&Ok(()), None);
    let after = with_users(&object.status, 7);
    assert_eq!(after.used_by, Some(7));
    assert_eq!(with_users(&after, 3), object.status);
}
