//! What a connector takes from its ServerProtection, and what the ServerProtection reports about its connectors.

use std::sync::Arc;

use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, env::Environment, harness::Case, objects::condition};

use super::{
    GROUP, PROTECTION, TIMEOUT, another_account, condition_values, edit_in_azure, in_azure, pause, protected,
    ready, requests, writes,
};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        the_server_protection_counts_its_connectors,
        the_default_tier_follows_the_server_protection,
        observe_writes_nothing_is_ready_and_reports_the_drift,
        suspend_sends_no_request_and_resume_repairs,
        suspended_from_the_start_sends_no_request,
        a_connector_waits_for_the_registration,
        a_connector_names_why_its_protection_owns_nothing,
    ]
}

async fn the_server_protection_counts_its_connectors(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "counted").await?;
    let summary = |summary: &'static str, reason: &'static str| {
        let team = team.clone();
        async move {
            let what = format!("connectors {summary} and ConnectorsReady/{reason}");
            team.until_holds(PROTECTION, &what, TIMEOUT, |object| {
                let condition_values =
                    condition(object, "ConnectorsReady").is_some_and(|it| it["reason"] == reason);
                object["status"]["display"]["connectors"] == summary && condition_values
            })
            .await
        }
    };
    summary("0/0", "NoConnectors").await?;
    team.connect("one", json!({})).await?;
    summary("1/1", "AllReady").await?;

    let elsewhere = json!({"aws": {"accountId": another_account()}, "resourceGroup": "rg-missing",
        "createResourceGroup": false});
    team.connect("two", elsewhere).await?;
    summary("1/2", "NotReady").await?;
    let object = team
        .until_holds(PROTECTION, "the name of the other", TIMEOUT, |object| {
            condition_values(object, "ConnectorsReady")
                .2
                .contains("two (ResourceGroupMissing)")
        })
        .await?;
    assert_eq!(condition_values(&object, "ConnectorsReady").0, "False");
    assert_eq!(
        condition_values(&object, "Ready").0,
        "True",
        "connectors do not decide about Ready"
    );

    let group = json!({"resourceGroups.rg-missing": "westeurope"});
    environment.emulator.set(&team.subscription, group).await?;
    summary("2/2", "AllReady").await?;
    team.connectors().delete("two", TIMEOUT).await?;
    summary("1/1", "AllReady").await?;
    Ok(())
}

/// The next step is at the ServerProtection, so the connector names its reason.
async fn a_connector_names_why_its_protection_owns_nothing(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("reads").await?;
    let reader = json!({"roleAssignments": {team.subscription.clone(): ["Reader"]}});
    environment.emulator.principal(&team.client_id, reader).await?;
    team.protect(PROTECTION, json!({"plan": {"tier": "P2"}})).await?;
    team.connect("aws", json!({})).await?;
    let object = team
        .connectors()
        .until_holds("aws", "the reason of its ServerProtection", TIMEOUT, |object| {
            let message = condition(object, "Ready").and_then(|ready| ready["message"].as_str());
            message.is_some_and(|message| message.contains("because it is Stalled (MissingPermission)"))
        })
        .await?;
    let (status, reason, message) = condition_values(&object, "Claimed");
    assert_eq!((status, reason), ("Unknown", "AwaitingProtection"), "{message}");
    let display = &object["status"]["display"];
    assert_eq!(display["tier"], "P2", "the plan that is demanded");
    assert_eq!(display["health"], Value::Null, "{display}");
    let owner = json!({"roleAssignments": {team.subscription.clone(): ["Owner"]}});
    environment.emulator.principal(&team.client_id, owner).await?;
    ready(&team, "aws").await?;
    Ok(())
}

/// The ServerProtection registers Microsoft.Security; its connectors wait for it.
async fn a_connector_waits_for_the_registration(environment: Arc<Environment>) -> Result<(), Error> {
    let unregistered = json!({"providers": {"Microsoft.Security": "NotRegistered"}});
    let team = environment.team_with("waits", unregistered).await?;
    let stuck = |stuck: bool| json!({"registrationStuck": stuck});
    environment.emulator.set(&team.subscription, stuck(true)).await?;
    team.protect(PROTECTION, json!({"plan": {"tier": "P2"}})).await?;
    let registering =
        |object: &Value| condition(object, "Reconciling").is_some_and(|it| it["reason"] == "Registering");
    team.until_holds(PROTECTION, "Reconciling/Registering", TIMEOUT, registering)
        .await?;
    team.connect("aws", json!({})).await?;
    let connectors = team.connectors();
    connectors
        .until_holds("aws", "Reconciling/AwaitingRegistration", TIMEOUT, |object| {
            condition(object, "Reconciling").is_some_and(|it| it["reason"] == "AwaitingRegistration")
        })
        .await?;
    environment.emulator.set(&team.subscription, stuck(false)).await?;
    environment
        .emulator
        .set(
            &team.subscription,
            json!({"providers.Microsoft.Security": "Registered"}),
        )
        .await?;
    team.until(PROTECTION, "Ready", "True", TIMEOUT).await?;
    connectors.request("aws").await?;
    ready(&team, "aws").await?;
    for version in environment
        .recorder
        .of("SecurityConnector", &team.namespace, "aws")
    {
        assert!(version.condition("Stalled").is_none(), "{:#}", version.status);
    }
    Ok(())
}

