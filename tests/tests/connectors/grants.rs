//! Connectors of a ServerProtection that uses a ClusterAzureCredential.

use std::sync::Arc;

use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    env::Environment,
    harness::Case,
    platform::{Platform, only},
    team::Team,
};

use super::{PROTECTION, TIMEOUT, event, in_azure, ready, requests, stalled};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        a_private_link_scope_elsewhere_needs_a_grant,
        a_deletion_without_a_grant_leaves_the_connector,
    ]
}

/// A team whose subscription belongs to the platform, which grants it, and its ServerProtection.
async fn granted<'a>(
    environment: &'a Environment,
    name: &str,
    references: Value,
) -> Result<(Platform<'a>, Team<'a>), Error> {
    let platform = Platform::create(environment, name).await?;
    let team = environment.team_with(name, platform.owner()).await?;
    platform.grant(grants(&team, &references)).await?;
    let spec = json!({"plan": {"tier": "P2"}, "credentialRef": platform.reference()});
    team.protect(PROTECTION, spec).await?;
    team.until(PROTECTION, "Ready", "True", TIMEOUT).await?;
    Ok((platform, team))
}

fn grants(team: &Team<'_>, references: &Value) -> Value {
    json!([{"namespaceSelector": only(&team.namespace), "subscriptions": [team.subscription],
        "referencedSubscriptions": references}])
}

async fn a_private_link_scope_elsewhere_needs_a_grant(environment: Arc<Environment>) -> Result<(), Error> {
    const SHARED: &str = "99999999-0000-4000-8000-000000000001";
    let (platform, team) = granted(&environment, "scope", json!([])).await?;
    let id = format!(
        "/subscriptions/{SHARED}/resourceGroups/rg/providers/Microsoft.HybridCompute/privateLinkScopes/pls"
    );
    let spec = json!({"autoProvisioning": {"arcAgent": {"privateLinkScope": id}}});
    team.connect("account", spec).await?;
    stalled(&team, "account", "ReferenceNotGranted", "referencedSubscriptions").await?;
    assert!(requests(&team, "PUT").await?.is_empty());
    platform.grant(grants(&team, &json!([SHARED]))).await?;
    ready(&team, "account").await?;
    Ok(())
}

/// The grant protects the platform's subscription also from deletions. They end all the same.
async fn a_deletion_without_a_grant_leaves_the_connector(environment: Arc<Environment>) -> Result<(), Error> {
    let (platform, team) = granted(&environment, "left", json!([])).await?;
    team.connect("account", json!({"deletionPolicy": "Delete"}))
        .await?;
    ready(&team, "account").await?;
    platform.grant(json!([])).await?;
    let what = "CredentialNotGranted";
    team.until_holds(PROTECTION, what, TIMEOUT, |object| {
        object.to_string().contains("CredentialNotGranted")
    })
    .await?;
    team.connectors().delete("account", TIMEOUT).await?;
    assert!(!in_azure(&team, "account").await?.is_null(), "it stays");
    assert!(requests(&team, "DELETE").await?.is_empty());
    event(&team, "account", "ConnectorLeftBehind").await?;
    Ok(())
}
