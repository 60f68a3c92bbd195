//! The life of a connector of each of the four types: created, in sync, edited, repaired, released.

use std::sync::Arc;

use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, env::Environment, harness::Case, team::Team};

use super::{
    TIMEOUT, another_account, condition_values, edit, edit_in_azure, event, in_azure, offering, protected,
    ready, requests, writes,
};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        an_aws_account_is_created_edited_and_repaired,
        an_aws_organization_is_created_edited_and_repaired,
        a_gcp_project_is_created_edited_and_repaired,
        a_gcp_organization_is_created_edited_and_repaired,
        every_edit_is_one_write,
        p1_switches_agentless_scanning_off_in_the_same_write,
        an_organization_becomes_a_single_account,
        connectors_that_share_a_new_group_create_it_once,
        foreign_tags_stay,
    ]
}

/// Members of the spec of this type, in addition to those of `Team::connect`.
pub(crate) fn shape(team: &Team<'_>, shape: &str) -> Value {
    let account = &team.account;
    let sa = |name: &str| format!("{name}@my-project.iam.gserviceaccount.com");
    match shape {
        "aws" => json!({}),
        "aws-organization" => json!({"aws": {"organization": {"stackSetName": "defender"}}}),
        "gcp" => json!({"type": "GCP", "gcp": {"projectNumber": account, "projectId": "my-project"}}),
        _ => json!({"type": "GCP", "gcp": {"projectNumber": account, "projectId": "my-project",
            "organization": {"serviceAccount": sa("onboarding"), "workloadIdentityProvider": "auto-provisioner"}}}),
    }
}

async fn an_aws_account_is_created_edited_and_repaired(environment: Arc<Environment>) -> Result<(), Error> {
    whole_life(&environment, "aws").await
}

async fn an_aws_organization_is_created_edited_and_repaired(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    whole_life(&environment, "aws-organization").await
}

async fn a_gcp_project_is_created_edited_and_repaired(environment: Arc<Environment>) -> Result<(), Error> {
    whole_life(&environment, "gcp").await
}

async fn a_gcp_organization_is_created_edited_and_repaired(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    whole_life(&environment, "gcp-organization").await
}

async fn whole_life(environment: &Environment, kind: &str) -> Result<(), Error> {
    let team = protected(environment, kind).await?;
    team.connect("account", shape(&team, kind)).await?;
    created(&team, kind).await?;
    tiers(&team, kind).await?;
    repaired(&team, kind).await?;
    released(&team).await
}

async fn created(team: &Team<'_>, kind: &str) -> Result<(), Error> {
    let object = ready(team, "account").await?;
    let status = &object["status"];
    assert_eq!(
        (&status["tier"], &status["driftCount"]),
        (&json!("P2"), &json!(0))
    );
    assert_eq!(status["account"], team.account.as_str());
    assert_eq!(status["claim"]["state"], "Held");
    assert_eq!(condition_values(&object, "CloudAuthenticated").0, "True");
    assert_eq!(condition_values(&object, "ConnectorConfigured").1, "Configured");
    assert_eq!(condition_values(&object, "PermissionsSufficient").0, "True");
    assert!(object["metadata"]["finalizers"].is_null());
    assert_eq!(
        status["members"].is_null(),
        !kind.ends_with("organization"),
        "{kind}"
    );

    assert_eq!(requests(team, "PUT").await?.len(), 1);
    let groups = writes(team).await?;
    let groups = groups.iter().filter(|request| {
        let path = request["path"].as_str().unwrap_or_default().to_lowercase();
        path.ends_with("/resourcegroups/rg-connectors")
    });
    assert_eq!(groups.count(), 1, "the resource group is created once");
    Ok(())
}

fn servers(kind: &str) -> &'static str {
    if kind.starts_with("aws") {
        "DefenderForServersAws"
    } else {
        "DefenderForServersGcp"
    }
}

