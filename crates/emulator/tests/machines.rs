//! Machines, their extensions, long-running operations, health reports and the clock, over real HTTPS.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends there"
)]

mod bench;

use std::time::Duration;

use bench::{Bench, Got, PLAN, setting};
use serde_json::{Value, json};
use serverprotection_emulator::state::{DEFAULT_CLIENT, DEFAULT_SUBSCRIPTION};

const VM: &str = "resourceGroups/rg/providers/Microsoft.Compute/virtualMachines";
const ARC: &str = "resourceGroups/rg/providers/Microsoft.HybridCompute/machines";
const COMPUTE: &str = "api-version=2024-11-01";
const HYBRID: &str = "api-version=2025-01-13";
const REPORTS: &str = "providers/Microsoft.Security/healthReports";

async fn bench(machines: &str) -> Bench {
    Bench::seeded(&format!(
        "subscriptions: [{{subscriptionId: {DEFAULT_SUBSCRIPTION}, pricings: {{VirtualMachines: {{pricingTier: Standard, subPlan: P2}}}}, resourceGroups: [rg],
          settings: {{WDATP: true, WDATP_UNIFIED_SOLUTION: true}}, machines: [{machines}]}}]"
    ))
    .await
}

async fn advance(bench: &Bench, by: &str) {
    bench.control("PUT", "clock", json!({"advance": by})).await;
}

async fn change(bench: &Bench, machine: &str, set: Value) {
    let path = format!("subscriptions/{DEFAULT_SUBSCRIPTION}/machines/{machine}");
    bench.control("PATCH", &path, json!({"set": set})).await;
}

async fn follow(bench: &Bench, url: &str) -> Got {
    bench
        .path("GET", url.strip_prefix(&bench.url).unwrap(), None)
        .await
}

fn onboarding(kind: &str) -> Value {
    json!({"location": "westeurope", "properties": {
        "publisher": "Microsoft.Azure.AzureDefenderForServers", "type": kind, "typeHandlerVersion": "1.0",
        "autoUpgradeMinorVersion": true, "settings": {"vNextEnabled": "true"},
        "protectedSettings": {"defenderForEndpointOnboardingScript": "geheim"}}})
}

#[tokio::test]
async fn a_vm_and_its_instance_view() {
    let bench = bench(
        "{name: Web-1, resourceGroup: RG, os: windows-2022, tags: {env: prod}, otherExtensions: [AzureMonitorAgent]},
         {name: bad-1, resourceGroup: rg, provisioningFailureCode: 25},
         {name: off-1, resourceGroup: rg, powerState: deallocated}",
    )
    .await;
    let vm = bench.ask("GET", &format!("{VM}/web-1?{COMPUTE}"), None).await;
    assert_eq!(vm.status, 200, "{vm:?}");
    assert!(
        vm.body["id"]
            .as_str()
            .unwrap()
            .ends_with("/resourceGroups/RG/providers/Microsoft.Compute/virtualMachines/Web-1")
    );
    assert_eq!(vm.properties()["storageProfile"]["osDisk"]["osType"], "Windows");
    assert_eq!(vm.properties().get("instanceView"), None);
    assert_eq!(vm.body["tags"]["env"], "prod");
    assert_eq!(vm.body["resources"].as_array().unwrap().len(), 2);
    let full = bench
        .ask("GET", &format!("{VM}/web-1?$expand=instanceView&{COMPUTE}"), None)
        .await;
    let view = &full.properties()["instanceView"];
    assert_eq!(view["statuses"][1]["code"], "PowerState/running");
    assert_eq!(view["osName"], "Windows Server 2022 Datacenter");
    assert_eq!(view["extensions"][1]["statuses"][0]["level"], "Info");
    let off = bench
        .ask("GET", &format!("{VM}/off-1/instanceView?{COMPUTE}"), None)
        .await;
    assert_eq!(off.body["statuses"][1]["code"], "PowerState/deallocated");
    assert_eq!(off.body.get("osName"), None);
    let bad = bench
        .ask(
            "GET",
            &format!("{VM}/bad-1/extensions/mde.linux?$expand=instanceView&{COMPUTE}"),
            None,
        )
        .await;
    assert_eq!(bad.properties()["provisioningState"], "Failed");
    let status = &bad.properties()["instanceView"]["statuses"][0];
    assert_eq!(
        (&status["code"], &status["level"]),
        (&json!("ProvisioningState/failed/25"), &json!("Error"))
    );
    assert_eq!(status["message"].as_str().unwrap().split(' ').nth(16), Some("25"));
    let list = bench
        .ask("GET", &format!("{VM}/bad-1/extensions?{COMPUTE}"), None)
        .await;
    assert_eq!(list.body["value"].as_array().unwrap().len(), 1);
    let code = async |rest: &str| bench.ask("GET", rest, None).await.code().to_owned();
    assert_eq!(code(&format!("{VM}/nobody?{COMPUTE}")).await, "ResourceNotFound");
    assert_eq!(
        code(&format!("{}/web-1?{COMPUTE}", VM.replace("/rg/", "/nowhere/"))).await,
        "ResourceGroupNotFound"
    );
    assert_eq!(
        code(&format!("{VM}/web-1?api-version=2012-01-01")).await,
        "NoRegisteredProviderFound"
    );
}

