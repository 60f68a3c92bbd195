//! What Entra needs for an AzureCredential with a client certificate.

use serverprotection_api::{AzureCredentialSpec, CredentialType};

/// The commands that register the certificate with the application; `None` for other types. `shown` is
/// NAMESPACE/NAME. Admission has checked the spec, so its names need no quotes in a shell.
pub(super) fn render(shown: &str, namespace: &str, spec: &AzureCredentialSpec) -> Option<String> {
    let certificate = spec.client_certificate.as_ref();
    let secret = certificate.filter(|_| spec.type_ == CredentialType::ClientCertificate)?;
    let name = &secret.secret_ref.name;
    let is_plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    let namespace = match namespace {
        "" => String::new(),
        plain if plain.chars().all(is_plain) => format!(" -n {plain}"),
        _ => " -n NAMESPACE".to_owned(),
    };
    Some(format!(
        "AzureCredential {shown}: prerequisites of the application {client} in Entra\n\
         \n\
         [ ] Certificate of Secret {name}, and each renewed one before the old one expires\n    \
             kubectl get secret{namespace} {name} -o jsonpath='{{.data.tls\\.crt}}' | base64 -d > tls.crt\n    \
             az ad app credential reset --id {client} --cert @tls.crt --append",
        client = spec.client_id,
    ))
}
