//! Each right of the controller's `ClusterRole` is needed: without it, something named does not work.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{core::v1::ServiceAccount, events::v1::Event},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use serverprotection_tests::{
    Error,
    controller_process::ControllerProcess,
    emulator::TENANT,
    env::Environment,
    grants,
    harness::{Case, case},
    objects::create,
    team::{CREDENTIAL, SECRET, Team, condition, merge},
    wait::eventually,
};

use super::{
    cluster_rights::{self, ALL_READY, CLUSTER_STATUS, LABEL, NEW_CLUSTER_CREDENTIAL, UNREADABLE_CLUSTER},
    roles::{self, Account},
};

const OURS: &str = "serverprotection.dev";
/// Time limit of what works. What does not work is waited for just as long.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

/// Verb, group, resource with its subresource, and what does not work without the right.
pub(super) type Need = (&'static str, &'static str, &'static str, &'static str);

const READY: &str = "the controller is ready";
const NEW_PROTECTION: &str = "a new ServerProtection becomes Ready";
const NEW_CONNECTOR: &str = "a new SecurityConnector gets a status";
const NEW_CREDENTIAL: &str = "an object waits for its AzureCredential";
const FINALIZER: &str = "a SecurityConnector gets its finalizer";
const UNREADABLE: &str = "an object of a newer version is reported";
const CREDENTIAL_STATUS: &str = "an AzureCredential gets a status";
const UNREADABLE_CREDENTIAL: &str = "an AzureCredential of a newer version is reported";
const WORKLOAD: &str = "a service account proves an identity";
const EVENT: &str = "an event is recorded";
const REPEATED: &str = "an event that repeats is counted";

pub(super) const NEEDS: [Need; 23] = [
    ("get", OURS, "serverprotections", UNREADABLE),
    ("list", OURS, "serverprotections", READY),
    ("watch", OURS, "serverprotections", NEW_PROTECTION),
    ("update", OURS, "serverprotections/status", NEW_PROTECTION),
    ("get", OURS, "securityconnectors", FINALIZER),
    ("list", OURS, "securityconnectors", READY),
    ("watch", OURS, "securityconnectors", NEW_CONNECTOR),
    ("patch", OURS, "securityconnectors", FINALIZER),
    ("update", OURS, "securityconnectors/status", NEW_CONNECTOR),
    ("get", OURS, "azurecredentials", UNREADABLE_CREDENTIAL),
    ("update", OURS, "azurecredentials/status", CREDENTIAL_STATUS),
    ("list", OURS, "azurecredentials", READY),
    ("watch", OURS, "azurecredentials", NEW_CREDENTIAL),
    ("list", OURS, "clusterazurecredentials", ALL_READY),
    ("watch", OURS, "clusterazurecredentials", NEW_CLUSTER_CREDENTIAL),
    ("update", OURS, "clusterazurecredentials/status", CLUSTER_STATUS),
    ("get", OURS, "clusterazurecredentials", UNREADABLE_CLUSTER),
    ("list", "", "namespaces", ALL_READY),
    ("watch", "", "namespaces", LABEL),
    ("create", "", "serviceaccounts/token", WORKLOAD),
    ("obey", "policies.serverprotection.dev", "controllers", READY),
    ("create", "events.k8s.io", "events", EVENT),
    ("patch", "events.k8s.io", "events", REPEATED),
];

pub(crate) fn cases() -> Vec<Case<Environment>> {
    let each = NEEDS.into_iter().map(|need| {
        let (verb, _, resource, what) = need;
        let name = format!("without_{verb}_on_{resource}");
        let all_namespaces = cluster_rights::NEEDS.contains(&what);
        let case = case(&name, move |environment| {
            without(environment, need, all_namespaces)
        });
        if all_namespaces { case.alone() } else { case }
    });
    std::iter::once(case("every_right_is_listed_and_everything_works", everything).alone())
        .chain(each)
        .collect()
}

/// The role grants exactly the rights that are tested here, and with them everything works.
async fn everything(environment: Arc<Environment>) -> Result<(), Error> {
    let granted = roles::granted(&environment).await?;
    let tested = NEEDS.map(|(verb, group, resource, _)| format!("{verb} {group}/{resource}"));
    assert_eq!(granted, BTreeSet::from(tested), "one need for each right");
    let account = Account::of_the_controller(&environment)?;
    let mut works = Box::pin(life(&environment, &account)).await?;
    works.extend(Box::pin(cluster_rights::life(&environment, &account)).await?);
    let all = NEEDS.map(|(.., what)| what);
    assert_eq!(works, BTreeSet::from(all));
    Ok(())
}

