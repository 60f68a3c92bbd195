//! PUT and DELETE.

use std::{sync::Arc, time::Duration};

use serverprotection_core::{
    azure_error::SignInCause,
    security_connector::{expected::ObservedValue, observed::Connector},
};
use tokio::io::AsyncReadExt;

use super::{stub::Answer, *};
use crate::{Client, error_response::connectors::AUTHENTICATION_FAILED, stub::identity};

#[tokio::test]
async fn a_connector_is_created_changed_and_deleted() {
    let stub = Stub::start().await;
    let (client, target) = (stub.client(), target("s", "aws"));
    let changes = [create_group(), put(4)];
    let outcome = client.apply_connector(&target, &changes, &permit()).await;
    assert_eq!((outcome.failed, outcome.done.as_slice()), (None, &changes[..]));
    assert_eq!(outcome.response.unwrap().id, target.id());
    {
        let state = stub.state();
        let sent: Vec<_> = state
            .requests
            .iter()
            .map(|request| (request.what.as_str(), &request.body))
            .collect();
        let connector = format!("PUT {}", target.id());
        assert_eq!(
            sent,
            [
                ("GET /subscriptions/s/resourcegroups/Rg", &Value::Null),
                (
                    "PUT /subscriptions/s/resourcegroups/Rg",
                    &json!({ "location": "westeurope" })
                ),
                (connector.as_str(), &body(4)),
            ]
        );
    }
    let outcome = client.apply_connector(&target, &[put(12)], &permit()).await;
    let interval = |connector: Connector| connector.value(&ConnectorField::ScanInterval).cloned();
    let twelve = Some(ObservedValue::Hours(12));
    assert_eq!(interval(outcome.response.unwrap()), twelve);
    // Azure may return an id in another case, and without its first slash.
    let id = target
        .id()
        .to_uppercase()
        .replace("/PROVIDERS/MICROSOFT.SECURITY", "/providers/microsoft.security");
    let read = client.read_connector(id.trim_start_matches('/')).await.unwrap();
    assert_eq!(interval(read.unwrap()), twelve);
    for _ in 0..2 {
        // The second time it does not exist, which is a success.
        client.delete_connector(&id, &permit()).await.unwrap();
        assert_eq!(client.read_connector(&target.id()).await, Ok(None));
    }
    let refused = |code| move |_: &stub::Request| Some(error(409, code));
    stub.fault(refused("ScopeLocked"));
    assert_eq!(
        client.delete_connector(&id, &permit()).await.unwrap_err().code,
        "ScopeLocked"
    );
}

#[tokio::test]
async fn writes_of_one_connector_are_serialized_and_others_do_not_wait() {
    let stub = Stub::start().await;
    stub.state().takes = Duration::from_millis(50);
    // Two identities of one process.
    let principals = stub.principals();
    let [first, second] = ["one", "other"].map(|client| Client::new(identity(client, "right"), &principals));
    let (first_spelling, second_spelling) = (target("s", "aws"), target("S", "AWS"));
    let (one, two, permit) = ([put(4)], [put(12)], permit());
    tokio::join!(
        first.apply_connector(&first_spelling, &one, &permit),
        second.apply_connector(&second_spelling, &two, &permit),
        async {
            first
                .delete_connector(&first_spelling.id(), &permit)
                .await
                .unwrap();
        },
    );
    assert_eq!(stub.state().most, (1, 1));
    let other = target("s", "other");
    tokio::join!(
        first.apply_connector(&first_spelling, &one, &permit),
        second.apply_connector(&other, &two, &permit),
    );
    assert_eq!(stub.state().most, (1, 2));
}

#[tokio::test]
async fn many_connectors_of_one_missing_group_create_it_once() {
    let stub = Stub::start().await;
    stub.state().takes = Duration::from_millis(5);
    let client = stub.client();
    let creates = (0..10).map(|at| {
        let (client, target) = (&client, target("s", &format!("aws{at}")));
        async move {
            client
                .apply_connector(&target, &[create_group(), put(4)], &permit())
                .await
        }
    });
    for outcome in futures::future::join_all(creates).await {
        assert_eq!((outcome.failed, outcome.done.len()), (None, 2));
    }
    let puts = stub
        .asked()
        .into_iter()
        .filter(|what| what == "PUT /s/resourcegroups/Rg")
        .count();
    assert_eq!(puts, 1);
}

#[tokio::test]
async fn a_write_whose_response_was_lost_has_an_unknown_effect_and_is_not_repeated() {
    let stub = Stub::start().await;
    let plain = |status, body: &str| Answer {
        status,
        headers: Vec::new(),
        body: body.into(),
    };
    for (what, code) in [
        (error(504, "GatewayTimeout"), "GatewayTimeout"),
        (plain(502, "<html><title>502 Bad Gateway</title>"), "Http502"),
        (plain(201, "{\"id\": "), "UnreadableAnswer"),
        (
            answer(
                500,
                &json!({ "statusCode": 500, "errorMessage": "m", "errorCorrelation": "c" }),
            ),
            "ConnectorUnavailable",
        ),
    ] {
        let mut what = Some(what);
        stub.fault(move |_| what.take());
        let outcome = stub
            .client()
            .apply_connector(&target("s", "aws"), &[put(4)], &permit())
            .await;
        let (_, failure) = outcome.failed.unwrap();
        assert_eq!(
            (failure.class, failure.code.as_str()),
            (ErrorClass::Transient, code)
        );
        assert!(failure.effect_unknown && outcome.done.is_empty());
        assert_eq!(stub.asked().len(), 1, "{code}");
    }
}

