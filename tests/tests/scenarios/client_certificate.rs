//! Credentials with a client certificate.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use serverprotection_tests::{
    Error, cases,
    certificates::ClientCertificate,
    env::Environment,
    harness::Case,
    team::{CREDENTIAL, Team, condition},
};

use super::{TIMEOUT, condition_values, credentials::delete_credential, p2, ready, requests, stalled};

/// The Secret of the certificate.
const TLS: &str = "platform-azure-tls";
const HOUR: i64 = 3600;
const YEAR: i64 = 365 * 24 * HOUR;

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        a_client_certificate_signs_in_and_its_expiry_is_shown,
        a_renewed_certificate_is_used_without_a_restart,
        a_certificate_that_cannot_be_used_is_named_with_its_remedy,
        entra_refuses_a_certificate_that_it_does_not_know_or_that_is_revoked,
        an_expired_certificate_makes_the_credential_not_ready,
    ]
}

async fn a_client_certificate_signs_in_and_its_expiry_is_shown(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("certificate").await?;
    delete_credential(&team).await?;
    let certificate = ClientCertificate::valid(-HOUR, YEAR)?;
    register(&team, &[&certificate]).await?;
    store(&team, &certificate).await?;
    apply(&team).await?;
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;

    let object = team.credentials().get(CREDENTIAL).await?;
    assert_eq!(condition_values(&object, "Ready").1, "TokenIssued");
    let expires = object["status"]["certificateExpirationTime"]
        .as_str()
        .unwrap()
        .to_owned();
    let wide = ["get", "azurecredential", "-n", &team.namespace, "-o", "wide"];
    let table = environment.plane.kubectl(&wide).await?;
    assert!(
        table.contains("CERTIFICATE-EXPIRES") && table.contains(&expires),
        "{table}"
    );

    let asked = token_requests(&team).await?;
    assert_eq!(asked.len(), 1, "one token for both: {asked:#?}");
    let line = certificate.key.lines().nth(3).unwrap();
    let log = environment.controller().await.as_ref().unwrap().log();
    for text in [object.to_string(), team.events().await?, log] {
        assert!(
            !text.contains(line) && !text.contains("PRIVATE KEY"),
            "the key is printed"
        );
    }
    Ok(())
}

/// As cert-manager renews it: the Secret changes, and nothing else.
async fn a_renewed_certificate_is_used_without_a_restart(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("renewed").await?;
    delete_credential(&team).await?;
    let (first, second) = (
        ClientCertificate::valid(-HOUR, YEAR)?,
        ClientCertificate::valid(-HOUR, 2 * YEAR)?,
    );
    register(&team, &[&first, &second]).await?;
    store(&team, &first).await?;
    apply(&team).await?;
    team.protect("prod", p2()).await?;
    ready(&team, "prod").await?;
    let before = expiry(&team).await?;
    store(&team, &second).await?;
    // The next reconcile of an object reads the Secret again, because the last read is older than 3 s
    // (--blocked-retry-interval), and the status of the credential follows.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    team.request("prod").await?;
    team.credentials()
        .until_holds(CREDENTIAL, "the new expiry", TIMEOUT, |object| {
            object["status"]["certificateExpirationTime"] != before
        })
        .await?;
    let asked = token_requests(&team).await?;
    let thumbprints: Vec<_> = asked
        .iter()
        .map(|request| &request["body"]["assertion"]["x5t#S256"])
        .collect();
    assert_eq!(asked.len(), 2, "{asked:#?}");
    assert_ne!(thumbprints[0], thumbprints[1]);
    assert!(
        !team.events().await?.contains("Refused"),
        "it never stopped working"
    );
    Ok(())
}

