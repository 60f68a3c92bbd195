//! Managed configuration of a connector is repaired, foreign configuration stays, and existing configuration is
//! adopted as it is.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, env::Environment, harness::Case, objects::condition, team::Team};

use super::{
    TIMEOUT, condition_values, edit, edit_in_azure, in_azure, offering, pause, protected, ready, requests,
    stalled, writes,
};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        foreign_configuration_survives_every_write,
        foreign_configuration_survives_on_gcp_too,
        managed_offerings_are_repaired_and_foreign_ones_stay,
        a_foreign_writer_wins_after_three_repairs_and_is_reported,
        a_connector_in_sync_is_adopted_without_a_write,
        an_adopted_connector_first_reports_its_drift,
        an_adopted_connector_is_not_lowered_without_approval,
    ]
}

/// Creates a connector of the team's account, as if someone else had created it before.
async fn current(team: &Team<'_>, members: Value) -> Result<(), Error> {
    let mut connector = json!({"hierarchyIdentifier": team.account, "serversSubPlan": "P2"});
    serverprotection_tests::team::merge(&mut connector, members);
    let emulator = &team.environment.emulator;
    emulator
        .set(
            &team.subscription,
            json!({"securityConnectors.account": connector}),
        )
        .await?;
    Ok(())
}

fn theirs(connector: &Value, cloud: &str) -> Value {
    let others = ["DefenderForContainers", "DefenderCspm", "Novelty"];
    let others = others.map(|kind| offering(connector, &format!("{kind}{cloud}")).clone());
    json!([
        others,
        connector["surprise"],
        connector["environmentData"]["novelty"],
        offering(connector, &format!("CspmMonitor{cloud}"))["extra"]
    ])
}

async fn foreign_configuration_survives_every_write(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "survives").await?;
    team.connect("account", json!({})).await?;
    survive(&team, "Aws").await
}

async fn foreign_configuration_survives_on_gcp_too(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "survives-gcp").await?;
    team.connect("account", super::life::shape(&team, "gcp")).await?;
    survive(&team, "Gcp").await
}

async fn survive(team: &Team<'_>, cloud: &str) -> Result<(), Error> {
    ready(team, "account").await?;
    let of = |kind: &str| format!("offerings.{kind}{cloud}");
    let role = "arn:aws:iam::123456789012:role/x";
    let fields = json!({
        of("DefenderForContainers"): {"kubernetesService": {"something": role}, "enableAuditLogsAutoProvisioning": true},
        of("DefenderCspm"): {"ciem": {"ciemDiscovery": {"something": role}}},
        of("Novelty"): {"a": {"b": [1, null, {"c": false}]}},
        format!("{}.extra", of("CspmMonitor")): {"kept": true},
        "surprise": [1, 2],
        "environmentData.novelty": {"deep": {"er": 1.5}},
    });
    edit_in_azure(team, "account", fields).await?;
    let before = theirs(&in_azure(team, "account").await?, cloud);
    assert!(
        before[0]
            .as_array()
            .unwrap()
            .iter()
            .all(|offering| !offering.is_null()),
        "{before:#}"
    );
    team.connectors().reconcile("account", TIMEOUT).await?;
    assert_eq!(
        requests(team, "PUT").await?.len(),
        1,
        "others' members are no drift"
    );
    for spec in [
        json!({"scanInterval": "24h"}),
        json!({"tags": {"a": "b"}}),
        json!({"plan": {"tier": "P1"}}),
        json!({"plan": {"tier": "Free"}}),
        json!({"plan": {"tier": "P2"}, "agentlessScanning": {"state": "Enabled"}}),
        json!({"autoProvisioning": {"arcAgent": {"state": "Disabled"}}}),
    ] {
        edit(team, "account", spec.clone(), 1).await?;
        assert_eq!(
            theirs(&in_azure(team, "account").await?, cloud),
            before,
            "after {spec}"
        );
    }
    Ok(())
}

