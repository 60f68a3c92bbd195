//! The status of an AzureCredential.

use std::sync::Arc;

use kube::Api;
use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    env::Environment,
    harness::Case,
    team::{CREDENTIAL, SECRET, condition},
};

use super::{TIMEOUT, condition_values, credentials::delete_credential, of, p2, ready, requests, stalled};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        a_credential_can_be_waited_for_alone,
        a_refused_credential_says_why_and_recovers_with_its_objects,
        the_objects_that_use_a_credential_are_counted,
        a_secret_that_comes_late_is_picked_up,
    ]
}

/// Without any object that uses it.
async fn a_credential_can_be_waited_for_alone(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("waited").await?;
    let namespace = team.namespace.as_str();
    let wait = [
        "wait",
        "--for=condition=Ready",
        "azurecredential/platform",
        "--timeout=40s",
        "-n",
        namespace,
    ];
    environment.plane.kubectl(&wait).await?;
    let credentials = team.credentials();
    let object = credentials.get(CREDENTIAL).await?;
    assert_eq!(object["status"]["usedBy"], 0, "{object:#}");
    assert_eq!(
        object["status"]["observedGeneration"],
        object["metadata"]["generation"]
    );
    assert_eq!(condition_values(&object, "Ready").1, "TokenIssued");
    let table = environment
        .plane
        .kubectl(&["get", "azurecredential", "-n", namespace])
        .await?;
    let heading: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heading, ["NAME", "TYPE", "CLIENT", "READY", "REASON", "AGE"]);
    assert!(table.contains("True") && table.contains("TokenIssued"), "{table}");
    // A request to try again uses the token, and is answered.
    credentials.reconcile(CREDENTIAL, TIMEOUT).await?;
    let requests = environment.emulator.requests_of(&team.client_id).await?;
    assert_eq!(requests.len(), 1, "one token: {requests:#?}");
    assert!(!team.events().await?.contains(CREDENTIAL), "no event");
    Ok(())
}

async fn a_refused_credential_says_why_and_recovers_with_its_objects(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("refused").await?;
    team.recreate_credential("wrong").await?;
    let credentials = team.credentials();
    team.protect("prod", p2()).await?;
    let object = credentials.until(CREDENTIAL, "Ready", "False", TIMEOUT).await?;
    let (_, reason, message) = condition_values(&object, "Stalled");
    assert_eq!(reason, "ClientSecretRefused");
    assert_eq!(condition_values(&object, "Ready").1, reason);
    assert!(
        message.contains("AADSTS7000215") && message.contains("valid client secret"),
        "{message}"
    );
    assert!(
        !object.to_string().contains("\"wrong\""),
        "the secret is nowhere in the object"
    );
    stalled(&team, "prod", "AuthenticationFailed", "valid client secret").await?;
    team.until_events(&["azurecredential/platform"], TIMEOUT).await?;
    team.set_secret(&format!("{}-secret", team.namespace)).await?;
    credentials.request(CREDENTIAL).await?;
    let object = credentials.until(CREDENTIAL, "Ready", "True", TIMEOUT).await?;
    assert!(condition(&object, "Stalled").is_none(), "{object:#}");
    ready(&team, "prod").await?;
    Ok(())
}

async fn the_objects_that_use_a_credential_are_counted(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("users").await?;
    let credentials = team.credentials();
    let used_by = async |number: usize| {
        let what = format!("{number} users");
        credentials
            .until_holds(CREDENTIAL, &what, TIMEOUT, |object| {
                object["status"]["usedBy"] == number
            })
            .await
    };
    team.protect("prod", p2()).await?;
    let other =
        json!({"subscriptionId": team.another_subscription(Value::Null).await?, "plan": {"tier": "P1"}});
    team.protect("test", other).await?;
    used_by(2).await?;
    ready(&team, "prod").await?;
    ready(&team, "test").await?;
    team.scanned("prod", TIMEOUT).await?;
    // The status of the credential changes, and its objects have nothing to do with that.
    let reads = async || Ok::<_, Error>(of(requests(&team).await?, "/pricings/").len());
    let before = reads().await?;
    team.delete("test", TIMEOUT).await?;
    used_by(1).await?;
    assert_eq!(reads().await?, before, "a reconcile of prod");
    Ok(())
}

/// As with an operator that writes the Secret some seconds after the AzureCredential was applied.
async fn a_secret_that_comes_late_is_picked_up(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("late").await?;
    let secrets: Api<k8s_openapi::api::core::v1::Secret> =
        Api::namespaced(environment.client.clone(), &team.namespace);
    secrets
        .delete(SECRET, &kube::api::DeleteParams::default())
        .await?;
    delete_credential(&team).await?;
    team.protect("prod", p2()).await?;
    team.apply_client_secret().await?;
    let credentials = team.credentials();
    credentials
        .until_holds(CREDENTIAL, "SecretNotFound", TIMEOUT, |object| {
            condition(object, "Stalled").is_some_and(|stalled| stalled["reason"] == "SecretNotFound")
        })
        .await?;
    team.set_secret(&format!("{}-secret", team.namespace)).await?;
    credentials.until(CREDENTIAL, "Ready", "True", TIMEOUT).await?;
    ready(&team, "prod").await?;
    // The object was created before its credential, which is no reason for a warning.
    let events = team.events().await?;
    assert!(!events.contains("CredentialNotFound"), "{events}");
    Ok(())
}
