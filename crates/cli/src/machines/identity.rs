//! Who asks Azure, and what to do when Azure does not believe it.
#![allow(clippy::doc_markdown)]

use clap::ValueEnum;
use serverprotection_azure::Identity;
use serverprotection_core::azure_error::{AzureError, ErrorClass};

/// How to authenticate to Azure.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Auth {
    /// The login of the Azure CLI
    AzureCli,
    /// An application, from AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET
    Environment,
    /// Workload identity, from AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_FEDERATED_TOKEN_FILE
    WorkloadIdentity,
    /// The managed identity of this machine
    ManagedIdentity,
}

/// Where an identity comes from: for advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Auth(Auth),
    /// An AzureCredential of the input: namespace/name.
    Credential(String),
}

impl Auth {
    fn variables(self) -> &'static [&'static str] {
        match self {
            Self::AzureCli | Self::ManagedIdentity => &[],
            Self::Environment => &["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"],
            Self::WorkloadIdentity => &["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"],
        }
    }

    fn flag(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The identity. `is_set` tells whether an environment variable has a value.
    pub(crate) fn identity(
        self,
        tenant: Option<String>,
        is_set: impl Fn(&str) -> bool,
    ) -> Result<Identity, String> {
        if tenant.is_some() && self != Self::AzureCli {
            return Err(format!(
                "--tenant-id belongs to --auth azure-cli; with --auth {} the tenant is the identity's own{}",
                self.flag(),
                if self.variables().is_empty() {
                    ""
                } else {
                    " (AZURE_TENANT_ID)"
                }
            ));
        }
        let missing: Vec<_> = self
            .variables()
            .iter()
            .copied()
            .filter(|name| !is_set(name))
            .collect();
        if !missing.is_empty() {
            return Err(format!(
                "--auth {} needs environment variables that are not set: {}",
                self.flag(),
                missing.join(", ")
            ));
        }
        Ok(match self {
            Self::AzureCli => Identity::AzureCli { tenant_id: tenant },
            Self::Environment => Identity::Environment,
            Self::WorkloadIdentity => Identity::PodWorkloadIdentity,
            Self::ManagedIdentity => Identity::ManagedIdentity,
        })
    }
}

/// What to do about a failure: here nobody reads a Secret again, and no spec is to blame.
pub(crate) fn hint(origin: &Origin, failure: &AzureError) -> String {
    match (&failure.class, origin) {
        (ErrorClass::Credential, _) if failure.code == "InvalidAuthenticationTokenTenant" => {
            "the subscription belongs to another tenant: ask with an identity of that tenant (--tenant-id with azure-cli)".into()
        }
        (ErrorClass::Credential, Origin::Auth(Auth::AzureCli)) => {
            "run az login (az login --tenant ID for another tenant), or choose another identity with --auth".into()
        }
        (ErrorClass::Credential, Origin::Auth(Auth::Environment)) => {
            "correct AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or choose another identity with --auth".into()
        }
        (ErrorClass::Credential, Origin::Auth(Auth::WorkloadIdentity)) => {
            "correct AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_FEDERATED_TOKEN_FILE and the application's federated credential".into()
        }
        (_, Origin::Auth(Auth::ManagedIdentity))
            if failure.class == ErrorClass::Credential || failure.code == "EntraUnreachable" =>
        {
            "this machine needs a managed identity; elsewhere, choose another identity with --auth".into()
        }
        (ErrorClass::Credential, Origin::Credential(name)) => {
            format!("correct AzureCredential {name} and its Secret in the input, or choose another identity with --auth")
        }
        (ErrorClass::Permission(_), _) => {
            "give the identity the role Reader there; grants take some minutes to arrive".into()
        }
        (ErrorClass::NotFound, _) => {
            "correct the id, or give the identity the role Reader there (az account list shows what it sees)".into()
        }
        (class, _) if class.is_transient() => "run it again in some minutes".into(),
        _ => failure.hint().unwrap_or("run it again in some minutes").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_variables_are_named_all_at_once() {
        let error = Auth::Environment
            .identity(None, |name| name == "AZURE_TENANT_ID")
            .unwrap_err();
        assert_eq!(
            error,
            "--auth environment needs environment variables that are not set: AZURE_CLIENT_ID, AZURE_CLIENT_SECRET"
        );
        assert!(Auth::WorkloadIdentity.identity(None, |_| true).is_ok());
        assert!(Auth::AzureCli.identity(Some("t".into()), |_| false).is_ok());
        let error = Auth::Environment
            .identity(Some("t".into()), |_| true)
            .unwrap_err();
        assert!(error.contains("AZURE_TENANT_ID"), "{error}");
    }

    #[test]
    fn advice_fits_the_identity() {
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
            (Origin::Auth(Auth::AzureCli), ErrorClass::Transient, "again"),
        ] {
            let hint = hint(&origin, &failure(class));
            assert!(hint.contains(words), "{hint}");
        }
    }
}