#[tokio::test]
async fn the_sensor_follows_the_plan() {
    let bench = Bench::seeded(&format!(
        "subscriptions: [{{subscriptionId: {DEFAULT_SUBSCRIPTION}, machines: [{{name: m, resourceGroup: rg}}, {{name: f, resourceGroup: rg, provisioningFailureCode: 4}}]}}]"
    ))
    .await;
    let path = format!("{VM}/m/extensions/MDE.Linux?{COMPUTE}");
    let state = async |path: &str| {
        let got = bench.ask("GET", path, None).await;
        got.properties()["provisioningState"]
            .as_str()
            .map_or(got.status.to_string(), Into::into)
    };
    assert_eq!(
        bench
            .put_plan(json!({"pricingTier": "Standard", "subPlan": "P2"}))
            .await
            .status,
        200
    );
    let wdatp = bench.ask("GET", &setting("WDATP"), None).await;
    assert_eq!(wdatp.properties()["enabled"], true);
    assert_eq!(state(&path).await, "404");
    bench
        .control(
            "PUT",
            "options",
            json!({"provisioningDelay": "1h", "provisioningTime": "3h"}),
        )
        .await;
    advance(&bench, "100m").await;
    assert_eq!(state(&path).await, "Creating");
    advance(&bench, "3h").await;
    assert_eq!(state(&path).await, "Succeeded");
    assert_eq!(
        state(&format!("{VM}/f/extensions/MDE.Linux?{COMPUTE}")).await,
        "Failed"
    );
    let gone = bench.ask("DELETE", &path, None).await;
    assert_eq!(gone.status, 202);
    assert!(!gone.header("retry-after").is_empty());
    assert_eq!(state(&path).await, "Deleting");
    let location = gone.header("location").to_owned();
    assert_eq!(follow(&bench, &location).await.status, 202);
    advance(&bench, "1h").await;
    assert_eq!(follow(&bench, &location).await.status, 204);
    assert_eq!(state(&path).await, "404");
    assert_eq!(bench.ask("DELETE", &path, None).await.status, 204);
    advance(&bench, "5h").await;
    assert_eq!(state(&path).await, "Succeeded", "it comes back");
    change(&bench, "f", json!({"provisioningFailureCode": null})).await;
    assert_eq!(
        state(&format!("{VM}/f/extensions/MDE.Linux?{COMPUTE}")).await,
        "Failed"
    );
    assert_eq!(bench.breaches().await, Vec::<String>::new());
}

