//! Azure's errors, delays and lost responses.

use std::sync::Arc;

use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    env::Environment,
    harness::Case,
    team::{Team, condition},
};

use super::{TIMEOUT, condition_values, in_azure, of, p2, plan_writes, ready, reconcile, requests, stalled};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        an_unknown_subscription_stalls,
        a_disabled_subscription_stalls,
        a_locked_subscription_stalls,
        a_deny_policy_is_named,
        a_write_waits_for_another_update_in_progress,
        throttled_reads_obey_retry_after,
        throttled_writes_obey_retry_after,
        throttling_without_retry_after_waits,
        a_server_error_before_the_effect_is_repaired,
        a_server_error_after_the_effect_never_counts_as_success,
        a_reset_before_the_effect_is_repaired,
        a_reset_after_the_effect_never_counts_as_success,
        a_truncated_response_to_the_write_never_counts_as_success,
        three_failed_reads_in_a_row_make_ready_unknown,
        one_failed_read_changes_nothing,
        a_token_never_follows_a_link_to_another_host,
    ]
}

async fn fault(team: &Team<'_>, fault: Value) -> Result<String, Error> {
    let mut fault = fault;
    fault["match"]["subscription"] = json!(team.subscription);
    team.environment.emulator.add_fault(fault).await
}

async fn an_unknown_subscription_stalls(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("unknown").await?;
    let mut spec = p2();
    spec["subscriptionId"] = json!("99999999-9999-9999-9999-999999999999");
    team.protect("prod", spec).await?;
    stalled(&team, "prod", "SubscriptionNotFound", "subscriptionId").await?;
    Ok(())
}

async fn a_disabled_subscription_stalls(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment
        .team_with("disabled", json!({"state": "Disabled"}))
        .await?;
    team.protect("prod", p2()).await?;
    stalled(
        &team,
        "prod",
        "ReadOnlyDisabledSubscription",
        "Enable the subscription",
    )
    .await?;
    environment
        .emulator
        .set(&team.subscription, json!({"state": "Enabled"}))
        .await?;
    ready(&team, "prod").await?;
    Ok(())
}

async fn a_locked_subscription_stalls(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("locked").await?;
    environment
        .emulator
        .set(&team.subscription, json!({"lockLevel": "ReadOnly"}))
        .await?;
    team.protect("prod", p2()).await?;
    stalled(&team, "prod", "ScopeLocked", "Remove the read-only lock").await?;
    environment
        .emulator
        .set(&team.subscription, json!({"lockLevel": null}))
        .await?;
    ready(&team, "prod").await?;
    Ok(())
}

async fn a_deny_policy_is_named(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("policy").await?;
    environment
        .emulator
        .set(
            &team.subscription,
            json!({"denyPolicyAssignment": "Keep Defender off"}),
        )
        .await?;
    team.protect("prod", p2()).await?;
    stalled(&team, "prod", "RequestDisallowedByPolicy", "Keep Defender off").await?;
    environment
        .emulator
        .set(&team.subscription, json!({"denyPolicyAssignment": null}))
        .await?;
    ready(&team, "prod").await?;
    Ok(())
}

async fn a_write_waits_for_another_update_in_progress(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("conflict").await?;
    let body = json!({"error": {"code": "Conflict", "message": "Another update operation is in progress. Please retry in a few minutes"}});
    fault(&team, json!({"match": {"method": "PUT", "path": "/pricings/", "times": 1}, "action": {"respond": {"status": 409, "body": body}}})).await?;
    team.protect("prod", p2()).await?;
    let object = team
        .until_holds("prod", "Reconciling/UpdateInProgress", TIMEOUT, |object| {
            condition(object, "Reconciling").is_some_and(|it| it["reason"] == "UpdateInProgress")
        })
        .await?;
    assert_eq!(condition_values(&object, "Ready").1, "Progressing");
    assert_eq!(plan_writes(&team).await?.len(), 1, "no repeated writes");
    team.request("prod").await?;
    let object = ready(&team, "prod").await?;
    assert_eq!(
        condition_values(&object, "ExtensionsProvisioned").0,
        "True",
        "a clean refusal loses nothing"
    );
    assert_eq!(plan_writes(&team).await?.len(), 2);
    Ok(())
}

fn throttled(method: &str, path: &str, retry_after: Option<&str>) -> Value {
    let headers = retry_after.map_or_else(|| json!({}), |seconds| json!({"Retry-After": seconds}));
    let body = json!({"error": {"code": "TooManyRequests", "message": "Please try again after a while."}});
    json!({"match": {"method": method, "path": path, "times": 1},
        "action": {"respond": {"status": 429, "headers": headers, "body": body}}})
}

async fn throttled_reads_obey_retry_after(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("slowreads").await?;
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    fault(&team, throttled("GET", "/pricings/", Some("5"))).await?;
    team.request("prod").await?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    // A request before the time is over still causes no call.
    let asked = requests(&team).await?.len();
    team.request("prod").await?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(
        requests(&team).await?.len(),
        asked,
        "Retry-After also applies to a requested reconcile"
    );
    reconcile(&team, "prod").await?;
    ready(&team, "prod").await?;
    Ok(())
}

async fn throttled_writes_obey_retry_after(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("slowwrites").await?;
    fault(&team, throttled("PUT", "/pricings/", Some("4"))).await?;
    team.protect("prod", p2()).await?;
    let what = "Reconciling/Throttled";
    team.until_holds("prod", what, TIMEOUT, |object| {
        condition(object, "Reconciling").is_some_and(|it| it["reason"] == "Throttled")
    })
    .await?;
    ready(&team, "prod").await?;
    assert_eq!(plan_writes(&team).await?.len(), 2);
    Ok(())
}

