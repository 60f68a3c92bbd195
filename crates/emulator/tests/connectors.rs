//! Connectors to AWS and GCP over HTTPS: the resource with its special behavior, and its errors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends there"
)]

mod bench;

use bench::{
    Got,
    connector::{ACCOUNT, VERSION, advance, bench, body, cspm, patch_clouds, path, put, role, servers},
};
use serde_json::{Value, json};
use serverprotection_emulator::state::{DEFAULT_CLIENT, DEFAULT_SUBSCRIPTION};

#[tokio::test]
async fn a_connector_is_created_changed_and_deleted() {
    let bench = bench("").await;
    let full = body(&json!([cspm(), servers("P2")]));
    let made = put(&bench, "aws-prod", &full).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(
        made.body["id"],
        format!(
            "/subscriptions/{DEFAULT_SUBSCRIPTION}/resourcegroups/rg-sec/providers/Microsoft.Security/securityConnectors/aws-prod"
        )
    );
    assert_eq!(made.body["type"], "Microsoft.Security/securityconnectors");
    assert_eq!(
        (&made.body["location"], &made.body["tags"]),
        (&json!("WestEurope"), &json!({}))
    );
    assert!(made.body.get("etag").is_none() && made.body.get("kind").is_none());
    let properties = made.properties();
    assert_eq!(properties["environmentData"]["accountName"], "aws-123456789012");
    assert!(properties["offerings"][1]["description"].is_string());
    assert!(properties["hierarchyIdentifierTrialEndDate"].is_string());
    assert_eq!(
        (made.header("x-cache"), made.header("api-supported-versions")),
        ("CONFIG_NOCACHE", "")
    );
    assert_eq!(
        made.header("x-ms-ratelimit-remaining-subscription-resource-requests"),
        "249"
    );

    let mut lower = full.clone();
    lower["location"] = json!("west europe");
    lower["properties"]["environmentData"]["scanInterval"] = json!(12);
    let again = put(&bench, "AWS-Prod", &lower).await;
    assert_eq!((again.status, &again.body["name"]), (200, &json!("aws-prod")));
    assert_eq!(
        again.body["systemData"]["createdAt"],
        made.body["systemData"]["createdAt"]
    );
    for tags in [json!({"a": "1"}), json!({"b": "2"})] {
        let patched = bench
            .ask("PATCH", &path("aws-prod"), Some(json!({"tags": tags})))
            .await;
        assert_eq!((patched.status, &patched.body["tags"]), (200, &tags));
    }
    let got = bench.ask("GET", &path("aws-prod"), None).await;
    assert_eq!(got.properties()["environmentData"]["scanInterval"], 12);
    assert_eq!(
        got.header("x-ms-ratelimit-remaining-subscription-resource-requests"),
        "99"
    );

    let old = path("aws-prod").replace(VERSION, "2023-10-01-preview");
    let scanners = bench.ask("GET", &old, None).await.properties()["offerings"][1]["vmScanners"].clone();
    assert_eq!(
        scanners["configuration"]["cloudRoleArn"],
        role("DefenderForCloud-AgentlessScanner")
    );
    assert!(scanners.get("cloudRoleArn").is_none());
    let mut legacy = full.clone();
    legacy["properties"]["offerings"][1]["vmScanners"] = scanners;
    assert_eq!(
        put(&bench, "aws-prod", &legacy).await.status,
        400,
        "the old place in a new version"
    );
    assert_eq!(bench.ask("PUT", &old, Some(legacy)).await.status, 200);
    let oldest = path("aws-prod").replace(VERSION, "2021-07-01-preview");
    assert_eq!(
        bench.ask("GET", &oldest, None).await.properties()["cloudName"],
        "AWS"
    );

    for _ in 0..2 {
        assert_eq!(bench.ask("DELETE", &path("aws-prod"), None).await.status, 204);
    }
    assert_eq!(
        bench.ask("GET", &path("aws-prod"), None).await.code(),
        "ResourceNotFound"
    );
    assert_eq!(bench.breaches().await, Vec::<String>::new());
}

