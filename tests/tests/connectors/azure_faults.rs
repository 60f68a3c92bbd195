//! Azure's errors, delays and lost responses.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases, env::Environment, harness::Case, objects::condition, team::Team, wait::eventually,
};

use super::{
    PROTECTION, TIMEOUT, another_account, condition_values, edit, event, fault, in_azure, offering, pause,
    protected, ready, requests, stalled,
};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        a_server_error_after_the_effect_causes_no_second_write,
        a_reset_after_the_effect_causes_no_second_write,
        a_truncated_response_to_the_write_causes_no_second_write,
        a_server_error_before_the_effect_is_repaired,
        a_reset_before_the_effect_is_repaired,
        a_slow_write_does_not_delay_other_objects,
        throttled_writes_obey_retry_after,
        an_extreme_retry_after_does_not_affect_other_connectors,
        a_write_waits_for_another_update_in_progress,
        a_locked_subscription_stalls,
        a_deny_policy_is_named,
        concurrent_writers_keep_the_changes_of_each_other,
        one_failed_read_changes_nothing_and_three_are_reported,
        without_the_list_of_connectors_nothing_is_created,
        a_connector_is_ready_without_health_reports,
    ]
}

async fn put_fault(team: &Team<'_>, phase: &str, action: Value) -> Result<String, Error> {
    let matching = json!({"method": "PUT", "path": "/securityConnectors/", "times": 1});
    fault(team, json!({"match": matching, "phase": phase, "action": action})).await
}

/// The write has its effect, but the response is lost: a read shows the effect, and nothing is written twice.
async fn lost(environment: &Environment, name: &str, action: Value) -> Result<(), Error> {
    let team = protected(environment, name).await?;
    put_fault(&team, "after", action).await?;
    team.connect("account", json!({"plan": {"tier": "P1"}})).await?;
    let object = ready(&team, "account").await?;
    assert_eq!(object["status"]["tier"], "P1");
    assert_eq!(requests(&team, "PUT").await?.len(), 1);
    // The object holds what it wrote, so a reduction is an edit and not an adoption.
    edit(&team, "account", json!({"plan": {"tier": "Free"}}), 1).await?;
    Ok(())
}

async fn a_server_error_after_the_effect_causes_no_second_write(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    lost(&environment, "errorafter", json!({"respond": {"status": 504}})).await
}

async fn a_reset_after_the_effect_causes_no_second_write(environment: Arc<Environment>) -> Result<(), Error> {
    lost(&environment, "resetafter", json!({"reset": true})).await
}

async fn a_truncated_response_to_the_write_causes_no_second_write(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    lost(&environment, "truncated", json!({"truncate": true})).await
}

async fn before(environment: &Environment, name: &str, action: Value) -> Result<(), Error> {
    let team = protected(environment, name).await?;
    put_fault(&team, "before", action).await?;
    team.connect("account", json!({})).await?;
    ready(&team, "account").await?;
    assert_eq!(requests(&team, "PUT").await?.len(), 2);
    Ok(())
}

async fn a_server_error_before_the_effect_is_repaired(environment: Arc<Environment>) -> Result<(), Error> {
    before(&environment, "errorbefore", json!({"respond": {"status": 503}})).await
}

async fn a_reset_before_the_effect_is_repaired(environment: Arc<Environment>) -> Result<(), Error> {
    before(&environment, "resetbefore", json!({"reset": true})).await
}

/// Azure signs in to an account for up to a minute.
async fn a_slow_write_does_not_delay_other_objects(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("slow").await?;
    let matching = json!({"method": "PUT", "path": "/securityConnectors/slow"});
    let id = fault(&team, json!({"match": matching, "action": {"hang": true}})).await?;
    team.protect(PROTECTION, json!({"plan": {"tier": "P2"}})).await?;
    team.connect("slow", json!({})).await?;
    let object = team
        .connectors()
        .until_holds("slow", "Reconciling/Writing", TIMEOUT, |object| {
            condition(object, "Reconciling").is_some_and(|it| it["reason"] == "Writing")
        })
        .await?;
    assert!(
        condition_values(&object, "Reconciling")
            .2
            .contains("connector slow (new)"),
        "{object:#}"
    );

    let quick = json!({"aws": {"accountId": another_account()}});
    team.connect("quick", quick).await?;
    ready(&team, "quick").await?;
    team.until(PROTECTION, "Ready", "True", TIMEOUT).await?;
    // An edit of the ServerProtection is not delayed either.
    let edit = json!({"spec": {"plan": {"agentlessScanning": {"state": "Disabled"}}}});
    team.patch(PROTECTION, edit).await?;
    team.until(PROTECTION, "Ready", "True", TIMEOUT).await?;
    let object = team.connectors().get("slow").await?;
    assert_eq!(
        condition_values(&object, "Reconciling").1,
        "Writing",
        "it still waits"
    );
    environment.emulator.delete_fault(&id).await?;
    ready(&team, "slow").await?;
    Ok(())
}

