//! `SecurityConnector`: its columns, defaults, and rules with their exact messages.

use serde_json::{Value, json};

use super::{
    SUBSCRIPTION,
    admission::messages,
    definitions::{at, schema},
    laid_over,
};
use crate::{Cloud, ConnectorDeletionPolicy, SecurityConnector, SecurityConnectorSpec, State, Tier, crds};

const IMMUTABLE: &str = "cannot be changed: create another SecurityConnector";
const AWS: &str = "aws must be set when type is AWS, and must not be set otherwise";
const GCP: &str = "gcp must be set when type is GCP, and must not be set otherwise";
const AGENTLESS: &str =
    "agentlessScanning needs plan.tier P2: set plan.tier to P2, or agentlessScanning.state to Disabled";
const INTERVAL: &str = "scanInterval must be whole hours from 1h to 24h, for example 4h";
const ACCOUNT: &str =
    "aws.accountId must be the 12-digit id of the AWS account without dashes, for example 123456789012";
const PARTITION: &str = "aws.roleArns must not contain roles of AWS GovCloud (aws-us-gov) or China (aws-cn): Defender for Cloud connects commercial AWS accounts only (arn:aws:)";
const ROLE_ACCOUNT: &str = "aws.roleArns must contain roles of the account aws.accountId: Defender for Cloud signs in to that account";
const ARN: &str = "aws.roleArns must contain ARNs of IAM roles in the form arn:aws:iam::ACCOUNT:role/NAME";
const NUMBER: &str = "gcp.projectNumber must be the number of the project, digits only (gcloud projects describe PROJECT --format='value(projectNumber)'); set the id of the project in gcp.projectId";
const ID: &str = "gcp.projectId must be the id of the project, for example my-project; set the number of the project in gcp.projectNumber";
const SCOPE: &str = "autoProvisioning.arcAgent.privateLinkScope must be the resource id of a private link scope: /subscriptions/ID/resourceGroups/NAME/providers/Microsoft.HybridCompute/privateLinkScopes/NAME";
const PROXY: &str = "autoProvisioning.arcAgent.proxy must be the address of an HTTP proxy without user name and password, for example http://proxy.example:3128";
const NAME: &str =
    "metadata.name has more than 63 characters, the limit for the name of a connector: set connectorName";

fn spec(base: Value, over: Value) -> SecurityConnectorSpec {
    let mut spec = json!({
        "protectionRef": {"name": "contoso-prod"}, "resourceGroup": "rg-defender", "location": "westeurope"
    });
    laid_over(&mut spec, base);
    laid_over(&mut spec, over);
    serde_json::from_value(spec).unwrap()
}

pub(super) fn aws(over: Value) -> SecurityConnector {
    let account = json!({"type": "AWS", "aws": {"accountId": "123456789012"}});
    SecurityConnector::new("aws-prod", spec(account, over))
}

pub(super) fn gcp(over: Value) -> SecurityConnector {
    let project = json!({"type": "GCP", "gcp": {"projectNumber": "843025268399", "projectId": "my-project"}});
    SecurityConnector::new("gcp-prod", spec(project, over))
}

fn refused(connector: &SecurityConnector, field: &str, words: &[&str]) {
    let mut found = messages(connector.validate_cel());
    assert_eq!(found.len(), words.len(), "{found:#?}");
    found.sort();
    for word in words {
        let reported = found
            .iter()
            .any(|found| found.starts_with(field) && found.ends_with(&format!(": {word}")));
        assert!(reported, "{found:#?}\nis not {field}: {word}");
    }
}

fn admitted(connector: &SecurityConnector) {
    assert_eq!(messages(connector.validate_cel()), [""; 0]);
}

#[test]
fn a_place_and_a_protection_are_required() {
    let crd = crds().swap_remove(1);
    let required = at(schema(&crd), "spec").required.clone().unwrap();
    assert_eq!(required, ["location", "protectionRef", "resourceGroup", "type"]);
}

#[test]
fn the_smallest_spec_provisions_everything_and_retains() {
    let spec = aws(json!({})).spec;
    assert_eq!(spec.type_, Cloud::AWS);
    assert_eq!(spec.scan_interval, "4h");
    assert_eq!(spec.deletion_policy, ConnectorDeletionPolicy::Retain);
    assert!(!spec.create_resource_group && !spec.suspend && spec.plan.is_none());
    let provisioning = &spec.auto_provisioning;
    assert_eq!(provisioning.arc_agent.state, State::Enabled);
    assert_eq!(provisioning.defender_for_endpoint.state, State::Enabled);
    assert_eq!(provisioning.vulnerability_assessment.state, State::Enabled);
    admitted(&aws(json!({})));
    admitted(&gcp(json!({})));
}

