//! How the command authenticates to Azure, and what to do if that fails.
#![allow(clippy::doc_markdown)]

use std::{path::Path, sync::Arc};

use clap::ValueEnum;
use serverprotection_azure::{ClientCertificate, Identity};
use serverprotection_core::{
    azure_error::{
        AzureError, DENY_ASSIGNMENT, ErrorClass, IDENTITY_ENDPOINT_UNREACHABLE, INSUFFICIENT_CLAIMS,
    },
    token_cause::TokenCause,
};
use zeroize::Zeroize;

use crate::error::CliError;

const CLIENT_SECRET: &str = "AZURE_CLIENT_SECRET";
const CLIENT_CERTIFICATE: &str = "AZURE_CLIENT_CERTIFICATE_PATH";

/// How to authenticate to Azure.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Auth {
    /// The login of the Azure CLI
    AzureCli,
    /// An application, from AZURE_TENANT_ID, AZURE_CLIENT_ID and either AZURE_CLIENT_SECRET or
    /// AZURE_CLIENT_CERTIFICATE_PATH, a PEM file with a certificate and its RSA private key
    Environment,
    /// Workload identity, from AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_FEDERATED_TOKEN_FILE
    WorkloadIdentity,
    /// The managed identity of this machine; a user-assigned one from AZURE_CLIENT_ID
    ManagedIdentity,
}

/// Where an identity comes from, for the next step of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Auth(Auth),
    /// An AzureCredential in the input: namespace/name.
    Credential(String),
}

