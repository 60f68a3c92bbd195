//! Classifies error responses by what the caller should do (docs/azure-api.md 8.3, 8.6; I-5).

pub(crate) mod connectors;

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use serverprotection_core::azure_error::{AzureError, ErrorClass};

/// A response without success.
pub(crate) struct ErrorResponse<'a> {
    /// Whether the request may have had an effect.
    pub(crate) writes: bool,
    pub(crate) operation: &'a str,
    pub(crate) status: StatusCode,
    pub(crate) body: &'a Value,
    pub(crate) request_id: Option<String>,
    pub(crate) retry_after: Option<Duration>,
}

/// Classifies a response without success.
pub(crate) fn classify(response: &ErrorResponse<'_>) -> AzureError {
    if let Some(failure) = of_connectors(response) {
        return failure;
    }
    let (code, message) = code_and_message(response.status, response.body);
    AzureError {
        class: class(response.status, &code, &message, response.retry_after),
        effect_unknown: effect_unknown(response),
        code,
        message,
        operation: response.operation.to_owned(),
        request_id: response.request_id.clone(),
    }
}

fn effect_unknown(response: &ErrorResponse<'_>) -> bool {
    response.writes && (response.status.is_server_error() || response.status == StatusCode::REQUEST_TIMEOUT)
}

/// A successful response with an error in its body. Nothing was read, and a retry may help.
pub(crate) fn in_success(
    writes: bool,
    operation: &str,
    status: StatusCode,
    error: &Value,
    request_id: Option<String>,
) -> AzureError {
    let (code, message) = code_and_message(status, error);
    let class = if is_not_registered(&code) {
        ErrorClass::NotRegistered
    } else {
        ErrorClass::Transient
    };
    AzureError {
        class,
        code,
        message: format!(
            "Azure's response has status {} but contains an error: {message}",
            status.as_u16()
        ),
        operation: operation.to_owned(),
        request_id,
        effect_unknown: writes,
    }
}

/// The error shape of connectors: `{"statusCode", "errorMessage", "errorCorrelation"}` (docs/azure-api.md 4.7).
fn of_connectors(response: &ErrorResponse<'_>) -> Option<AzureError> {
    let text = |name: &str| response.body.get(name).and_then(Value::as_str);
    let message = text("errorMessage")?;
    let by_status = |code: &'static str| {
        let class = class(response.status, code, message, response.retry_after);
        (class, code)
    };
    let (class, code) = match response.status.as_u16() {
        // These statuses mean the same in every shape.
        401 => by_status("AuthenticationFailed"),
        404 => by_status("ResourceNotFound"),
        408 => by_status("RequestTimeout"),
        429 => by_status("TooManyRequests"),
        500.. => (transient(response.retry_after), "ConnectorUnavailable"),
        status => connectors::class_and_code(status, message),
    };
    let correlation = text("errorCorrelation").map(str::to_owned);
    Some(AzureError {
        class,
        code: code.to_owned(),
        message: one_line(&connectors::without_ids(message)),
        request_id: correlation.or_else(|| response.request_id.clone()),
        effect_unknown: effect_unknown(response),
        operation: response.operation.to_owned(),
    })
}

/// No complete response arrived.
pub(crate) fn transport(writes: bool, operation: &str, error: &reqwest::Error) -> AzureError {
    let code = if error.is_timeout() {
        "Timeout"
    } else {
        "ConnectionFailed"
    };
    AzureError {
        class: ErrorClass::Transient,
        code: code.into(),
        message: innermost(error),
        operation: operation.to_owned(),
        request_id: None,
        // Without a connection, nothing was sent.
        effect_unknown: writes && !error.is_connect(),
    }
}

/// The innermost cause: the text of reqwest itself contains little more than the URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    one_line(&cause.to_string())
}

pub(crate) fn is_write(method: &Method) -> bool {
    method != Method::GET && method != Method::HEAD
}

/// Removes line breaks and truncates the text, so that the hint after Azure's message still fits.
pub(crate) fn one_line(text: &str) -> String {
    const MOST: usize = 500;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MOST {
        return line;
    }
    line.chars().take(MOST).chain(['…']).collect()
}

/// The message of Resource Graph starts like this; the cause is in the details (docs/azure-api.md 7.2).
const BOILERPLATE: &str = "Please provide below info when asking for support";

/// Code and message in the shapes of docs/azure-api.md 4.7 and 8.3, with the policies that refused the request.
fn code_and_message(status: StatusCode, body: &Value) -> (String, String) {
    let unnamed = || format!("Http{}", status.as_u16());
    if let Some(words) = body
        .as_str()
        .map(without_markup)
        .filter(|words| !words.is_empty())
    {
        return (unnamed(), words);
    }
    let error = ["error", "Error"]
        .into_iter()
        .find_map(|name| body.get(name).filter(|error| error.is_object()))
        .unwrap_or(body);
    let either = |name: &str, capital: &str| error.get(name).or_else(|| error.get(capital))?.as_str();
    let words = either("message", "Message");
    if let Some(reported) = words
        .filter(|words| words.starts_with(BOILERPLATE))
        .and_then(|_| from_details(error))
    {
        return reported;
    }
    let code = either("code", "Code").map_or_else(unnamed, str::to_owned);
    let mut message = one_line(words.unwrap_or("no message"));
    let policies: Vec<_> = policies(error).collect();
    if !policies.is_empty() {
        message.push_str(" [policy: ");
        message.push_str(&policies.join("; "));
        message.push(']');
    }
    (code, message)
}

