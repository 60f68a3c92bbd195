//! Reads and writes of connectors against a stub of Azure in this process.

mod arc_providers;
mod bodies;
mod credentials;
mod official;
mod properties;
mod samples;
mod stub;
mod visible;
mod writes;

use serde_json::{Value, json};
use serverprotection_api::{Cloud, Mode};
use serverprotection_core::{
    azure_error::ErrorClass,
    gate::{Gate, WritePermit},
    security_connector::{
        changes::{Action, Change},
        desired::Target,
        expected::Expected,
        field::ConnectorField,
        reads::Reads,
        write::{ConnectorWrite, FieldWrite},
    },
};

use self::stub::{Stub, answer, error};

const EVERYTHING: Reads = Reads {
    resource_group: true,
    others: true,
    health: true,
    permissions: true,
    arc_providers: false,
    fresh: false,
};

fn target(subscription: &str, name: &str) -> Target {
    Target {
        subscription: subscription.into(),
        resource_group: "Rg".into(),
        name: name.into(),
        cloud: Cloud::AWS,
        account: "123456789012".into(),
    }
}

fn body(scan_interval: i64) -> Value {
    json!({ "location": "westeurope", "properties": { "environmentName": "AWS", "hierarchyIdentifier": "123456789012",
        "environmentData": { "environmentType": "AwsAccount", "scanInterval": scan_interval },
        "offerings": [{ "offeringType": "CspmMonitorAws" }] } })
}

/// The PUT of [`body`].
fn put(scan_interval: i64) -> Change {
    let interval = FieldWrite {
        field: ConnectorField::ScanInterval,
        value: Expected::Hours(scan_interval),
        changes: true,
    };
    Change {
        action: Action::PutConnector(ConnectorWrite {
            location: "westeurope".into(),
            servers: false,
            fields: vec![interval],
            current: None,
        }),
        fields: Vec::new(),
    }
}

fn create_group() -> Change {
    Change {
        action: Action::CreateResourceGroup {
            name: "Rg".into(),
            location: "westeurope".into(),
        },
        fields: Vec::new(),
    }
}

fn permit() -> WritePermit {
    Gate::open()
        .permit(true, Mode::Enforce, false, "the-correlation-id")
        .unwrap()
}

/// A stub with the connector of this name in subscription `s`.
async fn with_connector(name: &str) -> Stub {
    let stub = Stub::start().await;
    stub.state().groups.push("rg".into());
    stub.client()
        .apply_connector(&target("s", name), &[put(4)], &permit())
        .await;
    stub.asked();
    stub
}

#[tokio::test]
async fn an_unchanged_reconcile_reads_only_the_connector() {
    let stub = with_connector("aws").await;
    let observed = stub
        .client()
        .observe_connector(&target("s", "aws"), &Reads::default())
        .await;
    assert_eq!(observed.found().unwrap().account, "123456789012");
    assert_eq!(stub.asked(), ["GET /s/resourceGroups/Rg/securityConnectors/aws"]);
}

#[tokio::test]
async fn selected_reads_use_their_api_versions() {
    let stub = with_connector("aws").await;
    let report = json!({ "properties": { "healthDataClassification": { "component": "Connectivity", "scope": "Connectors" },
        "status": { "code": "Healthy" } } });
    stub.state().reports.push(report);
    let observed = stub
        .client()
        .observe_connector(&target("s", "aws"), &EVERYTHING)
        .await;
    assert_eq!(observed.resource_group, Some(Ok(true)));
    assert_eq!(observed.others.unwrap().unwrap()[0].account, "123456789012");
    assert_eq!(observed.health.unwrap().unwrap()[0].component, "Connectivity");
    assert_eq!(observed.permissions.unwrap().unwrap().grants.len(), 1);
    let mut asked: Vec<_> = stub
        .state()
        .requests
        .iter()
        .map(|request| (request.what.clone(), request.api_version.clone()))
        .collect();
    asked.sort();
    let connector =
        "GET /subscriptions/s/resourceGroups/Rg/providers/Microsoft.Security/securityConnectors/aws";
    let expected = [
        (
            "GET /subscriptions/s/providers/Microsoft.Authorization/permissions".to_owned(),
            "2022-04-01",
        ),
        (
            "GET /subscriptions/s/providers/Microsoft.Security/securityConnectors".to_owned(),
            "2024-08-01-preview",
        ),
        (connector.to_owned(), "2024-08-01-preview"),
        (
            format!("{connector}/providers/Microsoft.Security/healthReports"),
            "2023-05-01-preview",
        ),
        ("GET /subscriptions/s/resourcegroups/Rg".to_owned(), "2021-04-01"),
        (
            "POST /providers/Microsoft.ResourceGraph/resources".to_owned(),
            "2024-04-01",
        ),
    ];
    assert_eq!(asked, expected.map(|(what, version)| (what, version.to_owned())));
}

