//! The scope of Resource Graph queries: rights, subscriptions, management groups.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends there"
)]

mod bench;

use bench::{
    Bench,
    graph::{SECOND, bench, detail, query, rows, within},
};
use serde_json::json;
use serverprotection_emulator::state::{DEFAULT_SUBSCRIPTION, DEFAULT_TENANT};

#[tokio::test]
async fn rows_require_read_access() {
    let mut bench = bench().await;
    bench.token = bench.sign_in(DEFAULT_TENANT, "other", "s").await;
    let count = async |bench: &Bench, table: &str| {
        let text = format!("{table} | summarize n = count() by subscriptionId");
        rows(&query(bench, &text, json!({})).await)
    };
    assert_eq!(
        count(&bench, "securityresources").await,
        [json!({"subscriptionId": SECOND, "n": 17})]
    );
    assert_eq!(
        count(&bench, "resourcecontainers").await,
        [json!({"subscriptionId": SECOND, "n": 3})]
    );
    let role = json!({"actions": ["Microsoft.Resources/subscriptions/read"]});
    bench
        .control(
            "PATCH",
            "principals/other",
            json!({"roleAssignments": {SECOND: [role]}}),
        )
        .await;
    assert!(count(&bench, "securityresources").await.is_empty());
    assert_eq!(
        count(&bench, "resourcecontainers").await,
        [json!({"subscriptionId": SECOND, "n": 1})]
    );
    bench
        .control("PATCH", "principals/other", json!({"roleAssignments": {}}))
        .await;
    let nothing = query(&bench, "resources", json!({})).await;
    assert_eq!(
        (nothing.status, nothing.code(), detail(&nothing)),
        (400, "BadRequest", "NoValidSubscriptionsInQueryRequest")
    );
}

#[tokio::test]
async fn invisible_subscriptions_follow_the_switch() {
    let mut bench = bench().await;
    bench.token = bench.sign_in(DEFAULT_TENANT, "other", "s").await;
    let (foreign, missing) = (DEFAULT_SUBSCRIPTION, "99999999-0000-0000-0000-000000000000");
    let text = "resourcecontainers | distinct subscriptionId";
    let ask = async |ids: &[&str]| within(&bench, json!({"subscriptions": ids}), text).await;
    assert_eq!(rows(&ask(&[SECOND, foreign, missing]).await).len(), 1);
    assert_eq!(
        detail(&ask(&[foreign, missing]).await),
        "NoValidSubscriptionsInQueryRequest"
    );
    bench.switch("graphInvisibleSubscriptions", "refused").await;
    assert_eq!(rows(&ask(&[&SECOND.to_uppercase()]).await).len(), 1);
    let refused = ask(&[SECOND, foreign]).await;
    assert_eq!((refused.status, refused.code()), (403, "AuthorizationFailed"));
    assert!(refused.message().contains(foreign));
    let refused = ask(&[SECOND, missing]).await;
    assert_eq!((refused.status, detail(&refused)), (400, "InvalidSubscription"));
    assert!(refused.body.to_string().contains(missing));
    assert_eq!(detail(&ask(&["not-a-guid"]).await), "InvalidSubscriptionId");
}

#[tokio::test]
async fn a_management_group_is_a_scope() {
    let mut bench = bench().await;
    let text = "resourcecontainers | where type == 'microsoft.resources/subscriptions' | count";
    let ask =
        async |bench: &Bench, names: &[&str]| within(bench, json!({"managementGroups": names}), text).await;
    assert_eq!(rows(&ask(&bench, &["servers"]).await), [json!({"Count": 2})]);
    assert_eq!(
        detail(&ask(&bench, &["Empty", "nowhere"]).await),
        "NoValidSubscriptionsInQueryRequest"
    );
    let both = json!({"managementGroups": ["Servers"], "subscriptions": [SECOND]});
    assert_eq!(detail(&within(&bench, both, text).await), "InvalidScope");
    bench
        .control("PATCH", "management-groups", json!({"Empty": null, "Servers": format!("{SECOND}, {DEFAULT_SUBSCRIPTION}, 00000000-0000-0000-0000-000000001002")}))
        .await;
    assert_eq!(rows(&ask(&bench, &["Servers"]).await), [json!({"Count": 3})]);
    let path = |name: &str| {
        format!("/providers/Microsoft.Management/managementGroups/{name}/descendants?api-version=2020-05-01")
    };
    let got = bench.path("GET", &path("SERVERS"), None).await;
    assert_eq!(
        got.body["value"][0],
        json!({"id": format!("/subscriptions/{SECOND}"), "type": "Microsoft.Management/managementGroups/subscriptions", "name": SECOND,
               "properties": {"displayName": "Contoso 0", "parent": {"id": "/providers/Microsoft.Management/managementGroups/Servers"}}})
    );
    assert_eq!(got.body["value"].as_array().unwrap().len(), 3);
    assert_eq!(bench.path("GET", &path("Empty"), None).await.status, 404);
    bench.token = bench.sign_in(DEFAULT_TENANT, "other", "s").await;
    assert_eq!(rows(&ask(&bench, &["Servers"]).await), [json!({"Count": 1})]);
    let own = bench.path("GET", &path("Servers"), None).await;
    assert_eq!(own.body["value"].as_array().unwrap().len(), 1);
    let denied = bench.path("GET", &path("nowhere"), None).await;
    assert_eq!((denied.status, denied.code()), (403, "AuthorizationFailed"));
}

#[tokio::test]
async fn a_subscription_has_the_management_groups_above_it() {
    let mut bench = bench().await;
    let text = format!(
        "resourcecontainers | where type =~ 'microsoft.resources/subscriptions' and subscriptionId in~ ('{SECOND}')
         | project subscriptionId = tolower(subscriptionId), groups = properties.managementGroupAncestorsChain
         | order by subscriptionId asc"
    );
    let names = async |bench: &Bench| {
        let found = rows(&query(bench, &text, json!({})).await);
        let groups = found[0]["groups"].as_array().unwrap().clone();
        let names = groups
            .iter()
            .map(|group| group["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&bench).await, ["Servers", DEFAULT_TENANT]);
    let moved = json!({"Servers": null, "Other": [SECOND.to_uppercase()]});
    bench.control("PATCH", "management-groups", moved).await;
    assert_eq!(names(&bench).await, ["Other", DEFAULT_TENANT]);
    bench.token = bench.sign_in(DEFAULT_TENANT, "other", "s").await;
    assert_eq!(
        names(&bench).await,
        ["Other", DEFAULT_TENANT],
        "a reader sees them"
    );
}
