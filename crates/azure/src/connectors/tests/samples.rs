//! Specs of the four shapes, and the bodies that are written for them.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use serverprotection_api::{Mode, SecurityConnectorSpec, Tier};
use serverprotection_core::security_connector::{
    desired::{Desired, Protection},
    observed::Connector,
    value::ConnectorPath,
    write::ConnectorWrite,
};

use super::super::{merge, parse};

/// Merges `over` into `base`, member by member.
pub(super) fn laid_over(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                laid_over(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

fn spec(shape: Value, over: Value) -> SecurityConnectorSpec {
    let mut spec = json!({
        "protectionRef": {"name": "contoso-prod"}, "resourceGroup": "rg-defender", "location": "westeurope"
    });
    laid_over(&mut spec, shape);
    laid_over(&mut spec, over);
    serde_json::from_value(spec).unwrap()
}

pub(super) fn aws(over: Value) -> SecurityConnectorSpec {
    spec(json!({"type": "AWS", "aws": {"accountId": "123456789012"}}), over)
}

pub(super) fn gcp(over: Value) -> SecurityConnectorSpec {
    let project = json!({"projectNumber": "843025268399", "projectId": "my-project"});
    spec(json!({"type": "GCP", "gcp": project}), over)
}

/// The four shapes.
pub(super) fn shapes() -> [(&'static str, SecurityConnectorSpec); 4] {
    let stack_set = json!({"stackSetName": "defender", "excludedAccountIds": ["210987654321"]});
    let organization = json!({
        "serviceAccount": "mdc-org@my-project.iam.gserviceaccount.com",
        "workloadIdentityProvider": "auto-provisioner", "excludedProjectNumbers": ["1"]
    });
    [
        ("AWS account", aws(json!({}))),
        (
            "AWS organization",
            aws(json!({"aws": {"organization": stack_set}})),
        ),
        ("GCP project", gcp(json!({}))),
        (
            "GCP organization",
            gcp(json!({"gcp": {"organization": organization}})),
        ),
    ]
}

pub(super) fn protection(tier: Tier) -> Protection {
    Protection {
        subscription: "6f1c0d7e-0000-4000-8000-000000000001".into(),
        mode: Mode::Enforce,
        tier,
        registers: true,
        credential: None,
    }
}

/// Azure's response to a PUT of this body: everything as sent, with the members that only the service writes.
pub(super) fn answered(id: &str, body: &Value) -> Connector {
    let mut answer = body.clone();
    laid_over(
        &mut answer,
        json!({
            "id": id, "name": "x", "type": "Microsoft.Security/securityconnectors", "etag": "e",
            "systemData": {"createdBy": "me"},
            "properties": {
                "hierarchyIdentifierTrialEndDate": "2023-12-01T00:00:00.1234567Z",
                "environmentData": {"accountName": "Contoso", "projectDetails": {"projectName": "Contoso", "workloadIdentityPoolId": "p"}}
            }
        }),
    );
    let offerings = answer["properties"]["offerings"].as_array_mut().unwrap();
    for offering in offerings {
        offering["description"] = json!("what it is");
    }
    if let Some(organization) = answer["properties"]["environmentData"].get_mut("organizationalData") {
        organization["organizationName"] = json!("Contoso");
    }
    parse::connector(answer).unwrap()
}

/// The body of a PUT in which these fields are suppressed.
pub(super) fn body_of(
    desired: &Desired,
    actual: Option<&Connector>,
    suppressed: &BTreeSet<ConnectorPath>,
) -> Value {
    let write = ConnectorWrite::of(desired, actual, suppressed);
    merge::body(&desired.target, &write).unwrap()
}

/// The response that a connector was read from.
pub(super) fn response(connector: &Connector) -> &Map<String, Value> {
    connector.response.get().unwrap()
}
