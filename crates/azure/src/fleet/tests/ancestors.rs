//! Queries of the management groups above subscriptions.

use std::collections::HashMap;

use serde_json::Value;

use super::*;

const ONE: &str = "00000000-0000-4000-8000-000000000001";
const TWO: &str = "00000000-0000-4000-8000-000000000002";
const THREE: &str = "00000000-0000-4000-8000-000000000003";

type Found = HashMap<String, Option<Vec<String>>>;

fn stub(rows: &[(&str, Value)]) -> Stub {
    let mut stub = Stub::new(&[]);
    let row = |(id, groups): &(&str, Value)| json!({"subscriptionId": id, "groups": groups});
    stub.containers = rows.iter().map(row).collect();
    stub
}

async fn groups(azure: &Azure, subscriptions: &[&str]) -> Result<Found, AzureError> {
    let subscriptions: Vec<_> = subscriptions.iter().map(|&id| id.to_owned()).collect();
    let asked = azure.scanner.management_groups(&azure.arm, &subscriptions);
    Box::pin(asked).await
}

#[tokio::test]
async fn a_subscription_that_the_identity_cannot_see_does_not_refuse_the_query() {
    let corp = json!([{"name": "corp", "displayName": "Corp"}, {"name": "root"}]);
    let azure = Azure::of(stub(&[(ONE, corp), (TWO, Value::Null)])).await;
    let hostile = "') or ('1' == '1";
    let found = groups(&azure, &[ONE, TWO, THREE, hostile]).await.unwrap();
    let names = |id: &str| found[id].clone();
    assert_eq!(names(ONE).unwrap(), ["corp", "root"]);
    assert_eq!(
        names(TWO),
        None,
        "a row without its management groups is not known"
    );
    assert!(!found.contains_key(THREE), "not visible");
    let stub = azure.stub.lock().unwrap();
    let [request] = stub.requests.as_slice() else {
        panic!("{:?}", stub.requests)
    };
    assert!(!request.names_subscriptions(), "they are no scope");
    let query = request.query();
    assert!(query.contains(THREE) && !query.contains(hostile), "{query}");
}

#[tokio::test]
async fn what_azure_left_out_is_not_known() {
    let row = json!({"subscriptionId": ONE, "groups": []});
    let body = json!({"totalRecords": 1, "count": 1, "data": [row], "resultTruncated": "false"});
    let answer = (200, vec![("x-ms-tenant-subscription-limit-hit", "true")], body);
    let azure = Azure::of(stub(&[]).fault(move |_| Some(answer.clone()))).await;
    let found = groups(&azure, &[ONE, TWO]).await.unwrap();
    assert_eq!((&found[ONE], &found[TWO]), (&Some(Vec::new()), &None));
}

#[tokio::test]
async fn an_identity_that_sees_nothing_is_below_nothing_and_other_errors_are_errors() {
    let refusal = |code: &str| {
        let details = json!([{"code": code, "message": "no"}]);
        let support = "Please provide below info when asking for support: timestamp = t, correlationId = c.";
        let body = json!({"error": {"code": "BadRequest", "message": support, "details": details}});
        stub(&[]).fault(move |_| Some((400, vec![], body.clone())))
    };
    let azure = Azure::of(refusal("NoValidSubscriptionsInQueryRequest")).await;
    assert!(groups(&azure, &[ONE]).await.unwrap().is_empty());
    let azure = Azure::of(refusal("InvalidQuery")).await;
    assert!(groups(&azure, &[ONE]).await.is_err());
    let cut = json!({"totalRecords": 2, "count": 1, "resultTruncated": "false",
        "data": [{"subscriptionId": ONE, "groups": []}]});
    let azure = Azure::of(stub(&[]).fault(move |_| Some((200, vec![], cut.clone())))).await;
    assert_eq!(
        groups(&azure, &[ONE, TWO]).await.unwrap_err().code,
        "IncompleteResult"
    );
}
