//! Azure identities as credentials of the crate `azure_identity`.

use std::{fmt, sync::Arc};

use azure_core::{
    cloud::{CloudConfiguration, CustomConfiguration},
    credentials::{Secret, TokenCredential},
    error::ErrorKind,
    http::{ClientMethodOptions, ClientOptions, RetryOptions, Transport},
};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, ClientAssertion, ClientAssertionCredential,
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};

use serverprotection_core::azure_error::AzureError;

use crate::{
    client_certificate::{CertificateAssertions, ClientCertificate},
    cloud::Cloud,
    transport::EntraTransport,
};

/// The source of a federated assertion, such as the token of a Kubernetes service account.
#[async_trait::async_trait]
pub trait AssertionSource: Send + Sync + fmt::Debug {
    /// Returns a fresh assertion.
    ///
    /// # Errors
    ///
    /// Why there is no assertion: its message is a complete sentence for users, and its operation is empty.
    async fn assertion(&self) -> Result<String, AzureError>;
}

/// An identity that gets tokens. Its secrets are not part of its `Debug` output.
#[derive(Clone)]
pub enum Identity {
    /// An application with a client secret.
    ClientSecret {
        /// Tenant.
        tenant_id: String,
        /// Application.
        client_id: String,
        /// The secret.
        secret: Secret,
    },
    /// An application with a certificate.
    ClientCertificate {
        /// Tenant.
        tenant_id: String,
        /// Application.
        client_id: String,
        /// The certificate and its private key.
        certificate: Arc<ClientCertificate>,
    },
    /// An application that trusts assertions of another issuer, by a federated credential.
    Federated {
        /// Tenant.
        tenant_id: String,
        /// Application.
        client_id: String,
        /// Where the assertions come from.
        assertions: Arc<dyn AssertionSource>,
    },
    /// The pod's own workload identity, from its environment (`AZURE_*`).
    PodWorkloadIdentity,
    /// A managed identity of the machine or app on which this process runs. Its environment decides where tokens come
    /// from: `IDENTITY_ENDPOINT` and `IDENTITY_HEADER` of App Service, otherwise the metadata service of the node
    /// (169.254.169.254). The tenant is that of the identity.
    ManagedIdentity {
        /// Client id of a user-assigned identity; `None` for the system-assigned one.
        client_id: Option<String>,
    },
    /// The user who is logged in to the Azure CLI on this machine. Each new token runs `az`.
    AzureCli {
        /// Tenant of the token; `None` for the current tenant of the Azure CLI.
        tenant_id: Option<String>,
    },
    /// An application with a client secret, from `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and `AZURE_CLIENT_SECRET`.
    Environment,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientSecret {
                tenant_id, client_id, ..
            } => {
                write!(f, "ClientSecret({tenant_id}, {client_id})")
            }
            Self::ClientCertificate {
                tenant_id, client_id, ..
            } => write!(f, "ClientCertificate({tenant_id}, {client_id})"),
            Self::Federated {
                tenant_id, client_id, ..
            } => write!(f, "Federated({tenant_id}, {client_id})"),
            Self::PodWorkloadIdentity => f.write_str("PodWorkloadIdentity"),
            Self::ManagedIdentity { client_id } => {
                let client = client_id.as_deref().unwrap_or("system-assigned");
                write!(f, "ManagedIdentity({client})")
            }
            Self::AzureCli { tenant_id } => {
                write!(
                    f,
                    "AzureCli({})",
                    tenant_id.as_deref().unwrap_or("current tenant")
                )
            }
            Self::Environment => f.write_str("Environment"),
        }
    }
}

#[derive(Debug)]
struct Assertion {
    source: Arc<dyn AssertionSource>,
    transport: Arc<EntraTransport>,
}

#[async_trait::async_trait]
impl ClientAssertion for Assertion {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        self.source.assertion().await.map_err(|failure| {
            let error = azure_core::Error::with_message(ErrorKind::Credential, failure.message.clone());
            self.transport.without_assertion(failure);
            error
        })
    }
}