#[test]
fn a_spec_survives_the_way_out_and_in() {
    let full = aws(json!({
        "plan": {"tier": "P2"}, "connectorName": "c", "tags": {"a": "b"},
        "aws": {"regions": [], "roleArns": {"cspm": "arn:aws:iam::123456789012:role/a/b"},
            "organization": {"stackSetName": "defender", "excludedAccountIds": []}},
        "agentlessScanning": {"state": "Enabled", "exclusionTags": []},
    }));
    admitted(&full);
    let out = serde_json::to_value(&full.spec).unwrap();
    assert!(!out.to_string().contains("null"));
    assert_eq!(out["aws"]["regions"], json!([]), "all regions, not as found");
    assert_eq!(
        serde_json::from_value::<SecurityConnectorSpec>(out).unwrap(),
        full.spec
    );
    assert_eq!(full.spec.plan.unwrap().tier, Tier::P2);
}

#[test]
fn the_members_of_the_other_cloud_are_refused() {
    let project = json!({"projectNumber": "1", "projectId": "my-project"});
    refused(&aws(json!({"gcp": project})), "spec.gcp", &[GCP]);
    refused(
        &gcp(json!({"aws": {"accountId": "123456789012"}})),
        "spec.aws",
        &[AWS],
    );
    refused(&aws(json!({"aws": null})), "spec.aws", &[AWS]);
    refused(&gcp(json!({"gcp": null})), "spec.gcp", &[GCP]);
    refused(&aws(json!({"type": "GCP"})), "spec.", &[AWS, GCP]);
}

#[test]
fn agentless_scanning_needs_p2() {
    let with =
        |tier: &str, state: &str| aws(json!({"plan": {"tier": tier}, "agentlessScanning": {"state": state}}));
    for tier in ["P1", "Free"] {
        refused(&with(tier, "Enabled"), "spec.agentlessScanning", &[AGENTLESS]);
        admitted(&with(tier, "Disabled"));
        admitted(&with(tier, "Unmanaged"));
    }
    admitted(&with("P2", "Enabled"));
    // Admission does not know the plan of the ServerProtection.
    admitted(&aws(json!({"agentlessScanning": {"state": "Enabled"}})));
}

#[test]
fn a_tag_that_excludes_from_scanning_has_one_value() {
    let with = |tags: serde_json::Value| {
        aws(json!({"agentlessScanning": {"state": "Enabled", "exclusionTags": tags}}))
    };
    let twice = "agentlessScanning.exclusionTags must contain each key only once: a connector has one value for each key";
    let tags = json!([{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]);
    refused(&with(tags), "spec.agentlessScanning", &[twice]);
    admitted(&with(
        json!([{"key": "a", "value": "1"}, {"key": "b", "value": "1"}]),
    ));
    admitted(&with(json!([])));
}

#[test]
fn the_scan_interval_is_whole_hours() {
    for interval in ["1h", "4h", "9h", "10h", "19h", "20h", "24h"] {
        admitted(&aws(json!({"scanInterval": interval})));
    }
    for interval in ["0h", "25h", "90m", "1h30m", "04h", "4", "1.5h", "30h", "-1h"] {
        refused(
            &aws(json!({"scanInterval": interval})),
            "spec.scanInterval",
            &[INTERVAL],
        );
    }
}

#[test]
fn accounts_and_projects_are_named_by_their_ids() {
    for account in ["12345678901", "1234567890123", "1234-5678-9012", "my-account", ""] {
        let connector = aws(json!({"aws": {"accountId": account}}));
        refused(&connector, "spec.aws.accountId", &[ACCOUNT]);
    }
    for number in ["my-project", "12a", "-1"] {
        let connector = gcp(json!({"gcp": {"projectNumber": number}}));
        refused(&connector, "spec.gcp.projectNumber", &[NUMBER]);
    }
    for id in ["843025268399", "My-Project", "short", "ends-in-dash-"] {
        let connector = gcp(json!({"gcp": {"projectId": id}}));
        refused(&connector, "spec.gcp.projectId", &[ID]);
    }
    for id in ["my-project", "example.com:my-project", "abcdef"] {
        admitted(&gcp(json!({"gcp": {"projectId": id}})));
    }
}

#[test]
fn role_arns_are_those_of_commercial_aws() {
    let with = |role: &str, arn: &str| aws(json!({"aws": {"roleArns": {role: arn}}}));
    for role in ["cspm", "servers", "arcProvisioning", "agentlessScanner"] {
        let field = format!("spec.aws.roleArns.{role}");
        for arn in [
            "arn:aws:iam::123456789012:role/CspmMonitorAws",
            "arn:aws:iam::123456789012:role/path/to/a_role+=,.@-1",
        ] {
            admitted(&with(role, arn));
        }
        for arn in [
            "arn:aws-us-gov:iam::123456789012:role/a",
            "arn:aws-cn:iam::123456789012:role/a",
        ] {
            refused(&with(role, arn), &field, &[PARTITION]);
        }
        for arn in [
            "",
            "CspmMonitorAws",
            "arn:aws:iam::12345:role/a",
            "arn:aws:iam::123456789012:user/a",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:sts::123456789012:role/a",
            "arn:aws:iam::123456789012:role/a b",
        ] {
            refused(&with(role, arn), &field, &[ARN]);
        }
    }
}

#[test]
fn role_arns_are_those_of_the_account() {
    let roles = ["cspm", "servers", "arcProvisioning", "agentlessScanner"];
    let with = |arns: Value| aws(json!({"aws": {"roleArns": arns}}));
    let all = roles.map(|role| {
        (
            role.to_owned(),
            json!(format!("arn:aws:iam::123456789012:role/{role}")),
        )
    });
    admitted(&with(serde_json::Map::from_iter(all).into()));
    for role in roles {
        for arn in [
            "arn:aws:iam::210987654321:role/a",
            "arn:aws:iam::123456789013:role/CspmMonitorAws",
        ] {
            refused(&with(json!({ role: arn })), "spec.aws.roleArns", &[ROLE_ACCOUNT]);
        }
    }
    // Also for an organization: its connector signs in to the management account.
    let organization = aws(json!({"aws": {"organization": {"stackSetName": "defender"},
        "roleArns": {"cspm": "arn:aws:iam::210987654321:role/a"}}}));
    refused(&organization, "spec.aws.roleArns", &[ROLE_ACCOUNT]);
}

#[test]
fn the_arc_agent_has_a_proxy_and_a_private_link_scope() {
    let with = |field: &str, value: &str| gcp(json!({"autoProvisioning": {"arcAgent": {field: value}}}));
    let scope = format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.HybridCompute/privateLinkScopes/pls"
    );
    for good in [scope.as_str(), ""] {
        admitted(&with("privateLinkScope", good));
    }
    let upper = scope.to_uppercase();
    for bad in [
        "pls",
        &scope[1..],
        &scope.replace("HybridCompute", "Network"),
        upper.as_str(),
    ] {
        let field = "spec.autoProvisioning.arcAgent.privateLinkScope";
        refused(&with("privateLinkScope", bad), field, &[SCOPE]);
    }
    for good in [
        "http://proxy:3128",
        "https://proxy.example",
        "http://10.0.0.1:80/",
        "",
    ] {
        admitted(&with("proxy", good));
    }
    for bad in [
        "proxy:3128",
        "http://user:password@proxy:3128",
        "http://a b",
        "http://",
    ] {
        refused(
            &with("proxy", bad),
            "spec.autoProvisioning.arcAgent.proxy",
            &[PROXY],
        );
    }
}

