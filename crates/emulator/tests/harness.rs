//! The emulator's tools for tests: log, faults, monitor, foreign writers, state file, many subscriptions.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends there"
)]

mod bench;

use std::time::Duration;

use bench::{Bench, PLAN, setting};
use serde_json::{Value, json};
use serverprotection_emulator::{
    server::{Options, Server},
    state::{DEFAULT_CLIENT, DEFAULT_SECRET, DEFAULT_SUBSCRIPTION, problems},
};

const P2: &str = r#"{"pricingTier":"Standard","subPlan":"P2"}"#;

fn p2() -> Value {
    serde_json::from_str(P2).unwrap()
}

fn plan_path() -> String {
    format!("/subscriptions/{DEFAULT_SUBSCRIPTION}/{PLAN}")
}

#[tokio::test]
async fn the_log_omits_secrets() {
    let bench = Bench::new().await;
    bench.put_plan(p2()).await;
    bench.ask("GET", &setting("WDATP"), None).await;
    let all = bench.control("GET", "requests", Value::Null).await.body;
    assert!(!all.to_string().contains(DEFAULT_SECRET) && !all.to_string().contains("eyJ"));
    let put = &all["requests"][1];
    assert_eq!(put["operation"], "PUT pricings/VirtualMachines");
    assert_eq!(put["apiVersion"], "2024-01-01");
    assert_eq!(put["principal"], DEFAULT_CLIENT);
    assert_eq!(put["body"]["properties"], p2());
    let since = bench
        .control("GET", "requests?since=2&kind=arm", Value::Null)
        .await
        .body;
    assert_eq!(since["requests"].as_array().unwrap().len(), 1);
    let summary = bench
        .control("GET", "requests/summary?kind=arm", Value::Null)
        .await
        .body;
    assert_eq!(summary["byMethod"], json!({"GET": 1, "PUT": 1}));
    bench.control("DELETE", "requests", Value::Null).await;
    let none = bench.control("GET", "requests", Value::Null).await.body;
    assert_eq!(
        (
            none["requests"].as_array().unwrap().len(),
            none["lastSequence"].as_u64()
        ),
        (0, Some(3))
    );
}

#[tokio::test]
async fn a_response_is_lost_before_or_after_the_effect() {
    let bench = Bench::new().await;
    let order = |phase: &str, action: Value| json!({"match": {"method": "PUT", "path": "pricings", "times": 1}, "phase": phase, "action": action});
    bench
        .control("POST", "faults", order("before", json!({"reset": true})))
        .await;
    assert!(
        bench
            .try_path("PUT", &plan_path(), Some(json!({"properties": p2()})))
            .await
            .is_err()
    );
    assert_eq!(
        bench.ask("GET", PLAN, None).await.properties()["pricingTier"],
        "Free"
    );
    bench
        .control(
            "POST",
            "faults",
            order("after", json!({"respond": {"status": 504}})),
        )
        .await;
    assert_eq!(bench.put_plan(p2()).await.status, 504);
    assert_eq!(
        bench.ask("GET", PLAN, None).await.properties()["pricingTier"],
        "Standard"
    );
    assert_eq!(bench.put_plan(p2()).await.status, 200);
    assert_eq!(
        bench.breaches().await,
        Vec::<String>::new(),
        "the result was lost, so one more PUT is right"
    );
    bench
        .control("POST", "faults", order("after", json!({"truncate": true})))
        .await;
    let truncated = bench
        .try_path("PUT", &plan_path(), Some(json!({"properties": p2()})))
        .await;
    assert!(truncated.is_err(), "{truncated:?}");
    bench.control("DELETE", "faults", Value::Null).await;
    bench.put_plan(p2()).await;
    bench.put_plan(p2()).await;
    assert_eq!(
        bench.breaches().await.last().map(String::as_str),
        Some("UselessWrite")
    );
}

#[tokio::test]
async fn a_reset_sends_no_head() {
    let bench = Bench::new().await;
    bench
        .control(
            "POST",
            "faults",
            json!({"match": {"method": "GET"}, "action": {"reset": true}}),
        )
        .await;
    for _ in 0..20 {
        let sent = bench
            .http
            .get(format!("{}{}", bench.url, plan_path()))
            .send()
            .await;
        assert!(sent.is_err(), "{sent:?}");
    }
}

#[tokio::test]
async fn a_client_that_disconnects_while_hanging_has_no_effect() {
    let bench = Bench::new().await;
    let hang = json!({"id": "h", "match": {"method": "PUT"}, "action": {"hang": true}});
    bench.control("POST", "faults", hang).await;
    let hanging = async || {
        let faults = bench.control("GET", "faults", Value::Null).await.body;
        faults["faults"][0]["hanging"].as_u64().unwrap()
    };
    let put = tokio::time::timeout(Duration::from_millis(300), bench.put_plan(p2()));
    assert!(put.await.is_err());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(hanging().await, 0);
    let (put, ()) = tokio::join!(bench.put_plan(p2()), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(hanging().await, 1);
        assert_eq!(
            bench.ask("GET", PLAN, None).await.properties()["pricingTier"],
            "Free"
        );
        bench.control("DELETE", "faults/h", Value::Null).await;
    });
    assert_eq!(put.status, 200);
    let log = bench.control("GET", "requests?kind=arm", Value::Null).await.body;
    assert_eq!(log["requests"][0]["errorCode"], "ClientGone");
    assert_eq!(bench.breaches().await, Vec::<String>::new());
}