async fn managed_offerings_are_repaired_and_foreign_ones_stay(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = protected(&environment, "repaired").await?;
    team.connect("account", json!({})).await?;
    ready(&team, "account").await?;
    let role = "arn:aws:iam::123456789012:role/other";
    let fields = json!({
        "offerings.DefenderForServersAws.mdeAutoProvisioning.enabled": false,
        "offerings.DefenderForServersAws.arcAutoProvisioning.cloudRoleArn": role,
        "offerings.DefenderForServersAws.novelty": {"a": 1},
        "offerings.DefenderForContainersAws": {"kubernetesService": {"a": 1}},
    });
    edit_in_azure(&team, "account", fields).await?;
    team.connectors().reconcile("account", TIMEOUT).await?;
    ready(&team, "account").await?;
    let connector = in_azure(&team, "account").await?;
    let servers = offering(&connector, "DefenderForServersAws");
    assert_eq!(servers["mdeAutoProvisioning"]["enabled"], true);
    let arn = format!(
        "arn:aws:iam::{}:role/DefenderForCloud-ArcAutoProvisioning",
        team.account
    );
    assert_eq!(servers["arcAutoProvisioning"]["cloudRoleArn"], arn);
    assert_eq!(servers["novelty"], json!({"a": 1}));
    assert!(!offering(&connector, "DefenderForContainersAws").is_null());
    assert_eq!(requests(&team, "PUT").await?.len(), 2);

    // The whole offering is gone: it is created again, and the foreign ones stay.
    let gone = json!({"offerings.DefenderForServersAws": null});
    edit_in_azure(&team, "account", gone).await?;
    team.connectors().reconcile("account", TIMEOUT).await?;
    ready(&team, "account").await?;
    let connector = in_azure(&team, "account").await?;
    assert_eq!(
        offering(&connector, "DefenderForServersAws")["subPlan"]["type"],
        "P2"
    );
    assert!(!offering(&connector, "DefenderForContainersAws").is_null());
    super::event(&team, "account", "ConnectorRepaired").await?;
    Ok(())
}

async fn a_foreign_writer_wins_after_three_repairs_and_is_reported(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = protected(&environment, "contested").await?;
    team.connect("account", json!({})).await?;
    ready(&team, "account").await?;
    let theirs = json!({"environmentData.scanInterval": 24});
    let mut contested = None;
    for _ in 0..8 {
        edit_in_azure(&team, "account", theirs.clone()).await?;
        let object = team.connectors().reconcile("account", TIMEOUT).await?;
        if condition(&object, "Contested").is_some() {
            contested = Some(object);
            break;
        }
        ready(&team, "account").await?;
    }
    let object = contested.unwrap_or_else(|| panic!("it never became Contested"));
    let (status, reason, message) = condition_values(&object, "Stalled");
    assert_eq!((status, reason), ("True", "Contested"));
    assert!(message.contains("scanInterval"), "{message}");
    assert_eq!(object["status"]["contested"][0]["repairs"], 3);
    let made = requests(&team, "PUT").await?.len();
    assert_eq!(made, 4, "the first write and three repairs");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(requests(&team, "PUT").await?.len(), made, "enforcement is paused");

    // Other fields are still written, and the contested field keeps the foreign value.
    team.connectors()
        .patch("account", json!({"spec": {"tags": {"a": "b"}}}))
        .await?;
    let what = "the tag in Azure, still contested";
    let tags = serverprotection_tests::wait::eventually(what, TIMEOUT, || async {
        let connector = in_azure(&team, "account")
            .await
            .map_err(|error| error.to_string())?;
        if connector["tags"]["a"] == "b" {
            Ok(connector)
        } else {
            Err(connector["tags"].to_string())
        }
    });
    assert_eq!(tags.await?["environmentData"]["scanInterval"], 24);

    // A user ends the pause; the next one is longer.
    let made = requests(&team, "PUT").await?.len();
    team.connectors().reconcile("account", TIMEOUT).await?;
    let object = ready(&team, "account").await?;
    assert_eq!(requests(&team, "PUT").await?.len(), made + 1);
    assert_eq!(
        object["status"]["contested"][0]["suppressionHours"], 2,
        "{object:#}"
    );
    edit_in_azure(&team, "account", theirs).await?;
    let object = team.connectors().reconcile("account", TIMEOUT).await?;
    assert!(condition(&object, "Contested").is_some(), "{object:#}");

    // The other writer stops: the object is Ready again without a write.
    let made = requests(&team, "PUT").await?.len();
    edit_in_azure(&team, "account", json!({"environmentData.scanInterval": 4})).await?;
    team.connectors().request("account").await?;
    let object = ready(&team, "account").await?;
    assert!(condition(&object, "Contested").is_none());
    assert_eq!(requests(&team, "PUT").await?.len(), made);
    Ok(())
}

