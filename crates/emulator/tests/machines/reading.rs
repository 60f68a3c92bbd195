//! Machines, their health reports and their lists, as ARM returns them.

use serde_json::{Value, json};
use serverprotection_emulator::state::DEFAULT_CLIENT;

use super::{
    ARC, COMPUTE, HYBRID, REPORTS, VM, advance, bench,
    bench::{Bench, Got},
    change, follow, onboarding,
};

#[tokio::test]
async fn a_vm_has_an_instance_view() {
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
async fn an_arc_machine_includes_its_extensions() {
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
async fn arc_machines_of_both_systems_match_the_recordings() {
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
async fn machines_need_roles_of_their_own() {
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
async fn health_reports_follow_sensor_and_plan() {
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
async fn lists_of_a_generated_fleet_have_pages() {
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
async fn the_architecture_shows_in_size_model_and_kernel() {
    let bench = bench(
        "{name: vm, resourceGroup: rg, architecture: arm64},
         {name: ec2, resourceGroup: rg, cloudProvider: AWS, os: rhel-9, architecture: arm64},
         {name: other, resourceGroup: rg, cloudProvider: AWS, os: rhel-9}",
    )
    .await;
    let vm = bench.ask("GET", &format!("{VM}/vm?{COMPUTE}"), None).await;
    assert_eq!(vm.properties()["hardwareProfile"]["vmSize"], "Standard_D2ps_v5");
    let detected = async |name: &str| {
        let got = bench.ask("GET", &format!("{ARC}/{name}?{HYBRID}"), None).await;
        let properties = got.properties();
        let kernel = properties["osVersion"].as_str().unwrap_or_default().to_owned();
        (properties["detectedProperties"]["model"].clone(), kernel)
    };
    let (model, kernel) = detected("ec2").await;
    assert_eq!(model, "m6g.large");
    assert!(kernel.ends_with("aarch64"), "{kernel}");
    let (model, kernel) = detected("other").await;
    assert_eq!(model, "m5.large");
    assert!(kernel.ends_with("x86_64"), "{kernel}");
}

#[tokio::test]
async fn an_arc_machine_without_extensions_has_an_empty_list_or_none() {
    let bench = bench("{name: bare, resourceGroup: rg, cloudProvider: OnPremises, mde: none}").await;
    let path = format!("{ARC}/bare?$expand=instanceView&{HYBRID}");
    let resources = async || bench.ask("GET", &path, None).await.body.get("resources").cloned();
    assert_eq!(resources().await, Some(json!([])));
    bench.switch("arcMachineWithoutExtensions", "alternate").await;
    assert_eq!(resources().await, None);
}

#[tokio::test]
async fn extensions_of_an_arc_machine_are_upgraded_together() {
    let bench = bench(
        "{name: srv, resourceGroup: rg, cloudProvider: OnPremises, otherExtensions: [AzureMonitorAgent]}",
    )
    .await;
    let path = format!("{ARC}/srv/upgradeExtensions?{HYBRID}");
    let targets = json!({"extensionTargets": {
        "Microsoft.Azure.AzureDefenderForServers.MDE.Linux": {"targetVersion": "1.0.10.0"},
        "Contoso.Absent": {"targetVersion": "2.0"}}});
    let upgrade = bench.ask("POST", &path, Some(targets)).await;
    assert_eq!((upgrade.status, upgrade.header("retry-after")), (202, "300"));
    let extension = async |name: &str| {
        let got = bench
            .ask("GET", &format!("{ARC}/srv/extensions/{name}?{HYBRID}"), None)
            .await;
        let properties = got.properties();
        (
            properties["provisioningState"].clone(),
            properties["typeHandlerVersion"].clone(),
        )
    };
    let updating = (json!("Updating"), json!("1.0.10.0"));
    assert_eq!(extension("MDE.Linux").await, updating);
    assert_eq!(extension("AzureMonitorLinuxAgent").await.0, "Succeeded");
    advance(&bench, "6m").await;
    assert_eq!(extension("MDE.Linux").await.0, "Succeeded");
    let over = follow(&bench, upgrade.header("azure-asyncoperation")).await;
    assert_eq!(over.body["status"], "Succeeded");
    let wrong = bench.ask("POST", &path, Some(json!({}))).await;
    assert_eq!(wrong.status, 400, "{wrong:?}");
    let get = bench.ask("GET", &path, None).await;
    assert_eq!(get.status, 405, "{get:?}");
}