#[tokio::test]
async fn manual_deployment_of_the_sensor() {
    let bench = bench("{name: m, resourceGroup: rg, mde: none}, {name: f, resourceGroup: rg, provisioningFailureCode: 24, mde: none}, {name: o, resourceGroup: rg, powerState: stopped}").await;
    let path = |machine: &str| format!("{VM}/{machine}/extensions/Sensor?{COMPUTE}");
    let put = bench.ask("PUT", &path("m"), Some(onboarding("MDE.Linux"))).await;
    assert_eq!(
        (put.status, &put.properties()["provisioningState"]),
        (201, &json!("Creating"))
    );
    assert!(!put.body.to_string().contains("geheim") && !put.header("retry-after").is_empty());
    let operation = put.header("azure-asyncoperation").to_owned();
    assert!(
        operation.starts_with(&format!("{}/subscriptions/", bench.url)),
        "{operation}"
    );
    assert_eq!(follow(&bench, &operation).await.body["status"], "InProgress");
    assert_eq!(
        bench
            .ask("PUT", &path("m"), Some(onboarding("MDE.Linux")))
            .await
            .status,
        409
    );
    advance(&bench, "6m").await;
    let over = follow(&bench, &operation).await;
    assert_eq!(
        (&over.body["status"], over.body["endTime"].is_string()),
        (&json!("Succeeded"), true)
    );
    let got = bench.ask("GET", &path("m"), None).await;
    assert_eq!(got.properties()["provisioningState"], "Succeeded");
    assert_eq!(got.properties()["settings"], json!({"vNextEnabled": "true"}));
    let again = bench
        .ask(
            "PATCH",
            &path("m"),
            Some(json!({"properties": {"settings": {"a": 1}}})),
        )
        .await;
    assert_eq!(
        (again.status, &again.properties()["provisioningState"]),
        (200, &json!("Updating"))
    );
    let failing = bench.ask("PUT", &path("f"), Some(onboarding("MDE.Linux"))).await;
    advance(&bench, "6m").await;
    let over = follow(&bench, failing.header("azure-asyncoperation")).await;
    assert_eq!(
        (&over.body["status"], &over.body["error"]["code"]),
        (&json!("Failed"), &json!("VMExtensionProvisioningError"))
    );
    assert!(
        over.body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("code: 24")
    );
    let off = bench.ask("PUT", &path("o"), Some(onboarding("MDE.Linux"))).await;
    assert_eq!((off.status, off.code()), (409, "OperationNotAllowed"));
    assert_eq!(
        bench
            .ask("PUT", &path("x"), Some(onboarding("MDE.Linux")))
            .await
            .code(),
        "ParentResourceNotFound"
    );
    let log = bench
        .control("GET", "requests", Value::Null)
        .await
        .body
        .to_string();
    assert!(!log.contains("geheim"));
}

#[tokio::test]
async fn an_arc_machine() {
    let bench = bench(
        "{name: i-0abc, resourceGroup: rg, cloudProvider: AWS, os: windows-2019, provisioningFailureCode: 51},
         {name: lost, resourceGroup: rg, cloudProvider: OnPremises, arc: {status: Disconnected, lastStatusChange: 3d}},
         {name: i-0abc, cloudProvider: AWS, createdByPublicCloudConnector: true, hierarchyIdentifier: '42'},
         {name: new, resourceGroup: rg, cloudProvider: GCP, mde: none}",
    )
    .await;
    let one = bench
        .ask(
            "GET",
            &format!("{ARC}/i-0abc?$expand=instanceView&{HYBRID}"),
            None,
        )
        .await;
    assert_eq!(one.body["kind"], Value::Null);
    assert_eq!(one.body["tags"]["MDFCSecurityConnector"], "true");
    assert_eq!(one.properties()["cloudMetadata"]["provider"], "AWS");
    assert_eq!(one.properties()["osType"], "windows");
    let status = &one.body["resources"][0]["properties"]["instanceView"]["status"];
    assert_eq!(
        (&status["code"], &status["level"]),
        (&json!("51"), &json!("Error"))
    );
    let lost = bench.ask("GET", &format!("{ARC}/lost?{HYBRID}"), None).await;
    assert_eq!(lost.properties()["status"], "Disconnected");
    assert_eq!(
        lost.properties()["agentConfiguration"]["extensionsAllowList"],
        json!([])
    );
    let all = bench
        .ask(
            "GET",
            &format!("providers/Microsoft.HybridCompute/machines?{HYBRID}"),
            None,
        )
        .await;
    assert_eq!(all.body["value"].as_array().unwrap().len(), 4);
    let shell = all.body["value"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["identity"]["type"] == "None")
        .unwrap();
    assert!(shell["id"].as_str().unwrap().contains("/aws_42/"));
    let put = bench
        .ask(
            "PUT",
            &format!("{ARC}/new/extensions/MDE.Linux?{HYBRID}"),
            Some(onboarding("MDE.Linux")),
        )
        .await;
    assert_eq!((put.status, &put.body), (202, &Value::Null));
    assert_eq!(
        (
            put.header("retry-after"),
            put.header("location").contains("operationresults")
        ),
        ("", true)
    );
    advance(&bench, "6m").await;
    let over = follow(&bench, put.header("azure-asyncoperation")).await;
    assert_eq!(
        over.body["properties"]["properties"]["provisioningState"],
        "Succeeded"
    );
    let result = follow(&bench, put.header("location")).await;
    assert_eq!((result.status, &result.body["name"]), (200, &json!("MDE.Linux")));
}

