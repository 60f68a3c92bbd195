//! Secrets that prove who an Azure application is: reads one by name, and makes the identity from it.

use std::sync::Arc;

use azure_core::credentials::Secret as AzureSecret;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use serverprotection_api::{SecretKeyRef, TlsSecretRef};
use serverprotection_azure::{ClientCertificate, Identity};
use serverprotection_core::azure_error::{AzureError, ErrorClass};
use zeroize::Zeroize;

use crate::{credentials::GRANT_DELAY, kube_error::described};

/// The type of a Secret with a certificate and its private key.
const TLS: &str = "kubernetes.io/tls";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// Which part of which Secret a credential needs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SecretSource<'a> {
    ClientSecret(&'a SecretKeyRef),
    ClientCertificate(&'a TlsSecretRef),
}

/// With what an application proves who it is.
#[derive(Clone)]
pub(crate) enum Proof {
    ClientSecret(AzureSecret),
    ClientCertificate(Arc<ClientCertificate>),
}

impl Proof {
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::ClientSecret(one), Self::ClientSecret(other)) => one.secret() == other.secret(),
            (Self::ClientCertificate(one), Self::ClientCertificate(other)) => one.is_same(other),
            _ => false,
        }
    }

    /// The application of a tenant that proves itself with it.
    pub(crate) fn identity(&self, tenant_id: String, client_id: String) -> Identity {
        match self {
            Self::ClientSecret(secret) => Identity::ClientSecret {
                tenant_id,
                client_id,
                secret: secret.clone(),
            },
            Self::ClientCertificate(certificate) => Identity::ClientCertificate {
                tenant_id,
                client_id,
                certificate: Arc::clone(certificate),
            },
        }
    }
}

/// Reads a Secret once.
///
/// # Errors
///
/// If it cannot be read, or does not contain what the source says.
pub(crate) async fn read(
    client: &Client,
    namespace: &str,
    source: SecretSource<'_>,
) -> Result<Proof, AzureError> {
    let name = match source {
        SecretSource::ClientSecret(reference) => &reference.name,
        SecretSource::ClientCertificate(reference) => &reference.name,
    };
    let mut secret = fetch(client, namespace, name).await?;
    let proof = match source {
        SecretSource::ClientSecret(reference) => client_secret(secret.as_ref(), namespace, reference),
        SecretSource::ClientCertificate(_) => client_certificate(secret.as_ref(), namespace, name),
    };
    let data = secret.as_mut().and_then(|secret| secret.data.as_mut());
    for value in data.into_iter().flat_map(|data| data.values_mut()) {
        value.0.zeroize();
    }
    proof
}

async fn fetch(client: &Client, namespace: &str, name: &str) -> Result<Option<Secret>, AzureError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut answer = secrets.get_opt(name).await;
    if is_forbidden(&answer) {
        tokio::time::sleep(GRANT_DELAY).await;
        answer = secrets.get_opt(name).await;
    }
    match answer {
        Ok(secret) => Ok(secret),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Err(failure(
            "SecretForbidden",
            format!(
                "The controller may not read Secret {namespace}/{name}: {}",
                status.message
            ),
        )),
        Err(error) => {
            let failure = failure(
                "SecretUnreadable",
                format!("Secret {namespace}/{name} cannot be read: {}", described(&error)),
            );
            Err(AzureError {
                class: ErrorClass::Transient,
                ..failure
            })
        }
    }
}

fn client_secret(
    secret: Option<&Secret>,
    namespace: &str,
    reference: &SecretKeyRef,
) -> Result<Proof, AzureError> {
    let SecretKeyRef { name, key } = reference;
    let value = std::str::from_utf8(data(secret, key)).unwrap_or_default().trim();
    if !value.is_empty() {
        return Ok(Proof::ClientSecret(AzureSecret::new(value.to_owned())));
    }
    // Who may not read Secrets does not learn from the object which of them and which keys exist.
    let exists = secret.is_some();
    tracing::warn!(namespace, secret = name, exists, key, "no client secret");
    Err(failure(
        "SecretNotFound",
        format!("Secret {namespace}/{name} does not exist, or its key {key} is missing or empty"),
    ))
}

