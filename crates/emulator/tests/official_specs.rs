//! The official examples and recordings, if available (they are not part of this repository):
//! their requests are accepted, and the responses have every member of theirs with the same JSON types.
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
    official::{carries, examples, like, load, text},
};
use serde_json::{Value, json};
use serverprotection_emulator::state::DEFAULT_CLIENT;

const SUBSCRIPTION: &str = "20ff7fc3-e762-44dd-bd96-b71116dcdc23";

async fn bench(more: &str) -> Bench {
    Bench::seeded(&format!(
        "{{principals: [{{clientId: {DEFAULT_CLIENT}, roleAssignments: {{'*': [Owner]}}}}],
          subscriptions: [{{subscriptionId: {SUBSCRIPTION}, {more}}}, {{subscriptionId: d34fd44c-ebfa-4a9c-bceb-9eeafe72ac15}}]}}"
    ))
    .await
}

const PROTECTED: &str = "pricings: {KeyVaults: {pricingTier: Standard}, VirtualMachines: {
    pricingTier: Standard, subPlan: P2,
    extensions: {AgentlessVmScanning: {additionalExtensionProperties: {ExclusionTags: '[]'}}}}}";

#[tokio::test]
async fn reads_match_the_official_examples() {
    let Some(folder) = examples() else { return };
    let bench = bench(PROTECTED).await;
    for name in [
        "Pricings_Get_VirtualMachines.json",
        "Pricings_Get_Resource_VirtualMachines.json",
    ] {
        let example = load(&folder, name);
        let (version, scope) = (text(&example, "api-version"), text(&example, "scopeId"));
        let path =
            format!("/{scope}/providers/Microsoft.Security/pricings/VirtualMachines?api-version={version}");
        like(
            &bench.path("GET", &path, None).await,
            &[200],
            &example["responses"]["200"]["body"],
        );
    }
    let example = load(&folder, "Pricings_List_WithPlanFilter.json");
    let filter = text(&example, "$Filter").replace(' ', "%20");
    let path = format!(
        "/{}/providers/Microsoft.Security/pricings?api-version=2024-01-01&$filter={filter}",
        text(&example, "scopeId")
    );
    // The example mixes two subscriptions in one list; a real list has one.
    let expected = example["responses"]["200"]["body"]
        .to_string()
        .replace("d34fd44c-ebfa-4a9c-bceb-9eeafe72ac15", SUBSCRIPTION);
    like(
        &bench.path("GET", &path, None).await,
        &[200],
        &serde_json::from_str(&expected).unwrap(),
    );
    let example = load(&folder, "Settings_Get.json");
    let path = format!("/subscriptions/{SUBSCRIPTION}/{}", bench::setting("WDATP"));
    like(
        &bench.path("GET", &path, None).await,
        &[200],
        &example["responses"]["200"]["body"],
    );
}

#[tokio::test]
async fn writes_match_the_official_examples() {
    let Some(folder) = examples() else { return };
    let bench = bench("pricings: {VirtualMachines: {pricingTier: Free}}").await;
    for (name, setup) in [
        ("Pricings_Update_VirtualMachines.json", json!({})),
        (
            "Pricings_Update_Resource_VirtualMachines.json",
            json!({"pricings.VirtualMachines.enforce": false}),
        ),
    ] {
        bench
            .control(
                "PATCH",
                &format!("subscriptions/{SUBSCRIPTION}"),
                json!({"set": setup}),
            )
            .await;
        let example = load(&folder, name);
        let (scope, plan) = (text(&example, "scopeId"), text(&example, "pricingName"));
        let path = format!("/{scope}/providers/Microsoft.Security/pricings/{plan}?api-version=2024-01-01");
        let got = bench
            .path("PUT", &path, Some(example["parameters"]["pricing"].clone()))
            .await;
        like(&got, &[200, 201], &example["responses"]["200"]["body"]);
        let status = if plan == "virtualMachines" { 200 } else { 400 };
        assert_eq!(bench.path("DELETE", &path, None).await.status, status);
    }
    let example = load(&folder, "Settings_Update.json");
    let path = format!("/subscriptions/{SUBSCRIPTION}/{}", bench::setting("MCAS"));
    let got = bench
        .path("PUT", &path, Some(example["parameters"]["setting"].clone()))
        .await;
    like(&got, &[200], &example["responses"]["200"]["body"]);

    let path = format!("/subscriptions/{SUBSCRIPTION}/{}", bench::VA);
    let example = load(
        &folder,
        "ServerVulnerabilityAssessmentsSettings_CreateOrUpdate.json",
    );
    let body = example["parameters"]["serverVulnerabilityAssessmentsSetting"].clone();
    like(
        &bench.path("PUT", &path, Some(body)).await,
        &[201],
        &example["responses"]["201"]["body"],
    );
    let example = load(
        &folder,
        "ServerVulnerabilityAssessmentsSettings_ListBySubscription.json",
    );
    let list = path.replace("/azureServersSetting", "");
    like(
        &bench.path("GET", &list, None).await,
        &[200],
        &example["responses"]["200"]["body"],
    );
}