#[tokio::test]
async fn arc_machines_of_both_systems_as_recorded() {
    let bench = bench(
        "{name: lin, resourceGroup: rg, cloudProvider: OnPremises, os: ubuntu-24.04},
         {name: win, resourceGroup: rg, cloudProvider: GCP, os: windows-2022},
         {name: az, resourceGroup: rg, cloudProvider: Azure, arc: {extensionService: stopped}},
         {name: i-0abc, resourceGroup: rg, cloudProvider: AWS, hierarchyIdentifier: '42'}",
    )
    .await;
    let get = async |name: &str| bench.ask("GET", &format!("{ARC}/{name}?{HYBRID}"), None).await;
    let (linux, windows, azure, aws) = (
        get("lin").await,
        get("win").await,
        get("az").await,
        get("i-0abc").await,
    );
    let services = |got: &Got| got.properties()["serviceStatuses"].clone();
    let both = |status: &str, starts: &str| {
        let one = json!({"status": status, "startupType": starts});
        json!({"extensionService": one, "guestConfigurationService": one})
    };
    assert_eq!(services(&linux), both("active", "enabled"));
    assert_eq!(services(&windows), both("running", "automatic"));
    assert_eq!(services(&azure)["extensionService"]["status"], "inactive");
    let system = |got: &Got, name: &str| got.properties()[name].as_str().unwrap().to_owned();
    for (name, value) in [
        ("osName", "linux"),
        ("osVersion", "6.8.0-87-generic"),
        ("osSku", "Ubuntu 24.04.1 LTS"),
        ("osEdition", "unknown"),
        ("domainName", "unknown"),
    ] {
        assert_eq!(system(&linux, name), value);
    }
    assert_eq!(system(&windows, "osName"), "windows");
    let provider = |got: &Got| got.properties()["cloudMetadata"]["provider"].clone();
    assert_eq!([provider(&linux), provider(&azure)], ["N/A", "Azure"]);
    assert_eq!(linux.properties()["detectedProperties"]["cloudprovider"], "N/A");
    assert_eq!(aws.properties()["detectedProperties"]["AWS-accountId"], "42");
    // A GET of one machine includes its extensions, even without $expand; they have systemData instead of a time.
    let extension = &linux.body["resources"][0];
    let status = extension["properties"]["instanceView"]["status"]
        .as_object()
        .unwrap();
    let members: Vec<&str> = status.keys().map(String::as_str).collect();
    assert_eq!(members, ["code", "level", "message"]);
    for member in ["createdAt", "createdByType", "lastModifiedAt"] {
        assert!(extension["systemData"][member].is_string(), "{extension}");
    }
    change(&bench, "lin", json!({"mde.provisioningState": "Creating"})).await;
    let creating = &get("lin").await.body["resources"][0];
    assert_eq!(creating["properties"]["instanceView"], json!({"status": {}}));
    let list = bench.ask("GET", &format!("{ARC}?{HYBRID}"), None).await;
    assert!(
        list.body["value"]
            .as_array()
            .unwrap()
            .iter()
            .all(|item| item.get("resources").is_none())
    );
}

