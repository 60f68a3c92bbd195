//! Effects of connectors: members, machines, rows, locks, and the checks of their writers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends there"
)]

mod bench;

use std::time::{Duration, Instant};

use bench::{
    Bench,
    connector::{ACCOUNT, VERSION, advance, bench, body, cspm, patch_clouds, path, put, role, servers},
};
use serde_json::{Value, json};
use serverprotection_emulator::state::DEFAULT_SUBSCRIPTION;

#[tokio::test]
async fn a_gcp_project_is_connected_and_its_instance_found() {
    let bench = bench("cloudAccounts: {gcp: {'843025268399': {projectId: my-project, apis: {compute: false}, instances: [{name: vm-1, os: rhel-9}]}}}").await;
    let mail = |name: &str| format!("{name}@my-project.iam.gserviceaccount.com");
    let connection = |name: &str, provider: &str| json!({"serviceAccountEmailAddress": mail(name), "workloadIdentityProviderId": provider});
    let full = json!({"location": "westeurope", "properties": {
        "hierarchyIdentifier": "843025268399", "environmentName": "GCP",
        "environmentData": {"environmentType": "GcpProject", "scanInterval": 4,
                            "projectDetails": {"projectNumber": "843025268399", "projectId": "my-project"}},
        "offerings": [
            {"offeringType": "CspmMonitorGcp", "nativeCloudConnection": connection("microsoft-defender-cspm", "cspm")},
            {"offeringType": "DefenderForServersGcp", "subPlan": {"type": "P2"},
             "defenderForServers": connection("microsoft-defender-for-servers", "defender-for-servers"),
             "arcAutoProvisioning": {"enabled": true, "configuration": {}}, "mdeAutoProvisioning": {"enabled": true}}]}});
    let got = put(&bench, "g", &full).await;
    let expected_text = got.body["errorMessage"].as_str().unwrap();
    assert!(
        expected_text.contains("authenticating to your GCP project") && expected_text.contains("tracing ID"),
        "{expected_text}"
    );
    patch_clouds(&bench, json!({"gcp": {"843025268399": {"apis": null}}})).await;
    let got = put(&bench, "g", &full).await;
    assert_eq!(got.status, 201, "{got:?}");
    let details = &got.properties()["environmentData"]["projectDetails"];
    assert_eq!(
        details["workloadIdentityPoolId"],
        "11111111111111111111111111111111"
    );
    assert!(details["projectName"].is_string());
    advance(&bench, "24h").await;
    let machine = bench.ask("GET", "resourceGroups/rg-sec/providers/Microsoft.HybridCompute/machines/vm-1?api-version=2025-01-13&$expand=instanceView", None).await;
    assert_eq!(machine.body["tags"]["ProjectNumber"], "843025268399");
    assert_eq!(machine.body["tags"]["ProjectId"], "my-project");
    assert_eq!(
        machine.body["resources"][0]["properties"]["provisioningState"],
        "Succeeded"
    );
}

