//! Azure identities, as `azure_identity` credentials.

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
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};

use crate::{cloud::Cloud, transport::EntraTransport};

/// Where a federated assertion comes from: for us, a token of a Kubernetes service account.
#[async_trait::async_trait]
pub trait AssertionSource: Send + Sync + fmt::Debug {
    /// A fresh assertion, or why there is none.
    async fn assertion(&self) -> Result<String, String>;
}

/// An identity that tokens are asked for. Its secrets cannot be printed.
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
    /// An application that trusts assertions of another issuer.
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
    /// The managed identity of the node.
    ManagedIdentity,
    /// Whoever is logged in to the Azure CLI of this machine; each new token runs `az`.
    AzureCli {
        /// Tenant to ask for; `None` for the CLI's current one.
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
            Self::Federated {
                tenant_id, client_id, ..
            } => write!(f, "Federated({tenant_id}, {client_id})"),
            Self::PodWorkloadIdentity => f.write_str("PodWorkloadIdentity"),
            Self::ManagedIdentity => f.write_str("ManagedIdentity"),
            Self::AzureCli { tenant_id } => write!(f, "AzureCli({tenant_id:?})"),
            Self::Environment => f.write_str("Environment"),
        }
    }
}

#[derive(Debug)]
struct Assertion(Arc<dyn AssertionSource>);

#[async_trait::async_trait]
impl ClientAssertion for Assertion {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        let assertion = self.0.assertion().await;
        assertion.map_err(|error| azure_core::Error::with_message(ErrorKind::Credential, error))
    }
}

impl Identity {
    /// Tenant and application, as far as they are known here: whoever has the same ones shares quotas.
    pub(crate) fn principal(&self) -> String {
        match self {
            Self::ClientSecret {
                tenant_id, client_id, ..
            }
            | Self::Federated {
                tenant_id, client_id, ..
            } => format!("{tenant_id}/{client_id}").to_ascii_lowercase(),
            other => format!("{other:?}"),
        }
    }

    /// The credential behind the identity.
    pub(crate) fn credential(
        &self,
        cloud: &Cloud,
        transport: &Arc<EntraTransport>,
    ) -> azure_core::Result<Arc<dyn TokenCredential>> {
        let client_options = || ClientOptions {
            cloud: Some(Arc::new(configuration(cloud))),
            transport: Some(Transport::new(transport.clone())),
            // The work queue retries; a credential that retries holds the token lock (docs/azure-api.md 9.2).
            retry: RetryOptions::none(),
            ..ClientOptions::default()
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
            Self::Federated {
                tenant_id,
                client_id,
                assertions,
            } => ClientAssertionCredential::new(
                tenant_id.clone(),
                client_id.clone(),
                Assertion(Arc::clone(assertions)),
                Some(ClientAssertionCredentialOptions {
                    client_options: client_options(),
                }),
            )?,
            Self::PodWorkloadIdentity => {
                WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
                    credential_options: ClientAssertionCredentialOptions {
                        client_options: client_options(),
                    },
                    ..WorkloadIdentityCredentialOptions::default()
                }))?
            }
            Self::ManagedIdentity => {
                ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
                    client_options: client_options(),
                    ..ManagedIdentityCredentialOptions::default()
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

/// An environment variable that must be there.
fn variable(name: &str) -> azure_core::Result<String> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    value.ok_or_else(|| azure_core::Error::with_message(ErrorKind::Credential, format!("{name} is not set")))
}
