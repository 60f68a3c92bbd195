//! Flags that say which Azure to work with; the same for every command. Their doc comments are the text of `--help`.
#![allow(clippy::doc_markdown)]

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use serverprotection_azure::{Cloud, HttpError, http_client};
use url::Url;

// No doc comment: flattened, it would replace the command's own.
#[derive(ClapArgs, Clone, Debug)]
#[allow(missing_docs)]
pub struct Endpoints {
    /// Azure cloud whose endpoints are used
    #[arg(long, value_enum, default_value_t = CloudName::Public, env = "SERVERPROTECTION_CLOUD")]
    pub cloud: CloudName,

    /// Azure Resource Manager instead of the cloud's, e.g. the emulator's https://127.0.0.1:8443
    #[arg(long, value_name = "URL")]
    pub resource_manager_endpoint: Option<Url>,

    /// Entra authority instead of the cloud's
    #[arg(long, value_name = "URL")]
    pub authority_host: Option<Url>,

    /// Audience of the tokens instead of the cloud's
    #[arg(long, value_name = "URL")]
    pub audience: Option<String>,

    /// PEM file with certificate authorities that are trusted for Azure besides the system's
    #[arg(long, value_name = "FILE")]
    pub extra_ca: Option<PathBuf>,
}

/// Azure clouds with Defender for Servers (docs/azure-api.md 8.1).
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CloudName {
    Public,
    UsGovernment,
}

/// The flags cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum EndpointsError {
    #[error("--extra-ca {path}: {source}")]
    ExtraCa { path: String, source: std::io::Error },
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("an endpoint is no URL: {0}")]
    Url(#[from] url::ParseError),
    #[error("{0} must be an https URL: tokens are never sent in the clear")]
    Insecure(&'static str),
}

impl Endpoints {
    /// The endpoints, and an HTTPS client for them.
    pub fn open(&self) -> Result<(Cloud, reqwest::Client), EndpointsError> {
        let extra_ca = match &self.extra_ca {
            None => None,
            Some(path) => Some(std::fs::read(path).map_err(|source| EndpointsError::ExtraCa {
                path: path.display().to_string(),
                source,
            })?),
        };
        let cloud = self.cloud()?;
        if cloud.resource_manager.scheme() != "https" {
            return Err(EndpointsError::Insecure("--resource-manager-endpoint"));
        }
        if cloud.authority_host.scheme() != "https" {
            return Err(EndpointsError::Insecure("--authority-host"));
        }
        Ok((cloud, http_client(extra_ca.as_deref())?))
    }

    /// Name of the cloud, when it has no connectors for AWS and GCP (docs/azure-api.md 8.1).
    pub(crate) fn without_connectors(&self) -> Option<&'static str> {
        match self.cloud {
            CloudName::Public => None,
            CloudName::UsGovernment => Some("Azure Government"),
        }
    }

    fn cloud(&self) -> Result<Cloud, url::ParseError> {
        let (resource_manager, authority) = match self.cloud {
            CloudName::Public => (
                "https://management.azure.com/",
                "https://login.microsoftonline.com/",
            ),
            CloudName::UsGovernment => (
                "https://management.usgovcloudapi.net/",
                "https://login.microsoftonline.us/",
            ),
        };
        let audience = self
            .audience
            .clone()
            .unwrap_or_else(|| resource_manager.trim_end_matches('/').to_owned());
        Ok(Cloud {
            resource_manager: self
                .resource_manager_endpoint
                .clone()
                .map_or_else(|| resource_manager.parse(), Ok)?,
            authority_host: self
                .authority_host
                .clone()
                .map_or_else(|| authority.parse(), Ok)?,
            audience,
        })
    }
}
