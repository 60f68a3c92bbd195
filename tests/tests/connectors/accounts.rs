//! One connector for each account and one object for each connector. Connectors of an organization's members belong to
//! Azure.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases, env::Environment, harness::Case, objects::condition, team::Team, wait::eventually,
};

use super::{
    PROTECTION, TIMEOUT, another_account, condition_values, edit, in_azure, pause, protected, ready,
    requests, stalled,
};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        the_members_of_an_aws_organization_are_counted,
        the_members_of_a_gcp_organization_are_counted,
        an_account_connected_in_another_group_is_not_changed,
        an_account_connected_in_another_subscription_is_not_changed,
        the_second_object_of_a_connector_waits_and_takes_over,
        a_connector_of_a_protection_that_waits_is_not_written,
        the_second_object_of_an_account_waits_and_takes_over,
        a_suspended_object_keeps_its_connector,
        two_objects_create_one_connector_for_an_account,
        an_account_connected_in_a_hidden_subscription_is_rejected,
        a_member_of_an_organization_is_managed_by_it,
        a_connector_of_another_account_is_not_changed,
        a_connector_in_another_region_is_not_changed,
    ]
}

/// Lets the second team's application access the first team's subscription.
async fn share(owner: &Team<'_>, with: &Team<'_>) -> Result<(), Error> {
    let roles = json!({"roleAssignments": {owner.subscription.clone(): ["Owner"], with.subscription.clone(): ["Owner"]}});
    owner
        .environment
        .emulator
        .principal(&with.client_id, roles)
        .await?;
    Ok(())
}

/// Adds a connector to the subscription of a team, as if someone else had created it.
async fn current(team: &Team<'_>, name: &str, connector: Value) -> Result<(), Error> {
    let emulator = &team.environment.emulator;
    emulator
        .set(
            &team.subscription,
            json!({format!("securityConnectors.{name}"): connector}),
        )
        .await?;
    Ok(())
}

async fn remove(team: &Team<'_>, name: &str) -> Result<(), Error> {
    current(team, name, Value::Null).await
}

async fn the_second_object_of_a_connector_waits_and_takes_over(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = protected(&environment, "first").await?;
    team.connect("account", json!({})).await?;
    ready(&team, "account").await?;
    team.connect(
        "rival",
        json!({"connectorName": "account", "scanInterval": "12h"}),
    )
    .await?;
    let owner = "account of this namespace owns the connector";
    let object = stalled(&team, "rival", "ClaimConflicted", owner).await?;
    assert_eq!(object["status"]["claim"]["state"], "Waiting");
    assert_eq!(condition_values(&object, "Claimed").1, "HeldByAnother");
    team.connectors().reconcile("rival", TIMEOUT).await?;
    assert_eq!(requests(&team, "PUT").await?.len(), 1, "one writer");
    // Only the owner counts.
    let counted = |object: &Value| object["status"]["display"]["connectors"] == "1/1";
    team.until_holds(PROTECTION, "one connector", TIMEOUT, counted)
        .await?;

    team.connectors().delete("account", TIMEOUT).await?;
    let object = ready(&team, "rival").await?;
    assert_eq!(object["status"]["claim"]["state"], "Held");
    assert_eq!(requests(&team, "PUT").await?.len(), 2);
    assert_eq!(
        in_azure(&team, "account").await?["environmentData"]["scanInterval"],
        12
    );
    Ok(())
}