async fn a_certificate_that_cannot_be_used_is_named_with_its_remedy(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("badcert").await?;
    delete_credential(&team).await?;
    let (good, other) = (
        ClientCertificate::valid(-HOUR, YEAR)?,
        ClientCertificate::valid(-HOUR, YEAR)?,
    );
    register(&team, &[&good]).await?;
    apply(&team).await?;
    let named = format!("Secret {}/{TLS}", team.namespace);
    let encrypted = good.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let tls = |certificate: &str, key: &str| ("kubernetes.io/tls", certificate.to_owned(), key.to_owned());
    for (secret, reason, problem, remedy) in [
        (None, "TlsSecretNotFound", "does not exist", "kubernetes.io/tls"),
        (
            Some(("Opaque", good.certificate.clone(), good.key.clone())),
            "TlsSecretNotFound",
            "is not of type kubernetes.io/tls",
            "kubernetes.io/tls",
        ),
        (
            Some(tls("no certificate", &good.key)),
            "ClientCertificateUnreadable",
            "tls.crt",
            "in PEM format",
        ),
        (
            Some(tls(&good.certificate, &encrypted)),
            "ClientKeyEncrypted",
            "tls.key",
            "without a passphrase",
        ),
        (
            Some(tls(&good.certificate, &other.key)),
            "ClientKeyMismatch",
            "tls.key",
            "first one in tls.crt",
        ),
    ] {
        delete_secret(&team).await?;
        if let Some((type_, certificate, key)) = secret {
            store_as(&team, type_, &certificate, &key).await?;
        }
        let message = until_stalled(&team, reason).await?;
        for part in [named.as_str(), problem, remedy] {
            assert!(message.contains(part), "{reason}: {message}");
        }
    }
    let elliptic = ClientCertificate::elliptic()?;
    delete_secret(&team).await?;
    store(&team, &elliptic).await?;
    let message = until_stalled(&team, "ClientKeyNotRsa").await?;
    assert!(message.contains("RSA key"), "{message}");
    let (future, old) = (
        ClientCertificate::valid(HOUR, YEAR)?,
        ClientCertificate::valid(-YEAR, -HOUR)?,
    );
    for (certificate, reason, problem) in [
        (&future, "ClientCertificateNotYetValid", "is not valid before"),
        (&old, "ClientCertificateExpired", "expired at"),
    ] {
        store(&team, certificate).await?;
        let message = until_stalled(&team, reason).await?;
        assert!(message.contains(problem) && message.contains(&named), "{message}");
    }
    assert!(token_requests(&team).await?.is_empty(), "none of them is sent");

    store(&team, &good).await?;
    team.credentials()
        .until(CREDENTIAL, "Ready", "True", TIMEOUT)
        .await?;
    Ok(())
}

async fn entra_refuses_a_certificate_that_it_does_not_know_or_that_is_revoked(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("strangecert").await?;
    delete_credential(&team).await?;
    let (registered, stored) = (
        ClientCertificate::valid(-HOUR, YEAR)?,
        ClientCertificate::valid(-HOUR, YEAR)?,
    );
    register(&team, &[&registered]).await?;
    store(&team, &stored).await?;
    apply(&team).await?;
    team.protect("prod", p2()).await?;
    let message = until_stalled(&team, "ClientCertificateRefused").await?;
    assert!(
        message.contains("AADSTS700027") && message.contains("docs/credentials.md"),
        "{message}"
    );
    stalled(&team, "prod", "AuthenticationFailed", "Register the certificate").await?;
    assert!(requests(&team).await?.is_empty(), "no call without a token");

    let revoked = json!({"keyCredentials": [{"certificatePem": stored.certificate, "revoked": true}]});
    environment.emulator.principal(&team.client_id, revoked).await?;
    let message = until_stalled(&team, "ClientCertificateRevoked").await?;
    assert!(message.contains("AADSTS7000214"), "{message}");

    register(&team, &[&stored]).await?;
    ready(&team, "prod").await?;
    Ok(())
}

