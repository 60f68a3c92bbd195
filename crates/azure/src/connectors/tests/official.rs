//! Microsoft's official examples of `securityConnectors` 2024-08-01-preview (azure-rest-api-specs,
//! `SecurityConnectors_CreateOrUpdate` and `SecurityConnectors_Get`). The operator sends what they send, and understands
//! their responses and sends them back.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use serverprotection_api::Tier;
use serverprotection_core::security_connector::{
    account::Membership, changes::differences, desired::Desired,
};

use super::{
    super::parse,
    samples::{answered, aws, body_of, protection},
};

/// The body of the PUT.
fn request() -> Value {
    json!({
        "location": "Central US",
        "etag": "etag value (must be supplied for update)",
        "tags": {},
        "properties": {
            "hierarchyIdentifier": "exampleHierarchyId",
            "environmentName": "AWS",
            "environmentData": {"environmentType": "AwsAccount", "scanInterval": 4},
            "offerings": [{
                "offeringType": "CspmMonitorAws",
                "nativeCloudConnection": {"cloudRoleArn": "arn:aws:iam::00000000:role/ASCMonitor"}
            }]
        }
    })
}

/// The response to a PUT or a GET, with the environment data of the example.
fn response(etag: &str, environment: &Value) -> Value {
    json!({
        "id": "/subscriptions/a5caac9c-5c04-49af-b3d0-e204f40345d5/resourceGroups/exampleResourceGroup/providers/Microsoft.Security/securityConnectors/exampleSecurityConnectorName",
        "name": "exampleSecurityConnectorName",
        "type": "Microsoft.Security/securityConnectors",
        "location": "Central US",
        "kind": "",
        "etag": etag,
        "tags": {},
        "systemData": {
            "createdBy": "user@contoso.com",
            "createdByType": "User",
            "createdAt": "2021-08-31T13:47:50.328Z",
            "lastModifiedBy": "user@contoso.com",
            "lastModifiedByType": "User",
            "lastModifiedAt": "2021-08-31T13:47:50.328Z"
        },
        "properties": {
            "hierarchyIdentifier": "exampleHierarchyId",
            "environmentData": environment,
            "environmentName": "AWS",
            "offerings": [{
                "offeringType": "CspmMonitorAws",
                "nativeCloudConnection": {"cloudRoleArn": "arn:aws:iam::00000000:role/ASCMonitor"}
            }]
        }
    })
}

/// A spec that means what the example writes: posture management only.
fn desired(body: &Value) -> Desired {
    let text = |pointer: &str| body.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let role = text("/properties/offerings/0/nativeCloudConnection/cloudRoleArn");
    let spec = aws(json!({
        "location": text("/location"),
        "plan": {"tier": "Free"},
        "aws": {"accountId": text("/properties/hierarchyIdentifier"), "roleArns": {"cspm": role}},
    }));
    Desired::of("c", &spec, &protection(Tier::P2))
}

#[test]
fn what_the_official_example_writes_is_what_we_write() {
    let official = request();
    let ours = body_of(&desired(&official), None, &BTreeSet::new());
    assert_eq!(ours["properties"], official["properties"]);
    assert_eq!(ours["location"], official["location"]);
}

#[test]
fn responses_of_the_official_examples_are_in_sync_and_are_sent_back_without_read_only_members() {
    for (name, answer) in [
        ("PUT", response("", &json!({"environmentType": "AwsAccount"}))),
        (
            "GET",
            response(
                "etag value",
                &json!({"environmentType": "AwsAccount", "scanInterval": 4}),
            ),
        ),
    ] {
        let desired = desired(&answer);
        let connector = parse::connector(answer.clone()).unwrap();
        assert_eq!(connector.membership, Membership::Single);
        assert_eq!(connector.tier, Some(Tier::Free));
        assert!(differences(&desired, Some(&connector)).is_empty(), "{name}");
        let back = body_of(&desired, Some(&connector), &BTreeSet::new());
        let mut sent = answer["properties"].clone();
        // One of the examples omits it.
        sent["environmentData"]["scanInterval"] = json!(4);
        assert_eq!(back["properties"], sent, "{name}");
        for member in ["id", "name", "type", "systemData", "etag"] {
            assert!(back.get(member).is_none(), "{name}: {member}");
        }
        // If the next read returns this body, the connector is in sync again.
        let next = answered(&connector.id, &back);
        assert!(differences(&desired, Some(&next)).is_empty(), "{name}");
    }
}
