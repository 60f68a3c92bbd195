//! The Azure cloud. Set by the installation, never by an object: otherwise a tenant could redirect token requests to a
//! server that the tenant controls (docs/architecture.md 2.3).

use url::Url;

/// Endpoints of one cloud (docs/azure-api.md 8.1).
#[derive(Clone, Debug)]
pub struct Cloud {
    /// Azure Resource Manager, e.g. `https://management.azure.com/`. Tokens are sent to this origin only (I-10).
    pub resource_manager: Url,
    /// Entra, e.g. `https://login.microsoftonline.com/`.
    pub authority_host: Url,
    /// Audience of the tokens, e.g. `https://management.azure.com`.
    pub audience: String,
    /// Name of the cloud if it has no connectors.
    without_connectors: Option<&'static str>,
}

const US_GOVERNMENT: &str = "Azure Government";

impl Cloud {
    /// Azure, with its public endpoints.
    ///
    /// # Errors
    ///
    /// Never: the endpoints are URLs.
    pub fn public() -> Result<Self, url::ParseError> {
        Self::with_endpoints(
            "https://management.azure.com",
            "https://login.microsoftonline.com",
        )
    }

    /// Azure Government (United States).
    ///
    /// # Errors
    ///
    /// Never: the endpoints are URLs.
    pub fn us_government() -> Result<Self, url::ParseError> {
        Ok(Self {
            without_connectors: Some(US_GOVERNMENT),
            ..Self::with_endpoints(
                "https://management.usgovcloudapi.net",
                "https://login.microsoftonline.us",
            )?
        })
    }

    fn with_endpoints(resource_manager: &str, authority_host: &str) -> Result<Self, url::ParseError> {
        Ok(Self {
            resource_manager: resource_manager.parse()?,
            authority_host: authority_host.parse()?,
            audience: resource_manager.to_owned(),
            without_connectors: None,
        })
    }

    /// The scope of token requests.
    pub(crate) fn scope(&self) -> String {
        format!("{}/.default", self.audience)
    }

    /// Where the applications of a tenant get tokens. It is also the audience of their assertions.
    pub(crate) fn token_endpoint(&self, tenant: &str) -> Result<Url, url::ParseError> {
        self.authority_host.join(&format!("/{tenant}/oauth2/v2.0/token"))
    }

    /// The name of this cloud if it has no connectors for AWS and GCP, otherwise `None` (docs/azure-api.md 8.1). Another
    /// endpoint than that of the cloud may belong to a cloud without connectors, too.
    pub fn connectors_missing_in(&self) -> Option<&'static str> {
        self.without_connectors.or_else(|| self.sovereign_cloud())
    }

    fn sovereign_cloud(&self) -> Option<&'static str> {
        let host = self.resource_manager.host_str()?;
        let within = |domain: &str| {
            host.strip_suffix(domain)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        [
            ("usgovcloudapi.net", US_GOVERNMENT),
            ("chinacloudapi.cn", "Azure operated by 21Vianet"),
        ]
        .into_iter()
        .find_map(|(domain, name)| within(domain).then_some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connectors_are_missing_in_sovereign_clouds_only() {
        for (resource_manager, name) in [
            ("https://management.azure.com/", None),
            ("https://management.usgovcloudapi.net/", Some("Azure Government")),
            ("https://MANAGEMENT.USGOVCLOUDAPI.NET", Some("Azure Government")),
            (
                "https://management.chinacloudapi.cn",
                Some("Azure operated by 21Vianet"),
            ),
            ("https://notusgovcloudapi.net", None),
            ("https://127.0.0.1:8443/", None),
        ] {
            let cloud = Cloud {
                resource_manager: resource_manager.parse().unwrap(),
                ..Cloud::public().unwrap()
            };
            assert_eq!(cloud.connectors_missing_in(), name, "{}", cloud.resource_manager);
        }
        let emulated = Cloud {
            resource_manager: "https://127.0.0.1:8443/".parse().unwrap(),
            ..Cloud::us_government().unwrap()
        };
        assert_eq!(emulated.connectors_missing_in(), Some(US_GOVERNMENT));
    }

    #[test]
    fn endpoints_and_audience_are_those_of_the_cloud() {
        let texts = |cloud: Cloud| {
            let scope = cloud.scope();
            [cloud.resource_manager.into(), cloud.authority_host.into(), scope]
        };
        assert_eq!(
            texts(Cloud::public().unwrap()),
            [
                "https://management.azure.com/",
                "https://login.microsoftonline.com/",
                "https://management.azure.com/.default"
            ]
        );
        assert_eq!(
            texts(Cloud::us_government().unwrap()),
            [
                "https://management.usgovcloudapi.net/",
                "https://login.microsoftonline.us/",
                "https://management.usgovcloudapi.net/.default"
            ]
        );
    }
}