impl Identity {
    /// Tenant and application, as far as they are known. Identities with the same ones share quotas.
    pub(crate) fn principal(&self) -> String {
        match self {
            Self::ClientSecret {
                tenant_id, client_id, ..
            }
            | Self::ClientCertificate {
                tenant_id, client_id, ..
            }
            | Self::Federated {
                tenant_id, client_id, ..
            } => format!("{tenant_id}/{client_id}").to_ascii_lowercase(),
            other => format!("{other:?}"),
        }
    }

    /// How messages name a token request of this identity.
    pub(crate) const fn token_operation(&self) -> &'static str {
        match self {
            Self::ClientSecret { .. }
            | Self::ClientCertificate { .. }
            | Self::Federated { .. }
            | Self::PodWorkloadIdentity
            | Self::Environment => "POST token",
            Self::ManagedIdentity { .. } => "GET token",
            Self::AzureCli { .. } => "az account get-access-token",
        }
    }

    /// The certificate with which it authenticates, if it does.
    pub(crate) fn certificate(&self) -> Option<&ClientCertificate> {
        match self {
            Self::ClientCertificate { certificate, .. } => Some(certificate),
            _ => None,
        }
    }

    /// Builds the credential of the identity.
    pub(crate) fn credential(
        &self,
        cloud: &Cloud,
        transport: &Arc<EntraTransport>,
    ) -> azure_core::Result<Arc<dyn TokenCredential>> {
        let client_options = || ClientOptions {
            cloud: Some(Arc::new(configuration(cloud))),
            transport: Some(Transport::new(transport.clone())),
            // The work queue retries. A credential that retries would hold the token lock (docs/azure-api.md 9.2).
            retry: RetryOptions::none(),
            ..ClientOptions::default()
        };
        let by_assertion = |tenant: &str, client: &str, source| {
            let assertion = Assertion {
                source,
                transport: Arc::clone(transport),
            };
            let options = ClientAssertionCredentialOptions {
                client_options: client_options(),
            };
            ClientAssertionCredential::new(tenant.to_owned(), client.to_owned(), assertion, Some(options))
        };
        Ok(match self {
            Self::ClientSecret {
                tenant_id,
                client_id,
                secret,
            } => ClientSecretCredential::new(
                tenant_id,
                client_id.clone(),
                secret.clone(),
                Some(ClientSecretCredentialOptions {
                    client_options: client_options(),
                }),
            )?,
            Self::ClientCertificate {
                tenant_id,
                client_id,
                certificate,
            } => by_assertion(
                tenant_id,
                client_id,
                Arc::new(CertificateAssertions {
                    certificate: Arc::clone(certificate),
                    client_id: client_id.clone(),
                    token_endpoint: cloud.token_endpoint(tenant_id)?.into(),
                }),
            )?,
            Self::Federated {
                tenant_id,
                client_id,
                assertions,
            } => by_assertion(tenant_id, client_id, Arc::clone(assertions))?,
            Self::PodWorkloadIdentity => {
                WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
                    credential_options: ClientAssertionCredentialOptions {
                        client_options: client_options(),
                    },
                    ..WorkloadIdentityCredentialOptions::default()
                }))?
            }
            Self::ManagedIdentity { client_id } => {
                ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
                    user_assigned_id: client_id.clone().map(UserAssignedId::ClientId),
                    client_options: client_options(),
                }))?
            }
            Self::AzureCli { tenant_id } => AzureCliCredential::new(Some(AzureCliCredentialOptions {
                tenant_id: tenant_id.clone(),
                ..AzureCliCredentialOptions::default()
            }))?,
            Self::Environment => ClientSecretCredential::new(
                &variable("AZURE_TENANT_ID")?,
                variable("AZURE_CLIENT_ID")?,
                Secret::new(variable("AZURE_CLIENT_SECRET")?),
                Some(ClientSecretCredentialOptions {
                    client_options: client_options(),
                }),
            )?,
        })
    }
}

fn configuration(cloud: &Cloud) -> CloudConfiguration {
    let mut custom = CustomConfiguration::default();
    custom.authority_host = cloud.authority_host.to_string();
    CloudConfiguration::from(custom)
}

/// A mandatory environment variable.
fn variable(name: &str) -> azure_core::Result<String> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    value.ok_or_else(|| {
        azure_core::Error::with_message(
            ErrorKind::Credential,
            format!("the environment variable {name} is not set"),
        )
    })
}

#[cfg(test)]
mod tests;