#[tokio::test]
async fn without_a_connector_group_and_other_connectors_are_always_read() {
    let stub = Stub::start().await;
    let reads = Reads {
        health: true,
        ..Reads::default()
    };
    let observed = stub.client().observe_connector(&target("s", "aws"), &reads).await;
    assert_eq!(observed.connector, Some(Ok(None)));
    assert_eq!(observed.resource_group, Some(Ok(false)));
    assert_eq!(observed.others, Some(Ok(Vec::new())));
    assert_eq!(observed.health, None);
    assert_eq!(observed.permissions, None);
    assert_eq!(observed.failure(), None);
}

#[tokio::test]
async fn only_a_404_about_the_connector_makes_it_absent() {
    let stub = with_connector("aws").await;
    let own_shape =
        json!({ "statusCode": 404, "errorMessage": "no such connector", "errorCorrelation": "c" });
    for (what, absent) in [
        (error(404, "ResourceNotFound"), true),
        (error(404, "ResourceGroupNotFound"), true),
        (answer(404, &own_shape), true),
        (error(404, "SubscriptionNotFound"), false),
        (error(404, "InvalidResourceType"), false),
        (answer(404, &json!("lost")), false),
        (answer(200, &Value::Null), false),
        (error(409, "MissingSubscriptionRegistration"), false),
        (error(403, "AuthorizationFailed"), false),
    ] {
        let reported = what.body.clone();
        let mut what = Some(what);
        stub.fault(move |_| what.take());
        let reading = stub.client().read_connector(&target("s", "aws").id()).await;
        assert_eq!(matches!(reading, Ok(None)), absent, "{reported}: {reading:?}");
        assert_eq!(reading.is_err(), !absent, "{reported}");
    }
}

#[tokio::test]
async fn a_connector_without_reports_has_none_and_a_refusal_is_an_error() {
    let stub = with_connector("aws").await;
    let reads = Reads {
        health: true,
        ..Reads::default()
    };
    for (what, is_ok) in [
        (error(404, "ResourceNotFound"), true),
        (error(404, "NotFound"), true),
        (error(403, "AuthorizationFailed"), false),
        (error(404, "SubscriptionNotFound"), false),
    ] {
        let mut what = Some(what);
        stub.fault(move |request| what.take_if(|_| request.what.ends_with("healthReports")));
        let observed = stub.client().observe_connector(&target("s", "aws"), &reads).await;
        let health = observed.health.unwrap();
        assert_eq!(health.is_ok_and(|reports| reports.is_empty()), is_ok);
    }
}

#[tokio::test]
async fn a_target_that_is_unsafe_in_a_path_is_refused_without_a_request() {
    let stub = Stub::start().await;
    let client = stub.client();
    let target = target("s", "../../x");
    let observed = client.observe_connector(&target, &EVERYTHING).await;
    assert_eq!(observed.failure().unwrap().code, "InvalidResourceId");
    let outcome = client.apply_connector(&target, &[put(4)], &permit()).await;
    assert_eq!(outcome.failed.unwrap().1.class, ErrorClass::Refused);
    assert_eq!(
        client
            .delete_connector("/subscriptions/s", &permit())
            .await
            .unwrap_err()
            .code,
        "InvalidResourceId"
    );
    assert!(client.read_connector("").await.is_err());
    assert!(stub.asked().is_empty());
}