/// The problems of a certificate and its key are named, although they say that the Secret exists: only a Secret of type
/// `kubernetes.io/tls` is read, whose certificate is public.
fn client_certificate(secret: Option<&Secret>, namespace: &str, name: &str) -> Result<Proof, AzureError> {
    let type_ = secret.and_then(|secret| secret.type_.as_deref());
    let [certificate, key] = [CERTIFICATE, KEY].map(|key| data(secret, key));
    // cert-manager creates the Secret before it has the certificate.
    if type_ != Some(TLS) || certificate.is_empty() || key.is_empty() {
        let exists = secret.is_some();
        let (with_certificate, with_key) = (!certificate.is_empty(), !key.is_empty());
        tracing::warn!(
            namespace,
            secret = name,
            exists,
            type_,
            with_certificate,
            with_key,
            "no client certificate"
        );
        return Err(failure(
            "TlsSecretNotFound",
            format!(
                "Secret {namespace}/{name} does not exist, is not of type {TLS}, or its key {CERTIFICATE} or {KEY} \
                 is missing or empty"
            ),
        ));
    }
    let origin = format!("Secret {namespace}/{name}");
    let read = ClientCertificate::from_pem(&origin, certificate, key);
    let certificate = read.map_err(|error| error.of(&origin, CERTIFICATE, KEY))?;
    Ok(Proof::ClientCertificate(Arc::new(certificate)))
}

fn data<'a>(secret: Option<&'a Secret>, key: &str) -> &'a [u8] {
    let value = secret.and_then(|secret| secret.data.as_ref()?.get(key));
    value.map_or(&[], |value| &value.0)
}

fn is_forbidden<T>(answer: &Result<T, kube::Error>) -> bool {
    matches!(answer, Err(kube::Error::Api(status)) if status.is_forbidden())
}

fn failure(code: &str, message: String) -> AzureError {
    AzureError {
        class: ErrorClass::Credential,
        code: code.into(),
        message,
        operation: String::new(),
        request_id: None,
        effect_unknown: false,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn secret(type_: &str, data: &[(&str, &str)]) -> Secret {
        let data = data.iter().map(|(key, value)| {
            let value = ByteString(value.as_bytes().to_vec());
            ((*key).to_owned(), value)
        });
        Secret {
            type_: Some(type_.into()),
            data: Some(data.collect()),
            ..Secret::default()
        }
    }

    #[test]
    fn a_secret_of_another_type_counts_as_missing() {
        let complete = [("tls.crt", "c"), ("tls.key", "k")];
        let absent = client_certificate(None, "team", "azure").map(drop).unwrap_err();
        assert_eq!(absent.code, "TlsSecretNotFound");
        assert!(
            absent.message.starts_with("Secret team/azure does not exist"),
            "{absent}"
        );
        for other in [
            secret("Opaque", &complete),
            secret(TLS, &[("tls.crt", ""), ("tls.key", "k")]),
            secret(TLS, &[("tls.crt", "c")]),
        ] {
            let failure = client_certificate(Some(&other), "team", "azure")
                .map(drop)
                .unwrap_err();
            assert_eq!(failure, absent);
        }
    }

    #[test]
    fn a_bad_certificate_names_secret_and_key_and_never_their_content() {
        let bad = secret(TLS, &[("tls.crt", "geheim"), ("tls.key", "geheim")]);
        let failure = client_certificate(Some(&bad), "team", "azure")
            .map(drop)
            .unwrap_err();
        assert_eq!(failure.code, "ClientCertificateUnreadable");
        let text = failure.to_message().to_string();
        assert_eq!(
            text,
            "The key tls.crt of Secret team/azure contains no certificate in PEM format. Store the certificate and \
             its RSA private key in PEM format in tls.crt and tls.key."
        );
    }
}