impl Auth {
    fn variables(self) -> &'static [&'static str] {
        match self {
            Self::AzureCli | Self::ManagedIdentity => &[],
            Self::Environment => &["AZURE_TENANT_ID", "AZURE_CLIENT_ID", CLIENT_SECRET],
            Self::WorkloadIdentity => &["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"],
        }
    }

    fn flag(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The identity. `is_set` reports whether an environment variable has a value.
    ///
    /// # Errors
    ///
    /// Fails if environment variables are missing, if a tenant is given for an identity that has its own, or if the file
    /// with the certificate cannot be used.
    pub(crate) fn identity(
        self,
        tenant: Option<String>,
        is_set: impl Fn(&str) -> bool,
    ) -> Result<Identity, CliError> {
        if tenant.is_some() && self != Self::AzureCli {
            let of_identity = if self.variables().is_empty() {
                "the tenant of the managed identity applies"
            } else {
                "AZURE_TENANT_ID sets the tenant"
            };
            return Err(
                CliError::new("--tenant-id is only for --auth azure-cli").action(format!(
                    "omit --tenant-id: with --auth {}, {of_identity}",
                    self.flag()
                )),
            );
        }
        let missing: Vec<_> = self
            .variables()
            .iter()
            .copied()
            .filter(|name| !is_set(name))
            .filter(|name| *name != CLIENT_SECRET || !is_set(CLIENT_CERTIFICATE))
            .collect();
        if !missing.is_empty() {
            return Err(CliError::new(format!(
                "--auth {} needs environment variables that are not set: {}",
                self.flag(),
                missing.join(", ")
            ))
            .action("set them, or choose another identity with --auth"));
        }
        Ok(match self {
            Self::AzureCli => Identity::AzureCli { tenant_id: tenant },
            Self::Environment if !is_set(CLIENT_SECRET) => {
                by_certificate(variable(CLIENT_CERTIFICATE).as_ref())?
            }
            Self::Environment => Identity::Environment,
            Self::WorkloadIdentity => Identity::PodWorkloadIdentity,
            Self::ManagedIdentity => Identity::ManagedIdentity {
                client_id: is_set("AZURE_CLIENT_ID").then(|| variable("AZURE_CLIENT_ID")),
            },
        })
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// An application with the certificate and the private key of a PEM file.
fn by_certificate(path: &Path) -> Result<Identity, CliError> {
    let shown = format!("{CLIENT_CERTIFICATE} {}", path.display());
    let mut pem = std::fs::read(path)
        .map_err(|error| CliError::new(format!("{shown} cannot be read")).because(error))?;
    let read = ClientCertificate::from_pem(&shown, &pem, &pem);
    pem.zeroize();
    let certificate = read.map_err(|error| {
        let error = CliError::new(format!("{shown} {error}"));
        error.action(
            "use a file with a certificate and its RSA private key, both in PEM format and not encrypted",
        )
    })?;
    Ok(Identity::ClientCertificate {
        tenant_id: variable("AZURE_TENANT_ID"),
        client_id: variable("AZURE_CLIENT_ID"),
        certificate: Arc::new(certificate),
    })
}

/// What failed and why, in the words of conditions. The request ID is not in it, so that equal failures have equal texts.
pub(crate) fn problem(failure: &AzureError) -> String {
    let failure = AzureError {
        request_id: None,
        ..failure.clone()
    };
    let text = failure.to_message().problem_text();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

/// The next step for a failure. Unlike [`AzureError::hint`], it does not refer to objects of a cluster.
pub(crate) fn hint(origin: &Origin, failure: &AzureError) -> String {
    if let (true, Some(action)) = (is_cured_outside(&failure.code), failure.hint()) {
        return uncapitalized(action);
    }
    match (&failure.class, origin) {
        (ErrorClass::Credential, _) if failure.code == "InvalidAuthenticationTokenTenant" => {
            "the subscription belongs to another tenant: use an identity of that tenant (--tenant-id with --auth azure-cli)".into()
        }
        (ErrorClass::Credential, Origin::Auth(Auth::AzureCli)) => {
            "run az login (needs the Azure CLI; az login --tenant ID for another tenant), or choose another identity with --auth".into()
        }
        (ErrorClass::Credential, Origin::Auth(Auth::Environment)) => {
            "correct AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET (or AZURE_CLIENT_CERTIFICATE_PATH), or choose another identity with --auth".into()
        }
        (ErrorClass::Credential, Origin::Auth(Auth::WorkloadIdentity)) => {
            "correct AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_FEDERATED_TOKEN_FILE and the federated credential of the application".into()
        }
        (_, Origin::Auth(Auth::ManagedIdentity))
            if failure.class == ErrorClass::Credential || failure.code == IDENTITY_ENDPOINT_UNREACHABLE =>
        {
            "run this on an Azure machine with a managed identity, or choose another identity with --auth".into()
        }
        (ErrorClass::Credential, Origin::Credential(name)) => {
            format!("correct AzureCredential {name} and its Secret in the input, or choose another identity with --auth")
        }
        (ErrorClass::Permission(_), _) => {
            "assign the role Reader to the identity there; role assignments take some minutes to take effect".into()
        }
        (ErrorClass::NotFound, _) => {
            "correct the ID, or assign the role Reader to the identity there (az account list shows what it can see)".into()
        }
        _ => failure
            .hint()
            .map_or_else(|| "retry in a few minutes".into(), uncapitalized),
    }
}

/// Whether the action of a code is the same for every source of the identity.
fn is_cured_outside(code: &str) -> bool {
    matches!(
        TokenCause::of(code),
        Some(
            TokenCause::ApplicationDisabled
                | TokenCause::Issuer
                | TokenCause::Clock
                | TokenCause::ConditionalAccess
                | TokenCause::TenantRestriction
        )
    ) || code == INSUFFICIENT_CLAIMS
        || code == DENY_ASSIGNMENT
}

fn uncapitalized(action: &str) -> String {
    let mut letters = action.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_variables_are_named_all_at_once() {
        let error = Auth::Environment
            .identity(None, |name| name == "AZURE_TENANT_ID")
            .unwrap_err();
        for part in ["--auth environment", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"] {
            assert!(error.problem.contains(part), "{error}");
        }
        assert!(!error.problem.contains("AZURE_TENANT_ID"), "{error}");
        assert!(Auth::WorkloadIdentity.identity(None, |_| true).is_ok());
        assert!(Auth::AzureCli.identity(Some("t".into()), |_| false).is_ok());
        let error = Auth::Environment
            .identity(Some("t".into()), |_| true)
            .unwrap_err();
        assert!(error.problem.contains("--tenant-id"), "{error}");
        assert!(
            error
                .action
                .as_ref()
                .is_some_and(|action| action.contains("AZURE_TENANT_ID")),
            "{error}"
        );
    }

    #[test]
    fn a_certificate_replaces_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.pem");
        let error = by_certificate(&path).unwrap_err();
        assert!(error.problem.contains("cannot be read"), "{error}");
        std::fs::write(&path, "geheim").unwrap();
        let error = by_certificate(&path).unwrap_err();
        assert!(error.problem.contains("contains no certificate"), "{error}");
        assert!(!error.to_string().contains("geheim"), "{error}");
        let key =
            rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        std::fs::write(&path, format!("{}{}", key.serialize_pem(), certificate.pem())).unwrap();
        assert!(matches!(
            by_certificate(&path),
            Ok(Identity::ClientCertificate { .. })
        ));
        let missing = Auth::Environment
            .identity(None, |name| name == CLIENT_CERTIFICATE)
            .unwrap_err();
        assert!(!missing.problem.contains(CLIENT_SECRET), "{missing}");
    }

    #[test]
    fn the_next_step_fits_the_identity() {
        let failure = |class| AzureError {
            class,
            code: "X".into(),
            message: String::new(),
            operation: String::new(),
            request_id: None,
            effect_unknown: false,
        };
        for (origin, class, words) in [
            (Origin::Auth(Auth::AzureCli), ErrorClass::Credential, "az login"),
            (
                Origin::Auth(Auth::Environment),
                ErrorClass::Credential,
                "AZURE_CLIENT_SECRET",
            ),
            (Origin::Credential("a/b".into()), ErrorClass::Credential, "a/b"),
            (
                Origin::Auth(Auth::ManagedIdentity),
                ErrorClass::Credential,
                "managed identity",
            ),
            (
                Origin::Auth(Auth::AzureCli),
                ErrorClass::Permission(None),
                "Reader",
            ),
            (Origin::Auth(Auth::AzureCli), ErrorClass::Transient, "retry"),
        ] {
            let hint = hint(&origin, &failure(class));
            assert!(hint.contains(words), "{hint}");
        }
        for (class, code, words) in [
            (
                ErrorClass::Credential,
                "AADSTS53003",
                "exclude the application from the Conditional Access",
            ),
            (ErrorClass::Credential, "AADSTS7000112", "enable the application"),
            (ErrorClass::Transient, "CertificateNotTrusted", "set --extra-ca"),
            (
                ErrorClass::Transient,
                "UnrecognizedResponse",
                "allow these requests in the network",
            ),
            (
                ErrorClass::Refused,
                "DenyAssignmentAuthorizationFailed",
                "remove the deny assignment",
            ),
        ] {
            let failure = AzureError {
                code: code.into(),
                ..failure(class)
            };
            let hint = hint(&Origin::Auth(Auth::Environment), &failure);
            assert!(hint.starts_with(words), "{hint}");
        }
    }
}
