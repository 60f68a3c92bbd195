//! Credentials that need a real cluster: tokens of its own issuer, and the address of the metadata service.

use crate::{TIMEOUT, setting::Cluster, tenant::Tenant};
use serde_json::{Value, json};
use serverprotection_tests::{Error, cases, grants, harness::Case, objects::condition};
use std::{sync::Arc, time::Duration};

/// Service account that proves the identity of a tenant.
const ACCOUNT: &str = "serverprotection-azure";

pub(crate) fn cases() -> Vec<Case<Cluster>> {
    cases![
        workload_identity_works_with_the_issuer_of_the_cluster,
        managed_identity_works_through_the_address_of_the_metadata_service,
    ]
}

async fn workload_identity_works_with_the_issuer_of_the_cluster(cluster: Arc<Cluster>) -> Result<(), Error> {
    cluster.release.install(1, json!({})).await?;
    let tenant = Tenant::create(&cluster, "workload").await?;
    tenant.service_account(ACCOUNT).await?;
    grants::use_of(&cluster.client, &tenant.namespace, ACCOUNT).await?;
    // Entra reads the issuer's keys from its discovery document; here they are given to the emulator.
    let discovery = raw(&cluster, "/.well-known/openid-configuration").await?;
    let issuer = discovery.get("issuer").cloned().unwrap_or_default();
    let trust = |jwks: Value| {
        let subject = format!("system:serviceaccount:{}:{ACCOUNT}", tenant.namespace);
        json!({"federatedIdentityCredentials": [{"issuer": issuer, "subject": subject, "jwks": jwks}]})
    };
    let change = |jwks| cluster.emulator.principal(&tenant.client_id, trust(jwks));
    change(json!({"keys": []})).await?;
    tenant
        .credential(json!({"type": "WorkloadIdentity", "workloadIdentity": {"serviceAccountName": ACCOUNT}}))
        .await?;
    tenant.protect("prod", json!({})).await?;
    // Without the keys of the cluster the token proves nothing.
    let refused = tenant
        .protections()
        .until("prod", "Stalled", "True", TIMEOUT)
        .await?;
    let stalled = condition(&refused, "Stalled")
        .map(Value::to_string)
        .unwrap_or_default();
    if !stalled.contains("AADSTS50027") {
        return Err(Error::Other(format!("stalled for another reason: {stalled}")));
    }
    change(raw(&cluster, "/openid/v1/jwks").await?).await?;
    // A refused credential is not tried again for 15 s.
    tokio::time::sleep(Duration::from_secs(16)).await;
    tenant.protections().request("prod").await?;
    tenant
        .protections()
        .until("prod", "Ready", "True", TIMEOUT)
        .await?;
    Ok(())
}

async fn managed_identity_works_through_the_address_of_the_metadata_service(
    cluster: Arc<Cluster>,
) -> Result<(), Error> {
    cluster.release.install(1, json!({})).await?;
    let tenant = Tenant::create(&cluster, "managed").await?;
    tenant.cluster_credential().await?;
    tenant.protect("prod", tenant.cluster_reference()).await?;
    // Nothing is assigned to the machine yet.
    let refused = tenant
        .protections()
        .until("prod", "Ready", "False", TIMEOUT)
        .await?;
    let ready = condition(&refused, "Ready")
        .map(Value::to_string)
        .unwrap_or_default();
    if !ready.contains("dentity") {
        return Err(Error::Other(format!("not ready for another reason: {ready}")));
    }
    tenant.assign_to_machine().await?;
    // A refused credential is not tried again for 15 s.
    tokio::time::sleep(Duration::from_secs(16)).await;
    tenant.protections().request("prod").await?;
    tenant
        .protections()
        .until("prod", "Ready", "True", TIMEOUT)
        .await?;
    Ok(())
}

async fn raw(cluster: &Cluster, path: &str) -> Result<Value, Error> {
    Ok(serde_json::from_str(
        &cluster.kubectl.run(&["get", "--raw", path]).await?,
    )?)
}