#[test]
fn a_connectors_name_has_at_most_63_characters() {
    let mut connector = aws(json!({}));
    connector.metadata.name = Some("a".repeat(64));
    assert_eq!(messages(connector.validate_cel()), [NAME]);
    connector.spec.connector_name = Some("short".into());
    admitted(&connector);
}

#[test]
fn what_names_the_connector_is_immutable() {
    let changed = |old: &SecurityConnector, over: Value, field: &str| {
        let base = serde_json::to_value(&old.spec).unwrap();
        let new = SecurityConnector::new("aws-prod", spec(base, over));
        let found = messages(new.validate_cel_update(old));
        let words = format!("{field} {IMMUTABLE}");
        assert!(
            found.iter().any(|found| found.contains(&words)),
            "{field}: {found:#?}"
        );
        admitted(&new);
    };
    let old = aws(json!({}));
    changed(&old, json!({"protectionRef": {"name": "other"}}), "protectionRef");
    changed(&old, json!({"resourceGroup": "other"}), "resourceGroup");
    changed(&old, json!({"location": "other"}), "location");
    changed(&old, json!({"connectorName": "other"}), "connectorName");
    changed(
        &old,
        json!({"aws": {"accountId": "210987654321"}}),
        "aws.accountId",
    );
    let other = json!({"type": "GCP", "aws": null, "gcp": {"projectNumber": "1", "projectId": "my-project"}});
    changed(&old, other, "type");
    let named = aws(json!({"connectorName": "a"}));
    changed(&named, json!({"connectorName": "b"}), "connectorName");
    changed(&named, json!({"connectorName": null}), "connectorName");
    let project = gcp(json!({}));
    changed(
        &project,
        json!({"gcp": {"projectNumber": "1"}}),
        "gcp.projectNumber",
    );
    changed(
        &project,
        json!({"gcp": {"projectId": "another"}}),
        "gcp.projectId",
    );

    let free = json!({"plan": {"tier": "P1"}, "scanInterval": "24h", "createResourceGroup": true, "tags": {"a": "b"},
        "aws": {"regions": ["eu-central-1"], "organization": {"stackSetName": "s"}}, "deletionPolicy": "Delete"});
    let new = aws(free);
    assert_eq!(messages(new.validate_cel_update(&old)), [""; 0]);
}

#[test]
fn the_keys_of_tags_have_a_longest_length() {
    let with = |length: usize| aws(json!({"tags": {"k".repeat(length): "v"}}));
    assert_eq!(messages(with(512).validate_cel()), [""; 0]);
    let found = messages(with(513).validate_cel());
    let expected = "tags must not contain a key with more than 512 characters";
    assert!(found.len() == 1 && found[0].ends_with(expected), "{found:#?}");
}
