//! Classification of responses.

use serde_json::json;
use serverprotection_core::azure_error::SignInCause;

use super::*;

fn classified(status: u16, body: &Value) -> AzureError {
    after(status, body, Some(Duration::from_secs(7)))
}

fn after(status: u16, body: &Value, retry_after: Option<Duration>) -> AzureError {
    classify(&ErrorResponse {
        writes: true,
        operation: "PUT pricings/VirtualMachines",
        status: StatusCode::from_u16(status).unwrap(),
        body,
        challenge: None,
        request_id: Some("r".into()),
        retry_after,
    })
}

#[test]
fn an_outage_carries_its_retry_after_in_every_shape() {
    let arm = json!({"error": {"code": "ServiceUnavailable", "message": "m"}});
    let connectors = json!({"statusCode": 503, "errorMessage": "m", "errorCorrelation": "c"});
    let page = json!("<html><body>Our services aren't available right now</body></html>");
    let seven = Some(Duration::from_secs(7));
    for body in [arm, connectors, page, Value::Null] {
        for status in [500, 502, 503, 504] {
            let class = |retry_after| after(status, &body, retry_after).class;
            assert_eq!(
                class(seven),
                ErrorClass::Unavailable(Duration::from_secs(7)),
                "{body}"
            );
            assert_eq!(class(None), ErrorClass::Transient, "{body}");
        }
    }
}

#[test]
fn responses_are_classified_by_status_and_code() {
    let cases = [
        (
            429,
            "TooManyRequests",
            ErrorClass::Throttled(Some(Duration::from_secs(7))),
        ),
        (401, "ExpiredAuthenticationToken", ErrorClass::Credential),
        (404, "SubscriptionNotFound", ErrorClass::NotFound),
        (409, "MissingSubscriptionRegistration", ErrorClass::NotRegistered),
        (404, "Subscription Not Registered", ErrorClass::NotRegistered),
        (401, "Subscription Not Registered", ErrorClass::NotRegistered),
        (409, "SubscriptionNotRegistered", ErrorClass::NotRegistered),
        (409, "Conflict", ErrorClass::Conflict),
        (409, "ScopeLocked", ErrorClass::Refused),
        (409, "ReadOnlyDisabledSubscription", ErrorClass::Refused),
        (403, "RequestDisallowedByPolicy", ErrorClass::Refused),
        (403, "DenyAssignmentAuthorizationFailed", ErrorClass::Refused),
        (400, "InvalidInputJson", ErrorClass::Refused),
        (
            503,
            "ServerTimeout",
            ErrorClass::Unavailable(Duration::from_secs(7)),
        ),
        (
            408,
            "RequestTimeout",
            ErrorClass::Unavailable(Duration::from_secs(7)),
        ),
    ];
    for (status, code, expected) in cases {
        let failure = classified(status, &json!({"error": {"code": code, "message": "m"}}));
        assert_eq!((failure.class, failure.code.as_str()), (expected, code));
    }
}

#[test]
fn only_a_404_about_the_resource_means_that_it_does_not_exist() {
    let absent = |status: u16, body: Value| is_absent(&classified(status, &body));
    let coded = |code: &str| json!({"error": {"code": code, "message": "m"}});
    assert!(absent(404, coded("ResourceNotFound")));
    assert!(absent(404, coded("NotFound")));
    assert!(!absent(404, coded("SubscriptionNotFound")));
    assert!(!absent(404, coded("Subscription Not Registered")));
    assert!(!absent(404, json!("<html>no such page</html>")), "a gateway");
    assert!(!absent(403, coded("ResourceNotFound")));
}

#[test]
fn the_recorded_response_about_an_unregistered_provider_is_recognized() {
    let body = json!({"error": {"code": "Subscription Not Registered",
        "message": "Please register to Microsoft.Security in order to view your security status"}});
    for status in [401, 404] {
        let failure = classified(status, &body);
        assert_eq!(failure.class, ErrorClass::NotRegistered, "{status}");
        assert!(failure.message.starts_with("Please register"));
    }
    let capitals = json!({"Error": {"Code": "Subscription Not Registered", "Message": "m"}});
    assert_eq!(classified(404, &capitals).class, ErrorClass::NotRegistered);
}

