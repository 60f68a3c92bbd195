//! Machines in Resource Graph: a generated fleet in one query, pages, rights and a lagging index.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends there"
)]

mod bench;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bench::{
    Bench, PLAN,
    graph::{GRAPH, query, rows},
};
use serde_json::{Value, json};
use serverprotection_emulator::state::{DEFAULT_CLIENT, DEFAULT_SUBSCRIPTION, DEFAULT_TENANT};

/// Every machine with its sensor's extensions.
const FLEET: &str = "resources
    | where type in~ ('microsoft.compute/virtualmachines', 'microsoft.hybridcompute/machines')
        or (type =~ 'microsoft.compute/virtualmachinescalesets' and not(tostring(properties.orchestrationMode) =~ 'Flexible'))
    | extend key = tolower(id), arc = type =~ 'microsoft.hybridcompute/machines'
    | project id, key, name, type, subscriptionId, resourceGroup, location, arc, tags, capacity = toint(sku.capacity),
        os = tolower(coalesce(tostring(properties.osType), tostring(properties.storageProfile.osDisk.osType),
                              tostring(properties.virtualMachineProfile.storageProfile.osDisk.osType))),
        version = iff(arc, tostring(properties.osVersion), tostring(properties.extended.instanceView.osVersion)),
        sku = iff(arc, tostring(properties.osSku), tostring(properties.storageProfile.imageReference.sku)),
        power = tostring(properties.extended.instanceView.powerState.code),
        status = tostring(properties.status), agent = tostring(properties.agentVersion),
        cloud = iff(arc, coalesce(tostring(properties.cloudMetadata.provider), tostring(properties.detectedProperties.cloudprovider)), 'Azure'),
        foreign = isnotempty(tostring(tags['PublicCloudConnectorsResourceId']))
    | join kind = leftouter (
        resources
        | where type in~ ('microsoft.compute/virtualmachines/extensions', 'microsoft.hybridcompute/machines/extensions')
        | where tostring(properties.publisher) =~ 'Microsoft.Azure.AzureDefenderForServers'
            and tostring(properties.type) in~ ('MDE.Windows', 'MDE.Linux')
        | extend text = tostring(properties.instanceView.status.message)
        | project key = tolower(substring(id, 0, indexof(tolower(id), '/extensions/'))), extension = id,
            state = tostring(properties.provisioningState), handler = tostring(properties.typeHandlerVersion),
            message = iff(strlen(text) > 3072, strcat(substring(text, 0, 1024), ' ... ', substring(text, strlen(text) - 2048)), text)
      ) on key
    | project-away key, key1
    | order by id asc, extension asc";

async fn fleet(machines: u32, subscriptions: u32) -> Bench {
    let bench = Bench::seeded(&format!(
        "{{principals: [{{clientId: {DEFAULT_CLIENT}, roleAssignments: {{'*': [Owner]}}}}],
          fleet: {{randomSeed: 7, machineCount: {machines}, subscriptionCount: {subscriptions}}}}}"
    ))
    .await;
    bench
        .control("PUT", "options", json!({"graphQuota": 0, "throttling": false}))
        .await;
    bench
}

#[tokio::test]
async fn a_fleet_has_pages() {
    let bench = fleet(1000, 10).await;
    let (mut machines, mut total, mut options) = (BTreeMap::new(), 0, json!({"$top": 300}));
    loop {
        let got = query(&bench, FLEET, options.clone()).await;
        for row in rows(&got) {
            total += 1;
            machines.insert(row["id"].as_str().unwrap().to_owned(), row);
        }
        match got.body.get("$skipToken") {
            Some(token) => options["$skipToken"] = token.clone(),
            None => break assert_eq!(got.body["totalRecords"], total),
        }
    }
    let one = |text: String| async {
        let text = text;
        rows(&query(&bench, &text, json!({})).await)
    };
    let types = "'microsoft.compute/virtualmachines', 'microsoft.hybridcompute/machines'";
    let counted = one(format!("resources | where type in~ ({types}) | count")).await;
    let sets = machines
        .values()
        .filter(|row| row["type"] == "microsoft.compute/virtualmachinescalesets")
        .count();
    assert_eq!(counted, [json!({"Count": machines.len() - sets})]);
    let columns = machines.values().next().unwrap().as_object().unwrap();
    assert_eq!(columns.len(), 21);
    let has = |what: &dyn Fn(&Value) -> bool| machines.values().any(what);
    assert!(has(&|row| row["state"] == "Succeeded" && row["extension"] != ""));
    assert!(has(&|row| row["state"] == "" && row["extension"] == ""));
    assert!(has(&|row| row["arc"] == true
        && row["cloud"] == "AWS"
        && row["agent"] != ""));
    assert!(has(
        &|row| row["power"] == "PowerState/running" && row["cloud"] == "Azure"
    ));
    assert!(
        machines
            .values()
            .all(|row| ["windows", "linux", ""].contains(&row["os"].as_str().unwrap()))
    );
    let kinds: BTreeSet<&str> = machines
        .values()
        .map(|row| row["type"].as_str().unwrap())
        .collect();
    assert!(kinds.len() >= 2, "{kinds:?}");
}