/// Every case has an account of its own. Controllers of one namespace run side by side, one of all namespaces runs alone.
async fn without(environment: Arc<Environment>, need: Need, all_namespaces: bool) -> Result<(), Error> {
    let account = Account::without(&environment, need).await?;
    let works = if all_namespaces {
        Box::pin(cluster_rights::life(&environment, &account)).await?
    } else {
        Box::pin(life(&environment, &account)).await?
    };
    needed(need, &works)
}

/// Fails if something works that the right is for, or if the controller did nothing, which would prove nothing.
fn needed((.., what): Need, works: &BTreeSet<&'static str>) -> Result<(), Error> {
    if works.contains(what) {
        return Err(Error::Other(format!(
            "the right is not needed for: {what}\nworks: {works:#?}"
        )));
    }
    if ![READY, ALL_READY].contains(&what) && works.len() < 2 {
        return Err(Error::Other(format!("nothing else works either: {works:?}")));
    }
    Ok(())
}

/// Runs a controller, lets happen what needs its rights, and returns what worked.
async fn life(environment: &Environment, account: &Account) -> Result<BTreeSet<&'static str>, Error> {
    let team = environment.team("rights").await?;
    grants::secrets_for(&environment.client, &team.namespace, &account.name).await?;
    let flags = [
        "--watch-namespace",
        &team.namespace,
        "--blocked-retry-interval",
        "1s",
    ];
    let mut controller = account.controller(environment, &team.namespace, &flags)?;
    let works = Box::pin(works(environment, &team, &mut controller)).await;
    controller.kill().await;
    works
}

async fn works(
    environment: &Environment,
    team: &Team<'_>,
    controller: &mut ControllerProcess,
) -> Result<BTreeSet<&'static str>, Error> {
    let mut works = BTreeSet::new();
    if controller.wait_ready(LIMIT).await.is_err() {
        return Ok(works);
    }
    works.insert(READY);
    begin(environment, team).await?;
    let prod = async {
        let ready = ready(team, "prod").await;
        (ready, repeated(team).await)
    };
    let (prod, late, workload, newer, status, finalizer, event, used, unreadable) = tokio::join!(
        prod,
        late_credential(team),
        ready(team, "workload"),
        stalled(team, "newer", "Unreadable"),
        connector(team, |object| condition(object, "Ready").is_some()),
        connector(team, |object| object["metadata"]["finalizers"][0]
            == "serverprotection.dev/azure"),
        event(team, |_| true),
        credential_has(team, CREDENTIAL, "Ready", "TokenIssued"),
        credential_has(team, "newer", "Stalled", "Unreadable"),
    );
    let attempts = [
        (NEW_PROTECTION, prod.0),
        (REPEATED, prod.1),
        (NEW_CREDENTIAL, late),
        (WORKLOAD, workload),
        (UNREADABLE, newer),
        (NEW_CONNECTOR, status),
        (FINALIZER, finalizer),
        (EVENT, event),
        (CREDENTIAL_STATUS, used),
        (UNREADABLE_CREDENTIAL, unreadable),
    ];
    works.extend(
        attempts
            .into_iter()
            .filter(|(_, worked)| *worked)
            .map(|(what, _)| what),
    );
    Ok(works)
}

/// Creates the objects, after the start so that only a watch delivers them.
async fn begin(environment: &Environment, team: &Team<'_>) -> Result<(), Error> {
    let accounts: Api<ServiceAccount> = Api::namespaced(team.environment.client.clone(), &team.namespace);
    create(&accounts, json!({"metadata": {"name": "azure"}})).await?;
    grants::use_of(&team.environment.client, &team.namespace, "azure").await?;
    let federated = json!({"federatedIdentityCredentials": [{
        "issuer": environment.plane.service_account_issuer(),
        "subject": format!("system:serviceaccount:{}:azure", team.namespace),
        "audiences": ["api://AzureADTokenExchange"],
        "publicKeyPem": environment.plane.service_account_public_key(),
    }]});
    environment.emulator.principal(&team.client_id, federated).await?;
    let workload = json!({"type": "WorkloadIdentity", "workloadIdentity": {"serviceAccountName": "azure"}});
    credential(team, "workload", workload).await?;

    team.protect("prod", json!({"plan": {"tier": "P2"}})).await?;
    for (name, credential) in [("workload", "workload"), ("late", "late")] {
        let subscription = team.another_subscription(Value::Null).await?;
        let spec = json!({"subscriptionId": subscription, "plan": {"tier": "P1"},
            "credentialRef": {"name": credential}});
        team.protect(name, spec).await?;
    }
    newer_version(environment).await?;
    let subscription = team.another_subscription(Value::Null).await?;
    eventually("an object of a newer version", LIMIT, || {
        team.protect(
            "newer",
            json!({"subscriptionId": subscription, "plan": {"tier": "P4"}}),
        )
    })
    .await?;
    eventually("a credential of a newer version", LIMIT, || {
        credential(team, "newer", json!({"type": "ManagedIdentity"}))
    })
    .await?;
    team.connect("aws", json!({"deletionPolicy": "Delete"})).await?;
    Ok(())
}

