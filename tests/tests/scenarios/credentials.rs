//! Credentials: each fault with its own words, and recovery without a restart.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};
use serde_json::json;
use serverprotection_tests::{
    Error,
    env::Environment,
    harness::{Case, case},
    team::SECRET,
};

use super::{p2, ready, requests, stalled, told};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    vec![
        case("a_wrong_secret_stalls_and_its_rotation_is_picked_up", secret),
        case("a_wrong_tenant_stalls", tenant),
        case("an_unknown_client_stalls", client),
        case("missing_references_are_named", missing),
        case("without_any_identity_it_stalls", none),
        case(
            "workload_identity_works_through_the_service_account",
            workload_identity,
        ),
    ]
}

async fn secret(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("secret").await?;
    team.set_secret("wrong").await?;
    team.protect("prod", p2()).await?;
    let object = stalled(&team, "prod", "AuthenticationFailed", "valid client secret").await?;
    assert_eq!(told(&object, "CredentialReady").0, "False");
    assert!(
        !object.to_string().contains("\"wrong\""),
        "the secret is nowhere in the object"
    );
    assert!(requests(&team).await?.is_empty(), "no call without a token");
    team.set_secret(&format!("{}-secret", team.namespace)).await?;
    let object = ready(&team, "prod").await?;
    assert_eq!(told(&object, "CredentialReady").0, "True");
    Ok(())
}

async fn tenant(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("tenant").await?;
    let unknown = json!({"spec": {"tenantId": "99999999-9999-9999-9999-999999999999"}});
    patch_credential(&team, unknown).await?;
    team.protect("prod", p2()).await?;
    stalled(&team, "prod", "AuthenticationFailed", "tenantId").await?;
    patch_credential(
        &team,
        json!({"spec": {"tenantId": serverprotection_tests::emulator::TENANT}}),
    )
    .await?;
    ready(&team, "prod").await?;
    Ok(())
}

async fn client(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("client").await?;
    patch_credential(
        &team,
        json!({"spec": {"clientId": "99999999-9999-9999-9999-999999999999"}}),
    )
    .await?;
    team.protect("prod", p2()).await?;
    stalled(&team, "prod", "AuthenticationFailed", "clientId").await?;
    Ok(())
}

async fn missing(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("missing").await?;
    team.protect(
        "prod",
        json!({"plan": {"tier": "P1"}, "credentialRef": {"name": "other"}}),
    )
    .await?;
    stalled(&team, "prod", "CredentialNotFound", "other").await?;
    let secrets: Api<k8s_openapi::api::core::v1::Secret> =
        Api::namespaced(environment.client.clone(), &team.namespace);
    secrets
        .delete(SECRET, &kube::api::DeleteParams::default())
        .await?;
    team.patch("prod", json!({"spec": {"credentialRef": {"name": "platform"}}}))
        .await?;
    stalled(&team, "prod", "SecretNotFound", SECRET).await?;
    team.set_secret(&format!("{}-secret", team.namespace)).await?;
    ready(&team, "prod").await?;
    Ok(())
}

async fn none(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("none").await?;
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    team.patch("prod", json!({"spec": {"credentialRef": null}}))
        .await?;
    stalled(&team, "prod", "CredentialMissing", "credentialRef").await?;
    Ok(())
}

async fn workload_identity(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("workload").await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(environment.client.clone(), &team.namespace);
    let account = ServiceAccount {
        metadata: ObjectMeta {
            name: Some("azure".into()),
            ..ObjectMeta::default()
        },
        ..ServiceAccount::default()
    };
    accounts.create(&PostParams::default(), &account).await?;
    team.apply_credential(
        json!({"type": "WorkloadIdentity", "workloadIdentity": {"serviceAccountName": "azure"}}),
    )
    .await?;
    team.protect("prod", p2()).await?;
    // Entra does not know this service account yet.
    stalled(&team, "prod", "AuthenticationFailed", "federated credential").await?;
    let federated = json!({"federatedCredentials": [{
        "issuer": environment.plane.service_account_issuer(),
        "subject": format!("system:serviceaccount:{}:azure", team.namespace),
        "audience": "api://AzureADTokenExchange",
        "publicKeyPem": environment.plane.service_account_public_key(),
    }]});
    environment.emulator.principal(&team.client_id, federated).await?;
    ready(&team, "prod").await?;
    Ok(())
}

pub(super) async fn patch_credential(
    team: &serverprotection_tests::team::Team<'_>,
    patch: serde_json::Value,
) -> Result<(), Error> {
    use kube::{
        api::{Patch, PatchParams},
        core::{ApiResource, DynamicObject, GroupVersionKind},
    };
    let kind = GroupVersionKind::gvk("serverprotection.dev", "v1alpha1", "AzureCredential");
    let kind = ApiResource::from_gvk_with_plural(&kind, "azurecredentials");
    let api: Api<DynamicObject> =
        Api::namespaced_with(team.environment.client.clone(), &team.namespace, &kind);
    api.patch("platform", &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(())
}