#[tokio::test]
async fn roles_for_machines() {
    let reader = "00000000-0000-0000-0000-000000000002";
    let bench = Bench::seeded(&format!(
        "{{subscriptions: [{{subscriptionId: {reader}, pricings: {{VirtualMachines: {{pricingTier: Standard}}}}, settings: {{WDATP: true}}, machines: [{{name: m, resourceGroup: rg}}],
           roleAssignments: {{{DEFAULT_CLIENT}: [{{actions: [Microsoft.Compute/virtualMachines/read]}}]}}}}]}}"
    ))
    .await;
    let status = async |method: &str, rest: &str| bench.at(reader, method, rest, None).await.status;
    assert_eq!(status("GET", &format!("{VM}/m?{COMPUTE}")).await, 200);
    assert_eq!(status("GET", &format!("{VM}/m/extensions?{COMPUTE}")).await, 403);
    assert_eq!(
        status("GET", &format!("{VM}/m/instanceView?{COMPUTE}")).await,
        403
    );
    assert_eq!(
        status("DELETE", &format!("{VM}/m/extensions/MDE.Linux?{COMPUTE}")).await,
        403
    );
    let reports = format!("{REPORTS}?api-version=2023-05-01-preview");
    let denied = bench.at(reader, "GET", &reports, None).await;
    assert!(
        denied.message().contains("Microsoft.Security/healthReports/read"),
        "{denied:?}"
    );
}

