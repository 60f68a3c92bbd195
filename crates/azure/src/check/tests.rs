//! The points, the shapes, and which requests are sent.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    http::{Method, StatusCode, Uri},
    response::IntoResponse,
};
use serde_json::json;

use super::*;
use crate::stub;

const SUBSCRIPTION: &str = "6f1c0d7e-0000-4000-8000-000000000001";

/// Checks with these answers by the end of the path; everything else is an empty list. Also returns the requests.
async fn check(answers: Vec<(&'static str, u16, Value)>) -> (Check, Vec<String>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let asked = Arc::clone(&requests);
    let answer = move |method: Method, uri: Uri| {
        asked.lock().unwrap().push(format!("{method} {}", uri.path()));
        let found = answers.iter().find(|(end, ..)| uri.to_string().contains(end));
        let (status, body) = match found {
            Some((_, status, body)) => (*status, body.clone()),
            None => (
                200,
                json!({"value": [], "data": [], "totalRecords": 0, "count": 0}),
            ),
        };
        async move { (StatusCode::from_u16(status).unwrap(), body.to_string()).into_response() }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let client = stub::client(url.parse().unwrap());
    let check = client.check(SUBSCRIPTION).await.unwrap();
    let requests = requests.lock().unwrap().clone();
    (check, requests)
}

fn finding<'a>(check: &'a Check, name: &str) -> &'a Finding {
    let point = check.points.iter().find(|point| point.name == name);
    &point.unwrap_or_else(|| panic!("no {name}")).finding
}