/// A connector is written only for a ServerProtection that holds its subscription.
async fn a_connector_of_a_protection_that_waits_is_not_written(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let first = protected(&environment, "owns").await?;
    let second = environment.team("waits").await?;
    share(&first, &second).await?;
    let spec = json!({"subscriptionId": first.subscription, "plan": {"tier": "P2"}});
    second.protect(PROTECTION, spec).await?;
    second.connect("account", json!({})).await?;
    let awaits = |object: &Value| {
        condition(object, "Reconciling").is_some_and(|it| it["reason"] == "AwaitingProtection")
    };
    let connectors = second.connectors();
    connectors
        .until_holds("account", "AwaitingProtection", TIMEOUT, awaits)
        .await?;
    pause().await;
    assert!(requests(&first, "PUT").await?.is_empty());
    // It takes the subscription over, and its connector follows.
    first.delete(PROTECTION, TIMEOUT).await?;
    let object = ready(&second, "account").await?;
    assert_eq!(object["status"]["claim"]["state"], "Held");
    Ok(())
}

/// Azure's connectors decide about an account. Its owner is not hindered by an object that only names it.
async fn the_second_object_of_an_account_waits_and_takes_over(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let first = protected(&environment, "one").await?;
    let second = protected(&environment, "two").await?;
    first
        .connect("account", json!({"deletionPolicy": "Delete"}))
        .await?;
    ready(&first, "account").await?;
    // Another subscription and another name, but the same account.
    second
        .connect("other", json!({"aws": {"accountId": first.account}}))
        .await?;
    stalled(&second, "other", "ConnectorRefused", "already connected").await?;
    ready(&first, "account").await?;

    first.connectors().delete("account", TIMEOUT).await?;
    assert!(
        in_azure(&first, "account").await?.is_null(),
        "deleted, although another object names the account"
    );
    ready(&second, "other").await?;
    Ok(())
}

async fn a_suspended_object_keeps_its_connector(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "sleeper").await?;
    team.connect("account", json!({})).await?;
    ready(&team, "account").await?;
    let connectors = team.connectors();
    connectors
        .patch("account", json!({"spec": {"suspend": true}}))
        .await?;
    connectors.until("account", "Suspended", "True", TIMEOUT).await?;
    team.connect("other", json!({"connectorName": "account"})).await?;
    let owner = "account of this namespace owns";
    stalled(&team, "other", "ClaimConflicted", owner).await?;
    connectors
        .patch("account", json!({"spec": {"suspend": false}}))
        .await?;
    ready(&team, "account").await?;
    connectors.reconcile("other", TIMEOUT).await?;
    stalled(&team, "other", "ClaimConflicted", owner).await?;
    Ok(())
}

/// Two objects that connect one account at the same time: one connector is created.
async fn two_objects_create_one_connector_for_an_account(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "twins").await?;
    let (one, two) = (json!({"connectorName": "one"}), json!({"connectorName": "two"}));
    tokio::try_join!(team.connect("one", one), team.connect("two", two))?;
    let connectors = team.connectors();
    eventually("one of them, Ready", TIMEOUT, || async {
        for name in ["one", "two"] {
            let object = connectors.get(name).await.map_err(|error| error.to_string())?;
            if condition(&object, "Ready").is_some_and(|it| it["status"] == "True") {
                return Ok(());
            }
        }
        Err("none".to_owned())
    })
    .await?;
    pause().await;
    let state = environment.emulator.get(&team.subscription).await?;
    let found = state["securityConnectors"].as_object().map_or(0, |all| {
        all.values()
            .filter(|connector| connector["hierarchyIdentifier"] == team.account.as_str())
            .count()
    });
    assert_eq!(found, 1, "{:#}", state["securityConnectors"]);
    Ok(())
}

async fn an_account_connected_in_another_group_is_not_changed(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = protected(&environment, "othergroup").await?;
    current(
        &team,
        "theirs",
        json!({"hierarchyIdentifier": team.account, "resourceGroup": "rg-theirs", "serversSubPlan": "P1"}),
    )
    .await?;
    team.connect("account", json!({})).await?;
    elsewhere(&team, &team, "rg-theirs").await
}

