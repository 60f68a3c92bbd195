//! An object of a newer version does not stop other objects, and loses nothing.

use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use serverprotection_tests::{
    Error, cases,
    env::Environment,
    harness::Case,
    team::{CREDENTIAL, SECRET},
};

use super::{condition_values, p2, ready, requests, stalled};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        an_object_of_a_newer_version_is_reported_and_not_changed,
        a_credential_of_a_newer_version_stops_only_the_objects_that_use_it,
    ]
}

async fn an_object_of_a_newer_version_is_reported_and_not_changed(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    // A newer definition has a tier that this build does not know.
    let crds: Api<CustomResourceDefinition> = Api::all(environment.client.clone());
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/plan/properties/tier/enum";
    let newer: json_patch::Patch = serde_json::from_value(
        json!([{"op": "replace", "path": path, "value": ["P1", "P2", "P4", "Free"]}]),
    )?;
    crds.patch(
        "serverprotections.serverprotection.dev",
        &PatchParams::default(),
        &Patch::Json::<()>(newer),
    )
    .await?;

    let team = environment.team("newer").await?;
    team.protect("prod", json!({"plan": {"tier": "P2"}})).await?;
    let before = ready(&team, "prod").await?;
    let made = requests(&team).await?;
    let writes = made.iter().filter(|request| request["method"] != "GET").count();
    // Times have whole seconds: each of the two transitions needs a second of its own, or a wrong time would not be
    // noticed.
    next_second().await;
    serverprotection_tests::wait::eventually("a P4 that is admitted", super::TIMEOUT, || async {
        team.patch("prod", json!({"spec": {"plan": {"tier": "P4"}}}))
            .await
    })
    .await?;
    let object = stalled(&team, "prod", "Unreadable", "Upgrade the controller").await?;
    assert_eq!(
        object["status"]["claim"], before["status"]["claim"],
        "nothing of its status is lost"
    );
    assert_eq!(object["status"]["plan"], before["status"]["plan"]);

    // It keeps its subscription, and other objects are reconciled.
    let other = environment.team("beside").await?;
    other.protect("prod", p2()).await?;
    ready(&other, "prod").await?;
    team.protect("rival", json!({"plan": {"tier": "P1"}})).await?;
    stalled(&team, "rival", "ClaimConflicted", "prod of this namespace owns").await?;
    // It is asked for its proof while the other one waits, and it may write: it keeps the subscription.
    tokio::time::sleep(super::claims::LAPSE_AFTER + std::time::Duration::from_secs(2)).await;
    let object = team.get("prod").await?;
    assert_eq!(object["status"]["claim"], before["status"]["claim"]);
    let made = requests(&team).await?;
    assert_eq!(
        made.iter().filter(|request| request["method"] != "GET").count(),
        writes,
        "nothing is written"
    );

    next_second().await;
    team.patch("prod", json!({"spec": {"plan": {"tier": "P2"}}}))
        .await?;
    ready(&team, "prod").await?;
    Ok(())
}

async fn a_credential_of_a_newer_version_stops_only_the_objects_that_use_it(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let crds: Api<CustomResourceDefinition> = Api::all(environment.client.clone());
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/type/enum";
    let types = ["WorkloadIdentity", "ClientSecret", "Telepathy"];
    let newer: json_patch::Patch =
        serde_json::from_value(json!([{"op": "replace", "path": path, "value": types}]))?;
    crds.patch(
        "azurecredentials.serverprotection.dev",
        &PatchParams::default(),
        &Patch::Json::<()>(newer),
    )
    .await?;

    let team = environment.team("newtype").await?;
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    let credentials = team.credentials();
    serverprotection_tests::wait::eventually("a type that is admitted", super::TIMEOUT, || async {
        let newer = json!({"spec": {"type": "Telepathy", "clientSecret": null}});
        credentials.patch(CREDENTIAL, newer).await
    })
    .await?;
    let object = credentials
        .until(CREDENTIAL, "Stalled", "True", super::TIMEOUT)
        .await?;
    let (_, reason, message) = condition_values(&object, "Ready");
    assert_eq!(reason, "Unreadable");
    assert!(message.contains("Upgrade the controller"), "{message}");
    stalled(&team, "prod", "CredentialUnreadable", "Upgrade the controller").await?;

    // Credentials that were created later are known, and used.
    let other = environment.team("besides").await?;
    other.protect("prod", p2()).await?;
    ready(&other, "prod").await?;

    let secret = json!({"secretRef": {"name": SECRET, "key": "client-secret"}});
    let older = json!({"spec": {"type": "ClientSecret", "clientSecret": secret}});
    credentials.patch(CREDENTIAL, older).await?;
    credentials
        .until(CREDENTIAL, "Ready", "True", super::TIMEOUT)
        .await?;
    ready(&team, "prod").await?;
    Ok(())
}

async fn next_second() {
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
}
