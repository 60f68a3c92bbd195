//! Against a stub of the API server.

use std::sync::Arc;

use axum::http::{Request, Response};
use kube::client::Body;

use super::*;

const POLICY: &str = "ValidatingAdmissionPolicy 'serverprotection-token' with binding 'x' denied request: no";

/// How the stub answers a dry run, and who the process is.
#[derive(Clone, Debug)]
struct Stub {
    user: &'static str,
    token: (u16, &'static str),
    patch: (u16, &'static str),
    connectors: usize,
    may_request: bool,
}

const RESTRICTED: Stub = Stub {
    user: "system:serviceaccount:defender-ops:prod-controller",
    token: (422, POLICY),
    patch: (422, POLICY),
    connectors: 1,
    may_request: true,
};

fn refusal((code, message): (u16, &str)) -> serde_json::Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": "Invalid",
        "code": code})
}

fn answer(stub: &Stub, request: &Request<Body>) -> (u16, serde_json::Value) {
    let uri = request.uri();
    let meta = json!({"name": "one", "namespace": "team", "uid": "u"});
    let item = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta});
    if uri.path().ends_with("/token") {
        assert_eq!(uri.query(), Some("&dryRun=All"), "{uri}");
        return match stub.token.0 {
            201 => (
                201,
                json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
                "spec": {"audiences": []}}),
            ),
            code => (code, refusal(stub.token)),
        };
    }
    if uri.path().ends_with("/selfsubjectreviews") {
        return (
            201,
            json!({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
            "status": {"userInfo": {"username": stub.user}}}),
        );
    }
    if uri.path().ends_with("/selfsubjectaccessreviews") {
        return (
            201,
            json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
            "metadata": {}, "spec": {}, "status": {"allowed": stub.may_request}}),
        );
    }
    if uri.path().ends_with("/securityconnectors/one") {
        assert!(
            uri.query().is_some_and(|query| query.contains("dryRun=All")),
            "{uri}"
        );
        return match stub.patch.0 {
            200 => (200, item),
            code => (code, refusal(stub.patch)),
        };
    }
    let items = vec![item; stub.connectors];
    (
        200,
        json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": items}),
    )
}

fn restrictions(stub: &Stub, unchecked: bool) -> Restrictions {
    let stub = Arc::new(stub.clone());
    let service = tower::service_fn(move |request: Request<Body>| {
        let (code, body) = answer(&stub, &request);
        let body = Body::from(serde_json::to_vec(&body).unwrap());
        let response = Response::builder().status(code).body(body).unwrap();
        std::future::ready(Ok::<_, kube::Error>(response))
    });
    let client = Client::new(service, "default");
    Restrictions::new(client, None, unchecked, PolicyGauges::default())
}

async fn outcome(stub: &Stub) -> (Result<(), String>, bool, bool) {
    let restrictions = restrictions(stub, false);
    let started = restrictions.verify_within(Duration::ZERO).await;
    (
        started.map_err(|error| error.to_string()),
        restrictions.tokens().is_ok(),
        restrictions.open(Path::Finalizers).is_ok(),
    )
}

#[tokio::test]
async fn paths_are_open_only_while_forbidden_requests_are_refused() {
    assert_eq!(outcome(&RESTRICTED).await, (Ok(()), true, true));
    let without_right = Stub {
        token: (403, "serviceaccounts is forbidden"),
        ..RESTRICTED
    };
    assert_eq!(outcome(&without_right).await, (Ok(()), true, true));
    for (granted, name) in [
        (
            Stub {
                token: (201, ""),
                ..RESTRICTED
            },
            "token_policy",
        ),
        (
            Stub {
                patch: (200, ""),
                ..RESTRICTED
            },
            "finalizer_policy",
        ),
        (
            Stub {
                user: "admin",
                ..RESTRICTED
            },
            "token_policy",
        ),
    ] {
        let (started, tokens, finalizers) = outcome(&granted).await;
        let refusal = started.unwrap_err();
        assert!(
            refusal.contains(name) && refusal.contains("--allow-unrestricted-tokens"),
            "{refusal}"
        );
        assert!(!(tokens && finalizers), "{granted:?}");
    }
    let without_power = Stub {
        user: "admin",
        may_request: false,
        ..RESTRICTED
    };
    assert_eq!(outcome(&without_power).await, (Ok(()), true, true));
}

