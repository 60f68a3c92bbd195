//! Retry-After: every caller obeys it, and no value of the header affects other objects.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    emulator::TENANT,
    env::Environment,
    harness::Case,
    team::{Team, condition},
};
use uuid::Uuid;

use super::{TIMEOUT, condition_values, of, p2, plan_writes, ready, reconcile, requests};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        an_extreme_retry_after_does_not_affect_other_objects,
        an_invalid_retry_after_is_ignored,
        a_retry_after_that_is_a_date_is_obeyed,
        an_outage_of_reads_with_retry_after_is_obeyed,
        an_outage_of_writes_with_retry_after_is_obeyed,
        entras_retry_after_is_obeyed,
        a_token_with_an_extreme_lifetime_does_no_harm,
    ]
}

/// A response that replaces the right one for the reads (`GET`) or writes of the team's plan.
fn answer(team: &Team<'_>, method: &str, status: u16, retry_after: &str) -> Value {
    let body = json!({"error": {"code": "ServerBusy", "message": "Please try again later."}});
    json!({"match": {"method": method, "path": "/pricings/", "subscription": team.subscription},
        "action": {"respond": {"status": status, "headers": {"Retry-After": retry_after}, "body": body}}})
}

fn once(mut fault: Value) -> Value {
    fault["match"]["times"] = json!(1);
    fault
}

fn in_seconds(seconds: u64) -> String {
    httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(seconds))
}

async fn asked(team: &Team<'_>) -> Result<usize, Error> {
    Ok(of(requests(team).await?, "/pricings/").len())
}

async fn log(environment: &Environment) -> String {
    environment.controller().await.as_ref().unwrap().log()
}

async fn an_extreme_retry_after_does_not_affect_other_objects(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    for (status, value) in [
        (429, "9223372036854775807"),
        (429, "99999999999999"),
        (429, "18446744073709551616"),
        (429, "Fri, 31 Dec 9999 23:59:59 GMT"),
        (503, "9223372036854775807"),
    ] {
        let team = environment.team("absurd").await?;
        environment
            .emulator
            .add_fault(answer(&team, "GET", status, value))
            .await?;
        team.protect("prod", p2()).await?;
        team.until("prod", "Ready", "Unknown", TIMEOUT).await?;
        let made = asked(&team).await?;
        assert_eq!(made, 1, "{value}: requests");
        assert!(
            log(&environment).await.contains(value),
            "{value}: the log does not contain the requested delay"
        );
        // The object is reconciled; only requests to Azure wait.
        team.patch("prod", json!({"spec": {"suspend": true}})).await?;
        team.until("prod", "Suspended", "True", TIMEOUT).await?;
        team.patch("prod", json!({"spec": {"suspend": false}})).await?;
        let what = "no longer suspended";
        team.until_holds("prod", what, TIMEOUT, |object| {
            condition(object, "Suspended").is_none()
        })
        .await?;
        assert_eq!(asked(&team).await?, made, "{value}: request before Retry-After");
    }
    let other = environment.team("unharmed").await?;
    other.protect("prod", p2()).await?;
    ready(&other, "prod").await?;
    reconcile(&other, "prod").await?;
    Ok(())
}

async fn an_invalid_retry_after_is_ignored(environment: Arc<Environment>) -> Result<(), Error> {
    for (value, by_itself) in [
        ("", false),
        ("-5", false),
        ("soon", false),
        ("0", true),
        ("1.5", true),
        ("Thu, 01 Jan 1970 00:00:00 GMT", true),
    ] {
        let team = environment.team("meaningless").await?;
        let fault = once(answer(&team, "PUT", 429, value));
        environment.emulator.add_fault(fault).await?;
        team.protect("prod", p2()).await?;
        if !by_itself {
            team.until_holds("prod", "Reconciling/Throttled", TIMEOUT, |object| {
                condition(object, "Reconciling").is_some_and(|it| it["reason"] == "Throttled")
            })
            .await?;
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert_eq!(plan_writes(&team).await?.len(), 1, "{value}: no repeated writes");
            team.request("prod").await?;
        }
        ready(&team, "prod").await?;
        assert_eq!(plan_writes(&team).await?.len(), 2, "{value}");
    }
    Ok(())
}

/// After one failed read, no request is sent before the time, not even by request. Then the object is reconciled
/// without a change. The safety monitor checks the same.
async fn obeyed(team: &Team<'_>, fault: Value) -> Result<(), Error> {
    team.protect("prod", p2()).await?;
    ready(team, "prod").await?;
    team.environment.emulator.add_fault(once(fault)).await?;
    let before = asked(team).await?;
    team.request("prod").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let made = asked(team).await?;
    assert_eq!(made, before + 1, "one read failed");
    for _ in 0..2 {
        team.request("prod").await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(asked(team).await?, made, "request before Retry-After");
    }
    let limit = Duration::from_secs(30);
    serverprotection_tests::wait::eventually("a scheduled reconcile", limit, || async {
        let now = asked(team).await.map_err(|error| error.to_string())?;
        if now > made {
            Ok(())
        } else {
            Err(format!("{now} reads"))
        }
    })
    .await?;
    ready(team, "prod").await?;
    Ok(())
}

