//! Classifies error responses by what the caller should do (docs/azure-api.md 8.3, 8.6; I-5).

pub(crate) mod connectors;
pub(crate) mod shape;
#[cfg(test)]
mod tests;
pub(crate) mod unreachable;

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use serverprotection_core::{
    azure_error::{AzureError, DENY_ASSIGNMENT, ErrorClass, INSUFFICIENT_CLAIMS, UNRECOGNIZED_RESPONSE},
    printable,
};

/// A response without success.
pub(crate) struct ErrorResponse<'a> {
    /// Whether the request may have had an effect.
    pub(crate) writes: bool,
    pub(crate) operation: &'a str,
    pub(crate) status: StatusCode,
    pub(crate) body: &'a Value,
    /// The header `WWW-Authenticate`.
    pub(crate) challenge: Option<&'a str>,
    pub(crate) request_id: Option<String>,
    pub(crate) retry_after: Option<Duration>,
}

/// Classifies a response without success.
pub(crate) fn classify(response: &ErrorResponse<'_>) -> AzureError {
    if let Some(failure) = of_connectors(response) {
        return failure;
    }
    let (code, message, is_known_shape) = code_and_message(response.status, response.body);
    // Azure Resource Manager challenges with Bearer, a proxy with another scheme.
    let challenge = response
        .challenge
        .filter(|challenge| challenge.starts_with("Bearer"));
    let code = match challenge {
        Some(challenge) if challenge.contains("insufficient_claims") => INSUFFICIENT_CLAIMS.to_owned(),
        _ => code,
    };
    let empty_from_azure = response.body.is_null() && response.request_id.is_some();
    let from_azure = is_known_shape || challenge.is_some() || empty_from_azure;
    let failure = AzureError {
        class: class(response.status, &code, &message, response.retry_after),
        effect_unknown: effect_unknown(response),
        code,
        message,
        operation: response.operation.to_owned(),
        request_id: response.request_id.clone(),
    };
    // 408, 429 and 5xx mean the same from Azure and from a proxy.
    if from_azure || matches!(response.status.as_u16(), 408 | 429 | 500..) {
        return failure;
    }
    // Nothing is known about Azure: this is neither a missing role nor a missing resource.
    AzureError {
        class: transient(response.retry_after),
        code: UNRECOGNIZED_RESPONSE.into(),
        message: format!("status {}: {}", response.status.as_u16(), failure.message),
        ..failure
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
    let (code, message, _) = code_and_message(status, error);
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

pub(crate) fn is_write(method: &Method) -> bool {
    method != Method::GET && method != Method::HEAD
}

/// A text from outside on one line without control characters, truncated so that the hint after it still fits.
pub(crate) fn one_line(text: &str) -> String {
    one_line_of(text, 500)
}

/// The same, truncated to so many characters.
pub(crate) fn one_line_of(text: &str, most: usize) -> String {
    let clean = printable::one_line(text);
    let line = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= most {
        return line;
    }
    line.chars().take(most).chain(['…']).collect()
}

/// Characters of the start and the end of a log that [`ends_of`] keeps.
const ENDS: (usize, usize) = (200, 300);

/// The log of a program on one line. Of a long one the start and the end, where the cause often is.
pub(crate) fn ends_of(log: &str) -> String {
    let line = one_line_of(log, usize::MAX);
    let (start, end) = ENDS;
    let length = line.chars().count();
    if length <= start + end {
        return line;
    }
    let head = line.chars().take(start);
    let tail = line.chars().skip(length - end);
    head.chain(" … ".chars()).chain(tail).collect()
}

/// The policies that a message names at most.
const MOST_POLICIES: usize = 3;

/// Code and message of an error, with the policies that refused the request; and whether Azure uses this shape.
fn code_and_message(status: StatusCode, body: &Value) -> (String, String, bool) {
    let reported = shape::reported(body);
    let code = reported
        .code
        .unwrap_or_else(|| format!("Http{}", status.as_u16()));
    let mut message = reported.message.unwrap_or_else(|| "no message".to_owned());
    let error = body
        .as_object()
        .and_then(|members| shape::member(members, "error"));
    let policies: Vec<_> = policies(error.unwrap_or(body)).take(MOST_POLICIES).collect();
    if !policies.is_empty() {
        message.push_str(" [policy: ");
        message.push_str(&policies.join("; "));
        message.push(']');
    }
    (code, message, reported.is_known_shape)
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
            // The roles of the identity suffice: another rule forbids the request.
            DENY_ASSIGNMENT
            | "RequestDisallowedByPolicy"
            | "RequestDisallowedByAzure"
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
