//! ARM's own errors, with the texts of the real service.

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{answer::ArmError, instant};

/// 401 in any of its forms.
pub(crate) fn unauthorized(host: &str, tenant: &str, code: &str, message: &str) -> ArmError {
    let challenge = format!(
        "Bearer authorization_uri=\"{host}/{tenant}\", error=\"invalid_token\", error_description=\"{}\"",
        message.replace('"', "'")
    );
    ArmError::gateway(StatusCode::UNAUTHORIZED, code, message).header("WWW-Authenticate", challenge)
}

/// 401 for an expired token.
pub(crate) fn expired(host: &str, tenant: &str, expiry: Timestamp, now: Timestamp) -> ArmError {
    let message = format!(
        "The access token expiry UTC time '{}' is earlier than current UTC time '{}'.",
        instant::american(expiry),
        instant::american(now)
    );
    unauthorized(host, tenant, "ExpiredAuthenticationToken", &message)
}

/// 401 for a token of another tenant than the subscription's.
pub(crate) fn wrong_tenant(host: &str, token: &str, subscription: &str) -> ArmError {
    let message = format!(
        "The access token is from the wrong issuer 'https://sts.windows.net/{token}/'. It must match the \
         tenant 'https://sts.windows.net/{subscription}/' associated with this subscription. Please use the \
         authority (URL) '{host}/{subscription}' to get the token. Note, if the subscription is transferred to \
         another tenant there is no impact to the services, but information about new tenant could take time \
         to propagate (up to an hour)."
    );
    unauthorized(host, subscription, "InvalidAuthenticationTokenTenant", &message)
}

/// 400 for a missing api-version.
pub(crate) fn missing_api_version() -> ArmError {
    ArmError::gateway(
        StatusCode::BAD_REQUEST,
        "MissingApiVersionParameter",
        "The api-version query parameter (?api-version=) is required for all requests.",
    )
}

/// 400 for an invalid api-version.
pub(crate) fn invalid_api_version(version: &str) -> ArmError {
    ArmError::gateway(
        StatusCode::BAD_REQUEST,
        "InvalidApiVersionParameter",
        format!(
            "The api-version '{version}' is invalid. The supported versions are '2024-11-01,2022-12-01,2021-04-01,2020-01-01,2016-06-01'."
        ),
    )
}

/// 404 for an unknown subscription.
pub(crate) fn subscription_not_found(id: &str) -> ArmError {
    ArmError::gateway(
        StatusCode::NOT_FOUND,
        "SubscriptionNotFound",
        format!("The subscription '{id}' could not be found."),
    )
}

/// 403 for a missing role.
pub(crate) fn authorization_failed(client: &str, object: &str, action: &str, scope: &str) -> ArmError {
    ArmError::gateway(
        StatusCode::FORBIDDEN,
        "AuthorizationFailed",
        format!(
            "The client '{client}' with object id '{object}' does not have authorization to perform action \
             '{action}' over scope '{scope}' or the scope is invalid. If access was recently granted, please \
             refresh your credentials."
        ),
    )
}

/// Defender's own error while Microsoft.Security is not registered: 401 for settings, 404 for everything else.
/// The code contains spaces.
pub(crate) fn subscription_not_registered(kind: &str) -> ArmError {
    let status = if kind.eq_ignore_ascii_case("settings") {
        StatusCode::UNAUTHORIZED
    } else {
        StatusCode::NOT_FOUND
    };
    ArmError::new(
        status,
        "Subscription Not Registered",
        "Please register to Microsoft.Security in order to view your security status",
    )
}

/// Azure Resource Manager's 409 for an unregistered provider.
pub(crate) fn not_registered(namespace: &str) -> ArmError {
    let message = format!(
        "The subscription is not registered to use namespace '{namespace}'. See https://aka.ms/rps-not-found \
         for how to register subscriptions."
    );
    let details =
        json!([{"code": "MissingSubscriptionRegistration", "target": namespace, "message": message}]);
    ArmError::gateway(StatusCode::CONFLICT, "MissingSubscriptionRegistration", message)
        .with("details", details)
}

/// 404 for an unknown namespace.
pub(crate) fn unknown_namespace(namespace: &str) -> ArmError {
    ArmError::gateway(
        StatusCode::NOT_FOUND,
        "InvalidResourceNamespace",
        format!("The resource namespace '{namespace}' is invalid."),
    )
}

