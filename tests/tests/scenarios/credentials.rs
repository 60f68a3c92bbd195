//! Credentials: each error has its own message, and recovery needs no restart.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{Secret, ServiceAccount},
        rbac::v1::RoleBinding,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    emulator::TENANT,
    env::Environment,
    grants,
    harness::Case,
    team::{CREDENTIAL, SECRET},
    users::CONTROLLER,
    wait::eventually,
};

use super::{TIMEOUT, condition_values, p2, ready, reconcile, requests, stalled};

/// An application that owns every subscription of the tenant. Its credentials are in the controller's environment.
const AMBIENT: &str = "a3b1e47e-0000-4000-8000-00000000a3b1";
const AMBIENT_SECRET: &str = "ambient-secret";

/// Credentials that a pod or a node may have, in all cases. None of them may ever be used.
pub(crate) fn ambient() -> Vec<(String, String)> {
    [
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_ID", AMBIENT),
        ("AZURE_CLIENT_SECRET", AMBIENT_SECRET),
        (
            "AZURE_FEDERATED_TOKEN_FILE",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        a_wrong_secret_stalls_and_its_rotation_is_picked_up,
        a_wrong_tenant_stalls,
        an_unknown_client_stalls,
        missing_references_are_named,
        a_secret_is_read_only_where_the_namespace_lets_the_controller,
        an_object_without_a_credential_is_rejected_or_stalls,
        no_credential_but_its_own_is_used,
        workload_identity_works_through_the_service_account,
        a_missing_service_account_is_named_in_one_sentence,
        entras_codes_have_their_own_actions,
    ]
}

async fn a_wrong_secret_stalls_and_its_rotation_is_picked_up(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("secret").await?;
    team.recreate_credential("wrong").await?;
    team.protect("prod", p2()).await?;
    let object = stalled(&team, "prod", "AuthenticationFailed", "valid client secret").await?;
    assert_eq!(condition_values(&object, "CredentialReady").0, "False");
    assert!(
        !object.to_string().contains("\"wrong\""),
        "the secret is nowhere in the object"
    );
    assert!(requests(&team).await?.is_empty(), "no call without a token");
    team.set_secret(&format!("{}-secret", team.namespace)).await?;
    let object = ready(&team, "prod").await?;
    assert_eq!(condition_values(&object, "CredentialReady").0, "True");
    Ok(())
}

async fn a_wrong_tenant_stalls(environment: Arc<Environment>) -> Result<(), Error> {
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

async fn an_unknown_client_stalls(environment: Arc<Environment>) -> Result<(), Error> {
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

async fn missing_references_are_named(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("missing").await?;
    team.protect(
        "prod",
        json!({"plan": {"tier": "P1"}, "credentialRef": {"name": "other"}}),
    )
    .await?;
    stalled(&team, "prod", "CredentialNotFound", "other").await?;
    let secrets: Api<Secret> = Api::namespaced(environment.client.clone(), &team.namespace);
    secrets
        .delete(SECRET, &kube::api::DeleteParams::default())
        .await?;
    team.patch("prod", json!({"spec": {"credentialRef": {"name": "platform"}}}))
        .await?;
    let absent = stalled(&team, "prod", "SecretNotFound", SECRET).await?;
    // A Secret without the key looks the same: who may not read Secrets does not learn which of the two it is.
    let other = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET},
        "stringData": {"other": "x"}});
    let applied = PatchParams::apply("a-user").force();
    secrets.patch(SECRET, &applied, &Patch::Apply(other)).await?;
    let without_key = reconcile(&team, "prod").await?;
    assert_eq!(
        condition_values(&without_key, "Stalled"),
        condition_values(&absent, "Stalled")
    );
    team.set_secret(&format!("{}-secret", team.namespace)).await?;
    ready(&team, "prod").await?;
    Ok(())
}

/// The namespace grants the right to read its Secrets, and without it the condition names the `ClusterRole`.
async fn a_secret_is_read_only_where_the_namespace_lets_the_controller(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("ungranted").await?;
    // A token that was got before stays valid.
    delete_credential(&team).await?;
    let bindings: Api<RoleBinding> = Api::namespaced(environment.client.clone(), &team.namespace);
    bindings
        .delete(grants::SECRET_READER, &kube::api::DeleteParams::default())
        .await?;
    let secrets: Api<Secret> = Api::namespaced(environment.plane.client(CONTROLLER).await?, &team.namespace);
    eventually("the controller without the right", TIMEOUT, || async {
        match secrets.get(SECRET).await {
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(()),
            other => Err(format!("{:?}", other.map(drop))),
        }
    })
    .await?;
    team.apply_client_secret().await?;
    team.protect("prod", p2()).await?;
    stalled(&team, "prod", "SecretForbidden", grants::SECRET_READER).await?;
    grants::secrets(&environment.client, &team.namespace).await?;
    ready(&team, "prod").await?;
    Ok(())
}