/// An administrator is not restricted by any policy: the first message says what to do, without a wait.
#[tokio::test]
async fn another_user_than_a_service_account_is_refused_at_once() {
    let admin = Stub {
        user: "admin",
        ..RESTRICTED
    };
    let admin = restrictions(&admin, false);
    assert_eq!(admin.refusal(), None, "nothing was checked yet");
    let started = Instant::now();
    let refusal = admin.verify_at_start().await.unwrap_err().to_string();
    assert!(started.elapsed() < GRACE);
    assert!(refusal.contains("does not run as a service account"), "{refusal}");
    assert_eq!(admin.refusal(), Some(refusal.as_str()), "for /readyz");

    let unbound = Stub {
        token: (201, ""),
        ..RESTRICTED
    };
    let unbound = restrictions(&unbound, false);
    let refusal = unbound
        .verify_within(Duration::ZERO)
        .await
        .unwrap_err()
        .to_string();
    assert!(refusal.contains("and its binding"), "{refusal}");
    assert_eq!(unbound.refusal(), Some(refusal.as_str()));
    let restricted = restrictions(&RESTRICTED, false);
    restricted.verify_at_start().await.unwrap();
    assert_eq!(restricted.refusal(), None);
}

#[tokio::test]
async fn what_cannot_be_checked_stays_closed_and_does_not_end_the_process() {
    let unavailable = Stub {
        token: (500, "etcd"),
        patch: (400, "webhook does not support dry run"),
        ..RESTRICTED
    };
    assert_eq!(outcome(&unavailable).await, (Ok(()), false, false));
    let none = Stub {
        connectors: 0,
        ..RESTRICTED
    };
    assert_eq!(
        outcome(&none).await,
        (Ok(()), true, false),
        "no connector to check with yet"
    );
}

#[tokio::test]
async fn the_first_finalizer_checks_its_policy() {
    let api = |restrictions: &Restrictions| Api::namespaced(restrictions.client.clone(), "team");
    let first = restrictions(
        &Stub {
            connectors: 0,
            ..RESTRICTED
        },
        false,
    );
    assert!(first.finalizers(&api(&first), "one").await.is_ok());
    let granted = restrictions(
        &Stub {
            patch: (200, ""),
            ..RESTRICTED
        },
        false,
    );
    let refusal = granted.finalizers(&api(&granted), "one").await.unwrap_err();
    assert!(refusal.to_string().contains("finalizer_policy.yaml"), "{refusal}");
    let unchecked = restrictions(
        &Stub {
            patch: (200, ""),
            token: (201, ""),
            ..RESTRICTED
        },
        true,
    );
    unchecked.verify_within(Duration::ZERO).await.unwrap();
    assert!(unchecked.tokens().is_ok());
    assert!(unchecked.finalizers(&api(&unchecked), "one").await.is_ok());
}

#[test]
fn an_answer_stays_valid_while_later_ones_are_missing() {
    let now = Instant::now();
    let mut known = Known::default();
    assert!(known.is_due(now));
    for (finding, restricted, wait) in [
        (Finding::Unknown, None, REPEAT_SOON),
        (Finding::RefusedByPolicy, Some(true), REPEAT),
        (Finding::Unknown, Some(true), REPEAT_SOON),
        (Finding::Granted(Cause::Policy), Some(false), REPEAT_SOON),
        (Finding::Unknown, Some(false), REPEAT_SOON),
        (Finding::Refused, Some(true), REPEAT_SOON),
    ] {
        known.record(finding, now);
        assert_eq!(known.restricted, restricted, "{finding:?}");
        assert!(!known.is_due(now) && known.is_due(now + wait), "{finding:?}");
    }
}
