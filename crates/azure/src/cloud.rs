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
}

impl Cloud {
    /// The scope of token requests.
    pub(crate) fn scope(&self) -> String {
        format!("{}/.default", self.audience)
    }

    /// The name of this cloud if it has no connectors for AWS and GCP, otherwise `None` (docs/azure-api.md 8.1).
    pub fn connectors_missing_in(&self) -> Option<&'static str> {
        let host = self.resource_manager.host_str()?;
        let within = |domain: &str| {
            host.strip_suffix(domain)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        [
            ("usgovcloudapi.net", "Azure Government"),
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
            let resource_manager: Url = resource_manager.parse().unwrap();
            let cloud = Cloud {
                authority_host: resource_manager.clone(),
                audience: String::new(),
                resource_manager,
            };
            assert_eq!(cloud.connectors_missing_in(), name, "{}", cloud.resource_manager);
        }
    }
}