async fn tiers(team: &Team<'_>, kind: &str) -> Result<(), Error> {
    for tier in ["P1", "Free", "P2"] {
        let object = edit(team, "account", json!({"plan": {"tier": tier}}), 1).await?;
        assert_eq!(object["status"]["tier"], tier);
        let connector = in_azure(team, "account").await?;
        let plan = &offering(&connector, servers(kind))["subPlan"]["type"];
        let expected = if tier == "Free" { Value::Null } else { json!(tier) };
        assert_eq!(*plan, expected, "{connector:#}");
    }
    Ok(())
}

async fn repaired(team: &Team<'_>, kind: &str) -> Result<(), Error> {
    let before = requests(team, "PUT").await?.len();
    let plan = format!("offerings.{}.subPlan.type", servers(kind));
    let fields = json!({plan: "P1", "environmentData.scanInterval": 24});
    edit_in_azure(team, "account", fields).await?;
    team.connectors().reconcile("account", TIMEOUT).await?;
    let object = ready(team, "account").await?;
    assert_eq!(object["status"]["tier"], "P2");
    let connector = in_azure(team, "account").await?;
    assert_eq!(connector["environmentData"]["scanInterval"], 4);
    assert_eq!(requests(team, "PUT").await?.len(), before + 1);

    // Somebody deleted it: it is made anew.
    let gone = json!({"securityConnectors.account": null});
    team.environment.emulator.set(&team.subscription, gone).await?;
    team.connectors().reconcile("account", TIMEOUT).await?;
    ready(team, "account").await?;
    assert!(!in_azure(team, "account").await?.is_null());
    assert_eq!(requests(team, "PUT").await?.len(), before + 2);
    Ok(())
}

/// Retain: no request to Azure, so nothing can hang.
async fn released(team: &Team<'_>) -> Result<(), Error> {
    let before = team.environment.emulator.requests(&team.subscription).await?;
    let about_connector = |all: &[Value]| {
        let path = |request: &Value| request["path"].as_str().unwrap_or_default().to_lowercase();
        all.iter()
            .filter(|it| path(it).contains("/securityconnectors"))
            .count()
    };
    team.connectors().delete("account", TIMEOUT).await?;
    super::pause().await;
    let after = team.environment.emulator.requests(&team.subscription).await?;
    assert_eq!(about_connector(&after), about_connector(&before));
    assert!(!in_azure(team, "account").await?.is_null());
    Ok(())
}

async fn every_edit_is_one_write(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "edits").await?;
    team.connect("account", json!({})).await?;
    ready(&team, "account").await?;

    edit(&team, "account", json!({"scanInterval": "12h"}), 1).await?;
    let proxy = json!({"autoProvisioning": {"arcAgent": {"proxy": "http://proxy.example:3128"}}});
    edit(&team, "account", proxy, 1).await?;
    let scanning = json!({"agentlessScanning": {"state": "Enabled", "exclusionTags": [{"key": "scan", "value": "never"}]}});
    edit(&team, "account", scanning, 1).await?;
    let regions = json!({"aws": {"regions": ["eu-central-1", "eu-west-1"]}});
    edit(&team, "account", regions, 1).await?;

    let connector = in_azure(&team, "account").await?;
    let servers = offering(&connector, "DefenderForServersAws");
    assert_eq!(connector["environmentData"]["scanInterval"], 12);
    assert_eq!(
        connector["environmentData"]["regions"],
        json!(["eu-central-1", "eu-west-1"])
    );
    let proxy = &servers["arcAutoProvisioning"]["configuration"]["proxy"];
    assert_eq!(*proxy, "http://proxy.example:3128");
    let scanners = &servers["vmScanners"];
    assert_eq!(scanners["enabled"], true);
    assert_eq!(
        scanners["configuration"]["exclusionTags"],
        json!({"scan": "never"})
    );

    // A field that was removed from the spec is not changed; an empty string clears it.
    edit(&team, "account", json!({"agentlessScanning": null}), 0).await?;
    let cleared = json!({"autoProvisioning": {"arcAgent": {"proxy": ""}}});
    edit(&team, "account", cleared, 1).await?;
    let off = json!({"autoProvisioning": {"vulnerabilityAssessment": {"state": "Disabled"}}});
    edit(&team, "account", off, 1).await?;
    let connector = in_azure(&team, "account").await?;
    let servers = offering(&connector, "DefenderForServersAws");
    assert_eq!(servers["vmScanners"]["enabled"], true, "{connector:#}");
    assert!(servers["arcAutoProvisioning"]["configuration"]["proxy"].is_null());
    assert_eq!(servers["vaAutoProvisioning"]["enabled"], false);
    Ok(())
}

