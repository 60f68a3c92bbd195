//! Helpers for connectors: bodies and short ways to write them.

use serde_json::{Value, json};
use serverprotection_emulator::state::DEFAULT_SUBSCRIPTION;

use super::{Bench, Got};

pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const VERSION: &str = "2024-08-01-preview";

pub(crate) fn path(name: &str) -> String {
    format!(
        "resourceGroups/Rg-Sec/providers/Microsoft.Security/securityConnectors/{name}?api-version={VERSION}"
    )
}

pub(crate) fn role(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{name}")
}

pub(crate) fn servers(plan: &str) -> Value {
    json!({
        "offeringType": "DefenderForServersAws",
        "defenderForServers": {"cloudRoleArn": role("DefenderForCloud-DefenderForServers")},
        "arcAutoProvisioning": {"enabled": true, "cloudRoleArn": role("DefenderForCloud-ArcAutoProvisioning"),
                                "configuration": {}},
        "mdeAutoProvisioning": {"enabled": true, "configuration": {}},
        "vaAutoProvisioning": {"enabled": true, "configuration": {"type": "TVM"}},
        "subPlan": {"type": plan},
        "vmScanners": {"enabled": plan == "P2", "cloudRoleArn": role("DefenderForCloud-AgentlessScanner"),
                       "configuration": {"scanningMode": "Default", "exclusionTags": {"a": "b"}}},
    })
}

pub(crate) fn cspm() -> Value {
    json!({"offeringType": "CspmMonitorAws", "nativeCloudConnection": {"cloudRoleArn": role("CspmMonitorAws")}})
}

pub(crate) fn body(offerings: &Value) -> Value {
    json!({"location": "WestEurope", "properties": {
        "hierarchyIdentifier": ACCOUNT, "environmentName": "AWS",
        "environmentData": {"environmentType": "AwsAccount", "scanInterval": 4}, "offerings": offerings}})
}

pub(crate) async fn bench(more: &str) -> Bench {
    Bench::seeded(&format!(
        "{{subscriptions: [{{subscriptionId: {DEFAULT_SUBSCRIPTION}, resourceGroups: [Rg-Sec]}}], {more}}}"
    ))
    .await
}

pub(crate) async fn put(bench: &Bench, name: &str, body: &Value) -> Got {
    bench.ask("PUT", &path(name), Some(body.clone())).await
}

pub(crate) async fn patch_clouds(bench: &Bench, patch: Value) {
    bench.control("PATCH", "cloud-accounts", patch).await;
}

pub(crate) async fn advance(bench: &Bench, by: &str) {
    bench.control("PUT", "clock", json!({"advance": by})).await;
}