#[test]
fn an_error_with_a_status_of_success_is_transient_or_the_missing_registration() {
    let failure = |code: &str| {
        let error = json!({"code": code, "message": "m"});
        in_success(true, "GET x", StatusCode::OK, &error, Some("r".into()))
    };
    let odd = failure("InternalServerError");
    assert_eq!(
        (odd.class, odd.code.as_str()),
        (ErrorClass::Transient, "InternalServerError")
    );
    assert!(
        odd.message.contains("status 200") && odd.message.ends_with(": m"),
        "{}",
        odd.message
    );
    assert_eq!(
        failure("Subscription Not Registered").class,
        ErrorClass::NotRegistered
    );
}

#[test]
fn a_denied_action_is_named() {
    let body = json!({"error": {"code": "AuthorizationFailed", "message":
        "The client 'x' with object id 'y' does not have authorization to perform action 'Microsoft.Security/pricings/write' over scope '/subscriptions/s'"}});
    assert_eq!(
        classified(403, &body).class,
        ErrorClass::Permission(Some("Microsoft.Security/pricings/write".into()))
    );
}

#[test]
fn the_policy_that_refused_is_named() {
    let body = json!({"error": {"code": "RequestDisallowedByPolicy", "message": "denied", "additionalInfo": [
        {"type": "PolicyViolation", "info": {"policyDefinitionDisplayName": "No Defender", "policyAssignmentName": "corp"}}]}});
    assert_eq!(
        classified(403, &body).message,
        "denied [policy: No Defender, assigned by corp]"
    );
}

#[test]
fn the_effect_of_a_write_is_unknown_only_after_server_errors() {
    let body = json!({"error": {"code": "X", "message": "m"}});
    assert!(classified(504, &body).effect_unknown);
    assert!(!classified(409, &body).effect_unknown);
}

#[test]
fn resource_graph_explains_errors_in_the_details() {
    let body = json!({"error": {"code": "BadRequest", "message": "Please provide below info when asking for support: timestamp = 1, correlationId = 2.",
        "details": [{"code": "InvalidQuery", "message": "Query is invalid."}, {"code": "ParserFailure", "line": 1}]}});
    let failure = classified(400, &body);
    assert_eq!(
        (failure.code.as_str(), failure.message.as_str()),
        ("InvalidQuery", "Query is invalid.")
    );
}

#[test]
fn the_connectors_own_error_shape_identifies_authentication_errors() {
    let body = json!({"statusCode": 400, "errorCorrelation": "30fb370a",
        "errorMessage": "error occured for security connector: Identity provider\r\nis missing from AWS account/s."});
    let failure = classified(400, &body);
    assert_eq!(
        (
            failure.class,
            failure.code.as_str(),
            failure.request_id.as_deref()
        ),
        (
            ErrorClass::CloudAuthentication(SignInCause::IdentityProvider),
            connectors::AUTHENTICATION_FAILED,
            Some("30fb370a")
        )
    );
    assert!(
        failure
            .message
            .ends_with("Identity provider is missing from AWS account/s.")
    );
    let other = classified(400, &json!({"statusCode": 400, "errorMessage": "offerings"}));
    assert_eq!(
        (other.code.as_str(), other.request_id.as_deref()),
        (connectors::REFUSED, Some("r"))
    );
    // An error in the shape of Azure Resource Manager keeps its code, also about connectors.
    let arm = classified(
        409,
        &json!({"error": {"code": "ScopeLocked", "message": "permission"}}),
    );
    assert_eq!(
        (arm.class, arm.code.as_str()),
        (ErrorClass::Refused, "ScopeLocked")
    );
}

#[test]
fn statuses_mean_the_same_in_the_shape_of_connectors() {
    let seven = ErrorClass::Throttled(Some(Duration::from_secs(7)));
    for (status, class, unknown) in [
        (401, ErrorClass::Credential, false),
        (404, ErrorClass::NotFound, false),
        (408, ErrorClass::Unavailable(Duration::from_secs(7)), true),
        (409, ErrorClass::Conflict, false),
        (429, seven, false),
        (503, ErrorClass::Unavailable(Duration::from_secs(7)), true),
    ] {
        let body = json!({"statusCode": status, "errorMessage": "not authorized", "errorCorrelation": "c"});
        let failure = classified(status, &body);
        assert_eq!(
            (failure.class, failure.effect_unknown),
            (class, unknown),
            "{status}"
        );
    }
}

