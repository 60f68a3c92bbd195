//! The official examples and recordings of connectors, if available (they are not part of this repository).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends there"
)]

mod bench;

use std::fs;

use bench::{
    Bench,
    official::{examples, like, load, text},
};
use serde_json::{Value, json};
use serverprotection_emulator::state::DEFAULT_CLIENT;

const SUBSCRIPTION: &str = "20ff7fc3-e762-44dd-bd96-b71116dcdc23";

async fn bench(more: &str) -> Bench {
    Bench::seeded(&format!(
        "{{principals: [{{clientId: {DEFAULT_CLIENT}, roleAssignments: {{'*': [Owner]}}}}],
          subscriptions: [{{subscriptionId: {SUBSCRIPTION}, {more}}}]}}"
    ))
    .await
}

const CONNECTOR: &str =
    "securityConnectors: [{name: dfdsdktests-azdo-01, resourceGroup: dfdtest-sdk, location: centralus,
    environmentName: AzureDevOps, hierarchyIdentifier: 4a8eb7f1-f533-48c5-b102-9b09e90906b7,
    offerings: [{offeringType: CspmMonitorAzureDevOps}]}]";

/// The four shapes of connectors. Their account id is not valid, so it is replaced by a number.
#[tokio::test]
async fn connectors_match_the_official_examples() {
    let Some(folder) = examples() else { return };
    let bench = bench("resourceGroups: [exampleResourceGroup, myRg]").await;
    let example = |name: &str| -> Value {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        let text = text.replace("exampleHierarchyId", "123456789012");
        let text = text.replace("a5caac9c-5c04-49af-b3d0-e204f40345d5", SUBSCRIPTION);
        serde_json::from_str(&text.replace("iam::00000000:", "iam::123456789012:")).unwrap()
    };
    let path = |example: &Value| {
        format!(
            "/subscriptions/{SUBSCRIPTION}/resourceGroups/{}/providers/Microsoft.Security/securityConnectors/{}?api-version={}",
            text(example, "resourceGroupName"),
            text(example, "securityConnectorName"),
            text(example, "api-version")
        )
    };
    // Recordings have neither of the two.
    let recorded = |example: &Value, status: &str| {
        let mut body = example["responses"][status]["body"].clone();
        body.as_object_mut()
            .unwrap()
            .retain(|name, _| name != "kind" && name != "etag");
        body
    };
    let write = example("SecurityConnectors_CreateOrUpdate.json");
    for status in [201_u16, 200] {
        let body = write["parameters"]["securityConnector"].clone();
        let got = bench.path("PUT", &path(&write), Some(body)).await;
        like(&got, &[status], &recorded(&write, &status.to_string()));
    }
    let read = example("SecurityConnectors_Get.json");
    like(
        &bench.path("GET", &path(&read), None).await,
        &[200],
        &recorded(&read, "200"),
    );
    let delete = example("SecurityConnectors_Delete.json");
    let got = bench.path("DELETE", &path(&delete), None).await;
    assert!(
        delete["responses"].get(got.status.to_string()).is_some(),
        "{got:?}"
    );
}

/// Recorded histories of connectors: compares everything except times.
#[tokio::test]
async fn connectors_match_the_recordings() {
    let Some(folder) = examples() else { return };
    let bench = Bench::seeded(&format!(
        "{{principals: [{{clientId: {DEFAULT_CLIENT}, roleAssignments: {{'*': [Owner]}}}}], subscriptions: [
          {{subscriptionId: 00000000-0000-0000-0000-000000000000, resourceGroups: [clitest.rg000001]}},
          {{subscriptionId: 487bb485-b5b0-471e-9c0d-10717612f869, {CONNECTOR}}}]}}"
    ))
    .await;
    for name in [
        "cli_securityconnectors_lifecycle_2023-10-01-preview.json",
        "pwsh_securityconnectors_patch_2023-10-01-preview.json",
    ] {
        let mut written = String::new();
        for interaction in load(&folder.join("observed"), name)["interactions"]
            .as_array()
            .unwrap()
        {
            let uri = interaction["uri"].as_str().unwrap();
            let path = match uri.strip_prefix("https://management.azure.com") {
                Some(path) => path.to_owned(),
                None => written.clone(),
            };
            let method = interaction["method"].as_str().unwrap();
            if method != "GET" {
                written.clone_from(&path);
            }
            let got = bench
                .path(method, &path, interaction.get("request").cloned())
                .await;
            assert_eq!(
                json!(got.status),
                interaction["status"],
                "{method} {path}: {got:?}"
            );
            assert_eq!(
                timeless(got.body),
                timeless(interaction["response"].clone()),
                "{method} {path}"
            );
        }
    }
}

/// Without the members for author and time.
fn timeless(mut body: Value) -> Value {
    if let Some(items) = body.get_mut("value").and_then(Value::as_array_mut) {
        for item in items {
            *item = timeless(item.take());
        }
    }
    if let Some(body) = body.as_object_mut() {
        body.remove("systemData");
    }
    body
}
