//! Lists of all visible connectors.

use futures::future::join_all;

use serverprotection_core::{reading::ReadResult, security_connector::account::ListedConnector};

use super::{super::single_flight::MaxAge, *};
use crate::Client;

/// A controller spawns its reconciles, so their futures must be `Send`.
fn sendable<T: Send>(future: T) -> T {
    future
}

async fn reconciles(stub: &Stub, subscriptions: &[&str]) -> Vec<String> {
    let client = stub.client();
    let reconciles =
        (0..200).flat_map(|at| subscriptions.iter().map(move |subscription| (at, *subscription)));
    let reconciles = reconciles.map(|(at, subscription)| {
        let (client, target) = (&client, target(subscription, &format!("aws{at}")));
        async move { sendable(client.observe_connector(&target, &EVERYTHING)).await }
    });
    for observed in join_all(reconciles).await {
        assert_eq!(observed.failure(), None);
    }
    stub.asked()
}

async fn other_connectors(client: &Client) -> ReadResult<Vec<ListedConnector>> {
    client.session().await?.other_connectors("s", MaxAge::Any).await
}

fn count(asked: &[String], what: &str) -> usize {
    asked.iter().filter(|found| *found == what).count()
}

const GRAPH: &str = "POST /providers/Microsoft.ResourceGraph/resources";

#[tokio::test]
async fn hundreds_of_first_reconciles_send_one_list_for_each_subscription() {
    let stub = with_connector("aws").await;
    let asked = reconciles(&stub, &["s", "t"]).await;
    assert_eq!(count(&asked, "GET /s/securityConnectors"), 1);
    assert_eq!(count(&asked, "GET /t/securityConnectors"), 1);
    assert_eq!(count(&asked, GRAPH), 1);
    assert_eq!(
        asked
            .iter()
            .filter(|what| what.contains("/securityConnectors/aws"))
            .count(),
        800
    );
}

#[tokio::test]
async fn resource_graph_lists_other_subscriptions_and_arm_lists_this_one() {
    let stub = with_connector("here").await;
    let row = |id: &str, account: &str| json!({ "id": id, "environment": "GCP", "account": account });
    stub.state().rows = vec![
        row(
            "subscriptions/S/resourcegroups/rg/providers/microsoft.security/securityconnectors/gone",
            "1",
        ),
        row(
            "/subscriptions/other/resourcegroups/rg/providers/microsoft.security/securityconnectors/there",
            "2",
        ),
    ];
    let known = other_connectors(&stub.client()).await.unwrap();
    let accounts: Vec<_> = known.iter().map(|known| known.account.as_str()).collect();
    assert_eq!(accounts, ["123456789012", "2"]);
}

#[tokio::test]
async fn errors_of_resource_graph_are_ignored_and_errors_of_the_list_are_not() {
    let stub = with_connector("here").await;
    let client = stub.client();
    stub.fault(|request| {
        request
            .what
            .starts_with("POST")
            .then(|| error(403, "AuthorizationFailed"))
    });
    for graph in [1, 0] {
        // The error is cached.
        assert_eq!(other_connectors(&client).await.unwrap().len(), 1);
        assert_eq!(count(&stub.asked(), GRAPH), graph);
    }
    stub.fault(|request| {
        request
            .what
            .ends_with("securityConnectors")
            .then(|| error(503, "ServerTimeout"))
    });
    let client = stub.client();
    for observed in join_all((0..20).map(|_| other_connectors(&client))).await {
        assert_eq!(observed.unwrap_err().code, "ServerTimeout");
    }
    let asked = stub.asked();
    assert_eq!(
        count(&asked, "GET /s/securityConnectors"),
        1,
        "callers that waited share the error"
    );
    stub.fault(|_| None);
    assert_eq!(
        other_connectors(&client).await.unwrap().len(),
        1,
        "later callers send a new request"
    );
}

#[tokio::test]
async fn own_writes_amend_the_list_without_a_request() {
    let stub = with_connector("aws").await;
    let client = stub.client();
    let ids = async || {
        let known = other_connectors(&client).await.unwrap();
        known.into_iter().map(|known| known.id).collect::<Vec<_>>()
    };
    let (first, second) = (target("s", "aws"), target("S", "second"));
    assert_eq!(ids().await, [first.id()]);
    client.apply_connector(&second, &[put(4)], &permit()).await;
    assert_eq!(ids().await, [first.id(), target("s", "second").id()]);
    client.apply_connector(&second, &[put(12)], &permit()).await;
    client
        .delete_connector(&first.id().to_uppercase(), &permit())
        .await
        .unwrap();
    assert_eq!(ids().await, [target("s", "second").id()]);
    assert_eq!(count(&stub.asked(), "GET /s/securityConnectors"), 1);
}