/// Recordings of the real service, replayed from their initial state.
#[tokio::test]
async fn responses_match_the_recordings() {
    let Some(folder) = examples() else { return };
    // The recorded subscription has used the trial of every plan.
    let plans = load(&folder, "observed/cli_pricings_2023-01-01.json");
    let mut used = String::new();
    for plan in plans["interactions"][0]["response"]["value"].as_array().unwrap() {
        if plan["properties"]["pricingTier"] == "Free" {
            used += plan["name"].as_str().unwrap();
            used += ": {pricingTier: Free}, ";
        }
    }
    let seed = format!(
        "{{principals: [{{clientId: {DEFAULT_CLIENT}, roleAssignments: {{'*': [Owner]}}}}], subscriptions: [{{
          subscriptionId: 00000000-0000-0000-0000-000000000000, integrationProfile: legacy, settings: {{MCAS: true, WDATP: false}},
          pricings: {{{used}
            VirtualMachines: {{pricingTier: Standard, subPlan: P1}},
            CloudPosture: {{pricingTier: Standard, enablementTime: null, extensions: {{EntraPermissionsManagement: null,
              AgentlessVmScanning: {{additionalExtensionProperties: {{ExclusionTags: '[{{\"key\":\"A\",\"value\":\"B\"}}]'}}}}}}}},
            StorageAccounts: {{pricingTier: Standard, extensions: {{OnUploadMalwareScanning:
              {{additionalExtensionProperties: {{CapGBPerMonthPerStorageAccount: '5000'}}}}}}}}}}}}]}}"
    );
    let bench = Bench::seeded(&seed).await;
    let mut replayed = 0;
    for name in [
        "observed/cli_settings_list_2022-05-01.json",
        "observed/cli_pricings_2023-01-01.json",
    ] {
        for interaction in load(&folder, name)["interactions"].as_array().unwrap() {
            let path = interaction["uri"]
                .as_str()
                .unwrap()
                .trim_start_matches("https://management.azure.com");
            let method = interaction["method"].as_str().unwrap();
            let got = bench
                .path(method, path, interaction.get("request").cloned())
                .await;
            let status = u16::try_from(interaction["status"].as_u64().unwrap()).unwrap();
            like(&got, &[status], &interaction["response"]);
            same_facts(&got.body, &interaction["response"], "");
            replayed += 1;
        }
    }
    assert_eq!(replayed, 7);
}

/// Values are equal too, except for times.
fn same_facts(got: &Value, expected: &Value, at: &str) {
    match (got, expected) {
        (Value::Object(got), Value::Object(expected)) => {
            for (name, value) in expected.iter().filter(|(name, _)| *name != "enablementTime") {
                same_facts(&got[name], value, &format!("{at}/{name}"));
            }
            if let Some(extra) = got
                .keys()
                .find(|name| !expected.contains_key(*name) && *name != "enablementTime")
            {
                panic!("{at}/{extra} was not recorded");
            }
        }
        (Value::Array(got), Value::Array(expected)) => {
            for value in expected {
                let mine = got
                    .iter()
                    .find(|mine| mine.get("name") == value.get("name"))
                    .unwrap_or(&Value::Null);
                same_facts(mine, value, &format!("{at}[{}]", value["name"]));
            }
        }
        _ => assert_eq!(got, expected, "{at}"),
    }
}

/// The members that the official types declare for an object.
fn declared(version: &str, kind: &str) -> Option<Vec<String>> {
    let path = examples()?.join(format!("../bicep-types/microsoft.security/{version}/types.json"));
    let types: Value = serde_json::from_str(&fs::read_to_string(path).ok()?).unwrap();
    let found = types.as_array()?.iter().find(|known| known["name"] == kind)?;
    Some(found["properties"].as_object()?.keys().cloned().collect())
}

#[track_caller]
fn only_declared(value: &Value, version: &str, kind: &str) {
    let Some(declared) = declared(version, kind) else {
        return;
    };
    for name in value.as_object().unwrap().keys() {
        assert!(
            declared.contains(name),
            "{name} is no member of {kind} in {version}"
        );
    }
}

#[tokio::test]
async fn nothing_is_invented() {
    let bench = bench("pricings: {VirtualMachines: {pricingTier: Free}}").await;
    let plan = format!("/subscriptions/{SUBSCRIPTION}/{}", bench::PLAN);
    let body = json!({"properties": {"pricingTier": "Standard", "subPlan": "P2"}});
    let got = bench.path("PUT", &plan, Some(body)).await;
    only_declared(got.properties(), "2024-01-01", "PricingProperties");
    for extension in got.properties()["extensions"].as_array().unwrap() {
        only_declared(extension, "2024-01-01", "Extension");
    }
    let status = &got.extension("AgentlessVmScanning")["operationStatus"];
    only_declared(status, "2024-01-01", "CommonOperationStatus");
    let machine = "resourceGroups/rg/providers/Microsoft.HybridCompute/machines/m";
    let path = plan.replacen("providers", &format!("{machine}/providers"), 1);
    only_declared(
        bench.path("GET", &path, None).await.properties(),
        "2024-01-01",
        "PricingProperties",
    );
    let assessment = format!("/subscriptions/{SUBSCRIPTION}/{}", bench::VA);
    let body = json!({"kind": "AzureServersSetting", "properties": {"selectedProvider": "MdeTvm"}});
    let got = bench.path("PUT", &assessment, Some(body)).await;
    only_declared(&got.body["systemData"], "2023-05-01", "SystemData");
}

