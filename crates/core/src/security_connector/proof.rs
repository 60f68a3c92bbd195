//! What a reconcile learned about the access of a connector (R3, R4 of docs/claims.md).

use super::observed::Observed;
use crate::claims::{Evidence, Rights};

/// The action that writes a connector.
pub const WRITE: &str = "Microsoft.Security/securityConnectors/write";

/// What was learned. That there is no connector is an answer too.
pub fn evidence(observed: &Observed) -> Evidence {
    if let Err(failure) = &observed.credential {
        return Evidence::of_failure(failure);
    }
    match &observed.connector {
        Some(Ok(_)) => Evidence::Read(Rights::of(observed.permissions.as_ref(), WRITE)),
        Some(Err(failure)) => Evidence::of_failure(failure),
        None => Evidence::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{azure_error::ErrorClass, security_connector::samples::failure};

    #[test]
    fn a_connector_that_was_read_is_the_proof_and_so_is_its_absence() {
        let read = |connector| {
            evidence(&Observed {
                connector,
                ..Observed::nothing()
            })
        };
        assert_eq!(read(Some(Ok(None))), Evidence::Read(Rights::NotRead));
        let denied = failure(ErrorClass::Permission(None), "AuthorizationFailed", "GET");
        assert_eq!(
            read(Some(Err(denied))),
            Evidence::Denied("AuthorizationFailed".into())
        );
        assert_eq!(read(None), Evidence::Nothing, "nothing was read");
        let page = failure(ErrorClass::Permission(None), "Http403", "GET");
        assert_eq!(read(Some(Err(page))), Evidence::Nothing, "a proxy");
    }
}
