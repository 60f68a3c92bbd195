//! Queries of connectors, and scans of the machines of their accounts.

use serverprotection_core::machines::{Environment, MachineCounts};

use super::*;

/// Five connectors; pages have two rows.
fn stub() -> Stub {
    Stub::new(&["a", "b", "c"])
        .connector("a", "one", "1")
        .connector("a", "two", "2")
        .connector("b", "three", "3")
        .connector("c", "four", "4")
        .connector("c", "five", "5")
}

async fn accounts(azure: &Azure, subscriptions: Option<&[&str]>) -> Result<Vec<String>, AzureError> {
    let owned = |all: &[&str]| all.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let subscriptions = subscriptions.map(owned);
    let asked: futures::future::BoxFuture<'_, _> = Box::pin(
        azure
            .scanner
            .known_connectors(&azure.arm, subscriptions.as_deref()),
    );
    let known = asked.await?;
    Ok(known.into_iter().map(|connector| connector.account).collect())
}

#[tokio::test]
async fn without_subscriptions_all_visible_connectors_are_read_in_pages() {
    let azure = Azure::of(stub()).await;
    assert_eq!(accounts(&azure, None).await.unwrap(), ["1", "2", "3", "4", "5"]);
    assert_eq!(azure.asked("connectors"), 3);
    assert!(!azure.stub.lock().unwrap().requests[0].names_subscriptions());
}

#[tokio::test]
async fn named_subscriptions_are_read_in_groups() {
    let mut azure = Azure::of(stub()).await;
    assert_eq!(accounts(&azure, Some(&[])).await.unwrap(), [""; 0]);
    assert_eq!(
        azure.asked("connectors"),
        0,
        "no subscription is not every subscription"
    );
    azure.scanner.settings.group_size = 2;
    let found = accounts(&azure, Some(&["a", "b", "c"])).await.unwrap();
    assert_eq!(found, ["1", "2", "3", "4", "5"]);
    assert_eq!(azure.asked("connectors"), 2 + 1);
}

#[tokio::test]
async fn subscriptions_that_azure_omitted_are_read_by_name() {
    let stub = stub().fault(|request| {
        let part = json!({ "totalRecords": 0, "data": [], "resultTruncated": "false" });
        let header = vec![("x-ms-tenant-subscription-limit-hit", "true")];
        (request.is("connectors") && !request.names_subscriptions()).then_some((200, header, part))
    });
    let azure = Azure::of(stub).await;
    assert_eq!(accounts(&azure, None).await.unwrap(), ["1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn a_partial_result_is_an_error_and_never_a_shorter_list() {
    for (token, answer, code) in [
        (
            None,
            json!({ "data": [], "resultTruncated": "true" }),
            "ResultTruncated",
        ),
        (
            Some("4"),
            json!({ "totalRecords": 5, "data": [], "resultTruncated": "false" }),
            "IncompleteResult",
        ),
    ] {
        let stub =
            stub().fault(move |request| (request.token() == token).then(|| (200, vec![], answer.clone())));
        let azure = Azure::of(stub).await;
        assert_eq!(accounts(&azure, None).await.unwrap_err().code, code);
    }
}

#[tokio::test]
async fn the_quota_is_obeyed_until_the_timeout() {
    let mut once = Some(());
    let stub = stub().fault(move |_| {
        let header = vec![("x-ms-user-quota-resets-after", "00:00:01")];
        once.take().map(|()| (429, header, error("RateLimiting")))
    });
    let azure = Azure::of(stub).await;
    let began = std::time::Instant::now();
    assert_eq!(accounts(&azure, None).await.unwrap().len(), 5);
    assert!(
        began.elapsed() >= Duration::from_millis(900),
        "{:?}",
        began.elapsed()
    );

    for (status, class, tries) in [
        (503, ErrorClass::Transient, 3),
        (403, ErrorClass::Permission(None), 1),
    ] {
        let stub = self::stub().fault(move |_| Some((status, vec![], error("AuthorizationFailed"))));
        let azure = Azure::of(stub).await;
        let failure = accounts(&azure, None).await.unwrap_err();
        assert_eq!(failure.class, class);
        assert_eq!(azure.asked("connectors"), tries);
    }
}

#[tokio::test]
async fn confirmed_machines_count_for_their_account() {
    let machine = |name: &str, state: &str, tags: serde_json::Value| {
        json!({
            "id": format!("/subscriptions/a/resourceGroups/rg/providers/Microsoft.HybridCompute/machines/{name}"),
            "name": name, "type": "microsoft.hybridcompute/machines", "subscriptionId": "a", "tags": tags,
            "osType": "linux", "osSku": "Ubuntu 22.04", "status": "Connected", "agentVersion": "1.64", "provider": "AWS",
            "extName": "MDE.Linux", "extType": "MDE.Linux", "extState": state
        })
    };
    let ours = json!({ "MDFCSecurityConnector": "true", "accountid": "1" });
    let mut stub = Stub::new(&["a"]);
    stub.rows = vec![
        machine("bad", "Failed", ours.clone()),
        machine("by-hand", "Succeeded", json!({ "AccountId": "1" })),
        machine("good", "Succeeded", ours),
    ];
    // The tags come from the row; the direct GET has none.
    let body = json!({ "properties": { "status": "Connected", "agentVersion": "1.64" } });
    let id = stub.rows[0]["id"].as_str().unwrap().to_owned();
    let azure = Azure::of(stub.resource(&id, 200, body)).await;
    let (recording, report) = azure.scan(&["a"]).await;
    assert_eq!(report.confirmations, 1);
    assert_eq!(recording.total("a"), 3);
    let counts = MachineCounts {
        total: 2,
        eligible: 2,
        protected: 1,
    };
    let summary = recording.reading("a").summary;
    assert_eq!(summary.of_accounts(Environment::Aws, ["1"]), counts);
    assert_eq!(summary.accounts.len(), 1);
}