async fn reconciling(team: &Team<'_>, reason: &str) -> Result<Value, Error> {
    let what = format!("Reconciling/{reason}");
    team.connectors()
        .until_holds("account", &what, TIMEOUT, |object| {
            condition(object, "Reconciling").is_some_and(|it| it["reason"] == reason)
        })
        .await
}

async fn throttled_writes_obey_retry_after(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "throttled").await?;
    let body = json!({"error": {"code": "TooManyRequests", "message": "Please try again after a while."}});
    let answer = json!({"status": 429, "headers": {"Retry-After": "4"}, "body": body});
    put_fault(&team, "before", json!({"respond": answer})).await?;
    team.connect("account", json!({})).await?;
    reconciling(&team, "Throttled").await?;
    // The safety monitor checks that the delay was obeyed, also by a requested reconcile.
    team.connectors().request("account").await?;
    ready(&team, "account").await?;
    assert_eq!(requests(&team, "PUT").await?.len(), 2);
    Ok(())
}

async fn an_extreme_retry_after_does_not_affect_other_connectors(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = protected(&environment, "absurd").await?;
    let body = json!({"statusCode": 429, "errorMessage": "slow down", "errorCorrelation": "x"});
    let answer = json!({"status": 429, "headers": {"Retry-After": "9223372036854775807"}, "body": body});
    put_fault(&team, "before", json!({"respond": answer})).await?;
    team.connect("account", json!({})).await?;
    reconciling(&team, "Throttled").await?;
    team.connectors().request("account").await?;
    pause().await;
    assert_eq!(
        requests(&team, "PUT").await?.len(),
        1,
        "request before Retry-After"
    );
    let other = protected(&environment, "unharmed").await?;
    other.connect("account", json!({})).await?;
    ready(&other, "account").await?;
    Ok(())
}

async fn a_write_waits_for_another_update_in_progress(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "conflict").await?;
    let message = "error occured for security connector: Another update operation is in progress. Please retry in a few minutes";
    let body = json!({"statusCode": 409, "errorMessage": message, "errorCorrelation": "x"});
    put_fault(&team, "before", json!({"respond": {"status": 409, "body": body}})).await?;
    team.connect("account", json!({})).await?;
    let object = reconciling(&team, "UpdateInProgress").await?;
    assert_eq!(condition_values(&object, "Ready").1, "Progressing");
    pause().await;
    assert_eq!(requests(&team, "PUT").await?.len(), 1, "no repeated writes");
    team.connectors().request("account").await?;
    ready(&team, "account").await?;
    assert_eq!(requests(&team, "PUT").await?.len(), 2);
    Ok(())
}

async fn a_locked_subscription_stalls(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "locked").await?;
    environment
        .emulator
        .set(&team.subscription, json!({"lockLevel": "ReadOnly"}))
        .await?;
    team.connect("account", json!({})).await?;
    stalled(&team, "account", "ScopeLocked", "Remove the read-only lock").await?;
    environment
        .emulator
        .set(&team.subscription, json!({"lockLevel": null}))
        .await?;
    ready(&team, "account").await?;
    Ok(())
}

async fn a_deny_policy_is_named(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "policy").await?;
    let deny = json!({"denyPolicyAssignment": "No other clouds"});
    environment.emulator.set(&team.subscription, deny).await?;
    team.connect("account", json!({})).await?;
    stalled(&team, "account", "RequestDisallowedByPolicy", "No other clouds").await?;
    environment
        .emulator
        .set(&team.subscription, json!({"denyPolicyAssignment": null}))
        .await?;
    ready(&team, "account").await?;
    Ok(())
}