/// 404 for an unknown type.
pub(crate) fn unknown_type(namespace: &str, version: &str) -> ArmError {
    ArmError::gateway(
        StatusCode::NOT_FOUND,
        "InvalidResourceType",
        format!(
            "The resource type could not be found in the namespace '{namespace}' for api version '{version}'."
        ),
    )
}

/// 400 for an unsupported api-version of a known type.
pub(crate) fn unknown_version(kind: &str, version: &str, supported: &[&str]) -> ArmError {
    let locations: Vec<_> = super::catalogue::LOCATIONS
        .iter()
        .map(|(name, _)| *name)
        .collect();
    ArmError::gateway(
        StatusCode::BAD_REQUEST,
        "NoRegisteredProviderFound",
        format!(
            "No registered resource provider found for location 'westeurope' and API version '{version}' for \
             type '{kind}'. The supported api-versions are '{}'. The supported locations are '{}'.",
            supported.join(", "),
            locations.join(", ")
        ),
    )
}

/// 404 for a path or method that ARM does not have.
pub(crate) fn no_route(method: &str, path: &str) -> ArmError {
    ArmError::gateway(
        StatusCode::NOT_FOUND,
        "InvalidRequestUri",
        format!("The request \"{method} {path}\" names nothing\r\nthat exists here."),
    )
}

/// 405 for a method that a resource does not support.
pub(crate) fn no_method(method: &str, kind: &str) -> ArmError {
    ArmError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "MethodNotAllowed",
        format!("The HTTP method \"{method}\" is not supported for resource type '{kind}'."),
    )
}

/// 404 for an unknown resource.
pub(crate) fn resource_not_found(kind: &str, name: &str, group: Option<&str>) -> ArmError {
    let place = group.map_or_else(String::new, |group| format!(" under resource group '{group}'"));
    ArmError::new(
        StatusCode::NOT_FOUND,
        "ResourceNotFound",
        format!(
            "The Resource '{kind}/{name}'{place} was not found. For more details please go to \
             https://aka.ms/ARMResourceNotFoundFix"
        ),
    )
}

/// 404 for an unknown resource group.
pub(crate) fn group_not_found(name: &str) -> ArmError {
    ArmError::gateway(
        StatusCode::NOT_FOUND,
        "ResourceGroupNotFound",
        format!("Resource group '{name}' could not be found."),
    )
}

/// 409 for a management lock.
pub(crate) fn locked(scope: &str, verb: &str, by: &str) -> ArmError {
    ArmError::gateway(
        StatusCode::CONFLICT,
        "ScopeLocked",
        format!(
            "The scope '{scope}' cannot perform {verb} operation because following scope(s) are locked: \
             '{by}'. Please remove the lock and try again."
        ),
    )
}

/// 409 for a disabled subscription.
pub(crate) fn read_only(subscription: &str) -> ArmError {
    ArmError::gateway(
        StatusCode::CONFLICT,
        "ReadOnlyDisabledSubscription",
        format!(
            "The subscription '{subscription}' is disabled and therefore marked as read only. You cannot \
             perform any write actions on this subscription until it is re-enabled."
        ),
    )
}

/// 403 of Azure Policy.
pub(crate) fn denied_by_policy(subscription: &str, resource: &str, policy: &str) -> ArmError {
    let scope = format!("/subscriptions/{subscription}");
    let assignment = format!("{scope}/providers/Microsoft.Authorization/policyAssignments/{policy}");
    let definition = format!("{scope}/providers/Microsoft.Authorization/policyDefinitions/{policy}");
    let identifiers = json!([{
        "policyAssignment": {"name": policy, "id": assignment},
        "policyDefinition": {"name": policy, "id": definition},
    }]);
    let info: Value = json!([{"type": "PolicyViolation", "info": {
        "policyDefinitionDisplayName": policy, "policyDefinitionId": definition, "policyDefinitionName": policy,
        "policyDefinitionEffect": "deny", "policyAssignmentId": assignment, "policyAssignmentName": policy,
        "policyAssignmentDisplayName": policy, "policyAssignmentScope": scope, "policyAssignmentParameters": {},
    }}]);
    ArmError::gateway(
        StatusCode::FORBIDDEN,
        "RequestDisallowedByPolicy",
        format!("Resource '{resource}' was disallowed by policy. Policy identifiers: '{identifiers}'."),
    )
    .with("target", json!(resource))
    .with("additionalInfo", info)
}

/// 400 for an invalid body.
pub(crate) fn invalid_content(problem: &str) -> ArmError {
    ArmError::bad_request(
        "InvalidRequestContent",
        format!("The request content was invalid and could not be deserialized: \"{problem}\".\r\nPath ''."),
    )
}
