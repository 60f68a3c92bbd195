//! Checks the bearer token as ARM does.

use jiff::Timestamp;

use super::refusals;
use crate::{
    answer::ArmError,
    entra::{Signer, TokenProblem},
    incoming::Incoming,
};

/// The application behind a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its client id.
    pub client_id: String,
    /// Its object id.
    pub object_id: String,
    /// Its tenant.
    pub tenant: String,
}

/// Audiences of ARM in the public and sovereign clouds.
const AUDIENCES: [&str; 4] = [
    "https://management.azure.com",
    "https://management.core.windows.net",
    "https://management.usgovcloudapi.net",
    "https://management.core.usgovcloudapi.net",
];

/// Checks the token of a request. The challenge of a refusal names `tenant`.
///
/// # Errors
///
/// Returns ARM's 401 if the token is missing, invalid, expired, or issued for another audience.
pub fn authenticate(
    signer: &Signer,
    request: &Incoming,
    hosts: [&str; 2],
    tenant: &str,
) -> Result<Caller, ArmError> {
    let [host, own] = hosts;
    let header = request.header("authorization").unwrap_or_default();
    let token = match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            token.trim()
        }
        _ => {
            let message = "Authentication failed. The 'Authorization' header is missing.";
            return Err(refusals::unauthorized(
                host,
                tenant,
                "AuthenticationFailed",
                message,
            ));
        }
    };
    let claims = signer.verify(token).map_err(|problem| match problem {
        TokenProblem::Expired(at) => {
            let expiry = Timestamp::from_second(at).unwrap_or(Timestamp::UNIX_EPOCH);
            refusals::expired(host, tenant, expiry, Timestamp::now())
        }
        TokenProblem::Invalid => refusals::unauthorized(
            host,
            tenant,
            "InvalidAuthenticationToken",
            "The access token is invalid.",
        ),
    })?;
    let audience = claims.aud.trim_end_matches('/');
    let known = AUDIENCES.iter().any(|known| audience.eq_ignore_ascii_case(known));
    if !known
        && ![host, own]
            .iter()
            .any(|own| audience.eq_ignore_ascii_case(own.trim_end_matches('/')))
    {
        let message = format!(
            "The access token has been obtained for wrong audience or resource '{}'. It should exactly match \
             with one of the allowed audiences 'https://management.core.windows.net/','https://management.azure.com/'.",
            claims.aud
        );
        return Err(refusals::unauthorized(
            host,
            tenant,
            "InvalidAuthenticationToken",
            &message,
        ));
    }
    Ok(Caller {
        client_id: claims.appid,
        object_id: claims.oid,
        tenant: claims.tid,
    })
}