/// Another client writes right after each write of the controller.
async fn concurrent_writers_keep_the_changes_of_each_other(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = protected(&environment, "writers").await?;
    team.connect("account", json!({})).await?;
    ready(&team, "account").await?;
    let fields = json!({
        "securityConnectors.account.offerings.DefenderForContainersAws": {"kubernetesService": {"a": 1}},
        "securityConnectors.account.tags.theirs": "stays",
        "securityConnectors.account.environmentData.novelty": 7,
    });
    let writer = json!({"subscription": team.subscription, "set": fields, "onChange": true});
    environment.emulator.foreign_writer(writer).await?;
    for (hours, puts) in [("8h", 1), ("12h", 1), ("16h", 1)] {
        edit(&team, "account", json!({"scanInterval": hours}), puts).await?;
    }
    let connector = in_azure(&team, "account").await?;
    assert_eq!(connector["environmentData"]["scanInterval"], 16);
    assert_eq!(connector["environmentData"]["novelty"], 7);
    assert_eq!(connector["tags"]["theirs"], "stays");
    assert!(!offering(&connector, "DefenderForContainersAws").is_null());
    Ok(())
}

async fn one_failed_read_changes_nothing_and_three_are_reported(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = protected(&environment, "stale").await?;
    team.connect("account", json!({})).await?;
    ready(&team, "account").await?;
    let failing = |times: u32| {
        let matching = json!({"method": "GET", "path": "/securityConnectors/account$", "times": times});
        json!({"match": matching, "action": {"respond": {"status": 503}}})
    };
    let seen = || {
        environment
            .recorder
            .of("SecurityConnector", &team.namespace, "account")
    };
    let until_now = seen().len();
    fault(&team, failing(1)).await?;
    team.connectors().reconcile("account", TIMEOUT).await?;
    let object = team.connectors().reconcile("account", TIMEOUT).await?;
    assert_eq!(condition_values(&object, "Ready").0, "True");
    let history = seen();
    let flickered = |version: &&serverprotection_tests::recorder::Version| {
        version.condition_status("Ready") != Some("True")
    };
    assert!(
        !history.iter().skip(until_now).any(|version| flickered(&version)),
        "one failed read changes no status"
    );
    event(&team, "account", "ObservationFailed").await?;

    let id = fault(&team, failing(1000)).await?;
    team.connectors().request("account").await?;
    let object = team
        .connectors()
        .until("account", "Ready", "Unknown", TIMEOUT)
        .await?;
    assert_eq!(condition_values(&object, "Ready").1, "ObservationStale");
    assert_eq!(condition_values(&object, "Reconciling").0, "True");
    environment.emulator.delete_fault(&id).await?;
    ready(&team, "account").await?;
    assert_eq!(requests(&team, "PUT").await?.len(), 1);
    Ok(())
}

/// Another client may connect the account: creating without reading could create a second connector.
async fn without_the_list_of_connectors_nothing_is_created(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = protected(&environment, "nolist").await?;
    let matching = json!({"method": "GET", "path": "/Microsoft.Security/securityConnectors$"});
    let failing = json!({"match": matching, "action": {"respond": {"status": 503}}});
    let id = fault(&team, failing).await?;
    team.connect("account", json!({})).await?;
    eventually("a list that fails", TIMEOUT, || async {
        let all = environment.emulator.requests(&team.subscription).await;
        let failed = |it: &Value| {
            it["status"] == 503
                && it["path"]
                    .as_str()
                    .is_some_and(|path| path.ends_with("/securityConnectors"))
        };
        let tries = all
            .map_err(|error| error.to_string())?
            .into_iter()
            .filter(failed)
            .count();
        if tries >= 2 {
            Ok(())
        } else {
            Err(tries.to_string())
        }
    })
    .await?;
    assert!(requests(&team, "PUT").await?.is_empty());
    environment.emulator.delete_fault(&id).await?;
    ready(&team, "account").await?;
    assert_eq!(requests(&team, "PUT").await?.len(), 1);
    Ok(())
}

async fn a_connector_is_ready_without_health_reports(environment: Arc<Environment>) -> Result<(), Error> {
    let team = protected(&environment, "nohealth").await?;
    let matching = json!({"method": "GET", "path": "healthReports"});
    let failing = json!({"match": matching, "action": {"respond": {"status": 500}}});
    let id = fault(&team, failing).await?;
    team.connect("account", json!({})).await?;
    let object = ready(&team, "account").await?;
    assert_eq!(condition_values(&object, "Healthy").0, "Unknown");
    tokio::time::timeout(
        Duration::from_secs(40),
        team.connectors().reconcile("account", TIMEOUT),
    )
    .await
    .map_err(|_| Error::Other("no reconcile".into()))??;
    environment.emulator.delete_fault(&id).await?;
    let object = team.connectors().reconcile("account", TIMEOUT).await?;
    assert_eq!(condition_values(&object, "Healthy").0, "True");
    Ok(())
}
