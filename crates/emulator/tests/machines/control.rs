//! Machines that change at the control endpoint.

use std::time::Duration;

use serde_json::{Value, json};
use serverprotection_emulator::state::DEFAULT_SUBSCRIPTION;

use super::{bench, bench::PLAN};

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
               "os": "windows-2019", "tags": {"env": "prod"}, "customImage": true, "architecture": "arm64", "powerState": "stopped",
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