#[tokio::test]
async fn wrong_connectors_are_refused() {
    let bench = bench("").await;
    let message = |got: &Got| {
        got.body["errorMessage"]
            .as_str()
            .unwrap_or_else(|| panic!("{got:?}"))
            .to_owned()
    };
    let full = body(&json!([cspm(), servers("P2")]));
    let elsewhere = path("c").replace("Rg-Sec", "nowhere");
    let got = bench.ask("PUT", &elsewhere, Some(full.clone())).await;
    assert_eq!((got.status, got.code()), (404, "ResourceGroupNotFound"));
    let edits: [(&str, Value, &str); 13] = [
        ("/properties/hierarchyIdentifier", json!("12"), "12 digits"),
        (
            "/properties/environmentName",
            json!("Oracle"),
            "no environment name",
        ),
        (
            "/properties/environmentData/environmentType",
            json!("GcpProject"),
            "does not fit",
        ),
        (
            "/properties/environmentData/scanInterval",
            json!(25),
            "between 1 and 24",
        ),
        (
            "/properties/offerings/0/offeringType",
            json!("CspmMonitorGcp"),
            "does not fit",
        ),
        (
            "/properties/offerings/0/offeringType",
            json!("DefenderForServersAws"),
            "mandatory|required|once",
        ),
        (
            "/properties/offerings/0/nativeCloudConnection",
            json!({}),
            "nativeCloudConnection.cloudRoleArn",
        ),
        (
            "/properties/offerings/1/defenderForServers",
            json!({}),
            "defenderForServers.cloudRoleArn",
        ),
        ("/properties/offerings/1/subPlan/type", json!("P3"), "P1, P2"),
        (
            "/properties/offerings/1/subPlan/type",
            json!("P1"),
            "not part of sub-plan P1",
        ),
        (
            "/properties/offerings/1/vaAutoProvisioning/configuration/type",
            json!("Nessus"),
            "TVM, Qualys",
        ),
        (
            "/properties/offerings/1/arcAutoProvisioning/cloudRoleArn",
            json!(""),
            "arcAutoProvisioning.cloudRoleArn",
        ),
        (
            "/properties/environmentData",
            json!(null),
            "environmentData is required",
        ),
    ];
    for (place, value, expected_text) in edits {
        let mut wrong = full.clone();
        *wrong.pointer_mut(place).unwrap() = value;
        let got = put(&bench, "c", &wrong).await;
        assert_eq!(
            (got.status, &got.body["statusCode"]),
            (400, &json!(400)),
            "{place}: {got:?}"
        );
        assert!(
            expected_text
                .split('|')
                .any(|expected_text| message(&got).contains(expected_text)),
            "{place}: {got:?}"
        );
        assert!(got.body["errorCorrelation"].is_string());
    }
}

#[tokio::test]
async fn shapes_are_checked_and_unknown_members_kept() {
    let bench = bench("").await;
    let full = body(&json!([cspm(), servers("P2")]));
    let mut text = full.clone();
    text["properties"]["offerings"][1]["mdeAutoProvisioning"]["enabled"] = json!("True");
    assert_eq!(put(&bench, "c", &text).await.code(), "InvalidRequestContent");
    let mut nowhere = full.clone();
    nowhere["location"] = json!(null);
    assert_eq!(put(&bench, "c", &nowhere).await.code(), "LocationRequired");
    let mut future = full.clone();
    future["properties"]["offerings"][0]["newMember"] = json!({"kept": true});
    future["properties"]["offerings"]
        .as_array_mut()
        .unwrap()
        .push(json!({"offeringType": "DefenderForQuantumAws"}));
    let got = put(&bench, "c", &future).await;
    assert_eq!(got.status, 201, "unknown things pass");
    assert_eq!(got.properties()["offerings"][0]["newMember"]["kept"], true);
    let mut moved = future.clone();
    moved["location"] = json!("eastus");
    assert_eq!(put(&bench, "c", &moved).await.code(), "InvalidResourceLocation");
    bench.set(json!({"lockLevel": "CanNotDelete"})).await;
    assert_eq!(bench.ask("DELETE", &path("c"), None).await.code(), "ScopeLocked");
    bench
        .set(json!({"lockLevel": null, "providers.Microsoft.Security": "NotRegistered"}))
        .await;
    assert_eq!(
        put(&bench, "c", &full).await.code(),
        "Subscription Not Registered"
    );
}