#[tokio::test]
async fn queries_match_the_official_examples() {
    let Some(folder) = examples() else { return };
    let groups = "resourceGroups: [test1, test2, test3, test4, test5]";
    let seed = format!(
        "{{subscriptionId: cfbbd179-59d2-4052-aa06-9270a38aa9d6, {groups}}}, {{subscriptionId: {SUBSCRIPTION}, {groups}}}"
    );
    let bench = Bench::seeded(&format!(
        "{{principals: [{{clientId: {DEFAULT_CLIENT}, roleAssignments: {{'*': [Owner]}}}}], subscriptions: [{seed}],
          managementGroups: {{ProductionMG: [cfbbd179-59d2-4052-aa06-9270a38aa9d6]}}}}"
    ))
    .await;
    for name in [
        "ResourceGraph_Resources_FirstPage.json",
        "ResourceGraph_Resources_ManagementGroups.json",
    ] {
        let example = load(&folder, name);
        let version = text(&example, "api-version");
        let path = format!("/providers/Microsoft.ResourceGraph/resources?api-version={version}");
        // Other resources than the example's exist here, so only the members and their types are the same.
        let mut body = example["parameters"]["query"].clone();
        let asked = body["query"].as_str().unwrap();
        let own = bench.path("POST", &path, Some(body.clone())).await;
        assert!(own.body["data"].is_array(), "{own:?}");
        let order = if asked.contains("limit") {
            ""
        } else {
            " | order by id asc"
        };
        body["query"] = json!(format!("{asked}{order}").replace(
            "Resources |",
            "ResourceContainers | where name startswith 'test' |"
        ));
        let got = bench.path("POST", &path, Some(body)).await;
        assert_eq!(got.status, 200, "{got:?}");
        let expected = &example["responses"]["200"]["body"];
        for (member, value) in expected.as_object().unwrap() {
            let same = std::mem::discriminant(&got.body[member]) == std::mem::discriminant(value);
            assert!(same, "{name}: {member}: {:?}", got.body);
        }
        assert_eq!(got.body["count"], expected["count"]);
        let columns =
            |body: &Value| -> Vec<String> { body["data"][0].as_object().unwrap().keys().cloned().collect() };
        assert_eq!(columns(&got.body), columns(expected));
    }
}

/// Without the parts of the example's own machine, and those that a GET never returns.
fn shape(value: &Value) -> Value {
    const OWN: [&str; 6] = [
        "id",
        "name",
        "type",
        "tags",
        "protectedSettings",
        "forceUpdateTag",
    ];
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(name, _)| !OWN.contains(&name.as_str()))
            .map(|(name, value)| {
                (
                    name.clone(),
                    if name == "settings" {
                        json!({})
                    } else {
                        shape(value)
                    },
                )
            })
            .collect(),
        Value::Array(items) => items.iter().map(shape).collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn machines_match_the_official_examples() {
    let Some(folder) = examples() else { return };
    let bench = bench(
        "pricings: {VirtualMachines: {pricingTier: Standard, subPlan: P2}}, settings: {WDATP: true}, machines: [{name: vm, resourceGroup: rg}, {name: arc, resourceGroup: rg, cloudProvider: AWS}]",
    )
    .await;
    let group = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers");
    for (name, path) in [
        (
            "Compute_VirtualMachineExtensions_Get.json",
            "Microsoft.Compute/virtualMachines/vm/extensions/MDE.Linux?$expand=instanceView&api-version=2024-11-01",
        ),
        (
            "HybridCompute_MachineExtensions_Get.json",
            "Microsoft.HybridCompute/machines/arc/extensions/MDE.Linux?api-version=2025-01-13",
        ),
    ] {
        let example = load(&folder, name);
        let mut expected = shape(&example["responses"]["200"]["body"]);
        if let Some(status) = expected.pointer_mut("/properties/instanceView/status") {
            // The example has both, recorded responses of Arc do not.
            for member in ["displayStatus", "time"] {
                let removed = status.as_object_mut().unwrap().remove(member);
                assert!(removed.is_some(), "{name}: {member}");
            }
        }
        like(
            &bench.path("GET", &format!("{group}/{path}"), None).await,
            &[200],
            &expected,
        );
    }
    let example = load(&folder, "HealthReports_List.json");
    let path = format!(
        "/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Security/healthReports?api-version=2023-05-01-preview"
    );
    let got = bench.path("GET", &path, None).await;
    let mut expected = shape(&example["responses"]["200"]["body"]["value"][0]);
    // Both spellings occur.
    expected["properties"]["status"]
        .as_object_mut()
        .unwrap()
        .remove("lastTimeScannedDate");
    carries(&got.body["value"][0], &expected, "").unwrap();
}