fn seen(check: &Check, name: &str) -> String {
    match finding(check, name) {
        Finding::Seen(what) => what.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test]
async fn nothing_is_written() {
    let (check, requests) = check(vec![]).await;
    let is_read = |request: &String| {
        request.starts_with("GET ") || request == "POST /providers/Microsoft.ResourceGraph/resources"
    };
    assert!(requests.iter().all(is_read), "{requests:#?}");
    assert_eq!(requests.len(), check.reads.len());
    assert!(check.reads.iter().filter(|read| read.needed).count() >= 8);
}

#[tokio::test]
async fn an_unregistered_provider_shows_its_codes() {
    let refusal = json!({"error": {"code": "Subscription Not Registered", "message": "Please register"}});
    let (check, _) = check(vec![
        ("/pricings/VirtualMachines?api-version=2024", 404, refusal.clone()),
        ("/settings?", 401, refusal),
        (
            "/providers/Microsoft.Security?",
            200,
            json!({"registrationState": "NotRegistered"}),
        ),
    ])
    .await;
    let codes = seen(&check, "answer of an unregistered provider");
    assert_eq!(
        codes,
        "pricings: Subscription Not Registered; settings: Subscription Not Registered"
    );
    assert_eq!(
        finding(&check, "names and kinds of settings"),
        &Finding::Failed("Subscription Not Registered".into())
    );
}

#[tokio::test]
async fn plans_and_connectors_are_judged() {
    let rules = json!([{"RuleId": "1C18ECA2-7D3B-4367-3397-097A1EF2EDB1"}]).to_string();
    let extensions =
        json!([{"name": "FileIntegrityMonitoring", "additionalExtensionProperties": {"Rules": rules}}]);
    let connector = |name: &str, offerings: Value| {
        json!({"name": name, "location": "westeurope", "properties": {
            "environmentName": "AWS", "hierarchyIdentifier": "123456789012", "offerings": offerings}})
    };
    let servers = json!({"offeringType": "DefenderForServersAws", "subPlan": {"type": "P1"}, "vmScanners": {"enabled": true}});
    let connectors = [connector("a_1", json!([servers])), connector("b", json!([]))];
    let (check, _) = check(vec![
        (
            "api-version=2026-07-01",
            200,
            json!({"properties": {"managedBy": "M365"}}),
        ),
        (
            "/pricings/VirtualMachines",
            200,
            json!({"properties": {"pricingTier": "Free", "extensions": extensions}}),
        ),
        ("/securityConnectors", 200, json!({"value": connectors})),
    ])
    .await;
    assert_eq!(
        seen(&check, "extensions with tier Free"),
        "a Free plan lists 1 extensions"
    );
    assert_eq!(
        seen(&check, "RuleId of the recommended rules"),
        "the stored rules have the known RuleId"
    );
    assert!(seen(&check, "version 2026-07-01 and managedBy").contains("managedBy M365"));
    assert_eq!(
        seen(&check, "second connector for an account"),
        "1 accounts have more than one connector"
    );
    assert!(seen(&check, "connector without its CspmMonitor offering").starts_with("1 connectors"));
    assert!(seen(&check, "scanners with P1").starts_with("1 connectors"));
    assert!(seen(&check, "name of a connector").ends_with("'_'"));
    assert_eq!(seen(&check, "location of a connector"), "2 x westeurope");
}

#[tokio::test]
async fn what_a_subscription_cannot_show_is_said() {
    let (check, _) = check(vec![]).await;
    assert!(matches!(
        finding(&check, "scenario of a failed installation"),
        Finding::NotSeen(_)
    ));
    assert!(matches!(
        finding(&check, "resources of an Arc machine without extensions"),
        Finding::NotSeen(_)
    ));
    assert_eq!(
        seen(&check, "rows of settings in Resource Graph"),
        "settings have no rows"
    );
}

#[tokio::test]
async fn answers_are_judged_as_the_operator_judges_them() {
    let setting = |on: bool| json!({"name": "WDATP", "properties": {"enabled": on}});
    let plan = json!({"properties": {"pricingTier": "Standard", "subPlan": "P2"}});
    let failed = |check: &Check| {
        let needed = check
            .reads
            .iter()
            .filter(|read| read.needed && read.shape.is_err());
        needed.map(|read| read.name).collect::<Vec<_>>()
    };
    let answers = |plan: Value, settings: Value| {
        vec![
            ("/pricings/VirtualMachines?", 200, plan),
            ("/settings?", 200, json!({"value": settings})),
            ("/permissions?", 200, json!({"value": [{"actions": ["*"]}]})),
            (
                "/azureServersSetting?",
                200,
                json!({"properties": {"selectedProvider": "MdeTvm"}}),
            ),
            (
                "/providers/Microsoft.Security?",
                200,
                json!({"registrationState": "Registered"}),
            ),
            (
                "/6f1c0d7e-0000-4000-8000-000000000001?",
                200,
                json!({"displayName": "a", "state": "Enabled"}),
            ),
        ]
    };
    let (good, _) = check(answers(plan.clone(), json!([setting(true)]))).await;
    assert_eq!(failed(&good), [""; 0]);
    let (odd, _) = check(answers(json!(null), json!([setting(true), setting(false)]))).await;
    assert_eq!(failed(&odd), ["plan", "settings"]);
    let (odd, _) = check(answers(
        json!({"properties": {"pricingTier": "Standard", "subPlan": 1}}),
        json!([]),
    ))
    .await;
    assert_eq!(failed(&odd), ["plan", "settings"]);
}

#[tokio::test]
async fn without_a_token_nothing_is_read() {
    let url: url::Url = "http://127.0.0.1:9/".parse().unwrap();
    let principals = stub::principals(url, reqwest::Client::new());
    let client = Client::new(stub::identity("client", stub::WRONG_SECRET), &principals);
    assert!(
        client
            .check(SUBSCRIPTION)
            .await
            .unwrap_err()
            .code
            .starts_with("AADSTS")
    );
}

#[test]
fn a_machine_with_extensions_is_not_chosen() {
    let machine = |name: &str| {
        format!("/subscriptions/s/resourceGroups/rg/providers/Microsoft.HybridCompute/machines/{name}")
    };
    let chosen = |machines: &[String], extensions: &[String]| {
        let rows = |ids: &[String]| Ok(ids.iter().map(|id| json!({"id": id})).collect());
        let read = |name| reads::Read::test(name);
        let raw = Raw(vec![
            (read("Arc machines"), rows(machines)),
            (read("Arc machines with extensions"), rows(extensions)),
        ]);
        reads::without_extensions(&raw)
    };
    let extension = machine("a/extensions/MDE.Linux");
    assert_eq!(
        chosen(&[machine("A"), machine("ab")], std::slice::from_ref(&extension)),
        Some(machine("ab").to_lowercase())
    );
    assert_eq!(chosen(&[machine("a")], &[extension]), None);
    assert_eq!(chosen(&[machine("..")], &[]), None);
}

#[test]
fn a_shape_has_no_value_that_identifies_anything() {
    let answer = json!({
        "id": "/subscriptions/6f1c0d7e/x", "name": "contoso", "location": "westeurope",
        "tags": {"owner": "jane"}, "identity": {"userAssignedIdentities": {"/subscriptions/a/b": {}}},
        "properties": {"pricingTier": "Standard", "isEnabled": "True", "enabled": true, "count": 5, "none": null,
            "code": "Contoso's <own>", "list": (0..30).collect::<Vec<_>>()}
    });
    let shape = shape::of(&answer);
    assert_eq!(
        shape["properties"]["pricingTier"], "Standard",
        "values of closed sets stay"
    );
    assert_eq!(shape["properties"]["enabled"], true);
    assert_eq!(shape["properties"]["count"], "number");
    assert_eq!(shape["properties"]["code"], "string");
    assert_eq!(shape["properties"]["list"][25], "and 5 more");
    assert_eq!(shape["tags"], json!({"(keys)": 1}));
    assert_eq!(shape["identity"]["userAssignedIdentities"], json!({"(keys)": 1}));
    for private in ["contoso", "jane", "owner", "6f1c0d7e", "westeurope", "own>"] {
        assert!(!shape.to_string().contains(private), "{private}: {shape}");
    }
}