#[tokio::test]
async fn types_are_filtered_and_the_index_lags() {
    let mut bench = fleet(200, 2).await;
    let count = async |bench: &Bench| {
        let text = "resources | summarize n = count() by type | order by type asc";
        rows(&query(bench, text, json!({})).await)
            .iter()
            .map(|row| row["type"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(
        count(&bench)
            .await
            .contains(&"microsoft.hybridcompute/machines/extensions".to_owned())
    );
    let roles = json!({"*": [{"actions": ["Microsoft.HybridCompute/machines/read"]}]});
    bench
        .control(
            "PATCH",
            "principals/arc",
            json!({"secrets": ["s"], "roleAssignments": roles}),
        )
        .await;
    let arc = bench.sign_in(DEFAULT_TENANT, "arc", "s").await;
    let own = std::mem::replace(&mut bench.token, arc);
    assert_eq!(count(&bench).await, ["microsoft.hybridcompute/machines"]);
    bench.token = own;
    bench
        .control("PUT", "options", json!({"graphLag": "600ms"}))
        .await;
    let path = format!("subscriptions/{DEFAULT_SUBSCRIPTION}/machines");
    bench
        .control("POST", &path, json!({"name": "late", "os": "ubuntu-22.04"}))
        .await;
    let seen = async || {
        let got = query(&bench, "resources | where name == 'late' | count", json!({})).await;
        rows(&got)[0]["Count"].as_u64().unwrap()
    };
    tokio::time::sleep(Duration::from_millis(800)).await;
    bench
        .control("DELETE", &format!("{path}/late"), Value::Null)
        .await;
    assert_eq!(seen().await, 1);
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(seen().await, 0);
}

#[tokio::test]
#[ignore = "a measurement: cargo test --release --test graph_machines -- --ignored --nocapture"]
async fn measure_a_large_fleet() {
    let began = Instant::now();
    let bench = fleet(100_000, 500).await;
    eprintln!("seeded in {:?}", began.elapsed());
    let list = bench
        .path("GET", "/subscriptions?api-version=2022-12-01", None)
        .await;
    let all = list.body["value"].as_array().unwrap();
    let ids: Vec<&str> = all
        .iter()
        .map(|one| one["subscriptionId"].as_str().unwrap())
        .collect();
    // Other requests are served while a query runs.
    let slowest = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..50 {
            let began = Instant::now();
            bench.ask("GET", PLAN, None).await;
            slowest = slowest.max(began.elapsed());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        slowest
    };
    let (_, slowest) = tokio::join!(query(&bench, FLEET, json!({"$top": 1})), slowest);
    eprintln!("slowest of 50 requests beside a query: {slowest:?}");
    for part in ids.chunks(300) {
        let (mut body, mut times, mut count) = (
            json!({"subscriptions": part, "query": FLEET, "options": {"$top": 1000}}),
            Vec::new(),
            0,
        );
        loop {
            let began = Instant::now();
            let got = bench.path("POST", GRAPH, Some(body.clone())).await;
            times.push(began.elapsed());
            count += rows(&got).len();
            match got.body.get("$skipToken") {
                Some(token) => body["options"]["$skipToken"] = token.clone(),
                None => break,
            }
        }
        let later = times.get(1..).unwrap_or_default();
        let mean = later.iter().sum::<Duration>() / u32::try_from(later.len().max(1)).unwrap();
        eprintln!(
            "{count} rows: first page {:?}, {} more pages of {mean:?} each (with the client's parsing)",
            times[0],
            later.len()
        );
    }
}