#[tokio::test]
async fn connector_switches_have_both_answers() {
    let bench = bench("").await;
    let full = body(&json!([cspm(), servers("P2")]));
    put(&bench, "c", &full).await;
    let mut other = full.clone();
    other["properties"]["hierarchyIdentifier"] = json!("210987654321");
    let bare = {
        let mut bare = full.clone();
        bare["properties"]["offerings"] = json!([servers("P2")]);
        bare
    };
    let mut scanned = full.clone();
    scanned["properties"]["offerings"][1]["subPlan"]["type"] = json!("P1");
    let offerings = json!({"properties": {"offerings": [cspm()]}});
    for (answer, changed, twice, refused, kept, name) in [
        ("default", 400, 409, 400, 1, 400),
        ("alternate", 409, 400, 200, 2, 409),
    ] {
        bench.switch("all", answer).await;
        let mut restored = full.clone();
        restored["location"] = json!("westeurope");
        assert_eq!(put(&bench, "c", &restored).await.status, 200);
        assert_eq!(put(&bench, "c", &other).await.status, changed);
        assert_eq!(put(&bench, "d", &full).await.status, twice);
        assert_eq!(put(&bench, "c", &bare).await.status, refused);
        assert_eq!(put(&bench, "c", &scanned).await.status, refused);
        put(&bench, "c", &full).await;
        let patched = bench.ask("PATCH", &path("c"), Some(offerings.clone())).await;
        assert_eq!(
            patched.properties()["offerings"].as_array().unwrap().len(),
            kept,
            "{patched:?}"
        );
        // If the name is not checked, the account is the next error.
        let odd = put(&bench, "-odd", &full).await;
        assert_eq!(
            odd.status,
            if answer == "default" { name } else { twice },
            "{odd:?}"
        );
    }
    // With either answer, a location is a region of Azure.
    for answer in ["alternate", "default"] {
        bench.switch("connectorLocation", answer).await;
        let mut moon = full.clone();
        moon["location"] = json!("moon");
        assert_eq!(
            put(&bench, "e", &moon).await.code(),
            "LocationNotAvailableForResourceType",
            "{answer}"
        );
    }
}

#[tokio::test]
async fn regions_of_aws_and_the_role_of_the_caller_follow_their_switches() {
    let bench = bench("switches: default").await;
    let mut full = body(&json!([cspm(), servers("P2")]));
    full["properties"]["environmentData"]["regions"] = json!(["eu-central-1", "eu-central-99"]);
    let refused = put(&bench, "c", &full).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.body["errorMessage"]
            .as_str()
            .unwrap()
            .contains("eu-central-99"),
        "{refused:?}"
    );
    bench.switch("unknownAwsRegion", "accepted").await;
    assert_eq!(put(&bench, "c", &full).await.status, 201);

    let client = "principals/33333333-3333-3333-3333-333333333333";
    let roles = |roles: &[&str]| json!({"roleAssignments": {"*": roles}});
    let admin = ["Security Admin", "User Access Administrator"];
    bench.control("PATCH", client, roles(&admin)).await;
    assert_eq!(put(&bench, "c", &full).await.status, 200);
    bench.switch("connectorRole", "Contributor").await;
    let denied = put(&bench, "c", &full).await;
    assert_eq!((denied.status, denied.code()), (403, "AuthorizationFailed"));
    assert_eq!(bench.ask("DELETE", &path("c"), None).await.status, 403);
    bench.control("PATCH", client, roles(&["Owner"])).await;
    assert_eq!(put(&bench, "c", &full).await.status, 200);
}

