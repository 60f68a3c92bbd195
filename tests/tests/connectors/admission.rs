//! Admission of connectors by the real API server: it rejects invalid fields and names them.

use std::sync::Arc;

use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    command::validate_agrees,
    env::Environment,
    harness::Case,
    team::{Team, merge},
};

use super::{another_account, life::shape};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        admission_names_the_rejected_field,
        immutable_fields_of_a_connector_cannot_be_changed,
    ]
}

/// Applies an object that must be rejected with this message. `serverprotection validate` must agree.
async fn refuses(team: &Team<'_>, spec: Value, says: &str) -> Result<(), Error> {
    let shown = spec.to_string();
    let whole = team.connector_spec(spec.clone());
    let refusal = team.connect("bad", spec).await.err();
    let refusal = refusal
        .unwrap_or_else(|| panic!("was admitted: {shown}"))
        .to_string();
    assert!(refusal.contains(says), "{shown}: not named \"{says}\": {refusal}");
    validate_agrees(&team.connectors().object("bad", &whole), false).await
}

/// Specs with a part of the expected message.
type Refusals = Vec<(Value, &'static str)>;

fn about_accounts(team: &Team<'_>) -> Refusals {
    let roles = |arn: &str| json!({"aws": {"roleArns": {"servers": arn}}});
    let gcp = |more: Value| {
        let mut spec = shape(team, "gcp");
        merge(&mut spec, more);
        spec
    };
    vec![
        (
            gcp(json!({"aws": {"accountId": "123456789012"}})),
            "aws must be set when type is AWS, and must not be set otherwise",
        ),
        (
            json!({"type": "GCP"}),
            "gcp must be set when type is GCP, and must not be set otherwise",
        ),
        (
            roles("arn:aws:iam::210987654321:role/a"),
            "aws.roleArns must contain roles of the account aws.accountId",
        ),
        (json!({"type": "Azure"}), "spec.type"),
        (
            json!({"aws": {"accountId": "1234-5678-9012"}}),
            "aws.accountId must be the 12-digit id of the AWS account",
        ),
        (
            json!({"aws": {"accountId": 123_456_789_012_i64}}),
            "spec.aws.accountId",
        ),
        (
            roles("arn:aws:iam::123456789012:user/someone"),
            "arn:aws:iam::ACCOUNT:role/NAME",
        ),
        (roles("DefenderForCloud"), "arn:aws:iam::ACCOUNT:role/NAME"),
        (
            roles("arn:aws-us-gov:iam::123456789012:role/x"),
            "AWS GovCloud (aws-us-gov)",
        ),
        (roles("arn:aws-cn:iam::123456789012:role/x"), "China (aws-cn)"),
        (json!({"aws": {"regions": ["Frankfurt"]}}), "spec.aws.regions"),
        (json!({"aws": {"organization": {}}}), "stackSetName"),
        (
            gcp(json!({"gcp": {"projectNumber": "my-project"}})),
            "set the id of the project in gcp.projectId",
        ),
        (
            gcp(json!({"gcp": {"projectId": "843025268399"}})),
            "set the number of the project in gcp.projectNumber",
        ),
        (
            gcp(json!({"gcp": {"serviceAccounts": {"cspm": "somebody"}}})),
            "gcp.serviceAccounts.cspm must be the email address of a service account, for example",
        ),
        (
            gcp(json!({"gcp": {"workloadIdentityProviders": {"servers": "x"}}})),
            "gcp.workloadIdentityProviders.servers must be the id of a workload identity provider",
        ),
        (
            json!({"aws": {"organization": {"stackSetName": "my set"}}}),
            "aws.organization.stackSetName must be the name of a StackSet",
        ),
        (
            json!({"aws": {"organization": {"stackSetName": "s", "excludedAccountIds": ["1234-5678-9012"]}}}),
            "aws.organization.excludedAccountIds must contain the 12-digit ids",
        ),
    ]
}

fn about_settings() -> Refusals {
    let scanning = json!({"state": "Enabled"});
    let tag = |tags: &Value| json!({"agentlessScanning": {"state": "Enabled", "exclusionTags": tags}});
    let proxy = |proxy: &str| json!({"autoProvisioning": {"arcAgent": {"proxy": proxy}}});
    let scope = json!({"autoProvisioning": {"arcAgent": {"privateLinkScope": "my-scope"}}});
    vec![
        (
            json!({"plan": {"tier": "P1"}, "agentlessScanning": scanning}),
            "agentlessScanning needs plan.tier P2",
        ),
        (
            json!({"plan": {"tier": "Free"}, "agentlessScanning": scanning}),
            "agentlessScanning needs plan.tier P2",
        ),
        (json!({"plan": {"tier": "P3"}}), "plan.tier"),
        (
            json!({"scanInterval": "90m"}),
            "scanInterval must be whole hours from 1h to 24h, for example 4h",
        ),
        (
            json!({"scanInterval": "25h"}),
            "scanInterval must be whole hours from 1h to 24h, for example 4h",
        ),
        (
            json!({"scanInterval": "0h"}),
            "scanInterval must be whole hours from 1h to 24h, for example 4h",
        ),
        (
            tag(&json!([{"key": "a", "value": "1"}, {"key": "a", "value": "2"}])),
            "exclusionTags must contain each key only once",
        ),
        (
            proxy("http://user:secret@proxy.example:3128"),
            "without user name and password",
        ),
        (scope, "privateLinkScope must be the resource id"),
        (
            json!({"resourceGroup": "ends.with."}),
            "resourceGroup must be the name of a resource group",
        ),
        (
            json!({"resourceGroup": "a".repeat(91)}),
            "resourceGroup must be the name of a resource group: at most 90 letters",
        ),
        (
            json!({"location": "West Europe"}),
            "location must be the name of an Azure region, for example westeurope",
        ),
        (
            json!({"connectorName": "with space"}),
            "connectorName must be the name of a connector",
        ),
        (json!({"deletionPolicy": "Disable"}), "spec.deletionPolicy"),
        (
            json!({"protectionRef": {"name": "../other"}}),
            "protectionRef.name must be the name of a ServerProtection",
        ),
    ]
}

async fn admission_names_the_rejected_field(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("refused").await?;
    for (spec, says) in about_accounts(&team).into_iter().chain(about_settings()) {
        refuses(&team, spec, says).await?;
    }
    let long = "a".repeat(64);
    let refusal = team.connect(&long, json!({})).await.err();
    let refusal = refusal
        .unwrap_or_else(|| panic!("a name of 64 characters was admitted"))
        .to_string();
    assert!(refusal.contains("set connectorName"), "{refusal}");
    let object = team.connectors().object(&long, &team.connector_spec(json!({})));
    validate_agrees(&object, false).await?;
    team.connect(&long, json!({"connectorName": "short", "suspend": true}))
        .await?;
    Ok(())
}

async fn immutable_fields_of_a_connector_cannot_be_changed(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("immutable").await?;
    let suspended = json!({"suspend": true, "connectorName": "mine"});
    team.connect("account", suspended).await?;
    let mut gcp = shape(&team, "gcp");
    gcp["suspend"] = json!(true);
    team.connect("project", gcp.clone()).await?;
    gcp["aws"] = Value::Null;
    let other = another_account();
    for (name, change, says) in [
        (
            "account",
            json!({"protectionRef": {"name": "other"}}),
            "protectionRef cannot be changed",
        ),
        (
            "account",
            json!({"resourceGroup": "rg-other"}),
            "resourceGroup cannot be changed",
        ),
        (
            "account",
            json!({"location": "northeurope"}),
            "location cannot be changed",
        ),
        (
            "account",
            json!({"connectorName": "theirs"}),
            "connectorName cannot be changed",
        ),
        (
            "account",
            json!({"connectorName": null}),
            "connectorName cannot be changed",
        ),
        (
            "project",
            json!({"connectorName": "late"}),
            "connectorName cannot be changed",
        ),
        (
            "account",
            json!({"aws": {"accountId": other}}),
            "aws.accountId cannot be changed",
        ),
        (
            "account",
            json!({"type": "GCP", "aws": null, "gcp": gcp["gcp"]}),
            "type cannot be changed",
        ),
        (
            "project",
            json!({"gcp": {"projectNumber": other}}),
            "gcp.projectNumber cannot be changed",
        ),
        (
            "project",
            json!({"gcp": {"projectId": "other-project"}}),
            "gcp.projectId cannot be changed",
        ),
    ] {
        let refusal = team.connectors().patch(name, json!({"spec": change})).await.err();
        let refusal = refusal
            .unwrap_or_else(|| panic!("was changed: {change}"))
            .to_string();
        assert!(
            refusal.contains(says),
            "{change}: not named \"{says}\": {refusal}"
        );
    }
    Ok(())
}