#[tokio::test]
async fn the_monitor_lists_its_invariants() {
    let bench = Bench::new().await;
    bench.put_plan(json!({"pricingTier": "Standard"})).await;
    bench.put_plan(json!({"pricingTier": "Free"})).await;
    bench.put_plan(p2()).await;
    bench.ask("DELETE", PLAN, None).await;
    bench
        .ask("GET", &format!("{PLAN}&secret={DEFAULT_SECRET}"), None)
        .await;
    bench.ask("GET", "nowhere?api-version=2024-01-01", None).await;
    let off = json!({"kind": "DataExportSettings", "properties": {"enabled": false}});
    bench.ask("PUT", &setting("WDATP"), Some(off.clone())).await;
    bench.ask("PUT", &setting("WDATP"), Some(off)).await;
    assert_eq!(
        bench.breaches().await,
        [
            "StandardWithoutSubPlan",
            "PlanToFree",
            "LoweredThroughFree",
            "PlanDelete",
            "SecretInUrl",
            "UnknownRoute",
            "UselessWrite"
        ]
    );
    bench.control("DELETE", "breaches", Value::Null).await;
    bench
        .control("PUT", "monitor", json!({"allowFree": [DEFAULT_SUBSCRIPTION]}))
        .await;
    bench.put_plan(json!({"pricingTier": "Free"})).await;
    bench.put_plan(p2()).await;
    assert_eq!(bench.breaches().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_write_after_a_foreign_change_is_not_useless() {
    let bench = Bench::new().await;
    assert_eq!(
        bench.ask("GET", &setting("MCAS"), None).await.properties()["enabled"],
        false
    );
    bench.set(json!({"settings.MCAS": true})).await;
    let on = json!({"kind": "DataExportSettings", "properties": {"enabled": true}});
    bench.ask("PUT", &setting("MCAS"), Some(on.clone())).await;
    assert_eq!(bench.breaches().await, Vec::<String>::new());
    bench.ask("PUT", &setting("MCAS"), Some(on)).await;
    assert_eq!(bench.breaches().await, ["UselessWrite"]);
}

#[tokio::test]
async fn foreign_writers_flip_back() {
    let bench = Bench::new().await;
    let order = json!({"subscription": DEFAULT_SUBSCRIPTION, "set": {"settings.WDATP": false},
                       "onChange": true, "times": 1});
    bench.control("POST", "foreign-writers", order).await;
    let on = json!({"kind": "DataExportSettings", "properties": {"enabled": true}});
    let put = bench.ask("PUT", &setting("WDATP"), Some(on.clone())).await;
    assert_eq!(put.properties()["enabled"], true);
    assert_eq!(
        bench.ask("GET", &setting("WDATP"), None).await.properties()["enabled"],
        false
    );
    bench.ask("PUT", &setting("WDATP"), Some(on)).await;
    assert_eq!(
        bench.ask("GET", &setting("WDATP"), None).await.properties()["enabled"],
        true
    );
    let order =
        json!({"subscription": DEFAULT_SUBSCRIPTION, "set": {"settings.MCAS": true}, "every": "50ms"});
    bench.control("POST", "foreign-writers", order).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(
        bench.ask("GET", &setting("MCAS"), None).await.properties()["enabled"],
        true
    );
    bench.control("DELETE", "foreign-writers", Value::Null).await;
}

#[tokio::test]
async fn state_survives_a_restart_with_its_ca() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::new(directory.path().join("certificates"));
    options.state = Some(directory.path().join("state.json"));
    options.seed = Some(format!(
        "cloudAccounts: {{aws: {{'123456789012': {{identityProvider: missing}}}}}}\n\
         subscriptions: [{{subscriptionId: {DEFAULT_SUBSCRIPTION}, displayName: Kept, securityConnectors: [{{name: c, hierarchyIdentifier: '123456789012'}}]}}]"
    ));
    let first = Server::start(options.clone()).await.unwrap();
    let ca = first.ca.clone();
    first.stop().await.unwrap();
    options.seed = None;
    let second = Server::start(options).await.unwrap();
    assert_eq!(second.ca, ca);
    assert_eq!(
        second.emulator.world.lock().subscriptions[DEFAULT_SUBSCRIPTION].display_name,
        "Kept"
    );
    {
        let world = second.emulator.world.lock();
        let kept = &world.subscriptions[DEFAULT_SUBSCRIPTION].connectors["rg-connectors/c"];
        assert_eq!(problems(kept, &world.cloud_accounts).len(), 1);
    }
    second.stop().await.unwrap();
}

#[tokio::test]
async fn a_thousand_subscriptions_are_listed() {
    let bench = Bench::seeded(&format!(
        "{{principals: [{{clientId: {DEFAULT_CLIENT}, roleAssignments: {{'*': [Owner]}}}}], subscriptions: [{{generate: {{count: 1000}}}}]}}"
    ))
    .await;
    let list = bench
        .path("GET", "/subscriptions?api-version=2022-12-01", None)
        .await;
    assert_eq!(list.body["count"]["value"], 1001);
    let farthest = "00000000-0000-0000-0000-0000000013e7";
    assert_eq!(bench.at(farthest, "GET", PLAN, None).await.status, 200);
}