#[tokio::test]
async fn login_fails_until_the_account_is_repaired() {
    let bench = bench("cloudAccounts: {aws: {'123456789012': {identityProvider: missing}}}").await;
    let full = body(&json!([cspm(), servers("P2")]));
    let got = put(&bench, "c", &full).await;
    assert_eq!(
        (got.status, got.body["errorMessage"].as_str().unwrap()),
        (
            400,
            "error occured for security connector: Identity provider is missing from AWS account/s. Defender for Cloud cannot authenticate without it. Create the identity provider to complete the onboarding."
        )
    );
    assert_eq!(bench.ask("GET", &path("c"), None).await.status, 404);
    for (patch, expected_text) in [
        (json!({"identityProvider": {"ownedBy": "Sentinel"}}), "Sentinel"),
        (
            json!({"identityProvider": "ok", "roles": {"CspmMonitorAws": "wrongTrust"}}),
            "does not trust",
        ),
        (
            json!({"roles": {"CspmMonitorAws": null, (role("DefenderForCloud-AgentlessScanner")): "missing"}}),
            "does not exist",
        ),
    ] {
        patch_clouds(&bench, json!({"aws": {ACCOUNT: patch}})).await;
        let got = put(&bench, "c", &full).await;
        assert!(
            got.status == 400 && got.body["errorMessage"].as_str().unwrap().contains(expected_text),
            "{got:?}"
        );
    }
    let mut off = full.clone();
    off["properties"]["offerings"][1]["vmScanners"]["enabled"] = json!(false);
    assert_eq!(
        put(&bench, "c", &off).await.status,
        201,
        "the role of what is off is not needed"
    );
    patch_clouds(&bench, json!({"aws": {ACCOUNT: null}})).await;
    assert_eq!(put(&bench, "c", &full).await.status, 200);

    let health = |scope: &str| {
        format!("{scope}providers/Microsoft.Security/healthReports?api-version=2023-05-01-preview")
    };
    let own = health(&path("c").replace(&format!("?api-version={VERSION}"), "/"));
    let reports = bench.ask("GET", &own, None).await.body["value"].clone();
    assert_eq!(
        reports[0]["properties"]["healthDataClassification"]["component"],
        "Connectivity"
    );
    assert_eq!(reports[0]["properties"]["status"]["code"], "Healthy");
    patch_clouds(
        &bench,
        json!({"aws": {ACCOUNT: {"roles": {"CspmMonitorAws": "missing"}}}}),
    )
    .await;
    let all = bench.ask("GET", &health(""), None).await.body["value"].clone();
    assert_eq!(
        (
            all.as_array().unwrap().len(),
            &all[0]["properties"]["status"]["code"]
        ),
        (1, &json!("NotHealthy"))
    );
    assert_eq!(all[0]["properties"]["issues"][0]["issueName"], "Role is missing");
    assert_eq!(bench.breaches().await, Vec::<String>::new());
}

#[tokio::test]
async fn arc_provisioning_needs_the_right_to_assign_roles() {
    let bench = bench(&format!("principals: [{{clientId: {DEFAULT_CLIENT}, roleAssignments: {{'*': [Security Admin]}}}}], cloudAccounts: {{aws: {{'123456789012': {{instances: [{{name: i-1}}]}}}}}}")).await;
    let full = body(&json!([cspm(), servers("P2")]));
    let got = put(&bench, "c", &full).await;
    assert!(
        got.code() == "AuthorizationFailed" && got.message().contains("roleAssignments/write"),
        "{got:?}"
    );
    bench.switch("arcWithoutRoleAssignment", "accepted").await;
    assert_eq!(put(&bench, "c", &full).await.status, 201);
    advance(&bench, "24h").await;
    let health = path("c").replace(
        "?api-version=2024-08-01-preview",
        "/providers/Microsoft.Security/healthReports?api-version=2023-05-01-preview",
    );
    let report = bench.ask("GET", &health, None).await.body["value"][0]["properties"].clone();
    assert_eq!(report["issues"][0]["issueName"], "Missing role assignment");
    let reader = json!({"roleAssignments": {"*": ["Virtual Machine Contributor"]}});
    bench
        .control("PATCH", &format!("principals/{DEFAULT_CLIENT}"), reader)
        .await;
    assert_eq!(put(&bench, "c", &full).await.code(), "AuthorizationFailed");
    assert_eq!(bench.ask("GET", &path("c"), None).await.status, 403);
}