async fn an_account_connected_in_another_subscription_is_not_changed(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("othersub").await?;
    let owner = environment.team("owner").await?;
    share(&owner, &team).await?;
    current(
        &owner,
        "theirs",
        json!({"hierarchyIdentifier": team.account, "serversSubPlan": "P1"}),
    )
    .await?;
    team.protect(PROTECTION, json!({"plan": {"tier": "P2"}})).await?;
    team.connect("account", json!({})).await?;
    elsewhere(&team, &owner, &owner.subscription).await
}

async fn elsewhere(team: &Team<'_>, owner: &Team<'_>, says: &str) -> Result<(), Error> {
    let object = stalled(team, "account", "AccountConnectedElsewhere", says).await?;
    assert!(
        condition_values(&object, "Stalled").2.contains("/theirs"),
        "{object:#}"
    );
    pause().await;
    assert!(requests(team, "PUT").await?.is_empty());
    remove(owner, "theirs").await?;
    // It recovers without a change, once the cached list has expired.
    team.connectors()
        .until("account", "Ready", "True", std::time::Duration::from_secs(60))
        .await?;
    assert_eq!(requests(team, "PUT").await?.len(), 1);
    Ok(())
}

async fn an_account_connected_in_a_hidden_subscription_is_rejected(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = protected(&environment, "hidden").await?;
    let owner = environment.team("hider").await?;
    current(
        &owner,
        "theirs",
        json!({"hierarchyIdentifier": team.account, "serversSubPlan": "P1"}),
    )
    .await?;
    team.connect("account", json!({})).await?;
    stalled(&team, "account", "ConnectorRefused", "already connected").await?;
    let made = requests(&team, "PUT").await?.len();
    pause().await;
    assert!(
        requests(&team, "PUT").await?.len() <= made + 1,
        "no repeated writes"
    );
    remove(&owner, "theirs").await?;
    ready(&team, "account").await?;
    Ok(())
}

async fn a_member_of_an_organization_is_managed_by_it(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "member").await?;
    let management = another_account();
    let accounts = json!({"aws": {management.clone(): {"organization": {"accountIds": [team.account]}}}});
    environment
        .emulator
        .call(Method::PATCH, "cloud-accounts", Some(accounts))
        .await?;
    let organization = json!({"hierarchyIdentifier": management, "serversSubPlan": "P2", "age": "30d",
        "organizationalData": {"stacksetName": "defender"}});
    current(&team, "aws-org", organization).await?;
    environment.emulator.advance("24h").await?;
    until_there(&team, &format!("aws-org_{}", team.account)).await?;
    team.connect("account", json!({})).await?;
    let object = stalled(&team, "account", "ManagedByOrganization", &management).await?;
    assert!(
        condition_values(&object, "Stalled")
            .2
            .contains(&format!("aws-org_{}", team.account))
    );
    // The same if the object names the connector.
    let named = json!({"connectorName": format!("aws-org_{}", team.account)});
    team.connectors().delete("account", TIMEOUT).await?;
    team.connect("named", named).await?;
    stalled(&team, "named", "ManagedByOrganization", &management).await?;
    pause().await;
    assert!(requests(&team, "PUT").await?.is_empty());
    Ok(())
}

/// Advances the clock of the machines until a connector exists.
async fn until_there(team: &Team<'_>, name: &str) -> Result<(), Error> {
    eventually(&format!("connector {name}"), TIMEOUT, || async {
        let connector = in_azure(team, name).await.map_err(|error| error.to_string())?;
        if connector["exists"] == true {
            Ok(())
        } else {
            Err(connector.to_string())
        }
    })
    .await
}

async fn a_connector_of_another_account_is_not_changed(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "taken").await?;
    let other = another_account();
    current(
        &team,
        "account",
        json!({"hierarchyIdentifier": other, "serversSubPlan": "P1"}),
    )
    .await?;
    team.connect("account", json!({})).await?;
    stalled(&team, "account", "NameTaken", &other).await?;
    pause().await;
    assert!(requests(&team, "PUT").await?.is_empty());
    assert_eq!(
        in_azure(&team, "account").await?["hierarchyIdentifier"],
        other.as_str()
    );
    Ok(())
}

