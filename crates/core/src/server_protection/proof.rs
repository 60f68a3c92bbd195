//! What a reconcile learned about the access of a `ServerProtection` (R3, R4 of docs/claims.md).

use super::observed::Observed;
use crate::{
    azure_error::ErrorClass,
    claims::{Evidence, Rights},
};

/// The action that writes the plan.
pub const WRITE: &str = "Microsoft.Security/pricings/write";

/// What was learned. The plan is the subject: a narrow role may not read the subscription itself.
pub fn evidence(observed: &Observed) -> Evidence {
    if let Err(failure) = &observed.credential {
        return Evidence::of_failure(failure);
    }
    match &observed.plan {
        Some(Ok(_)) => Evidence::Read(Rights::of(observed.permissions.as_ref(), WRITE)),
        // The provider says this to anybody. What the identity may do is then known only from its permissions, which
        // Azure Resource Manager returns.
        Some(Err(failure)) if failure.class == ErrorClass::NotRegistered => {
            match Rights::of(observed.permissions.as_ref(), WRITE) {
                rights @ (Rights::Allowed | Rights::Missing(_)) => Evidence::Read(rights),
                Rights::Unreadable | Rights::NotRead => Evidence::Nothing,
            }
        }
        Some(Err(failure)) => Evidence::of_failure(failure),
        None => Evidence::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        azure_error::AzureError,
        reading::Permissions,
        server_protection::{changes::Actual, situations},
    };

    fn failure(class: ErrorClass, code: &str) -> AzureError {
        AzureError {
            class,
            code: code.into(),
            message: "m".into(),
            operation: "GET pricings/VirtualMachines".into(),
            request_id: None,
            effect_unknown: false,
        }
    }

    fn observed() -> Observed {
        let Actual { plan, .. } = situations::blank();
        Observed {
            plan: Some(Ok(plan)),
            ..Observed::nothing()
        }
    }

    fn may(pattern: &str) -> Permissions {
        Permissions {
            grants: vec![(vec![pattern.into()], Vec::new())],
        }
    }

    #[test]
    fn a_read_plan_and_the_permission_to_write_are_the_proof() {
        let with = |permissions| {
            evidence(&Observed {
                permissions,
                ..observed()
            })
        };
        assert_eq!(with(Some(Ok(may("*")))), Evidence::Read(Rights::Allowed));
        assert_eq!(
            with(Some(Ok(may("*/read")))),
            Evidence::Read(Rights::Missing(WRITE))
        );
        assert_eq!(with(None), Evidence::Read(Rights::NotRead));
        let refused = failure(ErrorClass::Permission(None), "AuthorizationFailed");
        assert_eq!(with(Some(Err(refused))), Evidence::Read(Rights::Unreadable));
        let passing = failure(ErrorClass::Transient, "Timeout");
        assert_eq!(with(Some(Err(passing))), Evidence::Read(Rights::NotRead));
    }

    #[test]
    fn only_entra_and_azure_deny() {
        for (class, code, denied) in [
            (ErrorClass::Credential, "AADSTS7000215", true),
            (ErrorClass::Credential, "SecretNotFound", true),
            (ErrorClass::Permission(None), "AuthorizationFailed", true),
            (ErrorClass::NotFound, "SubscriptionNotFound", true),
            // A proxy.
            (ErrorClass::Permission(None), "Http403", false),
            (ErrorClass::Credential, "Http401", false),
            (ErrorClass::NotFound, "Http404", false),
            (ErrorClass::Throttled(None), "TooManyRequests", false),
            (ErrorClass::Transient, "UnreadableAnswer", false),
            (ErrorClass::Refused, "ReadOnlyDisabledSubscription", false),
        ] {
            let expected = if denied {
                Evidence::Denied(code.into())
            } else {
                Evidence::Nothing
            };
            let read = Observed {
                plan: Some(Err(failure(class.clone(), code))),
                ..observed()
            };
            assert_eq!(evidence(&read), expected, "{code}");
            let token = Observed::without_credential(failure(class, code));
            assert_eq!(evidence(&token), expected, "{code}");
        }
    }

    #[test]
    fn an_unregistered_provider_proves_nothing() {
        let unregistered = |permissions| Observed {
            plan: Some(Err(failure(
                ErrorClass::NotRegistered,
                "SubscriptionNotRegistered",
            ))),
            permissions,
            ..observed()
        };
        assert_eq!(evidence(&unregistered(None)), Evidence::Nothing);
        let refused = failure(ErrorClass::Permission(None), "AuthorizationFailed");
        assert_eq!(evidence(&unregistered(Some(Err(refused)))), Evidence::Nothing);
        assert_eq!(
            evidence(&unregistered(Some(Ok(may("*"))))),
            Evidence::Read(Rights::Allowed)
        );
    }
}