async fn a_retry_after_that_is_a_date_is_obeyed(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("date").await?;
    // The date is set before the read, so the object must exist.
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    obeyed(&team, answer(&team, "GET", 429, &in_seconds(15))).await
}

async fn an_outage_of_reads_with_retry_after_is_obeyed(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("outage").await?;
    obeyed(&team, answer(&team, "GET", 503, "14")).await?;
    let team = environment.team("outage").await?;
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    obeyed(&team, answer(&team, "GET", 503, &in_seconds(15))).await
}

async fn an_outage_of_writes_with_retry_after_is_obeyed(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("outagewrites").await?;
    let fault = once(answer(&team, "PUT", 503, "6"));
    environment.emulator.add_fault(fault).await?;
    team.protect("prod", p2()).await?;
    let what = "Reconciling/Retrying";
    team.until_holds("prod", what, TIMEOUT, |object| {
        condition(object, "Reconciling").is_some_and(|it| it["reason"] == "Retrying")
    })
    .await?;
    team.request("prod").await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(plan_writes(&team).await?.len(), 1, "written before its time");
    let object = ready(&team, "prod").await?;
    assert_eq!(plan_writes(&team).await?.len(), 2);
    assert_eq!(condition_values(&object, "ExtensionsProvisioned").0, "True");
    Ok(())
}

/// A team whose application and subscription are in their own tenant: faults of its tokens affect no other team. Its
/// AzureCredential is not, until [`move_credential`]: a fault that is added before meets the first token.
pub(crate) async fn in_own_tenant<'a>(
    environment: &'a Environment,
    name: &str,
) -> Result<(Team<'a>, String), Error> {
    let mut team = environment.team(name).await?;
    let (tenant, subscription) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let secret = format!("{}-secret", team.namespace);
    let seed = json!({
        "tenants": [{"tenantId": tenant, "displayName": team.namespace,
         "defaultDomain": format!("{}.example", team.namespace)}],
        "principals": [{"clientId": team.client_id, "tenantId": tenant, "secrets": [secret]}],
        "subscriptions": [{"subscriptionId": subscription, "tenantId": tenant, "displayName": "Own",
         "roleAssignments": {team.client_id.clone(): ["Owner"]}}],
    });
    environment.emulator.seed(seed).await?;
    team.subscription = subscription;
    assert_ne!(tenant, TENANT);
    Ok((team, tenant))
}

/// Lets the AzureCredential of the team sign in to its own tenant.
pub(crate) async fn move_credential(team: &Team<'_>, tenant: &str) -> Result<(), Error> {
    super::credentials::patch_credential(team, json!({"spec": {"tenantId": tenant}})).await
}

fn token_answer(tenant: &str, status: u16, headers: &Value, body: &Value) -> Value {
    json!({"id": tenant, "match": {"kind": "token", "path": tenant},
        "action": {"respond": {"status": status, "headers": headers, "body": body}}})
}

async fn hits(environment: &Environment, id: &str) -> Result<u64, Error> {
    let faults = environment.emulator.faults().await?;
    let fault = faults.iter().find(|fault| fault["id"] == id).unwrap();
    Ok(fault["hits"].as_u64().unwrap())
}

async fn entras_retry_after_is_obeyed(environment: Arc<Environment>) -> Result<(), Error> {
    let (team, tenant) = in_own_tenant(&environment, "entra").await?;
    let body =
        json!({"error": "temporarily_unavailable", "error_description": "AADSTS90055: The server is busy."});
    let headers = json!({"Retry-After": in_seconds(40)});
    let fault = token_answer(&tenant, 429, &headers, &body);
    environment.emulator.add_fault(fault).await?;
    move_credential(&team, &tenant).await?;
    team.protect("prod", p2()).await?;
    team.until("prod", "Ready", "Unknown", TIMEOUT).await?;
    // Longer than the backoff of any rejected identity.
    for _ in 0..5 {
        team.request("prod").await?;
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(
            hits(&environment, &tenant).await?,
            1,
            "request to Entra before Retry-After"
        );
    }
    environment.emulator.delete_fault(&tenant).await?;
    ready(&team, "prod").await?;
    Ok(())
}

async fn a_token_with_an_extreme_lifetime_does_no_harm(environment: Arc<Environment>) -> Result<(), Error> {
    for seconds in [i64::MAX, i64::MIN] {
        let (team, tenant) = in_own_tenant(&environment, "lifetime").await?;
        let body = json!({"token_type": "Bearer", "access_token": "worth-nothing", "expires_in": seconds});
        let fault = once(token_answer(&tenant, 200, &json!({}), &body));
        environment.emulator.add_fault(fault).await?;
        move_credential(&team, &tenant).await?;
        team.protect("prod", p2()).await?;
        // ARM rejects the token, and the next one is valid.
        ready(&team, "prod").await?;
        assert_eq!(hits(&environment, &tenant).await?, 1);
    }
    Ok(())
}