/// The schema requires credentialRef. An object that an older schema admitted gets no identity at all.
async fn an_object_without_a_credential_is_rejected_or_stalls(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("none").await?;
    let protections = team.protections();
    let without = |subscription: &str| json!({"subscriptionId": subscription, "plan": {"tier": "P1"}});
    let refusal = protections
        .apply("alone", without(&team.subscription))
        .await
        .unwrap_err();
    assert!(
        refusal.to_string().contains("spec.credentialRef: Required value"),
        "{refusal}"
    );
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    let removal = json!({"spec": {"credentialRef": null}});
    let refusal = team.patch("prod", removal).await.unwrap_err();
    assert!(
        refusal.to_string().contains("spec.credentialRef: Required value"),
        "{refusal}"
    );

    // As in the older definition.
    let required = set_required(&environment, |name| name != "credentialRef").await?;
    let other = team.another_subscription(Value::Null).await?;
    eventually("an object that is admitted without a credential", TIMEOUT, || {
        protections.apply("alone", without(&other))
    })
    .await?;
    // Azure matches the spec already, so adoption reduces nothing.
    let mut successor = p2();
    successor["subscriptionId"] = json!(team.subscription);
    protections.apply("second", successor).await?;
    let object = stalled(&team, "alone", "CredentialMissing", "Set spec.credentialRef").await?;
    assert_eq!(condition_values(&object, "CredentialReady").0, "False");
    // It cannot prove that it may write, so it neither waits nor takes the subscription.
    let second = stalled(&team, "second", "CredentialMissing", "Set spec.credentialRef").await?;
    assert_eq!(condition_values(&second, "Claimed").1, "AccessDenied");
    // A connector waits for its ServerProtection, which can own nothing without a credential.
    team.connect("account", json!({"protectionRef": {"name": "alone"}}))
        .await?;
    let connectors = team.connectors();
    let connector = connectors
        .until("account", "Reconciling", "True", TIMEOUT)
        .await?;
    let (_, reason, message) = condition_values(&connector, "Reconciling");
    assert_eq!(reason, "AwaitingProtection");
    assert!(message.contains("ServerProtection alone"), "{message}");

    // The current definition: an object stored without the field can be annotated and deleted, and the next edit must
    // set the field.
    set_required(&environment, |name| required.iter().any(|known| known == name)).await?;
    let mut minutes = 10;
    eventually("an edit that is refused", TIMEOUT, || {
        // The API server does not check a field again that an edit does not change, so each attempt is another edit.
        minutes += 1;
        let edit = json!({"spec": {"interval": format!("{minutes}m")}});
        let attempt = team.patch("alone", edit);
        async move {
            match attempt.await {
                Ok(_) => Err("it was taken".to_owned()),
                Err(refusal) if refusal.to_string().contains("spec.credentialRef: Required value") => Ok(()),
                Err(other) => Err(other.to_string()),
            }
        }
    })
    .await?;
    team.request("alone").await?;
    team.delete("prod", TIMEOUT).await?;
    let second = reconcile(&team, "second").await?;
    assert_eq!(condition_values(&second, "Claimed").1, "AccessDenied");
    assert!(
        environment.emulator.requests(&other).await?.is_empty(),
        "no identity, no request"
    );
    connectors.delete("account", TIMEOUT).await?;
    team.delete("alone", TIMEOUT).await?;
    let reference = json!({"spec": {"credentialRef": {"name": CREDENTIAL}}});
    let fixed = team.patch("second", reference).await?;
    assert_eq!(fixed["spec"]["credentialRef"]["kind"], "AzureCredential");
    ready(&team, "second").await?;
    Ok(())
}

/// Keeps only these fields required. Returns the previous list.
async fn set_required(
    environment: &Environment,
    expected: impl Fn(&str) -> bool,
) -> Result<Vec<String>, Error> {
    let crds: Api<CustomResourceDefinition> = Api::all(environment.client.clone());
    let name = "serverprotections.serverprotection.dev";
    let crd = serde_json::to_value(crds.get(name).await?)?;
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/required";
    let before: Vec<String> = serde_json::from_value(crd.pointer(path).cloned().unwrap_or_default())?;
    let mut after: Vec<&str> = before
        .iter()
        .map(String::as_str)
        .chain(["credentialRef"])
        .collect();
    after.sort_unstable();
    after.dedup();
    after.retain(|name| expected(name));
    let change: json_patch::Patch =
        serde_json::from_value(json!([{"op": "replace", "path": path, "value": after}]))?;
    crds.patch(name, &PatchParams::default(), &Patch::Json::<()>(change))
        .await?;
    Ok(before)
}

