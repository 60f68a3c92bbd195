//! The extension of the sensor: deployed by Defender for Cloud, and by a user.

use serde_json::{Value, json};
use serverprotection_emulator::state::DEFAULT_SUBSCRIPTION;

use super::{
    COMPUTE, VM, advance, bench,
    bench::{Bench, setting},
    change, follow, onboarding,
};

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
async fn a_user_deploys_the_sensor() {
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
