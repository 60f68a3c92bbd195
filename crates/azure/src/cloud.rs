//! Which Azure this is: always the installation's choice, never an object's, else a tenant could point the authority at
//! himself and receive our assertion (design.md section 2).

use url::Url;

/// Endpoints of one cloud (contract.md 8.1).
#[derive(Clone, Debug)]
pub struct Cloud {
    /// ARM, e.g. `https://management.azure.com/`. Tokens go to this origin only.
    pub resource_manager: Url,
    /// Entra, e.g. `https://login.microsoftonline.com/`.
    pub authority_host: Url,
    /// Audience of the tokens, e.g. `https://management.azure.com`.
    pub audience: String,
}

impl Cloud {
    /// The scope that tokens are asked for.
    pub(crate) fn scope(&self) -> String {
        format!("{}/.default", self.audience)
    }
}
