//! The bodies of PUTs, and what is read from responses.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use serverprotection_api::{SecurityConnectorSpec, Tier};
use serverprotection_core::{
    azure_error::ErrorClass,
    security_connector::{
        account::Membership,
        changes::{Action, Change, changes, differences},
        desired::Desired,
        expected::ObservedValue,
        field::ConnectorField,
        observed::{Connector, Response},
        value::ConnectorPath,
        write::ConnectorWrite,
    },
};

use super::{
    super::{merge, parse},
    permit,
    samples::{answered, aws, body_of, gcp, laid_over, protection, response, shapes},
    stub::Stub,
    target,
};

fn desired(spec: &SecurityConnectorSpec) -> Desired {
    Desired::of("aws-prod", spec, &protection(Tier::P2))
}

fn created_body(spec: &SecurityConnectorSpec) -> Value {
    body_of(&desired(spec), None, &BTreeSet::new())
}

/// A connector that matches the spec, with changes of another client.
fn edited(spec: &SecurityConnectorSpec, over: Value) -> Connector {
    let created = answered(&desired(spec).target.id(), &created_body(spec));
    let mut body = Value::Object(response(&created).clone());
    laid_over(&mut body, over);
    parse::connector(body).unwrap()
}

/// The body that changes this connector.
fn changed_body(spec: &SecurityConnectorSpec, connector: &Connector) -> Value {
    body_of(&desired(spec), Some(connector), &BTreeSet::new())
}

#[test]
fn the_bodies_are_those_of_the_contract() {
    let [(_, aws), (_, organization), (_, gcp), (_, gcp_organization)] = shapes();
    let body = |spec| created_body(&spec);
    let found = body(aws);
    let role = |name: &str| format!("arn:aws:iam::123456789012:role/{name}");
    assert_eq!(
        found,
        json!({
            "location": "westeurope",
            "properties": {
                "hierarchyIdentifier": "123456789012", "environmentName": "AWS",
                "environmentData": {"environmentType": "AwsAccount", "scanInterval": 4},
                "offerings": [
                    {"offeringType": "CspmMonitorAws", "nativeCloudConnection": {"cloudRoleArn": role("CspmMonitorAws")}},
                    {
                        "offeringType": "DefenderForServersAws", "subPlan": {"type": "P2"},
                        "defenderForServers": {"cloudRoleArn": role("DefenderForCloud-DefenderForServers")},
                        "arcAutoProvisioning": {"enabled": true, "cloudRoleArn": role("DefenderForCloud-ArcAutoProvisioning")},
                        "mdeAutoProvisioning": {"enabled": true, "configuration": {}},
                        "vaAutoProvisioning": {"enabled": true, "configuration": {"type": "TVM"}}
                    }
                ]
            }
        })
    );
    assert_eq!(
        body(organization)["properties"]["environmentData"]["organizationalData"],
        json!({"organizationMembershipType": "Organization", "stacksetName": "defender", "excludedAccountIds": ["210987654321"]})
    );
    let found = body(gcp);
    let properties = &found["properties"];
    assert_eq!(
        properties["environmentData"],
        json!({"environmentType": "GcpProject", "scanInterval": 4,
            "projectDetails": {"projectNumber": "843025268399", "projectId": "my-project"}})
    );
    let connection = |name: &str, id: &str| json!({"serviceAccountEmailAddress": format!("{name}@my-project.iam.gserviceaccount.com"), "workloadIdentityProviderId": id});
    assert_eq!(
        properties["offerings"][0]["nativeCloudConnection"],
        connection("microsoft-defender-cspm", "cspm")
    );
    let servers = &properties["offerings"][1];
    assert_eq!(
        servers["defenderForServers"],
        connection("microsoft-defender-for-servers", "defender-for-servers")
    );
    assert_eq!(servers["arcAutoProvisioning"], json!({"enabled": true}));
    assert_eq!(
        body(gcp_organization)["properties"]["environmentData"]["organizationalData"],
        json!({"organizationMembershipType": "Organization", "excludedProjectNumbers": ["1"],
            "serviceAccountEmailAddress": "mdc-org@my-project.iam.gserviceaccount.com", "workloadIdentityProviderId": "auto-provisioner"})
    );
}

#[test]
fn what_is_not_managed_is_sent_back() {
    let spec = aws(json!({}));
    let theirs =
        json!({"tags": {"theirs": "stays"}, "properties": {"environmentData": {"scanInterval": 12}}});
    let connector = edited(&spec, theirs);
    let body = changed_body(&spec, &connector);
    assert_eq!(body["tags"]["theirs"], "stays");
    assert_eq!(body["properties"]["environmentData"]["scanInterval"], 4);
}

#[test]
fn a_suppressed_field_keeps_its_value() {
    let spec = aws(json!({"tags": {"ours": "1"}}));
    let theirs = json!({"tags": {"OURS": "2"}, "properties": {"environmentData": {"scanInterval": 24}}});
    let connector = edited(&aws(json!({})), theirs);
    let suppressed = BTreeSet::from([ConnectorPath::Field(ConnectorField::ScanInterval)]);
    let found = changes(&desired(&spec), Some(&connector), &suppressed);
    let [
        Change {
            action: Action::PutConnector(write),
            fields,
        },
    ] = found.as_slice()
    else {
        panic!("{found:?}")
    };
    assert_eq!(fields.len(), 1, "{fields:?}");
    let body = merge::body(&desired(&spec).target, write).unwrap();
    assert_eq!(body["properties"]["environmentData"]["scanInterval"], 24);
    assert_eq!(body["tags"], json!({"OURS": "1"}));
}