async fn credential_has(team: &Team<'_>, name: &str, type_: &str, reason: &str) -> bool {
    let is = |object: &Value| condition(object, type_).is_some_and(|found| found["reason"] == reason);
    let found = team.credentials().until_holds(name, reason, LIMIT, is).await;
    found.is_ok()
}

async fn credential(team: &Team<'_>, name: &str, proof: Value) -> Result<(), Error> {
    let mut spec = json!({"tenantId": TENANT, "clientId": team.client_id});
    merge(&mut spec, proof);
    team.credentials().apply(name, spec).await.map(drop)
}

/// Newer definitions have a tier and a type of credential that this build does not know.
pub(super) async fn newer_version(environment: &Environment) -> Result<(), Error> {
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
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/type/enum";
    let types = ["WorkloadIdentity", "ClientSecret", "ManagedIdentity"];
    let newer: json_patch::Patch =
        serde_json::from_value(json!([{"op": "replace", "path": path, "value": types}]))?;
    crds.patch(
        "azurecredentials.serverprotection.dev",
        &PatchParams::default(),
        &Patch::Json::<()>(newer),
    )
    .await?;
    let types = ["WorkloadIdentity", "ClientSecret", "ManagedIdentity", "Newer"];
    let rules = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-validations";
    let newer: json_patch::Patch = serde_json::from_value(
        json!([{"op": "replace", "path": path, "value": types}, {"op": "replace", "path": rules, "value": []}]),
    )?;
    crds.patch(
        "clusterazurecredentials.serverprotection.dev",
        &PatchParams::default(),
        &Patch::Json::<()>(newer),
    )
    .await?;
    Ok(())
}

pub(super) async fn ready(team: &Team<'_>, name: &str) -> bool {
    team.until(name, "Ready", "True", LIMIT).await.is_ok()
}

pub(super) async fn stalled(team: &Team<'_>, name: &str, reason: &str) -> bool {
    let is = |object: &Value| condition(object, "Stalled").is_some_and(|stalled| stalled["reason"] == reason);
    team.until_holds(name, reason, LIMIT, is).await.is_ok()
}

/// The object has waited for its credential by now, and only the watch of credentials ends that.
async fn late_credential(team: &Team<'_>) -> bool {
    let secret = json!({"type": "ClientSecret", "clientSecret": {"secretRef": {"name": SECRET, "key": "client-secret"}}});
    stalled(team, "late", "CredentialNotFound").await
        && credential(team, "late", secret).await.is_ok()
        && ready(team, "late").await
}

async fn connector(team: &Team<'_>, holds: impl Fn(&Value) -> bool) -> bool {
    let connectors = team.connectors();
    let found = connectors.until_holds("aws", "the connector", LIMIT, holds);
    found.await.is_ok()
}

async fn event(team: &Team<'_>, expected: impl Fn(&Event) -> bool) -> bool {
    let events: Api<Event> = Api::namespaced(team.environment.client.clone(), &team.namespace);
    let found = eventually("an event", LIMIT, || async {
        let all = events
            .list(&ListParams::default())
            .await
            .map_err(|error| error.to_string())?;
        if all.items.iter().any(&expected) {
            Ok(())
        } else {
            Err("none".to_owned())
        }
    });
    found.await.is_ok()
}

/// Suspends an object three times.
async fn repeated(team: &Team<'_>) -> bool {
    for suspend in [true, false, true, false, true] {
        if team
            .patch("prod", json!({"spec": {"suspend": suspend}}))
            .await
            .is_err()
        {
            return false;
        }
        let reached = |object: &Value| {
            condition(object, "Suspended").is_some() == suspend
                && object["status"]["observedGeneration"] == object["metadata"]["generation"]
        };
        if team
            .until_holds("prod", "the change", LIMIT, reached)
            .await
            .is_err()
        {
            return false;
        }
    }
    event(team, |event| {
        event.series.as_ref().is_some_and(|series| series.count >= 2)
    })
    .await
}