async fn throttling_without_retry_after_waits(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("noword").await?;
    fault(&team, throttled("PUT", "/pricings/", None)).await?;
    team.protect("prod", p2()).await?;
    let what = "Reconciling/Throttled";
    team.until_holds("prod", what, TIMEOUT, |object| {
        condition(object, "Reconciling").is_some_and(|it| it["reason"] == "Throttled")
    })
    .await?;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(plan_writes(&team).await?.len(), 1, "no repeated writes");
    team.request("prod").await?;
    ready(&team, "prod").await?;
    Ok(())
}

async fn a_server_error_before_the_effect_is_repaired(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("errorbefore").await?;
    fault(&team, json!({"match": {"method": "PUT", "path": "/pricings/", "times": 1}, "phase": "before", "action": {"respond": {"status": 503}}})).await?;
    team.protect("prod", p2()).await?;
    let object = ready(&team, "prod").await?;
    assert_eq!(
        condition_values(&object, "ExtensionsProvisioned").0,
        "True",
        "the second write returned the result: {object:#}"
    );
    assert_eq!(plan_writes(&team).await?.len(), 2);
    Ok(())
}

/// The write has its effect, but the result is lost: one more write, and the condition is never True by assumption.
async fn lost(environment: &Environment, name: &str, action: Value) -> Result<(), Error> {
    let team = environment.team(name).await?;
    fault(&team, json!({"match": {"method": "PUT", "path": "/pricings/", "times": 1}, "phase": "after", "action": action})).await?;
    team.protect("prod", p2()).await?;
    let object = ready(&team, "prod").await?;
    assert_eq!(
        in_azure(&team).await?["pricings"]["VirtualMachines"]["subPlan"],
        "P2"
    );
    let (status, reason, _) = condition_values(&object, "ExtensionsProvisioned");
    assert_eq!((status, reason), ("Unknown", "ResultLost"), "{object:#}");
    assert_eq!(plan_writes(&team).await?.len(), 2, "one more write, no more");
    let never_true = team
        .history()
        .iter()
        .all(|version| version.condition_status("ExtensionsProvisioned") != Some("True"));
    assert!(never_true, "True by assumption on the way");
    reconcile(&team, "prod").await?;
    assert_eq!(plan_writes(&team).await?.len(), 2);
    Ok(())
}

async fn a_server_error_after_the_effect_never_counts_as_success(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    lost(&environment, "errorafter", json!({"respond": {"status": 504}})).await
}

async fn a_reset_after_the_effect_never_counts_as_success(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    lost(&environment, "resetafter", json!({"reset": true})).await
}

async fn a_truncated_response_to_the_write_never_counts_as_success(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    lost(&environment, "truncated", json!({"truncate": true})).await
}

async fn a_reset_before_the_effect_is_repaired(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("resetbefore").await?;
    fault(&team, json!({"match": {"method": "PUT", "path": "/pricings/", "times": 1}, "phase": "before", "action": {"reset": true}})).await?;
    team.protect("prod", p2()).await?;
    let object = ready(&team, "prod").await?;
    assert_eq!(
        condition_values(&object, "ExtensionsProvisioned").0,
        "True",
        "{object:#}"
    );
    Ok(())
}

async fn three_failed_reads_in_a_row_make_ready_unknown(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("stale").await?;
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    let id = fault(
        &team,
        json!({"match": {"method": "GET", "path": "/pricings/"}, "action": {"respond": {"status": 503}}}),
    )
    .await?;
    team.request("prod").await?;
    let object = team.until("prod", "Ready", "Unknown", TIMEOUT).await?;
    assert_eq!(condition_values(&object, "Ready").1, "ObservationStale");
    assert_eq!(condition_values(&object, "Reconciling").0, "True");
    let tries = of(requests(&team).await?, "/pricings/").len();
    assert!(tries < 15, "{tries} tries are too many");
    environment.emulator.delete_fault(&id).await?;
    ready(&team, "prod").await?;
    Ok(())
}

async fn one_failed_read_changes_nothing(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("passing").await?;
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    fault(&team, json!({"match": {"method": "GET", "path": "/pricings/", "times": 1}, "action": {"respond": {"status": 503}}})).await?;
    let seen = team.history().len();
    reconcile(&team, "prod").await?;
    ready(&team, "prod").await?;
    let flickered = team
        .history()
        .iter()
        .skip(seen)
        .any(|version| version.condition_status("Ready") != Some("True"));
    assert!(!flickered, "one failed read changes no status");
    team.until_events(&["ObservationFailed"], TIMEOUT).await
}

/// A page with a next link to another host: the token is not sent there.
async fn a_token_never_follows_a_link_to_another_host(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("link").await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .map_err(|error| Error::Other(error.to_string()))?;
    let elsewhere = listener
        .local_addr()
        .map_err(|error| Error::Other(error.to_string()))?;
    let body = json!({"value": [], "nextLink": format!("https://{elsewhere}/subscriptions/x?$skipToken=1")});
    let id = fault(&team, json!({"match": {"method": "GET", "path": "/settings$"}, "action": {"respond": {"status": 200, "body": body}}})).await?;
    team.protect("prod", p2()).await?;
    let object = team.until("prod", "Ready", "Unknown", TIMEOUT).await?;
    let message = condition_values(&object, "Ready").2;
    assert!(
        message.contains("another host") && !message.contains("Change the spec"),
        "{message}"
    );
    assert!(condition(&object, "Stalled").is_none(), "{object:#}");
    let called = tokio::time::timeout(std::time::Duration::from_secs(1), listener.accept()).await;
    assert!(called.is_err(), "the link was followed");
    environment.emulator.delete_fault(&id).await?;
    ready(&team, "prod").await?;
    Ok(())
}