#[tokio::test]
async fn instances_become_machines() {
    let bench = bench("cloudAccounts: {aws: {'123456789012': {instances: [{name: i-1, os: windows-2022}, {name: i-2, os: amazon-2023, provisioningFailureCode: 25}, {name: i-3, reachable: false}]}}}").await;
    let machines = async || {
        let got = bench
            .ask(
                "GET",
                "providers/Microsoft.HybridCompute/machines?api-version=2025-01-13&$expand=instanceView",
                None,
            )
            .await;
        got.body["value"].as_array().unwrap().clone()
    };
    let mut full = body(&json!([cspm(), servers("P1")]));
    put(&bench, "c", &full).await;
    assert!(machines().await.is_empty());
    full["properties"]["offerings"][1]["arcAutoProvisioning"]["enabled"] = json!(false);
    put(&bench, "c", &full).await;
    advance(&bench, "24h").await;
    assert!(machines().await.is_empty(), "switched off in time");
    full["properties"]["offerings"][1]["arcAutoProvisioning"]["enabled"] = json!(true);
    full["properties"]["offerings"][1]["mdeAutoProvisioning"]["enabled"] = json!(false);
    put(&bench, "c", &full).await;
    advance(&bench, "7h").await;
    let found = machines().await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0]["name"], "i-1");
    assert_eq!(
        found[0]["tags"],
        json!({"AccountId": ACCOUNT, "Cloud": "AWS", "InstanceId": "i-1", "MDFCSecurityConnector": "true"})
    );
    assert!(found[0]["id"].as_str().unwrap().contains("/rg-sec/") && found[0]["resources"] == json!([]));
    // The subscription has no plan and no integration: the connector alone deploys.
    full["properties"]["offerings"][1]["mdeAutoProvisioning"]["enabled"] = json!(true);
    put(&bench, "c", &full).await;
    advance(&bench, "3h").await;
    let mut states = Vec::new();
    for machine in machines().await {
        // A list names extensions only.
        let id = machine["resources"][0]["id"].as_str().unwrap().to_owned();
        let got = bench
            .path("GET", &format!("{id}?api-version=2025-01-13"), None)
            .await;
        states.push(got.properties()["provisioningState"].clone());
    }
    assert_eq!(states, ["Succeeded", "Failed"]);
    let query = "resources | where type =~ 'microsoft.security/securityconnectors' | project id, subscriptionId, env = tostring(properties.environmentName), account = tostring(properties.hierarchyIdentifier), membership = tostring(properties.environmentData.organizationalData.organizationMembershipType), offerings = properties.offerings | order by id asc";
    let rows = bench
        .path(
            "POST",
            "/providers/Microsoft.ResourceGraph/resources?api-version=2024-04-01",
            Some(json!({"query": query})),
        )
        .await;
    assert_eq!(rows.body["data"][0]["account"], ACCOUNT, "{rows:?}");
    assert_eq!(rows.body["data"][0]["offerings"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn members_follow_their_organization() {
    let bench = bench("cloudAccounts: {aws: {'123456789012': {organization: {accountIds: ['210000000001', '210000000002', '210000000003']}}, '210000000001': {instances: [{name: i-9}]}}}").await;
    let names = async || {
        let list = path("").replace("securityConnectors/", "securityConnectors");
        let got = bench.ask("GET", &list, None).await;
        let all = got.body["value"].as_array().unwrap().clone();
        all.iter()
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let mut full = body(&json!([cspm(), servers("P2")]));
    full["properties"]["environmentData"]["organizationalData"] = json!({"organizationMembershipType": "Organization", "stacksetName": "defender", "excludedAccountIds": ["210000000003"]});
    assert_eq!(put(&bench, "org", &full).await.status, 201);
    assert_eq!(names().await, ["org"]);
    advance(&bench, "24h").await;
    assert_eq!(names().await, ["org", "org_210000000001", "org_210000000002"]);
    let member = bench.ask("GET", &path("org_210000000001"), None).await;
    let data = &member.properties()["environmentData"]["organizationalData"];
    assert_eq!(
        data,
        &json!({"organizationMembershipType": "Member", "parentHierarchyId": ACCOUNT})
    );
    assert_eq!(
        member.properties()["offerings"][0]["nativeCloudConnection"]["cloudRoleArn"],
        "arn:aws:iam::210000000001:role/CspmMonitorAws"
    );
    let machine = bench
        .ask(
            "GET",
            "resourceGroups/rg-sec/providers/Microsoft.HybridCompute/machines/i-9?api-version=2025-01-13",
            None,
        )
        .await;
    assert_eq!(machine.status, 200, "of a member too: {machine:?}");
    full["properties"]["environmentData"]["organizationalData"]["excludedAccountIds"] =
        json!(["210000000001", "210000000003"]);
    put(&bench, "org", &full).await;
    assert_eq!(names().await, ["org", "org_210000000002"]);
    assert_eq!(bench.breaches().await, Vec::<String>::new());
    bench.ask("DELETE", &path("org_210000000002"), None).await;
    assert_eq!(bench.breaches().await, ["MemberConnectorWritten"]);
    patch_clouds(
        &bench,
        json!({"aws": {ACCOUNT: {"organization": {"stackSet": "missing"}}}}),
    )
    .await;
    assert_eq!(names().await, ["org"]);
}

#[tokio::test]
async fn slow_writes_hold_the_lock_of_their_connector() {
    let bench = bench("options: {connectorPutTime: 200ms, connectorAuthenticationDelay: 300ms}").await;
    let full = body(&json!([cspm(), servers("P2")]));
    let azure = json!({"location": "westeurope", "properties": {"hierarchyIdentifier": "530aee27", "environmentName": "AzureDevOps",
        "environmentData": {"environmentType": "AzureDevOpsScope"}, "offerings": [{"offeringType": "CspmMonitorAzureDevOps"}]}});
    let began = Instant::now();
    let (first, second, other) = tokio::join!(
        put(&bench, "c", &full),
        async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            put(&bench, "c", &full).await
        },
        put(&bench, "d", &azure)
    );
    assert_eq!(
        (first.status, second.status, other.status),
        (201, 409, 201),
        "{second:?}"
    );
    assert!(began.elapsed() >= Duration::from_millis(500));
    assert_eq!(bench.breaches().await, ["OneWriter"]);
    bench.control("DELETE", "breaches", Value::Null).await;
    let fault = json!({"match": {"method": "PUT", "path": "securityConnectors", "times": 1}, "phase": "after",
                       "action": {"respond": {"status": 504}}});
    bench.control("POST", "faults", fault).await;
    let mut next = full.clone();
    next["tags"] = json!({"x": "y"});
    assert_eq!(put(&bench, "c", &next).await.status, 504);
    assert_eq!(bench.ask("GET", &path("c"), None).await.body["tags"]["x"], "y");
    assert_eq!(put(&bench, "c", &next).await.status, 200);
    assert_eq!(
        bench.breaches().await,
        Vec::<String>::new(),
        "the result was lost"
    );
    put(&bench, "c", &next).await;
    assert_eq!(bench.breaches().await, ["UselessWrite"]);
}

#[tokio::test]
async fn the_monitor_reports_changes_of_foreign_offerings() {
    let bench = bench("").await;
    let full = body(&json!([cspm(), servers("P2")]));
    put(&bench, "c", &full).await;
    let foreign = json!({"securityConnectors.c.offerings.DefenderCspmAws": {"ciem": {"ciemDiscovery": {"cloudRoleArn": role("Ciem")}}},
                         "securityConnectors.c.offerings.DefenderForServersAws.novelty": {"on": true}});
    bench.set(foreign.clone()).await;
    let mut edited = full.clone();
    edited["tags"] = json!({"n": "1"});
    put(&bench, "c", &edited).await;
    assert_eq!(
        bench.breaches().await,
        Vec::<String>::new(),
        "the caller has not read the connector"
    );
    bench.set(foreign.clone()).await;
    let seen = bench.ask("GET", &path("c"), None).await;
    let mut kept =
        json!({"location": seen.body["location"], "tags": {"n": "2"}, "properties": seen.properties()});
    assert_eq!(put(&bench, "c", &kept).await.status, 200);
    assert_eq!(bench.breaches().await, ["ReadOnlySent"]);
    bench.control("DELETE", "breaches", Value::Null).await;
    for offering in kept["properties"]["offerings"].as_array_mut().unwrap() {
        offering.as_object_mut().unwrap().remove("description");
    }
    let data = kept["properties"]["environmentData"].as_object_mut().unwrap();
    data.remove("accountName");
    kept["properties"]
        .as_object_mut()
        .unwrap()
        .remove("hierarchyIdentifierTrialEndDate");
    kept["tags"]["n"] = json!("3");
    put(&bench, "c", &kept).await;
    assert_eq!(bench.breaches().await, Vec::<String>::new());
    put(&bench, "c", &full).await;
    assert_eq!(bench.breaches().await, ["ForeignOfferingChanged"]);
    bench.control("DELETE", "breaches", Value::Null).await;
    bench
        .control("PUT", "monitor", json!({"allowForeign": ["*"]}))
        .await;
    bench.set(foreign).await;
    bench.ask("GET", &path("c"), None).await;
    put(&bench, "c", &full).await;
    assert_eq!(bench.breaches().await, Vec::<String>::new());
    let order = json!({"subscription": DEFAULT_SUBSCRIPTION, "onChange": true, "times": 1,
                       "set": {"securityConnectors.c.offerings.DefenderForServersAws.subPlan.type": "P1"}});
    bench.control("POST", "foreign-writers", order).await;
    put(&bench, "c", &edited).await;
    let got = bench.ask("GET", &path("c"), None).await;
    assert_eq!(got.properties()["offerings"][1]["subPlan"]["type"], "P1");
}

#[tokio::test]
async fn seeded_connectors_have_members_and_lists_have_pages() {
    let many: Vec<String> = (0..150)
        .map(|n| format!("{{name: c{n:03}, resourceGroup: rg-sec, hierarchyIdentifier: '9{n:011}'}}"))
        .collect();
    let bench = Bench::seeded(&format!(
        "{{cloudAccounts: {{aws: {{'123456789012': {{instances: [{{name: i-1}}]}}}}}},
          subscriptions: [{{subscriptionId: {DEFAULT_SUBSCRIPTION}, securityConnectors: [{{name: aws-prod, resourceGroup: rg-sec, hierarchyIdentifier: '123456789012', serversSubPlan: P2}},
            {{name: gcp, resourceGroup: rg-sec, environmentName: GCP, hierarchyIdentifier: '99', serversSubPlan: P1, tags: {{a: b}}}}, {}],
            machines: [{{name: i-77, cloudProvider: AWS, hierarchyIdentifier: '123456789012'}}, {{name: i-78, cloudProvider: AWS, hierarchyIdentifier: '555555555555'}}]}}]}}",
        many.join(", ")
    ))
    .await;
    let got = bench
        .ask(
            "GET",
            "providers/Microsoft.HybridCompute/machines?api-version=2025-01-13&$expand=instanceView",
            None,
        )
        .await;
    let with: Vec<(&Value, usize)> = got.body["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|machine| (&machine["name"], machine["resources"].as_array().unwrap().len()))
        .collect();
    assert_eq!(
        with,
        [(&json!("i-77"), 1), (&json!("i-78"), 0), (&json!("i-1"), 1)]
    );
    let first = bench
        .ask(
            "GET",
            &format!("providers/Microsoft.Security/securityConnectors?api-version={VERSION}"),
            None,
        )
        .await;
    assert_eq!(first.body["value"].as_array().unwrap().len(), 100);
    let next = first.body["nextLink"]
        .as_str()
        .unwrap()
        .strip_prefix(&bench.url)
        .unwrap()
        .to_owned();
    let second = bench.path("GET", &next, None).await;
    assert_eq!(
        (
            second.body["value"].as_array().unwrap().len(),
            second.body.get("nextLink")
        ),
        (52, None)
    );
    let shown = bench
        .control(
            "GET",
            &format!("subscriptions/{DEFAULT_SUBSCRIPTION}"),
            Value::Null,
        )
        .await;
    assert_eq!(shown.body["securityConnectors"]["rg-sec/gcp"]["tags"]["a"], "b");
}