#[test]
fn a_tier_without_servers_leaves_the_offering_out() {
    for (shape, spec) in shapes() {
        let connector = edited(&spec, json!({}));
        let free = Desired::of("aws-prod", &spec, &protection(Tier::Free));
        let body = body_of(&free, Some(&connector), &BTreeSet::new());
        let offerings = body["properties"]["offerings"].as_array().unwrap();
        assert_eq!(offerings.len(), 1, "{shape}");
        assert_eq!(parse::connector(body).unwrap().tier, Some(Tier::Free), "{shape}");
    }
}

#[test]
fn without_the_membership_the_organization_goes() {
    let [_, (_, organization), _, (_, gcp_organization)] = shapes();
    for (spec, alone) in [(organization, aws(json!({}))), (gcp_organization, gcp(json!({})))] {
        let connector = edited(&spec, json!({}));
        assert_eq!(connector.membership, Membership::Organization);
        let body = changed_body(&alone, &connector);
        let environment = &body["properties"]["environmentData"];
        assert!(environment.get("organizationalData").is_none());
    }
}

#[test]
fn the_scanners_role_is_read_from_the_old_place_and_written_in_the_new_one() {
    let spec = aws(json!({"agentlessScanning": {"state": "Enabled"}}));
    let mut body = created_body(&spec);
    let scanners = &mut body["properties"]["offerings"][1]["vmScanners"];
    let role = scanners.as_object_mut().unwrap().remove("cloudRoleArn").unwrap();
    scanners["configuration"]["cloudRoleArn"] = role.clone();
    let connector = parse::connector(body).unwrap();
    assert_eq!(differences(&desired(&spec), Some(&connector)), []);
    let body = changed_body(&spec, &connector);
    let scanners = &body["properties"]["offerings"][1]["vmScanners"];
    assert_eq!(scanners["cloudRoleArn"], role);
    assert_eq!(scanners["configuration"], json!({"scanningMode": "Default"}));
    // A move to P1 switches the scanner off: Azure refuses the two together.
    let spec = aws(json!({"plan": {"tier": "P1"}}));
    let body = changed_body(&spec, &connector);
    assert_eq!(body["properties"]["offerings"][1]["vmScanners"]["enabled"], false);
}

#[test]
fn a_response_is_read_in_every_form() {
    let spec = gcp(json!({}));
    let connector = edited(
        &spec,
        json!({"location": "West Europe", "properties": {
            "hierarchyIdentifier": 843_025_268_399_u64, "environmentName": "gcp",
            "environmentData": {"scanInterval": " 12 ", "organizationalData": {
                "organizationMembershipType": "member", "parentHierarchyId": "1"
            }}
        }}),
    );
    assert_eq!(connector.location.as_deref(), Some("westeurope"));
    assert_eq!(connector.account, "843025268399");
    assert_eq!(connector.cloud, Some(desired(&spec).target.cloud));
    assert_eq!(connector.account_name.as_deref(), Some("Contoso"));
    assert!(connector.trial_end.is_some());
    let member = Membership::Member {
        parent: Some("1".into()),
        management: None,
    };
    assert_eq!(connector.membership, member);
    let hours = connector.value(&ConnectorField::ScanInterval);
    assert_eq!(hours, Some(&ObservedValue::Hours(12)));
}

#[test]
fn values_of_other_forms_are_shown_as_they_are() {
    let spec = aws(json!({"aws": {"regions": ["eu-central-1"]}, "tags": {"ours": "1"}}));
    let odd = json!({"tags": {"ours": 1}, "properties": {"environmentData": {
        "scanInterval": "often", "regions": ["EU-Central-1", 2]
    }}});
    let mut odd = edited(&spec, odd);
    let shown = |connector: &Connector| {
        let found = differences(&desired(&spec), Some(connector)).into_iter();
        let shown = found.map(|difference| (difference.field.to_string(), difference.observed.to_string()));
        shown.collect::<Vec<_>>()
    };
    let expected = [
        ("tags.ours", "1"),
        ("aws.regions", r#"["EU-Central-1",2]"#),
        ("scanInterval", "often"),
    ];
    assert_eq!(
        shown(&odd),
        expected.map(|(field, value)| (field.into(), value.into()))
    );
    // A switch that is not true is off, and an unknown plan is shown.
    let mut body = Value::Object(response(&odd).clone());
    let servers = &mut body["properties"]["offerings"][1];
    servers["subPlan"]["type"] = json!("P3");
    servers["arcAutoProvisioning"]["enabled"] = json!("TRUE");
    servers["mdeAutoProvisioning"]["enabled"] = json!(1);
    odd = parse::connector(body).unwrap();
    assert_eq!(odd.tier, None);
    let expected = [
        ("plan.tier", "P3"),
        ("autoProvisioning.defenderForEndpoint.state", "Disabled"),
    ];
    assert_eq!(
        shown(&odd)[3..],
        expected.map(|(field, value)| (field.into(), value.into()))
    );
}

#[tokio::test]
async fn a_connector_that_was_not_read_is_not_overwritten() {
    let stub = Stub::start().await;
    let write = ConnectorWrite {
        current: Some(Response::default()),
        ..ConnectorWrite::of(&desired(&aws(json!({}))), None, &BTreeSet::new())
    };
    let change = Change {
        action: Action::PutConnector(write),
        fields: Vec::new(),
    };
    let outcome = stub
        .client()
        .apply_connector(&target("s", "aws"), &[change], &permit())
        .await;
    assert_eq!(outcome.failed.unwrap().1.class, ErrorClass::Transient);
    assert!(stub.asked().is_empty());
}