#[test]
fn responses_of_gateways_are_read() {
    let reported = |body: Value| {
        let failure = after(502, &body, None);
        assert_eq!(failure.class, ErrorClass::Transient);
        (failure.code, failure.message)
    };
    let is = |code: &str, message: &str| (code.to_owned(), message.to_owned());
    assert_eq!(reported(Value::Null), is("Http502", "no message"));
    assert_eq!(
        reported(json!(" upstream\nerror ")),
        is("Http502", "upstream error")
    );
    assert_eq!(
        reported(json!({"code": "GatewayTimeout", "message": "late"})),
        is("GatewayTimeout", "late")
    );
    let page = "<html>\r\n<head><title>502 Bad Gateway</title></head><body><hr>nginx</body></html>";
    assert_eq!(reported(json!(page)), is("Http502", "502 Bad Gateway nginx"));
}

#[test]
fn a_page_of_a_proxy_says_nothing_about_roles_or_resources() {
    let page = json!("<html><head><title>Access denied</title></head><body>by policy</body></html>");
    for status in [302, 400, 401, 403, 404, 407, 409, 413] {
        for body in [&page, &json!("forbidden"), &json!({"error": "forbidden"})] {
            let failure = after(status, body, None);
            assert_eq!(failure.class, ErrorClass::Transient, "{status} {body}");
            assert_eq!(failure.code, UNRECOGNIZED_RESPONSE, "{status} {body}");
            assert!(!failure.effect_unknown && !is_absent(&failure), "{status} {body}");
        }
    }
    let failure = classified(403, &page);
    assert_eq!(failure.class, ErrorClass::Unavailable(Duration::from_secs(7)));
    assert_eq!(failure.message, "status 403: Access denied by policy");
}

#[test]
fn an_empty_response_is_from_azure_if_its_headers_are() {
    let of = |request_id: Option<&str>, challenge| {
        classify(&ErrorResponse {
            writes: false,
            operation: "GET settings",
            status: StatusCode::UNAUTHORIZED,
            body: &Value::Null,
            challenge,
            request_id: request_id.map(str::to_owned),
            retry_after: None,
        })
    };
    assert_eq!(of(Some("r"), None).class, ErrorClass::Credential);
    let bearer = "Bearer authorization_uri=\"https://login.windows.net/t\", error=\"invalid_token\"";
    assert_eq!(of(None, Some(bearer)).class, ErrorClass::Credential);
    assert_eq!(
        of(None, Some("Basic realm=\"proxy\"")).class,
        ErrorClass::Transient
    );
    assert_eq!(of(None, None).class, ErrorClass::Transient);
    let claims = "Bearer realm=\"\", error=\"insufficient_claims\", claims=\"e30=\"";
    let revoked = of(None, Some(claims));
    assert_eq!(
        (revoked.class, revoked.code.as_str()),
        (ErrorClass::Credential, INSUFFICIENT_CLAIMS)
    );
}

#[test]
fn a_deny_assignment_is_no_missing_role() {
    let body = json!({"error": {"code": "DenyAssignmentAuthorizationFailed", "message":
        "The client 'x' with object id 'y' has permission to perform action 'Microsoft.Security/pricings/write' on scope '/subscriptions/s'; however, the access is denied because of the deny assignment with name 'Locked' and Id 'z' at scope '/subscriptions/s'."}});
    let failure = classified(403, &body);
    assert_eq!(failure.class, ErrorClass::Refused);
    assert!(failure.message.contains("'Locked'"));
    let hint = failure.hint().unwrap();
    assert!(
        hint.contains("deny assignment") && !hint.contains("Grant"),
        "{hint}"
    );
}

#[test]
fn texts_from_outside_are_one_line_without_control_characters() {
    let hostile = "a\r\n2026-01-01 INFO forged\u{1b}[2J\u{202e}b\u{2066}\u{85}c\0";
    assert_eq!(one_line(hostile), "a 2026-01-01 INFO forged [2J b c");
    assert_eq!(one_line("Zürich – 東京"), "Zürich – 東京");
    assert_eq!(one_line(&"x".repeat(501)).chars().count(), 501);
}

#[test]
fn a_long_log_keeps_its_start_and_its_end() {
    let log = format!("first\n{}\nthe cause", "x".repeat(5000));
    let ends = ends_of(&log);
    assert!(
        ends.starts_with("first xx") && ends.ends_with("xx the cause"),
        "{ends}"
    );
    assert!(ends.chars().count() <= 503 && ends.contains(" … "), "{ends}");
    assert_eq!(ends_of(&"x".repeat(500)), "x".repeat(500));
}