/// The text of a gateway's HTML page.
fn without_markup(page: &str) -> String {
    if !page.trim_start().starts_with('<') {
        return one_line(page);
    }
    let texts = page.split('<').filter_map(|tag| tag.split_once('>'));
    one_line(&texts.map(|(_, text)| text).collect::<Vec<_>>().join(" "))
}

/// The code of the first detail, and the messages of all.
fn from_details(error: &Value) -> Option<(String, String)> {
    let details = error.get("details")?.as_array()?;
    let text = |detail: &Value, name: &str| detail.get(name).and_then(Value::as_str).map(str::to_owned);
    let code = text(details.first()?, "code")?;
    let messages: Vec<_> = details
        .iter()
        .filter_map(|detail| text(detail, "message"))
        .collect();
    Some((code, one_line(&messages.join(" "))))
}

fn policies(error: &Value) -> impl Iterator<Item = String> + '_ {
    let details = error
        .get("details")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    std::iter::once(error)
        .chain(details)
        .filter_map(|error| error.get("additionalInfo").and_then(Value::as_array))
        .flatten()
        .filter(|item| item.get("type").and_then(Value::as_str) == Some("PolicyViolation"))
        .filter_map(|item| {
            let info = item.get("info")?;
            let first = |names: [&str; 3]| {
                names
                    .iter()
                    .find_map(|name| info.get(*name).and_then(Value::as_str))
                    .map(str::to_owned)
            };
            let definition = first([
                "policyDefinitionDisplayName",
                "policyDefinitionName",
                "policyDefinitionId",
            ]);
            let assignment = first([
                "policyAssignmentDisplayName",
                "policyAssignmentName",
                "policyAssignmentId",
            ]);
            match (definition, assignment) {
                (Some(definition), Some(assignment)) => {
                    Some(format!("{definition}, assigned by {assignment}"))
                }
                (one, other) => one.or(other),
            }
        })
}

fn class(status: StatusCode, code: &str, message: &str, retry_after: Option<Duration>) -> ErrorClass {
    match (status.as_u16(), code) {
        (429, _) => ErrorClass::Throttled(retry_after),
        // Before the statuses: Defender for Cloud reports it as 404 or 401, Azure Resource Manager as 409.
        _ if is_not_registered(code) => ErrorClass::NotRegistered,
        (401, _) => ErrorClass::Credential,
        (
            _,
            "RequestDisallowedByPolicy"
            | "ScopeLocked"
            | "ReadOnlyDisabledSubscription"
            | "InvalidResourceLocation",
        ) => ErrorClass::Refused,
        (403, _) => ErrorClass::Permission(denied_action(message)),
        (404, _) => ErrorClass::NotFound,
        (409, _) => ErrorClass::Conflict,
        (408 | 500..=599, _) => transient(retry_after),
        _ => ErrorClass::Refused,
    }
}

/// Whether the resource itself does not exist (`ResourceNotFound`, `ResourceGroupNotFound`, `NotFound`). A 404 about
/// the subscription or the type, or from a gateway, says nothing about the resource.
pub(crate) fn is_absent(failure: &AzureError) -> bool {
    failure.class == ErrorClass::NotFound
        && failure.code.ends_with("NotFound")
        && failure.code != "SubscriptionNotFound"
}

/// Whether the code means that the resource provider is not registered in the subscription. Defender for Cloud writes
/// it with spaces (docs/emulator.md, switch `unregisteredProvider`).
fn is_not_registered(code: &str) -> bool {
    let letters = code.chars().filter(|letter| !letter.is_whitespace());
    let code: String = letters.collect::<String>().to_ascii_lowercase();
    [
        "subscriptionnotregistered",
        "missingsubscriptionregistration",
        "missingregistrationfortype",
    ]
    .contains(&code.as_str())
}

fn transient(retry_after: Option<Duration>) -> ErrorClass {
    retry_after.map_or(ErrorClass::Transient, ErrorClass::Unavailable)
}

/// "… does not have authorization to perform action 'Microsoft.Security/pricings/write' over scope …"
fn denied_action(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("perform action '")?;
    rest.split_once('\'').map(|(action, _)| action.to_owned())
}

#[cfg(test)]
mod tests {
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
            let body =
                json!({"statusCode": status, "errorMessage": "not authorized", "errorCorrelation": "c"});
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
        assert_eq!(reported(json!("")), is("Http502", "no message"));
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
}
