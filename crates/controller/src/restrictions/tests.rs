//! Against a stub of the API server.

use std::sync::Arc;

use axum::http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

const POLICY: &str = "ValidatingAdmissionPolicy 'serverprotection-token' with binding 'x' denied request: no";

/// How the stub answers a dry run, and who the process is.
#[derive(Clone, Debug)]
struct Stub {
    user: &'static str,
    token: (u16, &'static str),
    patch: (u16, &'static str),
    connectors: &'static [Connector],
    may_request: bool,
}

/// The connector `one` of a namespace, as its users made it.
#[derive(Clone, Copy, Debug)]
struct Connector {
    namespace: &'static str,
    /// The value of the label that the check writes.
    label: &'static str,
    /// The answer to its patch, if it is not [`Stub::patch`].
    patch: Option<(u16, &'static str)>,
    /// A webhook removes the label.
    strips: bool,
}

const fn connector(namespace: &'static str) -> Connector {
    Connector {
        namespace,
        label: "refused",
        patch: None,
        strips: false,
    }
}

const RESTRICTED: Stub = Stub {
    user: "system:serviceaccount:defender-ops:prod-controller",
    token: (422, POLICY),
    patch: (422, POLICY),
    connectors: &[connector("team")],
    may_request: true,
};

fn refusal((code, message): (u16, &str)) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": "Invalid",
        "code": code})
}

async fn answer(stub: &Stub, request: Request<Body>) -> (u16, Value) {
    let uri = request.uri().clone();
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
        let body = request.into_body().collect_bytes().await.unwrap();
        let patch: Value = serde_json::from_slice(&body).unwrap();
        let found = |connector: &&Connector| uri.path().contains(&format!("/{}/", connector.namespace));
        return match stub.connectors.iter().find(found) {
            Some(connector) => patched(stub, connector, &patch),
            None => patched(stub, &connector("team"), &patch),
        };
    }
    let query = uri.query().unwrap_or_default();
    let excluded =
        |connector: &Connector| query.contains(&format!("metadata.namespace%21%3D{}", connector.namespace));
    let listed = stub.connectors.iter().filter(|connector| !excluded(connector));
    let items: Vec<_> = listed
        .take(1)
        .map(|connector| item(connector, connector.label))
        .collect();
    (
        200,
        json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": items}),
    )
}

fn item(connector: &Connector, label: &str) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "one",
        "namespace": connector.namespace, "uid": "u", "labels": {"serverprotection.dev/self-test": label}}})
}

/// The policy allows a patch that changes nothing.
fn patched(stub: &Stub, connector: &Connector, patch: &Value) -> (u16, Value) {
    let label = patch["metadata"]["labels"]["serverprotection.dev/self-test"].as_str();
    let label = label.filter(|_| !connector.strips).unwrap_or(connector.label);
    match connector.patch.unwrap_or(stub.patch) {
        (200, _) => (200, item(connector, label)),
        _ if label == connector.label => (200, item(connector, label)),
        refused => (refused.0, refusal(refused)),
    }
}

fn restrictions(stub: &Stub, unchecked: bool) -> Restrictions {
    let stub = Arc::new(stub.clone());
    let service = tower::service_fn(move |request: Request<Body>| {
        let stub = Arc::clone(&stub);
        async move {
            let (code, body) = answer(&stub, request).await;
            let body = Body::from(serde_json::to_vec(&body).unwrap());
            Ok::<_, kube::Error>(Response::builder().status(code).body(body).unwrap())
        }
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
    let waits = admin.waits_for().unwrap();
    assert!(waits.contains("waiting"), "nothing was checked yet: {waits}");
    let started = Instant::now();
    let refusal = admin.verify_at_start().await.unwrap_err().to_string();
    assert!(started.elapsed() < GRACE);
    assert!(refusal.contains("does not run as a service account"), "{refusal}");
    assert_eq!(admin.waits_for(), Some(refusal.as_str()), "for /readyz");

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
    assert_eq!(unbound.waits_for(), Some(refusal.as_str()));
    let restricted = restrictions(&RESTRICTED, false);
    restricted.verify_at_start().await.unwrap();
    assert_eq!(restricted.waits_for(), None);
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
        connectors: &[],
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
            connectors: &[],
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

/// What one user writes proves nothing about the policy: neither that it is missing nor that it is there.
#[tokio::test]
async fn no_connector_of_a_user_ends_the_process_or_closes_the_path() {
    let (hostile, good) = (connector("a"), connector("team"));
    let hostile = [
        Connector {
            strips: true,
            ..hostile
        },
        Connector {
            patch: Some((422, "spec.type: Invalid value")),
            ..hostile
        },
        Connector {
            patch: Some((404, "it was deleted")),
            ..hostile
        },
    ];
    for hostile in hostile {
        let with = |connectors: Vec<Connector>| Stub {
            connectors: connectors.leak(),
            ..RESTRICTED
        };
        assert_eq!(outcome(&with(vec![hostile, good])).await, (Ok(()), true, true));
        // It is the only one: the path stays closed until another one is checked.
        let stub = with(vec![hostile]);
        assert_eq!(outcome(&stub).await, (Ok(()), true, false), "{hostile:?}");
        let restrictions = restrictions(&stub, false);
        restrictions.verify_within(Duration::ZERO).await.unwrap();
        let other = Api::namespaced(restrictions.client.clone(), "team");
        assert!(
            restrictions.finalizers(&other, "one").await.is_ok(),
            "{hostile:?}"
        );
        // Without the policy, it does not hide that.
        let without = Stub {
            patch: (200, ""),
            ..with(vec![hostile, good])
        };
        assert!(outcome(&without).await.0.is_err(), "{hostile:?}");
    }
}

#[tokio::test]
async fn a_policy_that_leaves_out_a_namespace_closes_the_path_and_does_not_end_the_process() {
    const LEFT_OUT: Connector = Connector {
        patch: Some((200, "")),
        ..connector("left-out")
    };
    let stub = Stub {
        connectors: const { &[connector("a"), connector("b"), LEFT_OUT] },
        ..RESTRICTED
    };
    assert_eq!(outcome(&stub).await, (Ok(()), true, false));
}

#[tokio::test]
async fn the_start_reports_what_it_waits_for() {
    let waits = |restrictions: &Restrictions| restrictions.waits_for().unwrap_or_default();
    let good = restrictions(&RESTRICTED, false);
    assert!(waits(&good).contains("check of the admission policies"));
    good.verify_at_start().await.unwrap();
    assert_eq!(good.waits_for(), None);
    let granted = Stub {
        patch: (200, ""),
        ..RESTRICTED
    };
    let granted = restrictions(&granted, false);
    granted.verify_within(Duration::ZERO).await.unwrap_err();
    assert!(waits(&granted).contains("finalizer_policy.yaml"));
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
        (Finding::Granted, Some(false), REPEAT_SOON),
        (Finding::Unknown, Some(false), REPEAT_SOON),
        (Finding::Refused, Some(true), REPEAT_SOON),
    ] {
        known.record(finding, now);
        assert_eq!(known.restricted, restricted, "{finding:?}");
        assert!(!known.is_due(now) && known.is_due(now + wait), "{finding:?}");
    }
}