/// An object uses the credential that it names in its own namespace, or none: neither a credential of another
/// namespace nor one in the controller's environment replaces it.
async fn no_credential_but_its_own_is_used(environment: Arc<Environment>) -> Result<(), Error> {
    let owner = json!({"clientId": AMBIENT, "tenantId": TENANT, "secrets": [AMBIENT_SECRET],
        "roleAssignments": {"*": ["Owner"]}});
    environment.emulator.seed(json!({"principals": [owner]})).await?;
    let victim = environment.team("victim").await?;
    victim.protect("prod", p2()).await?;
    ready(&victim, "prod").await?;

    let team = environment.team("foreign").await?;
    delete_credential(&team).await?;
    let theirs = victim.another_subscription(Value::Null).await?;
    let spec = json!({"subscriptionId": theirs, "plan": {"tier": "P1"}});
    team.protect("loot", spec).await?;
    let says = format!("AzureCredential {}/{CREDENTIAL} does not exist", team.namespace);
    stalled(&team, "loot", "CredentialNotFound", &says).await?;
    team.set_secret("wrong").await?;
    team.apply_client_secret().await?;
    stalled(&team, "loot", "AuthenticationFailed", "valid client secret").await?;
    assert!(
        environment.emulator.requests(&theirs).await?.is_empty(),
        "no identity, no request"
    );
    let ambient = environment.emulator.requests_of(AMBIENT).await?;
    assert!(
        ambient.is_empty(),
        "the controller's environment was used: {ambient:#?}"
    );
    Ok(())
}

async fn workload_identity_works_through_the_service_account(
    environment: Arc<Environment>,
) -> Result<(), Error> {
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
    // The namespace does not let the service account be used yet.
    stalled(
        &team,
        "prod",
        "ServiceAccountNotGranted",
        "deploy/samples/workload-identity",
    )
    .await?;
    grants::use_of(&environment.client, &team.namespace, "azure").await?;
    // Entra does not know this service account yet.
    stalled(&team, "prod", "AuthenticationFailed", "federated credential").await?;
    let federated = json!({"federatedIdentityCredentials": [{
        "issuer": environment.plane.service_account_issuer(),
        "subject": format!("system:serviceaccount:{}:azure", team.namespace),
        "audiences": ["api://AzureADTokenExchange"],
        "publicKeyPem": environment.plane.service_account_public_key(),
    }]});
    environment.emulator.principal(&team.client_id, federated).await?;
    ready(&team, "prod").await?;
    // The next token request has a new token of the service account.
    let assertions = async || {
        let requests = environment.emulator.requests_of(&team.client_id).await?;
        let ids = requests
            .iter()
            .map(|request| &request["body"]["assertion"]["jti"]);
        let ids = ids.filter_map(Value::as_str).map(str::to_owned);
        Ok::<_, Error>(ids.collect::<BTreeSet<_>>())
    };
    let before = assertions().await?;
    let error = json!({"code": "ExpiredAuthenticationToken", "message": "The access token has expired."});
    let expired = json!({"match": {"kind": "arm", "subscription": team.subscription, "times": 1},
        "action": {"respond": {"status": 401, "body": {"error": error}}}});
    environment.emulator.add_fault(expired).await?;
    reconcile(&team, "prod").await?;
    let after = assertions().await?;
    assert!(after.len() > before.len(), "{before:?}, {after:?}");
    Ok(())
}

async fn a_missing_service_account_is_named_in_one_sentence(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("noaccount").await?;
    team.apply_credential(
        json!({"type": "WorkloadIdentity", "workloadIdentity": {"serviceAccountName": "nobody"}}),
    )
    .await?;
    team.protect("prod", p2()).await?;
    let says = format!(
        "ServiceAccount {}/nobody does not exist. Create the ServiceAccount",
        team.namespace
    );
    let object = stalled(&team, "prod", "ServiceAccountNotFound", &says).await?;
    let text = object["status"].to_string();
    for dump in ["Status {", "ErrorResponse", "Some("] {
        assert!(!text.contains(dump), "{text}");
    }
    assert!(requests(&team).await?.is_empty(), "no call without a token");
    Ok(())
}

async fn entras_codes_have_their_own_actions(environment: Arc<Environment>) -> Result<(), Error> {
    for (code, action) in [
        ("AADSTS7000112", "Enable the application"),
        ("AADSTS53003", "Conditional Access"),
        ("AADSTS700024", "clocks"),
        ("AADSTS500011", "--audience"),
        ("AADSTS700023", "--authority-host"),
    ] {
        let (team, tenant) = super::retry_after::in_own_tenant(&environment, "entracode").await?;
        let description = format!("{code}: Entra's own words.\r\nTrace ID: t\r\nTimestamp: x");
        let body = json!({"error": "invalid_client", "error_description": description});
        let fault = json!({"match": {"kind": "token", "path": tenant},
            "action": {"respond": {"status": 401, "body": body}}});
        let id = environment.emulator.add_fault(fault).await?;
        super::retry_after::move_credential(&team, &tenant).await?;
        team.protect("prod", p2()).await?;
        let object = stalled(&team, "prod", "AuthenticationFailed", action).await?;
        let message = condition_values(&object, "CredentialReady").2;
        assert!(
            message.contains(&format!("{code}: Entra's own words.")),
            "{message}"
        );
        environment.emulator.delete_fault(&id).await?;
        ready(&team, "prod").await?;
    }
    Ok(())
}

pub(super) async fn patch_credential(
    team: &serverprotection_tests::team::Team<'_>,
    patch: serde_json::Value,
) -> Result<(), Error> {
    team.credentials()
        .api
        .patch(CREDENTIAL, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(())
}

pub(super) async fn delete_credential(team: &serverprotection_tests::team::Team<'_>) -> Result<(), Error> {
    team.credentials().delete(CREDENTIAL, TIMEOUT).await
}