#[tokio::test]
async fn a_put_may_take_longer_than_other_requests() {
    let stub = with_connector("aws").await;
    stub.state().takes = Duration::from_millis(300);
    let client = stub.client_with_timeout(Duration::from_millis(100));
    let target = target("s", "aws");
    assert_eq!(
        client.read_connector(&target.id()).await.unwrap_err().code,
        "Timeout"
    );
    let outcome = client.apply_connector(&target, &[put(12)], &permit()).await;
    assert_eq!((outcome.failed, outcome.done.len()), (None, 1));
}

#[tokio::test]
async fn without_an_answer_the_effect_is_unknown() {
    let stub = Stub::start().await;
    stub.state().takes = Duration::from_millis(200);
    let id = target("s", "aws").id();
    let client = stub.client_with_timeout(Duration::from_millis(50));
    let late = client.delete_connector(&id, &permit()).await.unwrap_err();
    assert_eq!((late.code.as_str(), late.effect_unknown), ("Timeout", true));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let hang_up = async {
        let (mut connection, _) = listener.accept().await.unwrap();
        connection.read_exact(&mut [0; 4]).await.unwrap();
    };
    let client = crate::stub::client(url.parse().unwrap());
    let (target, change, permit) = (target("s", "aws"), [put(4)], permit());
    let (outcome, ()) = tokio::join!(client.apply_connector(&target, &change, &permit), hang_up);
    let broken = outcome.failed.unwrap().1;
    assert_eq!(
        (broken.code.as_str(), broken.effect_unknown),
        ("ConnectionFailed", true)
    );
}

#[tokio::test]
async fn a_sign_in_failure_carries_its_correlation_id() {
    let stub = Stub::start().await;
    let message = "error occured for security connector: Identity provider is missing from AWS account/s.";
    let body = json!({ "statusCode": 400, "errorMessage": message, "errorCorrelation": "30fb370a" });
    stub.fault(move |request| request.what.starts_with("PUT").then(|| answer(400, &body)));
    let outcome = stub
        .client()
        .apply_connector(&target("s", "aws"), &[put(4), put(12)], &permit())
        .await;
    let (change, failure) = outcome.failed.unwrap();
    assert_eq!((change, outcome.done), (put(4), Vec::new()));
    let cause = SignInCause::IdentityProvider;
    assert_eq!(failure.class, ErrorClass::CloudAuthentication(cause));
    assert_eq!(failure.code, AUTHENTICATION_FAILED);
    assert_eq!(failure.request_id.as_deref(), Some("30fb370a"));
    assert_eq!(failure.operation, "PUT securityConnectors");
    assert!(!failure.effect_unknown);
    assert_eq!(stub.asked().len(), 1, "changes after the error are not tried");
}

#[tokio::test]
async fn nothing_is_written_if_the_permit_ends_while_waiting_for_the_lock() {
    let stub = Stub::start().await;
    let principals = stub.principals();
    let client = Arc::new(Client::new(identity("client", "right"), &principals));
    let (target, gate) = (target("s", "aws"), Gate::open());
    let permit = gate.permit(true, Mode::Enforce, false, "c").unwrap();
    let lock = principals.locks.connector(&target.id()).await;
    let waiting = tokio::spawn({
        let (client, target, permit) = (Arc::clone(&client), target.clone(), permit.clone());
        async move {
            client
                .apply_connector(&target, &[create_group(), put(4)], &permit)
                .await
        }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    gate.close();
    drop(lock);
    let outcome = waiting.await.unwrap();
    assert_eq!((outcome.done, outcome.failed), (Vec::new(), None));
    assert_eq!(
        client
            .delete_connector(&target.id(), &permit)
            .await
            .unwrap_err()
            .class,
        ErrorClass::Transient
    );
    assert!(stub.asked().is_empty());
}

#[tokio::test]
async fn throttled_connectors_do_not_hold_up_the_plan_of_their_subscription() {
    let stub = with_connector("aws").await;
    let client = stub.client();
    let throttled = || {
        let mut answer = answer(
            429,
            &json!({ "statusCode": 429, "errorMessage": "slow down", "errorCorrelation": "c" }),
        );
        answer.headers.push(("retry-after", "77"));
        answer
    };
    stub.fault(move |request| request.what.contains("securityConnectors").then(throttled));
    for asked in [1, 0] {
        // The second call waits without a request.
        let failure = client.read_connector(&target("S", "aws").id()).await.unwrap_err();
        let ErrorClass::Throttled(Some(wait)) = failure.class else {
            panic!("{failure:?}")
        };
        assert!(wait > Duration::from_secs(70), "{wait:?}");
        assert_eq!(stub.asked().len(), asked);
    }
    assert!(client.session().await.unwrap().arm.plan("s").await.is_ok());
}