async fn a_connector_in_another_region_is_not_changed(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "region").await?;
    current(
        &team,
        "account",
        json!({"hierarchyIdentifier": team.account, "serversSubPlan": "P2", "location": "North Europe"}),
    )
    .await?;
    team.connect("account", json!({})).await?;
    stalled(&team, "account", "LocationDiffers", "northeurope").await?;
    pause().await;
    assert!(requests(&team, "PUT").await?.is_empty());
    team.connectors().delete("account", TIMEOUT).await?;
    team.connect(
        "again",
        json!({"connectorName": "account", "location": "northeurope"}),
    )
    .await?;
    ready(&team, "again").await?;
    Ok(())
}

async fn the_members_of_an_aws_organization_are_counted(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "awsmembers").await?;
    let members = [another_account(), another_account()];
    let accounts = json!({"aws": {team.account.clone(): {"organization": {"accountIds": members}}}});
    environment
        .emulator
        .call(Method::PATCH, "cloud-accounts", Some(accounts))
        .await?;
    team.connect("account", super::life::shape(&team, "aws-organization"))
        .await?;
    ready(&team, "account").await?;
    appear(&team, &members).await?;
    let excluded = json!({"aws": {"organization": {"excludedAccountIds": [members[0]]}}});
    edit(&team, "account", excluded, 1).await?;
    until_counted(&team, 1).await?;
    untouched(&team, 2).await
}

async fn the_members_of_a_gcp_organization_are_counted(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "gcpmembers").await?;
    let members = [another_account(), another_account()];
    let organization = json!({"organizationId": another_account(), "organizationName": "contoso.example",
        "projectNumbers": members});
    let accounts = json!({"gcp": {team.account.clone(): {"organization": organization}}});
    environment
        .emulator
        .call(Method::PATCH, "cloud-accounts", Some(accounts))
        .await?;
    // The organization was connected before, so its members exist already.
    let shape = super::life::shape(&team, "gcp-organization");
    let (provider, email) = ("workloadIdentityProvider", "serviceAccount");
    let named = &shape["gcp"]["organization"];
    let connected =
        json!({"workloadIdentityProviderId": named[provider], "serviceAccountEmailAddress": named[email]});
    let before = json!({"environmentName": "GCP", "hierarchyIdentifier": team.account, "projectId": "my-project",
        "serversSubPlan": "P2",
        "organizationalData": connected, "age": "30d"});
    current(&team, "account", before).await?;
    environment.emulator.advance("24h").await?;
    until_there(&team, &format!("account_{}", members[1])).await?;
    team.connect("account", shape).await?;
    let object = ready(&team, "account").await?;
    assert_eq!(object["status"]["members"], 2);
    untouched(&team, 0).await
}

/// The members appear within a day.
async fn appear(team: &Team<'_>, members: &[String]) -> Result<(), Error> {
    team.environment.emulator.advance("24h").await?;
    for member in members {
        until_there(team, &format!("account_{member}")).await?;
    }
    Ok(())
}

/// Members belong to Azure: only the connector of the organization is written.
async fn untouched(team: &Team<'_>, puts: usize) -> Result<(), Error> {
    let object = team.connectors().get("account").await?;
    assert!(condition(&object, "Stalled").is_none());
    let made = requests(team, "PUT").await?;
    assert_eq!(made.len(), puts, "{made:#?}");
    Ok(())
}

/// The cached list may be used again, so a later reconcile may be the first one that counts the members.
async fn until_counted(team: &Team<'_>, members: usize) -> Result<(), Error> {
    let limit = std::time::Duration::from_secs(60);
    eventually(&format!("{members} members"), limit, || async {
        let reconcile = team.connectors().reconcile("account", TIMEOUT).await;
        let object = reconcile.map_err(|error| error.to_string())?;
        if object["status"]["members"] == members {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        Err(object["status"]["members"].to_string())
    })
    .await
}
