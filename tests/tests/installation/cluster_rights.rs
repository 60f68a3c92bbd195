//! The rights that only a controller of all namespaces needs: for the kind ClusterAzureCredential, and labels of namespaces.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use serverprotection_tests::{
    Error,
    controller_process::ControllerProcess,
    emulator::TENANT,
    env::Environment,
    platform::{Platform, only},
    team::{Team, condition},
    users::CONTROLLER_NAMESPACE,
    wait::eventually,
};

use super::{
    rights::{LIMIT, newer_version, ready, stalled},
    roles::Account,
};

pub(super) const ALL_READY: &str = "a controller of all namespaces is ready";
pub(super) const NEW_CLUSTER_CREDENTIAL: &str = "an object waits for its ClusterAzureCredential";
pub(super) const CLUSTER_STATUS: &str = "a ClusterAzureCredential gets a status";
pub(super) const UNREADABLE_CLUSTER: &str = "a ClusterAzureCredential of a newer version is reported";
pub(super) const LABEL: &str = "a label of a namespace grants";

/// What only a controller of all namespaces needs.
pub(super) const NEEDS: [&str; 5] = [
    ALL_READY,
    NEW_CLUSTER_CREDENTIAL,
    CLUSTER_STATUS,
    UNREADABLE_CLUSTER,
    LABEL,
];

/// Runs a controller of all namespaces, lets happen what only that one needs, and returns what worked.
pub(super) async fn life(
    environment: &Environment,
    account: &Account,
) -> Result<BTreeSet<&'static str>, Error> {
    let platform = Platform::create(environment, "rights").await?;
    let team = environment.team_with("granted", platform.owner()).await?;
    let flags = [
        "--operator-namespace",
        CONTROLLER_NAMESPACE,
        "--blocked-retry-interval",
        "1s",
    ];
    let mut controller = account.controller(environment, &team.namespace, &flags)?;
    let works = Box::pin(works(environment, &platform, &team, &mut controller)).await;
    controller.kill().await;
    works
}

async fn works(
    environment: &Environment,
    platform: &Platform<'_>,
    team: &Team<'_>,
    controller: &mut ControllerProcess,
) -> Result<BTreeSet<&'static str>, Error> {
    let mut works = BTreeSet::new();
    if controller.wait_ready(LIMIT).await.is_err() {
        return Ok(works);
    }
    works.insert(ALL_READY);
    let key = format!("example.com/{}", platform.name);
    let grants =
        json!([{"namespaceSelector": {"matchLabels": {&key: "yes"}}, "subscriptions": [team.subscription]}]);
    platform.grant(grants).await?;
    let spec = json!({"plan": {"tier": "P1"}, "credentialRef": platform.reference()});
    team.protect("prod", spec).await?;
    newer_version(environment).await?;
    let credentials = platform.credentials();
    let newer = format!("{}-newer", platform.name);
    let spec = json!({"tenantId": TENANT, "type": "Newer"});
    eventually("a credential of a newer version", LIMIT, || {
        credentials.apply(&newer, spec.clone())
    })
    .await?;
    let has = async |name: &str, type_: &str, reason: &str| {
        let is = |object: &Value| condition(object, type_).is_some_and(|found| found["reason"] == reason);
        credentials.until_holds(name, reason, LIMIT, is).await.is_ok()
    };
    let label = async {
        let denied = stalled(team, "prod", "CredentialNotGranted").await;
        let labelled = platform.label(&team.namespace, json!({&key: "yes"})).await;
        denied && labelled.is_ok() && ready(team, "prod").await
    };
    let (label, status, unreadable, late) = tokio::join!(
        label,
        has(&platform.name, "Ready", "TokenIssued"),
        has(&newer, "Stalled", "Unreadable"),
        late_cluster_credential(environment),
    );
    credentials.delete(&newer, LIMIT).await?;
    let attempts = [
        (LABEL, label),
        (CLUSTER_STATUS, status),
        (UNREADABLE_CLUSTER, unreadable),
        (NEW_CLUSTER_CREDENTIAL, late),
    ];
    works.extend(
        attempts
            .into_iter()
            .filter(|(_, worked)| *worked)
            .map(|(what, _)| what),
    );
    Ok(works)
}

/// An object is reported without its credential, and only the watch of credentials ends that.
async fn late_cluster_credential(environment: &Environment) -> bool {
    let Ok(platform) = Platform::create(environment, "late").await else {
        return false;
    };
    let (Ok(()), Ok(team)) = (
        platform.delete(LIMIT).await,
        environment.team_with("late", platform.owner()).await,
    ) else {
        return false;
    };
    let spec = json!({"plan": {"tier": "P1"}, "credentialRef": platform.reference()});
    let grants = json!([{"namespaceSelector": only(&team.namespace), "subscriptions": [team.subscription]}]);
    team.protect("prod", spec).await.is_ok()
        && stalled(&team, "prod", "CredentialNotGranted").await
        && platform.grant(grants).await.is_ok()
        && ready(&team, "prod").await
}