async fn p1_switches_agentless_scanning_off_in_the_same_write(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = protected(&environment, "scanning").await?;
    let scanning = json!({"agentlessScanning": {"state": "Enabled"}});
    team.connect("account", scanning).await?;
    ready(&team, "account").await?;
    let lower = json!({"plan": {"tier": "P1"}, "agentlessScanning": null});
    edit(&team, "account", lower, 1).await?;
    let connector = in_azure(&team, "account").await?;
    let servers = offering(&connector, "DefenderForServersAws");
    assert_eq!(servers["subPlan"]["type"], "P1");
    assert_eq!(servers["vmScanners"]["enabled"], false);
    // P2 does not change the setting, because the spec does not contain it.
    edit(&team, "account", json!({"plan": {"tier": "P2"}}), 1).await?;
    let connector = in_azure(&team, "account").await?;
    assert_eq!(
        offering(&connector, "DefenderForServersAws")["vmScanners"]["enabled"],
        false
    );
    Ok(())
}

async fn an_organization_becomes_a_single_account(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "leaves").await?;
    team.connect("account", shape(&team, "aws-organization")).await?;
    ready(&team, "account").await?;
    let data = |connector: &Value| connector["environmentData"]["organizationalData"].clone();
    assert_eq!(
        data(&in_azure(&team, "account").await?)["stacksetName"],
        "defender"
    );
    edit(&team, "account", json!({"aws": {"organization": null}}), 1).await?;
    assert!(data(&in_azure(&team, "account").await?).is_null());
    let back = json!({"aws": {"organization": {"stackSetName": "other"}}});
    edit(&team, "account", back, 1).await?;
    assert_eq!(data(&in_azure(&team, "account").await?)["stacksetName"], "other");
    Ok(())
}

async fn connectors_that_share_a_new_group_create_it_once(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = protected(&environment, "shared").await?;
    let of = |account: String| json!({"aws": {"accountId": account}, "resourceGroup": "rg-shared"});
    let names = ["one", "two", "three", "four"];
    let all = names.map(|name| team.connect(name, of(another_account())));
    futures::future::try_join_all(all).await?;
    for name in names {
        ready(&team, name).await?;
    }
    assert_eq!(requests(&team, "PUT").await?.len(), names.len());
    let groups = writes(&team).await?.into_iter().filter(|request| {
        let path = request["path"].as_str().unwrap_or_default().to_lowercase();
        path.ends_with("/resourcegroups/rg-shared")
    });
    assert_eq!(groups.count(), 1);
    event(&team, "one", "ConnectorCreated").await?;
    Ok(())
}

async fn foreign_tags_stay(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "tags").await?;
    team.connect("account", json!({"tags": {"team": "sec"}})).await?;
    ready(&team, "account").await?;
    edit_in_azure(
        &team,
        "account",
        json!({"tags.Theirs": "stays", "tags.team": "other"}),
    )
    .await?;
    team.connectors().reconcile("account", TIMEOUT).await?;
    ready(&team, "account").await?;
    let expected = json!({"team": "sec", "Theirs": "stays"});
    assert_eq!(in_azure(&team, "account").await?["tags"], expected);

    edit(
        &team,
        "account",
        json!({"tags": {"team": "sec", "env": "prod"}}),
        1,
    )
    .await?;
    edit(&team, "account", json!({"tags": null}), 0).await?;
    let expected = json!({"team": "sec", "env": "prod", "Theirs": "stays"});
    assert_eq!(in_azure(&team, "account").await?["tags"], expected);
    Ok(())
}