/// It is said before, and noticed when it happens, although the token is valid for longer.
async fn an_expired_certificate_makes_the_credential_not_ready(
    environment: Arc<Environment>,
) -> Result<(), Error> {
    let team = environment.team("expiring").await?;
    delete_credential(&team).await?;
    let certificate = ClientCertificate::valid(-HOUR, 12)?;
    register(&team, &[&certificate]).await?;
    store(&team, &certificate).await?;
    apply(&team).await?;
    let credentials = team.credentials();
    credentials
        .until_holds(CREDENTIAL, "ClientCertificateExpiresSoon", TIMEOUT, |object| {
            condition(object, "Ready").is_some_and(|ready| {
                ready["status"] == "True" && ready["reason"] == "ClientCertificateExpiresSoon"
            })
        })
        .await?;
    team.until_events(&["ClientCertificateExpiresSoon"], TIMEOUT)
        .await?;
    let message = until_stalled(&team, "ClientCertificateExpired").await?;
    assert!(message.contains("Renew the certificate"), "{message}");

    let renewed = ClientCertificate::valid(-HOUR, YEAR)?;
    register(&team, &[&renewed]).await?;
    store(&team, &renewed).await?;
    credentials.until(CREDENTIAL, "Ready", "True", TIMEOUT).await?;
    Ok(())
}

/// Registers these certificates, and no others, with the team's application.
async fn register(team: &Team<'_>, certificates: &[&ClientCertificate]) -> Result<(), Error> {
    let all: Vec<_> = certificates
        .iter()
        .map(|one| json!({"certificatePem": one.certificate}))
        .collect();
    let change = json!({"keyCredentials": all});
    team.environment
        .emulator
        .principal(&team.client_id, change)
        .await?;
    Ok(())
}

async fn store(team: &Team<'_>, certificate: &ClientCertificate) -> Result<(), Error> {
    store_as(
        team,
        "kubernetes.io/tls",
        &certificate.certificate,
        &certificate.key,
    )
    .await
}

async fn store_as(team: &Team<'_>, type_: &str, certificate: &str, key: &str) -> Result<(), Error> {
    let secrets: Api<Secret> = Api::namespaced(team.environment.client.clone(), &team.namespace);
    let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": TLS}, "type": type_,
        "stringData": {"tls.crt": certificate, "tls.key": key}});
    let applied = PatchParams::apply("a-user").force();
    secrets.patch(TLS, &applied, &Patch::Apply(body)).await?;
    Ok(())
}

async fn delete_secret(team: &Team<'_>) -> Result<(), Error> {
    let secrets: Api<Secret> = Api::namespaced(team.environment.client.clone(), &team.namespace);
    match secrets.delete(TLS, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => Ok(other.map(drop)?),
    }
}

async fn apply(team: &Team<'_>) -> Result<(), Error> {
    team.apply_credential(
        json!({"type": "ClientCertificate", "clientCertificate": {"secretRef": {"name": TLS}}}),
    )
    .await
}

/// Waits until the AzureCredential is Stalled for this reason. Returns the message.
async fn until_stalled(team: &Team<'_>, reason: &str) -> Result<String, Error> {
    let credentials = team.credentials();
    let object = credentials
        .until_holds(CREDENTIAL, reason, TIMEOUT, |object| {
            condition(object, "Stalled").is_some_and(|stalled| stalled["reason"] == reason)
        })
        .await?;
    assert_eq!(condition_values(&object, "Ready").0, "False");
    Ok(condition_values(&object, "Stalled").2.to_owned())
}

async fn expiry(team: &Team<'_>) -> Result<Value, Error> {
    let object = team.credentials().get(CREDENTIAL).await?;
    Ok(object["status"]["certificateExpirationTime"].clone())
}

/// The token requests with an assertion. Each team starts with a client secret.
async fn token_requests(team: &Team<'_>) -> Result<Vec<Value>, Error> {
    let mut all = team.environment.emulator.requests_of(&team.client_id).await?;
    all.retain(|request| request["body"]["credential"] == "client_assertion");
    Ok(all)
}