async fn the_default_tier_follows_the_server_protection(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "follows").await?;
    team.connect("follows", json!({})).await?;
    let own = json!({"aws": {"accountId": another_account()}, "plan": {"tier": "P2"}});
    team.connect("own", own).await?;
    assert_eq!(ready(&team, "follows").await?["status"]["tier"], "P2");
    ready(&team, "own").await?;

    team.patch(PROTECTION, json!({"spec": {"plan": {"tier": "P1"}}}))
        .await?;
    team.connectors()
        .until_holds("follows", "P1, in sync", TIMEOUT, |object| {
            object["status"]["tier"] == "P1" && condition_values(object, "Ready").1 == "InSync"
        })
        .await?;
    assert_eq!(requests(&team, "PUT").await?.len(), 3, "one more write");
    assert_eq!(
        team.connectors().reconcile("own", TIMEOUT).await?["status"]["tier"],
        "P2"
    );
    Ok(())
}

async fn observe_writes_nothing_is_ready_and_reports_the_drift(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("observe").await?;
    team.protect(PROTECTION, json!({"plan": {"tier": "P2"}, "mode": "Observe"}))
        .await?;
    team.connect("account", json!({})).await?;
    let object = ready(&team, "account").await?;
    assert_eq!(condition_values(&object, "Ready").1, "Observed");
    let (status, _, message) = condition_values(&object, "Drifted");
    assert!(status == "True" && message.contains("connectorName"), "{message}");
    assert_eq!(object["status"]["drift"][0]["observed"], "none");
    team.connectors().reconcile("account", TIMEOUT).await?;
    assert!(writes(&team).await?.is_empty());

    team.patch(PROTECTION, json!({"spec": {"mode": "Enforce"}}))
        .await?;
    in_sync(&team).await?;
    team.patch(PROTECTION, json!({"spec": {"mode": "Observe"}}))
        .await?;
    let what = "Ready/Observed";
    team.connectors()
        .until_holds("account", what, TIMEOUT, |object| {
            condition_values(object, "Ready").1 == "Observed"
        })
        .await?;
    edit_in_azure(&team, "account", json!({"environmentData.scanInterval": 24})).await?;
    let object = team.connectors().reconcile("account", TIMEOUT).await?;
    assert_eq!(object["status"]["drift"][0]["field"], "scanInterval");
    assert_eq!(requests(&team, "PUT").await?.len(), 1);

    team.patch(PROTECTION, json!({"spec": {"mode": "Enforce"}}))
        .await?;
    in_sync(&team).await?;
    assert_eq!(
        in_azure(&team, "account").await?["environmentData"]["scanInterval"],
        4
    );
    Ok(())
}

async fn in_sync(team: &serverprotection_tests::team::Team<'_>) -> Result<(), Error> {
    team.connectors()
        .until_holds("account", "Ready/InSync", TIMEOUT, |object| {
            condition_values(object, "Ready").1 == "InSync" && object["status"]["driftCount"] == 0
        })
        .await
        .map(drop)
}

async fn suspend_sends_no_request_and_resume_repairs(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "suspend").await?;
    team.connect("account", json!({})).await?;
    ready(&team, "account").await?;
    team.connectors()
        .patch("account", json!({"spec": {"suspend": true}}))
        .await?;
    let object = team
        .connectors()
        .until("account", "Suspended", "True", TIMEOUT)
        .await?;
    let (status, reason, _) = condition_values(&object, "Ready");
    assert_eq!(
        (status, reason),
        ("True", "Suspended"),
        "it keeps its last status"
    );

    edit_in_azure(&team, "account", json!({"environmentData.scanInterval": 24})).await?;
    let before = requests(&team, "GET").await?.len();
    team.connectors().reconcile("account", TIMEOUT).await?;
    pause().await;
    assert_eq!(
        requests(&team, "GET").await?.len(),
        before,
        "no call while suspended"
    );

    team.connectors()
        .patch("account", json!({"spec": {"suspend": false}}))
        .await?;
    team.connectors()
        .until_holds(
            "account",
            "the end of the suspension, repaired",
            TIMEOUT,
            |object| {
                condition(object, "Suspended").is_none() && condition_values(object, "Ready").0 == "True"
            },
        )
        .await?;
    assert_eq!(
        in_azure(&team, "account").await?["environmentData"]["scanInterval"],
        4
    );
    Ok(())
}

async fn suspended_from_the_start_sends_no_request(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "asleep").await?;
    team.connect("account", json!({"suspend": true})).await?;
    let object = team
        .connectors()
        .until("account", "Suspended", "True", TIMEOUT)
        .await?;
    let (status, reason, _) = condition_values(&object, "Ready");
    assert_eq!((status, reason), ("Unknown", "Suspended"));
    pause().await;
    let all = environment.emulator.requests(&team.subscription).await?;
    let about = |request: &serde_json::Value| {
        let path = request["path"].as_str().unwrap_or_default().to_lowercase();
        path.contains("securityconnectors") || path.contains(&format!("/resourcegroups/{GROUP}"))
    };
    assert!(!all.iter().any(about), "no call");
    Ok(())
}