async fn a_connector_in_sync_is_adopted_without_a_write(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "asitis").await?;
    current(&team, json!({"tags": {"theirs": "stays"}})).await?;
    team.connect("account", json!({})).await?;
    let object = ready(&team, "account").await?;
    assert_eq!(condition_values(&object, "Ready").1, "InSync");
    assert_eq!(object["status"]["tier"], "P2");
    assert!(
        object["status"]["claim"]["establishedSince"].is_string(),
        "{object:#}"
    );
    assert!(requests(&team, "PUT").await?.is_empty());
    // Azure did not sign in for a write of this object; the health report shows the connection.
    assert_eq!(condition_values(&object, "CloudAuthenticated").1, "Connected");
    Ok(())
}

async fn an_adopted_connector_first_reports_its_drift(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "differs").await?;
    current(
        &team,
        json!({"serversSubPlan": "P1", "tags": {"theirs": "stays"}}),
    )
    .await?;
    team.connect("account", json!({"scanInterval": "12h", "tags": {"team": "sec"}}))
        .await?;
    ready(&team, "account").await?;
    assert_eq!(requests(&team, "PUT").await?.len(), 1);
    let expected = json!({"theirs": "stays", "team": "sec"});
    assert_eq!(in_azure(&team, "account").await?["tags"], expected);

    let history = environment
        .recorder
        .of("SecurityConnector", &team.namespace, "account");
    let note = history.iter().find(|version| {
        version
            .condition("Reconciling")
            .is_some_and(|it| it["reason"] == "Writing")
    });
    let status = &note
        .unwrap_or_else(|| panic!("no intent before the write: {history:#?}"))
        .status;
    let drift = status["drift"].as_array().unwrap();
    let fields: Vec<_> = drift
        .iter()
        .map(|it| it["field"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(fields, ["tags.team", "scanInterval", "plan.tier"], "{status:#}");
    assert_eq!(drift[2]["observed"], "P1");
    Ok(())
}

async fn an_adopted_connector_is_not_lowered_without_approval(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = protected(&environment, "reduction").await?;
    current(&team, json!({})).await?;
    team.connect("account", json!({"plan": {"tier": "P1"}})).await?;
    let object = stalled(&team, "account", "ReductionNeedsApproval", "plan.tier=P1").await?;
    assert!(
        condition_values(&object, "Stalled")
            .2
            .contains("agentlessScanning.state=Disabled"),
        "{object:#}"
    );
    team.connectors().reconcile("account", TIMEOUT).await?;
    pause().await;
    let about = |all: Vec<Value>| {
        let path = |it: &Value| it["path"].as_str().unwrap_or_default().to_lowercase();
        all.into_iter()
            .filter(|it| path(it).contains("securityconnectors"))
            .count()
    };
    assert_eq!(
        about(writes(&team).await?),
        0,
        "nothing is written before the approval"
    );

    let annotation = "serverprotection.dev/approve-reduction";
    team.connectors()
        .annotate("account", annotation, "plan.tier=P1")
        .await?;
    stalled(
        &team,
        "account",
        "ReductionNeedsApproval",
        "agentlessScanning.state=Disabled",
    )
    .await?;
    assert_eq!(about(writes(&team).await?), 0, "half of it approves nothing");
    let both = "plan.tier=P1, agentlessScanning.state=Disabled";
    team.connectors().annotate("account", annotation, both).await?;
    let object = ready(&team, "account").await?;
    assert_eq!(object["status"]["tier"], "P1");
    assert_eq!(requests(&team, "PUT").await?.len(), 1);

    // The object was in sync, so the next reduction is an edit that needs no approval.
    edit(&team, "account", json!({"plan": {"tier": "Free"}}), 1).await?;
    Ok(())
}
