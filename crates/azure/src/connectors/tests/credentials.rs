//! Several credentials of one application: what they share, and what they never share.

use std::sync::{Arc, Mutex};

use serverprotection_core::{
    azure_error::AzureError,
    jiff::SignedDuration,
    reading::ReadResult,
    server_protection::{self, changes},
};

use super::*;
use crate::{
    Client, Principals,
    fleet::{ScanObserver, SubscriptionReading, Target as ScanTarget},
    stub::{WRONG_SECRET, identity},
};

fn client(application: &str, secret: &str, principals: &Arc<Principals>) -> Client {
    Client::new(identity(application, secret), principals)
}

fn machines() -> ScanTarget {
    ScanTarget {
        object: String::new(),
        subscription: "s".into(),
        exclusions: Arc::default(),
        grace: SignedDuration::from_hours(1),
        plan_enabled: None,
        fresh: false,
        unprotected: Arc::default(),
        had_machines: false,
    }
}

#[derive(Default)]
struct Failures(Mutex<Vec<AzureError>>);

impl ScanObserver for Failures {
    fn subscription(&self, _: &ScanTarget, reading: Result<SubscriptionReading, AzureError>) {
        self.0.lock().unwrap().extend(reading.err());
    }
}

/// What each method of the client fails with.
async fn failures(client: &Client) -> Vec<AzureError> {
    let (target, permit) = (target("s", "aws"), permit());
    let register = changes::Change {
        action: changes::Action::Register,
        fields: Vec::new(),
    };
    let scanned = Failures::default();
    client.scan(&[machines(), machines()], &scanned).await;
    let mut failures = scanned.0.into_inner().unwrap();
    assert_eq!(failures.len(), 1, "each target is reported once");
    let observed = client
        .observe("s", &server_protection::reads::Reads::default())
        .await;
    let of_connector = client.observe_connector(&target, &EVERYTHING).await;
    assert_eq!(of_connector.connector, None);
    let applied = client.apply("s", &[register], &permit).await;
    let written = client.apply_connector(&target, &[put(4)], &permit).await;
    failures.extend([
        observed.credential.unwrap_err(),
        of_connector.credential.unwrap_err(),
        applied.failed.unwrap().1,
        written.failed.unwrap().1,
        client.read_connector(&target.id()).await.unwrap_err(),
        client.delete_connector(&target.id(), &permit).await.unwrap_err(),
        client.known_connectors(None).await.unwrap_err(),
        client.subscriptions().await.unwrap_err(),
        client.management_group("g").await.unwrap_err(),
    ]);
    failures
}

/// The requests since the last call, each with its token.
fn tokens(stub: &Stub) -> Vec<String> {
    let requests = std::mem::take(&mut stub.state().requests);
    let mut tokens: Vec<_> = requests
        .into_iter()
        .map(|request| request.authorization)
        .collect();
    tokens.dedup();
    tokens
}

async fn plan_of(client: &Client) -> ReadResult<()> {
    let reads = server_protection::reads::Reads::default();
    client.observe("s", &reads).await.plan.unwrap().map(drop)
}

#[tokio::test]
async fn a_wrong_secret_yields_its_error_only_and_affects_no_other_credential() {
    let stub = with_connector("aws").await;
    let principals = stub.principals();
    let [right, wrong] = ["right", WRONG_SECRET].map(|secret| client("client", secret, &principals));
    assert_eq!(right.principal(), wrong.principal());
    // Before the other credential has filled the shared state, and afterwards.
    for shared in [false, true] {
        for failure in Box::pin(failures(&wrong)).await {
            assert_eq!(
                (failure.class, failure.code.as_str()),
                (ErrorClass::Credential, "AADSTS7000215"),
                "{shared}"
            );
        }
        assert_eq!(tokens(&stub), [""; 0], "{shared}");
        assert_eq!(wrong.quota_left(), None, "{shared}");
        let observed = right.observe_connector(&target("s", "aws"), &EVERYTHING).await;
        assert_eq!(observed.failure(), None);
        assert_eq!(observed.others.unwrap().unwrap().len(), 1);
        right.scan(&[machines()], &Failures::default()).await;
        assert_eq!(tokens(&stub), ["Bearer token-of-right"]);
    }

    let slow_down = || {
        let mut answer = error(429, "TooManyRequests");
        answer.headers.push(("retry-after", "77"));
        answer
    };
    stub.fault(move |_| Some(slow_down()));
    assert!(matches!(
        plan_of(&right).await.unwrap_err().class,
        ErrorClass::Throttled(_)
    ));
    assert_eq!(Box::pin(failures(&wrong)).await[0].class, ErrorClass::Credential);
}

#[tokio::test]
async fn credentials_of_one_application_share_lists_quota_and_waits_but_no_token() {
    let stub = with_connector("aws").await;
    let principals = stub.principals();
    let [one, other] = ["one", "other"].map(|secret| client("client", secret, &principals));
    let another = client("another", "another", &principals);
    stub.fault(|request| {
        let mut answer = answer(200, &json!({ "totalRecords": 0, "data": [] }));
        answer.headers.push(("x-ms-user-quota-remaining", "7"));
        answer.headers.push(("x-ms-user-quota-resets-after", "00:10:00"));
        request.what.starts_with("POST").then_some(answer)
    });
    let observe = async |client: &Client| {
        let observed = client.observe_connector(&target("s", "aws"), &EVERYTHING).await;
        assert_eq!(observed.failure(), None);
        let requests = stub.state().requests.len();
        (requests, tokens(&stub))
    };
    assert_eq!(observe(&one).await, (6, vec!["Bearer token-of-one".to_owned()]));
    // Connector, resource group and health reports are not shared.
    assert_eq!(
        observe(&other).await,
        (3, vec!["Bearer token-of-other".to_owned()])
    );
    assert_eq!((one.quota_left(), other.quota_left()), (Some(7), Some(7)));
    assert_eq!(another.quota_left(), None);
    assert_eq!(observe(&another).await.0, 6);

    stub.fault(|_| {
        let mut answer = error(429, "TooManyRequests");
        answer.headers.push(("retry-after", "77"));
        Some(answer)
    });
    for (client, asked) in [(&one, true), (&other, false), (&another, true)] {
        let failure = plan_of(client).await.unwrap_err();
        assert!(
            matches!(failure.class, ErrorClass::Throttled(Some(_))),
            "{failure:?}"
        );
        assert_eq!(!tokens(&stub).is_empty(), asked);
    }
}

#[tokio::test]
async fn a_principal_is_forgotten_with_its_last_client() {
    let stub = with_connector("aws").await;
    let principals = stub.principals();
    for round in ["new", "forgotten"] {
        let first = client("client", "one", &principals);
        first.known_connectors(None).await.unwrap();
        assert_eq!(stub.asked().len(), 1);
        let list = async |client: &Client| {
            let session = client.session().await.unwrap();
            session
                .other_connectors("s", super::super::single_flight::MaxAge::Any)
                .await
                .unwrap();
            stub.asked().len()
        };
        assert_eq!(list(&first).await, 2, "{round}");
        let second = client("client", "two", &principals);
        assert_eq!(list(&second).await, 0);
        drop(first);
        let third = client("client", "three", &principals);
        assert_eq!(list(&third).await, 0, "the second client keeps it");
    }
}
