//! Queries of Resource Graph.

use serde_json::{Value, json};
use serverprotection_emulator::state::DEFAULT_CLIENT;

use super::{Bench, Got};

pub(crate) const GRAPH: &str = "/providers/Microsoft.ResourceGraph/resources?api-version=2024-04-01";
pub(crate) const SECOND: &str = "00000000-0000-0000-0000-000000001000";
/// 25 generated subscriptions, all owned by the default application, without a quota.
pub(crate) async fn bench() -> Bench {
    let bench = Bench::seeded(&format!(
        "{{principals: [{{clientId: {DEFAULT_CLIENT}, roleAssignments: {{'*': [Owner]}}}}, {{clientId: other, secrets: [s], roleAssignments: {{'{SECOND}': [Reader]}}}}],
          managementGroups: {{Servers: [{SECOND}, 00000000-0000-0000-0000-000000001001], Empty: []}},
          subscriptions: [{{generate: {{count: 25}}, pricings: {{VirtualMachines: {{pricingTier: Standard, subPlan: P2}}}}}},
                          {{subscriptionId: {SECOND}, resourceGroups: [RG1, rg2], resourcePricings: {{/subscriptions/{SECOND}/resourceGroups/RG1/providers/Microsoft.Compute/virtualMachines/vm1: P1}}}}]}}"
    ))
    .await;
    bench.control("PUT", "options", json!({"graphQuota": 0})).await;
    bench
}

pub(crate) async fn query(bench: &Bench, query: &str, options: Value) -> Got {
    bench
        .path("POST", GRAPH, Some(json!({"query": query, "options": options})))
        .await
}

pub(crate) async fn within(bench: &Bench, scope: Value, text: &str) -> Got {
    let mut body = scope;
    body["query"] = json!(text);
    bench.path("POST", GRAPH, Some(body)).await
}

pub(crate) fn rows(got: &Got) -> Vec<Value> {
    assert_eq!(got.status, 200, "{got:?}");
    let rows = got.body["data"]
        .as_array()
        .unwrap_or_else(|| panic!("{got:?}"))
        .clone();
    assert_eq!(got.body["count"], rows.len());
    rows
}

pub(crate) fn detail(got: &Got) -> &str {
    let details = got.body["error"]["details"]
        .as_array()
        .unwrap_or_else(|| panic!("{got:?}"));
    details[0]["code"].as_str().unwrap()
}
