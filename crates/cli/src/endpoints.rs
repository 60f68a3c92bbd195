//! Flags for the Azure cloud and its endpoints, shared by all commands. Their doc comments are the text of `--help`.
#![allow(clippy::doc_markdown)]

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use serverprotection_azure::{Cloud, HttpError, http_client};
use url::Url;

// No doc comment: this struct is flattened, and its comment would replace the description of the command.
#[derive(ClapArgs, Clone, Debug)]
pub(crate) struct Endpoints {
    /// Azure cloud
    #[arg(long, value_enum, default_value_t = CloudName::Public, env = "SERVERPROTECTION_CLOUD")]
    pub(crate) cloud: CloudName,

    /// Azure Resource Manager endpoint [default: the endpoint of --cloud]. The emulator listens on
    /// https://127.0.0.1:8443
    #[arg(long, value_name = "URL", value_parser = url)]
    pub(crate) resource_manager_endpoint: Option<Url>,

    /// Microsoft Entra authority [default: the authority of --cloud]
    #[arg(long, value_name = "URL", value_parser = url)]
    pub(crate) authority_host: Option<Url>,

    /// Audience of the access tokens [default: the Azure Resource Manager audience of --cloud]
    #[arg(long, value_name = "URL")]
    pub(crate) audience: Option<String>,

    /// PEM file with certificate authorities to trust for Azure, in addition to those of the system
    #[arg(long, value_name = "FILE")]
    pub(crate) extra_ca: Option<PathBuf>,
}

/// Azure clouds with Defender for Servers (docs/azure-api.md 8.1).
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloudName {
    /// Azure
    Public,
    /// Azure Government (United States)
    UsGovernment,
}

/// A flag of [`Endpoints`] is not usable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndpointsError {
    #[error("--extra-ca: cannot read {path}: {source}")]
    ExtraCa { path: String, source: std::io::Error },
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("an endpoint is not a URL: {0}")]
    Url(#[from] url::ParseError),
    #[error("{0} is not an https URL; use https, because tokens are never sent unencrypted")]
    Insecure(&'static str),
    #[error("{0} has a user name or password; remove it: it would appear in logs, and Azure does not use it")]
    UserInfo(&'static str),
}

impl Endpoints {
    /// Resolves the flags to the endpoints of the cloud, and builds an HTTPS client for them.
    ///
    /// # Errors
    ///
    /// Fails if the file of `--extra-ca` cannot be read or is not PEM, if an endpoint is not an https URL or has a user
    /// name, or if the TLS configuration is rejected.
    pub(crate) fn open(&self) -> Result<(Cloud, reqwest::Client), EndpointsError> {
        let extra_ca = match &self.extra_ca {
            None => None,
            Some(path) => Some(std::fs::read(path).map_err(|source| EndpointsError::ExtraCa {
                path: path.display().to_string(),
                source,
            })?),
        };
        let cloud = self.cloud()?;
        for (flag, endpoint) in [
            ("--resource-manager-endpoint", &cloud.resource_manager),
            ("--authority-host", &cloud.authority_host),
        ] {
            if endpoint.scheme() != "https" {
                return Err(EndpointsError::Insecure(flag));
            }
            if !endpoint.username().is_empty() || endpoint.password().is_some() {
                return Err(EndpointsError::UserInfo(flag));
            }
        }
        Ok((cloud, http_client(extra_ca.as_deref())?))
    }

    fn cloud(&self) -> Result<Cloud, url::ParseError> {
        let mut cloud = match self.cloud {
            CloudName::Public => Cloud::public()?,
            CloudName::UsGovernment => Cloud::us_government()?,
        };
        if let Some(endpoint) = &self.resource_manager_endpoint {
            cloud.resource_manager = endpoint.clone();
        }
        if let Some(host) = &self.authority_host {
            cloud.authority_host = host.clone();
        }
        if let Some(audience) = &self.audience {
            cloud.audience.clone_from(audience);
        }
        Ok(cloud)
    }
}

/// Parses a flag with an address.
pub(crate) fn url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if url.has_host() => Ok(url),
        _ => Err("must be a URL with a scheme and a host, such as https://127.0.0.1:8443".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        endpoints: Endpoints,
    }

    fn error(flag: &str, url: &str) -> EndpointsError {
        let command = Command::parse_from(["serverprotection", flag, url]);
        command.endpoints.open().map(drop).unwrap_err()
    }

    #[test]
    fn an_address_has_a_scheme_and_a_host() {
        for text in ["foo", "localhost:8080", "/metrics", "https://", ""] {
            assert!(url(text).unwrap_err().contains("such as https://"), "{text}");
        }
        assert!(url("http://127.0.0.1:8080/metrics").is_ok());
    }

    #[test]
    fn flags_select_a_cloud_and_replace_its_endpoints() {
        for (flags, resource_manager, authority, audience) in [
            (
                "",
                "https://management.azure.com/",
                "https://login.microsoftonline.com/",
                "https://management.azure.com",
            ),
            (
                "--cloud us-government",
                "https://management.usgovcloudapi.net/",
                "https://login.microsoftonline.us/",
                "https://management.usgovcloudapi.net",
            ),
            // A private cloud, or one that this version does not know by name.
            (
                "--resource-manager-endpoint https://arm.example --authority-host https://login.example:8443 \
                 --audience https://audience.example",
                "https://arm.example/",
                "https://login.example:8443/",
                "https://audience.example",
            ),
            // A proxy in front of Azure Resource Manager: the audience stays that of the cloud.
            (
                "--cloud us-government --resource-manager-endpoint https://proxy.example",
                "https://proxy.example/",
                "https://login.microsoftonline.us/",
                "https://management.usgovcloudapi.net",
            ),
        ] {
            let words = std::iter::once("serverprotection").chain(flags.split_whitespace());
            let (cloud, _) = Command::parse_from(words).endpoints.open().unwrap();
            assert_eq!(
                (
                    cloud.resource_manager.as_str(),
                    cloud.authority_host.as_str(),
                    cloud.audience.as_str()
                ),
                (resource_manager, authority, audience),
                "{flags}"
            );
        }
    }

    #[test]
    fn an_endpoint_is_https_without_user_and_password() {
        for flag in ["--resource-manager-endpoint", "--authority-host"] {
            for url in [
                "https://user:hunter2@azure.example",
                "https://hunter2@azure.example",
            ] {
                let error = error(flag, url);
                assert!(matches!(error, EndpointsError::UserInfo(_)), "{error}");
                let text = error.to_string();
                assert!(text.starts_with(flag) && !text.contains("hunter2"), "{text}");
            }
            let error = error(flag, "http://azure.example");
            assert!(matches!(error, EndpointsError::Insecure(_)), "{error}");
        }
    }
}