#[tokio::test]
async fn health_reports() {
    let bench = bench(
        "{name: well, resourceGroup: rg}, {name: ill, resourceGroup: rg, healthReport: NotHealthy},
         {name: failed, resourceGroup: rg, provisioningFailureCode: 4},
         {name: desk, resourceGroup: rg, os: windows-11}",
    )
    .await;
    let reports = async |rest: &str| {
        let got = bench
            .ask("GET", &format!("{rest}?api-version=2023-05-01-preview"), None)
            .await;
        assert_eq!(got.status, 200, "{got:?}");
        got.body["value"].as_array().unwrap().clone()
    };
    let all = reports(REPORTS).await;
    let codes: Vec<_> = all
        .iter()
        .map(|report| report["properties"]["status"]["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["NotApplicable", "NotHealthy", "Healthy"]);
    assert_eq!(all[1]["properties"]["issues"].as_array().unwrap().len(), 1);
    assert_eq!(
        all[0]["properties"]["healthDataClassification"]["component"],
        "MDE"
    );
    let own = reports(&format!("{VM}/ill/{REPORTS}")).await;
    assert_eq!(own, all[1..2]);
    let id = own[0]["id"].as_str().unwrap();
    let single = bench
        .path("GET", &format!("{id}?api-version=2023-05-01-preview"), None)
        .await;
    assert_eq!(single.body, own[0]);
    assert_eq!(
        reports(&format!("{VM}/failed/{REPORTS}")).await,
        Vec::<Value>::new()
    );
    bench.set(json!({"pricings.VirtualMachines.subPlan": "P1"})).await;
    assert_eq!(reports(REPORTS).await.len(), 0, "P1 alone has none");
    bench
        .set(json!({"pricings.CloudPosture.pricingTier": "Standard"}))
        .await;
    assert_eq!(reports(REPORTS).await.len(), 3);
}

#[tokio::test]
async fn pages_of_a_generated_fleet() {
    let bench = Bench::seeded(&format!(
        "{{principals: [{{clientId: {DEFAULT_CLIENT}, roleAssignments: {{'*': [Owner]}}}}], fleet: {{randomSeed: 1, machineCount: 900, subscriptionCount: 2}}}}"
    ))
    .await;
    for list in [
        "Microsoft.Compute/virtualMachines",
        "Microsoft.HybridCompute/machines",
        "Microsoft.Security/healthReports",
    ] {
        let version = match list.split_once('.').unwrap().1.split_once('/').unwrap().0 {
            "Compute" => "2026-04-01",
            "HybridCompute" => "2026-07-15",
            _ => "2023-05-01-preview",
        };
        let mut next = format!(
            "/subscriptions/00000000-0000-0000-0000-0000000f1000/providers/{list}?api-version={version}"
        );
        let mut ids = std::collections::BTreeSet::new();
        let mut pages = 0;
        loop {
            let got = bench.path("GET", &next, None).await;
            let items = got.body["value"].as_array().unwrap_or_else(|| panic!("{got:?}"));
            assert!(items.len() <= 100);
            assert!(
                items
                    .iter()
                    .all(|item| ids.insert(item["id"].as_str().unwrap().to_ascii_lowercase()))
            );
            pages += 1;
            let Some(link) = got.body["nextLink"].as_str() else {
                break;
            };
            next = link.strip_prefix(&bench.url).unwrap().to_owned();
        }
        assert!(
            pages > 1 && ids.len() > 100,
            "{list}: {pages} pages, {} items",
            ids.len()
        );
    }
    let sets = "providers/Microsoft.Compute/virtualMachineScaleSets?api-version=2024-11-01";
    let sets = bench
        .at("00000000-0000-0000-0000-0000000f1000", "GET", sets, None)
        .await;
    let modes: std::collections::BTreeSet<_> = sets.body["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|set| set["properties"]["orchestrationMode"].as_str().unwrap())
        .collect();
    assert_eq!(modes.into_iter().collect::<Vec<_>>(), ["Flexible", "Uniform"]);
}

#[tokio::test]
async fn machines_change_at_run_time() {
    let bench = bench("").await;
    let machines = format!("subscriptions/{DEFAULT_SUBSCRIPTION}/machines");
    bench
        .control(
            "POST",
            &machines,
            json!([{"name": "a"}, {"name": "b", "cloudProvider": "GCP"}]),
        )
        .await;
    let a = bench
        .control("GET", &format!("{machines}/a"), Value::Null)
        .await
        .body;
    assert_eq!(
        (&a["provisioningWanted"], &a["mde"][0]["provisioningState"]),
        (&json!(true), &json!("Planned"))
    );
    bench
        .set(json!({"machines.a": {"powerState": "stopped"}, "machines.c": {"os": "windows-2016"}}))
        .await;
    bench
        .control("DELETE", &format!("{machines}/b"), Value::Null)
        .await;
    let all = bench.control("GET", &machines, Value::Null).await.body;
    assert_eq!(all["machines"].as_array().unwrap().len(), 2);
    assert_eq!(all["machines"][0]["mde"], json!([]));
    bench
        .control(
            "PUT",
            "options",
            json!({"provisioningDelay": "100ms", "provisioningTime": "10ms"}),
        )
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let c = bench
        .control("GET", &format!("{machines}/c"), Value::Null)
        .await
        .body;
    assert_eq!(c["mde"][0]["provisioningState"], "Succeeded");
    bench.set(json!({"machines.a": null})).await;
    bench.ask("GET", PLAN, None).await;
    let clock = bench.control("GET", "clock", Value::Null).await.body;
    assert_eq!(clock["ahead"], "0s");
}

/// A machine is returned with the members that made it, and unknown members are refused.
#[tokio::test]
async fn machines_have_the_members_of_the_seed() {
    let bench = bench("").await;
    let machines = format!("subscriptions/{DEFAULT_SUBSCRIPTION}/machines");
    let set = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachineScaleSets/set";
    for machine in [
        json!({"name": "vm", "type": "Microsoft.Compute/virtualMachines", "resourceGroup": "RG", "location": "eastus",
               "os": "windows-2019", "tags": {"env": "prod"}, "customImage": true, "powerState": "stopped",
               "virtualMachineScaleSet": set, "provisioningFailureCode": 4, "neverProvisioned": true,
               "healthReport": "NotHealthy"}),
        json!({"name": "set", "orchestrationMode": "Flexible", "capacity": 3}),
        json!({"name": "i-1", "cloudProvider": "AWS", "hierarchyIdentifier": "42", "arc": {
               "status": "Error", "statusReason": "Cloned", "lastStatusChange": "2026-01-02T03:04:05.0000000Z",
               "agentVersion": "1.40", "extensionsEnabled": false, "configMode": "monitor", "extensionService": "failed",
               "extensionsAllowList": ["p/a"], "extensionsBlockList": ["p/b"]}}),
        json!({"name": "i-2", "cloudProvider": "AWS", "createdByPublicCloudConnector": true}),
    ] {
        let added = bench.control("POST", &machines, machine.clone()).await;
        assert_eq!(added.status, 201, "{added:?}");
        let path = format!("{machines}/{}", machine["name"].as_str().unwrap());
        let shown = bench.control("GET", &path, Value::Null).await.body;
        for (member, value) in machine.as_object().unwrap() {
            assert_eq!(&shown[member], value, "{member}");
        }
    }
    let mde = json!({"name": "Sensor", "provisioningState": "Failed", "code": 25, "message": "no", "typeHandlerVersion": "2.0",
                     "vNextEnabled": "true", "lastModifiedAt": "2026-01-02T03:04:05.0000000Z"});
    let other = json!({"publisher": "p", "type": "t", "name": "n", "provisioningState": "Failed"});
    let machine = json!({"name": "ext", "mde": [mde], "otherExtensions": [other]});
    assert_eq!(bench.control("POST", &machines, machine).await.status, 201);
    let path = format!("{machines}/ext");
    let shown = bench.control("GET", &path, Value::Null).await.body;
    for (list, extension) in [("mde", mde), ("otherExtensions", other)] {
        for (member, value) in extension.as_object().unwrap() {
            assert_eq!(&shown[list][0][member], value, "{member}");
        }
    }
    for unknown in [
        "power",
        "failure",
        "forgotten",
        "sensor",
        "orchestration",
        "scaleSet",
        "extensions",
        "group",
        "cloud",
    ] {
        let request = bench
            .http
            .post(format!("{}/_emulator/{machines}", bench.url))
            .body(json!({"name": "x", unknown: "1"}).to_string());
        assert_eq!(request.send().await.unwrap().status(), 400, "{unknown}");
    }
}

#[tokio::test]
async fn the_index_shows_machines_and_lags() {
    let bench = bench(
        "{name: well, resourceGroup: RG}, {name: bare, resourceGroup: rg, mde: none},
         {name: twice, resourceGroup: rg, mde: [{}, {name: second, code: 25}]},
         {name: arc, resourceGroup: rg, cloudProvider: GCP, os: windows-2022, provisioningFailureCode: 4},
         {name: set, type: Microsoft.Compute/virtualMachineScaleSets, capacity: 4}",
    )
    .await;
    let query = "resources
        | where type in~ ('microsoft.compute/virtualmachines', 'microsoft.hybridcompute/machines')
        | extend machineId = tolower(id), isArc = type =~ 'microsoft.hybridcompute/machines'
        | project id, machineId, name, power = tostring(properties.extended.instanceView.powerState.code), arcStatus = tostring(properties.status)
        | join kind = leftouter (
            resources
            | where type in~ ('microsoft.compute/virtualmachines/extensions', 'microsoft.hybridcompute/machines/extensions')
            | where tostring(properties.publisher) =~ 'Microsoft.Azure.AzureDefenderForServers' and tostring(properties.type) in~ ('MDE.Windows', 'MDE.Linux')
            | project extId = id, machineId = tolower(substring(id, 0, indexof(tolower(id), '/extensions/'))),
                extState = tostring(properties.provisioningState), extCode = tostring(properties.instanceView.status.code)
          ) on machineId
        | project-away machineId, machineId1
        | order by id asc";
    let ask = async || {
        let path = "/providers/Microsoft.ResourceGraph/resources?api-version=2024-04-01";
        let got = bench.path("POST", path, Some(json!({"query": query}))).await;
        let rows = got.body["data"].as_array().unwrap_or_else(|| panic!("{got:?}"));
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let mut found: Vec<_> = rows
            .iter()
            .map(|row| {
                format!(
                    "{} {}{} {} {}",
                    text(row, "name"),
                    text(row, "power"),
                    text(row, "arcStatus"),
                    text(row, "extState"),
                    text(row, "extCode")
                )
            })
            .collect();
        found.sort();
        found
    };
    assert_eq!(
        ask().await,
        [
            "arc Connected Failed 4",
            "bare PowerState/running  ",
            "twice PowerState/running Failed ",
            "twice PowerState/running Succeeded ",
            "well PowerState/running Succeeded ",
        ]
    );
    bench.control("PUT", "options", json!({"graphLag": "1m"})).await;
    change(
        &bench,
        "arc",
        json!({"mde.provisioningState": "Succeeded", "arc.status": "Disconnected"}),
    )
    .await;
    change(
        &bench,
        "well",
        json!({"powerState": "deallocated", "mde": "none"}),
    )
    .await;
    let late = ask().await;
    assert!(late.contains(&"arc Connected Failed 4".to_owned()), "{late:?}");
    assert!(
        late.contains(&"well PowerState/running Succeeded ".to_owned()),
        "{late:?}"
    );
    bench.control("PUT", "options", json!({"graphLag": "0s"})).await;
    let present = ask().await;
    assert!(
        present.contains(&"arc Disconnected Succeeded 0".to_owned()),
        "{present:?}"
    );
    assert!(
        present.contains(&"well PowerState/deallocated  ".to_owned()),
        "{present:?}"
    );
}
