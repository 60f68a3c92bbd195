//! Entra: sign-in of applications, and the documents that clients read before it.

mod assertion;
mod certificate;
mod managed_identity;
mod metadata;
mod refusal;
mod signing;
mod token;

pub use self::{
    assertion::named,
    managed_identity::issue_to_machine,
    metadata::document,
    signing::{Signer, TokenProblem},
    token::issue,
};

/// The tenant of a token endpoint, if the path is one.
pub fn token_tenant(segments: &[String]) -> Option<&str> {
    let text: Vec<&str> = segments.iter().map(String::as_str).collect();
    match text.as_slice() {
        [tenant, "oauth2", "v2.0", "token"] | [tenant, "oauth2", "token"] => Some(tenant),
        _ => None,
    }
}
